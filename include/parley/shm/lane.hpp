// SPDX-License-Identifier: MIT
// A lane: a lossless ring of variable-length messages from one writer to one reader. The layout is
// drawn in layout.hpp. The commit word of a message is written last, so nothing is visible before
// its writer meant it; the word behind a message is zeroed before, so that the reader stops there.
// That is the ring of Aeron's log buffers (length word as commit, cleared ahead) with a cached
// reader cursor as in Rigtorp's SPSC queue; both are described in their projects' documentation.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/distance.hpp>
#include <parley/shm/doorbell.hpp>
#include <parley/shm/layout.hpp>
#include <parley/shm/succession.hpp>

#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

/// The writer's side. `ring` is the ring mapped twice, writable. One thread.
template <class Atomics>
class lane_writer {
public:
    lane_writer() = default;
    /// Takes over an empty lane at the reader's position and clears the way.
    lane_writer(const shm_layout::shape& s, std::byte* ring, const shm_layout::lane_cursor& cursor,
                const shm_layout::reader_state& reader, shm_layout::lane_page& own) noexcept
        : shape_(s), ring_(ring), cursor_(&cursor), reader_(&reader), progress_(&own.progress) {
        // Relaxed: whoever found the lane free has acquired what the reader did before.
        // A reader that lies is not our death.
        tail_ = s.place(Atomics::load(cursor.head, std::memory_order_relaxed));
        head_ = hinted_ = tail_;
        Atomics::store(progress_->written, tail_, std::memory_order_relaxed);
        Atomics::store(commit_at(tail_), std::uint64_t{0}, std::memory_order_relaxed);
    }

    /// Room for n bytes at the tail, or an empty span if the ring is full. n is at most
    /// shape.message_bytes_max(). Valid until commit.
    [[nodiscard]] mutable_bytes try_loan(std::size_t n) noexcept {
        if (!has_room(n)) {
            look_at_head();
            if (!has_room(n)) return {};
        }
        return {ring_ + index(tail_) + 8, n};
    }
    /// Publishes the first n bytes of the loan. Returns the reader's `asleep`, if it is to be rung.
    [[nodiscard]] std::uint64_t commit(std::size_t n) noexcept {
        return publish(shm_layout::record::message, n);
    }
    /// Loan, copy and commit in one. False: the ring is full.
    [[nodiscard, gnu::always_inline]] bool copy_in(bytes m, std::uint64_t& asleep) noexcept {
        const auto tail = tail_, next = tail + shape_.stride(m.size());
        if (next + shape_.reserve() > head_ + shape_.capacity) [[unlikely]] {
            look_at_head();
            if (next + shape_.reserve() > head_ + shape_.capacity) return false;
        }
        auto& at = commit_at(tail);
        auto& behind = commit_at(next);
        if (!m.empty()) Atomics::write(&at + 1, m.data(), m.size());
        asleep = publish(at, behind, next,
                         shm_layout::commit_word(shm_layout::record::message, m.size()));
        return true;
    }
    /// As many of the messages in `m`, `each` bytes long, as there is room for; they appear at
    /// once, since the first one's word is written last. How many.
    [[nodiscard]] std::size_t copy_in_many(bytes m, std::size_t each,
                                           std::uint64_t& asleep) noexcept {
        const auto stride = shape_.stride(each);
        const std::size_t wanted = m.size() / each;
        std::size_t n = room_for(stride);
        if (n < wanted) {
            look_at_head();
            n = room_for(stride);
        }
        if (n > wanted) n = wanted;
        if (n == 0) return 0;
        const auto word = shm_layout::commit_word(shm_layout::record::message, each);
        auto at = tail_;
        for (std::size_t i = 0; i < n; ++i, at += stride) {
            Atomics::write(ring_ + index(at) + 8, m.data() + i * each, each);
            if (i != 0) Atomics::store(commit_at(at), word, std::memory_order_relaxed);
        }
        asleep = publish(commit_at(tail_), commit_at(at), at, word);
        return n;
    }
    /// The last word of a writer in good order; there is always room for it.
    [[nodiscard]] std::uint64_t commit_end() noexcept {
        return publish(shm_layout::record::end, 0);
    }

    /// The position that head must reach before n bytes fit.
    [[nodiscard]] std::uint64_t head_for(std::size_t n) const noexcept {
        return tail_ + shape_.stride(n) + shape_.reserve() - shape_.capacity;
    }
    /// The same question to shared memory, ordered after lie_down().
    [[nodiscard]] bool room_now(std::size_t n) noexcept {
        look_at_head();
        return has_room(n);
    }
    [[nodiscard]] std::uint64_t tail() const noexcept { return tail_; }
    [[nodiscard]] std::uint64_t head_seen() const noexcept { return head_; }

