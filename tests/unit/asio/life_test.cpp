// SPDX-License-Identifier: MIT
// Ends that move, close, die and are destroyed while operations are under way.
#include <parley/asio.hpp>
#include <parley/pubsub.hpp>

#include "unit/asio/backends.hpp"

#include "support/process.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <thread>

using namespace parley_test;
using namespace std::chrono_literals;
using boost::asio::use_awaitable;
using parley::errc;
using parley::error_code;

namespace {

using number = std::uint64_t;

constexpr auto rethrow = [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
};
/// A handler that keeps the error.
auto keep(error_code& at) {
    return [&at](error_code ec, auto&&...) { at = ec; };
}
const error_code aborted = boost::asio::error::operation_aborted;
const error_code unset = errc::not_member;

}  // namespace

TEMPLATE_TEST_CASE("async receive: a deadline ends it with timed_out, and the end goes on",
                   "[asio]", PARLEY_ERASED_BACKENDS) {
    const watchdog dog("deadline");
    TestType backend;
    auto ends = backend.template open<number>();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(ends.rx));
    const auto before = parley::clock::now();
    error_code said;
    ain.async_receive(5ms, keep(said));
    io.run();
    io.restart();
    CHECK(said == errc::timed_out);
    CHECK(parley::clock::now() - before >= 5ms);
    ain.async_receive(0ms, keep(said = {}));
    io.run();
    io.restart();
    CHECK(said == errc::timed_out);
    ends.tx.send(9).value();
    number got = 0;
    ain.async_receive(0ms, [&](error_code, number n) { got = n; });
    io.run();
    CHECK(got == 9);
}

TEMPLATE_TEST_CASE("async receive: a clean end is said once the last message was taken", "[asio]",
                   PARLEY_ERASED_BACKENDS) {
    const watchdog dog("end");
    TestType backend;
    auto ends = backend.template open<number>();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    auto ain = parley::attach(io, std::move(ends.rx));
    error_code last;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            for (number n = 0;; ++n) {
                auto [ec, got] = co_await ain.async_receive(asio::as_tuple(use_awaitable));
                last = ec;
                if (ec) break;
                CHECK(got == n);
            }
        },
        rethrow);
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            for (number n = 0; n < 1000; ++n) co_await aout.async_send(n);
            co_await aout.async_close();
            auto [ec] = co_await aout.async_send(1, asio::as_tuple(use_awaitable));
            CHECK(ec == errc::closed);
        },
        rethrow);
    io.run();
    CHECK(last == errc::closed);
}

TEMPLATE_TEST_CASE("async receive: a sender that closes ends a wait", "[asio]",
                   PARLEY_ERASED_BACKENDS) {
    const watchdog dog("closed sender");
    TestType backend;
    auto ends = backend.template open<number>();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(ends.rx));
    error_code said = unset;
    ain.async_receive(keep(said));
    io.poll();
    CHECK(said == unset);
    ends.tx.close();
    io.run();
    CHECK(said == errc::closed);
}

TEMPLATE_TEST_CASE("async receive: a sender killed in another process ends a wait", "[asio]",
                   over_pipe, over_shm_pair, over_uds_pair) {
    const watchdog dog("killed sender");
    TestType backend;
    auto ends = backend.template open<number>();
    gate sent;
    child victim([&]() -> int {
        ends.rx.close();
        if (!ends.tx.send(5)) return 1;
        sent.open();
        for (;;) ::pause();
    });
    ends.tx.close();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(ends.rx));
    number got = 0;
    error_code said = unset;
    ain.async_receive([&](error_code, number n) {
        got = n;
        ain.async_receive(keep(said));
        victim.kill();
    });
    io.run();
    CHECK(got == 5);
    CHECK(said == errc::peer_lost);
    CHECK(ain.peers_lost() == 1);
}

TEMPLATE_TEST_CASE("async send: a receiver killed in another process ends a wait", "[asio]",
                   over_pipe, over_shm_pair, over_uds_pair) {
    const watchdog dog("killed receiver");
    TestType backend;
    auto ends = backend.template open<number>();
    gate ready;
    child victim([&]() -> int {
        ends.tx.close();
        if (!ends.rx.receive()) return 1;
        ready.open();
        for (;;) ::pause();
    });
    ends.rx.close();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    error_code last;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await aout.async_send(0);
            ready.pass();
            while (!last) {
                std::tie(last) = co_await aout.async_send(1, 20ms, asio::as_tuple(use_awaitable));
            }
            CHECK(last == errc::timed_out);  // full, and nobody takes anything
            asio::post(io, [&] { victim.kill(); });
            std::tie(last) = co_await aout.async_send(1, asio::as_tuple(use_awaitable));
        },
        rethrow);
    io.run();
    CHECK(last == errc::peer_lost);
}

