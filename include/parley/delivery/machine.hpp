// SPDX-License-Identifier: MIT
// Both sides of a stack, put together from its policies: only those parts that the stack needs over
// its way are there.
#pragma once

#include <parley/delivery/numbered_in.hpp>
#include <parley/delivery/numbered_out.hpp>

#include <string>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace delivery {
namespace detail {

template <class Stack, facts Way>
[[nodiscard]] auto make_out(const Stack& s, std::uint64_t sender) {
    using todo = plan<Stack, Way>;
    using queue = typename todo::queue_type;
    const auto parts = [&] {
        if constexpr (todo::in_parts) {
            return fragmented_out<queue, todo::names_parts>(queue(s), sender);
        } else {
            return queue(s);
        }
    };
    const auto batches = [&] {
        if constexpr (todo::batches) {
            return batched_out<decltype(parts())>(parts(), s.template get<batched>());
        } else {
            return parts();
        }
    };
    using above = decltype(batches());
    if constexpr (todo::promise == guarantee::none) {
        return batches();
    } else if constexpr (todo::promise == guarantee::exactly_once) {
        return numbered_out<above, todo>(batches(), sender,
                                         numbering::of(s.template get<exactly_once>()));
    } else {
        return numbered_out<above, todo>(batches(), sender,
                                         numbering::of(s.template get<at_least_once>()));
    }
}

template <class Stack, facts Way>
[[nodiscard]] auto make_in(const Stack& s) {
    using todo = plan<Stack, Way>;
    const auto guarantee = [&] {
        if constexpr (todo::promise == guarantee::none) {
            return plain_in();
        } else if constexpr (todo::promise == guarantee::at_most_once) {
            return newest_in<todo>();
        } else if constexpr (todo::promise == guarantee::exactly_once) {
            return numbered_in<todo>(numbering::of(s.template get<exactly_once>()));
        } else {
            return numbered_in<todo>(numbering::of(s.template get<at_least_once>()));
        }
    };
    const auto batches = [&] {
        if constexpr (todo::batches) {
            return batched_in<decltype(guarantee())>(guarantee());
        } else {
            return guarantee();
        }
    };
    if constexpr (todo::in_parts) {
        return fragmented_in<decltype(batches()), todo::names_parts>(batches(),
                                                                     s.template get<fragmented>());
    } else {
        return batches();
    }
}

}  // namespace detail

/// The seal of a plan, if it has one.
template <class Plan, bool Sealed>
struct seal_of {
    static constexpr std::size_t bytes = 0;
    template <class Stack>
    seal_of(const Stack&, bool) noexcept {}
    template <class Add>
    static constexpr void fields(Add&&) {}
};
template <class Plan>
struct seal_of<Plan, true> : Plan::sealer::sealing {
    static constexpr std::size_t bytes = Plan::sealer::sealing::header.bytes;
    template <class Stack>
    seal_of(const Stack& s, bool sends)
        : Plan::sealer::sealing(s.template get<typename Plan::sealer>(), sends) {}
    template <class Add>
    static constexpr void fields(Add&& add) {
        add(Plan::sealer::sealing::header);
    }
};

/// The sending side of a stack over a way; see delivery.hpp.
///
///     auto out = delivery::sending<Stack, way>(at_least_once{} | checksum{}, sender, 1400);
///     if (out.admits(m.size(), now) == admission::taken) out.submit(m, now);
///     while (auto n = out.wants(now)) send(buffer.first(out.transmit(buffer.first(n), now)));
///
/// `sender` is a number that no other sender has. Copyable; one thread at a time.
template <class Stack, facts Way>
class sending {
    static_assert(legal<Stack, Way>());
    using todo = plan<Stack, Way>;
    using inside = decltype(detail::make_out<Stack, Way>(std::declval<Stack>(), 0));
    using sealing_type = seal_of<todo, todo::sealed>;
    static constexpr std::size_t seal_bytes = sealing_type::bytes;

public:
    /// What the policies put in front of a message, in one frame of its own.
    static constexpr std::size_t header_bytes = seal_bytes + inside::header_bytes;

