// SPDX-License-Identifier: MIT
// Several messages in one frame.
#pragma once

#include <parley/delivery/outbox.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace parley {
inline namespace v1 {

/// Messages that wait are sent together, up to `messages` and `bytes` of them. Without `linger`
/// only what waits already is: nothing is delayed for company. With it a message waits for others,
/// until the batch is full or the time is over; a blocking sender sends it with the first call
/// (send, flush, wait, close) after that, since nobody else runs in its thread. Sends that follow
/// one another faster than an eighth of `linger` look at the clock in one of eight.
struct batched {
    std::size_t messages = 64;
    std::size_t bytes = 64 << 10;
    duration linger = duration::zero();

    static constexpr delivery::terms terms{delivery::role::batch, {.intact = true}, {}};
    friend bool operator==(const batched&, const batched&) = default;
};

namespace delivery {

//   byte    0          4
//           +----------+----------------+----------+----------------+- - -
//   batch   | length   | message        | length   | message        |
//           | u32      |                | u32      |                |
//           +----------+----------------+----------+----------------+- - -

template <class Above>
class batched_out {
public:
    static constexpr std::size_t header_bytes = 4 + Above::header_bytes;
    /// Each of a batch.
    template <class Add>
    static constexpr void fields(Add&& add) {
        add(field{"length u32", 4});
        Above::fields(add);
    }

    batched_out(Above above, const batched& how) : above_(std::move(above)), how_(how) {
        how_.messages = std::max<std::size_t>(how_.messages, 1);
    }

    [[nodiscard]] bool ready(time_point now) {
        if (!above_.ready(now)) return false;
        if (how_.linger <= duration::zero() || hurried_) return true;
        const auto& all = above_.queue();
        return all.size() >= how_.messages || all.is_full() ||
               now - all.front_since() >= how_.linger;
    }
    [[nodiscard]] std::size_t bound(std::size_t max, time_point now) {
        const std::size_t first = 4 + above_.bound(max - 4, now);
        if (above_.queue().size() == 1) return first;
        return std::max(first, std::min(max, how_.bytes));
    }
    std::size_t pull(mutable_bytes room, time_point now) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < how_.messages && above_.ready(now); ++i) {
            const std::size_t left = room.size() - n;
            // A part that would have to be cut shorter to fit goes into the next frame.
            if (left < 4 || (i > 0 && above_.bound(room.size() - 4, now) > left - 4)) break;
            const std::size_t length = above_.pull(room.subspan(n + 4), now);
            store_le(room.data() + n, static_cast<std::uint32_t>(length));
            n += 4 + length;
        }
        if (above_.queue().is_empty()) hurried_ = false;
        return n;
    }
    /// Nothing waits for company any longer.
    void hurry() noexcept { hurried_ = !above_.queue().is_empty(); }
    [[nodiscard]] time_point next_deadline() const noexcept {
        const auto& all = above_.queue();
        if (how_.linger <= duration::zero() || all.is_empty()) return never;
        return all.front_since() + how_.linger;
    }
    [[nodiscard]] const auto& queue() const noexcept { return above_.queue(); }
    [[nodiscard]] auto& queue() noexcept { return above_.queue(); }

private:
    Above above_;
    batched how_;
    bool hurried_ = false;
};

template <class Below>
class batched_in {
public:
    explicit batched_in(Below below) : below_(std::move(below)) {}

    void on_frame(bytes f) { below_.on_frame(f); }
    [[nodiscard]] std::optional<bytes> next() {
        for (;;) {
            if (rest_.size() >= 4) {
                const std::size_t n = load_le<std::uint32_t>(rest_.data());
                if (n <= rest_.size() - 4) {
                    const bytes m = rest_.subspan(4, n);
                    rest_ = rest_.subspan(4 + n);
                    return m;
                }
            }
            if (!rest_.empty()) ++corrupt_;
            rest_ = {};
            const auto body = below_.next();
            if (!body) return std::nullopt;
            rest_ = *body;
        }
    }
    [[nodiscard]] bool has_more() const noexcept { return !rest_.empty() || below_.has_more(); }
    [[nodiscard]] auto& bottom() noexcept { return below_.bottom(); }
    [[nodiscard]] const auto& bottom() const noexcept { return below_.bottom(); }
    void count(counters& c) const noexcept {
        below_.count(c);
        c.corrupt += corrupt_;
    }

private:
    Below below_;
    bytes rest_;
    std::uint64_t corrupt_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
