// SPDX-License-Identifier: MIT
// The explorer on programs whose outcomes the C++20 memory model is known for.
#include <parley/testing/scheduled_atomics.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <functional>
#include <set>
#include <string>

using namespace parley::testing;
using A = scheduled_atomics;
using enum std::memory_order;

namespace {

using word = std::uint64_t;

/// Two shared words and what each of up to four threads read: the outcomes of a program.
struct litmus {
    word x = 0, y = 0;
    char read[4] = {};
    exploration seen;
    std::string again;  // the trace of a replay

    std::set<std::string> run(const std::vector<std::function<void(litmus&)>>& threads,
                              exploration_plan plan = {}) {
        std::set<std::string> outcomes;
        explorer e(plan);
        e.before([this] {
            x = y = 0;
            for (auto& r : read) r = '-';
        });
        for (std::size_t t = 0; t < threads.size(); ++t) {
            e.thread(std::string(1, static_cast<char>('a' + t)),
                     [this, &threads, t] { threads[t](*this); });
        }
        e.after([&] {
            std::string all(read, 4);
            outcomes.insert(all.substr(0, all.find('-')));
        });
        seen = e.run();
        if (!seen.wrong.empty()) again = e.replay(seen.schedule).trace;
        return outcomes;
    }
    template <std::memory_order Order>
    void reads(std::size_t n, word& at) {
        read[n] = static_cast<char>('0' + A::load(at, Order));
    }
};
using outcomes = std::set<std::string>;
using threads = std::vector<std::function<void(litmus&)>>;

template <std::memory_order Store, std::memory_order Load>
threads store_buffering() {
    return {[](litmus& l) {
                A::store(l.x, word{1}, Store);
                l.reads<Load>(0, l.y);
            },
            [](litmus& l) {
                A::store(l.y, word{1}, Store);
                l.reads<Load>(1, l.x);
            }};
}
template <std::memory_order Store, std::memory_order Load>
threads message_passing() {
    return {[](litmus& l) {
                A::store(l.x, word{1}, relaxed);
                A::store(l.y, word{1}, Store);
            },
            [](litmus& l) {
                l.reads<Load>(0, l.y);
                l.reads<relaxed>(1, l.x);
            }};
}

}  // namespace

TEST_CASE("explorer: stores linger behind later loads, except where both are seq_cst") {
    CHECK(litmus().run(store_buffering<release, acquire>()) == outcomes{"00", "01", "10", "11"});
    CHECK(litmus().run(store_buffering<seq_cst, acquire>()) == outcomes{"00", "01", "10", "11"});
    CHECK(litmus().run(store_buffering<seq_cst, seq_cst>()) == outcomes{"01", "10", "11"});
}

TEST_CASE("explorer: a light and a heavy fence order what two light ones do not") {
    const auto side = [](bool heavy, std::size_t n) {
        return [=](litmus& l) {
            A::store(n == 0 ? l.x : l.y, word{1}, relaxed);
            heavy ? A::heavy_fence() : A::light_fence();
            l.reads<relaxed>(n, n == 0 ? l.y : l.x);
        };
    };
    CHECK(litmus().run({side(true, 0), side(false, 1)}) == outcomes{"01", "10", "11"});
    CHECK(litmus().run({side(true, 0), side(true, 1)}) == outcomes{"01", "10", "11"});
    CHECK(litmus().run({side(false, 0), side(false, 1)}) == outcomes{"00", "01", "10", "11"});
}

TEST_CASE("explorer: who acquires what was released sees what came before") {
    CHECK(litmus().run(message_passing<relaxed, relaxed>()) == outcomes{"00", "01", "10", "11"});
    CHECK(litmus().run(message_passing<release, relaxed>()) == outcomes{"00", "01", "10", "11"});
    CHECK(litmus().run(message_passing<relaxed, acquire>()) == outcomes{"00", "01", "10", "11"});
    CHECK(litmus().run(message_passing<release, acquire>()) == outcomes{"00", "01", "11"});
}

