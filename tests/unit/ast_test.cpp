// SPDX-License-Identifier: MIT
// Traps within one process: order, modes, hold, safe points. Between processes:
// process/ast_test.cpp.
#include <parley/ast.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <fstream>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
namespace ast = parley::ast;

namespace {

/// A trap, and one who queues to it.
struct pair {
    unique_name name{"ast"};
    ast::trap trap = ast::open_trap(name).value();
    ast::declarer plant = ast::open_declarer(name).value();
};

std::string text_of(const ast::event& e) {
    return std::to_string(static_cast<int>(e.level)) + '.' + std::to_string(e.parameter);
}

}  // namespace

TEST_CASE("ast: deferred traps run at safe points only, urgent ones first, each mode in order") {
    pair p;
    std::vector<std::string> ran;
    REQUIRE(p.trap.on(5, [&](const ast::event& e) { ran.push_back(text_of(e)); }));
    std::uint64_t n = 0;
    for (const auto m : {ast::mode::user, ast::mode::kernel, ast::mode::supervisor, ast::mode::user,
                         ast::mode::executive, ast::mode::kernel}) {
        REQUIRE(p.plant.declare(5, n++, m));
    }
    CHECK(ran.empty());
    CHECK(p.trap.run() == 6);
    CHECK(ran == std::vector<std::string>{"0.1", "0.5", "1.4", "2.2", "3.0", "3.3"});
    CHECK(p.trap.run() == 0);
}

TEST_CASE("ast: a handler gets what was declared: parameter, handler, mode, and who says so") {
    pair p;
    ast::event seen;
    REQUIRE(p.trap.on(63, [&](const ast::event& e) { seen = e; }));
    REQUIRE(p.plant.declare(63, ~std::uint64_t{0}, ast::mode::executive));
    REQUIRE(p.trap.run() == 1);
    CHECK(seen.parameter == ~std::uint64_t{0});
    CHECK(seen.handler == 63);
    CHECK(seen.level == ast::mode::executive);
    CHECK(seen.pid == ::getpid());
    CHECK(seen.uid == ::getuid());
}

TEST_CASE("ast: at a safe point inside a handler only more urgent traps nest") {
    pair p;
    std::vector<std::string> ran;
    REQUIRE(p.trap.on(1, [&](const ast::event& e) {
        ran.push_back("in " + text_of(e));
        if (e.parameter == 0) {
            for (const auto m : {ast::mode::user, ast::mode::supervisor, ast::mode::kernel}) {
                REQUIRE(p.plant.declare(1, 9, m));
            }
        }
        (void)p.trap.run();
        ran.push_back("out " + text_of(e));
    }));
    REQUIRE(p.plant.declare(1, 0, ast::mode::supervisor));
    CHECK(p.trap.run() == 3);  // nested ones count where they ran
    CHECK(ran == std::vector<std::string>{"in 2.0", "in 0.9", "out 0.9", "out 2.0", "in 2.9",
                                          "out 2.9", "in 3.9", "out 3.9"});
}

TEST_CASE("ast: a handler that throws leaves its mode") {
    pair p;
    int ran = 0;
    REQUIRE(p.trap.on(1, [&](const ast::event&) {
        if (++ran == 1) throw std::runtime_error("no");
    }));
    REQUIRE(p.plant.declare(1, 0));
    REQUIRE(p.plant.declare(1, 0));
    CHECK_THROWS(p.trap.run());
    CHECK(p.trap.run() == 1);
    CHECK(ran == 2);
}

TEST_CASE("ast: while it is held nothing runs, and holds nest") {
    pair p;
    int ran = 0;
    REQUIRE(p.trap.on(1, [&](const ast::event&) { ++ran; }));
    static std::atomic<int> interrupted;
    interrupted = 0;
    REQUIRE(p.trap.on_interrupt(2, [](const ast::event&) noexcept { ++interrupted; }));
    {
        const ast::interruptible here(p.trap);
        const ast::hold outer(p.trap);
        {
            const ast::hold inner(p.trap);
            REQUIRE(p.plant.declare(1, 0));
            REQUIRE(p.plant.declare(2, 0));
            CHECK(p.trap.run() == 0);
        }
        CHECK(p.trap.run() == 0);
        CHECK(p.trap.hibernate(0s).error() == errc::would_block);
        CHECK(interrupted == 0);
    }
    CHECK(interrupted == 1);  // at the end of the hold, before that of the scope
    CHECK(p.trap.run() == 1);
    CHECK(ran == 1);
}

