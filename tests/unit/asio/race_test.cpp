// SPDX-License-Identifier: MIT
// Operations raced against timers: a message is seen once, whoever wins.
#include <parley/asio.hpp>

#include "unit/asio/backends.hpp"

#include <parley/base/random.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <cstdint>
#include <exception>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using namespace boost::asio::experimental::awaitable_operators;
using boost::asio::use_awaitable;

namespace {

using number = std::uint64_t;

int rounds() { return campaign() ? 1'000'000 : 10'000; }
std::chrono::seconds limit() { return campaign() ? 3600s : 120s; }

/// Some microseconds, most often few: both sides of the race must win now and then.
std::chrono::nanoseconds some_time(parley::random& dice) {
    return std::chrono::nanoseconds(dice.below(30'000));
}
void spin(std::chrono::nanoseconds d) {
    const auto until = parley::clock::now() + d;
    while (parley::clock::now() < until) {
    }
}
/// Rethrows what ended a coroutine.
constexpr auto rethrow = [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
};

/// Sends 1, 2, 3, … at odd moments from a thread of its own, until told to stop; then closes. It
/// keeps two messages ahead at most, and now and then waits until a timer won, so that both sides
/// of the race have their turns on every machine.
template <class Sender>
class feeder {
public:
    feeder(Sender tx, std::uint64_t seed)
        : thread_([this, out = std::move(tx), seed]() mutable { run(out, seed); }) {}
    ~feeder() {
        stop();
        thread_.join();
    }
    void stop() { stop_ = true; }
    void seen(number n, int timers) {
        seen_.store(n, std::memory_order_relaxed);
        timers_.store(timers, std::memory_order_relaxed);
    }
    /// How many were sent; final once the channel is closed.
    [[nodiscard]] number sent() const { return sent_; }

private:
    void run(Sender& out, std::uint64_t seed) {
        parley::random dice(seed);
        while (!stop_ && out.send(sent_ + 1)) {
            ++sent_;
            const int before = timers_.load(std::memory_order_relaxed);
            const bool patient = dice.below(8) == 0;
            while (!stop_ && (sent_ > seen_.load(std::memory_order_relaxed) + 1 ||
                              (patient && timers_.load(std::memory_order_relaxed) == before))) {
                std::this_thread::yield();
            }
            if (dice.below(4) != 0) spin(some_time(dice));
        }
        out.close();
    }

    std::atomic<bool> stop_{false};
    std::atomic<number> sent_{0}, seen_{0};
    std::atomic<int> timers_{0};
    std::thread thread_;
};

/// Checks that numbers come in order, each once.
struct sequence {
    number seen = 0;
    int wrong = 0;
    void take(number n) {
        if (n != seen + 1) ++wrong;
        seen = n;
    }
};

struct tally {
    sequence in;
    int messages = 0, timers = 0;
};

/// Takes what is left after the races, until the channel ends.
template <class Receiver>
asio::awaitable<void> drain(Receiver& ain, sequence& in) {
    for (;;) {
        auto [ec, n] = co_await ain.async_receive(asio::as_tuple(use_awaitable));
        if (ec) {
            if (ec != parley::errc::closed) ++in.wrong;
            co_return;
        }
        in.take(n);
    }
}

/// Races receives against timers by `race(ain, timer, tally)`, then takes the rest.
template <class Backend, class Race>
void race_receives(const char* name, Race race) {
    const watchdog dog(name, limit());
    Backend backend;
    auto ends = backend.template open<number>();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(ends.rx));
    feeder feed(std::move(ends.tx), 7);
    tally t;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            parley::random dice(42);
            asio::steady_timer timer(io);
            for (int i = 0; i < rounds(); ++i) {
                timer.expires_after(some_time(dice));
                co_await race(ain, timer, t);
                feed.seen(t.in.seen, t.timers);
            }
            feed.stop();
            co_await drain(ain, t.in);
        },
        rethrow);
    io.run();
    if (campaign()) std::printf("%s: %d messages, %d timers\n", name, t.messages, t.timers);
    CAPTURE(t.messages, t.timers);
    CHECK(t.in.wrong == 0);
    CHECK(t.in.seen == feed.sent());
    CHECK(t.messages + t.timers == rounds());
    CHECK(t.messages > 0);
    CHECK(t.timers > 0);
}

}  // namespace

TEMPLATE_TEST_CASE("async receive: a race against a timer loses no message", "[asio][race]",
                   PARLEY_EVERY_BACKEND) {
    race_receives<TestType>(
        "receive || timer", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            auto first =
                co_await (ain.async_receive(use_awaitable) || timer.async_wait(use_awaitable));
            if (first.index() == 0) {
                t.in.take(std::get<0>(first));
                ++t.messages;
            } else {
                ++t.timers;
            }
        });
}

