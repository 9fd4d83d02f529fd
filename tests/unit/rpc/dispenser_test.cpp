// SPDX-License-Identifier: MIT
// Tasks and workers: seeded worlds in which workers come, ask, work, give back and die.
#include <parley/rpc/dispenser.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/push.hpp>
#include <parley/transport/uds.hpp>

#include <map>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
namespace rpc = parley::rpc;

namespace {

class world_of_tasks {
public:
    explicit world_of_tasks(std::uint64_t seed) : dice_(seed) {}

    std::string run(int steps) {
        for (int i = 0; i < steps && wrong_.empty(); ++i) step(dice_.below(8));
        while (wrong_.empty() && !workers_.empty()) leave();
        join();
        for (int i = 0; i < 10'000 && wrong_.empty() && tasks_.unfinished() > 0; ++i) {
            say(workers_.begin()->first, rpc::task_kind::pull, 1);
            give();
            finish();
        }
        if (wrong_.empty() && done_.size() != submitted_) wrong_ = "a task was never finished";
        if (wrong_.empty() && tasks_.finished() != submitted_) wrong_ = "the count is wrong";
        return wrong_;
    }

private:
    struct worker {
        std::uint64_t credit = 0;
        std::vector<std::uint64_t> held;
    };

    void fail(const char* words) {
        if (wrong_.empty()) wrong_ = words;
    }
    void step(std::uint64_t what) {
        switch (what) {
            case 0: join(); break;
            case 1:
                if (dice_.below(4) == 0) leave();
                break;
            case 2:
            case 3: submit(); break;
            case 4:
                if (!workers_.empty()) say(any(), rpc::task_kind::pull, 1 + dice_.below(3));
                break;
            case 5: give(); break;
            case 6: finish(); break;
            default: lie(); break;
        }
        std::size_t held = 0;
        for (const auto& [number, w] : workers_) held += w.held.size();
        if (held != tasks_.held()) fail("somebody has a task that he has not");
        if (tasks_.queued() + held + done_.size() != submitted_)
            fail("a task is nowhere, or twice");
    }
    std::uint64_t any() {
        auto at = workers_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(dice_.below(workers_.size())));
        return at->first;
    }
    void join() {
        tasks_.join(++names_);
        workers_[names_];
    }
    void leave() {
        if (workers_.empty()) return;
        const auto who = any();
        const auto lost = workers_[who].held;
        tasks_.leave(who);
        workers_.erase(who);
        if (!lost.empty() && tasks_.front().number != lost.front())
            fail("what was lost is not first");
        if (!lost.empty() && tasks_.front().attempt < 2) fail("an attempt is not counted");
    }
    void submit() {
        std::byte body[8];
        parley::store_le(body, ++submitted_);
        if (tasks_.submit(body) != submitted_) fail("a number is wrong");
    }
    bool say(std::uint64_t who, rpc::task_kind what, std::uint64_t number) {
        std::byte f[rpc::task_header::bytes];
        rpc::task_header{number, what, 0}.write(f);
        const bool taken = tasks_.on_frame(who, f);
        if (taken && what == rpc::task_kind::pull) workers_[who].credit += number;
        return taken;
    }
    void give() {
        if (workers_.empty()) return;
        const auto who = any();
        auto& w = workers_[who];
        if (tasks_.wants(who) != (w.credit > 0 && tasks_.queued() > 0)) fail("credit is wrong");
        if (!tasks_.wants(who)) return;
        const auto t = tasks_.front();
        if (parley::load_le<std::uint64_t>(t.body.data()) != t.number) fail("a body is another's");
        if (done_.contains(t.number)) fail("a finished task goes again");
        w.held.push_back(t.number);
        --w.credit;
        tasks_.sent(who);
    }
    void finish() {
        if (workers_.empty()) return;
        const auto who = any();
        auto& held = workers_[who].held;
        if (held.empty()) return;
        const auto at = held.begin() + static_cast<std::ptrdiff_t>(dice_.below(held.size()));
        const auto number = *at;
        const bool back = dice_.below(5) == 0;
        if (!say(who, back ? rpc::task_kind::back : rpc::task_kind::done, number)) {
            fail("a worker is not believed");
        }
        held.erase(at);
        if (!back) done_[number] = true;
    }
    void lie() {
        if (workers_.empty()) return;
        const auto who = any();
        const auto& held = workers_[who].held;
        const auto number = dice_.below(submitted_ + 3);
        const bool has = std::find(held.begin(), held.end(), number) != held.end();
        if (!has && say(who, rpc::task_kind::done, number)) fail("a lie is believed");
        if (say(who, rpc::task_kind::pull, ~std::uint64_t{0})) fail("credit without end");
        if (say(who, rpc::task_kind::task, 1)) fail("a task from a worker");
        std::vector<std::byte> noise(dice_.below(30));
        for (auto& x : noise) x = std::byte(dice_.below(256));
        if (tasks_.on_frame(who, noise)) fail("noise is believed");
        if (say(names_ + 9, rpc::task_kind::pull, 1)) fail("a stranger is believed");
    }