    sending(const Stack& s, std::uint64_t sender, std::size_t frame_bytes_max)
        : inside_(detail::make_out<Stack, Way>(s, sender)),
          seal_(s, true),
          frame_bytes_max_(frame_bytes_max),
          message_bytes_max_(frame_bytes_max - std::min(frame_bytes_max, header_bytes)) {
        if constexpr (todo::in_parts) {
            if (message_bytes_max_ > 0)
                message_bytes_max_ = s.template get<fragmented>().message_bytes_max;
        }
    }

    /// The longest message; 0 if the transport's are too short for the headers alone.
    [[nodiscard]] std::size_t message_bytes_max() const noexcept { return message_bytes_max_; }
    [[nodiscard]] admission admits(time_point now) { return inside_.queue().admits(now); }
    void submit(bytes m, time_point now) { inside_.queue().submit(m, now, ++submitted_); }
    /// Of what is submitted from now on, where the stack has priorities.
    void priority([[maybe_unused]] std::size_t n) noexcept {
        if constexpr (todo::ranks) inside_.queue().priority(n);
    }

    [[nodiscard]] std::size_t wants(time_point now) {
        if (!inside_.ready(now)) return 0;
        return seal_bytes + inside_.bound(frame_bytes_max_ - seal_bytes, now);
    }
    std::size_t transmit(mutable_bytes room, time_point now) {
        const std::size_t n = seal_bytes + inside_.pull(room.subspan(seal_bytes), now);
        if constexpr (todo::sealed) seal_.seal(room.first(n));
        return n;
    }
    void on_frame(bytes f, time_point now) {
        if constexpr (todo::sealed) {
            const auto whole = seal_.unseal(f);
            if (!whole) return void(++corrupt_);
            f = *whole;
        }
        if constexpr (todo::acknowledges) inside_.on_frame(f, now);
    }
    void on_link(time_point now) {
        if constexpr (todo::acknowledges) inside_.on_link(now);
    }
    /// What waits for company in a batch waits no longer.
    void hurry() {
        if constexpr (todo::batches) packer().hurry();
    }
    /// The first time behind `now`, when this side was asked last, at which wants() or admits() may
    /// say something else by themselves. What is due since before waits for room, or an answer.
    [[nodiscard]] time_point next_deadline(time_point now = time_point::min()) const noexcept {
        time_point at = never;
        const auto add = [&](time_point one) {
            if (one > now) at = earlier(at, one);
        };
        if constexpr (todo::batches) add(packer().next_deadline());
        if constexpr (todo::acknowledges) add(inside_.next_deadline());
        add(inside_.queue().next_expiry());
        return at;
    }
    /// How many messages were submitted: the number of the last one.
    [[nodiscard]] std::uint64_t submitted() const noexcept { return submitted_; }
    /// The number up to which all messages came as far as `far`, or were given up and counted.
    [[nodiscard]] std::uint64_t reached(receipt far) const noexcept requires(todo::acknowledges) {
        return inside_.oldest(far, submitted_ + 1) - 1;
    }
    [[nodiscard]] bool idle() const noexcept { return unfinished() == 0; }
    /// Messages that wait, and frames that are not acknowledged.
    [[nodiscard]] std::size_t unfinished() const noexcept {
        return inside_.queue().size() + outstanding();
    }
    [[nodiscard]] delivery::counters counters() const noexcept {
        delivery::counters c;
        inside_.queue().count(c);
        if constexpr (todo::promise != guarantee::none) inside_.count(c);
        c.corrupt += corrupt_;
        return c;
    }

