// SPDX-License-Identifier: MIT
// Datagrams under Asio: what a reactor must not lose, and that a cancelled receive takes nothing.
#include <parley/asio.hpp>
#include <parley/transport/udp.hpp>

#include "support/catch.hpp"
#include "support/watchdog.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

using namespace parley_test;
namespace asio = boost::asio;
using asio::use_awaitable;
using parley::at_most_once;
using parley::error_code;
using parley::udp;

namespace {

/// Both ends of a port on one context.
struct joined {
    asio::io_context io;
    parley::receiver<int, udp> rx =
        parley::open_receiver<int>(udp("127.0.0.1:0"), at_most_once{}).value();
    parley::diagnostics why;
    parley::sender<int, udp> tx =
        parley::open_sender<int>(udp::from(rx.address(), why).value()).value();
    parley::async_receiver<int, udp> ain = parley::attach(io, std::move(rx));
    parley::async_sender<int, udp> aout = parley::attach(io, std::move(tx));
};

}  // namespace

TEST_CASE("asio udp: coroutines that send and receive lose nothing they keep up with", "[asio]") {
    const watchdog dog("asio udp");
    joined p;
    int wrong = 0, got = 0;
    error_code end;
    asio::co_spawn(
        p.io,
        [&]() -> asio::awaitable<void> {
            for (int i = 0; i < 2000; ++i) {
                co_await p.aout.async_send(i, use_awaitable);
                const int n = co_await p.ain.async_receive(use_awaitable);
                wrong += n == i ? 0 : 1;
                ++got;
            }
            for (int i = 0; i < 20; ++i) co_await p.aout.async_send(i, use_awaitable);
            for (int i = 0; i < 20; ++i) {
                wrong += co_await p.ain.async_receive(use_awaitable) == i ? 0 : 1;
            }
            co_await p.aout.async_close(use_awaitable);
            const auto last = co_await p.ain.async_receive(asio::as_tuple(use_awaitable));
            end = std::get<0>(last);
        },
        asio::detached);
    p.io.run();
    CHECK(wrong == 0);
    CHECK(got == 2000);
    CHECK(end == parley::errc::closed);
    CHECK(p.ain.lost() == 0);
}

TEST_CASE("asio udp: a cancelled receive takes no message", "[asio]") {
    const watchdog dog("asio udp, cancelled");
    joined p;
    asio::cancellation_signal stop;
    error_code told;
    p.ain.async_receive(
        asio::bind_cancellation_slot(stop.slot(), [&](error_code ec, int) { told = ec; }));
    p.io.poll();
    stop.emit(asio::cancellation_type::all);
    p.io.restart();
    p.io.poll();
    CHECK(told == asio::error::operation_aborted);
    int got = 0;
    p.aout.async_send(7, [](error_code) {});
    p.ain.async_receive([&](error_code, int n) { got = n; });
    p.io.restart();
    p.io.run();
    CHECK(got == 7);
    CHECK(p.ain.lost() == 0);
}
