// SPDX-License-Identifier: MIT
// kill -9 of publishers and subscribers at random moments: who is left goes on, and nothing stays.
#include <parley/base/random.hpp>
#include <parley/pubsub.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/resources.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <new>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::open_publisher;
using parley::open_subscriber;
using parley::shm;
namespace when_full = parley::when_full;

namespace {

/// Message `number` of a publisher's `life`; longer than one copy of a processor.
struct note {
    std::uint64_t life, number;
    std::array<std::uint64_t, 6> same;
};
note nth(std::uint64_t life, std::uint64_t i) {
    const auto x = life * 1'000'003 + i;
    return {life, i, {x, x, x, x, x, x}};
}
bool is_whole(const note& n) {
    for (const auto x : n.same) {
        if (x != n.life * 1'000'003 + n.number) return false;
    }
    return true;
}

/// Messages lie in its rings, or in chunks.
shm tiny(const std::string& name, std::size_t chunks = 0) {
    return shm(name, {.capacity_bytes = 8192, .writers_max = 16, .chunks = chunks});
}

/// Passes the time until some moment nobody chose.
void dawdle(parley::random& r, std::uint64_t most_us) {
    const auto until = parley::clock::now() + std::chrono::microseconds(r.below(most_us));
    while (parley::clock::now() < until) {
    }
}

struct told {
    std::atomic<std::uint64_t> sent;
    std::atomic<int> bad;
};

/// Reads until `life` is over: how many of its messages came.
struct survivor {
    parley::subscriber<note> in;
    std::uint64_t life = 0, next = 0, got = 0, wrong = 0;

    /// False when the stream ended.
    bool read() {
        const auto n = in.receive();
        if (!n) {
            wrong += n.error() != errc::peer_lost;
            return false;
        }
        if (n->life != life) {
            wrong += n->life < life;
            life = n->life;
            next = 0;
        }
        wrong += !is_whole(*n) || n->number < next;
        next = n->number + 1;
        ++got;
        return true;
    }
};

template <class Rule>
void kill_publishers(Rule rule, int rounds, std::size_t chunks) {
    const unique_name name("topic");
    shared<told> board;
    parley::random r(21);
    auto keeper = open_publisher<note>(tiny(name, chunks), rule).value();
    survivor a{open_subscriber<note>(tiny(name, chunks)).value()};
    survivor b{open_subscriber<note>(tiny(name, chunks)).value()};
    keeper.publish(nth(0, 0)).value();
    keeper.close().value();
    REQUIRE(a.in.receive().value().life == 0);
    REQUIRE(b.in.receive().value().life == 0);
    REQUIRE(a.in.receive().error() == errc::closed);
    REQUIRE(b.in.receive().error() == errc::closed);
    const bool lossless = std::is_same_v<Rule, when_full::block>;
    for (int round = 1; round <= rounds; ++round) {
        board->sent = 0;
        const auto before_a = a.in.lost(), before_b = b.in.lost();
        gate started;
        child c([&]() -> int {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            auto out = open_publisher<note>(tiny(name, chunks), rule).value();
            started.open();
            for (std::uint64_t i = 0;; ++i) {
                if (!out.publish(nth(static_cast<std::uint64_t>(round), i))) return 1;
                board->sent = i + 1;
            }
        });
        started.pass();
        a.got = b.got = 0;
        std::jthread other([&] {
            while (b.read()) {
            }
        });
        for (auto n = r.below(300); n > 0; --n) a.read();
        dawdle(r, 500);
        c.kill();
        while (a.read()) {
        }
        other.join();
        const std::uint64_t sent = board->sent;
        for (const auto& [s, before] : {std::pair{&a, before_a}, std::pair{&b, before_b}}) {
            const auto all = s->got + s->in.lost() - before;
            INFO("round " << round << ": " << s->got << " came of " << sent);
            CHECK((all == sent || all == sent + 1));
            CHECK((!lossless || s->in.lost() == 0));
            CHECK(s->wrong == 0);
            CHECK(s->in.peers_lost() == static_cast<std::uint64_t>(round));
        }
    }
    a.in.close().value();
    b.in.close().value();
    CHECK(leftovers(name.text()).empty());
}

}  // namespace

TEST_CASE("pubsub kill -9: a publisher's successor goes on in its ring, and the count is exact") {
    watchdog dog("pubsub: killed publishers", 600s);
    const int rounds = campaign() ? 2000 : 60;
    const auto chunks = GENERATE(std::size_t{0}, std::size_t{16});
    SECTION("block") { kill_publishers(when_full::block{}, rounds, chunks); }
    SECTION("drop_newest") { kill_publishers(when_full::drop_newest{}, rounds, chunks); }
    SECTION("drop_oldest") { kill_publishers(when_full::drop_oldest{}, rounds, chunks); }
}

