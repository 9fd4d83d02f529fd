// SPDX-License-Identifier: MIT
// Reading and writing TCP connections, for the stream sink and the stream source; the door of the
// hub that accepts them; how a sender reaches a receiver.
//
// Who is gone without a word, a host without power or a cut cable, is found by the kernel's
// keep-alive where nothing is under way. While bytes are under way and a sender waits for room, it
// asks the kernel once a second whether the other host still acknowledges them.
// TCP_USER_TIMEOUT would be simpler, but it also cuts a receiver that lives and reads nothing for
// so long; it is there for those who want that.
#pragma once

#include <parley/base/peer.hpp>
#include <parley/transport/hub_connection.hpp>
#include <parley/transport/socket_link.hpp>
#include <parley/transport/socket_verdict.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/tcp_address.hpp>

#include <netinet/tcp.h>

#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// What is asked of the kernel for each connection. A listening socket hands it on.
struct tcp_tuning {
    bool no_delay = true;
    unsigned idle_s = 0, interval_s = 0, count = 0;               ///< keep-alive; idle_s 0: none
    unsigned user_timeout_ms = 0;                                 ///< 0: the kernel's default
    std::size_t send_buffer_bytes = 0, receive_buffer_bytes = 0;  ///< 0: the kernel adjusts them

    void apply(int fd) const noexcept {
        const auto set = [fd](int level, int option, std::size_t value) {
            const int v = static_cast<int>(value);
            (void)::setsockopt(fd, level, option, &v, sizeof v);
        };
        if (no_delay) set(IPPROTO_TCP, TCP_NODELAY, 1);
        if (idle_s != 0) {
            set(SOL_SOCKET, SO_KEEPALIVE, 1);
            set(IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
            set(IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
            set(IPPROTO_TCP, TCP_KEEPCNT, count);
        }
        if (user_timeout_ms != 0) set(IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms);
        // The kernel doubles them.
        if (send_buffer_bytes != 0) set(SOL_SOCKET, SO_SNDBUF, send_buffer_bytes / 2);
        if (receive_buffer_bytes != 0) set(SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes / 2);
    }
    /// How long the other host may be silent when it ought to answer; 0: for ever.
    [[nodiscard]] duration silence_max() const noexcept {
        if (idle_s == 0) return duration::zero();
        return std::chrono::seconds(idle_s + std::uint64_t{interval_s} * count);
    }
};

/// Errors of a connection that say that the other side, or the way to it, is gone.
[[nodiscard]] constexpr bool connection_lost(int number) noexcept {
    switch (number) {
        case ETIMEDOUT:
        case EHOSTUNREACH:
        case EHOSTDOWN:
        case ENETUNREACH:
        case ENETDOWN:
        case ENETRESET:
        case ECONNABORTED: return true;
        default: return false;
    }
}

/// Tells whether the other host leaves bytes unacknowledged for too long, asking the kernel at
/// most once a second. A host that lives answers each probe within a round trip, so two looks that
/// far apart find an unanswered one only where nobody answers.
class silence_watch {
public:
    explicit silence_watch(duration most) noexcept : most_(most) {}

    [[nodiscard]] bool too_long(int fd) noexcept {
        const auto now = clock::now();
        if (most_ <= duration::zero() || now < next_look_) return false;
        next_look_ = now + std::chrono::seconds(1);
        tcp_info i{};
        socklen_t n = sizeof i;
        if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) != 0) return false;
        if (i.tcpi_retransmits == 0 && i.tcpi_probes == 0) {
            since_.reset();
            return false;
        }
        if (!since_) since_ = now;
        return now - *since_ >= most_ && std::chrono::milliseconds(i.tcpi_last_ack_recv) >= most_;
    }

private:
    duration most_;
    time_point next_look_{};
    std::optional<time_point> since_;
};

/// Whether these bytes are the end record of a sender.
[[nodiscard, gnu::always_inline]] inline bool is_goodbye(const std::byte* from,
                                                         std::size_t n) noexcept {
    return n == frame::header_bytes && from[4] == static_cast<std::byte>(frame::kind::end);
}
/// Whether the other side sent something, or hung up.
[[nodiscard]] inline bool has_news(int fd) noexcept {
    pollfd p{fd, POLLIN | POLLRDHUP, 0};
    return ::poll(&p, 1, 0) > 0;
}
[[nodiscard]] inline error_code no_answer(int number, diagnostics& why) {
    return why.fail(errc::peer_lost, explain("the receiver's host answers no more", number) +
                                         "; what it had not taken is lost");
}

