// SPDX-License-Identifier: MIT
// What the addresses of udp and udp_multicast share: how their text is read, that a guarantee is
// named, how a socket is bound or connected.
#pragma once

#include <parley/base/delivery.hpp>
#include <parley/transport/datagram.hpp>
#include <parley/transport/kernel_queue_sink.hpp>
#include <parley/transport/kernel_queue_source.hpp>
#include <parley/transport/tcp_address.hpp>
#include <parley/transport/transport.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {

/// The sending end of datagrams.
class datagram_sink : public detail::queue_sink<detail::datagram_socket> {
public:
    using queue_sink::queue_sink;
    /// How often the receiver's host said that nobody receives at that port. What was sent then is
    /// lost. A host may say so seldom, or never.
    [[nodiscard]] std::uint64_t unreached() const noexcept { return queue().unreached(); }
};
/// The receiving end of datagrams.
class datagram_source : public detail::queue_source<detail::datagram_socket> {
public:
    using queue_source::queue_source;
    /// How many datagrams came twice, or behind a later one of their sender, and were dropped.
    [[nodiscard]] std::uint64_t late() const noexcept { return queue().late(); }
};

namespace detail {

/// The longest message behind parley's header in a datagram.
inline constexpr std::size_t datagram_message_bytes_max =
    datagram_socket::bytes_max - datagram_record::header_bytes;

/// Reads what both kinds of address have.
template <class Address>
void read_datagram_address(uri_reader& r, Address& at) {
    at.at = r.body();
    auto& with = at.with;
    r.choice("frame", with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    r.number("message_bytes_max", with.message_bytes_max, 1, datagram_socket::bytes_max);
    r.number("send_buffer_bytes", with.send_buffer_bytes, 1, std::size_t{1} << 30);
    r.number("receive_buffer_bytes", with.receive_buffer_bytes, 1, std::size_t{1} << 30);
    r.choice("delivery", at.delivery, {{"at_most_once", std::optional(at_most_once{})}});
    host_port split;
    if (const auto wrong = split.assign(at.at); !wrong.empty()) r.fail_body(wrong);
}
template <class Address>
void write_datagram_address(uri_writer& w, const Address& at) {
    const typename Address::options usual;
    const auto number = [&](std::string_view key, std::uint64_t value, std::uint64_t if_not) {
        if (value != if_not) w.option(key, value);
    };
    if (at.delivery) w.option("delivery", "at_most_once");
    number("message_bytes_max", at.with.message_bytes_max, usual.message_bytes_max);
    number("send_buffer_bytes", at.with.send_buffer_bytes, 0);
    number("receive_buffer_bytes", at.with.receive_buffer_bytes, 0);
    if (at.with.frame == framing::none) w.option("frame", "none");
}

/// What has to be right before anything is opened. The host and the port.
template <class Address>
[[nodiscard]] result<host_port> check_datagram_address(const Address& at, diagnostics& why) {
    if (!at.delivery) {
        const std::string scheme(Address::scheme);
        return why.fail(errc::invalid_argument,
                        "'" + scheme + "://" + at.at +
                            "' may lose messages and names no guarantee; open it with "
                            "at_most_once{} (?delivery=at_most_once): none arrives twice, and the "
                            "receiver counts those that are lost");
    }
    host_port split;
    if (auto wrong = split.assign(at.at); !wrong.empty()) {
        return why.fail(errc::invalid_argument, "the address '" + at.at + "' " + wrong);
    }
    const std::size_t most =
        at.with.frame == framing::none ? datagram_socket::bytes_max : datagram_message_bytes_max;
    if (at.with.message_bytes_max > most || at.with.message_bytes_max == 0) {
        return why.fail(errc::invalid_argument, "message_bytes_max of " + at.at + " is " +
                                                    std::to_string(at.with.message_bytes_max) +
                                                    "; a datagram takes 1 to " +
                                                    std::to_string(most) + " bytes of a message");
    }
    return split;
}

inline void set_option(int fd, int level, int option, std::size_t value) noexcept {
    const int v = static_cast<int>(value);
    (void)::setsockopt(fd, level, option, &v, sizeof v);
}

/// A socket bound at the first of the addresses that this host has. `prepare(fd, at)` comes before
/// the bind, `join(fd, at)` after it; both give errno, or 0.
template <class Options, class Prepare, class Join, class Cannot>
[[nodiscard]] result<unique_fd> bind_datagrams(const std::vector<ip_address>& all,
                                               const Options& with, Prepare prepare, Join join,
                                               Cannot cannot) {
    error_code ec = errc::not_found;
    for (const auto& at : all) {
        unique_fd fd(::socket(at.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd) {
            ec = cannot(at, errno);
            continue;  // a kernel without IPv6, say
        }
        if (at.family() == AF_INET6) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
        if (with.receive_buffer_bytes != 0) {  // the kernel doubles it
            set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, with.receive_buffer_bytes / 2);
        }
        int number = prepare(fd.get(), at);
        if (number == 0 && ::bind(fd.get(), at.get(), at.length) != 0) number = errno;
        if (number == 0) number = join(fd.get(), at);
        if (number == 0) return fd;
        ec = cannot(at, number);
        // Beside somebody who has the port at one address of the name, nobody has it at another.
        if (ec == errc::in_use) break;
    }
    return ec;
}

/// A socket connected to the first of the addresses to which a way leads. Nobody need be there.
template <class Options, class Prepare, class Cannot>
[[nodiscard]] result<unique_fd> connect_datagrams(const std::vector<ip_address>& all,
                                                  const Options& with, Prepare prepare,
                                                  Cannot cannot) {
    error_code ec = errc::not_found;
    for (const auto& at : all) {
        unique_fd fd(::socket(at.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!fd) {
            ec = cannot(at, errno);
            continue;
        }
        if (with.send_buffer_bytes != 0) {
            set_option(fd.get(), SOL_SOCKET, SO_SNDBUF, with.send_buffer_bytes / 2);
        }
        int number = prepare(fd.get(), at);
        if (number == 0 && ::connect(fd.get(), at.get(), at.length) != 0) number = errno;
        if (number == 0) return fd;
        ec = cannot(at, number);
    }
    return ec;
}

/// "connecting to … : reason", with what helps.
[[nodiscard]] inline error_code cannot_reach(const ip_address& at, int number, diagnostics& why) {
    std::string words = explain("sending to " + at.text(), number);
    if (number == ENETUNREACH || number == EHOSTUNREACH || number == ENETDOWN) {
        words += "; no route leads there (`ip route`): is the network up, and the address right?";
    } else if (number == EACCES || number == EPERM) {
        words +=
            "; a firewall of this host forbids it, or it is a broadcast address, which parley "
            "does not send to: use udp_multicast";
    }
    return why.fail(from_errno(number), std::move(words));
}

/// Port 0 is for receivers.
[[nodiscard]] inline result<void> wants_port(const host_port& where, diagnostics& why) {
    if (where.port != 0) return {};
    return why.fail(errc::invalid_argument,
                    "port 0 lets a receiver choose one, which its address() tells; a sender "
                    "needs that one, not '" +
                        where.text() + "'");
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