    /// Committed messages that the reader has not taken: counted along the ring.
    [[nodiscard]] std::uint64_t unread() noexcept {
        look_at_head();
        const auto taken =
            succession<Atomics>::position(Atomics::load(cursor_->taken, std::memory_order_relaxed));
        std::uint64_t n = 0;
        // By what is left: a reader that lied may have put us near the end of all numbers, and a
        // position that somebody's length leads past it begins anew.
        for (auto left = tail_ - (is_ours(taken) ? taken : head_); left > 0; ++n) {
            const auto length = static_cast<std::uint32_t>(
                Atomics::load(commit_at(tail_ - left), std::memory_order_relaxed));
            const auto stride = shape_.stride(length);
            left = stride < left ? left - stride : 0;
        }
        return n;
    }

private:
    [[nodiscard]] std::size_t index(std::uint64_t position) const noexcept {
        return static_cast<std::size_t>(position) & (shape_.capacity - 1);
    }
    [[nodiscard]] std::uint64_t& commit_at(std::uint64_t position) const noexcept {
        return *reinterpret_cast<std::uint64_t*>(ring_ + index(position));
    }
    [[nodiscard]] bool has_room(std::size_t n) const noexcept {
        return tail_ + shape_.stride(n) + shape_.reserve() <= head_ + shape_.capacity;
    }
    [[nodiscard]] std::size_t room_for(std::size_t stride) const noexcept {
        const auto left = head_ + shape_.capacity - tail_;
        return left < shape_.reserve() ? 0 : (left - shape_.reserve()) / stride;
    }
    void look_at_head() noexcept {
        // Acquire pairs with the reader's store: its reads of the old messages are over.
        const auto h = Atomics::load(cursor_->head, std::memory_order_seq_cst);
        if (is_ours(h)) head_ = h;
    }
    /// Whether a reader may be there that was at head_: any other one lies.
    [[nodiscard]] bool is_ours(std::uint64_t position) const noexcept {
        return position > head_ && position <= tail_ && position == shape_.place(position);
    }
    [[nodiscard]] std::uint64_t publish(shm_layout::record k, std::size_t n) noexcept {
        const auto next = tail_ + shape_.stride(n);
        return publish(commit_at(tail_), commit_at(next), next, shm_layout::commit_word(k, n));
    }
    [[gnu::always_inline]] std::uint64_t publish(std::uint64_t& at, std::uint64_t& behind,
                                                 std::uint64_t next, std::uint64_t word) noexcept {
        // The zero comes first, as the payload does: the commit word is a release.
        Atomics::store(behind, std::uint64_t{0}, std::memory_order_relaxed);
        tail_ = next;
        const auto asleep = publish_to<Atomics>(reader_->asleep, enrolled_, at, word);
        if (next - hinted_ >= shm_layout::hint_bytes) {
            hinted_ = next;
            Atomics::store(progress_->written, next, std::memory_order_relaxed);
        }
        return asleep;
    }

    shm_layout::shape shape_;
    std::byte* ring_ = nullptr;
    const shm_layout::lane_cursor* cursor_ = nullptr;
    const shm_layout::reader_state* reader_ = nullptr;
    shm_layout::writer_progress* progress_ = nullptr;
    bool enrolled_ = Atomics::enrol();
    std::uint64_t tail_ = 0;
    std::uint64_t hinted_ = 0;  // the tail as last told to the reader
    std::uint64_t head_ = 0;    // the reader's cursor as last seen
};

/// What the reader finds in a lane.
enum class taken : std::uint8_t { nothing, message, end, broken };

/// The reader's side. `ring` is the ring mapped twice; nothing in it is trusted. One thread.
template <class Atomics>
class lane_reader {
public:
    lane_reader(const shm_layout::shape& s, const std::byte* ring, shm_layout::lane_cursor& cursor,
                const shm_layout::lane_page& writer) noexcept
        : shape_(s),
          ring_(ring),
          cursor_(&cursor),
          writer_(&writer),
          // Whoever holds a memfd may write there as well.
          next_(s.place(Atomics::load(cursor.head, std::memory_order_relaxed))) {}

    /// What lies at the reader's position.
    struct item {
        taken kind;
        bytes payload;  // of a message, until release()
    };

