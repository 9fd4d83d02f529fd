// SPDX-License-Identifier: MIT
// Anonymous pipes: between a parent and its children, across fork and exec.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/transport.hpp>

#include <limits.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {

/// How messages lie on a stream: with parley's headers, or as bare bytes for foreign programs.
using detail::framing;

/// The address of a pipe. `pipe{}` is a new one, for make_channel; `pipe{3}`, `pipe:?fd=3`, is the
/// end that this process inherited as descriptor 3.
///
///     auto [tx, rx] = parley::make_channel<tick>(parley::pipe{}).value();
///     if (fork() == 0) { rx.close(); tx.send({7, 99.5}).value(); _exit(0); }
///     tx.close();  use(rx.receive().value());
///
/// Thread safety: as any end, one thread at a time; sender and receiver are independent.
/// Blocking: a send without deadline is one write(2), a receive one read(2).
/// Errors of open: invalid_argument (no descriptor, not a pipe), out_of_resources (descriptors).
/// The death of the other side shows as soon as the kernel closes its end; a child that was forked
/// without fork handlers (a bare clone(2)) and holds a copy hides it.
struct pipe {
    struct options {
        /// Of the kernel's buffer. 0: 256 KiB where the kernel grants it, else its own default.
        std::size_t capacity_bytes = 0;
        std::size_t message_bytes_max = 64 << 20;  ///< longer messages are refused
        framing frame = framing::parley;
    };

    int fd = -1;  ///< an inherited descriptor, or -1
    options with = {};

    class writer;
    class reader;
    using sink = detail::stream_sink<writer>;
    using source = detail::stream_source<reader>;

    static constexpr std::string_view scheme = "pipe";

    pipe() = default;
    explicit pipe(int inherited) : fd(inherited) {}
    explicit pipe(options o) : with(o) {}
    pipe(int inherited, options o) : fd(inherited), with(o) {}

    [[nodiscard]] static result<pipe> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    [[nodiscard]] result<both_ends<sink, source>> open_both(const open_request& request) const;

    friend bool operator==(const pipe& a, const pipe& b) noexcept {
        return a.fd == b.fd && a.with.capacity_bytes == b.with.capacity_bytes &&
               a.with.message_bytes_max == b.with.message_bytes_max && a.with.frame == b.with.frame;
    }

private:
    [[nodiscard]] result<detail::unique_fd> inherited_end(diagnostics& why) const;
    [[nodiscard]] detail::stream_options stream(bool used_at_once) const {
        return {with.message_bytes_max, with.frame, used_at_once, {}, 1};
    }
};

/// Writes into a pipe. Its descriptor stays blocking, so that a send without deadline is one
/// system call; a second, non-blocking description of the same pipe serves the other calls.
class pipe::writer {
public:
    explicit writer(detail::unique_fd fd) noexcept : fd_(std::move(fd)) {}

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    [[gnu::always_inline]] ssize_t write(const std::byte* from, std::size_t n,
                                         bool may_block) noexcept {
        if (may_block) return ::write(fd_.get(), from, n);
        return write_now(from, n);
    }

    /// Two parts behind one another, in one call.
    ssize_t write(const std::byte* head, std::size_t head_n, const std::byte* from, std::size_t n,
                  bool may_block) noexcept {
        const iovec parts[] = {detail::part(head, head_n), detail::part(from, n)};
        if (may_block) return ::writev(fd_.get(), parts, 2);
        if (!now_ && !no_proc_) reopen();
        if (!now_) return errno = EAGAIN, -1;
        return ::writev(now_.get(), parts, 2);
    }

    ssize_t write_now(const std::byte* from, std::size_t n) noexcept {
        if (!now_ && !no_proc_) reopen();
        if (now_) return ::write(now_.get(), from, n);
        // Without /proc: a pipe that polls writable takes PIPE_BUF bytes without sleeping.
        if (!detail::wait_for(fd_.get(), POLLOUT, expired)) return errno = EAGAIN, -1;
        return ::write(fd_.get(), from, std::min<std::size_t>(n, PIPE_BUF));
    }

    error_code verdict(const message_type&, diagnostics& why) const {
        return why.fail(errc::peer_lost,
                        "the receiver's end of the pipe is closed: it died, closed, or refused the "
                        "type of this sender");
    }
    [[nodiscard]] bool handed_over() const noexcept { return handed_over_; }
    /// Lets the descriptor survive exec, for another program that opens `pipe:?fd=n`; this end is
    /// then to be closed here, unused.
    result<int> hand_over() noexcept {
        if (::fcntl(fd_.get(), F_SETFD, 0) != 0) return detail::last_error();
        handed_over_ = true;
        return fd_.get();
    }
    void close() noexcept {
        fd_.reset();
        now_.reset();
    }

private:
    void reopen() noexcept {
        char path[32];
        std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd_.get());
        now_.reset(::open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        no_proc_ = !now_;
    }

