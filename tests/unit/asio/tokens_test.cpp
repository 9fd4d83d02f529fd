// SPDX-License-Identifier: MIT
// What a completion handler may ask for: every kind of token, executors, allocators, slots.
#include <parley/asio.hpp>

#include "unit/asio/backends.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using boost::asio::use_awaitable;
using parley::error_code;

namespace {

struct tick {
    std::uint32_t id;
    double price;
};

/// Both ends of a pipe on one context.
template <class T>
struct piped {
    asio::io_context io;
    parley::channel<T, parley::pipe> ends = parley::make_channel<T>(parley::pipe{}).value();
    parley::async_sender<T, parley::pipe> aout = parley::attach(io, std::move(ends.tx));
    parley::async_receiver<T, parley::pipe> ain = parley::attach(io, std::move(ends.rx));
};

constexpr auto rethrow = [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
};

}  // namespace

TEST_CASE("async receive: a callback gets the message, after the initiating function", "[asio]") {
    const watchdog dog("callback");
    piped<tick> p;
    bool initiated = false;
    std::uint32_t got = 0;
    p.aout.async_send({7, 99.5}, [&](error_code ec) {
        CHECK(initiated);
        CHECK(!ec);
    });
    p.ain.async_receive([&](error_code ec, tick t) {
        CHECK(initiated);
        CHECK(!ec);
        got = t.id;
    });
    CHECK(got == 0);
    initiated = true;
    p.io.run();
    CHECK(got == 7);
}

TEST_CASE("async receive: a future gets the message, or the error as an exception", "[asio]") {
    const watchdog dog("future");
    piped<tick> p;
    std::future<tick> first = p.ain.async_receive(asio::use_future);
    std::future<void> sent = p.aout.async_send({7, 99.5}, asio::use_future);
    p.io.run();
    p.io.restart();
    CHECK(first.get().id == 7);
    CHECK_NOTHROW(sent.get());
    auto late = p.ain.async_receive(1ms, asio::use_future);
    p.io.run();
    try {
        (void)late.get();
        FAIL("no exception");
    } catch (const boost::system::system_error& e) {
        CHECK(e.code() == parley::errc::timed_out);
    }
}

TEST_CASE("async receive: a coroutine gets the message by every kind of await", "[asio]") {
    const watchdog dog("coroutine");
    piped<tick> p;
    asio::co_spawn(
        p.io,
        [&]() -> asio::awaitable<void> {
            for (std::uint32_t i = 1; i <= 4; ++i)
                co_await p.aout.async_send({i, 0}, use_awaitable);
            const tick one = co_await p.ain.async_receive(use_awaitable);
            CHECK(one.id == 1);
            const tick two = co_await p.ain.async_receive();  // deferred: the default
            CHECK(two.id == 2);
            auto [ec, three] = co_await p.ain.async_receive(asio::as_tuple(use_awaitable));
            CHECK((!ec && three.id == 3));
            auto [ec2, four] = co_await p.ain.async_receive(1s, asio::as_tuple(asio::deferred));
            CHECK((!ec2 && four.id == 4));
            auto [late, none] = co_await p.ain.async_receive(1ms, asio::as_tuple(use_awaitable));
            CHECK(late == parley::errc::timed_out);
            CHECK(none.id == 0);
        },
        rethrow);
    p.io.run();
}

TEST_CASE("async receive: a deferred operation starts when it is launched", "[asio]") {
    const watchdog dog("deferred");
    piped<tick> p;
    auto later = p.ain.async_receive(asio::deferred);
    auto send = p.aout.async_send({7, 1.0}, asio::deferred);
    p.io.run();
    p.io.restart();
    std::uint32_t got = 0;
    std::move(later)([&](error_code, tick t) { got = t.id; });
    std::move(send)(asio::detached);
    p.io.run();
    CHECK(got == 7);
}

TEST_CASE("async end: an executor may bring a default token", "[asio]") {
    const watchdog dog("default token");
    using executor = asio::use_awaitable_t<>::executor_with_default<asio::any_io_executor>;
    piped<tick> p;
    parley::async_receiver<tick, parley::pipe, executor> ain(std::move(p.ain));
    auto aout = asio::use_awaitable.as_default_on(std::move(p.aout));
    asio::co_spawn(
        p.io,
        [&]() -> asio::awaitable<void> {
            asio::awaitable<void> sent = aout.async_send({7, 1.0});
            co_await std::move(sent);
            asio::awaitable<tick> got = ain.async_receive();
            const tick t = co_await std::move(got);
            CHECK(t.id == 7);
        },
        rethrow);
    p.io.run();
}

