// SPDX-License-Identifier: MIT
// Senders whose messages lie in a file until they are acknowledged: receivers are away, and both
// sides are killed again and again.
#include <parley/base/random.hpp>
#include <parley/delivered.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::at_least_once;
using parley::durable;
using parley::errc;
using parley::receipt;
using parley::uds;

namespace {

constexpr int messages_max = 2'000'000;
struct books {
    std::atomic<int> sent{0};  ///< so many sends returned
    std::atomic<int> total{0}, disorder{0};
    std::atomic<std::uint8_t> came[messages_max] = {};
};

auto kept_in(const std::string& path, std::size_t bytes = 1 << 16) {
    return at_least_once{.window = 16} | durable{.path = path, .capacity_bytes = bytes};
}

/// Goes on where the last life got to, until there are n.
template <class Address, class Policies>
int send_on(const Address& at, const Policies& how, books& b, int n) {
    auto out = parley::open_sender<int>(at, how, 20s).value();
    for (int i = b.sent; i < n; ++i) {
        out.send(i).value();
        b.sent = i + 1;
    }
    return out.close(60s) ? 0 : 1;
}
/// Books each message before it asks for the next.
template <class Address, class Policies>
int receive_on(const Address& at, const Policies& how, books& b) {
    auto in = parley::open_receiver<int>(at, how, 20s).value();
    for (;;) {
        const auto m = in.receive();
        if (!m && m.error() == errc::peer_lost) continue;  // it comes again
        if (!m) return m.error() == errc::closed ? 0 : 1;
        if (*m > 0 && b.came[*m - 1] == 0) ++b.disorder;
        if (b.came[*m] < 255) ++b.came[*m];
        ++b.total;
    }
}
void until_more(const std::atomic<int>& counted, int more) {
    const int enough = std::min(counted + more, messages_max);
    while (counted < enough) std::this_thread::yield();
}
/// So many of n messages never came.
int missing(const books& b, int n) {
    int none = 0;
    for (int i = 0; i < n; ++i) none += b.came[i] == 0 ? 1 : 0;
    return none;
}

}  // namespace

