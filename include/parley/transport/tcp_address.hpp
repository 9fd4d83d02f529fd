// SPDX-License-Identifier: MIT
// Hosts and ports as text, and what they are to the kernel, of TCP and of UDP.
#pragma once

#include <parley/detail/posix.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// "host:port", split. An IPv6 address stands in brackets; no host is every address of this host
/// to a receiver, and this host to a sender.
struct host_port {
    std::string host;
    std::uint16_t port = 0;

    /// Splits `text`; what is wrong with it, or nothing.
    [[nodiscard]] std::string assign(std::string_view text) {
        const auto colon = text.rfind(':');
        if (colon == std::string_view::npos || colon + 1 == text.size()) {
            return "wants host:port, as in 127.0.0.1:7000, [::1]:7000, :7000";
        }
        std::string_view name = text.substr(0, colon);
        const std::string_view digits = text.substr(colon + 1);
        const auto* last = digits.data() + digits.size();
        const auto [end, ec] = std::from_chars(digits.data(), last, port);
        if (ec != std::errc{} || end != last) {
            return "wants a port from 0 to 65535 behind the last colon, not '" +
                   std::string(digits) + "'";
        }
        const bool bracketed = name.starts_with('[') && name.ends_with(']');
        if (bracketed) name = name.substr(1, name.size() - 2);
        if (bracketed ? name.find(':') == std::string_view::npos
                      : name.find_first_of(":[]") != std::string_view::npos) {
            return "wants an IPv6 address, and no other, in brackets, as in [::1]:7000";
        }
        host = name;
        return {};
    }
    [[nodiscard]] std::string text() const {
        const bool six = host.find(':') != std::string::npos;
        return (six ? "[" + host + "]" : host) + ":" + std::to_string(port);
    }
};

/// An address in the kernel's form.
struct ip_address {
    sockaddr_storage at{};
    socklen_t length = 0;

    [[nodiscard]] const sockaddr* get() const noexcept {
        return reinterpret_cast<const sockaddr*>(&at);
    }
    [[nodiscard]] int family() const noexcept { return at.ss_family; }

    /// One side of a connected or bound socket.
    [[nodiscard]] static ip_address of(int fd, decltype(&::getsockname) side) noexcept {
        ip_address a;
        a.length = sizeof a.at;
        if (side(fd, reinterpret_cast<sockaddr*>(&a.at), &a.length) != 0) a.length = 0;
        return a;
    }
    [[nodiscard]] std::uint16_t port() const noexcept {
        std::uint16_t net = 0;  // at the same place in both families
        std::memcpy(&net, reinterpret_cast<const char*>(&at) + offsetof(sockaddr_in, sin_port),
                    sizeof net);
        return ntohs(net);
    }
    /// "127.0.0.1:7000", "[::1]:7000", "?" if the kernel does not tell.
    [[nodiscard]] std::string text() const {
        host_port p;
        char name[NI_MAXHOST];
        if (length == 0 ||
            ::getnameinfo(get(), length, name, sizeof name, nullptr, 0, NI_NUMERICHOST) != 0) {
            return "?";
        }
        p.host = name;
        p.port = port();
        return p.text();
    }
    friend bool operator==(const ip_address& a, const ip_address& b) noexcept {
        return a.length == b.length && std::memcmp(&a.at, &b.at, a.length) == 0;
    }
};
static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

/// The addresses that a name stands for, in the order in which they are to be tried. A name that
/// is no number is looked up, which blocks as long as the system's resolver does (resolv.conf(5):
/// usually up to 10 s for each name server), whatever the deadline.
/// Errors: not_found (no such host, or no answer), out_of_resources.
[[nodiscard]] inline result<std::vector<ip_address>> resolve(const host_port& where, bool to_listen,
                                                             diagnostics& why) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
    addrinfo* found = nullptr;
    const int failed = ::getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(),
                                     std::to_string(where.port).c_str(), &hints, &found);
    const int number = errno;
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, [](addrinfo* a) {
        if (a != nullptr) ::freeaddrinfo(a);
    });
    const std::string name = "the host '" + where.host + "'";
    switch (failed) {
        case 0: break;
        case EAI_SYSTEM: return why.fail(from_errno(number), explain("looking up " + name, number));
        case EAI_MEMORY:
            return why.fail(errc::out_of_resources, "looking up " + name + ": out of memory");
        case EAI_AGAIN:
            return why.fail(errc::not_found, "no name server answers for " + name +
                                                 "; is the network up? A number as in "
                                                 "127.0.0.1:7000 needs none");
        default:
            return why.fail(errc::not_found, name + " is not known (" + ::gai_strerror(failed) +
                                                 "); check the spelling and /etc/hosts, or give "
                                                 "its number");
    }
    std::vector<ip_address> all;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
        if (a->ai_addrlen > sizeof(sockaddr_storage)) continue;
        ip_address one;
        std::memcpy(&one.at, a->ai_addr, a->ai_addrlen);
        one.length = a->ai_addrlen;
        all.push_back(one);
    }
    // A receiver at every address takes IPv4 too through the socket of IPv6, where there is one.
    if (to_listen && where.host.empty()) {
        std::stable_sort(all.begin(), all.end(), [](const ip_address& a, const ip_address& b) {
            return a.family() == AF_INET6 && b.family() != AF_INET6;
        });
    }
    if (all.empty()) return why.fail(errc::not_found, name + " has no address");
    return all;
}

/// Why a receiver cannot have a port, in words.
[[nodiscard]] inline error_code cannot_listen(const ip_address& at, std::string_view scheme,
                                              int number, diagnostics& why) {
    const std::string where = at.text();
    const std::string port = std::to_string(at.port());
    switch (number) {
        case EADDRINUSE:
            return why.fail(errc::in_use,
                            "port " + port + " of " + where +
                                " is taken by a live receiver or another program (`ss " +
                                (scheme == "tcp" ? "-ltnp" : "-lunp") +
                                "` tells which); stop that one, choose another port, or 0 for a "
                                "free one");
        case EACCES:
        case EPERM:
            return why.fail(errc::denied,
                            explain("listening at " + where, number) +
                                "; ports below 1024 (net.ipv4.ip_unprivileged_port_start) want "
                                "CAP_NET_BIND_SERVICE: choose a higher one");
        case EADDRNOTAVAIL:
            return why.fail(errc::invalid_argument,
                            where +
                                " is no address of this host: a receiver listens at one of its "
                                "own (`ip address`), or with " +
                                std::string(scheme) + "://:" + port + " at every one");
        default: return why.fail(from_errno(number), explain("listening at " + where, number));
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