TEST_CASE("async end: strings, bytes and large values travel", "[asio]") {
    const watchdog dog("strings");
    piped<std::string> p;
    const std::string large(1 << 20, 'x');
    std::string got;
    p.aout.async_send(large, asio::detached);
    p.ain.async_receive([&](error_code, std::string s) { got = std::move(s); });
    p.io.run();
    CHECK(got == large);

    struct page {
        std::array<std::uint32_t, 1000> words;
    };
    piped<page> q;
    page sent{};
    sent.words[999] = 99;
    std::uint32_t last = 0;
    q.aout.async_send(sent, asio::detached);
    q.ain.async_receive([&](error_code, const page& g) { last = g.words[999]; });
    q.io.run();
    CHECK(last == 99);
}

TEMPLATE_TEST_CASE("async borrow: a message is looked at where it lies", "[asio]",
                   PARLEY_ERASED_BACKENDS) {
    const watchdog dog("borrow");
    TestType backend;
    auto ends = backend.template open<std::string_view>();
    asio::io_context io;
    auto aout = parley::attach(io, std::move(ends.tx));
    auto ain = parley::attach(io, std::move(ends.rx));
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await aout.async_send("one", use_awaitable);
            co_await aout.async_send("two", use_awaitable);
            auto seen = co_await ain.async_borrow(use_awaitable);
            CHECK(*seen == "one");
            CHECK(seen->size() == 3);
            seen.reset();
            CHECK(!seen);
            seen = co_await ain.async_borrow(1s);
            CHECK(*seen == "two");
            seen.reset();
            auto [ec, none] = co_await ain.async_borrow(0ms, asio::as_tuple(use_awaitable));
            CHECK(ec == parley::errc::timed_out);
            CHECK(!none);
        },
        rethrow);
    io.run();
}

TEST_CASE("async operation: the executor of the handler is where it runs", "[asio]") {
    const watchdog dog("bind_executor");
    piped<tick> p;
    asio::io_context other;
    auto strand = asio::make_strand(other);
    int ran = 0;
    auto handler = asio::bind_executor(strand, [&](error_code ec, tick) {
        CHECK(!ec);
        CHECK(strand.running_in_this_thread());
        ++ran;
    });
    p.ain.async_receive(handler);
    p.aout.async_send({1, 1}, asio::detached);
    p.io.poll();
    CHECK(ran == 0);
    other.poll();
    CHECK(ran == 1);  // it was there

    p.ain.async_receive(handler);
    other.restart();
    other.poll();  // nothing there: now the end's own context watches
    p.aout.async_send({2, 2}, asio::detached);
    p.io.restart();
    p.io.poll();
    CHECK(ran == 1);
    other.restart();
    other.poll();
    CHECK(ran == 2);
}

TEST_CASE("async operation: work is tracked on both contexts until the handler ran", "[asio]") {
    const watchdog dog("work");
    piped<tick> p;
    asio::io_context other;
    std::thread runner([&] { other.run(); });
    runner.join();  // no work, so it returned at once
    other.restart();
    bool ran = false;
    p.ain.async_receive(asio::bind_executor(other.get_executor(), [&](error_code, tick) {
        ran = true;
        p.io.stop();
    }));
    std::thread own([&] { p.io.run(); });
    std::thread sending([&] {
        auto out = p.aout.release();
        out.send({1, 1}).value();
    });
    other.run();  // does not return before the handler ran
    CHECK(ran);
    own.join();
    sending.join();
}

namespace {

/// Counts what is allocated through it.
template <class T>
struct counting {
    using value_type = T;
    explicit counting(int& n) : count(&n) {}
    template <class U>
    counting(const counting<U>& other) : count(other.count) {}
    T* allocate(std::size_t n) {
        ++*count;
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) { std::allocator<T>().deallocate(p, n); }
    template <class U>
    bool operator==(const counting<U>& other) const {
        return count == other.count;
    }
    int* count;
};

}  // namespace

TEST_CASE("async operation: the allocator of the handler is used", "[asio]") {
    const watchdog dog("allocator");
    auto [tx, rx] = parley::make_channel<tick>(parley::pipe{}).value();
    asio::io_context io;
    // A typed executor: through any_io_executor Asio's own post cannot hand an allocator on.
    auto ain = parley::attach(io.get_executor(), std::move(rx));
    int allocations = 0;
    bool ran = false;
    ain.async_receive(asio::bind_allocator(counting<std::byte>(allocations),
                                           [&](error_code, tick) { ran = true; }));
    CHECK(allocations == 1);  // the post
    io.poll();
    CHECK(allocations == 2);  // the wait
    tx.send({1, 1}).value();
    io.run();
    CHECK(ran);
    CHECK(allocations == 2);
}