TEST_CASE("explorer: what was released goes on through others' read-modify-writes only") {
    const auto through = [](bool exchange) {
        return threads{[](litmus& l) {
                           A::store(l.x, word{1}, relaxed);
                           A::store(l.y, word{1}, release);
                       },
                       [exchange](litmus& l) {
                           if (exchange) {
                               A::fetch_add(l.y, word{1}, relaxed);
                           } else if (A::load(l.y, relaxed) == 1) {
                               A::store(l.y, word{2}, relaxed);
                           }
                       },
                       [](litmus& l) {
                           l.reads<acquire>(0, l.y);
                           l.reads<relaxed>(1, l.x);
                       }};
    };
    litmus l;
    CHECK(l.run(through(true)).count("20") == 0);
    CHECK(l.seen.wrong.empty());
    (void)l.run(through(false));  // its two stores are in no order: the explorer cannot say it
    CHECK(l.seen.wrong == "two threads store to one word in no order");
}

TEST_CASE("explorer: one word never runs backwards, and two readers may disagree on two words") {
    CHECK(litmus().run({[](litmus& l) {
                            A::store(l.x, word{1}, relaxed);
                            A::store(l.x, word{2}, relaxed);
                        },
                        [](litmus& l) {
                            l.reads<relaxed>(0, l.x);
                            l.reads<relaxed>(1, l.x);
                        }}) == outcomes{"00", "01", "02", "11", "12", "22"});
    const auto readers = [](auto first, auto second) {
        return threads{[](litmus& l) { A::store(l.x, word{1}, seq_cst); },
                       [](litmus& l) { A::store(l.y, word{1}, seq_cst); }, first, second};
    };
    CHECK(litmus()
              .run(readers(
                  [](litmus& l) {
                      l.reads<acquire>(0, l.x);
                      l.reads<acquire>(1, l.y);
                  },
                  [](litmus& l) {
                      l.reads<acquire>(2, l.y);
                      l.reads<acquire>(3, l.x);
                  }))
              .count("1010") == 1);
    CHECK(litmus()
              .run(readers(
                  [](litmus& l) {
                      l.reads<seq_cst>(0, l.x);
                      l.reads<seq_cst>(1, l.y);
                  },
                  [](litmus& l) {
                      l.reads<seq_cst>(2, l.y);
                      l.reads<seq_cst>(3, l.x);
                  }))
              .count("1010") == 0);
}

TEST_CASE("explorer: plain bytes that nothing orders are a race, whichever comes first") {
    const auto program = [](std::memory_order store, bool reader_first) {
        const auto writer = [store](litmus& l) {
            const word one = 1;
            A::write(&l.x, &one, sizeof one);
            A::store(l.y, word{1}, store);
        };
        const auto reader = [](litmus& l) {
            word got = 7;
            if (A::load(l.y, acquire) == 1) A::read(&got, &l.x, sizeof got);
            l.read[0] = static_cast<char>('0' + got);
        };
        return reader_first ? threads{reader, writer} : threads{writer, reader};
    };
    for (const bool reader_first : {false, true}) {
        litmus l;
        CHECK(l.run(program(release, reader_first)) == outcomes{"1", "7"});
        CHECK(l.seen.wrong.empty());
        (void)l.run(program(relaxed, reader_first));
        CHECK(l.seen.wrong == "data race: this read has no order");
        CHECK(l.again == l.seen.trace);
        CHECK(l.again.find("explorer_test.cpp") != std::string::npos);
    }
}

