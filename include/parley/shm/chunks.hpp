// SPDX-License-Identifier: MIT
// A publisher's memory in chunks: a message is written into one and stays there, for all its
// subscribers, until none of them looks at it any more. The ring of the publisher only says where
// it lies (broadcast_layout.hpp, chunk_note), so handing over a mebibyte is handing over 24 bytes.
//
// Who looks at what is a set for each subscriber, in memory that it alone writes: a dead one's
// counts for nothing from the moment the kernel says that it is dead, and nobody counts references.
// These are hazard pointers (Michael, "Hazard pointers: safe memory reclamation for lock-free
// objects", 2004) to chunks whose generation tells one message in them from the next:
//
//   publisher                                    subscriber
//     generations[c] += 1           (seq_cst)      holds |= 1 << c                  (seq_cst)
//     look at the `holds` of all    (seq_cst)      generations[c] is the note's?    (seq_cst)
//     somebody's has c: not this one               no: holds &= ~(1 << c), it is lost
//
// In the one order of these operations the later one of the two looks sees the other's store. That
// is for a publisher that overwrites (drop_oldest, latest_only). One that waits (block,
// drop_newest) takes a chunk back when all cursors are past its note and nobody holds it; a
// subscriber's hold comes before its cursor, so no note of its ever is untrue.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast_bell.hpp>
#include <parley/shm/broadcast_layout.hpp>
#include <parley/shm/broadcast_writer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

/// The publisher's side. One thread. `memory` is all its chunks.
template <class Atomics>
class chunk_writer {
public:
    chunk_writer() = default;
    /// Any chunk may be looked at still, or wait in the ring, which was just taken over.
    template <class Vet>
    chunk_writer(const shm_layout::shape& s, std::byte* memory, shm_layout::publisher_page& own,
                 broadcast_writer<Atomics>& ring, Vet&& vet) noexcept
        : memory_(memory),
          own_(&own),
          chunk_bytes_(s.chunk_bytes()),
          overwriting_(ring.overwriting()) {
        for (; queued_ < s.chunks; ++queued_) queue_[queued_].chunk = queued_;
        ring.each_left(vet, [&](bytes m, std::uint64_t behind) {
            shm_layout::chunk_note note{};
            if (m.size() != sizeof note) return;
            Atomics::read(reinterpret_cast<std::byte*>(&note), m.data(), sizeof note);
            if (note.chunk >= s.chunks) return;
            auto& last = queue_[note.chunk].behind;
            last = std::max(last, behind);
        });
        std::sort(queue_, queue_ + queued_,
                  [](const entry& a, const entry& b) { return a.behind < b.behind; });
    }

    /// Tells one state of this object from another, for who explores them.
    [[nodiscard]] std::uint64_t state() const noexcept {
        std::uint64_t h = free_ << 8 ^ ready_;
        for (std::size_t i = 0; i < queued_; ++i) {
            const entry& e = queue_[(first_ + i) % shm_layout::chunks_max];
            h = (h ^ e.behind << 6 ^ e.chunk) * 0x9e3779b97f4a7c15;
        }
        return h;
    }

    /// True if there is a chunk to write to. `vet` as of broadcast_writer::make_way.
    template <class Vet>
    [[nodiscard, gnu::always_inline]] bool make_way(broadcast_writer<Atomics>& ring,
                                                    Vet&& vet) noexcept {
        if (ready_ != none) return true;
        if (free_ == 0 && !(overwriting_ ? take_back_oldest(ring, vet) : take_back(ring, vet))) {
            return false;
        }
        ready_ = static_cast<std::size_t>(__builtin_ctzll(free_));
        free_ &= free_ - 1;
        return true;
    }
    /// Where to write, after make_way(): the same until publish().
    [[nodiscard]] std::byte* room() const noexcept { return memory_ + ready_ * chunk_bytes_; }
    /// Publishes the first n bytes of it. False: the ring has no room for the note, which no
    /// subscriber of ours brings about.
    template <class Vet>
    [[nodiscard, gnu::always_inline]] bool publish(broadcast_writer<Atomics>& ring, std::size_t n,
                                                   std::uint64_t& asleep, Vet&& vet) noexcept {
        const auto generation = Atomics::load(own_->generations[ready_], std::memory_order_relaxed);
        const shm_layout::chunk_note note{ready_, generation, n};
        const bytes m(reinterpret_cast<const std::byte*>(&note), sizeof note);
        if (!ring.copy_in(m, asleep)) [[unlikely]] {
            if (!ring.make_way(sizeof note, vet) || !ring.copy_in(m, asleep)) return false;
        }
        queued(queued_++) = {ring.tail(), ready_};
        ready_ = none;
        return true;
    }

private:
    static constexpr std::size_t none = ~std::size_t{0};
    struct entry {
        std::uint64_t behind;  // its last note
        std::size_t chunk;
    };

