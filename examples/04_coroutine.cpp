// SPDX-License-Identifier: MIT
// A coroutine that watches a feed of prices from another process and a clock at once: it prints
// what comes, says when nothing came for a while, and ends when the feed does.
#include <parley/asio.hpp>
#include <parley/transport/pipe.hpp>

#include <sys/wait.h>
#include <unistd.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdio>
#include <thread>

namespace asio = boost::asio;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

struct tick {
    unsigned id;
    double price;
};

asio::awaitable<void> watch(parley::async_receiver<tick, parley::pipe> in) {
    asio::steady_timer quiet(co_await asio::this_coro::executor);
    constexpr auto tuple = asio::as_tuple(asio::use_awaitable);  // an error ends the race too
    for (;;) {
        quiet.expires_after(30ms);
        auto first = co_await (in.async_receive(tuple) || quiet.async_wait(tuple));
        if (first.index() == 1) {
            std::printf("... nothing for 30 ms; no tick is lost by looking at the clock\n");
        } else if (auto [ec, t] = std::get<0>(first); !ec) {
            std::printf("tick %u at %.2f\n", t.id, t.price);
        } else {
            co_return void(std::printf("%s\n", ec.message().c_str()));
        }
    }
}

int main() {
    auto [out, in] = parley::make_channel<tick>(parley::pipe{}).value();
    if (::fork() == 0) {  // the feed
        in.close();
        for (unsigned i = 1; i <= 5; ++i) {
            out.send({i, 100 + (i * 7 % 5) * 0.25}).value();
            std::this_thread::sleep_for(i == 3 ? 80ms : 5ms);
        }
        return out.close() ? 0 : 1;
    }
    out.close();
    asio::io_context io;
    asio::co_spawn(io, watch(parley::attach(io, std::move(in))), asio::detached);
    io.run();
    ::wait(nullptr);
}
