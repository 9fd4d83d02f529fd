// SPDX-License-Identifier: MIT
// Unix domain sockets: many senders, one receiver, by a name in the file system or an abstract one,
// or both ends at once across fork and exec.
#pragma once

#include <parley/transport/hub.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/transport.hpp>
#include <parley/transport/uds_datagram.hpp>
#include <parley/transport/uds_link.hpp>
#include <parley/transport/uds_socket.hpp>
#include <parley/transport/uds_source.hpp>

#include <limits.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// The address of a Unix domain socket: a path, an abstract name, an inherited end.
///
///     auto in  = parley::open_receiver<tick>(parley::uds{"/run/app/ticks"}).value();
///     auto out = parley::open_sender<tick>(parley::uds{"/run/app/ticks"}).value();    // waits
///     parley::uds{"@ticks", {.type = parley::uds::datagram}};   // unix://@ticks?type=datagram
///     auto [tx, rx] = parley::make_channel<tick>(parley::uds{}).value();               // a pair
///
/// The receiver owns the name: it makes it, takes over that of a dead one, refuses one that lives,
/// and removes it on close; should it be killed, the next receiver or the last sender's goodbye
/// removes it. The file has mode 0600 unless `mode` says otherwise, so only the same user may send.
/// Abstract names have no permissions: whoever shares the network namespace may send, unless
/// `allow` names those who may.
///
/// Types of both ends are compared when a sender opens a path. With an abstract name or a pair the
/// receiver answers a wrong type, and a later send or the close says `incompatible`.
///
/// Thread safety: as any end, one thread at a time; sender and receiver are independent.
/// Blocking: a send without deadline is one send(2); on a pair, a receive is one recv(2).
/// Socket activation: a receiver takes the socket of its name that a service manager made for it
/// (LISTEN_FDS), and leaves the name to the manager.
/// Errors of open: invalid_argument (name), not_found (directory), denied (permissions), in_use (a
/// live receiver, or a file that is no socket), incompatible (type, or kind of socket), timed_out
/// (nobody receives there), out_of_resources (descriptors).
struct uds {
    using kind = detail::socket_kind;
    static constexpr kind stream = kind::stream;
    static constexpr kind seqpacket = kind::seqpacket;
    static constexpr kind datagram = kind::datagram;

    struct options {
        kind type = kind::stream;
        /// Longer messages are refused. 0: 64 MiB on streams; with packets what fits into the
        /// kernel's usual send buffer, some 200 KiB. More makes a sender ask for a larger buffer
        /// (limited by /proc/sys/net/core/wmem_max); limits() tells what came of it.
        std::size_t message_bytes_max = 0;
        /// At least. 0: 512 KiB where the kernel grants it, so that several large messages are on
        /// their way at once.
        std::size_t send_buffer_bytes = 0;
        framing frame = framing::parley;
        parley::allow allow = {};              ///< by the credentials that the kernel vouches for
        parley::permissions permissions = {};  ///< of the receiver's name in the file system

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;  ///< a path, or "@" and an abstract name; empty: a pair, or `fd`
    options with = {};
    int fd = -1;  ///< an inherited end of a pair, or -1

    using sink = detail::stream_sink<detail::socket_writer>;
    using source = detail::uds_source;
    using link = detail::uds_link;
    using listener = detail::uds_listener;

    static constexpr std::string_view scheme = "unix";

    uds() = default;
    explicit uds(options o) : with(o) {}
    explicit uds(std::string at) : name(std::move(at)) {}
    explicit uds(const char* at) : name(at) {}
    uds(std::string at, options o) : name(std::move(at)), with(o) {}
    explicit uds(int inherited) : fd(inherited) {}
    uds(int inherited, options o) : with(o), fd(inherited) {}

    [[nodiscard]] static result<uds> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    [[nodiscard]] result<both_ends<sink, source>> open_both(const open_request& request) const;
    /// Two ways over one connection each; not for datagrams.
    [[nodiscard]] result<listener> open_listener(const duplex_request& request) const;
    [[nodiscard]] result<link> open_link(const duplex_request& request) const;

