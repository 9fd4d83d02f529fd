// SPDX-License-Identifier: MIT
// Threads of control that take turns within one thread, and that may be dropped in the middle.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace parley {
inline namespace v1 {
namespace testing {

/// A stack and where it is. Dropped or started anew in the middle it forgets what it did: nothing
/// on its stack is destroyed.
class fibre {
public:
    /// The next swap to it calls entry(argument), which must never return.
    void start(void (*entry)(void*), void* argument) noexcept {
        if (!stack_) stack_ = std::make_unique<std::byte[]>(stack_bytes);
        ::getcontext(&at_);
        at_.uc_stack.ss_sp = stack_.get();
        at_.uc_stack.ss_size = stack_bytes;
        at_.uc_link = nullptr;
        // makecontext hands on ints only, so what is to be called comes in two halves each.
        const auto e = reinterpret_cast<std::uintptr_t>(entry);
        const auto a = reinterpret_cast<std::uintptr_t>(argument);
        ::makecontext(&at_, reinterpret_cast<void (*)()>(&enter), 4, upper(e), lower(e), upper(a),
                      lower(a));
    }
    /// Leaves this one, which runs, for another.
    void swap_to(fibre& other) noexcept { ::swapcontext(&at_, &other.at_); }

private:
    static constexpr std::size_t stack_bytes = std::size_t{64} << 10;

    static unsigned upper(std::uintptr_t p) noexcept {
        return static_cast<unsigned>(std::uint64_t{p} >> 32);
    }
    static unsigned lower(std::uintptr_t p) noexcept { return static_cast<unsigned>(p); }
    static std::uintptr_t joined(unsigned high, unsigned low) noexcept {
        return static_cast<std::uintptr_t>(std::uint64_t{high} << 32 | low);
    }
    static void enter(unsigned e1, unsigned e0, unsigned a1, unsigned a0) {
        reinterpret_cast<void (*)(void*)>(joined(e1, e0))(reinterpret_cast<void*>(joined(a1, a0)));
    }

    std::unique_ptr<std::byte[]> stack_;
    ucontext_t at_{};
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
