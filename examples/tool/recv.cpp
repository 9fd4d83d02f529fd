// SPDX-License-Identifier: MIT
// parley recv: messages of any type, as bytes, into a file or stdout.
#include "tool.hpp"
#include "transports.hpp"

#include <parley/channel.hpp>

#include <cstring>

namespace tool {
namespace {

using receiver = parley::receiver<parley::any_message, parley::any_transport<transports>>;

int end_of_senders(const receiver& in, const parley::error_code& ec, const recv_options& o,
                   progress& line) {
    line.clear();
    if (ec == parley::errc::closed) return ok;
    if (ec == parley::errc::timed_out) {
        return fail(timed_out, fmt::format("no message from {} within {} s", in.address().text(),
                                           o.timeout_seconds));
    }
    return fail(code_of(ec), ec, in.why());
}

/// True if `--follow` goes on after this end: there can be further senders.
bool goes_on(const receiver& in, const parley::error_code& ec, const recv_options& o,
             progress& line) {
    if (!o.follow || ec != parley::condition::gone || !in.limits().successors) return false;
    line.clear();
    if (!o.quiet) {
        fmt::print(stderr, "parley: {}; waiting for the next sender\n",
                   ec == parley::errc::closed ? "the last sender closed" : in.why().text());
    }
    return true;
}

int transfer(receiver& in, file& to, const recv_options& o) {
    progress line("received", o.quiet);
    patience left(o.timeout_seconds);
    for (std::uint64_t n = 0; o.count == 0 || n < o.count;) {
        if (signal_caught() != 0) return interrupted + signal_caught();
        auto m = in.try_borrow();
        if (!m && m.error() == parley::errc::would_block) {
            m = in.borrow(std::min(left.until(), parley::clock::now() + slice));
        }
        if (m) {
            const auto payload = (*m)->payload;
            if (const int e = to.write_all(payload); e != 0) {
                line.clear();
                if (signal_caught() != 0) return interrupted + signal_caught();
                return fail(file_failed, fmt::format("writing {}: {}", to.name(), strerror(e)));
            }
            line.add(payload.size());
            ++n;
        } else if (m.error() == parley::errc::timed_out ? left.over()
                                                        : !goes_on(in, m.error(), o, line)) {
            return end_of_senders(in, m.error(), o, line);
        } else {
            line.maybe_show();
            if (m.error() == parley::errc::timed_out) continue;
        }
        left.reset();
    }
    return ok;
}

}  // namespace

int run_recv(const recv_options& o) {
    file to;
    if (const int e = to.open_to_write(o.out); e != 0) {
        return fail(file_failed, fmt::format("opening {}: {}", o.out, strerror(e)));
    }
    parley::diagnostics why;
    patience left(o.timeout_seconds);
    auto in = parley::open_receiver<parley::any_message>(parley::uri{o.address}, transports{},
                                                         left.until(), &why);
    if (!in) return fail_to_open(in.error(), why);
    const std::string at = in->address().text();
    if (at != o.address && !o.quiet) fmt::print(stderr, "parley: receiving at {}\n", at);
    if (const int e = to.truncate(); e != 0) {
        return fail(file_failed, fmt::format("emptying {}: {}", o.out, strerror(e)));
    }
    int code = transfer(*in, to, o);
    if (in->lost() > 0) {
        const int lost = fail(peer_lost, fmt::format("{} messages were lost", in->lost()));
        if (code == ok) code = lost;
    }
    in->close(parley::expired);
    if (const int e = to.close(); e != 0) {
        return fail(file_failed, fmt::format("writing {}: {}", o.out, strerror(e)));
    }
    return code;
}

}  // namespace tool