TEST_CASE("explorer: a wake-up that comes before the sleep is lost, and found") {
    std::uint32_t bell = 0;
    std::uint64_t flag = 0;
    const auto explore = [&](bool rings_after, bool looks_again) {
        explorer e;
        e.before([&] { bell = 0, flag = 0; });
        e.thread("sleeper", [&, looks_again] {
            const auto seen = A::load(bell, relaxed);
            if (looks_again && A::load(flag, seq_cst) == 1) return;
            A::futex_wait(bell, seen, {});
        });
        e.thread("ringer", [&, rings_after] {
            if (rings_after) A::store(flag, std::uint64_t{1}, seq_cst);
            A::fetch_add(bell, std::uint32_t{1}, seq_cst);
            A::futex_wake(bell);
            if (!rings_after) A::store(flag, std::uint64_t{1}, seq_cst);
        });
        return e.run();
    };
    CHECK(explore(true, true).wrong.empty());
    const auto lost = explore(false, true);
    CHECK(lost.wrong == "sleeper sleeps for ever");
    CHECK(!lost.schedule.empty());
    CHECK(explore(true, false).wrong == "sleeper sleeps for ever");
}

TEST_CASE("explorer: a thread may die behind each of its writes, and its lock falls") {
    word x = 0;
    outcomes seen;
    std::string heard;
    explorer e({.deaths = 1});
    e.before([&] {
        x = 0;
        heard = "alive";
    });
    e.thread(
        "mortal",
        [&] {
            (void)explorer::try_lock(0);
            for (word i = 1; i <= 3; ++i) A::store(x, i, relaxed);
        },
        explorer::life::mortal);
    e.thread("heir", [&] {
        if (explorer::lives(0)) return;
        explorer::require(!explorer::is_locked(0), "a dead one's lock is held");
        heard = std::to_string(A::load(x, relaxed));  // death told us everything
    });
    e.after([&] { seen.insert(heard); });
    CHECK(e.run().wrong.empty());
    CHECK(seen == outcomes{"0", "1", "2", "3", "alive"});
}

TEST_CASE("explorer: whoever spins for what may never be visible makes no progress") {
    word x = 0;
    explorer e({.steps_max = 200});
    e.before([&] { x = 0; });
    e.thread("writer", [&] { A::store(x, word{1}, relaxed); });
    e.thread("spinner", [&] {
        while (A::load(x, acquire) == 0) A::pause();
    });
    CHECK(e.run().wrong == "no progress in 201 steps");
}

TEST_CASE("explorer: two states that a thread calls settled differ if it says so") {
    // When b has seen the newest x, what it remembers is all that is left of how it came there.
    litmus p;
    const auto outcomes = p.run({[](litmus& l) {
                                     A::store(l.x, word{1}, relaxed);
                                     A::store(l.y, word{1}, relaxed);
                                 },
                                 [](litmus& l) {
                                     const word first = A::load(l.x, relaxed);
                                     if (A::load(l.x, relaxed) != 1) return;
                                     explorer::settled(first);
                                     (void)A::load(l.y, relaxed);
                                     l.read[0] = static_cast<char>('0' + first);
                                 }});
    CHECK(outcomes.count("0") == 1);
    CHECK(outcomes.count("1") == 1);
}

TEST_CASE("explorer: each operation has its mutants, and a mutant has its effect") {
    word x = 0, y = 0, got = 0;
    const auto program = [&](explorer& e) {
        e.before([&] { x = y = got = 0; });
        e.thread("writer", [&] {
            const word one = 1;
            A::write(&x, &one, sizeof one);
            A::store(y, word{1}, release);
        });
        e.thread("reader", [&] {
            if (A::load(y, acquire) == 1) A::read(&got, &x, sizeof got);
        });
    };
    explorer whole;
    program(whole);
    CHECK(whole.run().wrong.empty());
    const auto all = whole.mutants("explorer_test");
    REQUIRE(all.size() == 3);  // each order weaker, and no store
    CHECK(whole.mutants("elsewhere").empty());
    for (const auto& m : all) {
        explorer edited;
        program(edited);
        edited.mutate(m);
        CHECK(edited.run().wrong == (m.removed ? "" : "data race: this read has no order"));
    }
}
