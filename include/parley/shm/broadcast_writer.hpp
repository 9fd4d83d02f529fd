// SPDX-License-Identifier: MIT
// The publisher's side of a broadcast ring: broadcast.hpp says how it works.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast.hpp>
#include <parley/shm/broadcast_bell.hpp>
#include <parley/shm/broadcast_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

/// The publisher's side of ring number `index`. One thread. `cursors` are the pages of all
/// subscribers, of which only those in `vetted` are touched.
template <class Atomics>
class broadcast_writer {
public:
    broadcast_writer() = default;
    /// Goes on where the last publisher of the ring stopped.
    broadcast_writer(const shm_layout::shape& s, shm_layout::giving_way rule, std::size_t index,
                     std::byte* ring, shm_layout::publisher_page& own,
                     const shm_layout::subscribers_page& all, const std::byte* cursors) noexcept
        : shape_(s),
          ring_{ring, s.capacity - 1},
          own_(&own),
          all_(&all),
          cursors_(cursors),
          index_(index),
          message_bytes_max_(broadcast_bytes_max(s, shm_layout::overwrites(rule))),
          overwriting_(shm_layout::overwrites(rule)) {
        find_tail();
        hinted_ = tail_;
        Atomics::store(own_->progress.written, tail_, std::memory_order_relaxed);
        if (overwriting_) {
            move_on(0);
        } else {
            Atomics::store(own_->reserve, tail_ + shape_.capacity, std::memory_order_relaxed);
            limit_ = tail_;  // nobody was asked yet
        }
    }

    [[nodiscard]] std::size_t message_bytes_max() const noexcept { return message_bytes_max_; }
    [[nodiscard]] bool overwriting() const noexcept { return overwriting_; }

    /// Room for n bytes in the ring, or an empty span: make_way(n). Not while overwriting.
    [[nodiscard]] mutable_bytes try_loan(std::size_t n) noexcept {
        if (!has_room(n)) return {};
        return {ring_.payload(tail_), n};
    }
    /// Publishes the first n bytes of the loan. Returns the `asleep` of the subscribers.
    [[nodiscard]] std::uint64_t commit(std::size_t n) noexcept {
        const auto next = tail_ + shape_.stride(n);
        Atomics::store(ring_.commit(next), std::uint64_t{0}, std::memory_order_relaxed);
        return publish(next, n);
    }
    /// Copies a message in and publishes it. False: make_way(n).
    [[nodiscard, gnu::always_inline]] bool copy_in(bytes m, std::uint64_t& asleep) noexcept {
        const auto next = tail_ + shape_.stride(m.size());
        if (next + shape_.reserve() > limit_) [[unlikely]]
            return false;
        Atomics::store(ring_.commit(next), std::uint64_t{0}, std::memory_order_relaxed);
        if (overwriting_) {
            store_words<Atomics>(ring_.payload(tail_), m.data(), m.size());
        } else {
            if (!m.empty()) Atomics::write(ring_.payload(tail_), m.data(), m.size());
        }
        asleep = publish(next, m.size());
        return true;
    }

    /// Looks for room for n bytes. `vet(j)`: the page of subscriber j may be touched from now on.
    template <class Vet>
    [[nodiscard]] bool make_way(std::size_t n, Vet&& vet) noexcept {
        if (overwriting_) {
            move_on(shape_.stride(n) + shape_.reserve());
        } else {
            ask_subscribers(vet);
        }
        return has_room(n);
    }
    /// The position that cursors must reach before n bytes fit.
    [[nodiscard]] std::uint64_t head_for(std::size_t n) const noexcept {
        return tail_ + shape_.stride(n) + shape_.reserve() - shape_.capacity;
    }
    /// Those who hold us there, as make_way saw them.
    [[nodiscard]] std::uint64_t holders(std::size_t n) const noexcept {
        std::uint64_t found = 0;
        each_reader([&](std::size_t j, std::uint64_t head) {
            if (head < head_for(n)) found |= std::uint64_t{1} << j;
        });
        return found;
    }
    /// How often place j was taken. To be asked before whether its subscriber lives: who takes the
    /// place after that is another one.
    [[nodiscard]] std::uint32_t claims(std::size_t j) const noexcept {
        return Atomics::load(page_of(j).claims, std::memory_order_relaxed);
    }
    /// The subscriber that took place j last but for later ones is dead: it holds nobody.
    void bury(std::size_t j, std::uint32_t claim) noexcept {
        dead_ |= std::uint64_t{1} << j;
        dead_claims_[j] = claim;
    }
    [[nodiscard]] std::uint64_t vetted() const noexcept { return vetted_; }
    /// Up to here nobody needs to be asked.
    [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }

