// SPDX-License-Identifier: MIT
// Who writes into which lane: how a lane is claimed, adopted, freed and claimed again. Its lock
// (segment.hpp) says whether its writer lives; two numbers say how far the reader is with it.
//
//   writer, holding the lane's lock                reader
//     free if released == claims     (acquire)       anything new? claims of the doorbell (acquire)
//     clear the ring's way, sign the page            a lane with claims != released       (acquire)
//     claims: one more               (release)         is adopted at its cursor, and drained
//     claims of the doorbell: 1 more (seq_cst)       end, or its lock fell and nothing is left:
//     ring the reader                                  released = claims                  (release)
//
//   the reader is dead:                            a reader that takes over, past the door:
//     pass the door of the segment                   abandoned == claims: released = claims
//     the reader's lock is free: abandoned = claims  as if the writer were gone
//     leave the door, say what was not received
//
// `claims` and `abandoned` belong to the writer and `released` to the reader. The door is a lock of
// the kernel too (segment.hpp), held by one at a time. Whoever dies between its claim and
// its word to the doorbell is announced by the next who finds its lane taken by nobody. The reader
// that lies down looks at the doorbell's claims once more, as it looks for messages (doorbell.hpp).
#pragma once

#include <parley/detail/atomics.hpp>
#include <parley/shm/layout.hpp>

#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Atomics>
struct lane_registry {
    using page = shm_layout::lane_page;
    using cursor = shm_layout::lane_cursor;
    using doorbell = shm_layout::doorbell_page;

    // --- the writer's side -----------------------------------------------------------------
    /// How often the lane was claimed before. False: the reader has not finished with its last
    /// writer yet, or was never told of it.
    [[nodiscard]] static bool is_free(const page& own, const cursor& its, std::uint32_t& claims) {
        claims = Atomics::load(own.claims, std::memory_order_relaxed);
        // Acquire pairs with free(): the reader is done with the ring.
        return Atomics::load(its.released, std::memory_order_acquire) == claims;
    }
    /// The ring's way is clear and the page is signed.
    static void claim(page& own, std::uint32_t number, std::uint32_t signal) noexcept {
        Atomics::store(own.signal, signal, std::memory_order_relaxed);
        Atomics::store(own.state.asleep, std::uint64_t{0}, std::memory_order_relaxed);
        // Release: whoever sees the claim sees the zeroed commit word and who we are.
        Atomics::store(own.claims, number, std::memory_order_release);
    }
    /// Makes the reader look at who has which lane. It is to be rung afterwards.
    static void announce(doorbell& all) noexcept {
        Atomics::fetch_add(all.claims, std::uint32_t{1}, std::memory_order_seq_cst);
    }

    /// No reader that comes takes what lies in this lane. For who is past the door, and found the
    /// reader dead.
    static void abandon(page& own, std::uint32_t number) noexcept {
        Atomics::store(own.abandoned, number, std::memory_order_relaxed);
    }

    // --- the reader's side -----------------------------------------------------------------
    /// How often somebody announced a claim.
    [[nodiscard]] static std::uint32_t announced(const doorbell& all,
                                                 std::memory_order order) noexcept {
        return Atomics::load(all.claims, order);
    }
    /// The number of a claim that is to be adopted. False: there is none.
    [[nodiscard]] static bool is_claimed(const page& its, const cursor& own,
                                         std::uint32_t& number) noexcept {
        // Acquire pairs with claim().
        number = Atomics::load(its.claims, std::memory_order_acquire);
        return number != Atomics::load(own.released, std::memory_order_relaxed);
    }
    [[nodiscard]] static bool is_abandoned(const page& its, std::uint32_t number) noexcept {
        return Atomics::load(its.abandoned, std::memory_order_relaxed) == number;
    }
    static void free(cursor& own, std::uint32_t number) noexcept {
        // Release: a new writer that sees this may overwrite the ring.
        Atomics::store(own.released, number, std::memory_order_release);
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
