// SPDX-License-Identifier: MIT
// TCP: many senders, one receiver, between hosts.
#pragma once

#include <parley/transport/hub.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/tcp_address.hpp>
#include <parley/transport/tcp_open.hpp>
#include <parley/transport/tcp_socket.hpp>
#include <parley/transport/transport.hpp>

#include <limits.h>

#include <limits>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// How messages lie on a stream: with parley's headers, or as bare bytes for foreign programs.
using detail::framing;

/// The address of a TCP port, over IPv4 or IPv6.
///
///     auto in  = parley::open_receiver<tick>(parley::tcp{"192.0.2.1:7000"}).value();
///     auto out = parley::open_sender<tick>(parley::tcp{"192.0.2.1:7000"}).value();    // waits
///     auto any = parley::open_receiver<tick>(parley::tcp{":0"}).value();  // every address of
///     any.address();                             // this host, a free port: tcp://:43211
///     parley::tcp{"[::1]:7000", {.no_delay = false}};          // tcp://[::1]:7000?no_delay=off
///
/// The receiver listens at the port; senders look for it, whoever starts first, and try again at
/// most every 200 ms. Choose a port below those that the kernel gives to connections by itself
/// (/proc/sys/net/ipv4/ip_local_port_range, usually from 32768), or 0. Nothing is encrypted, and
/// whoever reaches the port may send: use it on a network that you trust.
///
/// A peer's death is told at once; that of its host, or of the way to it, after
/// `keep_alive_idle_s + keep_alive_interval_s * keep_alive_count` (25 s), to a receiver that
/// waits, and to a sender whose next send or wait finds it so. While bytes lie unacknowledged and
/// the sender waits for room, that time starts at the first repetition, at most 2 minutes later.
/// Whoever polls a sender's pollable() instead is told by the kernel alone, after some 15 minutes
/// or `user_timeout_ms`. A connection that was lost is not made again: what was under way would
/// be lost in silence. Open a new sender, and send again what matters.
///
/// What a sender committed and close() has handed to the kernel is delivered unless one of the
/// hosts or the way between them fails; the receiver is then told `peer_lost`.
///
/// Types meet at the first read: the receiver answers a wrong type, and a later send or the close
/// says `incompatible`.
///
/// Thread safety: as any end, one thread at a time; sender and receiver are independent.
/// A sender that comes while another one keeps the receiver busy is let in within some 10 ms.
/// Blocking: a host that is no number is looked up by open, which blocks as long as the system's
/// resolver does, whatever the deadline. A send without deadline is one send(2) if there is room.
/// Errors of open: invalid_argument (the text; no address of this host), not_found (no such host),
/// in_use (the port), denied (a port below 1024, a firewall), timed_out (nobody receives there),
/// out_of_resources (descriptors); without a route, the system's own (ENETUNREACH).
struct tcp {
    struct options {
        std::size_t message_bytes_max = 64 << 20;  ///< longer messages are refused
        /// At most, of the kernel's buffers; 0: the kernel adjusts them.
        std::size_t send_buffer_bytes = 0, receive_buffer_bytes = 0;
        framing frame = framing::parley;
        bool no_delay = true;             ///< a short message is sent at once, not kept for another
        unsigned keep_alive_idle_s = 10;  ///< silence before the other host is asked; 0: never
        unsigned keep_alive_interval_s = 5;
        unsigned keep_alive_count = 3;
        /// TCP_USER_TIMEOUT: unacknowledged bytes are given up after so long, also if the other
        /// side lives but reads nothing. 0: not for that reason.
        unsigned user_timeout_ms = 0;

        friend bool operator==(const options&, const options&) = default;
    };

    std::string at;  ///< "host:port"
    options with = {};

    using sink = detail::stream_sink<detail::tcp_writer>;
    using source = detail::hub_source<detail::tcp_door>;
    using link = detail::tcp_link;
    using listener = detail::tcp_listener;

    static constexpr std::string_view scheme = "tcp";

    tcp() = default;
    explicit tcp(std::string host_and_port) : at(std::move(host_and_port)) {}
    explicit tcp(const char* host_and_port) : at(host_and_port) {}
    tcp(std::string host_and_port, options o) : at(std::move(host_and_port)), with(o) {}

    [[nodiscard]] static result<tcp> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    /// Two ways over one connection each.
    [[nodiscard]] result<listener> open_listener(const duplex_request& request) const;
    [[nodiscard]] result<link> open_link(const duplex_request& request) const;

    /// The port taken, for what stands on it; and a connection to it.
    [[nodiscard]] result<detail::tcp_door> open_door(const open_request& request) const;
    [[nodiscard]] result<detail::unique_fd> connected(time_point until, diagnostics& why) const;

    friend bool operator==(const tcp&, const tcp&) = default;

private:
    friend struct tls;
    static void read(uri_reader& r, tcp& out);
    void write(uri_writer& w) const;

    using links = detail::link_options<detail::tcp_family>;

    [[nodiscard]] result<detail::host_port> where(diagnostics& why) const;
    [[nodiscard]] result<detail::unique_fd> listening(diagnostics& why, tcp& actual) const;
    [[nodiscard]] detail::tcp_tuning tuning() const noexcept {
        return {with.no_delay,
                with.keep_alive_idle_s,
                with.keep_alive_interval_s,
                with.keep_alive_count,
                with.user_timeout_ms,
                with.send_buffer_bytes,
                with.receive_buffer_bytes};
    }
    [[nodiscard]] detail::stream_options stream(std::size_t writers_max) const {
        return {with.message_bytes_max, with.frame, true, {}, writers_max};
    }
    static constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();
};

