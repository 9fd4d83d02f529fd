// SPDX-License-Identifier: MIT
// TLS over TCP: as tcp, encrypted, between those whose certificates say who they are.
#pragma once

#include <parley/transport/hub.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/tls_socket.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// The address of a TCP port at which TLS 1.2 or later is spoken.
///
///     auto in  = parley::open_receiver<tick>(
///         parley::tls{":7000", {.cert = "desk.pem", .key = "desk.key"}}).value();
///     auto out = parley::open_sender<tick>(
///         parley::tls{"desk.example:7000", {.ca = "authority.pem"}}).value();
///     // Both sides know each other: the receiver has a ca, the sender a certificate.
///     parley::uri{"tls://:7000?cert=desk.pem&key=desk.key&ca=authority.pem"};
///     parley::uri{"tls://desk.example:7000?ca=authority.pem&cert=me.pem&key=me.key"};
///
/// A sender checks that the receiver's certificate bears the host that it addressed (or `name`),
/// has not expired and comes from an authority in `ca`, or of the system. A receiver with a `ca`
/// asks its senders for certificates of that authority and lets in nobody else. With `alpn` both
/// sides must share a protocol. No session is resumed: each connection is checked anew.
///
/// Otherwise it is tcp: who owns the address, reconnecting, silence, ports; see there.
///
/// The handshake needs both sides: open_sender returns when somebody listens, and what is sent lies
/// in the sender's process until the receiver is in try_receive or wait. What is wrong with a
/// certificate is said by the first send or the close that meets it, and by the receiver's why();
/// its try_receive says it too if no other sender is there. Both ends in one thread: send with a
/// deadline, or receive first.
///
/// An end without TLS's goodbye is peer_lost, also without frames: somebody on the way may have cut
/// it. No links: two directions in two threads are not what OpenSSL allows.
///
/// Thread safety: as any end, one thread at a time; sender and receiver are independent.
/// Blocking: as tcp; a receiver's try_receive may take the milliseconds of a signature for each new
/// sender. Cancellation: as any end. Memory: some 50 KiB for each connection, from OpenSSL.
/// Errors of open: as tcp; not_found or denied (a file of `ca`, `cert`, `key`), invalid_argument
/// (what is in it, a key that does not match, no certificate for a receiver). Of send, close and
/// try_receive: denied (certificates), incompatible (TLS before 1.2, no shared protocol), corrupt
/// (no TLS is spoken there).
struct tls {
    struct options {
        std::string ca = {};    ///< file, or directory as of c_rehash, of authorities; else
                                ///< the system's
        std::string cert = {};  ///< file: the own certificate, then those up to the authority
        std::string key = {};   ///< file: the certificate's key, without a passphrase
        verification verify = verification::usual;
        std::string name = {};  ///< that the receiver's certificate must bear; else the host
        std::string alpn = {};  ///< protocols, "a,b" as preferred: both sides must share one
        parley::tcp::options tcp = {};

        friend bool operator==(const options&, const options&) = default;
    };

    std::string at;  ///< "host:port"
    options with = {};

    using sink = detail::stream_sink<detail::tls_writer>;
    using source = detail::hub_source<detail::tls_door>;

    static constexpr std::string_view scheme = "tls";

    tls() = default;
    explicit tls(std::string host_and_port) : at(std::move(host_and_port)) {}
    explicit tls(const char* host_and_port) : at(host_and_port) {}
    tls(std::string host_and_port, options o) : at(std::move(host_and_port)), with(std::move(o)) {}

    [[nodiscard]] static result<tls> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    friend bool operator==(const tls&, const tls&) = default;

private:
    using role = detail::tls_context::role;
    [[nodiscard]] detail::tls_identity who() const noexcept {
        return {with.ca, with.cert, with.key, with.alpn, with.verify};
    }
    [[nodiscard]] parley::tcp below() const { return parley::tcp(at, with.tcp); }
};

inline result<tls> tls::from(const uri& text, diagnostics& why) {
    tls made;
    uri_reader r(text, why);
    parley::tcp below;
    parley::tcp::read(r, below);
    made.at = below.at;
    made.with.tcp = below.with;
    const auto read = [&](std::string_view key, std::string& out) {
        if (const auto* value = r.option(key)) out = *value;
    };
    read("ca", made.with.ca);
    read("cert", made.with.cert);
    read("key", made.with.key);
    read("name", made.with.name);
    read("alpn", made.with.alpn);
    r.choice("verify", made.with.verify,
             {{"peer", verification::peer}, {"none", verification::none}});
    if (auto ok = r.finish(); !ok) return ok.error();
    return made;
}

inline uri tls::to_uri() const {
    uri_writer w(scheme, at);
    const auto write = [&](std::string_view key, const std::string& value) {
        if (!value.empty()) w.option(key, value);
    };
    write("ca", with.ca);
    write("cert", with.cert);
    write("key", with.key);
    if (with.verify != verification::usual) {
        w.option("verify", with.verify == verification::peer ? "peer" : "none");
    }
    write("name", with.name);
    write("alpn", with.alpn);
    below().write(w);
    return w.done();
}

inline result<tls::sink> tls::open_sink(const open_request& request) const {
    const parley::tcp tcp = below();
    const auto where = tcp.where(*request.why);
    if (!where) return where.error();
    auto context = detail::tls_context::make(who(), role::sender, *request.why);
    if (!context) return context.error();
    auto fd = tcp.connected(request.until, *request.why);
    if (!fd) return fd.error();
    const std::string host = where->host.empty() ? "localhost" : where->host;
    detail::tls_channel channel(*context, role::sender, std::move(*fd), host,
                                with.name.empty() ? host : with.name);
    if (const error_code ec = channel.failure(*request.why)) return ec;
    return sink(detail::tls_writer(std::move(channel), tcp.tuning().silence_max()), request.type,
                to_uri(), tcp.stream(parley::tcp::any_number));
}

inline result<tls::source> tls::open_source(const open_request& request) const {
    auto context = detail::tls_context::make(who(), role::receiver, *request.why);
    if (!context) return context.error();
    parley::tcp actual;
    auto fd = below().listening(*request.why, actual);
    if (!fd) return fd.error();
    const tls here(actual.at, with);
    return source::open(detail::tls_door(std::move(*fd), std::move(*context)), request.type,
                        here.to_uri(), actual.stream(parley::tcp::any_number), *request.why);
}

}  // namespace v1
}  // namespace parley