    /// The name taken, for what stands on it.
    [[nodiscard]] result<detail::uds_door> open_door(const open_request& request) const;

    friend bool operator==(const uds&, const uds&) = default;

private:
    [[nodiscard]] result<detail::unique_fd> inherited_end(diagnostics& why) const;
    [[nodiscard]] result<void> must_be_named(diagnostics& why) const;
    [[nodiscard]] result<detail::bound_socket> take(const open_request& request) const;
    using links = detail::link_options<detail::uds_family>;
    [[nodiscard]] result<links> link_options(diagnostics& why) const;
    [[nodiscard]] result<sink> sink_over(detail::unique_fd socket, kind k,
                                         const open_request& request, uri address,
                                         bool used_at_once) const;
    [[nodiscard]] source source_over(detail::unique_fd socket, kind k, const open_request& request,
                                     uri address, bool used_at_once) const;
    static constexpr std::size_t usual_send_buffer_bytes = 512 << 10;
    [[nodiscard]] std::size_t header_bytes(kind k) const noexcept;
    [[nodiscard]] std::size_t received_bytes_max(kind k) const noexcept;
    [[nodiscard]] detail::stream_options stream_options(std::size_t message_bytes_max,
                                                        bool used_at_once) const {
        return {message_bytes_max,
                with.frame,
                used_at_once,
                {},
                name.empty() ? 1 : std::numeric_limits<std::size_t>::max()};
    }
    static kind kind_of(int socket) noexcept;
};

inline result<uds> uds::from(const uri& text, diagnostics& why) {
    uds at;
    uri_reader r(text, why);
    at.name = r.body();
    r.number("fd", at.fd, 0, INT_MAX);
    r.choice(
        "type", at.with.type,
        {{"stream", kind::stream}, {"seqpacket", kind::seqpacket}, {"datagram", kind::datagram}});
    r.number("message_bytes_max", at.with.message_bytes_max, 1, UINT32_MAX);
    r.number("send_buffer_bytes", at.with.send_buffer_bytes, 1, std::size_t{1} << 30);
    r.choice("frame", at.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    detail::read_permissions(r, at.with.permissions);
    detail::read_allow(r, at.with.allow);
    if (!at.name.empty() && at.fd >= 0) {
        r.fail_body(
            "wants a path as in unix:///run/x, an abstract name as in unix://@x, or an inherited "
            "end as in unix:?fd=n: not a name and an end");
    }
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri uds::to_uri() const {
    const options usual;
    uri_writer w = name.empty() ? uri_writer(scheme) : uri_writer(scheme, name);
    if (fd >= 0) w.option("fd", static_cast<std::uint64_t>(fd));
    if (with.type != usual.type) w.option("type", detail::to_text(with.type));
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.send_buffer_bytes != usual.send_buffer_bytes) {
        w.option("send_buffer_bytes", with.send_buffer_bytes);
    }
    if (with.frame == framing::none) w.option("frame", "none");
    detail::write_permissions(w, with.permissions);
    detail::write_allow(w, with.allow);
    return w.done();
}

inline uds::kind uds::kind_of(int socket) noexcept {
    int type = 0;
    socklen_t n = sizeof type;
    ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &n);
    return type == SOCK_SEQPACKET ? kind::seqpacket
           : type == SOCK_DGRAM   ? kind::datagram
                                  : kind::stream;
}

/// What parley puts before a message of a packet.
inline std::size_t uds::header_bytes(kind k) const noexcept {
    if (with.frame == framing::none) return 0;
    return frame::header_bytes + (k == kind::datagram ? detail::socket_writer::tag_bytes : 0);
}

/// A receiver cannot see the sender's buffer, so it goes by what is usual on this system.
inline std::size_t uds::received_bytes_max(kind k) const noexcept {
    if (with.message_bytes_max != 0) return with.message_bytes_max;
    if (k == kind::stream) return 64 << 20;
    const detail::unique_fd any(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return detail::room_for_packets(any.get(), 0) - header_bytes(k);
}

inline result<detail::unique_fd> uds::inherited_end(diagnostics& why) const {
    const int flags = ::fcntl(fd, F_GETFD);
    int domain = 0;
    socklen_t n = sizeof domain;
    const std::string text = "descriptor " + std::to_string(fd);
    if (flags < 0) {
        return why.fail(
            errc::invalid_argument,
            detail::explain(text + " is not open here (was it marked to survive exec?)", errno));
    }
    if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) != 0 || domain != AF_UNIX) {
        return why.fail(errc::invalid_argument, text + " is no Unix domain socket");
    }
    if (kind_of(fd) == kind::datagram) {
        return why.fail(errc::unsupported,
                        text +
                            " is a datagram socket, which cannot tell that the other end is "
                            "gone; inherit a stream or seqpacket pair");
    }
    ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    const int status = ::fcntl(fd, F_GETFL);
    if ((status & O_NONBLOCK) != 0) ::fcntl(fd, F_SETFL, status & ~O_NONBLOCK);
    return detail::unique_fd(fd);
}

