// SPDX-License-Identifier: MIT
// Services between real processes: what a caller knows when its server, or the way to it, is
// killed, and what is called again.
#include <parley/rpc.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/shm.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::method;
using parley::outcome;

namespace {

struct counter {
    method<"plain", int(int)> plain;
    method<"again", int(int), parley::idempotent> again;
    method<"once", int(int), parley::once> once;
    method<"who", int()> who;
    method<"nested", int(int)> nested;
    method<"stop", void()> stop;
};

struct feed {
    method<"endless", parley::stream<int>()> endless;
    method<"sum", std::int64_t(parley::stream<int>)> sum;
    method<"ask", int(parley::callback<bool(int)>)> ask;
    method<"alive", int()> alive;
    method<"stop", void()> stop;
};
struct counted {
    explicit counted(int& n) : alive(n) { ++alive; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --alive; }
    int& alive;
};
template <class Address>
int serve_feed(const Address& at) {
    int alive = 0;
    feed f;
    f.endless = [&]() -> parley::stream<int> {
        const counted one(alive);
        for (int i = 0;; ++i) co_yield i;
    };
    f.sum = [&](parley::stream<int> in) -> parley::eventual<std::int64_t> {
        const counted one(alive);
        std::int64_t sum = 0;
        while (const auto n = co_await in) sum += *n;
        co_return sum;
    };
    f.ask = [&](parley::callback<bool(int)> go_on) -> parley::eventual<int> {
        const counted one(alive);
        for (int n = 0;; ++n) {
            const auto more = co_await go_on.start(n);
            if (!more) co_return more.error();
            if (!*more) co_return n;
        }
    };
    f.alive = [&] { return alive; };
    f.stop = [](parley::call_context& k) { k.stop(); };
    auto s = parley::open_server(at, f, 20s).value();
    return s.serve() && s.close(5s) ? 0 : 1;
}
parley::stream<int> ones() {
    for (;;) co_yield 1;
}

/// A counter whose calls with a positive argument run; zero waits to be killed.
template <class Address>
int serve(const Address& at, gate& running, gate* go = nullptr) {
    int n = 0;
    const auto count = [&](int by) {
        if (by == 0) {
            running.open();
            if (go == nullptr) ::pause();
            go->pass();
        }
        return ++n;
    };
    counter c;
    c.plain = count;
    c.again = count;
    c.once = count;
    c.who = [](parley::call_context& k) { return static_cast<int>(k.caller().pid); };
    c.stop = [](parley::call_context& k) { k.stop(); };
    auto s = parley::open_server(at, c, 20s).value();
    return s.serve() && s.close(5s) ? 0 : 1;
}

template <class Body>
void over_every_transport(Body body) {
    const temporary_directory dir;
    const unique_name name("service");
    const reserved_port port;
    body(parley::uds(dir / "stream"), "uds stream");
    body(parley::tcp(port.text()), "tcp");
    body(parley::shm(name.text()), "shm");
}

/// Hands bytes on between a name and a server behind it, for one connection after another, until it
/// is killed.
int forward(const std::string& from, const std::string& to, gate& ready) {
    const auto named = [](const std::string& path) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        std::memcpy(a.sun_path, path.data(), path.size());
        return a;
    };
    ::unlink(from.c_str());
    const int door = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const sockaddr_un here = named(from), there = named(to);
    if (::bind(door, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0) return 1;
    if (::listen(door, 8) != 0) return 2;
    ready.open();
    for (;;) {
        const int a = ::accept(door, nullptr, nullptr);
        const int b = ::socket(AF_UNIX, SOCK_STREAM, 0);
        if (::connect(b, reinterpret_cast<const sockaddr*>(&there), sizeof there) != 0) return 3;
        pollfd fds[] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
        for (bool open = true; open;) {
            if (::poll(fds, 2, -1) < 0) return 4;
            for (int i = 0; i < 2 && open; ++i) {
                if (fds[i].revents == 0) continue;
                char bytes[4096];
                const auto n = ::read(fds[i].fd, bytes, sizeof bytes);
                open = n > 0 && ::write(fds[1 - i].fd, bytes, static_cast<std::size_t>(n)) == n;
            }
        }
        ::close(a);
        ::close(b);
    }
}

}  // namespace