    [[nodiscard]] entry& queued(std::size_t i) noexcept {
        return queue_[(first_ + i) % shm_layout::chunks_max];
    }
    void free_one(std::size_t i) noexcept {
        free_ |= std::uint64_t{1} << queued(i).chunk;
        for (; i > 0; --i) queued(i) = queued(i - 1);
        first_ = (first_ + 1) % shm_layout::chunks_max;
        --queued_;
    }
    /// All that was read and is not looked at.
    template <class Vet>
    [[gnu::noinline]] bool take_back(broadcast_writer<Atomics>& ring, Vet& vet) noexcept {
        const auto slowest = ring.look(vet);
        const auto held = ring.held();  // after the cursors: see above
        for (std::size_t i = 0; i < queued_;) {
            const entry& e = queued(i);
            if (e.behind <= slowest && (held >> e.chunk & 1) == 0) {
                free_one(i);  // the next one is number i now
            } else {
                ++i;
            }
        }
        return free_ != 0;
    }
    /// The oldest that nobody looks at, whoever has not taken them yet: a few at once, since the
    /// words of all subscribers are looked at twice for it.
    template <class Vet>
    [[gnu::noinline]] bool take_back_oldest(broadcast_writer<Atomics>& ring, Vet& vet) noexcept {
        const std::size_t few = queued_ < 16 ? 1 : queued_ / 8;
        for (;;) {
            ring.meet(vet);
            const auto before = ring.held();
            std::uint64_t asked = 0;
            for (std::size_t i = 0, n = 0; i < queued_ && n < few; ++i) {
                const auto chunk = queued(i).chunk;
                if ((before >> chunk & 1) != 0) continue;
                auto& generation = own_->generations[chunk];
                const auto next = Atomics::load(generation, std::memory_order_relaxed) + 1;
                Atomics::store(generation, next, std::memory_order_seq_cst);
                asked |= std::uint64_t{1} << chunk;
                ++n;
            }
            if (asked == 0) return false;
            ring.meet(vet);
            const auto ours = asked & ~ring.held();  // somebody may have taken one a moment before
            for (std::size_t i = 0; i < queued_;) {
                (ours >> queued(i).chunk & 1) != 0 ? free_one(i) : void(++i);
            }
            if (ours != 0) return true;
        }
    }

    std::byte* memory_ = nullptr;
    shm_layout::publisher_page* own_ = nullptr;
    std::size_t chunk_bytes_ = 0;
    bool overwriting_ = false;
    std::size_t ready_ = none;  // the next message's
    std::uint64_t free_ = 0;    // nobody looks at these
    entry queue_[shm_layout::chunks_max] = {};
    std::size_t first_ = 0, queued_ = 0;  // the others, in the order in which they were published
};

/// A subscriber's side of the chunks of one publisher; nothing in them is trusted. One thread.
template <class Atomics>
class chunk_reader {
public:
    enum class held : std::uint8_t { whole, overtaken, broken };

    chunk_reader() = default;
    chunk_reader(const shm_layout::shape& s, const std::byte* memory,
                 shm_layout::subscriber_cursor& own,
                 const shm_layout::publisher_page& page) noexcept
        : memory_(memory),
          own_(&own),
          page_(&page),
          chunks_(s.chunks),
          chunk_bytes_(s.chunk_bytes()) {}

    explicit operator bool() const noexcept { return memory_ != nullptr; }

    /// Holds what a note of the ring means, until let_go(). Broken: it means nothing. `asleep`
    /// becomes the publisher's, if it may be to be rung.
    [[nodiscard]] held hold(const shm_layout::chunk_note& note, bytes& payload,
                            std::uint64_t& asleep) noexcept {
        if (note.chunk >= chunks_ || note.length > chunk_bytes_) return held::broken;
        const auto bit = std::uint64_t{1} << note.chunk;
        if ((holds_ & bit) != 0) return held::broken;  // it still is ours
        holds_ |= bit;
        Atomics::store(own_->holds, holds_, std::memory_order_seq_cst);
        payload = {memory_ + note.chunk * chunk_bytes_, static_cast<std::size_t>(note.length)};
        // Pairs with take_back_oldest().
        const auto now = Atomics::load(page_->generations[note.chunk], std::memory_order_seq_cst);
        if (now == note.generation) return held::whole;
        asleep = let_go(payload);  // the publisher may have met our hold, and sleep
        return held::overtaken;
    }
    /// Returns the publisher's `asleep`, if it may be to be rung.
    [[nodiscard]] std::uint64_t let_go(bytes payload) noexcept {
        const auto chunk = static_cast<std::size_t>(payload.data() - memory_) / chunk_bytes_;
        holds_ &= ~(std::uint64_t{1} << chunk);
        // A release: our reads are over. The publisher may sleep for room.
        return publish_to_one<Atomics>(page_->state.asleep, usual_, own_->holds, holds_);
    }

private:
    const std::byte* memory_ = nullptr;
    shm_layout::subscriber_cursor* own_ = nullptr;
    const shm_layout::publisher_page* page_ = nullptr;
    std::size_t chunks_ = 0, chunk_bytes_ = 0;
    std::uint64_t holds_ = 0;
    std::uint64_t usual_ = Atomics::enrol() ? rushing : nobody_says_that;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
