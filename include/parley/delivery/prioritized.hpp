// SPDX-License-Identifier: MIT
// Priorities: a queue for each, and the higher ones first.
#pragma once

#include <parley/delivery/outbox.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace parley {
inline namespace v1 {

/// Messages have priorities 0 … levels - 1; those of a higher one go first, those of one priority
/// keep their order. `tx.end().priority(n)` holds for what is sent from then on; at first it is 0.
/// Each priority has a queue of its own, whose length and rule `when_full` says, so a full one does
/// not hold up the others. What is numbered or in the transport is not overtaken, nor is a message
/// whose first part is: a short `window` and few bytes in the transport keep that little. (An end
/// that was opened by a uri has no `priority`: all it sends is of priority 0.)
struct prioritized {
    std::size_t levels = 2;  ///< up to 64

    static constexpr delivery::terms terms{delivery::role::priority, {}, {}};
    friend bool operator==(const prioritized&, const prioritized&) = default;
};

namespace delivery {

/// The top of a sending side with priorities: as many outboxes, one of which is the one that goes
/// on. ready() chooses it, which nobody calls while parts of its first message are on their way.
class ranked_outbox {
public:
    static constexpr std::size_t levels_max = 64;

    template <class Stack>
    explicit ranked_outbox(const Stack& s)
        : lanes_(std::clamp<std::size_t>(s.template get<prioritized>().levels, 1, levels_max),
                 outbox(s)) {}

    /// Of what is submitted from now on; more than there are is the highest.
    void priority(std::size_t n) noexcept { level_ = std::min(n, lanes_.size() - 1); }

    [[nodiscard]] admission admits(time_point now) { return lanes_[level_].admits(now); }
    void submit(bytes m, time_point now, std::uint64_t number) {
        lanes_[level_].submit(m, now, number);
    }

    [[nodiscard]] bool ready(time_point now) {
        for (std::size_t i = lanes_.size(); i-- > 0;) {
            if (!lanes_[i].ready(now)) continue;
            first_ = i;
            return true;
        }
        return false;
    }
    [[nodiscard]] std::size_t bound(std::size_t max, time_point now) const noexcept {
        return lanes_[first_].bound(max, now);
    }
    std::size_t pull(mutable_bytes room, time_point now) { return lanes_[first_].pull(room, now); }

    [[nodiscard]] bytes front() const noexcept { return lanes_[first_].front(); }
    /// Of all that wait, since when the one waits that waits longest.
    [[nodiscard]] time_point front_since() const noexcept {
        time_point since = never;
        for (const outbox& one : lanes_) {
            if (!one.is_empty()) since = earlier(since, one.front_since());
        }
        return since;
    }
    void pin() noexcept { lanes_[first_].pin(); }
    void pop() noexcept { lanes_[first_].pop(); }
    [[nodiscard]] ranked_outbox& queue() noexcept { return *this; }
    [[nodiscard]] const ranked_outbox& queue() const noexcept { return *this; }
    [[nodiscard]] std::size_t size() const noexcept {
        std::size_t all = 0;
        for (const outbox& one : lanes_) all += one.size();
        return all;
    }
    [[nodiscard]] bool is_empty() const noexcept { return size() == 0; }
    [[nodiscard]] std::uint64_t oldest(std::uint64_t none) const noexcept {
        for (const outbox& one : lanes_) none = std::min(none, one.oldest(none));
        return none;
    }
    /// One of them is.
    [[nodiscard]] bool is_full() const noexcept {
        return std::any_of(lanes_.begin(), lanes_.end(),
                           [](const outbox& one) { return one.is_full(); });
    }

    [[nodiscard]] time_point next_expiry() const noexcept { return lanes_[level_].next_expiry(); }

    void count(counters& c) const noexcept {
        for (const outbox& one : lanes_) one.count(c);
    }
    static constexpr std::size_t header_bytes = 0;
    template <class Add>
    static constexpr void fields(Add&&) {}

private:
    std::vector<outbox> lanes_;  // the last one goes first
    std::size_t level_ = 0;      // of what is submitted
    std::size_t first_ = 0;      // of what is sent next
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
