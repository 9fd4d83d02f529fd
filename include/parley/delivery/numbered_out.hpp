// SPDX-License-Identifier: MIT
// The sending half of the guarantees: frames get numbers, and are kept until they are acknowledged.
#pragma once

#include <parley/delivery/numbers.hpp>

#include <cstring>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace delivery {

/// Selective repeat with cumulative acknowledgement. After `resend_after` without progress all that
/// is not acknowledged is sent again, what the receiver said to hold too, since it may have died;
/// each time after twice as long. A frame that was overtaken by an acknowledged one is sent again
/// at once, but only once until then. (RFC 2018, RFC 6298 section 5, without an estimate of the
/// round trip.) Where the way loses nothing there is no timer: only a new connection sends again.
template <class Above, class Plan>
class numbered_out {
    static constexpr std::size_t own =
        (Plan::names_sender ? 8 : 0) + 4 + (Plan::acknowledges ? 2 : 0);

public:
    static constexpr std::size_t header_bytes = own + Above::header_bytes;
    template <class Add>
    static constexpr void fields(Add&& add) {
        if constexpr (Plan::names_sender) add(field{"sender u64", 8});
        add(field{"number u32", 4});
        if constexpr (Plan::acknowledges) add(field{"lag u16", 2});
        Above::fields(add);
    }
    template <class Add>
    static constexpr void fields_back(Add&& add) {
        if constexpr (Plan::names_sender) add(field{"sender u64", 8});
        add(field{"next u32", 4});
        add(field{"room u16", 2});
        add(field{"beyond u64", 8});
        if constexpr (Plan::tells_arrival) add(field{"arrived u16", 2});
    }

    /// The first number is no constant, so that frames of an earlier life look old, not new.
    numbered_out(Above above, std::uint64_t sender, const numbering& how)
        : above_(std::move(above)),
          sender_(sender),
          how_(how),
          room_(first_room),
          patience_(how.resend_after),
          base_(static_cast<std::uint32_t>(sender)),
          arrived_(base_),
          end_(base_) {
        if constexpr (Plan::acknowledges) slots_.resize(how_.window);
    }

    [[nodiscard]] bool ready(time_point now) {
        if constexpr (Plan::acknowledges) {
            on_time(now);
            const std::size_t room = std::min(room_, how_.window);
            if (due_ > 0) return static_cast<std::size_t>(ahead(first_due(), base_)) < room;
            if (outstanding() >= room) return false;
        }
        return above_.ready(now);
    }
    [[nodiscard]] std::size_t bound(std::size_t max, time_point now) {
        if (due_ > 0) return own + at(first_due()).body.size();
        return own + above_.bound(max - own, now);
    }
    std::size_t pull(mutable_bytes room, time_point now) {
        if constexpr (!Plan::acknowledges) {
            write_header(room.data(), end_++);
            return own + above_.pull(room.subspan(own), now);
        } else {
            if (due_ == 0) {
                slot& fresh = at(end_++);
                fresh.oldest = queue().oldest(~std::uint64_t{0});
                fresh.body.resize(room.size() - own);
                fresh.body.resize(above_.pull(fresh.body, now));
                fresh.held = fresh.hasty = false;
                fresh.sent = false;
                make_due(fresh);
            }
            const std::uint32_t number = first_due();
            slot& s = at(number);
            write_header(room.data(), number);
            if (!s.body.empty()) std::memcpy(room.data() + own, s.body.data(), s.body.size());
            resent_ += std::exchange(s.sent, true) ? 1 : 0;
            s.due = false;
            --due_;
            if (Plan::loses && timer_ == never) timer_ = now + patience_;
            return own + s.body.size();
        }
    }

