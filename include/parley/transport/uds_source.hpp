// SPDX-License-Identifier: MIT
// The three sources of Unix domain sockets under one type: a hub of connections, the socket of
// datagrams, one end of a pair.
#pragma once

#include <parley/transport/hub.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/uds_datagram.hpp>
#include <parley/transport/uds_socket.hpp>

#include <utility>
#include <variant>

namespace parley {
inline namespace v1 {

/// How messages lie on a stream: with parley's headers, or as bare bytes for foreign programs.
using detail::framing;

namespace detail {

class uds_source {
public:
    using view = buffered_view;
    using pair = stream_source<socket_reader>;
    using hub = hub_source<uds_door>;

private:
    // A chain of tests, since std::visit goes through a table that compilers do not see through.
    template <class Self, class Call>
    static auto dispatch(Self& any, Call call) {
        if (auto* one = std::get_if<pair>(&any)) return call(*one);
        if (auto* many = std::get_if<hub>(&any)) return call(*many);
        return call(*std::get_if<datagram_source>(&any));
    }
    template <class Call>
    auto each(Call call) {
        return dispatch(any_, call);
    }
    template <class Call>
    auto each(Call call) const {
        return dispatch(any_, call);
    }

public:
    explicit uds_source(pair s) : any_(std::move(s)) {}
    explicit uds_source(hub s) : any_(std::move(s)) {}
    explicit uds_source(datagram_source s) : any_(std::move(s)) {}

    result<view> try_receive() {
        return each([](auto& s) { return s.try_receive(); });
    }
    /// Of a pair; the others read ahead for many senders.
    result<placement> receive_into(mutable_bytes into, time_point until) {
        if (auto* one = std::get_if<pair>(&any_)) return one->receive_into(into, until);
        return placement::not_placed;
    }
    result<void> wait(time_point until) {
        return each([&](auto& s) { return s.wait(until); });
    }
    result<int> pollable() {
        return each([](auto& s) { return s.pollable(); });
    }
    result<void> close(time_point until) {
        return each([&](auto& s) { return s.close(until); });
    }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept {
        return each([](auto& s) { return s.peers_lost(); });
    }
    [[nodiscard]] peer_watch& peers() noexcept {
        return *each([](auto& s) { return &s.peers(); });
    }
    /// Packets of datagram sockets bear only its fingerprint; nothing is told of them.
    [[nodiscard]] peer_type sender_type() const {
        return each([](auto& s) {
            if constexpr (requires { s.sender_type(); }) {
                return s.sender_type();
            } else {
                return peer_type();
            }
        });
    }
    [[nodiscard]] parley::limits limits() const noexcept {
        return each([](auto& s) { return s.limits(); });
    }
    [[nodiscard]] const diagnostics& why() const noexcept {
        return *each([](auto& s) { return &s.why(); });
    }
    [[nodiscard]] uri address() const {
        return each([](auto& s) { return s.address(); });
    }
    /// How many senders (or packets of none) were refused for another type or for garbage.
    [[nodiscard]] std::uint64_t refused() const noexcept {
        const auto* many = std::get_if<hub>(&any_);
        const auto* packets = std::get_if<datagram_source>(&any_);
        return many != nullptr ? many->refused() : packets != nullptr ? packets->refused() : 0;
    }
    /// For a pair: lets the descriptor survive exec. This end is then to be closed here, unused.
    [[nodiscard]] result<uri> hand_over() {
        if (auto* one = std::get_if<pair>(&any_)) return one->hand_over();
        return errc::unsupported;
    }

private:
    std::variant<pair, hub, datagram_source> any_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
