// SPDX-License-Identifier: MIT
// The transport concept: its contract in words, then the concepts. The compiled exemplar stands in
// testing/archetypes.hpp; the conformance suite has one test for each bullet.
//
// A transport moves whole messages, one way, from sinks to a source. An address type `A` is a
// regular value that opens both; what it opens never waits, except in `wait`, `flush` and `close`.
//
// Sink
//   * try_loan(n) lends exactly n writable bytes, n up to limits().message_bytes_max; a loan that
//     is dropped uncommitted was never there. Errors: would_block, message_too_large (more than
//     the limit), out_of_resources (more loans than limits().loans_max), closed, peer_lost.
//   * loan.shrink(m), m <= n, keeps the first m bytes.
//   * send_from(bytes, until), where it exists, is loan, copy, commit and flush of a message,
//   without
//     the copy; would_block: nothing of it was taken.
//   * send_many_from(bytes, each), where it exists, does that at once for as many messages of
//   `each`
//     bytes as there is room for; it says how many.
//   * try_commit(loan) hands the message to the transport; from now on it is not taken back.
//   * flush(until) pushes what is committed towards the reader, and wakes it if it sleeps;
//     would_block: some bytes still lie in this process when `until` passed (streams only).
//   * wait(until) returns when a try_loan of what was refused last may succeed, or an error is due.
//   * close(until) flushes, then tells the reader that this sender ends in good order.
// Source
//   * try_receive() gives the next message; FIFO for each sender, whole, once.
//     Errors: would_block; closed or peer_lost, once, when the last sender is gone and everything
//     it committed was delivered (an end that can have no successor keeps saying it);
//     incompatible, corrupt.
//   * receive_into(memory, until), where it exists, is the next message straight into memory of its
//     length; not_placed: something else comes next, which try_receive tells.
//   * receive_many_into(memory, each), where it exists, does that for as many messages of `each`
//     bytes as are there; 0: try_receive tells why.
//   * a view's bytes stay until it is destroyed; limits().borrows_max may be open at once.
//   * wait(until) returns when try_receive has something to say, else timed_out; it may read ahead.
//   * peers_lost() counts the senders that died so far, the last one among them or not.
//   * lost(), where it exists, counts the messages that never came: those that a killed predecessor
//     of this receiver had in hand, and where limits().lossy what the way lost: of each sender
//     whose end was heard, what it sent is what was received and what was lost. What comes, comes
//     in order and once; a sink whose way is lossy need never be full, nor know of a receiver.
// Both
//   * pollable() is a level-triggered descriptor, to be polled for reading, made on first demand
//     and owned by the end. A source's is readable from the moment a message can be received until
//     a try_receive has returned would_block; a sink's, while a loan may succeed.
//   * why() holds more words on the last error.
//   * An end belongs to one thread at a time, and to the process that first uses it: in a child
//     forked later the inherited end is closed. The two ends are independent.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/delivery.hpp>
#include <parley/base/error.hpp>
#include <parley/base/limits.hpp>
#include <parley/base/time.hpp>
#include <parley/base/type.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/peer_watch.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// What an address is given when it opens an end.
struct open_request {
    message_type type;           ///< must be accepted by the other end
    time_point until = never;    ///< how long to wait for the other end, where that is needed
    diagnostics* why = nullptr;  ///< where more words go; never null inside a transport
};

/// Whether a message came straight to where it is wanted.
enum class placement : std::uint8_t { not_placed, placed };

/// Both ends of a new channel, for make_channel.
template <class Sink, class Source>
struct both_ends {
    Sink sink;
    Source source;
};

// clang-format off

template <class L>
concept loan = std::movable<L> && requires(L l, const L cl, std::size_t n) {
    { cl.bytes() } -> std::same_as<mutable_bytes>;
    { l.shrink(n) } -> std::same_as<void>;
};

template <class V>
concept view = std::movable<V> && requires(const V v) {
    { v.bytes() } -> std::same_as<bytes>;
};