TEST_CASE("durable: what was sent while nobody received is there for who comes") {
    const watchdog dog("durable: nobody receives");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = kept_in(dir / "spool");
    gate sent;
    child dies([&] {
        auto out = parley::open_sender<int>(at, how).value();
        for (int i = 0; i < 500; ++i) out.send(i).value();
        sent.open();
        return ::pause();
    });
    sent.pass();
    dies.kill();
    auto out = parley::open_sender<int>(at, how).value();
    CHECK(out.end().sent() == 500);
    CHECK(out.end().unfinished() == 500);
    for (int i = 500; i < 600; ++i) out.send(i).value();
    CHECK(out.end().await(receipt::consumed, 20ms).error() == errc::timed_out);
    child takes([&] {
        auto in = parley::open_receiver<int>(at, how).value();
        for (int i = 0; i < 600; ++i) {
            if (in.receive(20s).value() != i) return 1;
        }
        return in.receive(20s).error() == errc::closed ? 0 : 2;
    });
    REQUIRE(out.end().await(receipt::consumed, 20s));
    out.close(20s).value();
    CHECK(takes.wait() == 0);
    auto again = parley::open_sender<int>(at, how).value();
    CHECK(again.end().unfinished() == 0);
    again.close(1s).value();  // nobody is there, and there is nothing to tell
}
TEST_CASE("durable: both sides are killed again and again, and nothing is lost") {
    const watchdog dog("durable: kill -9", 600s);
    const temporary_directory dir;
    const auto seed = GENERATE(1U, 2U);
    CAPTURE(seed);
    parley::random dice(seed);
    const uds at(dir / "x");
    const auto how = kept_in(dir / "spool", seed == 1 ? 1 << 12 : 1 << 16);
    const shared<books> b;
    const int lives = campaign() ? 1000 : 15;
    const auto below = [&](unsigned n) { return static_cast<int>(dice.below(n)); };
    {
        std::optional<child> receiver;
        for (int life = 0; life < lives; ++life) {
            child sender([&] { return send_on(at, how, *b.operator->(), messages_max); });
            if (!receiver) receiver.emplace([&] { return receive_on(at, how, *b.operator->()); });
            switch (below(3)) {
                case 0: until_more(b->sent, below(100)); break;
                case 1: until_more(b->total, below(100)); break;
                default:
                    until_more(b->total, below(50));
                    receiver.reset();
                    // The file fills, or is full already.
                    for (int i = below(2000); i > 0; --i) std::this_thread::yield();
            }
            sender.kill();
        }
    }
    REQUIRE(b->sent < messages_max - 100);
    const int n = b->sent + 100;
    child receiver([&] { return receive_on(at, how, *b.operator->()); });
    child sender([&] { return send_on(at, how, *b.operator->(), n); });
    CHECK(sender.wait() == 0);
    CHECK(receiver.wait() == 0);
    CHECK(missing(*b.operator->(), n) == 0);
    CHECK(b->disorder == 0);
}
TEST_CASE("durable: over tcp, in batches and parts, more than the queue in memory holds") {
    const watchdog dog("durable: tcp");
    const temporary_directory dir;
    const reserved_port port;
    const parley::tcp at("127.0.0.1:" + std::to_string(port.number()));
    const auto how = parley::exactly_once{.window = 4} | parley::batched{} | parley::fragmented{} |
                     durable{.path = dir / "spool", .capacity_bytes = 4 << 20, .synced = true};
    auto out = parley::open_sender<std::string>(at, how).value();
    for (std::size_t i = 0; i < 100; ++i) out.send(std::string(i * 300, 'x')).value();
    child takes([&] {
        auto in = parley::open_receiver<std::string>(at, how).value();
        for (std::size_t i = 0; i < 100; ++i) {
            if (in.receive(20s).value().size() != i * 300) return 1;
        }
        return in.receive(20s).error() == errc::closed ? 0 : 2;
    });
    out.close(20s).value();
    CHECK(takes.wait() == 0);
}
TEST_CASE("durable: a file that is full has room again when something was consumed") {
    const watchdog dog("durable: full");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = kept_in(dir / "spool", 4096);
    auto out = parley::open_sender<std::string>(at, how).value();
    const std::string text(400, 'x');
    int n = 0;
    while (out.try_send(text)) ++n;
    CHECK(n >= 7);
    CHECK(out.send(text, 20ms).error() == errc::timed_out);
    CHECK(out.send(std::string(5000, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("as much as fits into "));
    pollfd p{out.end().pollable().value(), POLLIN, 0};
    CHECK(out.try_send(text).error() == errc::would_block);
    child takes([&] {
        auto in = parley::open_receiver<std::string>(at, how).value();
        int got = 0;
        while (in.receive(20s)) ++got;
        return got == n + 5 ? 0 : 1;
    });
    for (int more = 0; more < 5;) {
        REQUIRE(::poll(&p, 1, 20'000) == 1);
        if (out.try_send(text)) ++more;
    }
    out.close(20s).value();
    CHECK(takes.wait() == 0);

    const auto refuses = kept_in(dir / "other", 4096) | parley::when_full::error{};
    auto strict = parley::open_sender<std::string>(uds(dir / "y"), refuses).value();
    while (strict.try_send(text)) --n;
    CHECK(n <= 0);
    CHECK(strict.send(text).error() == errc::out_of_resources);
    CHECK_THAT(strict.why().text(), contains("other is full of messages"));
}
TEST_CASE("durable: what is kept and too long for who comes is refused, not dropped") {
    const watchdog dog("durable: too long");
    const temporary_directory dir;
    const auto how = kept_in(dir / "spool");
    const uds narrow(dir / "x", {.message_bytes_max = 1000});
    {
        auto out = parley::open_sender<std::string>(narrow, how).value();
        out.send(std::string(100, 'x')).value();
        out.send(std::string(2000, 'x')).value();  // nobody said yet what it takes
        child takes([&] {
            auto in = parley::open_receiver<std::string>(narrow, how).value();
            return in.receive(20s).value().size() == 100 ? 0 : 1;
        });
        CHECK(out.close(20s).error() == errc::message_too_large);
        CHECK(takes.wait() == 0);
        CHECK_THAT(out.why().text(), contains("keeps a message of 2000 bytes; unix://"));
    }
    const uds wide(dir / "x");
    auto out = parley::open_sender<std::string>(wide, how).value();
    child takes([&] {
        auto in = parley::open_receiver<std::string>(wide, how).value();
        while (const auto m = in.receive(20s)) {
            if (m->size() == 2000) return in.close(1s) ? 0 : 2;
        }
        return 1;
    });
    REQUIRE(out.end().await(receipt::consumed, 20s));
    CHECK(takes.wait() == 0);
}
TEST_CASE("durable: a file that is damaged while it is open ends in an error, not in a wait") {
    const watchdog dog("durable: damaged");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = kept_in(dir / "spool");
    auto out = parley::open_sender<std::string>(at, how).value();
    for (int i = 0; i < 10; ++i) out.send(std::string(100, 'x')).value();
    {
        const int fd = ::open((dir / "spool").c_str(), O_RDWR | O_CLOEXEC);
        REQUIRE(::pwrite(fd, "!", 1, 8192 + 500) == 1);  // in the payload of the fourth
        ::close(fd);
    }
    child takes([&] {
        auto in = parley::open_receiver<std::string>(at, how).value();
        int n = 0;
        while (in.receive(20s)) ++n;
        return n;
    });
    CHECK(out.close(20s).error() == errc::corrupt);
    CHECK_THAT(out.why().text(), contains("spool was damaged at position"));
    CHECK(takes.wait() <= 3);
}
TEST_CASE("durable: a file belongs to one sender, of one type, and says so") {
    const watchdog dog("durable: one sender");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = kept_in(dir / "spool");
    parley::diagnostics why;
    std::optional out = parley::open_sender<int>(at, how).value();
    CHECK(parley::open_sender<int>(at, how, 1s, &why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("spool belongs to a sender that lives"));
    gate there, over;
    child forked([&] {
        there.open();
        const auto r = out->send(1);
        const bool shut = !r && r.error() == errc::closed;
        over.pass();
        return shut ? 0 : 1;
    });
    there.pass();
    out->send(3).value();
    out.reset();
    CHECK(parley::open_sender<long>(at, how, 1s, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("keeps messages of another type: [raw i32"));
    out.emplace(parley::open_sender<int>(at, how).value());
    CHECK(out->end().unfinished() == 1);
    out.reset();
    over.open();
    CHECK(forked.wait() == 0);
    // What a sender that is gone for good left is a ring as any other.
    auto in = parley::open_receiver<int>(parley::mmap(dir / "spool")).value();
    CHECK(in.receive(1s).value() == 3);
    CHECK(parley::open_sender<int>(at, kept_in(dir / "no/where"), 1s, &why).error() ==
          errc::not_found);
    CHECK(parley::open_sender<int>(at, how, 1s, &why).error() == errc::in_use);
}
