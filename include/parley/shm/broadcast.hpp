// SPDX-License-Identifier: MIT
// A broadcast ring: variable-length messages from one publisher to many subscribers, each with a
// cursor of its own. The layout is drawn in broadcast_layout.hpp. As in a lane, the commit word is
// written last and the word behind a message is zeroed before. One ring that many read is Aeron's
// log buffer; the cursors that hold the writer are the gating sequences of the LMAX Disruptor.
//
// A publisher that waits for its subscribers (block, drop_newest) writes up to the slowest cursor
// plus capacity. It looks at the cursors only when it has used that up. A subscriber that comes
// meanwhile is not among those it saw; so before each look the publisher says in `reserve` how far
// it might go without having seen anybody, and the newcomer chooses a position that this spares:
//
//   publisher                                    subscriber
//     reserve = tail + capacity     (seq_cst)      r = reserve               (seq_cst)
//     look at all cursors           (seq_cst)      cursor = r - capacity     (seq_cst)
//                                                  again, unless reserve is still r  (seq_cst)
//
// In the one order of these operations either the look comes after the cursor, and sees it; or
// `reserve` was stored before the subscriber's last load, which then returned it.
//
// A publisher that overwrites (drop_oldest, latest_only) waits for nobody. It raises `reserve`
// before it writes what lies below; a subscriber copies, then loads `reserve`, and throws the copy
// away if its place was no longer spared. This is a seqlock (Boehm, "Can seqlocks get along with
// programming language memory models?", 2012) whose counter is a position. Without fences each word
// of a message is a release store and an acquire load: whoever copied one word of what overwrites
// its message has synchronised with the publisher after `reserve` was raised, and sees that.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

/// Copies n bytes, word by word, each a release store. `to` is aligned to words and has room for a
/// whole last one.
template <class Atomics>
[[gnu::always_inline]] inline void store_words(std::byte* to, const std::byte* from,
                                               std::size_t n) noexcept {
    auto* at = reinterpret_cast<std::uint64_t*>(to);
    std::uint64_t word = 0;
    for (; n >= sizeof word; n -= sizeof word, from += sizeof word) {
        std::memcpy(&word, from, sizeof word);
        Atomics::store(*at++, word, std::memory_order_release);
    }
    if (n == 0) return;
    word = 0;
    std::memcpy(&word, from, n);
    Atomics::store(*at, word, std::memory_order_release);
}
/// The way back: each word an acquire load.
template <class Atomics>
[[gnu::always_inline]] inline void load_words(std::byte* to, const std::byte* from,
                                              std::size_t n) noexcept {
    const auto* at = reinterpret_cast<const std::uint64_t*>(from);
    for (; n >= sizeof *at; n -= sizeof *at, to += sizeof *at) {
        const auto word = Atomics::load(*at++, std::memory_order_acquire);
        std::memcpy(to, &word, sizeof word);
    }
    if (n == 0) return;
    const auto word = Atomics::load(*at, std::memory_order_acquire);
    std::memcpy(to, &word, n);
}

/// A ring mapped twice, and how positions lie in it.
template <class Byte>
struct ring_memory {
    using word = std::conditional_t<std::is_const_v<Byte>, const std::uint64_t, std::uint64_t>;

    Byte* at = nullptr;
    std::size_t mask = 0;  // its capacity less one

    [[nodiscard]] Byte* payload(std::uint64_t position) const noexcept {
        return at + (static_cast<std::size_t>(position) & mask) + 8;
    }
    [[nodiscard]] word& commit(std::uint64_t position) const noexcept {
        return *reinterpret_cast<word*>(payload(position) - 8);
    }
};

/// The longest message. One that is overwritten takes at most half a ring, less what lies around
/// it, so that the anchor before it is always spared. 0: the ring is too small for the alignment.
[[nodiscard]] constexpr std::size_t broadcast_bytes_max(const shm_layout::shape& s,
                                                        bool overwriting) noexcept {
    const std::size_t around = 4 * s.alignment + 64;
    if (!overwriting) return s.message_bytes_max();
    return s.capacity / 2 > around ? s.capacity / 2 - around : 0;
}

/// The longest message of a topic, whose messages lie in rings or in chunks.
[[nodiscard]] constexpr std::size_t topic_bytes_max(const shm_layout::shape& s,
                                                    bool overwriting) noexcept {
    return s.chunks != 0 ? s.chunk_bytes() : broadcast_bytes_max(s, overwriting);
}

/// The length that a commit word announces; more than `most` if it announces no message.
[[nodiscard, gnu::always_inline]] inline std::size_t announced(std::uint64_t word,
                                                               std::size_t most) noexcept {
    const auto length = static_cast<std::size_t>(word & 0xffffffffU);
    const bool good = word == shm_layout::commit_word(shm_layout::record::message, length);
    return good && length <= most ? length : ~std::size_t{0};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
