// SPDX-License-Identifier: MIT
// Ends with delivery policies that sleep in poll(2) or in an event loop, over links: connections
// come, are cut and are made again, and acknowledgements and times wake who waits.
#include <parley/asio.hpp>
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <poll.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <thread>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::at_least_once;
using parley::errc;
using parley::exactly_once;
using parley::uds;
namespace when_full = parley::when_full;

namespace {

using number = std::uint64_t;

/// Sleeps until a descriptor is readable; whether it is by then.
bool readable(int fd, std::chrono::milliseconds at_most = 20s) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(at_most.count())) == 1;
}

/// Sends first, first + 1 …, and only polls in between.
template <class Sender>
bool sends_by_poll(Sender& out, number first, number count) {
    const int fd = out.end().pollable().value();
    for (number i = first; i < first + count;) {
        const auto r = out.try_send(i);
        if (r) {
            ++i;
        } else if (r.error() != errc::would_block || !readable(fd)) {
            return false;
        }
    }
    return true;
}
/// Sums what comes until the last sender is gone, and only polls in between.
template <class Receiver>
number sum_by_poll(Receiver& in, number& messages) {
    const int fd = in.end().pollable().value();
    for (number sum = 0;;) {
        const auto m = in.try_receive();
        if (m) {
            sum += *m;
            ++messages;
        } else if (m.error() == errc::closed) {
            return sum;
        } else if (m.error() == errc::would_block) {
            if (!readable(fd)) return 0;
        }
    }
}
constexpr number sum_of(number n) { return n * (n - 1) / 2; }

}  // namespace