    detail::unique_fd fd_;
    detail::unique_fd now_;
    bool no_proc_ = false;
    bool handed_over_ = false;
};

/// Reads from a pipe that nobody else reads: what polls readable does not block.
class pipe::reader {
public:
    explicit reader(detail::unique_fd fd) noexcept : fd_(std::move(fd)) {}

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] static constexpr std::size_t packet_bytes_max() noexcept { return 0; }

    ssize_t read(std::byte* to, std::size_t n, detail::reading how) noexcept {
        if (how == detail::reading::at_once) {
            if (!detail::wait_for(fd_.get(), POLLIN, expired)) return errno = EAGAIN, -1;
        }
        return ::read(fd_.get(), to, n);
    }
    ssize_t read(const iovec* parts, int n, detail::reading how) noexcept {
        if (how == detail::reading::at_once) {
            if (!detail::wait_for(fd_.get(), POLLIN, expired)) return errno = EAGAIN, -1;
        }
        return ::readv(fd_.get(), parts, n);
    }
    void refuse(const message_type&) noexcept {}
    result<int> hand_over() noexcept {
        if (::fcntl(fd_.get(), F_SETFD, 0) != 0) return detail::last_error();
        return fd_.get();
    }
    void close() noexcept { fd_.reset(); }

private:
    detail::unique_fd fd_;
};

inline result<pipe> pipe::from(const uri& text, diagnostics& why) {
    pipe at;
    uri_reader r(text, why);
    if (!r.body().empty()) r.fail_body("a pipe has no name; wants pipe:?fd=n");
    r.number("fd", at.fd, 0, INT_MAX);
    r.number("capacity_bytes", at.with.capacity_bytes, 4096, std::size_t{1} << 30);
    r.number("message_bytes_max", at.with.message_bytes_max, 1, UINT32_MAX);
    r.choice("frame", at.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri pipe::to_uri() const {
    const options usual;
    uri_writer w(scheme);
    if (fd >= 0) w.option("fd", static_cast<std::uint64_t>(fd));
    if (with.capacity_bytes != usual.capacity_bytes)
        w.option("capacity_bytes", with.capacity_bytes);
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.frame == framing::none) w.option("frame", "none");
    return w.done();
}

inline result<detail::unique_fd> pipe::inherited_end(diagnostics& why) const {
    if (fd < 0) {
        return why.fail(errc::invalid_argument,
                        "pipe{} names no descriptor: make both ends with make_channel, or inherit "
                        "one and open pipe:?fd=n");
    }
    const int flags = ::fcntl(fd, F_GETFD);
    if (flags < 0) {
        return why.fail(errc::invalid_argument,
                        detail::explain("descriptor " + std::to_string(fd) +
                                            " is not open here (was it marked to survive exec?)",
                                        errno));
    }
    ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    detail::ignore_sigpipe_if_default();
    return detail::unique_fd(fd);
}

inline result<pipe::sink> pipe::open_sink(const open_request& request) const {
    auto end = inherited_end(*request.why);
    if (!end) return end.error();
    return sink(writer(std::move(*end)), request.type, to_uri(), stream(true));
}

inline result<pipe::source> pipe::open_source(const open_request& request) const {
    auto end = inherited_end(*request.why);
    if (!end) return end.error();
    return source(reader(std::move(*end)), request.type, to_uri(), stream(true));
}

inline result<both_ends<pipe::sink, pipe::source>> pipe::open_both(
    const open_request& request) const {
    int fds[2];
    if (fd >= 0) {
        return request.why->fail(errc::invalid_argument, "a new pipe names no descriptor");
    }
    if (::pipe2(fds, O_CLOEXEC) != 0) {
        return request.why->fail(detail::last_error(), detail::explain("making a pipe", errno));
    }
    detail::unique_fd in(fds[0]), out(fds[1]);
    if (!detail::size_pipe(out.get(), with.capacity_bytes)) {
        return request.why->fail(detail::last_error(),
                                 detail::size_pipe_failed(with.capacity_bytes, errno));
    }
    detail::ignore_sigpipe_if_default();
    const pipe in_at(in.get(), with), out_at(out.get(), with);
    return both_ends<sink, source>{
        sink(writer(std::move(out)), request.type, out_at.to_uri(), stream(false)),
        source(reader(std::move(in)), request.type, in_at.to_uri(), stream(false))};
}

}  // namespace v1
}  // namespace parley