inline result<void> uds::must_be_named(diagnostics& why) const {
    if (!name.empty()) return {};
    return why.fail(errc::invalid_argument,
                    "unix: names nothing: give a path or an @abstract name, make both ends with "
                    "make_channel, or inherit one and open unix:?fd=n");
}

inline result<uds::sink> uds::sink_over(detail::unique_fd socket, kind k,
                                        const open_request& request, uri address,
                                        bool used_at_once) const {
    std::size_t most = received_bytes_max(k);
    const std::size_t before = header_bytes(k);
    const std::size_t room = detail::room_for_packets(
        socket.get(), std::max(with.send_buffer_bytes, k == kind::stream ? 0 : most + before));
    if (k != kind::stream) most = std::min(most, room - before);
    // Several large messages should be on their way at once; what a packet may hold stays as it is.
    if (with.send_buffer_bytes == 0) {
        (void)detail::room_for_packets(socket.get(), usual_send_buffer_bytes);
    }
    auto how = stream_options(most, used_at_once);
    const bool path = !name.empty() && name.front() != '@';
    detail::socket_writer writer(std::move(socket), path ? name : std::string());
    if (k == kind::datagram && with.frame == framing::parley) {
        how.tag.resize(detail::socket_writer::tag_bytes);
        store_le(reinterpret_cast<std::byte*>(how.tag.data()), request.type.fingerprint);
        if (auto r = writer.open_line(); !r) {
            return request.why->fail(r.error(), detail::explain("making a socket pair", errno));
        }
    }
    return sink(std::move(writer), request.type, std::move(address), std::move(how));
}

inline uds::source uds::source_over(detail::unique_fd socket, kind k, const open_request& request,
                                    uri address, bool used_at_once) const {
    const std::size_t most = received_bytes_max(k);
    const std::size_t packet =
        k == kind::stream ? 0 : std::max(most + header_bytes(k), frame::hello_bytes_max);
    return source(detail::stream_source<detail::socket_reader>(
        detail::socket_reader(std::move(socket), packet), request.type, std::move(address),
        stream_options(most, used_at_once)));
}

inline result<uds::sink> uds::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    if (fd >= 0) {
        auto end = inherited_end(why);
        if (!end) return end.error();
        const kind k = kind_of(end->get());
        return sink_over(std::move(*end), k, request, to_uri(), true);
    }
    if (auto ok = must_be_named(why); !ok) return ok.error();
    auto end = detail::reach(name, with.type, request.until, why);
    if (!end) return end.error();
    if (auto ok = detail::check_told_type(end->get(), request.type, with.frame, name, why); !ok) {
        return ok.error();
    }
    return sink_over(std::move(*end), with.type, request, to_uri(), true);
}

inline result<detail::bound_socket> uds::take(const open_request& request) const {
    const auto is_ours = [this](const sockaddr& at, socklen_t n) {
        detail::socket_name own;
        return own.assign(name) && n == own.length && std::memcmp(&at, own.get(), n) == 0;
    };
    // The name of a socket that a service manager made is the manager's.
    auto given = detail::activated_socket(detail::kernel_type(with.type), is_ours);
    if (given) return detail::bound_socket{std::move(given), {}};
    const detail::claim c{with.type, with.permissions,
                          with.frame == framing::parley ? &request.type : nullptr,
                          detail::fresh_id(), request.until};
    return name.front() == '@' ? detail::take_abstract(name, c, *request.why)
                               : detail::take_name(detail::socket_path(name), c, *request.why);
}