    /// Takes the next message, or finds the end. An end stays where it is, so that a successor
    /// finds it too, and a broken lane stays broken, alone.
    [[nodiscard]] item take() noexcept {
        if (distance_.is_due(next_)) [[unlikely]]
            keep_distance();
        // Acquire pairs with publish(): the payload is there.
        const auto word = Atomics::load(commit_at(next_), std::memory_order_acquire);
        const auto length = static_cast<std::size_t>(word & 0xffffffffU);
        const bytes payload(ring_ + index(next_) + 8, length);
        if (word == shm_layout::commit_word(shm_layout::record::message, length)) [[likely]] {
            if (length > message_bytes_max_) return {taken::broken, {}};
            next_ += shape_.stride(length);
            ++lent_;
            say_taken(succession<Atomics>::one);
            return {taken::message, payload};
        }
        if (word == 0) return {taken::nothing, {}};
        if (word != shm_layout::commit_word(shm_layout::record::end, 0)) return {taken::broken, {}};
        return {taken::end, {}};
    }
    /// The next message into memory of its length. False: take() tells what else there is.
    [[nodiscard, gnu::always_inline]] bool take_into(mutable_bytes into) noexcept {
        const std::size_t n = into.size();
        if (distance_.is_due(next_) || n > message_bytes_max_) [[unlikely]]
            return false;
        const auto word = Atomics::load(commit_at(next_), std::memory_order_acquire);
        if (word != shm_layout::commit_word(shm_layout::record::message, n)) return false;
        if (n != 0) Atomics::read(into.data(), ring_ + index(next_) + 8, n);
        next_ += shape_.stride(n);
        return true;
    }
    /// As many messages as there are into memory for whole ones, each as long as that. How many.
    [[nodiscard]] std::size_t take_many_into(mutable_bytes into, std::size_t each) noexcept {
        if (each > message_bytes_max_) return 0;
        if (distance_.is_due(next_)) [[unlikely]]
            keep_distance();
        const auto word = shm_layout::commit_word(shm_layout::record::message, each);
        const auto stride = shape_.stride(each);
        std::size_t n = 0;
        auto at = next_;
        // A writer that lies may fill the whole ring with words.
        for (const auto last = next_ + shape_.capacity - stride; at <= last; ++n, at += stride) {
            if ((n + 1) * each > into.size()) break;
            if (Atomics::load(commit_at(at), std::memory_order_acquire) != word) break;
            Atomics::read(into.data() + n * each, ring_ + index(at) + 8, each);
        }
        if (n == 0) return 0;
        settle();
        next_ = at;
        say_batch(n);
        return n;
    }
    /// The receiver was called again, so nothing of this lane is in hand that was given back.
    void settle() noexcept {
        if (head_ != next_) return;
        if (Atomics::load(cursor_->taken, std::memory_order_relaxed) == head_) return;
        Atomics::store(cursor_->taken, head_, std::memory_order_relaxed);
    }
    /// True if take() would find something.
    [[nodiscard]] bool ready(std::memory_order order) const noexcept {
        return Atomics::load(commit_at(next_), order) != 0;
    }
    /// Gives everything taken so far back to the writer. Returns its `asleep`, if it may be to be
    /// rung.
    std::uint64_t release() noexcept {
        if (lent_ > 1) [[unlikely]]
            say_batch(lent_);
        lent_ = 0;
        return give_back(next_);
    }
    /// Gives the oldest message back while later ones are still looked at. If `payload` is not the
    /// oldest, it goes with the others.
    std::uint64_t release_oldest(bytes payload) noexcept {
        if (payload.data() != ring_ + index(head_) + 8) return 0;
        --lent_;
        return give_back(head_ + shape_.stride(payload.size()));
    }
    /// Whether what was given back is the room that a sleeping writer waits for.
    [[nodiscard]] bool is_room_enough() const noexcept {
        return head_ >= Atomics::load(writer_->state.wanted, std::memory_order_relaxed);
    }

private:
    [[gnu::noinline]] void keep_distance() noexcept {
        distance_.keep(next_, [] {
            for (int i = 0; i < 32; ++i) Atomics::pause();
        });
    }
    void say_taken(std::uint64_t note) noexcept {
        Atomics::store(cursor_->taken, next_ | note, std::memory_order_relaxed);
    }
    /// What lies before next_ will be given back at once. The number counts as of that note.
    void say_batch(std::uint64_t n) noexcept {
        Atomics::store(cursor_->batch, n, std::memory_order_relaxed);
        say_taken(succession<Atomics>::batch);
    }
    std::uint64_t give_back(std::uint64_t position) noexcept {
        head_ = position;
        // A release: our reads are over. The writer may sleep for room.
        return publish_to<Atomics>(writer_->state.asleep, enrolled_, cursor_->head, position);
    }
    [[nodiscard]] std::size_t index(std::uint64_t position) const noexcept {
        return static_cast<std::size_t>(position) & (shape_.capacity - 1);
    }
    [[nodiscard]] const std::uint64_t& commit_at(std::uint64_t position) const noexcept {
        return *reinterpret_cast<const std::uint64_t*>(ring_ + index(position));
    }

    shm_layout::shape shape_;
    const std::byte* ring_;
    shm_layout::lane_cursor* cursor_;
    const shm_layout::lane_page* writer_;
    bool enrolled_ = Atomics::enrol();
    std::uint64_t next_;          // the commit word to look at
    std::uint64_t head_ = next_;  // what the cursor says
    std::uint64_t lent_ = 0;      // messages in between
    std::size_t message_bytes_max_ = shape_.message_bytes_max();
    distance<Atomics> distance_{shape_.capacity, next_, writer_->progress.written};
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
