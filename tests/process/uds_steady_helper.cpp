// SPDX-License-Identifier: MIT
// Moves messages over Unix domain sockets and lets itself be counted: `uds_steady_helper calls
// CASE` frames the counted part with two getppid(2), which a tracer sees.
#include "support/ends.hpp"

#include <parley/transport/uds.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace parley_test;
using parley::uds;

namespace {

constexpr int messages = 1000;

template <class Sink>
bool give(Sink& s) {
    auto l = s.try_loan(64);
    if (!l) return false;
    l->bytes()[0] = std::byte{1};
    return s.try_commit(std::move(*l)) && s.flush(parley::never);
}
/// As the blocking driver does: where asking costs a call, waiting comes first.
template <class Source>
bool take(Source& s) {
    return s.wait(parley::never) && s.try_receive();
}

/// `burst` messages are sent, then received.
template <class Sink, class Source>
bool move_messages(Sink& out, Source& in, int burst) {
    for (int n = 0; n < messages; n += burst) {
        for (int i = 0; i < burst; ++i) {
            if (!give(out)) return false;
        }
        for (int i = 0; i < burst; ++i) {
            if (!take(in)) return false;
        }
    }
    return true;
}

template <class Sink, class Source>
int counted(Sink& out, Source& in, int burst) {
    if (!move_messages(out, in, burst)) return 1;
    (void)::getppid();
    const bool done = move_messages(out, in, burst);
    (void)::getppid();
    return done ? 0 : 1;
}

int calls(const std::string& folder, std::string_view where, std::string_view kind, int burst) {
    const auto k = kind == "stream"      ? uds::stream
                   : kind == "seqpacket" ? uds::seqpacket
                                         : uds::datagram;
    parley::diagnostics why;
    if (where == "pair") {
        auto both = uds(uds::options{.type = k}).open_both({text_type, parley::never, &why});
        return both ? counted(both->sink, both->source, burst) : 1;
    }
    const uds at(folder + "/x", {.type = k});
    auto in = source_at(at);
    auto out = sink_at(at);
    return counted(out, in, burst);
}

}  // namespace

int main(int count, char** words) {
    if (count == 6 && std::string_view(words[1]) == "calls") {
        return calls(words[2], words[3], words[4], std::atoi(words[5]));
    }
    return 2;
}
