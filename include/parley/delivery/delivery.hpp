// SPDX-License-Identifier: MIT
// Delivery policies: what is promised of messages beyond what their transport promises. The
// contract in words, then what a policy says of itself, stacks of policies, and their check.
//
// A policy is a regular value that holds its options; `a | b | c` is a stack of them, in any order:
// each has its place, drawn here for a sender. A receiver runs the same way up.
//
//   submit(message)                                              what the application sends
//      durable                       a file that survives                 durable.hpp
//      when_full, expires_after,     queues, who has to leave them, and   outbox.hpp,
//      prioritized                   who goes first                       prioritized.hpp
//      fragmented                    a message in parts                   fragmented.hpp
//      batched                       several messages or parts in one     batched.hpp
//      at_most_once, at_least_once,  numbers, acknowledgement, resend     numbered_out.hpp,
//      exactly_once, unordered                                            numbered_in.hpp
//      receipts                      acknowledgement of what arrived      receipts.hpp
//      checksum, authenticated       a seal over all of it                checksum.hpp
//   transmit(room)                                               one message of the transport
//
// What seals frames (role::integrity) has a class `sealing`, made of the policy and of whether this
// is the sending side: seal(frame) fills the `header` in front of a frame, unseal(frame) gives what
// is behind it if it is as it was sealed on the other side. `if_intact`: also where the transport
// damages nothing.
//
// Both sides of a stack (machine.hpp) are copyable values that decide and do nothing else. There is
// no clock, thread, descriptor or random number in them: time comes in as a number, frames come in
// as bytes, and what is to be sent is pulled out when the transport has room for it.
//
// Sending side
//   * admits(now) says whether a message may be submitted; submit(m, now) copies it. priority(n)
//     holds for both from then on.
//   * wants(now) is how many bytes the next frame needs at most, 0 if there is none to transmit;
//     transmit(room, now) writes it there and returns its length, at most what wants said.
//   * on_frame(f, now) takes a frame that came back. on_link(now): a new connection carries on.
//   * next_deadline(now) is the first time behind `now` when wants or admits may say something else
//     by themselves; never: not by time.
//   * reached(receipt) is how many messages, from the first one on, came that far.
//   * idle() is true when nothing is left to transmit and, under a guarantee, nothing to
//     acknowledge.
// Receiving side
//   * on_frame(f) takes a frame, whose bytes stay until next() has said nothing.
//   * next() is the next message to hand out, which stays until the next call. Asking again says
//     that the application is done with it: only then it is acknowledged.
//   * wants(quiet) and transmit(room) are as above, for what goes back; `quiet`: no more frames lie
//     there, so what is not yet acknowledged is due. There is nothing that depends on time.
// Both
//   * Bytes from outside are checked before they are used. A frame that no policy of the stack
//     writes changes nothing but counters().corrupt.
//   * A copy made while next() has nothing to say behaves as the original would have.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/delivery.hpp>
#include <parley/base/time.hpp>
#include <parley/base/when_full.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace delivery {

/// What a way promises of what is sent on it: a transport to a stack, a stack to the application.
struct facts {
    bool intact = false;     ///< what arrives is what was sent
    bool once = false;       ///< nothing arrives twice
    bool ordered = false;    ///< what arrives of one sender arrives in its order
    bool lossless = false;   ///< what is sent arrives, while the connection lives
    bool connected = false;  ///< it has one sender, whose coming and going are seen
    bool two_way = false;    ///< something can be sent back

    friend constexpr bool operator==(const facts&, const facts&) = default;
    friend constexpr facts operator|(facts a, const facts& b) noexcept {
        return {a.intact || b.intact,     a.once || b.once,           a.ordered || b.ordered,
                a.lossless || b.lossless, a.connected || b.connected, a.two_way || b.two_way};
    }
};

/// What a policy is for; a stack has at most one for each.
enum class role : std::uint8_t {
    admission,
    expiry,
    priority,
    order,
    parts,
    batch,
    guarantee,
    receipt,
    persistence,
    integrity
};

/// A field of a header.
struct field {
    std::string_view name;
    std::size_t bytes = 0;

    friend bool operator==(const field&, const field&) = default;
};

/// What a policy says of itself.
struct terms {
    role at;
    facts needs;             ///< of the way below
    facts gives;             ///< to the policies above
    bool keeps_all = false;  ///< promises that nothing is lost
    bool gives_up = false;   ///< may drop what was submitted
};