TEMPLATE_TEST_CASE("async receive: a timer on the left side loses no message either",
                   "[asio][race]", over_pipe, over_shm) {
    race_receives<TestType>(
        "timer || receive", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            auto first =
                co_await (timer.async_wait(use_awaitable) || ain.async_receive(use_awaitable));
            if (first.index() == 1) {
                t.in.take(std::get<1>(first));
                ++t.messages;
            } else {
                ++t.timers;
            }
        });
}

TEMPLATE_TEST_CASE("async receive: a race of tuples loses no message", "[asio][race]", over_pipe,
                   over_shm) {
    race_receives<TestType>(
        "tuple || tuple", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            constexpr auto tuple = asio::as_tuple(use_awaitable);
            auto first = co_await (ain.async_receive(tuple) || timer.async_wait(tuple));
            if (first.index() == 1) {
                ++t.timers;
            } else if (auto [ec, n] = std::get<0>(first); !ec) {
                t.in.take(n);
                ++t.messages;
            }
        });
}

TEMPLATE_TEST_CASE("async receive: a deadline that races loses no message", "[asio][race]",
                   PARLEY_EVERY_BACKEND) {
    race_receives<TestType>(
        "receive(deadline)", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            auto [ec, n] =
                co_await ain.async_receive(timer.expiry(), asio::as_tuple(use_awaitable));
            if (!ec) {
                t.in.take(n);
                ++t.messages;
            } else if (ec == parley::errc::timed_out) {
                ++t.timers;
            }
        });
}

TEMPLATE_TEST_CASE("async receive: a flat group hands over every result", "[asio][race]", over_pipe,
                   over_shm) {
    using asio::experimental::make_parallel_group;
    race_receives<TestType>(
        "parallel group", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            auto [order, ec, n, timed] =
                co_await make_parallel_group(ain.async_receive(asio::deferred),
                                             timer.async_wait(asio::deferred))
                    .async_wait(asio::experimental::wait_for_one(), use_awaitable);
            if (!ec) {
                t.in.take(n);
                ++t.messages;
            } else {
                ++t.timers;
            }
        });
}

TEMPLATE_TEST_CASE("async receive: a cancellation by signal that races loses no message",
                   "[asio][race]", over_pipe, over_shm) {
    race_receives<TestType>(
        "signal", [](auto& ain, auto& timer, tally& t) -> asio::awaitable<void> {
            constexpr asio::cancellation_type kinds[] = {asio::cancellation_type::terminal,
                                                         asio::cancellation_type::partial,
                                                         asio::cancellation_type::total};
            asio::cancellation_signal stop;
            timer.async_wait([&, kind = kinds[(t.messages + t.timers) % 3]](parley::error_code ec) {
                if (!ec) stop.emit(kind);
            });
            auto [ec, n] = co_await ain.async_receive(
                asio::as_tuple(asio::bind_cancellation_slot(stop.slot(), use_awaitable)));
            timer.cancel();
            // The timer's handler looks at `stop`: let it run.
            co_await asio::post(ain.get_executor(), use_awaitable);
            if (!ec) {
                t.in.take(n);
                ++t.messages;
            } else if (ec == asio::error::operation_aborted) {
                ++t.timers;
            }
        });
}

TEMPLATE_TEST_CASE("async send: a race against a timer sends what it says and nothing else",
                   "[asio][race]", PARLEY_EVERY_BACKEND) {
    const watchdog dog("send || timer", limit());
    TestType backend;
    auto ends = backend.template open<number>();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    sequence in;
    std::atomic<int> refused{0};
    std::atomic<bool> done{false};
    std::thread reader([&, rx = std::move(ends.rx)]() mutable {
        parley::random dice(3);
        while (auto n = rx.receive()) {
            in.take(*n);
            if (dice.below(8) != 0) continue;
            // Lets the channel fill until a send was refused; what comes next finds room or not.
            const int before = refused;
            while (!done && refused == before) std::this_thread::yield();
            spin(some_time(dice));
        }
    });
    number sent = 0;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            parley::random dice(42);
            asio::steady_timer timer(io);
            for (int i = 0; i < rounds(); ++i) {
                timer.expires_after(some_time(dice));
                const auto first = co_await (aout.async_send(sent + 1, use_awaitable) ||
                                             timer.async_wait(use_awaitable));
                first.index() == 0 ? void(++sent) : void(++refused);
            }
            done = true;
            co_await aout.async_close(use_awaitable);
        },
        rethrow);
    io.run();
    reader.join();
    if (campaign()) {
        std::printf("send || timer: %llu sent, %d refused\n", static_cast<unsigned long long>(sent),
                    refused.load());
    }
    CHECK(in.wrong == 0);
    CHECK(in.seen == sent);
    CHECK(sent > 0);
    CHECK(refused > 0);
}