inline void tcp::read(uri_reader& r, tcp& made) {
    made.at = r.body();
    r.number("message_bytes_max", made.with.message_bytes_max, 1, UINT32_MAX);
    r.number("send_buffer_bytes", made.with.send_buffer_bytes, 1, std::size_t{1} << 30);
    r.number("receive_buffer_bytes", made.with.receive_buffer_bytes, 1, std::size_t{1} << 30);
    r.choice("frame", made.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    r.choice("no_delay", made.with.no_delay, {{"on", true}, {"off", false}});
    r.number("keep_alive_idle_s", made.with.keep_alive_idle_s, 0, 32767);  // the kernel's limits
    r.number("keep_alive_interval_s", made.with.keep_alive_interval_s, 1, 32767);
    r.number("keep_alive_count", made.with.keep_alive_count, 1, 127);
    r.number("user_timeout_ms", made.with.user_timeout_ms, 0, INT_MAX);
    detail::host_port split;
    if (const auto wrong = split.assign(made.at); !wrong.empty()) r.fail_body(wrong);
}

inline result<tcp> tcp::from(const uri& text, diagnostics& why) {
    tcp made;
    uri_reader r(text, why);
    read(r, made);
    if (auto ok = r.finish(); !ok) return ok.error();
    return made;
}

inline void tcp::write(uri_writer& w) const {
    const options usual;
    const auto number = [&](std::string_view key, std::uint64_t value, std::uint64_t if_not) {
        if (value != if_not) w.option(key, value);
    };
    number("message_bytes_max", with.message_bytes_max, usual.message_bytes_max);
    number("send_buffer_bytes", with.send_buffer_bytes, usual.send_buffer_bytes);
    number("receive_buffer_bytes", with.receive_buffer_bytes, usual.receive_buffer_bytes);
    if (with.frame == framing::none) w.option("frame", "none");
    if (!with.no_delay) w.option("no_delay", "off");
    number("keep_alive_idle_s", with.keep_alive_idle_s, usual.keep_alive_idle_s);
    number("keep_alive_interval_s", with.keep_alive_interval_s, usual.keep_alive_interval_s);
    number("keep_alive_count", with.keep_alive_count, usual.keep_alive_count);
    number("user_timeout_ms", with.user_timeout_ms, usual.user_timeout_ms);
}

inline uri tcp::to_uri() const {
    uri_writer w(scheme, at);
    write(w);
    return w.done();
}

inline result<detail::host_port> tcp::where(diagnostics& why) const {
    detail::host_port split;
    if (auto wrong = split.assign(at); !wrong.empty()) {
        return why.fail(errc::invalid_argument, "the address '" + at + "' " + wrong);
    }
    return split;
}

/// `actual` becomes this address with the port that the kernel chose, if it was to choose one.
inline result<detail::unique_fd> tcp::listening(diagnostics& why, tcp& actual) const {
    auto split = where(why);
    if (!split) return split.error();
    const auto all = detail::resolve(*split, true, why);
    if (!all) return all.error();
    auto fd = detail::listen_at(*all, tuning(), why);
    if (!fd) return fd;
    actual = *this;
    if (split->port == 0) {
        split->port = detail::ip_address::of(fd->get(), &::getsockname).port();
        actual.at = split->text();
    }
    return fd;
}

inline result<detail::unique_fd> tcp::connected(time_point until, diagnostics& why) const {
    const auto split = where(why);
    if (!split) return split.error();
    if (split->port == 0) {
        return why.fail(errc::invalid_argument,
                        "port 0 lets a receiver choose one, which its address() tells; a sender "
                        "needs that one, not '" +
                            at + "'");
    }
    const auto all = detail::resolve(*split, false, why);
    if (!all) return all.error();
    return detail::reach(*all, at, tuning(), until, why);
}

inline result<tcp::sink> tcp::open_sink(const open_request& request) const {
    auto fd = connected(request.until, *request.why);
    if (!fd) return fd.error();
    return sink(detail::tcp_writer(std::move(*fd), tuning().silence_max()), request.type, to_uri(),
                stream(any_number));
}

inline result<tcp::source> tcp::open_source(const open_request& request) const {
    tcp actual;
    auto fd = listening(*request.why, actual);
    if (!fd) return fd.error();
    return source::open(detail::tcp_door(std::move(*fd)), request.type, actual.to_uri(),
                        stream(any_number), *request.why);
}

inline result<detail::tcp_door> tcp::open_door(const open_request& request) const {
    tcp actual;
    auto fd = listening(*request.why, actual);
    if (!fd) return fd.error();
    return detail::tcp_door(std::move(*fd));
}

inline result<tcp::listener> tcp::open_listener(const duplex_request& request) const {
    tcp actual;
    auto fd = listening(*request.why, actual);
    if (!fd) return fd.error();
    return listener(detail::tcp_door(std::move(*fd)), request, actual.to_uri(),
                    links{stream(1), stream(1), {tuning().silence_max()}});
}

inline result<tcp::link> tcp::open_link(const duplex_request& request) const {
    auto fd = connected(request.until, *request.why);
    if (!fd) return fd.error();
    return link::over(std::move(*fd), request, to_uri(),
                      links{stream(1), stream(1), {tuning().silence_max()}});
}

}  // namespace v1
}  // namespace parley
