// SPDX-License-Identifier: MIT
// Channels with delivery policies: open_sender and open_receiver take a stack of them.
#pragma once

#include <parley/channel.hpp>
#include <parley/delivery/durable.hpp>
#include <parley/drive/delivered_sink.hpp>
#include <parley/drive/delivered_source.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace parley {
inline namespace v1 {

/// An address with delivery policies: itself the address of a transport.
///
///     const auto sure = parley::at_least_once{.resend_after = 20ms} | parley::batched{};
///     auto in  = parley::open_receiver<order>(parley::uds{"/run/orders"}, sure).value();
///     auto out = parley::open_sender<order>(parley::uds{"/run/orders"}, sure).value();
///     out.send({"EURUSD", 100}).value();
///     out.close(5s).value();                       // acknowledged, all of it
///
/// Both ends name the same policies (their options may differ); ends whose headers differ refuse
/// each other by name, and a stack that writes no header meets ends without policies. What a policy
/// promises stands at the policy; what a transport promises by itself is not written again. A stack
/// that cannot work over its transport does not compile, and the error says what mends it; over a
/// uri the open is refused with errc::unsupported and the same words.
///
/// A guarantee goes on over a new connection: a sender whose receiver died or was cut off keeps
/// what is not acknowledged, calls again (at most every 200 ms), and sends it to whoever receives
/// at the address then. So a send says peer_lost only without such a guarantee.
///
/// With `durable` open_sender waits for no receiver, and what was sent outlives this process.
/// Errors then also: in_use (a live sender has the file), those of `mmap`.
///
/// Nobody runs in the background: resending, and what waits in a queue or a batch, goes on with
/// each call (send, close, `end().wait`). A message is acknowledged when its receiver asks for the
/// next one, or closes; `end().await(receipt::consumed, 1s)` waits for that, and with `receipts` in
/// the stack `receipt::delivered` for what arrived, for all that was sent so far.
///
/// Thread safety and lifetimes are those of any end; one loan, and one borrow, at a time.
/// Blocking: `send` waits while the queue of `when_full` is full, and never for acknowledgements
/// else; `close` waits for all of them. Pollable, and for attach(), where the transport is, but for
/// receivers whose senders come by a door without a descriptor: duplex{there, back}, linked{at}.
///
/// Errors: those of the transport; out_of_resources (when_full::error).
template <class Address, class Stack>
struct delivered {
    Address at;
    Stack how;

    static_assert(delivery::legal<Stack, drive::delivered_way<Address, Stack>::promises>());

    using sink = drive::delivered_sink<Address, Stack>;
    using source = drive::delivered_source<Address, Stack>;
    static constexpr std::string_view scheme = "delivered";

    [[nodiscard]] static result<delivered> from(const uri& text, diagnostics& why) {
        return why.fail(errc::unsupported, text.text() + ": policies are no part of an address");
    }
    [[nodiscard]] uri to_uri() const {
        return drive::delivered_way<Address, Stack>(at, how, any_type).address();
    }
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        return sink::open(at, how, request);
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        return source::open(at, how, request);
    }
    friend bool operator==(const delivered&, const delivered&) = default;
};

namespace detail {

template <class A>
concept two_ended = transport<A> || duplex_transport<A>;

/// A uri with policies: what any_transport is for a uri alone.
template <class Choice, class Stack>
struct any_delivered {
    uri at;
    Stack how;

    using sink = typename any_transport<Choice>::sink;
    using source = typename any_transport<Choice>::source;
    static constexpr std::string_view scheme = "any";

    [[nodiscard]] static result<any_delivered> from(const uri& text, diagnostics& why) {
        return why.fail(errc::unsupported, text.text() + ": policies are no part of an address");
    }
    [[nodiscard]] uri to_uri() const { return at; }
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        return open<sink>(request, [&](const auto& real) { return real.open_sink(request); });
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        return open<source>(request, [&](const auto& real) { return real.open_source(request); });
    }
    friend bool operator==(const any_delivered&, const any_delivered&) = default;

private:
    template <class End, class Open>
    result<End> open(const open_request& request, Open open_real) const {
        return open_listed<result<End>>(
            at, typename list_of<Choice>::type{}, *request.why,
            [&]<class A>(const A& real) -> result<End> {
                constexpr delivery::fault wrong = drive::delivered_way<A, Stack>::fault;
                if constexpr (wrong != delivery::fault::none) {
                    return request.why->fail(errc::unsupported,
                                             at.text() + ": " + std::string(sentence(wrong)));
                } else {
                    auto end = open_real(delivered<A, Stack>{real, how});
                    if (!end) return end.error();
                    return End(std::move(*end));
                }
            });
    }
};

template <class Choice, class Stack>
[[nodiscard]] auto delivered_uri(const uri& at, const Stack& how) {
    return any_delivered<Choice, Stack>{at, how};
}

}  // namespace detail

/// Opens the sending end at `at` with policies: `open_sender<tick>(uds{"/run/t"}, exactly_once{})`.
/// Errors: those of open_sender without; unsupported: the transport's messages are too short for
/// the headers.
template <class T, detail::two_ended Address, delivery::stackable Policies>
[[nodiscard]] auto open_sender(const Address& at, const Policies& how, deadline d = never,
                               diagnostics* why = nullptr) {
    using stack = decltype(delivery::as_stack(how));
    return open_sender<T>(delivered<Address, stack>{at, delivery::as_stack(how)}, d, why);
}
/// Opens the receiving end at `at` with the policies that its senders have.
template <class T, detail::two_ended Address, delivery::stackable Policies>
[[nodiscard]] auto open_receiver(const Address& at, const Policies& how, deadline d = never,
                                 diagnostics* why = nullptr) {
    using stack = decltype(delivery::as_stack(how));
    return open_receiver<T>(delivered<Address, stack>{at, delivery::as_stack(how)}, d, why);
}

/// The same with the endpoint chosen at run time. Errors also: unsupported, with the words that the
/// compiler says when the address is known to it.
template <class T, delivery::stackable Policies, class All = all_transports>
[[nodiscard]] auto open_sender(const uri& at, const Policies& how, deadline d = never,
                               diagnostics* why = nullptr) {
    return open_sender<T>(detail::delivered_uri<All>(at, delivery::as_stack(how)), d, why);
}
template <class T, delivery::stackable Policies, class All = all_transports>
[[nodiscard]] auto open_receiver(const uri& at, const Policies& how, deadline d = never,
                                 diagnostics* why = nullptr) {
    return open_receiver<T>(detail::delivered_uri<All>(at, delivery::as_stack(how)), d, why);
}
template <class T, transport_choice Choice, delivery::stackable Policies>
[[nodiscard]] auto open_sender(const uri& at, Choice, const Policies& how, deadline d = never,
                               diagnostics* why = nullptr) {
    return open_sender<T>(detail::delivered_uri<Choice>(at, delivery::as_stack(how)), d, why);
}
template <class T, transport_choice Choice, delivery::stackable Policies>
[[nodiscard]] auto open_receiver(const uri& at, Choice, const Policies& how, deadline d = never,
                                 diagnostics* why = nullptr) {
    return open_receiver<T>(detail::delivered_uri<Choice>(at, delivery::as_stack(how)), d, why);
}

}  // namespace v1
}  // namespace parley
