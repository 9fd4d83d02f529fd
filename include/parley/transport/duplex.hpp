// SPDX-License-Identifier: MIT
// Two-way transports: what request and reply, acknowledging policies and groups ask for.
//
// Listener
//   * try_accept() gives the next link; would_block if nobody came. It never waits.
//   * wait(until) returns when try_accept has something to say, else timed_out.
//   * pollable() is readable while try_accept may have something to say.
// Link
//   * out() is a sink, in() a source, with the contracts of transport.hpp; they end independently,
//     and each belongs to one thread at a time. close() closes both, out() in good order first.
// Both ends of a link may carry different types each way: what one sends the other receives.
#pragma once

#include <parley/base/peer.hpp>
#include <parley/transport/transport.hpp>

#include <concepts>

namespace parley {
inline namespace v1 {

namespace detail {

/// For the ends of a link: it is between two processes, and what a dead one had not received is not
/// for the next.
template <class Address>
[[nodiscard]] Address anew(Address at) {
    if constexpr (requires { at.with.resume; }) at.with.resume = false;
    return at;
}

}  // namespace detail

/// What an address is given when it opens a two-way end.
struct duplex_request {
    message_type sends;          ///< by this end
    message_type receives;       ///< by this end
    time_point until = never;    ///< how long to wait for the other end, where that is needed
    diagnostics* why = nullptr;  ///< where more words go; never null inside a transport
};

// clang-format off

template <class L>
concept link = std::movable<L> && sink<typename L::sink> && source<typename L::source> &&
    requires(L l, const L cl, time_point until) {
    { l.out() } -> std::same_as<typename L::sink&>;
    { l.in() } -> std::same_as<typename L::source&>;
    { l.close(until) } -> std::same_as<result<void>>;
    { cl.peer() } -> std::same_as<peer_id>;
};

template <class L>
concept listener = std::movable<L> && link<typename L::link> &&
    requires(L l, const L cl, time_point until) {
    { l.try_accept() } -> std::same_as<result<typename L::link>>;
    { l.wait(until) } -> std::same_as<result<void>>;
    { l.pollable() } -> std::same_as<result<int>>;
    { l.close(until) } -> std::same_as<result<void>>;
    { cl.why() } -> std::same_as<const diagnostics&>;
    { cl.address() } -> std::same_as<uri>;
};

/// An address at which one end listens and others link to it.
template <class A>
concept duplex_transport = std::regular<A> && listener<typename A::listener> &&
    link<typename A::link> && requires(const A at, const duplex_request& request) {
    { at.open_listener(request) } -> std::same_as<result<typename A::listener>>;
    { at.open_link(request) } -> std::same_as<result<typename A::link>>;
};

// clang-format on

}  // namespace v1
}  // namespace parley