    parley::random dice_;
    rpc::dispenser tasks_;
    std::map<std::uint64_t, worker> workers_;
    std::map<std::uint64_t, bool> done_;
    std::uint64_t submitted_ = 0, names_ = 0;
    std::string wrong_;
};

}  // namespace

TEST_CASE("dispenser: every task is finished once, whoever comes, lies or dies") {
    for (std::uint64_t seed = 1; seed <= (campaign() ? 20'000U : 300U); ++seed) {
        world_of_tasks world(seed);
        const auto wrong = world.run(600);
        INFO("seed " << seed);
        REQUIRE(wrong.empty());
    }
}
TEST_CASE("pusher: a worker gets what it asks for, and nothing while it is busy") {
    watchdog dog("pusher: credit");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    auto out = parley::open_pusher<std::string>(at, 20s, nullptr, {.tasks_max = 8}).value();
    auto busy = parley::open_puller<std::string>(at, 20s).value();
    auto free = parley::open_puller<std::string>(at, 20s).value();
    CHECK(busy.try_pull().error() == errc::would_block);
    REQUIRE(out.push("one", 20s));
    const auto one = busy.pull(20s).value();
    CHECK(one.value == "one");
    for (int i = 0; i < 7; ++i) REQUIRE(out.push(std::to_string(i), 20s));
    CHECK(out.try_push("too many").error() == errc::would_block);
    CHECK(out.push("too many", 1ms).error() == errc::timed_out);
    CHECK(out.waiting() == 7);  // nobody asked
    CHECK(free.pull_many(3, parley::expired).error() == errc::would_block);
    REQUIRE(out.work(20s));
    auto some = free.pull_many(3, 20s).value();
    while (some.size() < 3) some.push_back(free.pull(20s).value());
    CHECK(some[2].value == "2");
    CHECK(out.waiting() == 4);
    REQUIRE(free.done(some[0]));
    REQUIRE(free.give_back(some[1]));
    CHECK(free.try_pull().error() == errc::would_block);
    while (out.finished() == 0 || out.sent_again() == 0) REQUIRE(out.work(20s));
    const auto again = free.pull(20s).value();
    CHECK(again.value == "1");
    CHECK(again.attempt == 2);
    REQUIRE(busy.close(5s));  // with a task in its hands
    while (out.workers() == 2) REQUIRE(out.work(20s));
    CHECK(out.workers_lost() == 0);
    CHECK(out.drain(1ms).error() == errc::timed_out);
    REQUIRE(free.done(again));
    REQUIRE(free.done(some[2]));
    for (int n = 0; out.unfinished() > 0; ++n) {
        auto t = free.try_pull();
        if (t && n == 0) CHECK(t->value == "one");
        if (t) REQUIRE(free.done(*t));
        (void)out.work(parley::expired);
    }
    REQUIRE(out.drain(20s));
    REQUIRE(out.close(5s));
    CHECK(free.pull(20s).error() == errc::closed);
    parley::diagnostics why;
    auto other = parley::open_pusher<int>(at, 20s).value();
    auto wrong = parley::open_puller<std::string>(at, 20s, &why);
    if (wrong) {
        (void)other.work(20s);
        const auto r = wrong->pull(20s);
        CHECK(r.error() == errc::incompatible);
    } else {
        CHECK(wrong.error() == errc::incompatible);
    }
}