/// `P::terms`, for every policy.
template <class P>
requires requires { P::terms; }
[[nodiscard]] constexpr terms terms_of(std::type_identity<P>) noexcept { return P::terms; }
[[nodiscard]] constexpr terms terms_of(std::type_identity<at_most_once>) noexcept {
    return {role::guarantee, {.intact = true}, {.once = true, .ordered = true}};
}
template <class Rule>
requires std::same_as<Rule, when_full::block> || std::same_as<Rule, when_full::error>
[[nodiscard]] constexpr terms terms_of(std::type_identity<Rule>) noexcept {
    return {role::admission, {}, {}};
}
template <class Rule>
requires std::same_as<Rule, when_full::drop_newest> || std::same_as<Rule, when_full::drop_oldest> ||
    std::same_as<Rule, when_full::latest_only>
[[nodiscard]] constexpr terms terms_of(std::type_identity<Rule>) noexcept {
    return {role::admission, {}, {}, false, true};
}

template <class P>
concept policy = std::regular<P> && requires {
    delivery::terms_of(std::type_identity<P>{});
};

/// The policy of these that plays a role, or void.
template <role R, class... Ps>
struct player {
    using type = void;
};
template <role R, class P, class... Ps>
struct player<R, P, Ps...> {
    using type = std::conditional_t<terms_of(std::type_identity<P>{}).at == R, P,
                                    typename player<R, Ps...>::type>;
};

/// Policies that hold together.
template <policy... Ps>
struct stack {
    std::tuple<Ps...> all;

    template <role R>
    using playing = typename player<R, Ps...>::type;

    template <class P>
    static constexpr bool has = (std::same_as<P, Ps> || ...);
    template <role R>
    static constexpr bool plays = ((terms_of(std::type_identity<Ps>{}).at == R) || ...);

    /// The options of a policy; the usual ones if it is not there.
    template <class P>
    [[nodiscard]] constexpr P get() const {
        if constexpr (has<P>) {
            return std::get<P>(all);
        } else {
            return P{};
        }
    }
    friend bool operator==(const stack&, const stack&) = default;
};

/// A stack as a stack, a policy as a stack of one.
template <policy... Ps>
[[nodiscard]] constexpr stack<Ps...> as_stack(const stack<Ps...>& s) {
    return s;
}
template <policy P>
[[nodiscard]] constexpr stack<P> as_stack(const P& p) {
    return {std::tuple<P>(p)};
}

template <class S>
concept stackable = requires(const S& s) {
    delivery::as_stack(s);
};

/// What is wrong with a stack over a way.
enum class fault : std::uint8_t {
    none,
    same_purpose,
    nothing_named,
    damaged,
    one_way,
    gives_up,
    parts_in_disorder,
    nothing_to_order,
    nothing_to_tell,
    nothing_to_keep,
    kept_in_order,
    kept_until_acknowledged,
};

/// What a fault means and what mends it; the compiler says the same.
[[nodiscard]] constexpr std::string_view sentence(fault f) noexcept {
    switch (f) {
        case fault::none: return "";
        case fault::same_purpose:
            return "parley: a delivery stack has one policy for each purpose: one guarantee, one "
                   "rule for when it is full, and nothing twice";
        case fault::nothing_named:
            return "parley: this transport may lose messages: say what is promised of them with "
                   "at_most_once, at_least_once or exactly_once";
        case fault::damaged:
            return "parley: this transport may damage messages: add checksum{} to the stack";
        case fault::one_way:
            return "parley: at_least_once and exactly_once need a way back for acknowledgements: "
                   "take a two-way transport or duplex{there, back}";
        case fault::gives_up:
            return "parley: at_least_once and exactly_once keep every message, this rule for when "
                   "it is full gives some up: take when_full::block or when_full::error";
        case fault::parts_in_disorder:
            return "parley: fragmented wants its parts in order: leave out unordered, or add a "
                   "guarantee";
        case fault::nothing_to_order:
            return "parley: unordered does nothing without at_least_once or exactly_once: leave it "
                   "out";
        case fault::nothing_to_tell:
            return "parley: receipts come with acknowledgements: add at_least_once or "
                   "exactly_once";
        case fault::nothing_to_keep:
            return "parley: durable keeps what is not acknowledged: add at_least_once or "
                   "exactly_once";
        case fault::kept_in_order:
            return "parley: durable keeps messages in one order: leave out prioritized";
        case fault::kept_until_acknowledged:
            return "parley: durable keeps messages until they are acknowledged: leave out "
                   "expires_after";
    }
    return "";
}

