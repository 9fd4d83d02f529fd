// SPDX-License-Identifier: MIT
// The machine's atomics in a process that is killed right after its k-th write to shared memory.
#pragma once

#include <parley/detail/atomics.hpp>

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace parley_test {

/// Half a copy counts as a write too: a message may be left half-written.
struct killing_atomics : parley::detail::std_atomics {
    using machine = parley::detail::std_atomics;

    /// This process dies after so many writes from now on; 0: never.
    static void kill_after(std::uint64_t k) noexcept { left_ = k; }

    template <class Word>
    static void store(Word& at, Word value, std::memory_order order) noexcept {
        machine::store(at, value, order);
        wrote();
    }
    template <class Word>
    static bool compare_exchange(Word& at, Word& seen, Word value,
                                 std::memory_order order) noexcept {
        const bool done = machine::compare_exchange(at, seen, value, order);
        if (done) wrote();
        return done;
    }
    template <class Word>
    static Word fetch_add(Word& at, Word value, std::memory_order order) noexcept {
        const Word before = machine::fetch_add(at, value, order);
        wrote();
        return before;
    }
    static void write(void* shared, const void* from, std::size_t n) noexcept {
        machine::write(shared, from, n / 2);
        wrote();
        machine::write(static_cast<std::byte*>(shared) + n / 2,
                       static_cast<const std::byte*>(from) + n / 2, n - n / 2);
        wrote();
    }

private:
    static void wrote() noexcept {
        if (left_ != 0 && --left_ == 0) ::kill(::getpid(), SIGKILL);
    }

    static inline std::uint64_t left_ = 0;
};

}  // namespace parley_test
