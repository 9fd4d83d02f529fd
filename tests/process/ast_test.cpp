// SPDX-License-Identifier: MIT
// Traps between processes: a busy thread is interrupted, modes nest, a main line that lives in libc
// is not disturbed, no wake-up is lost, and deaths are told.
#include <parley/ast.hpp>

#include <parley/base/random.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/sanitizer.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <cstdio>
#include <ctime>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
namespace ast = parley::ast;

namespace {

// ThreadSanitizer holds a signal back until the next call that it knows, remembers one of a number,
// and runs handlers with all signals blocked.
constexpr bool delayed_signals = parley_test::thread_sanitizer;

/// Counters that forked processes share.
struct counters {
    std::atomic<std::uint64_t> seen{0}, sum{0}, depth{0}, deepest{0}, ready{0};

    static counters& fresh() {
        void* at = ::mmap(nullptr, sizeof(counters), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::bad_alloc();
        return *new (at) counters;
    }
    ~counters() = delete;
};
void let_go(counters& c) { ::munmap(&c, sizeof c); }

/// Queues `count` traps to handler 1, never more than `ahead` that were not handled.
int declare_all(const std::string& name, counters& c, std::uint64_t count, std::uint64_t ahead) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    auto plant = ast::open_declarer(name).value();
    for (std::uint64_t i = 0; i < count; ++i) {
        while (i - c.seen.load() >= ahead) ::sched_yield();
        const auto level = delayed_signals ? ast::mode::user : static_cast<ast::mode>(i * 7 % 4);
        if (!plant.declare(1, i, level)) return 1;
    }
    return 0;
}

/// What a program does all day that is not signal-safe.
void live_in_libc(std::FILE* sink, std::uint64_t i) {
    std::vector<std::unique_ptr<std::string>> all;
    for (std::uint64_t k = 0; k < 20; ++k) {
        all.push_back(std::make_unique<std::string>(10 + (i * k) % 3000, 'x'));
    }
    std::fprintf(sink, "%llu %s %.3f\n", static_cast<unsigned long long>(i), all[3]->c_str(),
                 static_cast<double>(i) / 7);
    char text[64];
    const std::time_t now = std::time(nullptr);
    std::tm broken{};
    (void)::localtime_r(&now, &broken);
    (void)std::strftime(text, sizeof text, "%c", &broken);
    void* p = std::malloc(1 + i % 100'000);
    p = std::realloc(p, 1 + i % 777);
    std::free(p);
    errno = static_cast<int>(i % 100 + 1);
    const int kept = errno;
    for (int spin = 0; spin < 100; ++spin) {
        if (errno != kept) std::abort();  // a handler must leave errno alone
    }
}

}  // namespace

TEST_CASE("ast: an interrupting trap reaches a busy thread that polls nothing") {
    const watchdog dog("ast: busy");
    const unique_name name("busy");
    auto& c = counters::fresh();
    auto trap = ast::open_trap(name).value();
    REQUIRE(trap.on_interrupt(1, [&c](const ast::event& e) noexcept { c.seen = e.parameter; }));
    child other([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto plant = ast::open_declarer(name).value();
        for (std::uint64_t i = 1; i <= 1000; ++i) {
            if (!plant.declare(1, i)) return 1;
            while (c.seen.load() != i) ::sched_yield();
        }
        return 0;
    });
    std::uint64_t turns = 0;
    {
        const ast::interruptible here(trap);
        while (c.seen.load(std::memory_order_relaxed) != 1000) ++turns;  // no system call in it
    }
    CHECK(turns > 0);
    CHECK(other.wait() == 0);
    let_go(c);
}

TEST_CASE(
    "ast: handlers in the midst of malloc, stdio and the rest of libc lose and harm nothing") {
    const watchdog dog("ast: libc", 120s);
    const unique_name name("libc");
    auto& c = counters::fresh();
    auto trap = ast::open_trap(name).value();
    REQUIRE(trap.on_interrupt(1, [&c](const ast::event& e) noexcept {
        c.sum += e.parameter;
        ++c.seen;
        errno = EBADF;  // as a call in a handler might leave it
    }));
    const std::uint64_t count = 20'000 / static_cast<unsigned>(slowness());
    child other([&] { return declare_all(name, c, count, delayed_signals ? 1 : 64); });
    std::FILE* sink = std::fopen("/dev/null", "we");
    REQUIRE(sink != nullptr);
    {
        const ast::interruptible here(trap);
        for (std::uint64_t i = 0; c.seen.load() < count; ++i) {
            live_in_libc(sink, i);
            if (i % 5 == 0) {
                const ast::hold quiet(trap);
                live_in_libc(sink, i);
            }
        }
    }
    std::fclose(sink);
    CHECK(other.wait() == 0);
    CHECK(c.seen == count);
    CHECK(c.sum == count * (count - 1) / 2);
    CHECK(trap.foreign() == 0);
    let_go(c);
}

TEST_CASE("ast: a more urgent trap interrupts a handler, one of the same mode waits for its end") {
    if (delayed_signals) {
        std::cout << "skipped: ThreadSanitizer runs handlers with all signals blocked\n";
        return;
    }
    const watchdog dog("ast: nesting");
    const unique_name name("nesting");
    auto& c = counters::fresh();
    auto trap = ast::open_trap(name).value();
    // Each handler waits inside until the next more urgent one was inside it.
    REQUIRE(trap.on_interrupt(1, [&c](const ast::event& e) noexcept {
        const auto mine = ++c.depth;
        if (mine > c.deepest) c.deepest = mine;
        c.ready = static_cast<std::uint64_t>(e.level) + 1;  // "mode level is inside"
        while (e.level != ast::mode::kernel && c.deepest < 4) {
        }
        --c.depth;
        ++c.seen;
    }));
    child other([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto plant = ast::open_declarer(name).value();
        for (const auto m : {ast::mode::user, ast::mode::supervisor, ast::mode::executive}) {
            if (!plant.declare(1, 0, m) || !plant.declare(1, 0, m)) return 1;  // the second waits
            while (c.ready.load() != static_cast<std::uint64_t>(m) + 1) ::sched_yield();
            if (!plant.declare(1, 0, ast::mode::user)) return 2;  // less urgent: waits
        }
        return plant.declare(1, 0, ast::mode::kernel) ? 0 : 3;
    });
    {
        const ast::interruptible here(trap);
        while (c.seen.load() < 10) {
        }
    }
    CHECK(c.deepest == 4);  // four modes, never two of one
    CHECK(c.depth == 0);
    CHECK(other.wait() == 0);
    let_go(c);
}

TEST_CASE("ast: interrupting traps keep off a deferred handler that is as urgent") {
    const watchdog dog("ast: both kinds");
    const unique_name name("both");
    auto trap = ast::open_trap(name).value();
    auto plant = ast::open_declarer(name).value();
    static std::atomic<int> urgent, same;
    urgent = same = 0;
    REQUIRE(trap.on_interrupt(
        2, [](const ast::event& e) noexcept { ++(e.level == ast::mode::kernel ? urgent : same); }));
    bool kept_off = false;
    REQUIRE(trap.on(1, [&](const ast::event&) {
        REQUIRE(plant.declare(2, 0, ast::mode::supervisor));
        REQUIRE(plant.declare(2, 0, ast::mode::user));
        REQUIRE(plant.declare(2, 0, ast::mode::kernel));  // runs at once
        kept_off = same == 0 && urgent == 1;
    }));
    REQUIRE(plant.declare(1, 0, ast::mode::supervisor));
    const ast::interruptible here(trap);
    CHECK(trap.run() == 1);
    CHECK(kept_off);
    if (!delayed_signals) CHECK(same == 2);
}

TEST_CASE("ast: two processes that wake each other never lose a wake-up") {
    const watchdog dog("ast: wake", 120s);
    const unique_name ping("ping"), pong("pong");
    const int rounds = 20'000 / slowness();
    gate up;
    child other([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto trap = ast::open_trap(pong).value();
        up.open();
        auto plant = ast::open_declarer(ping).value();
        for (int i = 0; i < rounds; ++i) {
            if (!trap.hibernate() || !plant.wake()) return 1;
        }
        return 0;
    });
    auto trap = ast::open_trap(ping).value();
    std::uint64_t traps = 0;
    REQUIRE(trap.on(1, [&](const ast::event&) { ++traps; }));
    up.pass();
    auto self = ast::open_declarer(ping).value();
    auto plant = ast::open_declarer(pong).value();
    for (int i = 0; i < rounds; ++i) {
        if (i % 3 == 0) REQUIRE(self.declare(1, 0));
        REQUIRE(plant.wake());
        REQUIRE(trap.hibernate());
    }
    (void)trap.run();
    CHECK(traps == static_cast<std::uint64_t>((rounds + 2) / 3));
    CHECK(other.wait() == 0);
}

TEST_CASE("ast: a full queue refuses a trap and loses none; a wake needs no place in it") {
    if (::geteuid() != 0) {
        std::cout << "skipped: only root can be a spare user\n";
        return;
    }
    const watchdog dog("ast: full");
    const unique_name name("full");
    child c([&] {
        const rlimit few{10, 10};
        if (::setrlimit(RLIMIT_SIGPENDING, &few) != 0 || ::setgid(65534) != 0 ||
            ::setuid(60'000 + static_cast<uid_t>(::getpid()) % 5'000) != 0) {
            return 78;
        }
        auto trap = ast::open_trap(name).value();
        auto plant = ast::open_declarer(name).value();
        std::uint64_t ran = 0, sum = 0;
        if (!trap.on(1, [&](const ast::event& e) { ++ran, sum += e.parameter; })) return 1;
        std::uint64_t n = 0;
        while (plant.declare(1, n, ast::mode::user, 0s)) ++n;
        if (n != 10) return 2;
        if (plant.declare(1, n, ast::mode::user, 0s).error() != errc::would_block) return 3;
        if (plant.declare(1, n, ast::mode::user, 2ms).error() != errc::timed_out) return 4;
        if (!plant.wake()) return 5;
        if (!trap.hibernate()) return 6;
        (void)trap.run();
        return ran == 10 && sum == 45 && plant.declare(1, 0, ast::mode::user, 0s) ? 0 : 7;
    });
    CHECK(c.wait() == 0);
}

TEST_CASE("ast: killed peers: a declarer is told, the name is free, what was queued still comes") {
    const watchdog dog("ast: killed");
    const unique_name name("killed");
    {
        gate up;
        child owner([&] {
            auto trap = ast::open_trap(name).value();
            (void)trap.on(1, [](const ast::event&) {});
            up.open();
            for (;;) ::pause();
            return 0;
        });
        up.pass();
        auto plant = ast::open_declarer(name).value();
        REQUIRE(plant.declare(1, 1));
        owner.kill();
        CHECK(plant.declare(1, 2).error() == errc::peer_lost);
        CHECK(plant.wake().error() == errc::peer_lost);
        CHECK_THAT(plant.why().text(), contains("died"));
        CHECK(leftovers(name.text()).empty());  // the survivor removed it
    }
    auto trap = ast::open_trap(name).value();
    std::uint64_t ran = 0;
    REQUIRE(trap.on(1, [&](const ast::event&) { ++ran; }));
    parley::random r(4);
    for (int round = 0; round < 20; ++round) {
        gate some;
        child declaring([&] {
            auto plant = ast::open_declarer(name).value();
            for (std::uint64_t i = 0;; ++i) {
                if (!plant.declare(1, i)) return 1;
                if (i == 10) some.open();
            }
        });
        some.pass();
        for (auto n = r.below(200); n > 0; --n) (void)trap.run();
        declaring.kill();
        const auto before = ran;
        (void)trap.run();
        CHECK(ran >= before);
        CHECK(ran >= 11);
        CHECK(trap.run() == 0);
        ran = 0;
    }
    CHECK(trap.foreign() == 0);
}

TEST_CASE("ast: a forked child owns no trap, and its parent goes on") {
    const watchdog dog("ast: fork");
    const unique_name name("fork");
    auto trap = ast::open_trap(name).value();
    std::uint64_t ran = 0;
    REQUIRE(trap.on(1, [&](const ast::event&) { ++ran; }));
    child c([&] {
        parley::diagnostics why;
        if (ast::open_trap(name, {}, &why).error() != errc::in_use) return 1;
        auto plant = ast::open_declarer(name).value();
        const auto mine = std::move(trap);  // and its end changes nothing
        return plant.declare(1, 1) ? 0 : 2;
    });
    CHECK(c.wait() == 0);
    CHECK(trap.run() == 1);
    CHECK(ran == 1);
}
