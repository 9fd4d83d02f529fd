// SPDX-License-Identifier: MIT
// Two-way connections over Unix domain sockets: a link, and the listener that accepts links.
#pragma once

#include <parley/transport/duplex.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/uds_socket.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// What both directions of a link need to know.
struct link_options {
    stream_options out, in;
    std::size_t packet_bytes_max = 0;  ///< 0: a stream
};

/// Both directions of one connection. Each has a descriptor of the socket, so that they may live
/// in different threads; closing out() shuts that direction down, which the other side sees.
class uds_link {
public:
    using sink = stream_sink<socket_writer>;
    using source = stream_source<socket_reader>;

    [[nodiscard]] static result<uds_link> over(unique_fd socket, const duplex_request& r,
                                               const uri& address, link_options o) {
        if (o.packet_bytes_max != 0) {
            const std::size_t before = o.packet_bytes_max - o.in.message_bytes_max;
            const std::size_t room = room_for_packets(socket.get(), o.packet_bytes_max);
            o.out.message_bytes_max = std::min(o.out.message_bytes_max, room - before);
        }
        unique_fd second(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
        if (!second) {
            return r.why->fail(last_error(), explain("a second descriptor of a link", errno));
        }
        const peer_id who = credentials(socket.get());
        source in(socket_reader(std::move(second), o.packet_bytes_max), r.receives, address, o.in);
        sink out(socket_writer::of_link(std::move(socket)), r.sends, address, o.out);
        return uds_link(std::move(out), std::move(in), who);
    }

    [[nodiscard]] sink& out() noexcept { return out_; }
    [[nodiscard]] source& in() noexcept { return in_; }
    /// Who connected, or listened.
    [[nodiscard]] peer_id peer() const noexcept { return peer_; }
    result<void> close(time_point until) {
        auto r = out_.close(until);
        (void)in_.close(until);
        return r;
    }

private:
    uds_link(sink out, source in, const peer_id& who) noexcept
        : out_(std::move(out)), in_(std::move(in)), peer_(who) {}

    sink out_;
    source in_;
    peer_id peer_;
};

/// A bound name at which links are accepted. One thread at a time. Closing it, or its end, removes
/// the name; links that were accepted go on.
class uds_listener {
public:
    using link = uds_link;

    uds_listener(bound_socket at, const duplex_request& r, uri address, const link_options& o)
        : core_(std::make_unique<core>(std::move(at), r, std::move(address), o)) {
        core_->guard_against_fork();
    }

    /// Errors: would_block, out_of_resources (descriptors; those who wait go on waiting), closed.
    result<link> try_accept() {
        core& c = *core_;
        if (!c.at.fd) return errc::closed;
        unique_fd fd(
            retried([&] { return ::accept4(c.at.fd.get(), nullptr, nullptr, SOCK_CLOEXEC); }));
        if (!fd) {
            if (errno == EAGAIN || errno == ECONNABORTED) return errc::would_block;
            return c.why.fail(last_error(), explain("accepting at " + c.address.text(), errno));
        }
        c.request.why = &c.why;
        return uds_link::over(std::move(fd), c.request, c.address, c.options);
    }
    result<void> wait(time_point until) {
        return core_->at.fd ? wait_for(core_->at.fd.get(), POLLIN, until) : result<void>();
    }
    result<int> pollable() {
        if (!core_->at.fd) return errc::closed;
        return core_->at.fd.get();
    }
    result<void> close(time_point) {
        core_->shut(true);
        return {};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

private:
    struct core final : fork_sensitive {
        core(bound_socket s, const duplex_request& r, uri a, const link_options& o)
            : at(std::move(s)), request(r), address(std::move(a)), options(o) {}
        ~core() override {
            unguard();
            shut(true);
        }
        void in_forked_child() noexcept override { shut(false); }
        void shut(bool in_order) noexcept {
            in_order ? at.name.remove() : at.name.abandon();
            at.fd.reset();
        }

        bound_socket at;
        duplex_request request;
        uri address;
        link_options options;
        diagnostics why;
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
