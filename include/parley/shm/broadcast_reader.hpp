// SPDX-License-Identifier: MIT
// The subscriber's side of a broadcast ring: broadcast.hpp says how it works.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast.hpp>
#include <parley/shm/broadcast_bell.hpp>
#include <parley/shm/broadcast_layout.hpp>
#include <parley/shm/distance.hpp>
#include <parley/shm/lane.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

/// The subscriber's side of one ring; nothing in it is trusted. One thread.
template <class Atomics>
class broadcast_reader {
public:
    /// Where a subscriber begins to follow a ring, and what was given up before that.
    struct start {
        std::uint64_t position = 0;
        std::uint64_t sequence = 0;
        std::uint64_t dropped = 0;
    };
    struct item {
        taken kind;
        bytes payload;  // of a message: in the ring until release(), or in the room that was given
    };

    /// A place in a ring that is spared from now on, at or before its end. The ring itself is not
    /// looked at: if nobody ever wrote there, that is all.
    [[nodiscard]] static start choose(const shm_layout::shape& s, shm_layout::giving_way rule,
                                      const shm_layout::publisher_page& page,
                                      shm_layout::subscriber_cursor& cursor) noexcept {
        start at{s.first(), 0, Atomics::load(page.dropped, std::memory_order_relaxed)};
        if (shm_layout::overwrites(rule)) {
            anchor_seen newest;
            each_anchor(page, [&](const anchor_seen& a) {
                if (newest.position == shm_layout::nowhere || a.position > newest.position) {
                    newest = a;
                }
            });
            if (newest.position == shm_layout::nowhere) return at;
            return {newest.position, newest.sequence, at.dropped};
        }
        for (int tries = 0; tries < tries_max; ++tries) {
            const auto reserve = Atomics::load(page.reserve, std::memory_order_relaxed);
            at.position = reserve - s.capacity;
            Atomics::store(cursor.head, at.position, std::memory_order_seq_cst);
            // Pairs with ask_subscribers(): see above.
            if (Atomics::load(page.reserve, std::memory_order_seq_cst) == reserve) break;
        }
        at.dropped = Atomics::load(page.dropped, std::memory_order_relaxed);
        return at;
    }

    broadcast_reader(const shm_layout::shape& s, shm_layout::giving_way rule, const std::byte* ring,
                     shm_layout::subscriber_cursor& cursor, const shm_layout::publisher_page& page,
                     const start& at) noexcept
        : shape_(s),
          ring_{ring, s.capacity - 1},
          cursor_(&cursor),
          page_(&page),
          rule_(rule),
          overwritten_(shm_layout::overwrites(rule)),
          next_(at.position - ((at.position - s.first()) & (s.alignment - 1))),
          sequence_(at.sequence),
          dropped_(at.dropped) {}

    /// Past all that is there: who comes late begins with what comes later. Returns as release().
    [[nodiscard]] std::uint64_t skip_to_end() noexcept {
        for (std::uint64_t walked = 0; walked <= 2 * shape_.capacity;) {
            const auto word = Atomics::load(ring_.commit(next_), std::memory_order_acquire);
            const auto n = announced(word, message_bytes_max_);
            if (overwritten_ && is_overtaken()) {
                if (!catch_up()) break;
                walked += shape_.capacity / 8;  // a publisher that goes on for ever cannot keep us
                continue;
            }
            if (n > message_bytes_max_) break;
            next_ += shape_.stride(n);
            walked += shape_.stride(n);
            ++sequence_;
        }
        lost_ = 0;
        distance_ = distance<Atomics>(shape_.capacity, next_, page_->progress.written);
        return release();
    }

