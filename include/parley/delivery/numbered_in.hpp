// SPDX-License-Identifier: MIT
// The receiving half of the guarantees: what came before is dropped, what is early is kept.
#pragma once

#include <parley/delivery/numbers.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace delivery {

/// The frame as it came, when nothing needs a number.
class plain_in {
public:
    void on_frame(bytes f) noexcept { frame_ = f; }
    [[nodiscard]] std::optional<bytes> next() noexcept { return std::exchange(frame_, {}); }
    [[nodiscard]] bool has_more() const noexcept { return frame_.has_value(); }
    [[nodiscard]] plain_in& bottom() noexcept { return *this; }
    [[nodiscard]] const plain_in& bottom() const noexcept { return *this; }
    void count(counters&) const noexcept {}

private:
    std::optional<bytes> frame_;
};

/// Which senders were here before the one that speaks now: what they sent long ago is no news.
class retired_senders {
public:
    [[nodiscard]] bool has(std::uint64_t id) const noexcept {
        return std::find(all_.begin(), all_.end(), id) != all_.end();
    }
    void add(std::uint64_t id) noexcept { all_[at_++ % all_.size()] = id; }

private:
    std::array<std::uint64_t, 16> all_{};
    std::size_t at_ = 0;
};

/// at_most_once: a frame that is not newer than all before it is dropped.
template <class Plan>
class newest_in {
public:
    void on_frame(bytes f) {
        constexpr std::size_t name = Plan::names_sender ? 8 : 0;
        if (f.size() < name + 4) return void(++corrupt_);
        const auto number = load_le<std::uint32_t>(f.data() + name);
        if constexpr (Plan::names_sender) {
            const auto sender = load_le<std::uint64_t>(f.data());
            if (sender != sender_) {
                if (retired_.has(sender)) return void(++duplicates_);
                if (started_) retired_.add(sender_);
                sender_ = sender;
                started_ = false;
            }
        }
        if (started_) {
            const std::int32_t gap = ahead(number, next_);
            if (gap < 0) return void(++duplicates_);
            lost_ += static_cast<std::uint32_t>(gap);
        }
        started_ = true;
        next_ = number + 1;
        body_ = f.subspan(name + 4);
    }
    [[nodiscard]] std::optional<bytes> next() noexcept { return std::exchange(body_, {}); }
    [[nodiscard]] bool has_more() const noexcept { return body_.has_value(); }
    void on_link() noexcept {
        if (!Plan::names_sender) started_ = false;
    }
    [[nodiscard]] newest_in& bottom() noexcept { return *this; }
    [[nodiscard]] const newest_in& bottom() const noexcept { return *this; }
    void count(counters& c) const noexcept {
        c.duplicates += duplicates_;
        c.lost += lost_;
        c.corrupt += corrupt_;
    }

private:
    std::optional<bytes> body_;
    bool started_ = false;
    std::uint32_t next_ = 0;
    std::uint64_t sender_ = 0;
    retired_senders retired_;
    std::uint64_t duplicates_ = 0, lost_ = 0, corrupt_ = 0;
};

/// at_least_once and exactly_once.
template <class Plan>
class numbered_in {
    static constexpr std::size_t name = Plan::names_sender ? 8 : 0;

public:
    explicit numbered_in(const numbering& how) : slots_(how.window) {}

    void on_frame(bytes f) {
        if (f.size() < name + 6) return void(++corrupt_);
        const auto number = load_le<std::uint32_t>(f.data() + name);
        const auto lag = load_le<std::uint16_t>(f.data() + name + 4);
        if (lag > lag_max) return void(++corrupt_);
        const std::uint32_t base = number - lag;
        if constexpr (Plan::names_sender) {
            const auto sender = load_le<std::uint64_t>(f.data());
            if (sender != sender_ || !started_) {
                if (retired_.has(sender)) return void(++duplicates_);
                if (started_) retired_.add(sender_);
                sender_ = sender;
                begin(base);
            }
        } else if (!started_) {
            begin(base);
        }
        // What lies before `base` was acknowledged: by a receiver that lived here before.
        if (ahead(base, next_) > 0) skip_to(base);
        take(number, f.subspan(name + 6));
    }

    /// The next frame to hand out; what was handed out before is done with.
    [[nodiscard]] std::optional<bytes> next() {
        if (std::exchange(handed_out_, false)) finish();
        if (arrived_) {
            handed_out_ = true;
            return std::exchange(arrived_, {});
        }
        if (!Plan::in_order || at(next_).is != state::early) return std::nullopt;
        current_ = next_;
        handed_out_ = true;
        return bytes(at(next_).body);
    }