/// What is wrong with policies of these terms over `way`.
template <std::size_t N>
[[nodiscard]] constexpr fault check(const terms (&all)[N], facts way) noexcept {
    const auto find = [&](role r) -> const terms* {
        for (const terms& t : all) {
            if (t.at == r) return &t;
        }
        return nullptr;
    };
    for (std::size_t i = 0; i < N; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (all[i].at == all[j].at) return fault::same_purpose;
        }
    }
    if (const terms* sum = find(role::integrity)) way = way | sum->gives;
    const terms* guarantee = find(role::guarantee);
    if (guarantee == nullptr && !way.lossless) return fault::nothing_named;
    if (guarantee != nullptr) {
        if (guarantee->needs.two_way && !way.two_way) return fault::one_way;
        if (guarantee->needs.intact && !way.intact) return fault::damaged;
        way = way | guarantee->gives;
    }
    const bool keeps_all = guarantee != nullptr && guarantee->keeps_all;
    if (find(role::order) != nullptr) {
        if (!keeps_all) return fault::nothing_to_order;
        way.ordered = false;
    }
    if (find(role::receipt) != nullptr && !keeps_all) return fault::nothing_to_tell;
    if (find(role::persistence) != nullptr) {
        if (!keeps_all) return fault::nothing_to_keep;
        if (find(role::priority) != nullptr) return fault::kept_in_order;
        if (find(role::expiry) != nullptr) return fault::kept_until_acknowledged;
    }
    if (const terms* full = find(role::admission); full != nullptr && full->gives_up && keeps_all) {
        return fault::gives_up;
    }
    for (const role r : {role::batch, role::parts}) {
        const terms* pack = find(r);
        if (pack == nullptr) continue;
        if (pack->needs.intact && !way.intact) return fault::damaged;
        if (pack->needs.ordered && !way.ordered) return fault::parts_in_disorder;
    }
    return fault::none;
}
template <policy... Ps>
[[nodiscard]] constexpr fault check(const stack<Ps...>*, facts way) noexcept {
    return check({terms_of(std::type_identity<Ps>{})...}, way);
}
template <class Stack>
[[nodiscard]] constexpr fault check(facts way) noexcept {
    return check(static_cast<const Stack*>(nullptr), way);
}

/// Does not compile if the stack is wrong over `Way`, and says why: the words of sentence().
template <class Stack, facts Way>
consteval bool legal() {
    constexpr fault f = check<Stack>(Way);
    static_assert(f != fault::same_purpose,
                  "parley: a delivery stack has one policy for each purpose: one guarantee, one "
                  "rule for when it is full, and nothing twice");
    static_assert(f != fault::nothing_named,
                  "parley: this transport may lose messages: say what is promised of them with "
                  "at_most_once, at_least_once or exactly_once");
    static_assert(f != fault::damaged,
                  "parley: this transport may damage messages: add checksum{} to the stack");
    static_assert(f != fault::one_way,
                  "parley: at_least_once and exactly_once need a way back for acknowledgements: "
                  "take a two-way transport or duplex{there, back}");
    static_assert(f != fault::gives_up,
                  "parley: at_least_once and exactly_once keep every message, this rule for when "
                  "it is full gives some up: take when_full::block or when_full::error");
    static_assert(f != fault::parts_in_disorder,
                  "parley: fragmented wants its parts in order: leave out unordered, or add a "
                  "guarantee");
    static_assert(f != fault::nothing_to_order,
                  "parley: unordered does nothing without at_least_once or exactly_once: leave it "
                  "out");
    static_assert(f != fault::nothing_to_tell,
                  "parley: receipts come with acknowledgements: add at_least_once or "
                  "exactly_once");
    static_assert(f != fault::nothing_to_keep,
                  "parley: durable keeps what is not acknowledged: add at_least_once or "
                  "exactly_once");
    static_assert(f != fault::kept_in_order,
                  "parley: durable keeps messages in one order: leave out prioritized");
    static_assert(f != fault::kept_until_acknowledged,
                  "parley: durable keeps messages until they are acknowledged: leave out "
                  "expires_after");
    return f == fault::none;
}

/// What happened so far. A side counts what it sees.
struct counters {
    std::uint64_t submitted = 0;     ///< messages
    std::uint64_t dropped = 0;       ///< messages given up because it was full
    std::uint64_t expired = 0;       ///< messages given up because they waited too long
    std::uint64_t resent = 0;        ///< frames sent more than once
    std::uint64_t acknowledged = 0;  ///< frames that the receiver was done with
    std::uint64_t duplicates = 0;    ///< frames that came again, or too late
    std::uint64_t lost = 0;          ///< frames that never came
    std::uint64_t corrupt = 0;       ///< frames, or parts of them, that were refused
};

}  // namespace delivery

/// Both together: `at_least_once{} | batched{}`.
template <delivery::stackable A, delivery::stackable B>
[[nodiscard]] constexpr auto operator|(const A& a, const B& b) {
    return []<class... Ps, class... Qs>(const delivery::stack<Ps...>& x,
                                        const delivery::stack<Qs...>& y) {
        return delivery::stack<Ps..., Qs...>{std::tuple_cat(x.all, y.all)};
    }(delivery::as_stack(a), delivery::as_stack(b));
}

}  // namespace v1
}  // namespace parley
