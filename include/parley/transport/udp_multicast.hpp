// SPDX-License-Identifier: MIT
// UDP multicast: what is sent to a group arrives at each of its members.
#pragma once

#include <parley/transport/udp_open.hpp>

#include <net/if.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using detail::framing;

/// The address of a multicast group and port, over IPv4 (224.0.0.0 to 239.255.255.255) or IPv6
/// (ff00::/8).
///
///     const parley::udp_multicast at{"239.1.1.1:7400", parley::at_most_once{}, {.ttl = 4}};
///     auto one = parley::open_receiver<tick>(at).value();   // any number, on one host too
///     auto out = parley::open_sender<tick>(at).value();
///     parley::uri{"udp_multicast://239.1.1.1:7400?delivery=at_most_once&interface=lo"};
///
/// Every receiver is a member of the group and gets each message, or counts it as lost by itself:
/// what udp says of its guarantee, of ends and of strangers holds for each member. A member that
/// comes late has lost what was sent before.
///
/// `interface` is the one by which members listen and senders send; without it the system's route
/// to the group decides, which on a host with several is seldom what is meant. `ttl` is how many
/// networks a message may cross, 1: stay in this one, 0: on this host. With `loopback=off` a
/// sender's own host gets nothing (but by lo, which brings everything back).
///
/// Thread safety, blocking, lifetime and errors as of udp; and invalid_argument: no multicast
/// group, or no such interface; in_use: a program that does not share the port has it; not_found:
/// no route to the group, so name the interface.
struct udp_multicast {
    struct options {
        std::string interface = {};  ///< by name, as in `ip link`; empty: by the route
        bool loopback = true;        ///< of what senders of this host send
        unsigned ttl = 1;            ///< of what senders send; at most 255
        std::size_t message_bytes_max = detail::datagram_message_bytes_max;
        std::size_t send_buffer_bytes = 0, receive_buffer_bytes = 0;  ///< 0: as the kernel has it
        framing frame = framing::parley;  ///< none: bare datagrams; nothing is counted, no end said

        friend bool operator==(const options&, const options&) = default;
    };

    std::string at;                          ///< "group:port"
    std::optional<at_most_once> delivery{};  ///< the guarantee
    options with = {};

    using sink = datagram_sink;
    using source = datagram_source;
    static constexpr std::string_view scheme = "udp_multicast";

    udp_multicast() = default;
    explicit udp_multicast(std::string group_and_port) : at(std::move(group_and_port)) {}
    explicit udp_multicast(const char* group_and_port) : at(group_and_port) {}
    udp_multicast(std::string group_and_port, options o)
        : at(std::move(group_and_port)), with(std::move(o)) {}
    udp_multicast(std::string group_and_port, at_most_once d)
        : at(std::move(group_and_port)), delivery(d) {}
    udp_multicast(std::string group_and_port, at_most_once d, options o)
        : at(std::move(group_and_port)), delivery(d), with(std::move(o)) {}

    /// The same address with a guarantee.
    [[nodiscard]] udp_multicast delivered(at_most_once d) const { return {at, d, with}; }

    [[nodiscard]] static result<udp_multicast> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    friend bool operator==(const udp_multicast&, const udp_multicast&) = default;

private:
    static constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();

    /// The group in the kernel's form, and the number of the interface, 0: the route decides.
    struct group {
        detail::host_port where;
        std::vector<detail::ip_address> all;
        unsigned interface = 0;
    };
    [[nodiscard]] result<group> find(diagnostics& why) const;
    [[nodiscard]] detail::queue_options for_ends() const noexcept {
        return {.framed = with.frame == framing::parley};
    }
    [[nodiscard]] error_code without_route(std::string words, diagnostics& why) const {
        return why.fail(errc::not_found,
                        std::move(words) + ": no route leads to " + at +
                            "; name the interface (?interface=eth0, see `ip link`; lo for this "
                            "host alone)");
    }
};

inline result<udp_multicast> udp_multicast::from(const uri& text, diagnostics& why) {
    udp_multicast made;
    uri_reader r(text, why);
    detail::read_datagram_address(r, made);
    if (const auto* name = r.option("interface")) made.with.interface = *name;
    r.choice("loopback", made.with.loopback, {{"on", true}, {"off", false}});
    r.number("ttl", made.with.ttl, 0, 255);
    if (auto ok = r.finish(); !ok) return ok.error();
    return made;
}