TEST_CASE("delivered: a receiver that only polls gets everything of senders that come and go") {
    const watchdog dog("delivered: polls");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = exactly_once{.window = 16} | when_full::block{.messages = 8};
    auto in = parley::open_receiver<number>(at, how).value();
    const auto send = [&](number first) {
        auto out = parley::open_sender<number>(at, how, 20s).value();
        for (number i = first; i < first + 3000; ++i) out.send(i).value();
        return out.close(20s) ? 0 : 1;
    };
    child one([&] { return send(0); });
    child two([&] { return send(3000); });
    number messages = 0, sum = 0;
    while (messages < 6000) sum += sum_by_poll(in, messages);
    CHECK(messages == 6000);
    CHECK(sum == sum_of(6000));
    CHECK(one.wait() == 0);
    CHECK(two.wait() == 0);
    // Nobody is there, and nothing to be told: it sleeps until somebody comes.
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK_FALSE(readable(in.end().pollable().value(), 0ms));
    child late([&] {
        auto out = parley::open_sender<number>(at, how, 20s).value();
        return out.send(7) && out.close(20s) ? 0 : 1;
    });
    CHECK(sum_by_poll(in, messages) == 7);
    CHECK(late.wait() == 0);
}
TEST_CASE("delivered: a sender that only polls goes on with acknowledgements and new receivers") {
    const watchdog dog("delivered: polls to send");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{.window = 4} | when_full::block{.messages = 4};
    gate stopped;
    const auto receive = [&](number until) {
        auto in = parley::open_receiver<number>(at, how, 20s).value();
        for (;;) {
            const auto m = in.receive();
            if (!m) return m.error() == errc::closed ? 0 : 1;
            if (*m != until) continue;
            stopped.open();
            ::pause();
        }
    };
    child first([&] { return receive(700); });
    auto out = parley::open_sender<number>(at, how, 20s).value();
    REQUIRE(sends_by_poll(out, 0, 701));
    while (out.end().unfinished() > 4) (void)out.end().flush(parley::expired);
    stopped.pass();
    // The window and the queue fill; then it dies.
    number next = 701;
    while (out.try_send(next)) ++next;
    CHECK(out.end().unfinished() == 8);
    CHECK_FALSE(readable(out.end().pollable().value(), 0ms));
    first.kill();
    child second([&] { return receive(~number{0}); });
    CHECK(sends_by_poll(out, next, 700));
    CHECK(out.close(20s));
    CHECK(second.wait() == 0);
}
TEST_CASE("delivered: what was lost on its way is sent again when a poll says so") {
    const watchdog dog("delivered: polls for a time");
    const temporary_directory dir;
    const auto how = parley::checksum{} |
                     exactly_once{.window = 8, .resend_after = 2ms, .resend_after_max = 8ms} |
                     when_full::block{.messages = 2};
    const parley::testing::chaotic at{uds(dir / "x", {.type = uds::seqpacket}),
                                      {.seed = 3, .drop = 200, .damage = 100, .disorder = 100}};
    child sender([&] {
        auto out = parley::open_sender<number>(at, how, 20s).value();
        return sends_by_poll(out, 0, 1500) && out.close(30s) ? 0 : 1;
    });
    auto in = parley::open_receiver<number>(at, how, 20s).value();
    for (number i = 0; i < 1500; ++i) {
        const auto m = in.receive(20s);
        REQUIRE(m);
        if (*m != i) FAIL("message " << *m << " for " << i);
    }
    CHECK(in.receive(20s).error() == errc::closed);
    CHECK(sender.wait() == 0);
}
TEST_CASE("delivered: what only room or an answer helps does not wake who polls") {
    const watchdog dog("delivered: sleeps");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = parley::batched{.messages = 4, .linger = 1ms} | at_least_once{.window = 2} |
                     when_full::block{.messages = 4};
    auto in = parley::open_receiver<number>(at, how).value();
    auto out = parley::open_sender<number>(at, how).value();
    const int fd = out.end().pollable().value();
    number sent = 0;
    while (out.try_send(sent) || readable(fd, 20ms)) sent = out.end().counters().submitted;
    CHECK(out.end().unfinished() == 6);  // two frames on their way, and a batch behind them,
    CHECK_FALSE(readable(fd, 20ms));     // which has lingered long enough, and has to wait
    CHECK(out.close(0ms).error() == errc::timed_out);
    CHECK_FALSE(readable(fd, 20ms));
    std::thread receiver([&] {
        for (number i = 0; i < sent; ++i) {
            if (in.receive(20s).value() != i) std::abort();
        }
        if (in.receive(20s).error() != errc::closed) std::abort();
    });
    while (!out.close(0ms)) CHECK(readable(fd));
    receiver.join();
}
TEST_CASE("delivered: who is full of one priority is woken to send of another") {
    const watchdog dog("delivered: polls for priorities");
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = parley::open_receiver<number>(at).value();
    auto out =
        parley::open_sender<number>(at, parley::prioritized{} | when_full::block{.messages = 2})
            .value();
    const int fd = out.end().pollable().value();
    for (number i = 0; out.try_send(i);) ++i;
    CHECK_FALSE(readable(fd, 0ms));
    out.end().priority(1);
    CHECK(readable(fd, 0ms));
    CHECK(out.try_send(0));
}
TEST_CASE("delivered: a flush in between does not take the wake-up from who polls") {
    const watchdog dog("delivered: flushes");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{.window = 2} | when_full::block{.messages = 2};
    auto in = parley::open_receiver<number>(at, how).value();
    auto out = parley::open_sender<number>(at, how).value();
    const int fd = out.end().pollable().value();
    number sent = 0, got = 0;
    for (int round = 0; round < 40; ++round) {
        while (out.try_send(sent)) ++sent;
        CHECK_FALSE(readable(fd, 0ms));
        // The last question, which is in vain, acknowledges what came.
        for (auto m = in.receive(20s); m; m = in.try_receive()) CHECK(*m == got++);
        for (int i = 0; i <= round; ++i) (void)out.end().flush(parley::expired);
        CHECK(readable(fd));
    }
    CHECK(got >= 80);
}
TEST_CASE("delivered: a receiver that only tries, and never waits, gets everything") {
    const watchdog dog("delivered: tries");
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = parley::open_receiver<number>(at, exactly_once{}).value();
    CHECK(in.try_receive().error() == errc::would_block);
    child sender([&] {
        auto out = parley::open_sender<number>(at, exactly_once{}, 20s).value();
        for (number i = 0; i < 500; ++i) out.send(i).value();
        return out.close(20s) ? 0 : 1;
    });
    for (number next = 0;;) {
        const auto m = in.try_receive();
        if (m) {
            CHECK(*m == next++);
        } else if (m.error() == errc::closed) {
            CHECK(next == 500);
            break;
        }
    }
    CHECK(sender.wait() == 0);
}
TEST_CASE("delivered: a forked child that asks does not keep its parent awake") {
    const watchdog dog("delivered: forked");
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = parley::open_receiver<number>(at, at_least_once{}).value();
    auto out = parley::open_sender<number>(at, at_least_once{}).value();
    const int fd = in.end().pollable().value();
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK_FALSE(readable(fd, 0ms));
    child asks([&] { return in.try_receive().error() == errc::closed ? 0 : 1; });
    CHECK(asks.wait() == 0);
    CHECK_FALSE(readable(fd, 0ms));
    REQUIRE(out.send(5));
    CHECK(readable(fd));
    CHECK(in.try_receive().value() == 5);
}
TEST_CASE("delivered: in an event loop, with coroutines") {
    const watchdog dog("delivered: coroutines");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = exactly_once{.window = 8} | when_full::block{.messages = 4};
    child sender([&] {
        boost::asio::io_context io;
        auto out = parley::attach(io, parley::open_sender<number>(at, how, 20s).value());
        boost::asio::co_spawn(
            io,
            [&]() -> boost::asio::awaitable<void> {
                for (number i = 0; i < 2000; ++i) {
                    co_await out.async_send(i, boost::asio::use_awaitable);
                }
                co_await out.async_close(boost::asio::use_awaitable);
            },
            [](const std::exception_ptr& e) {
                if (e) std::rethrow_exception(e);
            });
        io.run();
        return 0;
    });
    boost::asio::io_context io;
    auto in = parley::attach(io, parley::open_receiver<number>(at, how).value());
    number next = 0;
    parley::error_code end;
    boost::asio::co_spawn(
        io,
        [&]() -> boost::asio::awaitable<void> {
            try {
                for (;; ++next) {
                    const auto m = co_await in.async_receive(boost::asio::use_awaitable);
                    if (m != next) FAIL_CHECK("message " << m << " for " << next);
                }
            } catch (const boost::system::system_error& e) {
                end = e.code();
            }
        },
        [](const std::exception_ptr& e) {
            if (e) std::rethrow_exception(e);
        });
    io.run();
    CHECK(next == 2000);
    CHECK(end == errc::closed);
    CHECK(sender.wait() == 0);
}
TEST_CASE("delivered: two one-way addresses have no descriptor for who comes, and say so") {
    const watchdog dog("delivered: no descriptor");
    const reserved_port there(AF_INET, SOCK_DGRAM), back(AF_INET, SOCK_DGRAM);
    using parley::udp;
    const parley::duplex at{udp(there.text(), parley::at_most_once{}),
                            udp(back.text(), parley::at_most_once{})};
    auto in = parley::open_receiver<number>(at, at_least_once{}).value();
    CHECK_FALSE(in.end().limits().pollable);
    CHECK(in.end().pollable().error() == errc::unsupported);
}
