// SPDX-License-Identifier: MIT
#include "taking.hpp"

#include <algorithm>

namespace tool {
namespace {

/// Point-to-point channels have one receiver, so who looks at their messages takes its place. Where
/// a channel has any number of readers (a ring of a publisher), open one of those here instead.
parley::result<taker> open_taker(const std::string& address, parley::time_point until,
                                 parley::diagnostics& why) {
    return parley::open_receiver<parley::any_message>(any_address(parley::uri{address}), until,
                                                      &why);
}

int end_of_senders(const taker& in, const parley::error_code& ec, const take_options& o,
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
bool goes_on(const taker& in, const parley::error_code& ec, const take_options& o, progress& line) {
    if (!o.follow || ec != parley::condition::gone || !in.limits().successors) return false;
    line.clear();
    if (!o.quiet) {
        fmt::print(stderr, "parley: {}; waiting for the next sender\n",
                   ec == parley::errc::closed ? "the last sender closed" : in.why().text());
    }
    return true;
}

int take(taker& in, const take_options& o, progress& line, const taking& how) {
    patience left(o.timeout_seconds);
    auto look_up = parley::clock::now() + slice;
    for (std::uint64_t n = 0; o.count == 0 || n < o.count;) {
        if (signal_caught() != 0) return interrupted + signal_caught();
        auto m = in.try_borrow();
        if (!m && m.error() == parley::errc::would_block) {
            how.idle();
            m = in.borrow(std::min({left.until(), look_up, parley::clock::now() + slice}));
        }
        if (m) {
            const auto payload = (*m)->payload;
            if (const int code = how.message(in, payload); code != ok) {
                line.clear();
                return signal_caught() != 0 ? interrupted + signal_caught() : code;
            }
            line.add(payload.size());
            if (++n % 1024 == 0) how.idle();
        } else if (m.error() == parley::errc::timed_out ? left.over()
                                                        : !goes_on(in, m.error(), o, line)) {
            return end_of_senders(in, m.error(), o, line);
        } else {
            look_up = parley::clock::now() + slice;
            line.maybe_show();
            if (m.error() == parley::errc::timed_out) continue;
        }
        left.reset();
    }
    return ok;
}

}  // namespace

int take_messages(const take_options& o, std::string_view verb, const taking& how) {
    parley::diagnostics why;
    patience left(o.timeout_seconds);
    auto in = open_taker(o.address, left.until(), why);
    if (!in) return fail_to_open(in.error(), why);
    const std::string at = in->address().text();
    if (at != o.address && !o.quiet) fmt::print(stderr, "parley: receiving at {}\n", at);
    if (const int code = how.opened(); code != ok) return code;
    int code = ok;
    {
        progress line(verb, o.quiet);
        code = take(*in, o, line, how);
    }
    if (in->lost() > 0) {
        const int lost = fail(peer_lost, fmt::format("{} messages were lost", in->lost()));
        if (code == ok) code = lost;
    }
    in->close(parley::expired);
    return code;
}

}  // namespace tool
