// SPDX-License-Identifier: MIT
// What senders learn of how far their messages came, from receivers in other processes that hold
// them, take them, or die with them.
#include <parley/asio.hpp>
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <unistd.h>

#include <exception>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::at_least_once;
using parley::errc;
using parley::receipt;
using parley::receipts;
using parley::uds;

TEST_CASE("receipts: what a receiver holds is delivered, and consumed when it asks for the next") {
    const watchdog dog("receipts: delivered and consumed");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{} | receipts{};
    gate go_on;
    child holds([&] {
        auto in = parley::open_receiver<int>(at, how).value();
        if (in.receive(20s).value() != 1) return 1;
        go_on.pass();
        return in.receive(20s).error() == errc::closed ? 0 : 2;
    });
    auto out = parley::open_sender<int>(at, how, 20s).value();
    CHECK(out.end().sent() == 0);
    REQUIRE(out.end().await(receipt::consumed, 0s));  // nothing was sent
    out.send(1).value();
    CHECK(out.end().sent() == 1);
    REQUIRE(out.end().await(receipt::delivered, 20s));
    CHECK(out.end().reached(receipt::delivered) == 1);
    CHECK(out.end().await(receipt::consumed, 20ms).error() == errc::timed_out);
    CHECK(out.end().reached(receipt::consumed) == 0);
    go_on.open();
    REQUIRE(out.end().await(receipt::consumed, 20s));
    REQUIRE(out.end().await(receipt::consumed, 7, 20s));  // more than was sent is all
    out.close(20s).value();
    CHECK(holds.wait() == 0);
}
TEST_CASE("receipts: what died with its receiver is not consumed before a successor is done") {
    const watchdog dog("receipts: a killed receiver");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{} | receipts{};
    gate held;
    auto out = [&] {
        child dies([&] {
            auto in = parley::open_receiver<int>(at, how).value();
            held.open(in.receive(20s).value());
            ::pause();
            return 0;
        });
        auto made = parley::open_sender<int>(at, how, 20s).value();
        made.send(1).value();
        made.end().await(receipt::delivered, 20s).value();
        held.pass();
        dies.kill();
        return made;
    }();
    CHECK(out.end().await(receipt::consumed, 300ms).error() == errc::timed_out);
    child succeeds([&] {
        auto in = parley::open_receiver<int>(at, how).value();
        if (in.receive(20s).value() != 1) return 1;
        return in.receive(20s).error() == errc::closed ? 0 : 2;
    });
    REQUIRE(out.end().await(receipt::consumed, 20s));
    CHECK(out.end().reached(receipt::consumed) == 1);
    out.close(20s).value();
    CHECK(succeeds.wait() == 0);
}
TEST_CASE("receipts: messages in batches and parts, with all that a queue holds, one for each") {
    const watchdog dog("receipts: batches");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = parley::exactly_once{.window = 8} | parley::batched{.linger = 10s} |
                     parley::fragmented{} | parley::when_full::block{.messages = 64};
    child takes([&] {
        auto in = parley::open_receiver<std::string>(at, how).value();
        std::size_t n = 0;
        while (in.receive(20s)) ++n;
        return n == 300 ? 0 : 1;
    });
    auto out = parley::open_sender<std::string>(at, how, 20s).value();
    for (std::size_t i = 0; i < 300; ++i) {
        out.send(std::string(i % 7 == 0 ? 40'000 : i, 'x')).value();
        if (i % 50 != 0) continue;
        REQUIRE(out.end().await(receipt::consumed, i / 2, 20s));
        CHECK(out.end().reached(receipt::consumed) >= i / 2);
    }
    REQUIRE(out.end().await(receipt::consumed, 20s));  // and a batch lingers no longer
    CHECK(out.end().reached(receipt::consumed) == 300);
    out.close(20s).value();
    CHECK(takes.wait() == 0);
}
TEST_CASE("receipts: a coroutine awaits each, and a deadline that passes loses nothing") {
    const watchdog dog("receipts: coroutines");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{} | receipts{};
    gate go_on;
    child takes([&] {
        auto in = parley::open_receiver<int>(at, how).value();
        for (int i = 0; i < 200; ++i) {
            if (in.receive(20s).value() != i) return 1;
            if (i == 100) go_on.pass();
        }
        return in.receive(20s).error() == errc::closed ? 0 : 2;
    });
    boost::asio::io_context io;
    auto out = parley::attach(io, parley::open_sender<int>(at, how, 20s).value());
    int late = 0;
    const auto send_all = [&]() -> boost::asio::awaitable<void> {
        constexpr auto use = boost::asio::use_awaitable;
        for (int i = 0; i < 200; ++i) {
            co_await out.async_send(i, use);
            co_await out.async_await(receipt::delivered, use);
            const auto [ec] = co_await out.async_await(receipt::consumed, i == 100 ? 20ms : 20s,
                                                       boost::asio::as_tuple(use));
            if (!ec) continue;
            late += ec == errc::timed_out ? 1 : 100;
            go_on.open();
            co_await out.async_await(receipt::consumed, use);
        }
        co_await out.async_close(use);
    };
    boost::asio::co_spawn(io, send_all, [](const std::exception_ptr& e) {
        if (e) std::rethrow_exception(e);
    });
    io.run();
    CHECK(late == 1);
    CHECK(takes.wait() == 0);
}
TEST_CASE("receipts: ends with and without them refuse each other") {
    const watchdog dog("receipts: refusal");
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto in = parley::open_receiver<int>(at, at_least_once{} | receipts{}).value();
    parley::diagnostics why;
    CHECK(parley::open_sender<int>(at, at_least_once{}, 5s, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("lag u16, back arrived u16}"));
}
