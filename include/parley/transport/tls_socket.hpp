// SPDX-License-Identifier: MIT
// TLS connections for the stream sink and for the hub.
#pragma once

#include <parley/transport/stream_sink.hpp>
#include <parley/transport/tcp_socket.hpp>
#include <parley/transport/tls_channel.hpp>

#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// Writes to a TLS connection.
class tls_writer {
public:
    tls_writer(tls_channel channel, duration silence_max) noexcept
        : channel_(std::move(channel)), silence_(silence_max) {}

    [[nodiscard]] int descriptor() const noexcept { return channel_.get(); }
    [[nodiscard]] short awaits() const noexcept { return channel_.awaits(); }

    ssize_t write(const std::byte* from, std::size_t n, bool may_block) noexcept {
        // The kernel takes bytes for a receiver that hung up, so a goodbye looks first.
        if (is_goodbye(from, n) && hung_up()) return errno = EPIPE, -1;
        for (;;) {
            const auto sent = channel_.write(from, n);
            if (sent >= 0) return sent;
            if (errno == EAGAIN && silence_.too_long(descriptor())) errno = ETIMEDOUT;
            if (connection_lost(errno)) {
                lost_ = errno;
                return errno = ECONNRESET, -1;
            }
            if (errno != EAGAIN || !may_block) return -1;
            (void)wait_for(descriptor(), awaits(), clock::now() + std::chrono::seconds(1));
        }
    }
    error_code verdict(const message_type& own, diagnostics& why) {
        if (lost_ != 0) return no_answer(lost_, why);
        // Why the other side ended it stands in what it sent last.
        if (answer_bytes_ <= 0) answer_bytes_ = channel_.read(answer_, sizeof answer_);
        if (const error_code ec = channel_.failure(why)) return ec;
        return why_hung_up(answer_, answer_bytes_, own, why);
    }
    [[nodiscard]] static constexpr bool handed_over() noexcept { return false; }
    static result<int> hand_over() noexcept { return errc::unsupported; }
    void close() noexcept { channel_.reset(); }

private:
    /// Something that came may be TLS's own: a ticket, say.
    [[nodiscard]] bool hung_up() noexcept {
        if (!has_news(descriptor())) return false;
        answer_bytes_ = channel_.read(answer_, sizeof answer_);
        return answer_bytes_ >= 0 || errno != EAGAIN;
    }

    tls_channel channel_;
    silence_watch silence_;
    int lost_ = 0;  // why the way to the other side is gone
    ssize_t answer_bytes_ = -1;
    std::byte answer_[frame::hello_bytes_max];
};

/// A connection that a hub let in.
class tls_socket {
public:
    tls_socket() = default;
    explicit tls_socket(tls_channel channel) noexcept : channel_(std::move(channel)) {}

    [[nodiscard]] int get() const noexcept { return channel_.get(); }
    void reset() noexcept { channel_.reset(); }
    ssize_t receive(std::byte* to, std::size_t n, int flags) noexcept {
        return channel_.read(to, n, flags & MSG_DONTWAIT);
    }
    [[nodiscard]] bool has_pending() const noexcept { return channel_.has_pending(); }
    void answer(const message_type& own) noexcept {
        std::byte hello[frame::hello_bytes_max];
        const auto n = frame::write_hello(hello, own, 0, static_cast<std::uint32_t>(::getpid()),
                                          frame::answer::none);
        (void)channel_.write(hello, n);
    }
    [[nodiscard]] error_code failure(diagnostics& why) const { return channel_.failure(why); }

private:
    tls_channel channel_;
};

/// The door of a hub at a port, behind which TLS is spoken.
class tls_door : public tcp_door {
public:
    using socket = tls_socket;

    tls_door(unique_fd fd, tls_context context) noexcept
        : tcp_door(std::move(fd)), context_(std::move(context)) {}

    [[nodiscard]] socket let_in(unique_fd fd) const {
        return socket(tls_channel(context_, tls_context::role::receiver, std::move(fd), {}, {}));
    }

private:
    tls_context context_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
