// SPDX-License-Identifier: MIT
// What waits to be sent: a bounded queue, and the rules for who has to leave it.
#pragma once

#include <parley/delivery/delivery.hpp>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// A message that waited so long is given up and counted (`counters().expired`), not sent. Once it
/// was numbered under a guarantee it is kept like any other.
struct expires_after {
    duration after = std::chrono::seconds(1);
    static constexpr delivery::terms terms{delivery::role::expiry, {}, {}};
    friend bool operator==(const expires_after&, const expires_after&) = default;
};

struct batched;

namespace delivery {

/// Whether a message may be submitted.
enum class admission : std::uint8_t { taken, wait, refused };

/// The queue at the top of a sending side. `pin` keeps the first message from being given up while
/// parts of it are on their way.
class outbox {
public:
    enum class rule : std::uint8_t { block, error, drop_newest, drop_oldest };

    template <class Stack>
    explicit outbox(const Stack& s) : after_(s.template get<expires_after>().after) {
        expires_ = Stack::template has<expires_after>;
        using namespace when_full;
        capacity_ = s.template get<block>().messages;
        const auto choose = [&]<class P>(std::type_identity<P>, rule r) {
            if constexpr (Stack::template has<P>) {
                rule_ = r;
                capacity_ = s.template get<P>().messages;
            }
        };
        choose(std::type_identity<block>{}, rule::block);
        choose(std::type_identity<error>{}, rule::error);
        choose(std::type_identity<drop_newest>{}, rule::drop_newest);
        choose(std::type_identity<drop_oldest>{}, rule::drop_oldest);
        choose(std::type_identity<latest_only>{}, rule::drop_oldest);
        if (capacity_ == 0) capacity_ = 1;
        // A batch is filled here.
        if constexpr (Stack::template has<batched>) {
            const std::size_t batch = s.template get<batched>().messages;
            if (rule_ == rule::block && capacity_ < batch) capacity_ = batch;
        }
        std::size_t slots = 2;
        while (slots < capacity_ + 1) slots *= 2;  // one more for a message that is pinned
        slots_.resize(slots);
    }

    [[nodiscard]] admission admits(time_point now) {
        drop_expired(now);
        if (!is_full() || rule_ == rule::drop_newest || rule_ == rule::drop_oldest) {
            return admission::taken;
        }
        return rule_ == rule::block ? admission::wait : admission::refused;
    }
    /// `number` of a message: more than that of any before it.
    void submit(bytes m, time_point now, std::uint64_t number) {
        ++submitted_;
        if (is_full()) {
            ++dropped_;
            if (rule_ == rule::drop_newest) return;
            drop_first();
        }
        slot& s = at(size_++);
        // What once was as long keeps its memory, and takes no call to fill.
        if (s.body.size() != m.size()) s.body.resize(m.size());
        std::copy(m.begin(), m.end(), s.body.begin());
        s.since = now;
        s.number = number;
    }

    [[nodiscard]] bool ready(time_point now) {
        drop_expired(now);
        return size_ > 0;
    }
    /// What the next pull writes into as much room as there may be.
    [[nodiscard]] std::size_t bound(std::size_t, time_point) const noexcept {
        return slots_[head_].body.size();
    }
    std::size_t pull(mutable_bytes room, time_point) {
        const bytes m = front();
        if (!m.empty()) std::memcpy(room.data(), m.data(), m.size());
        pop();
        return m.size();
    }

    [[nodiscard]] bytes front() const noexcept { return slots_[head_].body; }
    [[nodiscard]] time_point front_since() const noexcept { return slots_[head_].since; }
    void pin() noexcept { pinned_ = true; }
    void pop() noexcept {
        pinned_ = false;
        head_ = (head_ + 1) & (slots_.size() - 1);
        --size_;
    }
    [[nodiscard]] outbox& queue() noexcept { return *this; }
    [[nodiscard]] const outbox& queue() const noexcept { return *this; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
    /// The number of the one that waits longest, or `none`.
    [[nodiscard]] std::uint64_t oldest(std::uint64_t none) const noexcept {
        return is_empty() ? none : slots_[head_].number;
    }
    /// No message more is taken, or one that waits has to leave for it.
    [[nodiscard]] bool is_full() const noexcept { return size_ - (pinned_ ? 1 : 0) >= capacity_; }

    /// When one that is full has room by itself.
    [[nodiscard]] time_point next_expiry() const noexcept {
        const std::size_t kept = pinned_ ? 1 : 0;
        if (!expires_ || size_ <= kept || !is_full()) return never;
        return slots_[(head_ + kept) & (slots_.size() - 1)].since + after_;
    }

    void count(counters& c) const noexcept {
        c.submitted += submitted_;
        c.dropped += dropped_;
        c.expired += expired_;
    }
    static constexpr std::size_t header_bytes = 0;
    template <class Add>
    static constexpr void fields(Add&&) {}

private:
    struct slot {
        std::vector<std::byte> body;
        time_point since{};
        std::uint64_t number = 0;
    };

    [[nodiscard]] slot& at(std::size_t i) noexcept {
        return slots_[(head_ + i) & (slots_.size() - 1)];
    }
    void drop_first() noexcept {
        if (pinned_) std::swap(at(0), at(1));
        const bool pinned = pinned_;
        pop();
        pinned_ = pinned;
    }
    void drop_expired(time_point now) noexcept {
        if (!expires_) return;
        for (const std::size_t kept = pinned_ ? 1 : 0; size_ > kept; ++expired_) {
            if (now - at(kept).since < after_) break;
            drop_first();
        }
    }

    std::vector<slot> slots_;
    std::size_t capacity_ = 0, head_ = 0, size_ = 0;
    rule rule_ = rule::block;
    bool pinned_ = false;
    bool expires_ = false;
    duration after_;
    std::uint64_t submitted_ = 0, dropped_ = 0, expired_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
