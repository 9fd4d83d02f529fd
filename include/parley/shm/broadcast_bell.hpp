// SPDX-License-Identifier: MIT
// One bell for many sleepers: how a publisher wakes those subscribers that sleep, and looks at one
// word for each message while nobody does.
//
// `asleep` belongs to the sleepers, `bell` (a futex) to the publishers, each in a page that the
// other side can map read-only. `asleep` holds what the bell was when the last sleeper lay down:
// somebody sleeps exactly while the two are equal, so nobody has to take the word back.
//
//   sleeper                                     publisher
//     seen = bell                                 commit the message              (release)
//     asleep = seen | how                         light fence
//     heavy fence                                 a = asleep
//     look again for messages                     if a is new: bell: a.seen -> a.seen + 1, wake all
//     futex_wait(bell, seen)
//
// The fences order both sides: either the second look finds the message, or the publisher finds the
// sleeper. A sleeper that lies down while others sleep adds its `how`; one that read an older bell
// than somebody else wrote reads it again, so the word never goes back, and a publisher that has
// rung for a value has nothing to do while it stays. A publisher that is killed in between leaves a
// sleeper to the look that it takes each 50 ms. Whoever cannot enrol for light fences stores and
// looks with seq_cst instead, which pairs with the heavy fence, a full one for who calls it.
#pragma once

#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast_layout.hpp>
#include <parley/shm/doorbell.hpp>

#include <cstdint>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// The subscribers' side.
template <class Atomics>
struct many_sleepers {
    std::uint64_t& asleep;
    const std::uint32_t& bell;

    /// Says that this one is about to sleep. Look again for messages before you do.
    [[nodiscard]] std::uint32_t lie_down(std::uint64_t how) noexcept {
        auto seen = Atomics::load(bell, std::memory_order_relaxed);
        // A subscriber that scribbles here makes others late, it does not keep them.
        for (int tries = 0; tries < tries_max; ++tries) {
            // Acquire pairs with the exchange: we see the bell that its writer saw, or a later one.
            auto now = Atomics::load(asleep, std::memory_order_acquire);
            const auto theirs = static_cast<std::uint32_t>(now);
            if (static_cast<std::int32_t>(theirs - seen) > 0) {
                const auto later = Atomics::load(bell, std::memory_order_acquire);
                if (std::exchange(seen, later) != later) continue;
            }
            const auto others = theirs == seen ? now & (asleep_on_futex | asleep_on_bell) : 0;
            if (Atomics::compare_exchange(asleep, now, others | how | seen,
                                          std::memory_order_acq_rel)) {
                break;
            }
        }
        Atomics::heavy_fence();  // pairs with the light one in publish_to_all()
        return seen;
    }
    void sleep(std::uint32_t seen, duration at_most) noexcept {
        Atomics::futex_wait(bell, seen, at_most);
    }

private:
    static constexpr int tries_max = 16;
};

/// A publisher's side of its own bell, by which its subscribers wake it. It says `rushing` (see
/// doorbell.hpp) all the time, also while it sleeps: it passes a heavy fence whenever it lies down,
/// so subscribers, who give room back with each message, never pay for the order.
template <class Atomics>
struct one_sleeper {
    std::uint64_t& asleep;
    const std::uint32_t& bell;
    bool enrolled;

    [[nodiscard]] std::uint32_t lie_down() noexcept {
        const auto seen = Atomics::load(bell, std::memory_order_relaxed);
        Atomics::store(asleep, asleep_on_futex | seen | awake(), std::memory_order_seq_cst);
        if (enrolled) Atomics::heavy_fence();  // pairs with the light one in publish_to_one()
        return seen;
    }
    void sleep(std::uint32_t seen, duration at_most) noexcept {
        Atomics::futex_wait(bell, seen, at_most);
    }
    void get_up() noexcept { Atomics::store(asleep, awake(), std::memory_order_relaxed); }

private:
    [[nodiscard]] std::uint64_t awake() const noexcept { return enrolled ? rushing : 0; }
};

/// What a process that is no part of the fences expects of `asleep`, so that it never takes the
/// short way.
inline constexpr std::uint64_t nobody_says_that = ~std::uint64_t{0};

/// The long way: with the order of seq_cst, which pairs with a publisher's that has no fences.
template <class Atomics>
[[nodiscard, gnu::noinline]] std::uint64_t publish_in_order(const std::uint64_t& asleep,
                                                            std::uint64_t& at,
                                                            std::uint64_t word) noexcept {
    Atomics::store(at, word, std::memory_order_seq_cst);
    return Atomics::load(asleep, std::memory_order_seq_cst) & ~rushing;
}
/// Publishes a word to a publisher. Returns its `asleep`: 0 if it is awake. `usual`: what an awake
/// publisher says for whom a release store will do.
template <class Atomics>
[[nodiscard, gnu::always_inline]] inline std::uint64_t publish_to_one(const std::uint64_t& asleep,
                                                                      std::uint64_t usual,
                                                                      std::uint64_t& at,
                                                                      std::uint64_t word) noexcept {
    Atomics::store(at, word, std::memory_order_release);
    Atomics::light_fence();  // pairs with the heavy one in lie_down()
    const auto a = Atomics::load(asleep, std::memory_order_relaxed);
    if (a == usual) [[likely]]
        return 0;
    if (usual == rushing && (a & rushing) != 0) return a & ~rushing;  // it sleeps
    return publish_in_order<Atomics>(asleep, at, word);
}

/// Publishes a word to all subscribers. Returns their `asleep`. `enrolled`: this process is.
template <class Atomics>
[[nodiscard, gnu::always_inline]] inline std::uint64_t publish_to_all(const std::uint64_t& asleep,
                                                                      bool enrolled,
                                                                      std::uint64_t& at,
                                                                      std::uint64_t word) noexcept {
    if (enrolled) [[likely]] {
        Atomics::store(at, word, std::memory_order_release);
        Atomics::light_fence();  // pairs with the heavy one in lie_down()
        return Atomics::load(asleep, std::memory_order_relaxed);
    }
    Atomics::store(at, word, std::memory_order_seq_cst);
    return Atomics::load(asleep, std::memory_order_seq_cst);
}

/// Rings for all who say that they sleep in `a`. `by_socket` is called if some of them sleep on
/// descriptors. Of many publishers one makes the system call.
template <class Atomics, class BySocket>
void ring_all(std::uint64_t a, std::uint32_t& bell, BySocket&& by_socket) noexcept {
    if ((a & (asleep_on_futex | asleep_on_bell)) == 0) return;
    auto seen = static_cast<std::uint32_t>(a);
    if (!Atomics::compare_exchange(bell, seen, seen + 1, std::memory_order_relaxed)) return;
    if ((a & asleep_on_futex) != 0) Atomics::futex_wake(bell);
    if ((a & asleep_on_bell) != 0) by_socket();
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