TEST_CASE("async operation: every kind of cancellation ends it and takes nothing", "[asio]") {
    const watchdog dog("slots");
    const auto kind = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                               asio::cancellation_type::total, asio::cancellation_type::all);
    const bool waiting = GENERATE(false, true);
    piped<tick> p;
    asio::cancellation_signal stop;
    error_code said;
    p.ain.async_receive(
        asio::bind_cancellation_slot(stop.slot(), [&](error_code ec, tick) { said = ec; }));
    if (waiting) p.io.poll();
    p.aout.async_send({7, 1}, asio::detached);  // it is there when the cancellation arrives
    stop.emit(kind);
    p.io.run();
    p.io.restart();
    CHECK(said == asio::error::operation_aborted);
    std::uint32_t got = 0;
    p.ain.async_receive([&](error_code, tick t) { got = t.id; });
    p.io.run();
    CHECK(got == 7);
}

TEST_CASE("async operation: a cancellation of no kind changes nothing", "[asio]") {
    const watchdog dog("none");
    piped<tick> p;
    asio::cancellation_signal stop;
    std::uint32_t got = 0;
    p.ain.async_receive(
        asio::bind_cancellation_slot(stop.slot(), [&](error_code, tick t) { got = t.id; }));
    stop.emit(asio::cancellation_type::none);
    p.aout.async_send({7, 1}, asio::detached);
    p.io.run();
    CHECK(got == 7);
}

TEMPLATE_TEST_CASE("async receive: one that is cancelled when its wait is over takes nothing",
                   "[asio]", PARLEY_ERASED_BACKENDS) {
    const watchdog dog("ready and cancelled");
    TestType backends[2];
    auto a = backends[0].template open<std::uint32_t>();
    auto b = backends[1].template open<std::uint32_t>();
    asio::io_context io;
    auto left = parley::attach(io, std::move(a.rx));
    auto right = parley::attach(io, std::move(b.rx));
    asio::cancellation_signal stop_left, stop_right;
    std::vector<std::uint32_t> got;
    int aborted = 0;
    const auto handler = [&](asio::cancellation_signal& mine, asio::cancellation_signal& other) {
        return asio::bind_cancellation_slot(mine.slot(), [&](error_code ec, std::uint32_t n) {
            ec ? void(++aborted) : got.push_back(n);
            other.emit(asio::cancellation_type::terminal);
        });
    };
    left.async_receive(handler(stop_left, stop_right));
    right.async_receive(handler(stop_right, stop_left));
    io.poll();
    // Both waits are over in one look at the reactor; the first handler cancels the other.
    a.tx.send(1).value();
    b.tx.send(2).value();
    io.run();
    io.restart();
    CHECK(got.size() == 1);
    CHECK(aborted == 1);
    auto& rest = got.at(0) == 1 ? right : left;
    rest.async_receive([&](error_code, std::uint32_t n) { got.push_back(n); });
    io.run();
    CHECK(got.at(0) + got.at(1) == 3);
}

TEST_CASE("async send: a cancelled one was not sent", "[asio]") {
    const watchdog dog("cancelled send");
    const bool waiting = GENERATE(false, true);
    asio::io_context io;
    auto [tx, rx] =
        parley::make_channel<std::uint32_t>(parley::shm({.capacity_bytes = 4096})).value();
    std::uint32_t n = 0;
    if (waiting) {
        while (tx.try_send(n)) ++n;
    }
    auto aout = parley::attach(io, std::move(tx));
    asio::cancellation_signal stop;
    error_code said;
    aout.async_send(n,
                    asio::bind_cancellation_slot(stop.slot(), [&](error_code ec) { said = ec; }));
    if (waiting) io.poll();
    stop.emit(asio::cancellation_type::total);
    io.run();
    io.restart();
    CHECK(said == asio::error::operation_aborted);
    if (waiting) {
        aout.async_send(n, 1ms, [&](error_code ec) { said = ec; });
        io.run();
        CHECK(said == parley::errc::timed_out);
    }
    aout.release().close();
    for (std::uint32_t i = 0; i < n; ++i) CHECK(rx.receive().value() == i);
    CHECK(rx.receive().error() == parley::errc::closed);
}
