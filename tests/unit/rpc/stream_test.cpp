// SPDX-License-Identifier: MIT
// Streams and callbacks: both directions, credit, ends of every kind, near and far.
#include <parley/rpc.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/testing/virtual_wire.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::callback;
using parley::errc;
using parley::eventual;
using parley::method;
using parley::outcome;
using parley::result;
using parley::stream;
namespace rpc = parley::rpc;

namespace {

struct market {
    method<"count(to)", stream<int>(int)> count;
    method<"fail(words)", stream<std::string>(std::string)> fail;
    method<"sum(numbers)", std::int64_t(stream<int>)> sum;
    method<"sum_blocking", std::int64_t(stream<int>)> sum_blocking;
    method<"first", int(stream<int>)> first;
    method<"twice", stream<int>(stream<int>)> twice;
    method<"ask", int(std::string, callback<bool(int)>)> ask;
    method<"ask_blocking", int(int, callback<int(int)>)> ask_blocking;
    method<"tell", void(callback<void(std::string)>, int)> tell;
    method<"add", int(int, int)> add;
    method<"note", void(int), parley::one_way> note;
    method<"endless", stream<std::string>(int)> endless;
    method<"stop", void()> stop;
};
static_assert(decltype(market::sum)::description.words.words() == "(stream<i32>) -> i64");
static_assert(decltype(market::ask)::description.words.words() ==
              "(text, callback (i32) -> bool) -> i32");

/// Counts those that live, so that what is cancelled is seen to end.
struct witness {
    explicit witness(int& n) : alive(n) { ++alive; }
    witness(const witness&) = delete;
    witness& operator=(const witness&) = delete;
    ~witness() { --alive; }
    int& alive;
};
/// What the implementation did.
struct seen {
    int alive = 0, made = 0;
};

stream<int> numbers(int to) {
    for (int i = 0; i < to; ++i) co_yield i;
}
market implementation(seen& s) {
    market m;
    m.count = numbers;
    m.fail = [](std::string words) -> stream<std::string> {
        co_yield words + " 1";
        co_yield words + " 2";
        if (words == "throw") throw std::runtime_error("thrown in a stream");
        co_yield errc::denied;
        co_yield "never";
    };
    m.sum = [&s](stream<int> in) -> eventual<std::int64_t> {
        const witness w(s.alive);
        std::int64_t sum = 0;
        for (;;) {
            const auto n = co_await in;
            if (!n && n.error() == errc::closed) co_return sum;
            if (!n) co_return n.error();
            ++s.made;
            sum += *n;
        }
    };
    m.sum_blocking = [](stream<int> in) {
        std::int64_t sum = 0;
        while (const auto n = in.next()) sum += *n;
        return sum;
    };
    m.first = [](stream<int> in) -> eventual<int> { co_return co_await in; };
    m.twice = [&s](stream<int> in) -> stream<int> {
        const witness w(s.alive);
        while (const auto n = co_await in) co_yield 2 * *n;
    };
    m.ask = [&s](const std::string& what, callback<bool(int)> f) -> eventual<int> {
        const witness w(s.alive);
        for (int n = 0;; ++n) {
            const auto more = co_await f.start(n);
            if (!more) co_return more.error();
            if (!*more) co_return n + static_cast<int>(what.size());
        }
    };
    m.ask_blocking = [](int n, callback<int(int)> f) -> result<int> { return f(n); };
    m.tell = [](callback<void(std::string)> f, int n) -> eventual<void> {
        for (; n > 0; --n) {
            if (!co_await f.start(std::to_string(n)))
                throw std::runtime_error("he does not listen");
        }
    };
    m.add = [](int a, int b) { return a + b; };
    m.note = [](int) {};
    m.endless = [&s](int bytes) -> stream<std::string> {
        const witness w(s.alive);
        for (;;) {
            ++s.made;
            co_yield std::string(static_cast<std::size_t>(bytes), 'x');
        }
    };
    m.stop = [](parley::call_context& c) { c.stop(); };
    return m;
}

/// What works alike near and far.
void use(const market& m) {
    auto ticks = m.count(1000).value();
    for (int i = 0; i < 1000; ++i) REQUIRE(ticks.next(20s).value() == i);
    CHECK(ticks.next().error() == errc::closed);
    CHECK(ticks.next().error() == errc::closed);

    auto bad = m.fail("no").value();
    CHECK(bad.next().value() == "no 1");
    CHECK(bad.next().value() == "no 2");
    CHECK(bad.next().error() == errc::denied);

    CHECK(m.sum(numbers(30'000)).value() == 449'985'000);
    CHECK(m.sum(stream<int>()).value() == 0);
    int left = 5;
    CHECK(m.sum(stream<int>([&]() -> std::optional<int> {
               return left > 0 ? std::optional(left--) : std::nullopt;
           })).value() == 15);
    const auto failing = []() -> stream<int> {
        co_yield 1;
        co_yield errc::not_found;
    };
    CHECK(m.sum(failing()).error() == errc::not_found);
    CHECK(m.sum_blocking(numbers(1000), 20s).value() == 499'500);
    CHECK(m.first(numbers(1'000'000)).value() == 0);  // the others are not wanted
    auto doubled = m.twice(numbers(20'000)).value();
    for (int i = 0; i < 20'000; ++i) REQUIRE(doubled.next().value() == 2 * i);
    CHECK(doubled.next().error() == errc::closed);

    CHECK(m.ask("four", [](int n) { return n < 10; }).value() == 14);
    CHECK(m.ask("", [](int n) -> result<bool> {
               if (n == 3) return errc::denied;
               return true;
           }).error() == errc::denied);
    CHECK(m.ask_blocking(7, [](int n) { return n * n; }).value() == 49);
    std::string heard;
    CHECK(m.tell([&](const std::string& s) { heard += s; }, 5));
    CHECK(heard == "54321");
}

/// A market in a thread of its own.
template <class Address>
class desk {
public:
    explicit desk(const Address& at)
        : at_(at), thread_([this] {
              auto s = parley::open_server(at_, implementation(seen_), 20s).value();
              served_ = s.serve().has_value();
              (void)s.close(5s);
          }) {}
    ~desk() {
        (void)parley::open_client<market>(at_, 20s).value()->stop();
        thread_.join();
        CHECK(served_);
        CHECK(seen_.alive == 0);
    }

private:
    Address at_;
    seen seen_;
    bool served_ = false;
    std::thread thread_;
};

template <class Body>
void over_some(Body body) {
    const temporary_directory dir;
    const unique_name name("stream");
    body(parley::uds(dir / "x"));
    body(parley::uds(dir / "y", {.type = parley::uds::seqpacket}));
    body(parley::inproc(name.text()));
    body(parley::shm(name.text()));
}

/// A client and its server over a way of 1 ms, in virtual time.
struct far_market {
    seen saw;
    std::shared_ptr<parley::testing::virtual_way> way =
        std::make_shared<parley::testing::virtual_way>();
    parley::testing::virtual_wire at{way};
    parley::server<market, parley::testing::virtual_wire> server =
        parley::open_server(at, implementation(saw)).value();
    parley::client<market> c = parley::open_client<market>(at).value();

    far_market() {
        way->serve = [this] {
            while (server.try_serve()) {
            }
        };
    }
};

}  // namespace

TEST_CASE("stream: near and far it is used alike") {
    watchdog dog("stream: near and far");
    seen saw;
    use(implementation(saw));
    CHECK(saw.alive == 0);
    over_some([](const auto& at) {
        desk serving(at);
        auto c = parley::open_client<market>(at, 20s).value();
        use(*c);
        CHECK(c->fail("throw").value().next().value() == "throw 1");
        CHECK(c->add(1, 2).value() == 3);
        CHECK(c.under_way() == 0);
    });
}
TEST_CASE("stream: an answer that comes while values wait for room ends the call") {
    watchdog dog("stream: an answer while there is no room");
    const temporary_directory dir;
    const parley::uds at(dir / "x", {.type = parley::uds::seqpacket, .send_buffer_bytes = 4096});
    desk serving(at);
    auto c = parley::open_client<market>(at, 20s).value();
    for (int i = 0; i < 500; ++i) REQUIRE(c->first(numbers(1'000'000)).value() == 0);
}
TEST_CASE("stream: many of them at once, between calls, each in its order") {
    watchdog dog("stream: many at once");
    over_some([](const auto& at) {
        desk serving(at);
        auto c = parley::open_client<market>(at, 20s).value();
        auto other = parley::open_client<market>(at, 20s).value();
        std::vector<stream<int>> all;
        for (int k = 0; k < 20; ++k) all.push_back((k % 2 == 0 ? c : other)->count(500).value());
        auto endless = other->endless(10).value();
        for (int i = 0; i < 500; ++i) {
            for (auto& s : all) REQUIRE(s.next().value() == i);
            if (i % 50 == 0) {
                CHECK(c->add(i, 1).value() == i + 1);
                CHECK(endless.next().value().size() == 10);
            }
        }
        for (auto& s : all) CHECK(s.next().error() == errc::closed);
    });
}
TEST_CASE("stream: no more is made than there is credit for, and the first value costs one trip") {
    far_market far;
    auto big = far.c->endless(1000).value();
    CHECK(big.next().value().size() == 1000);
    CHECK(far.way->round_trips() == 1);
    for (int i = 0; i < 5; ++i) (void)far.way->go_on();
    const int window = rpc::talk::window_bytes / 1020;
    CHECK(far.saw.made >= window);
    CHECK(far.saw.made <= window + 3);
    const int before = far.saw.made;
    CHECK(far.c->add(1, 1).value() == 2);  // others are not held up
    CHECK(far.saw.made == before);
    for (int i = 0; i < 200; ++i) CHECK(big.next());
    for (int i = 0; i < 5; ++i) (void)far.way->go_on();
    CHECK(far.saw.made > before);
    CHECK(far.saw.made <= window + 203);
}
TEST_CASE("stream: who wants no more of it ends what makes it") {
    far_market far;
    {
        auto big = far.c->endless(1000).value();
        CHECK(big.next());
        CHECK(far.saw.alive == 1);
        auto same = big;
    }
    CHECK(far.c.under_way() == 0);
    CHECK(far.c->add(1, 1).value() == 2);  // the cancel came before it
    CHECK(far.saw.alive == 0);

    int made = 0;
    CHECK(far.c->first(stream<int>([&]() -> std::optional<int> { return made++; })).value() == 0);
    CHECK(made > 0);
    const int before = made;
    CHECK(far.c->add(1, 1).value() == 2);
    CHECK(made == before);

    auto late = far.c->sum.start(numbers(3)).value();
    CHECK(late.try_finish().error() == errc::would_block);
    late.cancel();
    CHECK(far.c->add(1, 1).value() == 2);
    CHECK(far.saw.alive == 0);
}
TEST_CASE("stream: what nobody answers answers nobody else's call") {
    far_market far;
    auto first = far.c->endless(1000).value();  // number 0, as every call that nobody answers
    CHECK(far.c->note(1));
    for (int i = 0; i < 1000; ++i) REQUIRE(first.next().value().size() == 1000);
}
TEST_CASE("stream: both end at once when the other side is lost") {
    far_market far;
    auto big = far.c->endless(1000).value();
    auto doubled = far.c->twice(numbers(1'000'000)).value();
    CHECK(big.next());
    CHECK(doubled.next().value() == 0);
    auto asked = far.c->ask.start("x", [](int) { return true; }).value();
    (void)asked.try_finish();
    CHECK(far.c->add(1, 1).value() == 2);
    CHECK(far.saw.alive == 3);
    far.way->is_cut = true;
    while (big.next()) {  // what came before is not lost
    }
    CHECK(big.next().error() == errc::peer_lost);
    while (doubled.next()) {
    }
    CHECK(doubled.next().error() == errc::peer_lost);
    const auto r = asked.finish();
    CHECK(r.error() == errc::peer_lost);
    CHECK(r.how() == outcome::unknown);
    (void)far.server.try_serve();
    CHECK(far.saw.alive == 0);
}
TEST_CASE("stream: a callback may call its own server, and outlives no call") {
    watchdog dog("stream: callbacks");
    over_some([](const auto& at) {
        desk serving(at);
        auto c = parley::open_client<market>(at, 20s).value();
        int sum = 0;
        const auto r = c->ask("", [&](int n) {
            sum += c->add(n, 1).value();
            return n < 4;
        });
        CHECK(r.value() == 4);
        CHECK(sum == 15);
        const auto thrown = c->ask("", [&](int) -> bool { throw std::runtime_error("not now"); });
        CHECK(thrown.error() == errc::unsupported);
        auto given_up = c->ask.start("", [](int) { return true; }).value();
        for (int i = 0; i < 3; ++i) CHECK(given_up.finish(1ms).error() == errc::timed_out);
        given_up.cancel();
        CHECK(c->add(1, 1).value() == 2);
        const auto late = c->ask(
            "", [](int) { return true; }, 30ms);
        CHECK(late.error() == errc::timed_out);
        CHECK(c->add(1, 1).value() == 2);
    });
}
TEST_CASE("stream: what is too long for the transport ends it with that error") {
    far_market far;
    auto big = far.c->endless(2'000'000).value();
    CHECK(big.next().error() == errc::message_too_large);
    CHECK(far.c->add(1, 1).value() == 2);
    CHECK(far.saw.alive == 0);
}