    /// f(payload, position behind it) for each message that the last publisher of the ring left to
    /// whoever follows it; for some of them more than once.
    template <class Vet, class F>
    void each_left(Vet&& vet, F&& f) noexcept {
        const auto walk = [&](std::uint64_t p) {
            while (p < tail_) {
                const auto word = Atomics::load(ring_.commit(p), std::memory_order_acquire);
                const auto n = announced(word, message_bytes_max_);
                if (n > message_bytes_max_) return;
                f(bytes(ring_.payload(p), n), p + shape_.stride(n));
                p += shape_.stride(n);
            }
        };
        walk(found_);
        if (overwriting_) return;
        // Each on its own way, since one that lies may have its cursor between two messages.
        meet(vet);
        each_reader([&](std::size_t, std::uint64_t head) {
            if (head < found_ && shape_.place(head) == head) walk(head);
        });
    }
    /// Looks at all cursors: what lies before the position returned is read. Not while overwriting.
    template <class Vet>
    [[nodiscard]] std::uint64_t look(Vet&& vet) noexcept {
        ask_subscribers(vet);
        return limit_ - shape_.capacity;
    }
    /// Looks for subscribers that came since the last look.
    template <class Vet>
    void meet(Vet&& vet) noexcept {
        auto fresh = Atomics::load(all_->known, std::memory_order_seq_cst) & ~vetted_;
        for (; fresh != 0; fresh &= fresh - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctzll(fresh));
            if (vet(j)) vetted_ |= std::uint64_t{1} << j;
        }
    }
    /// The chunks at which those look whom we met and who are not known to be dead.
    [[nodiscard]] std::uint64_t held() const noexcept {
        std::uint64_t chunks = 0;
        each_living([&](std::size_t, const shm_layout::subscriber_cursor& cursor) {
            // Seq_cst: chunks.hpp. Acquire pairs with let_go(): their reads are over.
            chunks |= Atomics::load(cursor.holds, std::memory_order_seq_cst);
        });
        return chunks;
    }
    /// Those who look at some chunk, or did not read all there is.
    [[nodiscard]] std::uint64_t busy() const noexcept {
        std::uint64_t found = 0;
        each_living([&](std::size_t j, const shm_layout::subscriber_cursor& cursor) {
            const auto head = Atomics::load(cursor.head, std::memory_order_relaxed);
            if (head < tail_ || Atomics::load(cursor.holds, std::memory_order_relaxed) != 0) {
                found |= std::uint64_t{1} << j;
            }
        });
        return found;
    }

    /// One message is given up; subscribers learn how many.
    void drop() noexcept {
        const auto dropped = Atomics::load(own_->dropped, std::memory_order_relaxed);
        Atomics::store(own_->dropped, dropped + 1, std::memory_order_relaxed);
    }

