// SPDX-License-Identifier: MIT
// cost_loop parley|bare shm|pipe|stream|seqpacket|datagram COUNT [two]: sends and receives COUNT
// messages of 64 bytes in turn, in one process; with `two`, as round trips between two processes.
// Run it twice with different counts and take the difference: what is left is the cost of messages.

#include "bare.hpp"
#include "harness.hpp"

#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <cstdlib>
#include <string_view>

struct message {
    std::uint64_t sequence;
    std::byte rest[56];
};
template <>
struct parley::codec<message> : parley::opaque<message> {};

namespace {

template <class Address>
struct through_parley {
    explicit through_parley(const Address& at)
        : ends(parley::make_channel<message>(at).value()) {}
    void send(const message& v) { ends.tx.send(v).value(); }
    void receive(message& v) { ends.rx.receive(v).value(); }

    parley::channel<message, Address> ends;
};

template <class Make>
void run(Make make, long count, bool two) {
    auto there = make();
    message v{};
    if (!two) {
        for (long i = 0; i < count; ++i) {
            v.sequence = static_cast<std::uint64_t>(i);
            there->send(v);
            there->receive(v);
        }
        return;
    }
    auto back = make();
    bench::two_processes(
        [&](bench::signals&) {
            for (long i = 0; i < count; ++i) {
                there->send(v);
                back->receive(v);
            }
        },
        [&](bench::signals&) {
            for (long i = 0; i < count; ++i) {
                there->receive(v);
                back->send(v);
            }
        });
}

template <class Address>
void run_parley(const Address& at, long count, bool two) {
    run([&] { return std::make_unique<through_parley<Address>>(at); }, count, two);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) return 2;
    const std::string_view who = argv[1], what = argv[2];
    const long count = std::atol(argv[3]);
    const bool two = argc > 4;
    using fds = bare::descriptors<message>;
    using uds = parley::uds;
    const auto bare_fds = [&](fds::kind k) {
        run([k] { return std::make_unique<fds>(k); }, count, two);
    };
    if (what == "shm" && who == "bare") {
        run([] { return std::make_unique<bare::ring<message>>(); }, count, two);
    } else if (what == "shm") {
        run_parley(parley::shm({.wait = parley::waiting::spin}), count, two);
    } else if (what == "pipe") {
        who == "bare" ? bare_fds(fds::kind::pipe) : run_parley(parley::pipe{}, count, two);
    } else if (what == "stream") {
        who == "bare" ? bare_fds(fds::kind::stream)
                      : run_parley(uds({.type = uds::stream}), count, two);
    } else if (what == "seqpacket") {
        who == "bare" ? bare_fds(fds::kind::seqpacket)
                      : run_parley(uds({.type = uds::seqpacket}), count, two);
    } else if (what == "datagram") {
        who == "bare" ? bare_fds(fds::kind::datagram)
                      : run_parley(uds({.type = uds::datagram}), count, two);
    } else {
        return 2;
    }
}
