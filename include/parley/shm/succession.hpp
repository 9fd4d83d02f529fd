// SPDX-License-Identifier: MIT
// How a reader that died is succeeded: what of a lane was handed out, what of that was still in
// hand, and where the next reader goes on.
//
// Two words of a lane's cursor tell it, and each step of a reader is one store, so that no death
// falls between two states: `head`, up to which the writer may overwrite, and `taken`, a position
// with a note in its low bits (positions are multiples of 8). One of them is past a message before
// anybody gets to see it.
//
//   taken             in hand                                  because the reader last
//   beyond head       all messages from head to there          lent views of them, or copies a
//   batch = head            none                                     was asked, and there was none
//   = head | one      one                                      was given the last view back
//   = head | batch    `batch` of them                          copied a batch out
//   before head       one                                      copied one message out
//
// A message stays in hand until its receiver is called again: whether a receiver that dies before
// has done with it what it should, nobody knows, so it counts as lost and is not delivered again.
// The successor goes on at whichever is further, and adds what was in hand to the messages lost. It
// may die over this as well, so the new sum is written aside first: it is `lost` plus what is in
// hand until one store empties the hand, and from that store on it is `lost_next`.
#pragma once

#include <parley/detail/atomics.hpp>
#include <parley/shm/layout.hpp>

#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Atomics>
struct succession {
    using cursor = shm_layout::lane_cursor;
    static constexpr std::uint64_t one = 1, batch = 2, notes = 7;

    [[nodiscard]] static std::uint64_t position(std::uint64_t taken) noexcept {
        return taken & ~notes;
    }
    /// Whether take_over() has to count along the ring.
    [[nodiscard]] static bool wants_ring(const cursor& c) noexcept {
        return position(Atomics::load(c.taken, std::memory_order_relaxed)) >
               Atomics::load(c.head, std::memory_order_relaxed);
    }
    /// Makes the cursor of a dead reader its successor's, whose lock is held: that made all of it
    /// visible. Returns how many messages were lost in this lane so far; its writer is to be rung,
    /// since there may be more room. `ring` may be null unless wants_ring().
    static std::uint64_t take_over(cursor& c, const shm_layout::shape& s,
                                   const std::byte* ring) noexcept {
        const auto head = Atomics::load(c.head, std::memory_order_relaxed);
        const auto taken = Atomics::load(c.taken, std::memory_order_relaxed);
        auto sum = Atomics::load(c.lost_next, std::memory_order_relaxed);
        if (taken != head) {
            const auto until = position(taken);
            // Farther than the ring is long: a reader that lied, or a stranger's work.
            const bool lent = until > head && until - head <= s.capacity;
            sum = Atomics::load(c.lost, std::memory_order_relaxed) +
                  (lent ? messages_between(s, ring, head, until) : copied(c, head, taken));
            Atomics::store(c.lost_next, sum, std::memory_order_relaxed);
            if (lent) Atomics::store(c.taken, until, std::memory_order_relaxed);
            // This store empties the hand. seq_cst as any that a writer may wait for.
            lent ? Atomics::store(c.head, until, std::memory_order_seq_cst)
                 : Atomics::store(c.taken, head, std::memory_order_relaxed);
        }
        Atomics::store(c.lost, sum, std::memory_order_relaxed);
        return sum;
    }

private:
    [[nodiscard]] static std::uint64_t copied(const cursor& c, std::uint64_t head,
                                              std::uint64_t taken) noexcept {
        return taken == (head | batch) ? Atomics::load(c.batch, std::memory_order_relaxed) : 1;
    }
    /// Nothing in a ring is trusted: what is no message ends the count.
    [[nodiscard]] static std::uint64_t messages_between(const shm_layout::shape& s,
                                                        const std::byte* ring, std::uint64_t from,
                                                        std::uint64_t until) noexcept {
        std::uint64_t n = 0;
        for (auto left = until - from; left > 0; ++n) {
            const auto index =
                static_cast<std::size_t>(until - left) & (s.capacity - 1) & ~std::size_t{7};
            const auto word = Atomics::load(*reinterpret_cast<const std::uint64_t*>(ring + index),
                                            std::memory_order_relaxed);
            const auto length = static_cast<std::size_t>(word & 0xffffffffU);
            if (word != shm_layout::commit_word(shm_layout::record::message, length)) break;
            const auto stride = s.stride(length);
            left = stride < left ? left - stride : 0;
        }
        return n;
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