TEST_CASE("pubsub kill -9: dead subscribers hold nobody up and leave their places to others") {
    watchdog dog("pubsub: killed subscribers", 600s);
    const unique_name name("topic");
    const int rounds = campaign() ? 3000 : 100;
    const auto chunks = GENERATE(std::size_t{0}, std::size_t{32});
    parley::random r(22);
    auto out = open_publisher<note>(tiny(name, chunks), when_full::block{}).value();
    survivor in{open_subscriber<note>(tiny(name, chunks)).value()};
    std::uint64_t sent = 0;
    const auto before = resources::now();
    for (int round = 0; round < rounds; ++round) {
        gate started;
        child c([&]() -> int {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            started.open();
            auto mine = open_subscriber<note>(tiny(name, chunks)).value();
            std::vector<parley::subscriber<note>::borrowed_type> held;
            for (;;) {  // some of them hold on to what they see
                if (auto n = mine.borrow(); n && round % 2 == 0) held.push_back(std::move(*n));
            }
        });
        started.pass();
        const auto until = parley::clock::now() + std::chrono::microseconds(r.below(3000));
        while (parley::clock::now() < until) {
            if (out.try_publish(nth(1, sent))) ++sent;
            if (in.got < sent && r.below(2) == 0) in.read();
        }
        c.kill();
        // A whole ring more: whoever held it is dead.
        for (int n = 0; n < 150; ++n) {
            while (!out.publish(nth(1, sent), in.got < sent ? 0ms : 1000ms)) in.read();
            ++sent;
        }
    }
    while (in.got < sent) in.read();
    CHECK(in.wrong == 0);
    CHECK(in.in.lost() == 0);
    CHECK(out.subscribers() == 1);
    CHECK(resources::now() == before);
    std::vector<parley::subscriber<note>> all;
    for (int i = 1; i < 64; ++i) all.push_back(open_subscriber<note>(tiny(name, chunks)).value());
    CHECK(out.subscribers() == 64);
    CHECK(open_subscriber<note>(tiny(name, chunks), 0ms).error() == errc::out_of_resources);
    all.clear();
    in.in.close().value();
    out.close().value();
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("pubsub kill -9: any who come and go are killed; the next find nothing in their way") {
    watchdog dog("pubsub: killed while coming and going", 600s);
    const unique_name name("topic");
    const int rounds = campaign() ? 3000 : 100;
    const auto chunks = GENERATE(std::size_t{0}, std::size_t{32});
    parley::random r(23);
    for (int round = 0; round < rounds; ++round) {
        std::vector<child> all;
        gate started;
        for (int k = 0; k < 3; ++k) {
            all.emplace_back([&, k]() -> int {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                started.open();
                for (std::uint64_t i = 0;; ++i) {
                    if (k == 0) {
                        auto in = open_subscriber<note>(tiny(name, chunks)).value();
                        (void)in.receive(1ms);
                    } else {
                        auto out =
                            open_publisher<note>(tiny(name, chunks), when_full::drop_oldest{});
                        if (!out) return 1;
                        for (std::uint64_t n = 0; n < i % 4; ++n) (void)out->publish(nth(1, n));
                    }
                }
            });
        }
        for (int k = 0; k < 3; ++k) started.pass();
        dawdle(r, 3000);
        all.clear();
        auto out = open_publisher<note>(tiny(name, chunks), when_full::drop_oldest{}).value();
        auto in = open_subscriber<note>(tiny(name, chunks)).value();
        out.publish(nth(9, 9)).value();
        const auto n = in.receive().value();
        REQUIRE(n.life == 9);
        REQUIRE(in.lost() == 0);
        REQUIRE(out.subscribers() == 1);
        REQUIRE(leftovers(name.text()).size() == 1);
    }
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("pubsub: racing publishers of a stale name meet in one topic, and leave it together") {
    watchdog dog("pubsub: racing publishers", 600s);
    const unique_name name("topic");
    const int rounds = campaign() ? 2000 : 60;
    constexpr int racers = 6;
    shared<told> board;
    gate next, opened, done, leave;
    std::vector<child> all;
    for (int k = 0; k < racers; ++k) {
        all.emplace_back([&, k] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int round = 0; round < rounds; ++round) {
                next.pass();
                auto out = open_publisher<note>(tiny(name), when_full::block{});
                if (!out) ++board->bad;
                opened.open();
                done.pass();
                if (out && !out->publish(nth(1, static_cast<std::uint64_t>(k)))) ++board->bad;
                opened.open();
                leave.pass();
                if (out) (void)out->close();
                opened.open();
            }
            return 0;
        });
    }
    for (int round = 0; round < rounds; ++round) {
        {
            child dead([&] {  // leaves a stale topic of another type
                auto out = open_publisher<int>(tiny(name), when_full::drop_oldest{}).value();
                return ::kill(::getpid(), SIGKILL);
            });
            REQUIRE(dead.wait() == 128 + SIGKILL);
        }
        next.open(racers);
        for (int k = 0; k < racers; ++k) opened.pass();
        auto in = open_subscriber<note>(tiny(name)).value();
        done.open(racers);
        for (int k = 0; k < racers; ++k) opened.pass();
        std::uint64_t seen = 0;
        for (int k = 0; k < racers; ++k) seen |= 1U << in.receive().value().number;
        CHECK(seen == (1U << racers) - 1);
        leave.open(racers);
        if (round % 2 == 0) in.close().value();
        for (int k = 0; k < racers; ++k) opened.pass();
        if (round % 2 != 0) {
            CHECK(in.receive().error() == errc::closed);
            in.close().value();
        }
        CHECK(leftovers(name.text()).empty());
    }
    for (auto& c : all) CHECK(c.wait() == 0);
    CHECK(board->bad == 0);
}
