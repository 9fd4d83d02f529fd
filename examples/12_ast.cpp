// SPDX-License-Identifier: MIT
// An asynchronous system trap: a procedure with a parameter that another process queues to this
// one. The interrupting kind reaches a thread that is busy and polls nothing; the deferred kind
// runs at a safe point and may do anything.
#include <parley/ast.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <string>

namespace ast = parley::ast;

enum handler : std::uint32_t { log_it, stop_at };

int main() {
    const std::string name = "12_ast-" + std::to_string(getpid());
    auto trap = ast::open_trap(name).value();

    static std::atomic<std::uint64_t> limit{~std::uint64_t{0}};
    trap.on(log_it,
            [](const ast::event& e) {
                std::printf("deferred, mode %d: %llu from process %d\n", static_cast<int>(e.level),
                            static_cast<unsigned long long>(e.parameter), e.pid);
            })
        .value();
    trap.on_interrupt(stop_at, [](const ast::event& e) noexcept { limit = e.parameter; }).value();

    if (fork() == 0) {
        auto plant = ast::open_declarer(name).value();
        plant.declare(log_it, 1, ast::mode::user).value();
        plant.declare(log_it, 2, ast::mode::kernel).value();  // overtakes the first
        plant.declare(stop_at, 1'000'000).value();
        plant.wake().value();
        _exit(0);
    }

    std::uint64_t turns = 0;
    {
        const ast::interruptible here(trap);
        while (turns < limit.load(std::memory_order_relaxed)) ++turns;  // no system call in it
        const ast::hold quiet(trap);  // while it lives, nothing comes in between
        std::printf("a busy thread was told to stop at %llu turns or later, and %s\n",
                    static_cast<unsigned long long>(limit.load()),
                    turns >= limit ? "did" : "did not");
    }
    trap.hibernate().value();  // runs what was deferred; the wake ends it
    wait(nullptr);
    return 0;
}
