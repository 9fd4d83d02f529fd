// SPDX-License-Identifier: MIT
// UDP: many senders, one receiver, between hosts, without a connection and without a promise but
// the one that is named.
#pragma once

#include <parley/transport/udp_open.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using detail::framing;

/// The address of a UDP port, over IPv4 or IPv6.
///
///     const parley::udp at{"192.0.2.1:7001", parley::at_most_once{}};
///     auto in  = parley::open_receiver<tick>(at).value();
///     auto out = parley::open_sender<tick>(at).value();      // nobody need be there
///     out.send({7, 99.5}).value();
///     if (in.lost() > 0) resync();
///     parley::uri{"udp://[::1]:7001?delivery=at_most_once"};  // the same as text
///
/// Guarantee: an open without one is refused. With at_most_once each message arrives whole and
/// once, or not at all, in the order of its sender. One that comes behind a later one of its sender
/// is dropped and counts as lost; one that comes twice is dropped. `in.lost()` is how many of the
/// messages of each sender that was heard of did not come, from its first on, also those that it
/// sent before the receiver was there: what was sent is what was received and what was lost. What
/// was lost last is counted when a later message, or the goodbye, comes. Of more than 1024 senders
/// at once the one heard of longest ago is forgotten, and if it speaks again counts from its first.
///
/// Messages are lost where the network drops them, where nobody receives, and where the receiver is
/// slower than its senders: `receive_buffer_bytes` (of the kernel, up to /proc/sys/net/core/
/// rmem_max) is what lies between them. A sender is held up by its own host only.
///
/// Ends: a sender opens without waiting for a receiver, never learns whether one is there
/// (`out.end().unreached()` counts what a host answers), and goes on when another one takes its
/// place. Its goodbye is a datagram: `closed` is said when that of every sender that was heard of
/// has come, so never after one was lost or a sender was killed; receive with a deadline.
///
/// A message is one datagram, so at most 65475 bytes; a longer one is `message_too_large`. More
/// than about 1400 bytes are cut by IP, and lost if any part is.
///
/// Datagrams that are none of parley's, or carry another type, are counted (`in.end().refused()`);
/// `receive` says `corrupt` or `incompatible` once, and only while no sender of the right type is
/// there. Nothing is encrypted, and whoever reaches the port may send, in another's name too.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: a host that is
/// no number is looked up by open, as by tcp; a send waits only for the send buffer of this host.
/// Lifetime: a view is valid until it is destroyed, one at a time.
/// Errors of open: invalid_argument (the text, no guarantee, no address of this host), not_found
/// (no such host), in_use (the port), denied (a port below 1024), out_of_resources; without a
/// route, the system's own (ENETUNREACH). A send that this host refuses (no route, a firewall)
/// says so; that message is not sent, the next one may be.
struct udp {
    struct options {
        std::size_t message_bytes_max = detail::datagram_message_bytes_max;
        std::size_t send_buffer_bytes = 0, receive_buffer_bytes = 0;  ///< 0: as the kernel has it
        framing frame = framing::parley;  ///< none: bare datagrams; nothing is counted, no end said

        friend bool operator==(const options&, const options&) = default;
    };

    std::string at;                          ///< "host:port"
    std::optional<at_most_once> delivery{};  ///< the guarantee
    options with = {};

    using sink = datagram_sink;
    using source = datagram_source;
    static constexpr std::string_view scheme = "udp";

    udp() = default;
    explicit udp(std::string host_and_port) : at(std::move(host_and_port)) {}
    explicit udp(const char* host_and_port) : at(host_and_port) {}
    udp(std::string host_and_port, options o) : at(std::move(host_and_port)), with(o) {}
    udp(std::string host_and_port, at_most_once d) : at(std::move(host_and_port)), delivery(d) {}
    udp(std::string host_and_port, at_most_once d, options o)
        : at(std::move(host_and_port)), delivery(d), with(o) {}

    /// The same address with a guarantee.
    [[nodiscard]] udp delivered(at_most_once d) const { return {at, d, with}; }

    [[nodiscard]] static result<udp> from(const uri& text, diagnostics& why) {
        udp made;
        uri_reader r(text, why);
        detail::read_datagram_address(r, made);
        if (auto ok = r.finish(); !ok) return ok.error();
        return made;
    }
    [[nodiscard]] uri to_uri() const {
        uri_writer w(scheme, at);
        detail::write_datagram_address(w, *this);
        return w.done();
    }
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    friend bool operator==(const udp&, const udp&) = default;

private:
    [[nodiscard]] detail::queue_options for_ends() const noexcept {
        return {.framed = with.frame == framing::parley};
    }
};

inline result<udp::sink> udp::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    const auto where = detail::check_datagram_address(*this, why);
    if (!where) return where.error();
    if (auto r = detail::wants_port(*where, why); !r) return r.error();
    const auto all = detail::resolve(*where, false, why);
    if (!all) return all.error();
    auto fd = detail::connect_datagrams(
        *all, with, [](int, const auto&) { return 0; },
        [&](const auto& to, int number) { return detail::cannot_reach(to, number, why); });
    if (!fd) return fd.error();
    return sink(detail::datagram_socket(std::move(*fd), with.message_bytes_max, 1),
                detail::fresh_id(), request.type, to_uri(), for_ends());
}

inline result<udp::source> udp::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto where = detail::check_datagram_address(*this, why);
    if (!where) return where.error();
    const auto all = detail::resolve(*where, true, why);
    if (!all) return all.error();
    const auto nothing = [](int, const auto&) { return 0; };
    auto fd = detail::bind_datagrams(*all, with, nothing, nothing, [&](const auto& to, int number) {
        return detail::cannot_listen(to, scheme, number, why);
    });
    if (!fd) return fd.error();
    udp actual = *this;
    if (where->port == 0) {
        where->port = detail::ip_address::of(fd->get(), &::getsockname).port();
        actual.at = where->text();
    }
    return source(detail::datagram_socket(std::move(*fd), with.message_bytes_max, 1), request.type,
                  actual.to_uri(), for_ends());
}

}  // namespace v1
}  // namespace parley
