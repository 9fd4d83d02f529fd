// SPDX-License-Identifier: MIT
// Services under Asio: coroutines, futures and callbacks on one client, many calls under way.
#include <parley/asio.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <optional>
#include <string>
#include <thread>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
namespace asio = boost::asio;

namespace {

struct service {
    parley::method<"add", int(int, int)> add;
    parley::method<"text", std::string(int)> text;
    parley::method<"nothing", void()> nothing;
    parley::method<"stop", void()> stop;
};

service implementation() {
    return {.add = [](int a, int b) { return a + b; },
            .text = [](int n) { return std::string(static_cast<std::size_t>(n), 'x'); },
            .nothing = [] {},
            .stop = [](parley::call_context& c) { c.stop(); }};
}

template <class Body>
void over_transports(Body body) {
    const temporary_directory dir;
    const unique_name name("asio-service");
    body(parley::uds(dir / "x"));
    body(parley::shm(name.text()));
}

}  // namespace

TEST_CASE("async client: coroutines, futures and callbacks get the answers to their calls") {
    watchdog dog("async client: tokens");
    over_transports([](const auto& at) {
        std::thread serving([&] {
            auto s = parley::open_server(at, implementation(), 20s).value();
            (void)s.serve();
            (void)s.close(5s);
        });
        asio::io_context io;
        auto c = parley::attach(io, parley::open_client<service>(at, 20s).value());
        int done = 0;
        for (int who = 0; who < 4; ++who) {
            asio::co_spawn(
                io,
                [&, who]() -> asio::awaitable<void> {
                    for (int i = 0; i < 100; ++i) {
                        const int sum =
                            co_await c.async_finish(c->add.start(who, i, 20s), asio::use_awaitable);
                        if (sum == who + i) ++done;
                    }
                    co_await c.async_finish(c->nothing.start(), asio::use_awaitable);
                },
                [](std::exception_ptr e) {
                    if (e) std::rethrow_exception(e);
                });
        }
        std::size_t length = 0;
        c.async_finish(c->text.start(200'000), [&](parley::error_code ec, const std::string& s) {
            length = ec ? 0 : s.size();
        });
        auto future = c.async_finish(c->add.start(20, 3), asio::use_future);
        io.run();
        CHECK(done == 400);
        CHECK(length == 200'000);
        CHECK(future.get() == 23);
        io.restart();
        bool stopped = false;
        c.async_finish(c->stop.start(), [&](parley::error_code ec) { stopped = !ec; });
        io.run();
        CHECK(stopped);
        serving.join();
    });
}
TEST_CASE("async client: deadlines, cancellation and death end calls, each its own way") {
    watchdog dog("async client: ends");
    over_transports([](const auto& at) {
        std::optional s(parley::open_server(at, implementation(), 20s).value());
        asio::io_context io;
        std::optional<parley::client<service>> made;
        std::thread opening([&] { made.emplace(parley::open_client<service>(at, 20s).value()); });
        while (s->callers() == 0) (void)s->serve_one(10ms);
        opening.join();
        std::optional c(parley::attach(io, std::move(*made)));
        parley::error_code late, cancelled, lost, refused, orphan;
        const auto into = [](parley::error_code& to) {
            return [&to](parley::error_code ec, int) { to = ec; };
        };
        asio::cancellation_signal signal;
        c->async_finish((*c)->add.start(1, 2, 20ms), into(late));
        c->async_finish((*c)->add.start(1, 2),
                        asio::bind_cancellation_slot(signal.slot(), into(cancelled)));
        c->async_finish((*c)->add.start(1, 2), into(lost));
        c->async_finish((*c)->add.start(1, 2, 0ms), into(refused));
        while (!late || !refused) io.run_one();
        CHECK(late == errc::timed_out);
        CHECK(refused == errc::timed_out);
        CHECK_FALSE(cancelled);
        signal.emit(asio::cancellation_type::terminal);
        while (!cancelled) io.run_one();
        CHECK(cancelled == asio::error::operation_aborted);
        CHECK_FALSE(lost);
        s.reset();
        io.run();
        CHECK(lost == parley::condition::gone);
        s.emplace(parley::open_server(at, implementation(), 20s).value());
        std::thread answering([&] {
            for (int n = 0; n < 100 && s->callers() == 0; ++n) (void)s->serve_one(100ms);
        });
        io.restart();
        c->async_finish((*c)->add.start(1, 2, 20s), into(orphan));
        c.reset();
        io.run();
        CHECK(orphan == asio::error::operation_aborted);
        answering.join();
    });
}
