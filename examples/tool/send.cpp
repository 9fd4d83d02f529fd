// SPDX-License-Identifier: MIT
// parley send: a file or stdin, cut into messages of bytes. The bytes are read straight into the
// memory that travels.
#include "tool.hpp"
#include "transports.hpp"

#include <parley/channel.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace tool {
namespace {

using message = std::vector<std::byte>;
using sender = parley::sender<message, any_address>;

/// Several messages fit into the transport at once, so that both sides work at the same time.
std::size_t usual_chunk(const parley::limits& l) {
    constexpr std::size_t most = 128 * 1024, least = 4096;
    return std::min({most, std::max(l.message_bytes_max / 4, least), l.message_bytes_max});
}

int lost(const sender& out, const parley::error_code& ec, progress& line) {
    line.clear();
    if (ec == parley::errc::closed) {
        fail(peer_lost, "the receiver closed before everything was sent");
        return peer_lost;
    }
    return fail(code_of(ec), ec, out.why());
}

/// Waits for room, in slices. Nothing: a signal came, or the error is in `ec`.
auto room(sender& out, std::size_t chunk, patience& left, parley::error_code& ec)
    -> std::optional<parley::loaned_bytes<sender::sink_type>> {
    left.reset();
    while (signal_caught() == 0) {
        auto l = out.loan_bytes(chunk, parley::expired);
        if (!l && l.error() == parley::errc::would_block) {
            l = out.loan_bytes(chunk, std::min(left.until(), parley::clock::now() + slice));
        }
        if (l) return std::move(*l);
        ec = l.error();
        if (ec != parley::errc::timed_out || left.over()) return std::nullopt;
    }
    return std::nullopt;
}

int transfer(sender& out, file& from, const send_options& o, std::size_t chunk) {
    progress line("sent", o.quiet, from.size());
    patience left(o.timeout_seconds);
    for (;;) {
        parley::error_code ec;
        auto l = room(out, chunk, left, ec);
        if (signal_caught() != 0) return interrupted + signal_caught();
        if (!l) return lost(out, ec, line);
        std::size_t got = 0;
        const int e = from.read_some(l->bytes(), got);
        if (signal_caught() != 0) return interrupted + signal_caught();
        if (e != 0) {
            line.clear();
            return fail(file_failed, fmt::format("reading {}: {}", from.name(), strerror(e)));
        }
        if (got == 0) return ok;
        l->shrink(got);
        if (auto r = out.send(std::move(*l)); !r) return lost(out, r.error(), line);
        line.add(got);
    }
}

/// What was sent may still lie in this process; the goodbye comes behind it.
int finish(sender& out, const send_options& o) {
    patience left(o.timeout_seconds);
    progress none("", true);
    for (;;) {
        auto r = out.close(std::min(left.until(), parley::clock::now() + slice));
        if (r) return ok;
        if (signal_caught() != 0) return interrupted + signal_caught();
        const bool later =
            r.error() == parley::errc::timed_out || r.error() == parley::errc::would_block;
        if (!later || left.over()) return lost(out, r.error(), none);
    }
}

}  // namespace

int run_send(const send_options& o) {
    file from;
    if (const int e = from.open_to_read(o.in); e != 0) {
        return fail(file_failed, fmt::format("opening {}: {}", o.in, strerror(e)));
    }
    parley::diagnostics why;
    patience left(o.timeout_seconds);
    parley::result<sender> out = parley::errc::timed_out;
    do {  // in slices, so that a signal ends the waiting for a receiver
        out = parley::open_sender<message>(any_address(parley::uri{o.address}),
                                           std::min(left.until(), parley::clock::now() + slice),
                                           &why);
    } while (!out && out.error() == parley::errc::timed_out && !left.over() &&
             signal_caught() == 0);
    if (!out) return fail_to_open(out.error(), why);
    const auto limits = out->limits();
    if (o.chunk_bytes > limits.message_bytes_max) {
        return fail(wrong_usage, fmt::format("--chunk {}: a message over {} has at most {} bytes",
                                             o.chunk_bytes, o.address, limits.message_bytes_max));
    }
    const int code =
        transfer(*out, from, o, o.chunk_bytes > 0 ? o.chunk_bytes : usual_chunk(limits));
    return code == ok ? finish(*out, o) : code;
}

}  // namespace tool
