// SPDX-License-Identifier: MIT
// How a receiver takes a port, and how a sender reaches it: what may go wrong, and how to mend it.
#pragma once

#include <parley/detail/activation.hpp>
#include <parley/transport/tcp_socket.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// Listens at the first of the addresses that this host has. Errors: in_use, denied,
/// invalid_argument (no address of this host), out_of_resources.
[[nodiscard]] inline result<unique_fd> listen_at(const std::vector<ip_address>& all,
                                                 const tcp_tuning& tuning, diagnostics& why) {
    auto given = activated_socket(SOCK_STREAM, [&all](const sockaddr& at, socklen_t n) {
        return std::any_of(all.begin(), all.end(), [&](const ip_address& one) {
            return one.length == n && std::memcmp(one.get(), &at, n) == 0;
        });
    });
    if (given) {
        tuning.apply(given.get());
        return given;
    }
    error_code ec = errc::not_found;
    for (const auto& at : all) {
        unique_fd fd(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (!fd) {
            ec = cannot_listen(at, "tcp", errno, why);
            continue;  // a kernel without IPv6, say
        }
        // Connections of a former receiver that still fade away do not keep the port. A port that
        // somebody listens at is refused nevertheless.
        const int on = 1, off = 0;
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (at.family() == AF_INET6) {
            (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        }
        tuning.apply(fd.get());
        if (::bind(fd.get(), at.get(), at.length) == 0 && ::listen(fd.get(), SOMAXCONN) == 0) {
            return fd;
        }
        ec = cannot_listen(at, "tcp", errno, why);
        // Beside somebody who has the port at one address of the name, nobody has it at another.
        if (ec == errc::in_use) break;
    }
    return ec;
}

/// A connection in the making that met nobody: the number of the error, 0 if it met somebody.
[[nodiscard]] inline int connect_once(const ip_address& at, const tcp_tuning& tuning,
                                      time_point until, unique_fd& out) {
    out.reset(::socket(at.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out) return errno;
    // A receiver may take the port of a connection that was once made from it.
    const int on = 1;
    (void)::setsockopt(out.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    tuning.apply(out.get());
    if (::connect(out.get(), at.get(), at.length) != 0) {
        if (errno != EINPROGRESS && errno != EINTR) return errno;
        if (const auto r = wait_for(out.get(), POLLOUT, until); !r) return ETIMEDOUT;
        int number = 0;
        socklen_t n = sizeof number;
        ::getsockopt(out.get(), SOL_SOCKET, SO_ERROR, &number, &n);
        if (number != 0) return number;
    }
    // While nobody listens at a port of this host, the kernel may choose that port for the sender,
    // which then meets itself.
    if (ip_address::of(out.get(), &::getsockname) == ip_address::of(out.get(), &::getpeername)) {
        const linger at_once{1, 0};
        (void)::setsockopt(out.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        return ECONNREFUSED;
    }
    ::fcntl(out.get(), F_SETFL, 0);
    return 0;
}

/// Whether a receiver that starts later, or a network that comes back, would help.
[[nodiscard]] constexpr bool may_come(int number) noexcept {
    return number == ECONNREFUSED || number == EAGAIN || number == EADDRNOTAVAIL ||
           number == ECONNRESET || (connection_lost(number) && number != ENETUNREACH);
}

/// Waits until a receiver listens at one of the addresses, then connects; the descriptor is
/// blocking. Tries again after 250 us, then more and more seldom, at most every 200 ms; a host
/// that does not answer at all gets 5 s for each attempt. Errors: timed_out (nobody came), denied,
/// out_of_resources, those of the network.
[[nodiscard]] inline result<unique_fd> reach(const std::vector<ip_address>& all,
                                             const std::string& text, const tcp_tuning& tuning,
                                             time_point until, diagnostics& why) {
    constexpr duration patience = std::chrono::seconds(5);
    for (backoff pause(std::chrono::milliseconds(200));;) {
        int waiting = 0, hopeless = 0;
        for (const auto& at : all) {
            unique_fd fd;
            const auto limit =
                until == expired ? expired : std::min(until, clock::now() + patience);
            const int number = connect_once(at, tuning, limit, fd);
            if (number == 0) return fd;
            (may_come(number) ? waiting : hopeless) = number;
        }
        if (waiting == 0) {
            const bool forbidden = hopeless == EACCES || hopeless == EPERM;
            return why.fail(from_errno(hopeless),
                            explain("connecting to '" + text + "'", hopeless) +
                                (hopeless == ENETUNREACH
                                     ? "; no route leads there (`ip route`): is the network up, "
                                       "and the address right?"
                                 : forbidden ? "; a firewall of this host forbids it"
                                             : ""));
        }
        if (auto r = pause.sleep(until); !r) {
            return why.fail(r.error(),
                            explain("nobody receives at '" + text + "'", waiting) +
                                (waiting == ECONNREFUSED
                                     ? "; start the receiver there, or wait longer (a loopback "
                                       "address means this network namespace, not that of "
                                       "another container)"
                                     : "; is that host up, and does a firewall let this port "
                                       "through?"));
        }
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
