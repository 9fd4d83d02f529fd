// SPDX-License-Identifier: MIT
// Who owns the name of a segment when its owner was killed.
#include <parley/base/random.hpp>
#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/prctl.h>

#include <new>
#include <thread>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::shm;

namespace {

shm tiny(const std::string& name) { return shm(name, {.capacity_bytes = 4096, .writers_max = 2}); }

struct board {
    std::atomic<int> owners, refused, other, present;
};

}  // namespace

TEST_CASE("shm: of sixteen racing openers of a stale name exactly one owns it") {
    watchdog dog("shm: racing openers", 900s);
    const unique_name name("race");
    const unique_name aside("aside");
    const std::string path = "/dev/shm/parley." + name.text(), kept = path + ".kept";
    constexpr int racers = 16;
    const int rounds = campaign() ? 10'000 : 300;
    shared<board> seen;
    gate done, next[2];
    std::vector<child> all;
    for (int r = 0; r < racers; ++r) {
        all.emplace_back([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int round = 1; round <= rounds; ++round) {
                next[0].pass();
                diagnostics why;
                auto in = open_source(tiny(name), why);
                if (in) {
                    ++seen->owners;
                } else {
                    ++(in.error() == errc::in_use ? seen->refused : seen->other);
                }
                done.open();
                next[1].pass();
                if (in) {  // as if killed: the lock falls, the name stays
                    if (::rename(path.c_str(), kept.c_str()) != 0) ++seen->other;
                    in->close(parley::never).value();
                    if (::rename(kept.c_str(), path.c_str()) != 0) ++seen->other;
                }
                done.open();
            }
            return 0;
        });
    }
    for (int round = 1; round <= rounds; ++round) {
        for (const int phase : {0, 1}) {
            next[phase].open(racers);
            for (int r = 0; r < racers; ++r) done.pass();
            if (phase == 0) REQUIRE(seen->owners == round);
        }
    }
    for (auto& c : all) CHECK(c.wait() == 0);
    CHECK(seen->refused == rounds * (racers - 1));
    CHECK(seen->other == 0);
    { auto last = source_at(tiny(name)); }
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("shm: openers that are killed at any moment leave nothing that the next does not clear") {
    watchdog dog("shm: killed openers", 300s);
    const unique_name name("killed");
    const int rounds = campaign() ? 1000 : 100;
    parley::random r(11);
    for (int round = 0; round < rounds; ++round) {
        gate started;
        child c([&]() -> int {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            started.open();
            for (;;) auto in = source_at(tiny(name));
        });
        started.pass();
        const auto until = parley::clock::now() + std::chrono::microseconds(r.below(1000));
        while (parley::clock::now() < until) {
        }
        c.kill();
        auto in = source_at(tiny(name));
        auto out = sink_at(tiny(name));
        CHECK(leftovers(name.text()).size() == 1);
    }
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("shm: senders that are killed at any moment leave every lane to the next") {
    watchdog dog("shm: killed senders", 300s);
    const unique_name name("lanes");
    const int rounds = campaign() ? 3000 : 150;
    auto in = source_at(shm(name, {.capacity_bytes = 4096, .writers_max = 1}));
    parley::random r(12);
    for (int round = 0; round < rounds; ++round) {
        gate started;
        child c([&]() -> int {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            started.open();
            for (;;) {
                auto out = sink_at(tiny(name));
                for (int i = 0; i < 5; ++i) {
                    (void)send(out, "to whom it may concern", parley::expired);
                }
            }
        });
        started.pass();
        const auto until = parley::clock::now() + std::chrono::microseconds(r.below(1500));
        while (parley::clock::now() < until) {
            if (const auto m = in.try_receive()) {
                if (parley::as_text(m->bytes()) != "to whom it may concern") FAIL("torn");
            }
        }
        c.kill();
        // The one lane is free again as soon as the reader knows that its writer died.
        std::atomic<bool> sent{false};
        std::jthread next([&] {
            auto out = sink_at(tiny(name));
            (void)send(out, "next", parley::never);
            sent = true;
        });
        for (bool came = false; !came;) {
            const auto m = receive(in);
            if (m) came = *m == "next";
        }
        next.join();
        CHECK(receive(in).error() == errc::closed);
    }
}

TEST_CASE("shm: without `resume` a receiver begins anew, and the senders of a dead one are told") {
    const watchdog dog("shm: anew");
    const unique_name name("anew");
    const parley::shm at(name, {.resume = false});
    CHECK(at.to_uri().text() == "shm://" + name.text() + "?resume=off");
    gate ready;
    child dead([&] {
        const auto in = parley::open_receiver<int>(at).value();
        ready.open();
        for (;;) ::pause();
        return 0;
    });
    ready.pass();
    auto old = parley::open_sender<int>(at, 20s).value();
    REQUIRE(old.send(1));
    dead.kill();
    auto in = parley::open_receiver<int>(at).value();
    CHECK(in.try_receive().error() == parley::errc::would_block);
    auto r = old.send(2);
    while (r) r = old.send(2);
    CHECK(r.error() == parley::errc::peer_lost);
    auto out = parley::open_sender<int>(at, 20s).value();
    REQUIRE(out.send(3));
    CHECK(in.receive().value() == 3);
    CHECK(in.lost() == 0);
}