TEST_CASE("ast: without an interruptible thread an interrupting trap waits for a safe point") {
    pair p;
    static std::atomic<std::uint64_t> seen;
    seen = 0;
    REQUIRE(p.trap.on_interrupt(1, [](const ast::event& e) noexcept { seen = e.parameter; }));
    REQUIRE(p.plant.declare(1, 17));
    CHECK(seen == 0);
    CHECK(p.trap.run() == 1);
    CHECK(seen == 17);
    {
        const ast::interruptible here(p.trap);
        REQUIRE(p.plant.declare(1, 18));  // runs before the call returns
        CHECK(seen == 18);
    }
    REQUIRE(p.plant.declare(1, 19));
    CHECK(seen == 18);
}

TEST_CASE("ast: hibernation runs what comes, ends by a wake, and remembers one that came before") {
    const watchdog dog("ast: hibernate");
    pair p;
    CHECK(p.trap.hibernate(0s).error() == errc::would_block);
    CHECK(p.trap.hibernate(2ms).error() == errc::timed_out);
    p.trap.wake();
    REQUIRE(p.plant.wake());  // two are one
    CHECK(p.trap.hibernate());
    CHECK(p.trap.hibernate(0s).error() == errc::would_block);
    int ran = 0;
    REQUIRE(p.trap.on(1, [&](const ast::event& e) {
        if (++ran == 3) p.trap.wake();
        if (e.parameter > 0) REQUIRE(p.plant.declare(1, e.parameter - 1));
    }));
    REQUIRE(p.plant.declare(1, 2));
    CHECK(p.trap.hibernate());
    CHECK(ran == 3);
}

TEST_CASE("ast: its descriptor is readable while something is queued") {
    pair p;
    REQUIRE(p.trap.on(1, [](const ast::event&) {}));
    const int fd = p.trap.pollable().value();
    const auto readable = [&] {
        return parley::detail::wait_for(fd, POLLIN, parley::expired).has_value();
    };
    CHECK(!readable());
    REQUIRE(p.plant.declare(1, 0));
    CHECK(readable());
    CHECK(p.trap.run() == 1);
    CHECK(!readable());
    REQUIRE(p.plant.wake());
    CHECK(readable());
    CHECK(p.trap.hibernate(0s));
    CHECK(!readable());
}

TEST_CASE("ast: wrong handlers, taken names and closed traps are errors in words") {
    unique_name name("ast");
    diagnostics why;
    CHECK(ast::open_declarer(name, 0s, {}, &why).error() == errc::would_block);
    CHECK(ast::open_declarer(name, 2ms, {}, &why).error() == errc::timed_out);
    CHECK_THAT(why.text(), contains("nobody receives"));
    auto plant = [&] {
        auto trap = ast::open_trap(name).value();
        CHECK(ast::open_trap(name, {}, &why).error() == errc::in_use);
        CHECK_THAT(why.text(), contains("live receiver"));
        auto one = ast::open_declarer(name).value();
        CHECK(one.declare(7, 0).error() == errc::not_found);
        CHECK_THAT(one.why().text(), contains("no handler 7"));
        CHECK(one.declare(64, 0).error() == errc::invalid_argument);
        CHECK(trap.on(64, [](const ast::event&) {}).error() == errc::invalid_argument);
        REQUIRE(trap.on_interrupt(1, [](const ast::event&) noexcept {}));
        CHECK(trap.on_interrupt(1, [](const ast::event&) noexcept {}).error() == errc::in_use);
        return one;
    }();
    CHECK(plant.declare(1, 0).error() == errc::closed);
    CHECK(plant.wake().error() == errc::closed);
    CHECK(leftovers(name.text()).empty());
    const std::string path = "/dev/shm/parley-ast." + name.text();
    std::ofstream(path) << "dear diary";
    CHECK(ast::open_trap(name, {}, &why).error() == errc::corrupt);
    CHECK(ast::open_declarer(name, 0s, {}, &why).error() == errc::corrupt);
}

TEST_CASE("ast: signals that are no traps for this one are counted and ignored") {
    pair p;
    bool ran = false;
    REQUIRE(p.trap.on(1, [&](const ast::event&) { ran = true; }));
    REQUIRE(p.trap.on_interrupt(2, [](const ast::event&) noexcept { std::abort(); }));
    const ast::interruptible here(p.trap);
    // A fresh trap claims the lowest nine that are free.
    for (int n = SIGRTMIN; n < SIGRTMIN + 8; ++n) {
        REQUIRE(::sigqueue(::getpid(), n, {}) == 0);
        REQUIRE(::kill(::getpid(), n) == 0);
    }
    (void)p.trap.run();
    CHECK(p.trap.foreign() == 16);
    CHECK(!ran);
}