    /// Whether next() may have something.
    [[nodiscard]] bool has_more() const noexcept {
        const std::uint32_t after = handed_out_ && current_ == next_ ? next_ + 1 : next_;
        return arrived_ || (Plan::in_order && at(after).is == state::early);
    }

    /// A connection of a sender that may be another one.
    void on_link() noexcept {
        due_ = started_;
        if (!Plan::names_sender) started_ = due_ = false;
    }
    /// The sender whose messages these are.
    [[nodiscard]] std::uint64_t sender() const noexcept { return started_ ? sender_ : 0; }
    /// Whose frame that is, under exactly_once.
    [[nodiscard]] static std::uint64_t sender_of(bytes f) noexcept {
        return Plan::names_sender && f.size() >= 8 ? load_le<std::uint64_t>(f.data()) : 0;
    }

    /// Whether an acknowledgement is to be sent; `quiet`: nothing else is to be done.
    [[nodiscard]] bool owes(bool quiet) const noexcept {
        return due_ || finished_ >= slots_.size() / 4 + 1 || (quiet && finished_ > 0);
    }
    std::size_t acknowledge(mutable_bytes room) noexcept {
        due_ = false;
        finished_ = 0;
        std::uint64_t beyond = 0;
        for (std::uint32_t i = 0; i < std::min<std::size_t>(64, slots_.size() - 1); ++i) {
            if (at(next_ + 1 + i).is != state::wanted) beyond |= std::uint64_t{1} << i;
        }
        std::byte* to = room.data();
        if constexpr (Plan::names_sender) {
            store_le(to, sender_);
            to += 8;
        }
        store_le(to, next_);
        store_le(to + 4, static_cast<std::uint16_t>(slots_.size()));
        store_le(to + 6, beyond);
        if constexpr (Plan::tells_arrival) store_le(to + 14, arrived());
        return Plan::acknowledgement_bytes;
    }
    [[nodiscard]] numbered_in& bottom() noexcept { return *this; }
    [[nodiscard]] const numbered_in& bottom() const noexcept { return *this; }
    void count(counters& c) const noexcept {
        c.duplicates += duplicates_;
        c.corrupt += corrupt_;
    }

private:
    enum class state : std::uint8_t { wanted, early, done };
    struct slot {
        state is = state::wanted;
        std::vector<std::byte> body;  // of an early one
    };

    [[nodiscard]] slot& at(std::uint32_t number) noexcept {
        return slots_[number & (slots_.size() - 1)];
    }
    [[nodiscard]] const slot& at(std::uint32_t number) const noexcept {
        return slots_[number & (slots_.size() - 1)];
    }
    void begin(std::uint32_t base) noexcept {
        for (slot& s : slots_) s.is = state::wanted;
        started_ = true;
        next_ = base;
        finished_ = 0;
        due_ = true;
    }
    void skip_to(std::uint32_t base) noexcept {
        if (static_cast<std::size_t>(ahead(base, next_)) >= slots_.size()) return begin(base);
        while (next_ != base) at(next_++).is = state::wanted;
        due_ = true;
    }
    void take(std::uint32_t number, bytes body) {
        const std::int32_t early = ahead(number, next_);
        const bool beyond = early >= static_cast<std::int32_t>(slots_.size());
        if (early < 0 || beyond || at(number).is != state::wanted) {
            duplicates_ += beyond ? 0 : 1;
            due_ = true;
            return;
        }
        if (Plan::in_order && early > 0) {
            at(number).is = state::early;
            at(number).body.assign(body.begin(), body.end());
            due_ = true;
            return;
        }
        current_ = number;
        arrived_ = body;
        due_ = due_ || Plan::tells_arrival;
    }
    /// How many frames, from next_ on, are there.
    [[nodiscard]] std::uint16_t arrived() const noexcept {
        const bool in_hand = arrived_ || handed_out_;
        std::uint32_t n = 0;
        while (n < slots_.size() &&
               (at(next_ + n).is != state::wanted || (in_hand && next_ + n == current_))) {
            ++n;
        }
        return static_cast<std::uint16_t>(n);
    }
    void finish() noexcept {
        at(current_).is = state::done;
        ++finished_;
        while (at(next_).is == state::done) at(next_++).is = state::wanted;
        if (current_ != next_ - 1) due_ = true;
    }

    std::vector<slot> slots_;
    std::optional<bytes> arrived_;
    std::uint32_t next_ = 0;     // the first that is still wanted
    std::uint32_t current_ = 0;  // handed out
    bool handed_out_ = false;
    bool started_ = false;
    bool due_ = false;
    std::size_t finished_ = 0;  // since the last acknowledgement
    std::uint64_t sender_ = 0;
    retired_senders retired_;
    std::uint64_t duplicates_ = 0, corrupt_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
