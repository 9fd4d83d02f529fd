// SPDX-License-Identifier: MIT
// Reading and writing connected Unix domain sockets, for the stream sink and the stream source; the
// door of the hub that accepts them; and how a sender reaches a receiver's name.
#pragma once

#include <parley/detail/activation.hpp>
#include <parley/detail/allow.hpp>
#include <parley/detail/ancillary.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/hub_connection.hpp>
#include <parley/transport/socket_verdict.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/uds_name.hpp>

#include <algorithm>
#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// Writes to a connected socket. The descriptor stays blocking: a send without deadline is one
/// send(2), and the others say MSG_DONTWAIT. Nothing raises SIGPIPE.
class socket_writer {
public:
    /// `path`: the receiver's name in the file system, to be removed if the receiver dies.
    explicit socket_writer(unique_fd fd, std::string path = {})
        : fd_(std::move(fd)), path_(std::move(path)) {}

    /// The writer of a link: what the other side sends is for the link's reader, and the end of
    /// this direction must show although the socket stays open for the other.
    [[nodiscard]] static socket_writer of_link(unique_fd fd) {
        socket_writer w(std::move(fd));
        w.link_owner_ = ::getpid();
        return w;
    }

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    [[gnu::always_inline]] ssize_t write(const std::byte* from, std::size_t n,
                                         bool may_block) noexcept {
        if (line_) return write_datagram(from, n, may_block);
        return ::send(fd_.get(), from, n, MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT));
    }
    /// Two parts behind one another, in one call and in one packet.
    ssize_t write(const std::byte* head, std::size_t head_n, const std::byte* from, std::size_t n,
                  bool may_block) noexcept {
        // See write_datagram. The hello has introduced the line before any message.
        if (line_ && is_power_of_two(++line_->written) && line_cut()) return errno = EPIPE, -1;
        iovec parts[] = {part(head, head_n), part(from, n)};
        msghdr m{};
        m.msg_iov = parts;
        m.msg_iovlen = 2;
        return ::sendmsg(fd_.get(), &m, MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT));
    }
    error_code verdict(const message_type& own, diagnostics& why) const {
        if (link_owner_ != 0) {
            return why.fail(errc::peer_lost,
                            "the other side of the link is gone, or refused this side's type; "
                            "what it had not taken is lost");
        }
        const error_code ec = why_hung_up(line_ ? line_->ours.get() : fd_.get(), own, why);
        if (!path_.empty() && ec == errc::peer_lost) remove_if_dead(path_);
        return ec;
    }
    [[nodiscard]] bool handed_over() const noexcept { return handed_over_; }
    /// Lets the descriptor survive exec, for another program that opens `unix:?fd=n`; this end is
    /// then to be closed here, unused.
    result<int> hand_over() noexcept {
        if (line_) return errc::unsupported;
        if (::fcntl(fd_.get(), F_SETFD, 0) != 0) return last_error();
        handed_over_ = true;
        return fd_.get();
    }
    void close() noexcept {
        // Not in a forked child: it would end the parent's direction.
        if (fd_ && link_owner_ != 0 && link_owner_ == ::getpid()) {
            ::shutdown(fd_.get(), SHUT_WR);
        }
        fd_.reset();
        line_.reset();
    }

    /// Makes this the writer of datagrams of a sender, whose private line to the receiver tells
    /// its end or death. See uds_datagram.hpp.
    result<void> open_line() noexcept {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return last_error();
        line_.emplace(line{unique_fd(ends[0]), unique_fd(ends[1])});
        return {};
    }
    static constexpr std::size_t tag_bytes = 8;

