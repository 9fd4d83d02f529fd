// SPDX-License-Identifier: MIT
// The atomic operations and the futex that lock-free parts are written over, as one policy, so
// that an explorer of interleavings can stand in for the machine.
#pragma once

#include <parley/base/time.hpp>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>

namespace parley {
inline namespace v1 {
namespace detail {

/// The machine's own atomics, on plain words of shared memory, and the futex of the kernel.
struct std_atomics {
    template <class Word>
    static Word load(const Word& at, std::memory_order order) noexcept {
        // A load writes nothing, but std::atomic_ref<const T> came only after C++20.
        return std::atomic_ref<Word>(const_cast<Word&>(at)).load(order);
    }
    template <class Word>
    static void store(Word& at, Word value, std::memory_order order) noexcept {
        std::atomic_ref<Word>(at).store(value, order);
    }
    template <class Word>
    static bool compare_exchange(Word& at, Word& seen, Word value,
                                 std::memory_order order) noexcept {
        return std::atomic_ref<Word>(at).compare_exchange_strong(seen, value, order,
                                                                 std::memory_order_relaxed);
    }
    template <class Word>
    static Word fetch_add(Word& at, Word value, std::memory_order order) noexcept {
        return std::atomic_ref<Word>(at).fetch_add(value, order);
    }

    /// Bytes that are not atomic, to and from shared memory: their order is the caller's matter.
    [[gnu::always_inline]] static void write(void* shared, const void* from,
                                             std::size_t n) noexcept {
        std::memcpy(shared, from, n);
    }
    [[gnu::always_inline]] static void read(void* to, const void* shared, std::size_t n) noexcept {
        std::memcpy(to, shared, n);
    }

    /// Sleeps while `word` is `seen`, for `at_most`; may return early for no reason.
    static void futex_wait(const std::uint32_t& word, std::uint32_t seen,
                           duration at_most) noexcept {
        const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(at_most).count();
        if (ns <= 0) return;
        const timespec limit{static_cast<time_t>(ns / 1'000'000'000),
                             static_cast<long>(ns % 1'000'000'000)};
        ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
    }
    /// Wakes who sleeps on `word`; how many slept.
    static long futex_wake(std::uint32_t& word) noexcept {
        return ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    }

    /// An asymmetric pair of fences: whoever does the frequent thing pays nothing, whoever does the
    /// rare one makes every processor that runs an enrolled process pass a fence, by one system
    /// call (membarrier(2)). False: this kernel, or a filter of system calls, has no such thing.
    [[nodiscard]] static bool enrol() noexcept {
        static const bool done = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
        return done;
    }
    static void light_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }
    static void heavy_fence() noexcept {
        if (membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0) return;
        if (membarrier(MEMBARRIER_CMD_GLOBAL) == 0) return;
        // Forbidden since we enrolled: no store stays in a processor for so long.
        const timespec ms{0, 1'000'000};
        ::nanosleep(&ms, nullptr);
    }
    [[nodiscard]] static time_point now() noexcept { return clock::now(); }
    /// A hint to the processor that this is a spinning wait.
    static void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    /// Lets somebody else have this processor, who may be whom we wait for.
    static void yield() noexcept { ::sched_yield(); }

private:
    static long membarrier(int command) noexcept {
        return ::syscall(SYS_membarrier, command, 0U, 0);
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
