// SPDX-License-Identifier: MIT
// Two-way connections over stream and packet sockets of any family: a link, and the listener that
// accepts links.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/transport/duplex.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/stream_source.hpp>

#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// What both directions of a link need to know.
template <class Family>
struct link_options {
    stream_options out, in;
    Family family;
};

/// What accept(2) reports of a connection that ended, or of its way, before it was taken.
[[nodiscard]] constexpr bool accept_goes_on(int number) noexcept {
    switch (number) {
        case EAGAIN:
        case ECONNABORTED:
        case EPROTO:
        case ETIMEDOUT:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH: return true;
        default: return false;
    }
}

/// Both directions of one connection. Each has a descriptor of the socket, so that they may live
/// in different threads; closing out() shuts that direction down, which the other side sees.
///
/// `Family`, a value: types door, reader and writer; fit(fd, out) adjusts the options of a sink to
/// the socket, read_from(fd) and write_to(fd) make the two ends, who(fd) tells the other side.
template <class Family>
class socket_link {
public:
    using sink = stream_sink<typename Family::writer>;
    using source = stream_source<typename Family::reader>;

    [[nodiscard]] static result<socket_link> over(unique_fd socket, const duplex_request& r,
                                                  const uri& address, link_options<Family> o) {
        o.family.fit(socket.get(), o.out);
        unique_fd second(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
        if (!second) {
            return r.why->fail(last_error(), explain("a second descriptor of a link", errno));
        }
        const peer_id who = Family::who(socket.get());
        source in(o.family.read_from(std::move(second)), r.receives, address, o.in);
        sink out(o.family.write_to(std::move(socket)), r.sends, address, o.out);
        return socket_link(std::move(out), std::move(in), who);
    }

    [[nodiscard]] sink& out() noexcept { return out_; }
    [[nodiscard]] source& in() noexcept { return in_; }
    /// Who connected, or listened, as far as the kernel tells.
    [[nodiscard]] peer_id peer() const noexcept { return peer_; }
    result<void> close(time_point until) {
        auto r = out_.close(until);
        (void)in_.close(until);
        return r;
    }

private:
    socket_link(sink out, source in, const peer_id& who) noexcept
        : out_(std::move(out)), in_(std::move(in)), peer_(who) {}

    sink out_;
    source in_;
    peer_id peer_;
};

/// An address at which links are accepted. One thread at a time. Closing it, or its end, gives the
/// address up; links that were accepted go on.
template <class Family>
class socket_listener {
public:
    using link = socket_link<Family>;

    socket_listener(typename Family::door at, const duplex_request& r, uri address,
                    const link_options<Family>& o)
        : core_(std::make_unique<core>(std::move(at), r, std::move(address), o)) {
        core_->guard_against_fork();
    }

    /// Errors: would_block, out_of_resources (descriptors; those who wait go on waiting), closed.
    result<link> try_accept() {
        core& c = *core_;
        if (c.door.descriptor() < 0) return errc::closed;
        for (;;) {
            unique_fd fd(retried(
                [&] { return ::accept4(c.door.descriptor(), nullptr, nullptr, SOCK_CLOEXEC); }));
            if (!fd) {
                if (accept_goes_on(errno)) return errc::would_block;
                return c.why.fail(last_error(), explain("accepting at " + c.address.text(), errno));
            }
            if (!c.door.admits(fd.get())) {
                answer_with_hello(fd.get(), c.request.receives, frame::answer::denied);
                continue;
            }
            c.request.why = &c.why;
            return link::over(std::move(fd), c.request, c.address, c.options);
        }
    }
    result<void> wait(time_point until) {
        const int fd = core_->door.descriptor();
        return fd >= 0 ? wait_for(fd, POLLIN, until) : result<void>();
    }
    result<int> pollable() {
        if (core_->door.descriptor() < 0) return errc::closed;
        return core_->door.descriptor();
    }
    result<void> close(time_point) {
        core_->door.close();
        return {};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

private:
    struct core final : fork_sensitive {
        core(typename Family::door d, const duplex_request& r, uri a, const link_options<Family>& o)
            : door(std::move(d)), request(r), address(std::move(a)), options(o) {}
        ~core() override {
            unguard();
            door.close();
        }
        void in_forked_child() noexcept override { door.abandon(); }

        typename Family::door door;
        duplex_request request;
        uri address;
        link_options<Family> options;
        diagnostics why;
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
