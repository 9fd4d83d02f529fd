// SPDX-License-Identifier: MIT
// The policy `Atomics` (detail/atomics.hpp) under an explorer: what a lock-free part does to shared
// memory becomes a step that the explorer orders, and whose stale values it chooses.
#pragma once

#include <parley/base/time.hpp>
#include <parley/testing/explorer.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace testing {

/// `lane_writer<scheduled_atomics>` runs under an explorer. Outside of its threads, in before() and
/// after(), every access is a plain one. Each operation knows the line that made it, so that an
/// explorer can name and edit it.
struct scheduled_atomics {
    template <class Word>
    static Word load(const Word& at, std::memory_order order, const char* file = __builtin_FILE(),
                     unsigned line = __builtin_LINE()) noexcept {
        explorer* const e = explorer::in_thread();
        if (e == nullptr) return at;
        return static_cast<Word>(e->load(&at, sizeof at, order, {file, line}));
    }
    template <class Word>
    static void store(Word& at, Word value, std::memory_order order,
                      const char* file = __builtin_FILE(),
                      unsigned line = __builtin_LINE()) noexcept {
        explorer* const e = explorer::in_thread();
        if (e == nullptr) return void(at = value);
        e->store(&at, sizeof at, value, order, {file, line});
    }
    template <class Word>
    static bool compare_exchange(Word& at, Word& seen, Word value, std::memory_order order,
                                 const char* file = __builtin_FILE(),
                                 unsigned line = __builtin_LINE()) noexcept {
        std::uint64_t was = seen;
        const bool done =
            explorer::running()->compare_exchange(&at, sizeof at, was, value, order, {file, line});
        seen = static_cast<Word>(was);
        return done;
    }
    template <class Word>
    static Word fetch_add(Word& at, Word value, std::memory_order order,
                          const char* file = __builtin_FILE(),
                          unsigned line = __builtin_LINE()) noexcept {
        return static_cast<Word>(
            explorer::running()->fetch_add(&at, sizeof at, value, order, {file, line}));
    }

    static void write(void* shared, const void* from, std::size_t n) noexcept {
        if (explorer* const e = explorer::in_thread()) return e->copy(shared, from, n, true);
        std::memcpy(shared, from, n);
    }
    static void read(void* to, const void* shared, std::size_t n) noexcept {
        explorer::running()->copy(to, shared, n, false);
    }

    static void futex_wait(const std::uint32_t& word, std::uint32_t seen, duration,
                           const char* file = __builtin_FILE(),
                           unsigned line = __builtin_LINE()) noexcept {
        explorer::running()->futex_wait(&word, seen, {file, line});
    }
    static long futex_wake(std::uint32_t& word, const char* file = __builtin_FILE(),
                           unsigned line = __builtin_LINE()) noexcept {
        return explorer::running()->futex_wake(&word, {file, line});
    }

    [[nodiscard]] static bool enrol() noexcept {
        return explorer::running() != nullptr && explorer::running()->asymmetric();
    }
    static void light_fence(const char* file = __builtin_FILE(),
                            unsigned line = __builtin_LINE()) noexcept {
        if (explorer* const e = explorer::in_thread()) e->fence(false, {file, line});
    }
    static void heavy_fence(const char* file = __builtin_FILE(),
                            unsigned line = __builtin_LINE()) noexcept {
        if (explorer* const e = explorer::in_thread()) e->fence(true, {file, line});
    }
    static void pause() noexcept {}
    static void yield() noexcept {}
    /// Time passes in strides: nobody is ever in a hurry.
    static time_point now() noexcept {
        return time_point(std::chrono::hours(explorer::running()->hours()));
    }
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