TEMPLATE_TEST_CASE("async send: a receiver that closes ends a wait for room", "[asio]",
                   PARLEY_ERASED_BACKENDS) {
    const watchdog dog("closed receiver");
    TestType backend;
    auto ends = backend.template open<number>();
    while (ends.tx.try_send(1)) {
    }
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    error_code said = unset;
    aout.async_send(2, keep(said));
    io.poll();
    CHECK(said == unset);
    ends.rx.close();
    io.run();
    CHECK((said == errc::closed || said == errc::peer_lost));
}

TEMPLATE_TEST_CASE("async send: room made by the receiver ends a wait", "[asio]",
                   PARLEY_ERASED_BACKENDS) {
    const watchdog dog("room");
    TestType backend;
    auto ends = backend.template open<number>();
    number n = 0;
    while (ends.tx.try_send(n)) ++n;
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    error_code said = unset;
    aout.async_send(n, keep(said));
    io.poll();
    CHECK(said == unset);
    number seen = 0;
    std::thread reader([&] {
        while (seen <= n && ends.rx.receive().value() == seen) ++seen;
    });
    io.run();
    reader.join();
    CHECK(!said);
    CHECK(seen == n + 1);
}

TEMPLATE_TEST_CASE("async send: what a stream could not take at once is pushed though nobody sends",
                   "[asio]", over_pipe, over_uds_stream) {
    const watchdog dog("background flush");
    TestType backend;
    auto ends = backend.template open<std::string>();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    const std::string large(4 << 20, 'x');
    bool sent = false;
    aout.async_send(large, [&](error_code ec) {
        CHECK(!ec);
        sent = true;
    });
    io.poll();
    CHECK(sent);  // it is the transport's; most of it is still here
    CHECK(!io.stopped());
    std::string got;
    std::thread reader([&] { got = ends.rx.receive().value(); });
    io.run();  // returns when all of it was taken
    reader.join();
    CHECK(got == large);
}

TEST_CASE("async close: it waits for what is on its way, can time out, and be called again",
          "[asio]") {
    const watchdog dog("close");
    auto [tx, rx] = parley::make_channel<std::string>(parley::pipe{}).value();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(tx));
    const std::string large(1 << 20, 'x');
    error_code said = unset;
    aout.async_send(large, asio::detached);
    aout.async_close(keep(said));  // one operation at a time
    io.poll();
    CHECK(said == errc::in_use);
    aout.async_close(1ms, keep(said));
    while (said == errc::in_use) io.run_one();
    CHECK(said == errc::timed_out);
    aout.async_close(keep(said = unset));
    std::string got;
    error_code end;
    std::thread reader([&, in = std::move(rx)]() mutable {
        got = in.receive().value();
        end = in.receive().error();
    });
    io.run();
    reader.join();
    CHECK(!said);
    CHECK(got == large);
    CHECK(end == errc::closed);
}

TEST_CASE("async close: it ends a push in the background that it made needless", "[asio]") {
    const watchdog dog("close and flush");
    auto [tx, rx] = parley::make_channel<std::string>(
                        parley::pipe(parley::pipe::options{.capacity_bytes = 65536}))
                        .value();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(tx));
    const std::string large(100'000, 'x');  // more than the pipe holds, less than twice that
    aout.async_send(large, asio::detached);
    io.poll();
    CHECK(rx.try_receive().error() == errc::would_block);  // makes room for the rest
    error_code said = unset;
    aout.async_close(keep(said));
    io.run();
    CHECK(!said);
    CHECK(rx.receive().value() == large);
    CHECK(rx.receive().error() == errc::closed);
}

TEST_CASE("async end: a second operation at a time is refused, and harms nothing", "[asio]") {
    const watchdog dog("in use");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(rx));
    error_code first = unset, second = unset;
    ain.async_receive(keep(first));
    ain.async_receive(keep(second));
    io.poll();
    CHECK(first == unset);
    CHECK(second == errc::in_use);
    tx.send(1).value();
    io.run();
    CHECK(!first);
}

TEST_CASE("async end: the handler of an operation may start the next or destroy the end",
          "[asio]") {
    const watchdog dog("in the handler");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    asio::io_context io;
    auto ain = std::make_unique<parley::async_receiver<number, parley::pipe>>(
        parley::attach(io, std::move(rx)));
    int taken = 0;
    for (number n = 0; n < 3; ++n) tx.send(n).value();
    std::function<void(error_code, number)> next = [&](error_code ec, number) {
        CHECK(!ec);
        if (++taken == 3) return ain.reset();
        ain->async_receive(next);
    };
    ain->async_receive(next);
    io.run();
    CHECK(taken == 3);
    CHECK(tx.send(4).error() == errc::peer_lost);
}

