// SPDX-License-Identifier: MIT
// Signals as a transport: lanes, numbers, posts, and who is not believed. Floods and full queues
// are in process/signals_test.cpp.
#include <parley/transport/shm.hpp>
#include <parley/transport/signals.hpp>

#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::signals;
using parley::uri;
namespace inner = parley::detail;

static_assert(parley::transport<signals>);

namespace {

/// Queues a signal that says it comes from (pid, uid).
void forge(int number, inner::signal_word w, pid_t pid, uid_t uid, std::string_view payload) {
    const inner::unique_fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    inner::signal_packet p{.number = number, .word = w.packed(), .pid = pid, .uid = uid};
    std::memcpy(p.payload.data(), payload.data(), payload.size());
    REQUIRE(p.send(self.get()) == 0);
}

}  // namespace

TEST_CASE("signals: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"signals://alarms", "signals://a%20b?lanes=3&lane=2",
          "signals://x?message_bytes_max=100&writers_max=2&window=8&payload_bytes=8&directory=/"
          "tmp"}) {
        const auto at = signals::from(uri(text), why);
        INFO(why.text());
        REQUIRE(at);
        CHECK(signals::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"signals://", "signals://x?lanes=0", "signals://x?window=1",
                             "signals://x?payload_bytes=25", "signals://x?number=4"}) {
        CHECK(signals::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
    CHECK(open_source(signals("x", {.window = 1}), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("window wants 2 to 4096, not 1"));
    CHECK(open_source(signals("a/b"), why).error() == errc::invalid_argument);
}

TEST_CASE("signals: what lies in a lower lane comes first, and each lane keeps its order") {
    const watchdog dog("signals: lanes");
    const unique_name name("lanes");
    auto in = source_at(signals(name, {.lanes = 3}));
    std::vector<signals::sink> out;
    for (std::size_t lane = 0; lane < 3; ++lane) {
        out.push_back(sink_at(signals(name, {.lane = lane})));
    }
    for (const std::size_t lane : {2U, 0U, 1U, 2U, 1U, 0U, 1U, 0U, 2U}) {
        static int n = 0;
        REQUIRE(send(out[lane], std::to_string(lane) + '.' + std::to_string(n++)));
    }
    for (const char* text : {"0.1", "0.5", "0.7", "1.2", "1.4", "1.6", "2.0", "2.3", "2.8"}) {
        CHECK(receive(in).value() == text);
    }
    CHECK(in.number(0) < in.number(1));
    diagnostics why;
    CHECK(open_sink(signals(name, {.lane = 3}), why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("which has 3"));
}

TEST_CASE("signals: foreign and forged signals on its number are counted and change nothing") {
    const watchdog dog("signals: foreign");
    const unique_name name("foreign");
    auto in = source_at(signals(name));
    auto out = sink_at(signals(name));
    REQUIRE(send(out, "first"));
    CHECK(receive(in).value() == "first");
    const int number = in.number();
    REQUIRE(::kill(::getpid(), number) == 0);
    REQUIRE(::sigqueue(::getpid(), number, {}) == 0);
    using word = inner::signal_word;
    for (const std::uint8_t slot : std::initializer_list<std::uint8_t>{0, 1, 40, 63}) {
        for (const std::uint8_t length : std::initializer_list<std::uint8_t>{0, 5, 24, 31}) {
            forge(number, word{.slot = slot, .length = length}, ::getpid() + 1, ::getuid(), "x");
            forge(number, word{.slot = slot, .length = length}, ::getpid(), ::getuid() + 1, "x");
        }
        forge(number, word{.what = word::kind::credit, .slot = slot}, ::getpid(), ::getuid(), "");
        forge(number, word{.what = word::kind::gone, .slot = slot}, ::getpid(), ::getuid(),
              "notid");
    }
    REQUIRE(send(out, "second"));
    CHECK(receive(in).value() == "second");
    CHECK(in.foreign() >= 2 + 4 * 8);
    CHECK(in.peers_lost() == 0);
    REQUIRE(out.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
}

TEST_CASE("signals: a flood holds nobody up: a try comes back, and what is behind is still shown") {
    const watchdog dog("signals: flood");
    const unique_name name("flood");
    auto in = source_at(signals(name));
    auto out = sink_at(signals(name));
    REQUIRE(send(out, "before"));
    CHECK(receive(in).value() == "before");
    constexpr std::uint64_t flood = 2500;
    for (std::uint64_t i = 0; i < flood; ++i) {
        REQUIRE(::sigqueue(::getpid(), in.number(), {}) == 0);
    }
    REQUIRE(send(out, "behind"));
    const int fd = in.pollable().value();
    std::uint64_t tries = 0;
    for (std::uint64_t seen = in.foreign();; seen = in.foreign(), ++tries) {
        pollfd p{fd, POLLIN, 0};
        REQUIRE(::poll(&p, 1, 0) == 1);
        if (const auto m = in.try_receive()) {
            CHECK(parley::as_text(m->bytes()) == "behind");
            break;
        } else {
            REQUIRE(m.error() == errc::would_block);
            CHECK(in.foreign() - seen < flood / 2);
        }
    }
    CHECK(tries >= 2);
    CHECK(in.foreign() == flood);
    CHECK(in.wait(parley::expired).error() == errc::timed_out);
}

TEST_CASE("signals: a message of 16 bytes is one signal, of any length as many as it takes") {
    const watchdog dog("signals: one signal");
    const unique_name name("one");
    auto in = source_at(signals(name, {.window = 64}));
    auto out = sink_at(signals(name));
    CHECK(in.try_receive().error() == errc::would_block);  // takes the hello
    // The hello, and what is under way: 64 in all until the first credit, which comes after 16.
    int sent = 0;
    while (send(out, "sixteen bytes ab", parley::expired)) ++sent;
    CHECK(sent >= 48);
    CHECK(sent <= 65);  // the last one lies in this process
    for (int i = 0; i < sent; ++i) {
        CHECK(receive(in).value() == "sixteen bytes ab");
        (void)out.flush(parley::expired);
    }
}

TEST_CASE("signals: a thread that would be ended by a signal is named, and the open refused") {
    const watchdog dog("signals: a thread");
    const unique_name name("thread");
    gate ready, done;
    std::jthread stranger([&] {
        inner::unblock_signals(inner::claimable_signals());
        ready.open();
        done.pass();
    });
    ready.pass();
    diagnostics why;
    CHECK(open_source(signals(name), why).error() == errc::unsupported);
    CHECK_THAT(why.text(), contains("reserve_signals"));
    CHECK_THAT(why.text(), contains("thread "));
    done.open();
    stranger.join();
    CHECK(open_source(signals(name), why));
}

TEST_CASE("signals: when all numbers of the process are taken, open says so; they come back") {
    const unique_name name("numbers");
    diagnostics why;
    for (int round = 0; round < 3; ++round) {
        std::vector<signals::source> all;
        for (;;) {
            auto one = open_source(signals(name.text() + std::to_string(all.size())), why);
            if (!one) {
                CHECK(one.error() == errc::out_of_resources);
                CHECK_THAT(why.text(), contains("no signal number left"));
                break;
            }
            all.push_back(std::move(*one));
            REQUIRE(all.size() < 64);
        }
        CHECK(all.size() >= 20);
    }
}

TEST_CASE("signals: a number that has a handler is somebody else's") {
    const unique_name name("handler");
    const int first = SIGRTMIN;
    const auto before = ::signal(first, [](int) {});
    auto in = source_at(signals(name));
    CHECK(in.number() != first);
    ::signal(first, before);
}

TEST_CASE("signals: a post of a dead receiver signals nobody, whoever has its PID now") {
    const watchdog dog("signals: reused");
    const unique_name name("reused");
    child bystander([] {
        for (;;) ::pause();
        return 0;
    });
    // As a receiver of that PID would have left it: no lock.
    inner::post_page page;
    page.sign(inner::post_page::kind::channel);
    parley::store_le(page.memory.data() + 16, static_cast<std::uint32_t>(bystander.pid()));
    inner::signals_notice notice{
        .message_bytes_max = 100, .window = 8, .payload_bytes = 24, .writers_max = 1, .lanes = 1};
    notice.numbers[0] = static_cast<std::uint8_t>(SIGRTMIN);
    notice.write(page, "");
    const std::string path = "/dev/shm/parley-signals." + name.text();
    std::ofstream(path).write(reinterpret_cast<const char*>(page.memory.data()),
                              static_cast<std::streamsize>(page.memory.size()));
    diagnostics why;
    CHECK(open_sink(signals(name), why, parley::expired).error() == errc::would_block);
    CHECK_THAT(why.text(), contains("is gone"));
    CHECK(::kill(bystander.pid(), 0) == 0);  // a signal would have ended it
    auto in = source_at(signals(name));      // the next receiver takes the name
    auto out = sink_at(signals(name));
    REQUIRE(send(out, "x"));
    CHECK(receive(in).value() == "x");
}

TEST_CASE("signals: posts that no receiver of parley wrote are refused and left alone") {
    const unique_name name("stranger");
    const std::string path = "/dev/shm/parley-signals." + name.text();
    diagnostics why;
    for (const std::string& text : {std::string("dear diary"), std::string(100'000, 'x')}) {
        std::ofstream(path) << text;
        CHECK(open_source(signals(name), why).error() == errc::corrupt);
        CHECK_THAT(why.text(), contains("left alone"));
        CHECK(open_sink(signals(name), why).error() == errc::corrupt);
        CHECK(std::filesystem::file_size(path) == text.size());
    }
    inner::post_page page;  // a live owner whose notice is nonsense
    page.sign(inner::post_page::kind::channel);
    std::filesystem::remove(path);
    const auto file = inner::make_post({"/dev/shm", "parley-signals.", name}, page, 4096, why);
    REQUIRE(file);
    CHECK(open_sink(signals(name), why).error() == errc::corrupt);
    CHECK(open_source(signals(name), why).error() == errc::in_use);
}

TEST_CASE("signals: another user is denied, in words") {
    if (::geteuid() != 0) {
        std::cout << "skipped: only root can be another user\n";
        return;
    }
    const watchdog dog("signals: another user");
    const unique_name name("user");
    auto in = source_at(signals(name));
    child c([&] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 78;
        diagnostics why;
        const auto out = open_sink(signals(name), why);
        return !out && out.error() == errc::denied &&
                       why.text().find("one user only") != std::string::npos
                   ? 0
                   : 1;
    });
    CHECK(c.wait() == 0);
}

namespace {

parley::shm rung_by_signals(const std::string& name) {
    return parley::shm(name, {.capacity_bytes = 1 << 14, .bell = parley::bell_kind::signal});
}
/// Takes all that is queued to this process on any number of parley's.
std::vector<int> stolen_signals() {
    std::vector<int> all;
    for (inner::signal_packet p; inner::take_signal_now(inner::claimable_signals(), p);) {
        all.push_back(p.number);
    }
    return all;
}

}  // namespace

TEST_CASE(
    "signals: as a doorbell of shared memory there is one for each sleep, not one a message") {
    const watchdog dog("signals: doorbell");
    const unique_name name("doorbell");
    auto in = source_at(rung_by_signals(name));
    auto out = sink_at(rung_by_signals(name));
    CHECK(out.address().text() == "shm://" + name.text() + "?capacity_bytes=16384&bell=signal");
    const int fd = in.pollable().value();
    for (int round = 0; round < 3; ++round) {
        while (in.try_receive()) {
        }
        CHECK(stolen_signals().empty());
        CHECK(!inner::wait_for(fd, POLLIN, parley::expired));
        for (int i = 0; i < 100; ++i) REQUIRE(send(out, "x"));
        CHECK(inner::wait_for(fd, POLLIN, parley::expired));
        CHECK(stolen_signals().size() == 1);
        int got = 0;
        while (in.try_receive()) ++got;
        CHECK(got == 100);
    }
}

TEST_CASE("signals: a doorbell wants one user, and what it is told of numbers is not believed") {
    const unique_name name("weapon");
    diagnostics why;
    auto at = rung_by_signals(name);
    at.with.permissions.mode = 0660;
    CHECK(open_source(at, why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("only its user writes"));
    CHECK(open_source(rung_by_signals(""), why).error() == errc::invalid_argument);
    at.with.permissions.mode = 0600;
    auto in = source_at(at);
    auto out = sink_at(at);
    REQUIRE(in.pollable());
    CHECK(!in.try_receive());  // lies down
    const inner::unique_fd file(::open(("/dev/shm/parley." + name.text()).c_str(), O_RDWR));
    for (const std::uint32_t number : {9U, 15U, 200U, 0xffffffffU}) {
        REQUIRE(::pwrite(file.get(), &number, sizeof number, 4096 + 12) == sizeof number);
        REQUIRE(send(out, "x"));
        CHECK(stolen_signals().empty());
        CHECK(receive(in).value() == "x");
        CHECK(!in.try_receive());
    }
}