TEST_CASE(
    "service: a killed server leaves the outcome unknown, and idempotent calls find the next") {
    watchdog dog("service: a killed server");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        gate running;
        std::optional<child> server;
        server.emplace([&] { return serve(at, running); });
        auto c = parley::open_client<counter>(at, 20s).value();
        CHECK(c->plain(1).value() == 1);
        const auto replace = [&] {
            running.pass();
            server->kill();
            server.emplace([&] { return serve(at, running); });
        };
        std::thread first(replace);
        const auto lost = c->plain(0);
        first.join();
        CHECK(lost.error() == errc::peer_lost);
        CHECK(lost.how() == outcome::unknown);
        CHECK(c->plain(1, 20s).value() == 1);  // the next server counts anew
        std::thread second([&] {
            replace();
            running.pass();  // it is called again, and waits at the second server
            server->kill();
        });
        const auto again = c->again(0, 2s * slowness());  // it must find the second server
        second.join();
        CHECK(again.how() == outcome::unknown);
        CHECK(again.error() == errc::peer_lost);
        server.emplace([&] { return serve(at, running); });
        CHECK(c->once(1, 20s).value() == 1);
        std::thread third(replace);
        const auto once = c->once(0, 20s);
        third.join();
        CHECK(once.error() == errc::peer_lost);  // the next server cannot know whether it ran
        CHECK(once.how() == outcome::unknown);
        CHECK(c->once(1, 20s).value() == 1);
        CHECK(c->stop(20s));
        CHECK(server->wait() == 0);
    });
}
TEST_CASE("service: when only the way is lost, what is to run once runs once and is answered") {
    watchdog dog("service: the way is lost");
    const temporary_directory dir;
    const parley::uds at(dir / "server");
    const std::string way = dir / "way";
    gate running, go, ready;
    child server([&] { return serve(at, running, &go); });
    CHECK(parley::open_client<counter>(at, 20s).value()->plain(1).value() == 1);
    std::optional<child> between;
    const auto connect = [&] {
        between.emplace([&] { return forward(way, dir / "server", ready); });
        ready.pass();
    };
    connect();
    auto c = parley::open_client<counter>(parley::uds(way), 20s).value();
    const auto cut = [&] {
        running.pass();
        between->kill();
        go.open();
        connect();
    };
    for (int round = 0; round < 5; ++round) {
        std::thread cutting(cut);
        const auto once = c->once(0, 60s);
        cutting.join();
        CHECK(once.value() == 2 + 2 * round);
        CHECK(once.how() == outcome::done);
        CHECK(c->once(1, 60s).value() == 3 + 2 * round);
    }
    std::thread cutting(cut);
    const auto plain = c->plain(0, 60s);
    cutting.join();
    CHECK(plain.error() == errc::peer_lost);
    CHECK(plain.how() == outcome::unknown);
    CHECK(c->plain(1, 60s).value() == 13);
    CHECK(c->stop(20s));
    CHECK(server.wait() == 0);
}
TEST_CASE("service: a handler knows who calls, and hands what is left of the time on") {
    watchdog dog("service: context");
    const temporary_directory dir;
    const parley::uds inner(dir / "inner"), outer(dir / "outer");
    gate running, go;
    child back([&] { return serve(inner, running, &go); });
    child front([&] {
        auto behind = parley::open_client<counter>(inner, 20s).value();
        counter c;
        c.nested = [&](parley::call_context& k, int by) -> parley::result<int> {
            return behind->plain(by, k.until());
        };
        c.who = [](parley::call_context& k) { return static_cast<int>(k.caller().pid); };
        c.stop = [](parley::call_context& k) { k.stop(); };
        auto s = parley::open_server(outer, c, 20s).value();
        return s.serve() && s.close(5s) ? 0 : 1;
    });
    auto c = parley::open_client<counter>(outer, 20s).value();
    CHECK(c->who().value() == ::getpid());
    CHECK(c->nested(5, 20s).value() == 1);
    const auto late = c->nested(0, 50ms);
    CHECK(late.error() == errc::timed_out);
    go.open();
    CHECK(c->nested(5, 20s).value() == 3);
    CHECK(c->stop());
    CHECK(front.wait() == 0);
    auto b = parley::open_client<counter>(inner, 20s).value();
    CHECK(b->stop());
    CHECK(back.wait() == 0);
}
TEST_CASE(
    "service: callers that are killed leave nothing but their calls, which others do not feel") {
    watchdog dog("service: killed callers");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        gate running;
        child server([&] { return serve(at, running); });
        for (int round = 0; round < 4; ++round) {
            gate calling;
            child caller([&] {
                auto c = parley::open_client<counter>(at, 20s).value();
                for (int i = 0;; ++i) {
                    const auto together = c.batch();
                    auto one = c->plain.start(1);
                    auto two = c->again.start(1);
                    if (i == 3) calling.open();
                }
                return 0;
            });
            calling.pass();
            caller.kill();
            auto c = parley::open_client<counter>(at, 20s).value();
            CHECK(c->plain(1, 60s).value() > 0);
        }
        auto c = parley::open_client<counter>(at, 20s).value();
        CHECK(c->stop(60s));
        CHECK(server.wait() == 0);
    });
}
TEST_CASE("service: streams and callbacks end at once with whoever is killed, on both sides") {
    watchdog dog("service: killed streams");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        std::optional<child> server;
        server.emplace([&] { return serve_feed(at); });
        auto c = parley::open_client<feed>(at, 20s).value();
        for (int round = 0; round < 3; ++round) {
            gate talking;
            child caller([&] {
                auto own = parley::open_client<feed>(at, 20s).value();
                auto numbers = own->endless().value();
                auto sum = own->sum.start(ones()).value();
                for (int i = 0; i < 1000; ++i) (void)numbers.next();
                (void)own->ask([&](int n) {
                    if (n == 20) talking.open();
                    return true;
                });
                return 0;
            });
            talking.pass();
            CHECK(c->alive(20s).value() == 3);
            caller.kill();
            while (c->alive(20s).value() != 0) continue;  // it learns of the death; dog watches
        }
        auto numbers = c->endless().value();
        CHECK(numbers.next(20s).value() == 0);
        auto sum = c->sum.start(ones()).value();
        bool asked = false;
        const auto ask = c->ask([&](int n) {
            if (n == 5) server->kill(), asked = true;
            return true;
        });
        CHECK(asked);
        CHECK(ask.error() == errc::peer_lost);
        CHECK(ask.how() == outcome::unknown);
        CHECK(sum.finish().error() == errc::peer_lost);
        while (numbers.next()) continue;
        CHECK(numbers.next().error() == errc::peer_lost);
        server.emplace([&] { return serve_feed(at); });
        CHECK(c->endless(20s).value().next(20s).value() == 0);  // the next one is found
        CHECK(c->stop(20s));
        CHECK(server->wait() == 0);
    });
}