inline uri udp_multicast::to_uri() const {
    uri_writer w(scheme, at);
    detail::write_datagram_address(w, *this);
    if (!with.interface.empty()) w.option("interface", with.interface);
    if (!with.loopback) w.option("loopback", "off");
    if (with.ttl != options{}.ttl) w.option("ttl", with.ttl);
    return w.done();
}

inline result<udp_multicast::group> udp_multicast::find(diagnostics& why) const {
    auto where = detail::check_datagram_address(*this, why);
    if (!where) return where.error();
    auto all = detail::resolve(*where, false, why);
    if (!all) return all.error();
    group g{std::move(*where), std::move(*all), 0};
    for (const auto& one : g.all) {
        const auto* four = reinterpret_cast<const sockaddr_in*>(&one.at);
        const auto* six = reinterpret_cast<const sockaddr_in6*>(&one.at);
        const bool is_group = one.family() == AF_INET6 ? IN6_IS_ADDR_MULTICAST(&six->sin6_addr)
                                                       : IN_MULTICAST(ntohl(four->sin_addr.s_addr));
        if (is_group) continue;
        return why.fail(errc::invalid_argument,
                        "'" + at +
                            "' is no multicast group: wants 224.0.0.0 to 239.255.255.255 "
                            "(239.x.x.x for one's own use) or ff00::/8; for one receiver "
                            "use udp://");
    }
    if (with.interface.empty()) return g;
    g.interface = ::if_nametoindex(with.interface.c_str());
    if (g.interface == 0) {
        return why.fail(errc::invalid_argument, "no interface '" + with.interface +
                                                    "' in this network namespace; `ip link` lists "
                                                    "them");
    }
    for (auto& one : g.all) {  // a group of the link is one on each
        auto* six = reinterpret_cast<sockaddr_in6*>(&one.at);
        if (one.family() == AF_INET6) six->sin6_scope_id = g.interface;
    }
    return g;
}

inline result<udp_multicast::sink> udp_multicast::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    const auto g = find(why);
    if (!g) return g.error();
    if (auto r = detail::wants_port(g->where, why); !r) return r.error();
    const auto prepare = [&](int fd, const detail::ip_address& to) {
        const bool six = to.family() == AF_INET6;
        const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
        detail::set_option(fd, level, six ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, with.ttl);
        detail::set_option(fd, level, six ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, with.loopback);
        if (g->interface == 0) return 0;
        const int index = static_cast<int>(g->interface);
        ip_mreqn four{};
        four.imr_ifindex = index;
        const int r = six ? ::setsockopt(fd, level, IPV6_MULTICAST_IF, &index, sizeof index)
                          : ::setsockopt(fd, level, IP_MULTICAST_IF, &four, sizeof four);
        return r == 0 ? 0 : errno;
    };
    auto fd = detail::connect_datagrams(g->all, with, prepare, [&](const auto& to, int number) {
        if (number == ENETUNREACH || number == EINVAL)
            return without_route("sending to " + to.text(), why);
        return detail::cannot_reach(to, number, why);
    });
    if (!fd) return fd.error();
    return sink(detail::datagram_socket(std::move(*fd), with.message_bytes_max, any_number),
                detail::fresh_id(), request.type, to_uri(), for_ends());
}

inline result<udp_multicast::source> udp_multicast::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto g = find(why);
    if (!g) return g.error();
    // Members of one host share the port; each gets every message. The socket is bound to the
    // group, and hears no other, and no interface but its own.
    const auto prepare = [](int fd, const detail::ip_address& from) {
        detail::set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (from.family() == AF_INET) detail::set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
        return 0;
    };
    const auto join = [&](int fd, const detail::ip_address& from) {
        group_req asked{};
        asked.gr_interface = g->interface;
        asked.gr_group = from.at;
        const int level = from.family() == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
        return ::setsockopt(fd, level, MCAST_JOIN_GROUP, &asked, sizeof asked) == 0 ? 0 : errno;
    };
    auto fd =
        detail::bind_datagrams(g->all, with, prepare, join, [&](const auto& from, int number) {
            if (number == ENODEV || number == EINVAL)
                return without_route("joining " + from.text(), why);
            return detail::cannot_listen(from, scheme, number, why);
        });
    if (!fd) return fd.error();
    udp_multicast actual = *this;
    if (g->where.port == 0) {
        g->where.port = detail::ip_address::of(fd->get(), &::getsockname).port();
        actual.at = g->where.text();
    }
    return source(detail::datagram_socket(std::move(*fd), with.message_bytes_max, any_number),
                  request.type, actual.to_uri(), for_ends());
}

}  // namespace v1
}  // namespace parley
