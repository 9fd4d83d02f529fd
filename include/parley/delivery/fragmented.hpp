// SPDX-License-Identifier: MIT
// A message in parts, each of which fits into one message of the transport.
#pragma once

#include <parley/delivery/outbox.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// Messages may be longer than the transport's: they travel in parts. A message of which a part is
/// lost (under at_most_once) is dropped whole. The receiver keeps what came of one message, or,
/// where its senders have no connections, of the last `messages` ones.
struct fragmented {
    std::size_t message_bytes_max = 64 << 20;
    std::size_t messages = 16;

    static constexpr delivery::terms terms{
        delivery::role::parts, {.intact = true, .ordered = true}, {}};
    friend bool operator==(const fragmented&, const fragmented&) = default;
};

namespace delivery {

//   byte    0              8            12          16           20
//           +--------------+------------+-----------+------------+------- - -
//   part    | sender u64   | message    | length    | offset     | bytes of the message
//           | (*)          | u32        | u32       | u32        |
//           +--------------+------------+-----------+------------+------- - -
//
// (*) who numbered the message, only where neither connections nor a guarantee tell it. `whole` is
// the length of the message. The first message has no constant number, so that parts of two senders
// are never taken for one message.

template <class Above, bool NamesSender>
class fragmented_out {
    static constexpr std::size_t own = NamesSender ? 20 : 12;

public:
    static constexpr std::size_t header_bytes = own + Above::header_bytes;
    template <class Add>
    static constexpr void fields(Add&& add) {
        if constexpr (NamesSender) add(field{"sender u64", 8});
        add(field{"message u32", 4});
        add(field{"whole u32", 4});
        add(field{"offset u32", 4});
        Above::fields(add);
    }

    fragmented_out(Above above, std::uint64_t sender)
        : above_(std::move(above)),
          sender_(sender),
          message_(static_cast<std::uint32_t>(sender >> 32)) {}

    [[nodiscard]] bool ready(time_point now) { return offset_ > 0 || above_.ready(now); }
    [[nodiscard]] std::size_t bound(std::size_t max, time_point) const noexcept {
        return std::min(max, own + above_.front().size() - offset_);
    }
    std::size_t pull(mutable_bytes room, time_point) {
        const bytes whole = above_.front();
        const std::size_t n = std::min(room.size() - own, whole.size() - offset_);
        std::byte* at = room.data();
        if constexpr (NamesSender) {
            store_le(at, sender_);
            at += 8;
        }
        store_le(at, message_);
        store_le(at + 4, static_cast<std::uint32_t>(whole.size()));
        store_le(at + 8, static_cast<std::uint32_t>(offset_));
        if (n > 0) std::memcpy(at + 12, whole.data() + offset_, n);
        offset_ += n;
        if (offset_ == whole.size()) {
            offset_ = 0;
            ++message_;
            above_.pop();
        } else {
            above_.pin();
        }
        return own + n;
    }
    [[nodiscard]] const auto& queue() const noexcept { return above_.queue(); }
    [[nodiscard]] auto& queue() noexcept { return above_.queue(); }

private:
    Above above_;
    std::uint64_t sender_;
    std::uint32_t message_;
    std::size_t offset_ = 0;  // of the message at the front
};

template <class Below, bool NamesSender>
class fragmented_in {
    static constexpr std::size_t own = NamesSender ? 20 : 12;

public:
    fragmented_in(Below below, const fragmented& how)
        : below_(std::move(below)), message_bytes_max_(how.message_bytes_max) {
        parts_.resize(NamesSender ? std::max<std::size_t>(how.messages, 1) : 1);
    }

    void on_frame(bytes f) { below_.on_frame(f); }
    [[nodiscard]] std::optional<bytes> next() {
        while (const auto part = below_.next()) {
            if (part->size() < own) {
                ++corrupt_;
            } else if (const auto whole = add(*part)) {
                return whole;
            }
        }
        return std::nullopt;
    }
    [[nodiscard]] bool has_more() const noexcept { return below_.has_more(); }
    [[nodiscard]] auto& bottom() noexcept { return below_.bottom(); }
    [[nodiscard]] const auto& bottom() const noexcept { return below_.bottom(); }
    void count(counters& c) const noexcept {
        below_.count(c);
        c.corrupt += corrupt_;
    }

private:
    struct partial {
        std::uint64_t sender = 0;
        std::uint64_t used = 0;  // when last, in parts; 0: never
        std::uint32_t message = 0;
        std::size_t length = 0;
        std::vector<std::byte> body;
    };

    [[nodiscard]] std::optional<bytes> add(bytes part) {
        const std::byte* at = part.data();
        std::uint64_t sender = 0;
        if constexpr (NamesSender) {
            sender = load_le<std::uint64_t>(at);
            at += 8;
        }
        const auto message = load_le<std::uint32_t>(at);
        const std::size_t length = load_le<std::uint32_t>(at + 4);
        const std::size_t offset = load_le<std::uint32_t>(at + 8);
        const bytes body = part.subspan(own);
        if (length > message_bytes_max_ || offset > length || body.size() > length - offset ||
            (body.empty() && length > 0)) {
            ++corrupt_;
            return std::nullopt;
        }
        if (body.size() == length) return body;
        partial& p = of(sender);
        if (offset == 0) {
            p.message = message;
            p.length = length;
            p.body.clear();
        } else if (p.message != message || p.length != length || p.body.size() != offset) {
            p.length = 0;  // a part before it was lost, so the message is
            return std::nullopt;
        }
        p.body.insert(p.body.end(), body.begin(), body.end());
        if (p.body.size() != length) return std::nullopt;
        p.length = 0;
        return bytes(p.body);
    }
    /// The message under way of a sender; the one that was touched longest ago makes room.
    partial& of(std::uint64_t sender) {
        partial* oldest = &parts_.front();
        for (partial& p : parts_) {
            if (p.used > 0 && p.sender == sender) {
                p.used = ++clock_;
                return p;
            }
            if (p.used < oldest->used) oldest = &p;
        }
        oldest->sender = sender;
        oldest->used = ++clock_;
        oldest->length = 0;
        return *oldest;
    }

    Below below_;
    std::size_t message_bytes_max_;
    std::vector<partial> parts_;
    std::uint64_t clock_ = 0, corrupt_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
