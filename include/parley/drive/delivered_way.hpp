// SPDX-License-Identifier: MIT
// What a delivery stack finds at an address: what the transport promises by itself, whether links
// are needed or one way is enough, and how both ends say of which stack they are.
#pragma once

#include <parley/codec/type_text.hpp>
#include <parley/delivery/drawing.hpp>
#include <parley/transport/duplex_pair.hpp>

#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Address>
concept may_lose = requires(const Address& at) {
    at.delivered(at_most_once{});
};

template <class Address>
struct joined {
    static constexpr bool pair = false;
    using one = Address;
};
template <class Address>
struct joined<duplex<Address>> {
    static constexpr bool pair = true;
    using one = Address;
};

/// An address that may lose opens only if that is said to be known: here the stack did.
template <class Address>
[[nodiscard]] Address informed(const Address& at) {
    if constexpr (joined<Address>::pair) {
        return {informed(at.there), informed(at.back)};
    } else if constexpr (may_lose<Address>) {
        return at.delivered(at_most_once{});
    } else {
        return at;
    }
}

}  // namespace detail
namespace drive {

/// What an address promises by itself. A transport that is neither says so: `Address::promises`.
template <class Address>
[[nodiscard]] consteval delivery::facts promises_of(bool links) {
    using one = typename detail::joined<Address>::one;
    if constexpr (requires { Address::promises; }) {
        return Address::promises;
    } else {
        constexpr bool safe = !detail::may_lose<one>;
        return {.intact = true,
                .once = true,
                .ordered = true,
                .lossless = safe,
                .connected = safe && links,
                .two_way = links};
    }
}

/// The two ways to run a stack: over links, each with one sender at its other end, or over the
/// sinks and the source of a one-way transport.
template <class Address, class Stack>
class delivered_way {
    static constexpr bool promises_back =
        Stack::template has<at_least_once> || Stack::template has<exactly_once>;

public:
    static constexpr bool links =
        duplex_transport<Address> && (promises_back || !transport<Address>);
    static constexpr delivery::facts promises = promises_of<Address>(links);
    static constexpr delivery::fault fault = delivery::check<Stack>(promises);
    static constexpr bool acknowledges = delivery::plan<Stack, promises>::acknowledges;
    static constexpr bool may_lose = !promises.lossless && !acknowledges;

    using sending = delivery::sending<Stack, promises>;
    using receiving = delivery::receiving<Stack, promises>;

    template <bool Links, class A>
    struct ends_of {
        using out = typename A::sink;
    };
    template <class A>
    struct ends_of<true, A> {
        using out = typename A::link;
    };
    using out_end = typename ends_of<links, Address>::out;

    delivered_way(const Address& at, const Stack& how, const message_type& type)
        : at_(detail::informed(at)), how_(how) {
        forth = type;
        const std::string header = words();
        if (!header.empty()) {
            // Ends that write the same header may meet, and one that writes none is a plain end.
            there_ = "delivery {" + header + "} of " + std::string(type.description);
            const auto print = parley::detail::type_text().put(header).put_hex(type.fingerprint);
            forth.description = there_;
            if (type.fingerprint != 0) forth.fingerprint = print.fingerprint();
        }
        back = named_type("acknowledgements, layout 1", 8);
    }
    delivered_way(const delivered_way&) = delete;
    delivered_way& operator=(const delivered_way&) = delete;

    /// The longest message, where the transport's longest is `frame_bytes_max`.
    [[nodiscard]] static std::size_t message_bytes_max(const Stack& how,
                                                       std::size_t frame_bytes_max) {
        return sending(how, 0, frame_bytes_max).message_bytes_max();
    }
    /// What a policy says against its own options.
    [[nodiscard]] result<void> check_policies([[maybe_unused]] diagnostics& why) const {
        if constexpr (Stack::template plays<delivery::role::integrity>) {
            const auto seal =
                how_.template get<typename Stack::template playing<delivery::role::integrity>>();
            if constexpr (requires { seal.wrong(); }) {
                if (!seal.wrong().empty()) {
                    return why.fail(errc::invalid_argument, std::string(seal.wrong()));
                }
            }
        }
        return {};
    }
    [[nodiscard]] result<out_end> open_out(time_point until, diagnostics& why) const {
        if constexpr (links) {
            return at_.open_link({forth, back, until, &why});
        } else {
            return at_.open_sink({forth, until, &why});
        }
    }
    [[nodiscard]] static auto& sink_of(out_end& end) noexcept {
        if constexpr (links) {
            return end.out();
        } else {
            return end;
        }
    }
    /// Where acknowledgements come back the goodbye has an answer too: without one, a connection
    /// that is cut at that moment would look like a death. `gone`: it was not heard.
    static result<void> close_out(out_end& end, time_point until) {
        if constexpr (links && acknowledges) {
            if (auto r = end.out().close(until); !r) return r;
            auto r = hear_out(end.in(), earlier(until, clock::now() + answer_within));
            (void)end.in().close(expired);
            return r;
        } else {
            return end.close(until);
        }
    }
    [[nodiscard]] auto open_in(time_point until, diagnostics& why) const {
        if constexpr (links) {
            return at_.open_listener({back, forth, until, &why});
        } else {
            return at_.open_source({forth, until, &why});
        }
    }
    [[nodiscard]] uri address() const {
        if constexpr (requires { at_.to_uri(); }) {
            return at_.to_uri();
        } else {
            return at_.there.to_uri();
        }
    }
    [[nodiscard]] const Stack& how() const noexcept { return how_; }

    message_type forth, back;  ///< what senders send, what comes back

private:
    /// A receiver that has everything, but does not ask whether there is more, is not waited for.
    static constexpr duration answer_within = std::chrono::milliseconds(200);

    template <class Source>
    static result<void> hear_out(Source& in, time_point until) {
        for (;;) {
            const auto late = in.try_receive();  // acknowledgements that nobody waits for
            if (late) continue;
            if (late.error() == errc::closed) return {};
            if (late.error() != errc::would_block) return late.error();
            if (auto r = in.wait(until); !r) {
                return r.error() == errc::timed_out ? result<void>() : r;
            }
        }
    }
    [[nodiscard]] static std::string words() {
        std::string all;
        for (const auto& f : delivery::header<Stack, promises>()) {
            (all += all.empty() ? "" : ", ") += f.name;
        }
        if (receiving::tells_arrival) all += ", back arrived u16";
        return all;
    }

    Address at_;
    Stack how_;
    std::string there_;  // the description, which the ends refer to
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