private:
    struct line {
        unique_fd ours, theirs;
        std::uint64_t written = 0;
    };

    ssize_t write_datagram(const std::byte* from, std::size_t n, bool may_block) noexcept {
        const int flags = MSG_NOSIGNAL | (may_block ? 0 : MSG_DONTWAIT);
        if (line_->theirs) return introduce(from, n, flags);
        if (n >= tag_bytes + frame::header_bytes &&
            from[tag_bytes + 4] == static_cast<std::byte>(frame::kind::end)) {
            const auto sent = ::send(line_->ours.get(), from + tag_bytes, n - tag_bytes, flags);
            return sent < 0 ? -1 : static_cast<ssize_t>(n);
        }
        // A receiver of another type hangs up the line, which the datagrams do not notice. The
        // look costs a call, so it comes after 1, 2, 4, 8, … messages.
        if (is_power_of_two(++line_->written) && line_cut()) return errno = EPIPE, -1;
        return ::send(fd_.get(), from, n, flags);
    }
    [[nodiscard]] bool line_cut() const noexcept {
        pollfd p{line_->ours.get(), POLLIN | POLLRDHUP, 0};
        return ::poll(&p, 1, 0) > 0;
    }

    /// The hello, with the receiver's end of the private line.
    ssize_t introduce(const std::byte* from, std::size_t n, int flags) noexcept {
        const auto sent = send_with_descriptor(fd_.get(), from, n, line_->theirs.get(), flags);
        if (sent >= 0) line_->theirs.reset();
        return sent;
    }

    unique_fd fd_;
    std::string path_;
    std::optional<line> line_;
    pid_t link_owner_ = 0;  // 0: no link
    bool handed_over_ = false;
};

/// Reads from a connected socket.
class socket_reader {
public:
    socket_reader(unique_fd fd, std::size_t packet_bytes_max) noexcept
        : fd_(std::move(fd)), packet_bytes_max_(packet_bytes_max) {}

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] std::size_t packet_bytes_max() const noexcept { return packet_bytes_max_; }

    ssize_t read(std::byte* to, std::size_t n, reading how) noexcept {
        const int flags = how == reading::blocking ? 0 : MSG_DONTWAIT;
        if (packet_bytes_max_ == 0) return ::recv(fd_.get(), to, n, flags);
        const auto got = ::recv(fd_.get(), to, n, flags | MSG_TRUNC);
        if (got > 0 && static_cast<std::size_t>(got) > n) return errno = EMSGSIZE, -1;
        return got;
    }
    ssize_t read(iovec* parts, int n, reading how) noexcept {
        msghdr m{};
        m.msg_iov = parts;
        m.msg_iovlen = static_cast<std::size_t>(n);
        const auto got = ::recvmsg(fd_.get(), &m, how == reading::blocking ? 0 : MSG_DONTWAIT);
        if (got > 0 && (m.msg_flags & MSG_TRUNC) != 0) return errno = EMSGSIZE, -1;
        return got;
    }
    /// Answers a sender of another type with the receiver's hello.
    void refuse(const message_type& own) noexcept { answer_with_hello(fd_.get(), own); }
    result<int> hand_over() noexcept {
        if (::fcntl(fd_.get(), F_SETFD, 0) != 0) return last_error();
        return fd_.get();
    }
    void close() noexcept { fd_.reset(); }

private:
    unique_fd fd_;
    std::size_t packet_bytes_max_;  // 0: a stream
};

/// The door of a hub at a Unix domain name.
class uds_door {
public:
    using socket = plain_socket;

    uds_door(bound_socket s, bool in_packets, known_allow whom)
        : at_(std::move(s)), packets_(in_packets), allow_(std::move(whom)) {}

    [[nodiscard]] int descriptor() const noexcept { return at_.fd.get(); }
    [[nodiscard]] bool packets() const noexcept { return packets_; }
    [[nodiscard]] static socket let_in(unique_fd fd) noexcept { return socket(std::move(fd)); }
    [[nodiscard]] static std::string who(int fd) { return describe(credentials(fd)); }
    [[nodiscard]] bool admits(int fd) const {
        return allow_.everybody() || allow_.admits(credentials(fd), fd);
    }
    [[nodiscard]] const known_allow& allow() const noexcept { return allow_; }
    void close() noexcept {
        at_.name.remove();  // while the socket lives, so that nobody takes it over meanwhile
        at_.fd.reset();
    }
    void abandon() noexcept {
        at_.name.abandon();
        at_.fd.reset();
    }

private:
    bound_socket at_;
    bool packets_;
    known_allow allow_;
};

