// SPDX-License-Identifier: MIT
// Handing open descriptors to another process: a memfd of frames, a device, the segment of a
// channel. One directory that both processes see is all they share.
#pragma once

#include <parley/detail/ancillary.hpp>
#include <parley/transport/uds.hpp>

#include <string>
#include <utility>

namespace parley {
inline namespace v1 {

namespace detail {

inline constexpr message_type descriptor_type{0x726f'7470'6972'6373, "an open descriptor"};

}  // namespace detail

/// Where a process hands descriptors out, at a Unix domain name, each to whoever comes next and is
/// let in by `allow`.
///
///     auto in = parley::open_receiver<frame>(parley::shm{}).value();            // no name at all
///     auto desk = parley::open_descriptor_desk(parley::uds{"/run/shared/cam"}).value();
///     desk.give(parley::shm::from(in.address(), why)->fd, 5s).value();
///
///     int fd = parley::take_descriptor(parley::uds{"/run/shared/cam"}).value(); // another process
///     auto out = parley::open_sender<frame>(parley::shm{fd}).value();
///
/// Thread safety: one thread at a time. Blocking: `give` waits for a taker until the deadline.
/// Lifetime: the descriptor given is the giver's as before; the taker has one of its own.
class descriptor_desk {
public:
    /// See open_descriptor_desk.
    explicit descriptor_desk(detail::uds_door d) noexcept : door_(std::move(d)) {}

    /// Gives `fd` to the next one who comes; returns who that is. Errors: timed_out, closed;
    /// invalid_argument: fd is not open; peer_lost: the taker went away.
    [[nodiscard]] result<peer_id> give(int fd, deadline d = never) {
        if (::fcntl(fd, F_GETFD) < 0) return errc::invalid_argument;
        for (;;) {
            if (door_.descriptor() < 0) return errc::closed;
            if (auto r = detail::wait_for(door_.descriptor(), POLLIN, d.at()); !r) return r.error();
            const detail::unique_fd taker(
                ::accept4(door_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!taker) {
                if (detail::accept_goes_on(errno) || errno == EINTR) continue;
                return detail::last_error();
            }
            if (!door_.admits(taker.get())) {
                detail::answer_with_hello(taker.get(), detail::descriptor_type,
                                          frame::answer::denied);
                continue;
            }
            std::byte hello[frame::hello_bytes_max];
            const auto n = frame::write_hello(hello, detail::descriptor_type, 0,
                                              static_cast<std::uint32_t>(::getpid()));
            if (detail::send_with_descriptor(taker.get(), hello, n, fd,
                                             MSG_NOSIGNAL | MSG_DONTWAIT) !=
                static_cast<ssize_t>(n)) {
                return errc::peer_lost;
            }
            return detail::credentials(taker.get());
        }
    }
    /// Readable while somebody waits at the desk.
    [[nodiscard]] int pollable() const noexcept { return door_.descriptor(); }
    /// Gives the name up.
    void close() noexcept { door_.close(); }

    descriptor_desk(descriptor_desk&&) noexcept = default;
    descriptor_desk& operator=(descriptor_desk&& other) noexcept {
        door_.close();
        door_ = std::move(other.door_);
        return *this;
    }
    ~descriptor_desk() { door_.close(); }

private:
    detail::uds_door door_;
};

/// Opens a desk, taking the name at once. Errors: those of a receiver at the address; unsupported
/// for datagrams.
[[nodiscard]] inline result<descriptor_desk> open_descriptor_desk(const uds& at, deadline d = never,
                                                                  diagnostics* why = nullptr) {
    diagnostics unasked;
    if (why == nullptr) why = &unasked;
    if (at.with.type == uds::datagram) {
        return why->fail(errc::unsupported,
                         "descriptors are handed out over a connection: "
                         "use a stream or seqpacket name");
    }
    auto opened = at.open_door({detail::descriptor_type, d.at(), why});
    if (!opened) return opened.error();
    return descriptor_desk(std::move(*opened));
}

/// Takes a descriptor from the desk at `at`, waiting for the desk, and then for its descriptor. It
/// is the caller's to close, and is marked close-on-exec. Errors: timed_out, denied (`allow`),
/// peer_lost (the desk went away), incompatible (something else receives there), those of a sender
/// at the address; out_of_resources: this process has no descriptor left.
[[nodiscard]] inline result<int> take_descriptor(const uds& at, deadline d = never,
                                                 diagnostics* why = nullptr) {
    diagnostics unasked;
    if (why == nullptr) why = &unasked;
    const time_point until = d.at();
    auto socket = detail::reach(at.name, at.with.type, until, *why);
    if (!socket) return socket.error();
    if (auto ok = detail::check_told_type(socket->get(), detail::descriptor_type, framing::parley,
                                          at.name, *why);
        !ok) {
        return ok.error();
    }
    if (auto r = detail::wait_for(socket->get(), POLLIN, until); !r) {
        return why->fail(r.error(), "nothing was handed out at '" + at.name + "' in time");
    }
    std::byte answer[frame::hello_bytes_max];
    iovec part = detail::part(answer, sizeof answer);
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    const auto n = detail::retried([&] { return ::recvmsg(socket->get(), &m, MSG_CMSG_CLOEXEC); });
    auto fd = n > 0 ? detail::descriptor_of(m) : detail::unique_fd();
    if (fd) return fd.release();
    if (n > 0 && (m.msg_flags & MSG_CTRUNC) != 0) {
        return why->fail(errc::out_of_resources,
                         "no descriptor is left here for the one that was handed out at '" +
                             at.name + "'; raise ulimit -n");
    }
    frame::hello h;
    const bool said =
        n > static_cast<ssize_t>(frame::header_bytes) &&
        frame::read_hello(bytes(answer, static_cast<std::size_t>(n)).subspan(frame::header_bytes),
                          h);
    if (said && h.what == frame::answer::denied) {
        return why->fail(errc::denied, std::string(frame::denied_words));
    }
    return why->fail(errc::peer_lost, "the desk at '" + at.name + "' went away");
}

}  // namespace v1
}  // namespace parley