    /// An acknowledgement.
    void on_frame(bytes f, time_point now) requires Plan::acknowledges {
        constexpr std::size_t name = Plan::names_sender ? 8 : 0;
        if (f.size() != Plan::acknowledgement_bytes) return void(++corrupt_);
        if (Plan::names_sender && load_le<std::uint64_t>(f.data()) != sender_) return;
        const std::byte* at_next = f.data() + name;
        const auto next = load_le<std::uint32_t>(at_next);
        const std::int32_t done = ahead(next, base_);
        if (done < 0) return;  // an older one came late
        if (static_cast<std::size_t>(done) > outstanding()) return void(++corrupt_);
        if constexpr (Plan::tells_arrival) {
            const std::uint32_t arrived = next + load_le<std::uint16_t>(at_next + 14);
            if (ahead(end_, arrived) < 0) return void(++corrupt_);
            if (ahead(arrived, arrived_) > 0) arrived_ = arrived;
        }
        room_ = load_le<std::uint16_t>(at_next + 4);
        acknowledged_ += static_cast<std::uint32_t>(done);
        while (base_ != next) forget(at(base_++));
        if (done > 0) {
            patience_ = how_.resend_after;
            timer_ = !Plan::loses || outstanding() == 0 ? never : now + patience_;
        }
        mark_held(load_le<std::uint64_t>(at_next + 6));
    }
    /// The frames of the last connection may be lost, and whoever is there now may know nothing.
    void on_link(time_point now) requires Plan::acknowledges {
        room_ = first_room;
        patience_ = how_.resend_after;
        send_again();
        timer_ = !Plan::loses || outstanding() == 0 ? never : now + patience_;
    }
    [[nodiscard]] time_point next_deadline() const noexcept { return timer_; }
    /// Frames that were sent and are not acknowledged.
    [[nodiscard]] std::size_t outstanding() const noexcept {
        return Plan::acknowledges ? static_cast<std::size_t>(ahead(end_, base_)) : 0;
    }
    /// The number of the oldest message in all that did not come as far as `far`, or `none`.
    [[nodiscard]] std::uint64_t oldest(receipt far, std::uint64_t none) const noexcept {
        // Nobody moves arrived_ where nobody tells.
        const bool ahead_of_base =
            Plan::tells_arrival && far == receipt::delivered && ahead(arrived_, base_) > 0;
        const std::uint32_t first = ahead_of_base ? arrived_ : base_;
        if (first != end_) none = slots_[first & (slots_.size() - 1)].oldest;
        return queue().oldest(none) < none ? queue().oldest(none) : none;
    }
    [[nodiscard]] Above& above() noexcept { return above_; }
    [[nodiscard]] const Above& above() const noexcept { return above_; }
    [[nodiscard]] const auto& queue() const noexcept { return above_.queue(); }
    [[nodiscard]] auto& queue() noexcept { return above_.queue(); }
    void count(counters& c) const noexcept {
        c.resent += resent_;
        c.acknowledged += acknowledged_;
        c.corrupt += corrupt_;
    }

private:
    /// What is sent before the receiver said how much it takes: a connection that does not last
    /// long enough for an answer must not swallow a whole window each time.
    static constexpr std::size_t first_room = 16;

    struct slot {
        std::vector<std::byte> body;
        std::uint64_t oldest = 0;  // of all messages that waited when this was filled
        bool due = false;          // is to be sent
        bool sent = false;         // was sent before
        bool held = false;         // the receiver says that it has it
        bool hasty = false;        // was sent again before its time
    };

    [[nodiscard]] slot& at(std::uint32_t number) noexcept {
        return slots_[number & (slots_.size() - 1)];
    }
    void make_due(slot& s) noexcept {
        due_ += s.due ? 0 : 1;
        s.due = true;
    }
    void forget(slot& s) noexcept {
        due_ -= s.due ? 1 : 0;
        s.due = false;
    }
    [[nodiscard]] std::uint32_t first_due() noexcept {
        std::uint32_t number = base_;
        while (!at(number).due) ++number;
        return number;
    }
    void send_again() noexcept {
        for (std::uint32_t n = base_; n != end_; ++n) {
            slot& s = at(n);
            s.held = s.hasty = false;
            make_due(s);
        }
    }
    void on_time(time_point now) noexcept {
        if (now < timer_) return;
        send_again();
        patience_ = shorter(patience_ * 2, how_.resend_after_max);
        timer_ = now + patience_;
    }
    void mark_held(std::uint64_t beyond) noexcept {
        if (beyond == 0) return;
        const auto most = static_cast<std::uint32_t>(std::bit_width(beyond));
        for (std::uint32_t i = 0; i <= most && base_ + i != end_; ++i) {
            slot& s = at(base_ + i);
            if (i > 0 && (beyond >> (i - 1) & 1) != 0) {
                s.held = true;
                forget(s);
            } else if (!s.held && s.sent && !s.hasty) {
                s.hasty = true;
                make_due(s);
            }
        }
    }
    void write_header(std::byte* to, std::uint32_t number) const noexcept {
        if constexpr (Plan::names_sender) {
            store_le(to, sender_);
            to += 8;
        }
        store_le(to, number);
        if constexpr (Plan::acknowledges) {
            store_le(to + 4, static_cast<std::uint16_t>(number - base_));
        }
    }

    Above above_;
    std::uint64_t sender_;
    numbering how_;
    std::size_t room_;  // what the receiver takes
    duration patience_;
    time_point timer_ = never;
    std::uint32_t base_;     // the oldest number not acknowledged
    std::uint32_t arrived_;  // with receipts: all before it arrived, at a receiver that may be gone
    std::uint32_t end_;      // the next one to be given
    std::size_t due_ = 0;    // slots that are to be sent
    std::vector<slot> slots_;
    std::uint64_t resent_ = 0, acknowledged_ = 0, corrupt_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