inline result<detail::uds_door> uds::open_door(const open_request& request) const {
    if (auto ok = must_be_named(*request.why); !ok) return ok.error();
    auto whom = detail::known_allow::of(with.allow, *request.why);
    if (!whom) return whom.error();
    auto at = take(request);
    if (!at) return at.error();
    return detail::uds_door(std::move(*at), with.type == kind::seqpacket, std::move(*whom));
}

inline result<uds::source> uds::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    if (fd >= 0) {
        auto end = inherited_end(why);
        if (!end) return end.error();
        const kind k = kind_of(end->get());
        return source_over(std::move(*end), k, request, to_uri(), true);
    }
    auto door = open_door(request);
    if (!door) return door.error();
    const auto how = stream_options(received_bytes_max(with.type), true);
    if (with.type == kind::datagram) {
        auto made =
            detail::datagram_source::open(std::move(*door), request.type, to_uri(), how, why);
        if (!made) return made.error();
        return source(std::move(*made));
    }
    auto made = source::hub::open(std::move(*door), request.type, to_uri(), how, why);
    if (!made) return made.error();
    return source(std::move(*made));
}

/// Both ends of a socket pair. One of datagrams is made as seqpacket: packets too, but the end of
/// one side shows at the other.
inline result<both_ends<uds::sink, uds::source>> uds::open_both(const open_request& request) const {
    int fds[2];
    if (fd >= 0 || !name.empty()) {
        return request.why->fail(errc::invalid_argument, "a new pair has no name: uds{}");
    }
    uds at = *this;
    if (at.with.type == kind::datagram) at.with.type = kind::seqpacket;
    const kind k = at.with.type;
    if (::socketpair(AF_UNIX, detail::kernel_type(k) | SOCK_CLOEXEC, 0, fds) != 0) {
        return request.why->fail(detail::last_error(),
                                 detail::explain("making a socket pair", errno));
    }
    detail::unique_fd in(fds[0]), out(fds[1]);
    const uds in_at(in.get(), at.with), out_at(out.get(), at.with);
    auto sender = at.sink_over(std::move(out), k, request, out_at.to_uri(), false);
    if (!sender) return sender.error();
    return both_ends<sink, source>{
        std::move(*sender), at.source_over(std::move(in), k, request, in_at.to_uri(), false)};
}

inline result<uds::links> uds::link_options(diagnostics& why) const {
    if (auto ok = must_be_named(why); !ok) return ok.error();
    const kind k = with.type;
    if (k == kind::datagram) {
        return why.fail(errc::unsupported,
                        "datagrams make no connection to link over; use stream or seqpacket");
    }
    const std::size_t most = received_bytes_max(k);
    auto how = stream_options(most, true);
    how.writers_max = 1;
    const std::size_t packet =
        k == kind::stream ? 0 : std::max(most + header_bytes(k), frame::hello_bytes_max);
    return links{how, how, {packet, packet == 0 ? 0 : packet - how.message_bytes_max}};
}

inline result<uds::listener> uds::open_listener(const duplex_request& request) const {
    auto how = link_options(*request.why);
    if (!how) return how.error();
    auto door = open_door({request.receives, request.until, request.why});
    if (!door) return door.error();
    return listener(std::move(*door), request, to_uri(), *how);
}

inline result<uds::link> uds::open_link(const duplex_request& request) const {
    diagnostics& why = *request.why;
    auto how = link_options(why);
    if (!how) return how.error();
    auto end = detail::reach(name, with.type, request.until, why);
    if (!end) return end.error();
    if (auto ok = detail::check_told_type(end->get(), request.sends, with.frame, name, why); !ok) {
        return ok.error();
    }
    return link::over(std::move(*end), request, to_uri(), *how);
}

}  // namespace v1
}  // namespace parley