    template <class Add>
    static constexpr void fields(Add&& add) {
        sealing_type::fields(add);
        inside::fields(add);
    }
    template <class Add>
    static constexpr void fields_back(Add&& add) {
        if constexpr (todo::acknowledges) {
            sealing_type::fields(add);
            inside::fields_back(add);
        }
    }

private:
    [[nodiscard]] std::size_t outstanding() const noexcept {
        if constexpr (todo::acknowledges) {
            return inside_.outstanding();
        } else {
            return 0;
        }
    }
    [[nodiscard]] auto& packer() noexcept {
        if constexpr (todo::promise == guarantee::none) {
            return inside_;
        } else {
            return inside_.above();
        }
    }
    [[nodiscard]] const auto& packer() const noexcept {
        return const_cast<sending*>(this)->packer();
    }

    inside inside_;
    [[no_unique_address]] sealing_type seal_;
    std::size_t frame_bytes_max_, message_bytes_max_;
    std::uint64_t submitted_ = 0, corrupt_ = 0;
};

/// The receiving side of a stack over a way; see delivery.hpp.
///
///     in.on_frame(frame);
///     while (auto m = in.next()) use(*m);
///     if (auto n = in.wants(true)) send_back(buffer.first(in.transmit(buffer.first(n))));
template <class Stack, facts Way>
class receiving {
    static_assert(legal<Stack, Way>());
    using todo = plan<Stack, Way>;
    using inside = decltype(detail::make_in<Stack, Way>(std::declval<Stack>()));
    using sealing_type = seal_of<todo, todo::sealed>;
    static constexpr std::size_t seal_bytes = sealing_type::bytes;

public:
    explicit receiving(const Stack& s) : inside_(detail::make_in<Stack, Way>(s)), seal_(s, false) {}

    void on_frame(bytes f) {
        if constexpr (todo::sealed) {
            const auto whole = seal_.unseal(f);
            if (!whole) return void(++corrupt_);
            f = *whole;
        }
        inside_.on_frame(f);
    }
    [[nodiscard]] std::optional<bytes> next() { return inside_.next(); }
    /// Whether next() may have something, without a further frame.
    [[nodiscard]] bool has_more() const noexcept { return inside_.has_more(); }

    [[nodiscard]] std::size_t wants(bool quiet) const noexcept {
        if constexpr (todo::acknowledges) {
            if (bottom().owes(quiet)) return back_bytes;
        }
        return 0;
    }
    std::size_t transmit([[maybe_unused]] mutable_bytes room) {
        if constexpr (todo::acknowledges) {
            bottom().acknowledge(room.subspan(seal_bytes));
            if constexpr (todo::sealed) seal_.seal(room.first(back_bytes));
            return back_bytes;
        } else {
            return 0;
        }
    }
    /// A new connection of whoever sends.
    void on_link() noexcept {
        if constexpr (todo::promise != guarantee::none) bottom().on_link();
    }
    /// Under exactly_once: whose messages these are, and whose frame that is; 0: nobody's.
    [[nodiscard]] std::uint64_t sender() const noexcept {
        if constexpr (remembers) {
            return bottom().sender();
        } else {
            return 0;
        }
    }
    [[nodiscard]] static std::uint64_t sender_of(bytes f) noexcept {
        if constexpr (remembers) {
            if (f.size() < seal_bytes) return 0;
            return std::remove_cvref_t<decltype(std::declval<receiving&>().bottom())>::sender_of(
                f.subspan(seal_bytes));
        } else {
            return 0;
        }
    }
    /// What arrives is to be told at once, before it is handed out.
    static constexpr bool tells_arrival = todo::tells_arrival;
    /// What came of a sender is known again after a new connection.
    static constexpr bool remembers = todo::promise == guarantee::exactly_once;

    [[nodiscard]] delivery::counters counters() const noexcept {
        delivery::counters c;
        inside_.count(c);
        c.corrupt += corrupt_;
        return c;
    }

private:
    static constexpr std::size_t back_bytes = seal_bytes + todo::acknowledgement_bytes;

    [[nodiscard]] auto& bottom() noexcept { return inside_.bottom(); }
    [[nodiscard]] const auto& bottom() const noexcept { return inside_.bottom(); }

    inside inside_;
    [[no_unique_address]] sealing_type seal_;
    std::uint64_t corrupt_ = 0;
};

}  // namespace delivery
}  // namespace v1
}  // namespace parley
