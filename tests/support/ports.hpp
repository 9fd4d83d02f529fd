// SPDX-License-Identifier: MIT
// Ports of this host that nobody else is given while a test knows them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace parley_test {

/// A free port of the loopback address. A socket keeps it without listening, so the kernel chooses
/// it for nobody, while a receiver (which sets SO_REUSEADDR) may listen there, and again. Of
/// datagrams (SOCK_DGRAM) it keeps the same port of 127.0.0.2, beside which the kernel chooses it
/// for no sender either.
class reserved_port {
public:
    explicit reserved_port(int text_family = AF_INET, int type = SOCK_STREAM)
        : family_(text_family) {
        const int family = type == SOCK_DGRAM ? AF_INET : text_family;
        fd_ = ::socket(family, type | SOCK_CLOEXEC, 0);
        const int on = 1;
        sockaddr_in6 six{};
        six.sin6_family = AF_INET6;
        six.sin6_addr = IN6ADDR_LOOPBACK_INIT;
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (type == SOCK_DGRAM ? 1 : 0));
        auto* at = family == AF_INET6 ? reinterpret_cast<sockaddr*>(&six)
                                      : reinterpret_cast<sockaddr*>(&four);
        socklen_t n = family == AF_INET6 ? sizeof six : sizeof four;
        if (fd_ < 0 ||
            (type == SOCK_STREAM &&
             ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
            ::bind(fd_, at, n) != 0 || ::getsockname(fd_, at, &n) != 0) {
            const int number = errno;
            if (fd_ >= 0) ::close(fd_);
            throw std::system_error(number, std::generic_category(), "reserving a port");
        }
        port_ = ntohs(family == AF_INET6 ? six.sin6_port : four.sin_port);
    }
    reserved_port(const reserved_port&) = delete;
    reserved_port& operator=(const reserved_port&) = delete;
    ~reserved_port() { ::close(fd_); }

    [[nodiscard]] int number() const noexcept { return port_; }
    /// "127.0.0.1:43211" or "[::1]:43211".
    [[nodiscard]] std::string text() const {
        return (family_ == AF_INET6 ? "[::1]:" : "127.0.0.1:") + std::to_string(port_);
    }

private:
    int family_;
    int fd_ = -1;
    int port_ = 0;
};

/// Containers may have no IPv6.
inline bool has_ipv6() {
    try {
        const reserved_port probe(AF_INET6);
        return true;
    } catch (const std::system_error&) {
        return false;
    }
}

}  // namespace parley_test