/// Asks the kernel for a send buffer that a packet of `wanted` bytes fits into, and returns how
/// long a packet may be. 0: what the kernel gives anyway.
[[nodiscard]] inline std::size_t room_for_packets(int fd, std::size_t wanted) noexcept {
    constexpr std::size_t kept_back = 32;  // by the kernel, of every send buffer
    const auto size = [&] {
        int n = 0;
        socklen_t length = sizeof n;
        ::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &n, &length);
        return static_cast<std::size_t>(std::max(n, 0));
    };
    if (wanted + kept_back > size()) {
        const int half = static_cast<int>(std::min<std::size_t>(wanted / 2 + kept_back, 1U << 29));
        if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &half, sizeof half) != 0) {
            ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof half);  // the kernel doubles it
        }
    }
    return std::max<std::size_t>(size(), kept_back) - kept_back;
}

/// Waits until a receiver listens at `text`, then connects; the descriptor is blocking. Errors:
/// timed_out (nobody came), not_found (the directory), denied, incompatible (a socket of another
/// kind), invalid_argument.
[[nodiscard]] inline result<unique_fd> reach(const std::string& text, socket_kind kind,
                                             time_point until, diagnostics& why) {
    const bool abstract = text.starts_with('@');
    const socket_path path(text);
    socket_name name;
    unique_fd directory;
    if (abstract) {
        if (text.size() < 2 || !name.assign(text)) {
            return why.fail(errc::invalid_argument, "an abstract name has 1 to " +
                                                        std::to_string(socket_name::bytes_max - 1) +
                                                        " bytes: '" + text + "'");
        }
    } else {
        if (auto ok = path.check(why); !ok) return ok.error();
        auto opened = path.open_directory(O_PATH, why);
        if (!opened) return opened.error();
        directory = std::move(*opened);
        name = path.name(directory.get());
    }
    unique_fd fd(::socket(AF_UNIX, kernel_type(kind) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return why.fail(last_error(), explain("making a socket", errno));
    for (backoff pause;;) {
        if (::connect(fd.get(), name.get(), name.length) == 0) break;
        const int number = errno;
        struct stat s {};
        switch (number) {
            case ENOENT:
            case EAGAIN:
            case EINTR: break;
            case ECONNREFUSED:
                if (!abstract && ::fstatat(directory.get(), path.file.c_str(), &s, 0) == 0 &&
                    !S_ISSOCK(s.st_mode)) {
                    return why.fail(errc::invalid_argument,
                                    "'" + text + "' is no socket; is the address right?");
                }
                break;
            case EPROTOTYPE:
                return why.fail(errc::incompatible, "the receiver at '" + text + "' is no " +
                                                        std::string(to_text(kind)) +
                                                        " socket; give both ends the same ?type=");
            case EACCES:
            case EPERM:
                return why.fail(errc::denied,
                                explain("connecting to '" + text + "'", number) +
                                    "; a sender needs write permission on the receiver's socket: "
                                    "open the receiver with ?mode=666, or 660 and a common group");
            default: return why.fail(from_errno(number), explain("reaching " + text, number));
        }
        if (auto r = pause.sleep(until); !r) {
            return why.fail(r.error(),
                            "nobody receives at '" + text + "': " +
                                (number == EAGAIN ? "its queue of connections is full"
                                 : abstract       ? "start the receiver, or wait longer; an "
                                                    "abstract name is seen only within its network "
                                                    "namespace: across containers use a path"
                                                  : "start the receiver, or wait longer"));
        }
    }
    ::fcntl(fd.get(), F_SETFL, 0);
    return fd;
}

/// Compares the type that the receiver's name tells with the sender's.
[[nodiscard]] inline result<void> check_told_type(int fd, const message_type& own, framing frames,
                                                  const std::string& text, diagnostics& why) {
    const told_type told = type_behind(fd);
    const bool framed = frames == framing::parley;
    if (told.what == told_type::nothing) return {};
    if ((told.what == told_type::a_type) != framed) {
        return why.fail(errc::incompatible, "the receiver at '" + text + "' " +
                                                (framed ? "takes bare bytes (frame=none), this "
                                                          "sender writes frames"
                                                        : "wants frames, this sender writes bare "
                                                          "bytes (frame=none)"));
    }
    if (framed && !accepts({told.fingerprint, told.description}, own.fingerprint)) {
        return why.fail(errc::incompatible, type_mismatch(told.description, own.description));
    }
    return {};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