/// What sinks and sources share.
template <class E>
concept transport_end = std::movable<E> && requires(E e, const E ce, time_point until) {
    { e.wait(until) } -> std::same_as<result<void>>;
    { e.pollable() } -> std::same_as<result<int>>;
    { e.close(until) } -> std::same_as<result<void>>;
    { ce.limits() } -> std::same_as<parley::limits>;
    { ce.why() } -> std::same_as<const diagnostics&>;
    { ce.address() } -> std::same_as<uri>;
};

template <class S>
concept sink = transport_end<S> && loan<typename S::loan> &&
    requires(S s, std::size_t n, typename S::loan l, time_point until) {
    { s.try_loan(n) } -> std::same_as<result<typename S::loan>>;
    { s.try_commit(std::move(l)) } -> std::same_as<result<void>>;
    { s.flush(until) } -> std::same_as<result<void>>;
};

template <class S>
concept source = transport_end<S> && view<typename S::view> && requires(S s, const S cs) {
    { s.try_receive() } -> std::same_as<result<typename S::view>>;
    { cs.peers_lost() } -> std::same_as<std::uint64_t>;
};

/// A source that tells who died at its other side, and who came after.
template <class S>
concept peer_watching_source = source<S> && requires(S s) {
    { s.peers() } -> std::same_as<detail::peer_watch&>;
};

/// An address that opens both ends.
template <class A>
concept transport = std::regular<A> && sink<typename A::sink> && source<typename A::source> &&
    requires(const A at, const uri& text, diagnostics& why, const open_request& request) {
    { A::scheme } -> std::convertible_to<std::string_view>;
    { A::from(text, why) } -> std::same_as<result<A>>;
    { at.to_uri() } -> std::same_as<uri>;
    { at.open_sink(request) } -> std::same_as<result<typename A::sink>>;
    { at.open_source(request) } -> std::same_as<result<typename A::source>>;
};

/// A transport that can make both ends at once: make_channel.
template <class A>
concept pairing_transport = transport<A> && requires(const A at, const open_request& request) {
    { at.open_both(request) }
        -> std::same_as<result<both_ends<typename A::sink, typename A::source>>>;
};

/// An end whose verbs cost no system call: the drivers ask such a source before they wait.
template <class S>
concept in_memory = requires { requires bool(S::in_memory); };

/// A source that counts what was lost on the way.
template <class S>
concept counting_source = source<S> && requires(const S cs) {
    { cs.lost() } -> std::same_as<std::uint64_t>;
};

/// A source that knows the type of the sender whose message it returned last, while that message
/// is looked at; for recorders, which take any.
template <class S>
concept type_telling_source = source<S> && requires(const S cs) {
    { cs.sender_type() } -> std::same_as<peer_type>;
};

/// A transport that may lose messages: it opens with a guarantee named.
template <class A>
concept lossy_transport = transport<A> && requires(const A at) {
    { at.delivered(at_most_once{}) } -> std::same_as<A>;
};

/// A sink that takes a message from where it lies.
template <class S>
concept gathering_sink = sink<S> && requires(S s, bytes m, time_point until) {
    { s.send_from(m, until) } -> std::same_as<result<void>>;
};
/// A source that puts a message where it is wanted.
template <class S>
concept scattering_source = source<S> && requires(S s, mutable_bytes m, time_point until) {
    { s.receive_into(m, until) } -> std::same_as<result<placement>>;
};

/// A sink and a source that move many messages of one length at once.
template <class S>
concept batching_sink = sink<S> && requires(S s, bytes m, std::size_t each) {
    { s.send_many_from(m, each) } -> std::same_as<result<std::size_t>>;
};
template <class S>
concept batching_source = source<S> && requires(S s, mutable_bytes m, std::size_t each) {
    { s.receive_many_into(m, each) } -> std::same_as<std::size_t>;
};

// clang-format on

}  // namespace v1
}  // namespace parley