private:
    [[nodiscard]] bool has_room(std::size_t n) const noexcept {
        return tail_ + shape_.stride(n) + shape_.reserve() <= limit_;
    }
    [[nodiscard]] const shm_layout::subscriber_page& page_of(std::size_t j) const noexcept {
        return *reinterpret_cast<const shm_layout::subscriber_page*>(cursors_ +
                                                                     j * shm_layout::cursors_bytes);
    }
    [[gnu::always_inline]] std::uint64_t publish(std::uint64_t next, std::size_t n) noexcept {
        auto& at = ring_.commit(tail_);
        tail_ = next;
        ++sequence_;
        const auto asleep = publish_to_all<Atomics>(
            all_->asleep, enrolled_, at, shm_layout::commit_word(shm_layout::record::message, n));
        if (next - hinted_ >= shm_layout::hint_bytes) {
            hinted_ = next;
            Atomics::store(own_->progress.written, next, std::memory_order_relaxed);
        }
        return asleep;
    }

    /// f(j, cursor) for each subscriber that we met and that is not known to be dead.
    template <class F>
    void each_living(F&& f) const noexcept {
        for (auto left = vetted_; left != 0; left &= left - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctzll(left));
            const auto& page = page_of(j);
            if ((dead_ >> j & 1) != 0) {
                // Acquire pairs with the claim: a successor's cursors are `nowhere` or its own.
                if (Atomics::load(page.claims, std::memory_order_acquire) == dead_claims_[j]) {
                    continue;
                }
            }
            f(j, page.rings[index_]);
        }
    }
    /// f(j, head) for each of those that follows this ring.
    template <class F>
    void each_reader(F&& f) const noexcept {
        each_living([&](std::size_t j, const shm_layout::subscriber_cursor& cursor) {
            // Seq_cst: see above. Acquire pairs with the subscriber's store: its reads are over.
            const auto head = Atomics::load(cursor.head, std::memory_order_seq_cst);
            // What is no position between us and a ring behind us is `nowhere`, or a subscriber
            // that just comes and will choose again, or one that lies.
            if (head <= tail_ && tail_ - head <= shape_.capacity) f(j, head);
        });
    }
    template <class Vet>
    void ask_subscribers(Vet&& vet) noexcept {
        Atomics::store(own_->reserve, tail_ + shape_.capacity, std::memory_order_seq_cst);
        meet(vet);
        auto slowest = tail_;
        each_reader([&](std::size_t, std::uint64_t head) {
            if (head < slowest) slowest = head;
        });
        limit_ = slowest + shape_.capacity;
    }

    /// The next stretch of the ring is ours. Its anchor comes first, so that there is at any moment
    /// one which `reserve` spares.
    void move_on(std::size_t n) noexcept {
        auto& a = own_->anchors[anchor_++ % shm_layout::anchors_count];
        Atomics::store(a.position, shm_layout::nowhere, std::memory_order_relaxed);
        Atomics::store(a.sequence, sequence_, std::memory_order_release);
        Atomics::store(a.position, tail_, std::memory_order_release);
        const auto stretch = shape_.capacity / shm_layout::anchors_count;
        limit_ = tail_ + (n > stretch ? n : stretch);
        // Whoever reads a word of a message that comes now, each a release, sees this.
        Atomics::store(own_->reserve, limit_, std::memory_order_release);
    }

    /// Where the last publisher stopped, as its own words say. A ring that makes no sense is
    /// begun anew behind all that was ever written.
    void find_tail() noexcept {
        std::size_t newest = 0;
        if (overwriting_) {
            tail_ = 0;
            for (std::size_t i = 0; i < shm_layout::anchors_count; ++i) {
                const auto& a = own_->anchors[i];
                const auto p = Atomics::load(a.position, std::memory_order_acquire);
                if (p == shm_layout::nowhere || p < tail_) continue;
                newest = i;
                tail_ = p;
                sequence_ = Atomics::load(a.sequence, std::memory_order_acquire);
            }
        } else {
            tail_ = Atomics::load(own_->reserve, std::memory_order_relaxed) - shape_.capacity;
        }
        anchor_ = newest + 1;
        tail_ -= (tail_ - shape_.first()) & (shape_.alignment - 1);
        found_ = tail_;
        while (tail_ - found_ <= shape_.capacity) {
            const auto word = Atomics::load(ring_.commit(tail_), std::memory_order_acquire);
            if (word == 0) return;
            const auto n = announced(word, message_bytes_max_);
            if (n > message_bytes_max_) break;
            tail_ += shape_.stride(n);
            ++sequence_;
        }
        tail_ += 2 * shape_.capacity;
        Atomics::store(ring_.commit(tail_), std::uint64_t{0}, std::memory_order_release);
    }

    shm_layout::shape shape_;
    ring_memory<std::byte> ring_;
    shm_layout::publisher_page* own_ = nullptr;
    const shm_layout::subscribers_page* all_ = nullptr;
    const std::byte* cursors_ = nullptr;
    std::size_t index_ = 0;
    std::size_t message_bytes_max_ = 0;
    bool overwriting_ = false;
    bool enrolled_ = Atomics::enrol();
    std::uint64_t found_ = 0;  // where we began to look for the end of the last publisher's
    std::uint64_t tail_ = 0;
    std::uint64_t sequence_ = 0;  // of the next message
    std::uint64_t limit_ = 0;     // up to here nobody needs to be asked
    std::uint64_t hinted_ = 0;    // the tail as last told to subscribers
    std::size_t anchor_ = 0;      // the next to be written
    std::uint64_t vetted_ = 0;
    std::uint64_t dead_ = 0;
    std::uint32_t dead_claims_[shm_layout::readers_max] = {};
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