    /// The next message, in the ring, or copied into `room` (message_bytes_max) if the publisher
    /// may overwrite it meanwhile.
    [[nodiscard, gnu::always_inline]] item take(std::byte* room) noexcept {
        if (overwritten_) return take_copy(room);
        if (distance_.is_due(next_)) [[unlikely]]
            distance_.keep(next_, Atomics::yield);  // other subscribers may share our core
        // Acquire pairs with publish(): the payload is there.
        const auto word = Atomics::load(ring_.commit(next_), std::memory_order_acquire);
        const auto n = announced(word, message_bytes_max_);
        if (n > message_bytes_max_) [[unlikely]]
            return {word == 0 ? taken::nothing : taken::broken, {}};
        const bytes payload(ring_.payload(next_), n);
        next_ += shape_.stride(n);
        return {taken::message, payload};
    }
    /// The next message into memory of its length. False: take() tells what else there is; what
    /// was in `into` may be gone.
    [[nodiscard, gnu::always_inline]] bool take_into(mutable_bytes into) noexcept {
        const std::size_t n = into.size();
        const auto next = next_;
        if (distance_.is_due(next) || n > message_bytes_max_) [[unlikely]]
            return false;
        const auto* const payload = ring_.payload(next);
        const auto word = Atomics::load(ring_.commit(next), std::memory_order_acquire);
        if (word != shm_layout::commit_word(shm_layout::record::message, n)) return false;
        if (!overwritten_) [[likely]] {
            if (n != 0) Atomics::read(into.data(), payload, n);
        } else {
            if (rule_ == shm_layout::giving_way::latest_only) return false;
            load_words<Atomics>(into.data(), payload, n);
            if (is_overtaken()) [[unlikely]]
                return false;
            ++sequence_;
        }
        next_ = next + shape_.stride(n);
        return true;
    }
    /// How far this subscriber has come.
    [[nodiscard]] std::uint64_t position() const noexcept { return next_; }
    /// True if take() would find something.
    [[nodiscard]] bool ready() const noexcept {
        return Atomics::load(ring_.commit(next_), std::memory_order_acquire) != 0 ||
               (overwritten_ && is_overtaken());
    }

    /// Gives all that was taken back to the publisher. Returns its `asleep`, if it may be to be
    /// rung. Where nothing waits for it, nothing is said.
    [[gnu::always_inline]] std::uint64_t release() noexcept {
        return overwritten_ ? 0 : give_back(next_);
    }
    /// As lane_reader::release_oldest.
    std::uint64_t release_oldest(bytes payload) noexcept {
        if (overwritten_ || payload.data() != ring_.payload(head_)) return 0;
        return give_back(head_ + shape_.stride(payload.size()));
    }
    /// The message that was taken last had been given up before it could be looked at.
    void miss() noexcept { ++lost_; }
    /// True if the publisher sleeps until this subscriber, number `place`, has come to where it is.
    [[nodiscard]] bool is_awaited(std::size_t place) const noexcept {
        const auto& state = page_->state;
        return (Atomics::load(state.holders, std::memory_order_relaxed) >> place & 1) != 0 &&
               head_ >= Atomics::load(state.wanted, std::memory_order_relaxed);
    }
    /// How many messages were published, or given up, and will not be taken here.
    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_ + Atomics::load(page_->dropped, std::memory_order_relaxed) - dropped_;
    }