/// Writes to a TCP connection.
class tcp_writer {
public:
    tcp_writer(unique_fd fd, duration silence_max) noexcept
        : fd_(std::move(fd)), silence_(silence_max) {}
    /// The writer of a link: see socket_writer::of_link.
    [[nodiscard]] static tcp_writer of_link(unique_fd fd, duration silence_max) noexcept {
        tcp_writer w(std::move(fd), silence_max);
        w.link_owner_ = ::getpid();
        return w;
    }

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    [[gnu::always_inline]] ssize_t write(const std::byte* from, std::size_t n,
                                         bool may_block) noexcept {
        // The kernel takes bytes for a receiver that hung up, so a goodbye looks first.
        if (is_goodbye(from, n) && link_owner_ == 0 && has_news(fd_.get())) {
            return errno = EPIPE, -1;
        }
        const auto sent = ::send(fd_.get(), from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        return sent >= 0 ? sent : write_slowly(from, n, may_block);
    }
    error_code verdict(const message_type& own, diagnostics& why) const {
        if (lost_ != 0) return no_answer(lost_, why);
        if (link_owner_ != 0) {
            return why.fail(errc::peer_lost,
                            "the other side of the link is gone, or refused this side's type; "
                            "what it had not taken is lost");
        }
        return why_hung_up(fd_.get(), own, why);
    }
    [[nodiscard]] static constexpr bool handed_over() noexcept { return false; }
    static result<int> hand_over() noexcept { return errc::unsupported; }
    void close() noexcept {
        // Not in a forked child: it would end the parent's direction.
        if (fd_ && link_owner_ != 0 && link_owner_ == ::getpid()) ::shutdown(fd_.get(), SHUT_WR);
        fd_.reset();
    }

private:
    [[gnu::noinline]] ssize_t write_slowly(const std::byte* from, std::size_t n,
                                           bool may_block) noexcept {
        for (;;) {
            if (errno == EAGAIN && silence_.too_long(fd_.get())) errno = ETIMEDOUT;
            if (connection_lost(errno)) {
                lost_ = errno;
                return errno = ECONNRESET, -1;
            }
            if (errno != EAGAIN || !may_block) return -1;
            (void)wait_for(fd_.get(), POLLOUT, clock::now() + std::chrono::seconds(1));
            const auto sent = ::send(fd_.get(), from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent >= 0) return sent;
        }
    }

    unique_fd fd_;
    silence_watch silence_;
    int lost_ = 0;          // why the way to the other side is gone
    pid_t link_owner_ = 0;  // 0: no link
};

/// Reads from a TCP connection.
class tcp_reader {
public:
    explicit tcp_reader(unique_fd fd) noexcept : fd_(std::move(fd)) {}

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] static constexpr std::size_t packet_bytes_max() noexcept { return 0; }

    ssize_t read(std::byte* to, std::size_t n, reading how) noexcept {
        const auto got = ::recv(fd_.get(), to, n, how == reading::blocking ? 0 : MSG_DONTWAIT);
        if (got < 0 && connection_lost(errno)) errno = ECONNRESET;
        return got;
    }
    void refuse(const message_type& own) noexcept { answer_with_hello(fd_.get(), own); }
    static result<int> hand_over() noexcept { return errc::unsupported; }
    void close() noexcept { fd_.reset(); }

private:
    unique_fd fd_;
};

/// The door of a hub at a port.
class tcp_door {
public:
    using socket = plain_socket;

    explicit tcp_door(unique_fd fd) noexcept : fd_(std::move(fd)) {}

    [[nodiscard]] static socket let_in(unique_fd fd) noexcept { return socket(std::move(fd)); }

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] static constexpr bool packets() noexcept { return false; }
    [[nodiscard]] static bool admits(int) noexcept { return true; }
    [[nodiscard]] static std::string who(int fd) {
        return "from " + ip_address::of(fd, &::getpeername).text();
    }
    void close() noexcept { fd_.reset(); }
    void abandon() noexcept { fd_.reset(); }

private:
    unique_fd fd_;
};

/// What links over TCP are made of.
struct tcp_family {
    using door = tcp_door;
    using reader = tcp_reader;
    using writer = tcp_writer;

    duration silence_max{};

    static void fit(int, stream_options&) noexcept {}
    [[nodiscard]] static reader read_from(unique_fd fd) noexcept { return reader(std::move(fd)); }
    [[nodiscard]] writer write_to(unique_fd fd) const noexcept {
        return writer::of_link(std::move(fd), silence_max);
    }
    /// TCP names no process: see peer_id.
    [[nodiscard]] static peer_id who(int) noexcept {
        return {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
    }
};

using tcp_link = socket_link<tcp_family>;
using tcp_listener = socket_listener<tcp_family>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