TEMPLATE_TEST_CASE("async end: destroying it ends what is under way with operation_aborted",
                   "[asio]", PARLEY_ERASED_BACKENDS) {
    const watchdog dog("destroyed");
    const bool waiting = GENERATE(false, true);
    TestType backend;
    auto empty = backend.template open<number>();
    asio::io_context io;
    error_code received = unset, sent = unset;
    {
        auto ain = parley::attach(io, std::move(empty.rx));
        ain.async_receive(1h, keep(received));
        if (waiting) io.poll();
    }
    io.run();
    io.restart();
    CHECK(received == aborted);

    (void)empty.tx.close();
    auto full = backend.template open<number>();
    while (full.tx.try_send(1)) {
    }
    {
        auto aout = parley::attach(io, std::move(full.tx));
        aout.async_send(2, 1h, keep(sent));
        if (waiting) io.poll();
        full.rx.close();  // so that the destructor has nothing to wait for
    }
    io.run();
    CHECK(sent == aborted);
}

TEST_CASE("async end: cancel, close and release end a wait with operation_aborted", "[asio]") {
    const watchdog dog("cancel");
    auto [tx, rx] = parley::make_channel<number>(parley::shm{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(rx));
    error_code said = unset;
    ain.async_receive(keep(said));
    io.poll();
    tx.send(1).value();
    ain.cancel();
    io.run();
    io.restart();
    CHECK(said == aborted);

    ain.async_receive(1h, keep(said = unset));
    auto back = ain.release();
    io.run();
    io.restart();
    CHECK(said == aborted);
    CHECK(back.receive().value() == 1);  // nothing was lost

    auto again = parley::attach(io, std::move(back));
    again.async_receive(keep(said = unset));
    io.poll();
    again.close();
    io.run();
    io.restart();
    CHECK(said == aborted);
    again.async_receive(keep(said));
    io.run();
    CHECK(said == errc::closed);
}

TEST_CASE("async end: moving it does not disturb what is under way", "[asio]") {
    const watchdog dog("move");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    auto [tx2, rx2] = parley::make_channel<number>(parley::pipe{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(rx));
    number got = 0;
    ain.async_receive([&](error_code, number n) { got = n; });
    io.poll();
    auto moved = std::move(ain);
    tx.send(3).value();
    io.run();
    io.restart();
    CHECK(got == 3);

    auto other = parley::attach(io, std::move(rx2));
    error_code said;
    moved.async_receive(keep(said));
    io.poll();
    moved = std::move(other);  // the end that was there is gone
    io.run();
    io.restart();
    CHECK(said == aborted);
    tx2.send(4).value();
    moved.async_receive([&](error_code, number n) { got = n; });
    io.run();
    CHECK(got == 4);
}

TEST_CASE("async end: a context may stop, start again, and be destroyed with a wait under way",
          "[asio]") {
    const watchdog dog("stop");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    auto [big_tx, big_rx] = parley::make_channel<std::string>(parley::pipe{}).value();
    number got = 0;
    bool called = false;
    {
        asio::io_context io;
        auto ain = parley::attach(io, std::move(rx));
        auto aout = parley::attach(io, std::move(big_tx));
        ain.async_receive([&](error_code, number n) { got = n; });
        io.poll();
        io.stop();
        tx.send(1).value();
        io.poll();
        CHECK(got == 0);
        io.restart();
        while (got == 0) io.run_one();
        CHECK(got == 1);
        io.restart();
        ain.async_receive(1h, [&](error_code, number) { called = true; });
        aout.async_send(std::string(1 << 18, 'x'), asio::detached);
        io.poll();
        std::string all;
        std::thread reader([&, in = std::move(big_rx)]() mutable { all = in.receive().value(); });
        // The ends go first, as with every object of Asio; the operations go with the context.
        { auto gone = std::move(aout); }
        { auto gone = std::move(ain); }
        reader.join();
        CHECK(all.size() == 1 << 18);
    }
    CHECK(!called);
}

TEST_CASE("async end: a relay of two ends in one coroutine keeps the order", "[asio]") {
    const watchdog dog("relay");
    auto in = parley::make_channel<number>(parley::shm({.capacity_bytes = 4096})).value();
    auto out = parley::make_channel<number>(parley::uds{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(in.rx));
    auto aout = parley::attach(io, std::move(out.tx));
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            for (;;) {
                auto [ec, n] = co_await ain.async_receive(asio::as_tuple(use_awaitable));
                if (ec) break;
                co_await aout.async_send(n, use_awaitable);
            }
            co_await aout.async_close(use_awaitable);
        },
        rethrow);
    constexpr number count = 20'000;
    std::thread source([&] {
        for (number n = 0; n < count; ++n) in.tx.send(n).value();
        in.tx.close();
    });
    number seen = 0;
    std::thread drain([&] {
        while (auto n = out.rx.receive()) {
            if (*n == seen) ++seen;
        }
    });
    io.run();
    source.join();
    drain.join();
    CHECK(seen == count);
}

TEST_CASE("async end: a strand is all that several threads need", "[asio]") {
    const watchdog dog("strand");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    asio::thread_pool pool(3);
    constexpr number count = 5'000;
    // Typed to the strand: the thread sanitizer of g++ misreads the fence with which Asio drops the
    // last copy of an executor too large for any_io_executor.
    using strand = asio::strand<asio::thread_pool::executor_type>;
    constexpr asio::use_awaitable_t<strand> here;
    auto reading = asio::make_strand(pool);
    auto writing = asio::make_strand(pool);
    auto ain = parley::attach(reading, std::move(rx));
    auto aout = parley::attach(writing, std::move(tx));
    auto received = asio::co_spawn(
        reading,
        [&]() -> asio::awaitable<number, strand> {
            number seen = 0;
            for (;;) {
                auto [ec, n] = co_await ain.async_receive(1min, asio::as_tuple(here));
                if (ec) co_return seen;
                if (n == seen) ++seen;
            }
        },
        asio::use_future);
    auto sent = asio::co_spawn(
        writing,
        [&]() -> asio::awaitable<void, strand> {
            for (number n = 0; n < count; ++n) co_await aout.async_send(n, here);
            co_await aout.async_close(here);
        },
        asio::use_future);
    sent.get();
    CHECK(received.get() == count);
    pool.join();
}

TEST_CASE("async end: a forked child leaves the parent's ends alone", "[asio]") {
    const watchdog dog("fork");
    auto [tx, rx] = parley::make_channel<number>(parley::pipe{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, std::move(rx));
    auto aout = parley::attach(io, std::move(tx));
    number got = 0;
    ain.async_receive([&](error_code, number n) { got = n; });
    aout.async_send(0, asio::detached);
    io.run();
    io.restart();
    ain.async_receive([&](error_code, number n) { got = n; });
    io.poll();
    io.notify_fork(asio::io_context::fork_prepare);
    child other([&]() -> int {
        io.notify_fork(asio::io_context::fork_child);
        error_code said;
        ain.cancel();
        io.run();
        io.restart();
        aout.async_send(99, keep(said));
        io.run();
        return said == errc::closed ? 0 : 1;
    });
    io.notify_fork(asio::io_context::fork_parent);
    CHECK(other.wait() == 0);
    aout.async_send(7, asio::detached);
    io.run();
    CHECK(got == 7);
}

TEST_CASE("async end: it says what the blocking end says", "[asio]") {
    auto [tx, rx] = parley::make_channel<number>(parley::shm({.capacity_bytes = 4096})).value();
    asio::io_context io;
    const auto address = rx.address();
    const auto limits = rx.limits();
    auto ain = parley::attach(io, std::move(rx));
    auto aout = parley::attach(io.get_executor(), std::move(tx));
    CHECK(ain.address() == address);
    CHECK(ain.limits().message_bytes_max == limits.message_bytes_max);
    CHECK(ain.get_executor() == io.get_executor());
    CHECK(aout.get_executor() == io.get_executor());
    CHECK(ain.type().description == aout.type().description);
    CHECK(ain.why().empty());
    CHECK(ain.peers_lost() == 0);
}

TEST_CASE("async receive: a subscriber is a receiver", "[asio]") {
    const watchdog dog("subscriber");
    const unique_name name("topic");
    const parley::shm at(name.text(), {.capacity_bytes = 4096});
    auto out = parley::open_publisher<number>(at, parley::when_full::block{}).value();
    asio::io_context io;
    auto ain = parley::attach(io, parley::open_subscriber<number>(at).value());
    std::jthread elsewhere([&] {
        for (number i = 0; i < 1000; ++i) out.publish(i).value();
        out.close().value();
    });
    number got = 0;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            for (;;) {
                const auto [ec, n] = co_await ain.async_receive(asio::as_tuple(use_awaitable));
                if (ec) {
                    CHECK(ec == errc::closed);
                    co_return;
                }
                CHECK(n == got++);
            }
        },
        rethrow);
    io.run();
    CHECK(got == 1000);
}