private:
    struct anchor_seen {
        std::uint64_t position = shm_layout::nowhere;
        std::uint64_t sequence = 0;
    };
    /// A position and its number belong together if the position is still the same afterwards: it
    /// is taken away before the number changes, and none comes twice.
    template <class F>
    static void each_anchor(const shm_layout::publisher_page& page, F&& f) noexcept {
        for (const auto& a : page.anchors) {
            const auto position = Atomics::load(a.position, std::memory_order_acquire);
            const auto sequence = Atomics::load(a.sequence, std::memory_order_acquire);
            if (position == shm_layout::nowhere) continue;
            if (Atomics::load(a.position, std::memory_order_relaxed) != position) continue;
            f(anchor_seen{position, sequence});
        }
    }

    /// True if what was loaded at next_ so far may be of a later message.
    [[nodiscard]] bool is_overtaken() const noexcept {
        // Ordered after the loads of the message, which are acquires: see above.
        return Atomics::load(page_->reserve, std::memory_order_relaxed) > next_ + shape_.capacity;
    }
    /// Goes on at the oldest anchor that is not about to be overwritten too, and counts what lies
    /// between. False: there is none, which no publisher of ours brings about.
    [[gnu::noinline]] bool catch_up() noexcept {
        for (int tries = 0; tries < tries_max; ++tries) {
            const auto reserve = Atomics::load(page_->reserve, std::memory_order_acquire);
            const auto spared = reserve - shape_.capacity / 4 * 3;
            anchor_seen oldest;
            each_anchor(*page_, [&](const anchor_seen& a) {
                if (a.position >= spared && a.position < oldest.position) oldest = a;
            });
            if (go_on_at(oldest)) return true;
            Atomics::pause();
        }
        return false;
    }
    bool go_on_at(const anchor_seen& a) noexcept {
        const bool sane = a.position != shm_layout::nowhere && a.position > next_ &&
                          a.sequence >= sequence_ &&
                          ((a.position - shape_.first()) & (shape_.alignment - 1)) == 0;
        if (!sane) return false;
        lost_ += a.sequence - sequence_;
        next_ = a.position;
        sequence_ = a.sequence;
        distance_ = distance<Atomics>(shape_.capacity, next_, page_->progress.written);
        return true;
    }
    /// Skips all that something newer follows.
    void skip_to_newest() noexcept {
        anchor_seen newest;
        each_anchor(*page_, [&](const anchor_seen& a) {
            if (newest.position == shm_layout::nowhere || a.position > newest.position) newest = a;
        });
        (void)go_on_at(newest);
        for (const auto begin = next_; next_ - begin <= shape_.capacity;) {
            const auto word = Atomics::load(ring_.commit(next_), std::memory_order_acquire);
            const auto n = announced(word, message_bytes_max_);
            if (is_overtaken() || n > message_bytes_max_) return;
            const auto after = next_ + shape_.stride(n);
            if (Atomics::load(ring_.commit(after), std::memory_order_relaxed) == 0) return;
            next_ = after;
            ++sequence_;
            ++lost_;
        }
    }
    [[gnu::noinline]] item take_copy(std::byte* room) noexcept {
        const bool newest = rule_ == shm_layout::giving_way::latest_only;
        if (!newest && distance_.is_due(next_)) [[unlikely]]
            distance_.keep(next_, Atomics::yield);  // other subscribers may share our core
        for (int tries = 0; tries < tries_max; ++tries) {
            if (newest) skip_to_newest();
            const auto word = Atomics::load(ring_.commit(next_), std::memory_order_acquire);
            const auto n = announced(word, message_bytes_max_);
            if (n <= message_bytes_max_) load_words<Atomics>(room, ring_.payload(next_), n);
            if (is_overtaken()) [[unlikely]] {
                if (!catch_up()) break;
                continue;
            }
            if (n > message_bytes_max_) {
                if (word == 0) return {taken::nothing, {}};
                break;
            }
            next_ += shape_.stride(n);
            ++sequence_;
            return {taken::message, {room, n}};
        }
        return {taken::broken, {}};
    }
    [[gnu::always_inline]] std::uint64_t give_back(std::uint64_t position) noexcept {
        head_ = position;
        // A release: our reads are over. The publisher may sleep for room.
        return publish_to_one<Atomics>(page_->state.asleep, usual_, cursor_->head, position);
    }

    static constexpr int tries_max = 1000;

    shm_layout::shape shape_;
    ring_memory<const std::byte> ring_;
    shm_layout::subscriber_cursor* cursor_;
    const shm_layout::publisher_page* page_;
    shm_layout::giving_way rule_;
    bool overwritten_;
    std::uint64_t usual_ = Atomics::enrol() ? rushing : nobody_says_that;
    std::uint64_t next_;          // the commit word to look at
    std::uint64_t sequence_;      // its number
    std::uint64_t head_ = next_;  // what the cursor says
    std::uint64_t lost_ = 0;
    std::uint64_t dropped_;  // what page.dropped was when we came
    std::size_t message_bytes_max_ = broadcast_bytes_max(shape_, overwritten_);
    distance<Atomics> distance_{shape_.capacity, next_, page_->progress.written};
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
