// SPDX-License-Identifier: MIT
// cost_loop parley|bare MECHANISM COUNT [two]: MECHANISM is shm, pipe, stream, seqpacket, datagram,
// fifo, tcp, udp, mq or sysv; sends and receives COUNT messages of 64 bytes in turn, in one
// process; with `two`, as round trips between two processes. Run it twice with different counts and
// take the difference: what is left is the cost of messages.

#include "bare.hpp"
#include "harness.hpp"
#include "named.hpp"

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
    explicit through_parley(const Address& at) : ends(parley::make_channel<message>(at).value()) {}
    void send(const message& v) { ends.tx.send(v).value(); }
    void receive(message& v) { ends.rx.receive(v).value(); }

    parley::channel<message, Address> ends;
};

template <class Make>
void run(Make make, long count, bool two) {
    auto there = make();
    message v{};
    if (!two) {
        if constexpr (requires { there->open_receiver(); }) there->open_receiver();
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

template <class Make>
void run_named(Make address, long count, bool two) {
    using way = bench::by_name<message, std::invoke_result_t<Make>>;
    run([&] { return std::make_unique<way>(address()); }, count, two);
}

/// Those whose ends find each other by a name.
bool run_named(std::string_view what, long count, bool two) {
    using bench::fresh_name;
    using parley::at_most_once;
    if (what == "fifo") {
        run_named([] { return parley::fifo("/tmp/" + fresh_name()); }, count, two);
    } else if (what == "tcp") {
        run_named([] { return parley::tcp("127.0.0.1:0"); }, count, two);
    } else if (what == "udp") {
        run_named([] { return parley::udp("127.0.0.1:0", at_most_once{}); }, count, two);
    } else if (what == "mq") {
        run_named([] { return parley::mq(fresh_name()); }, count, two);
    } else if (what == "sysv") {
        run_named([] { return parley::sysv(fresh_name()); }, count, two);
    } else {
        return false;
    }
    return true;
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
    } else if (who == "parley") {
        return run_named(what, count, two) ? 0 : 2;
    } else if (what == "fifo") {
        bare_fds(fds::kind::fifo);
    } else if (what == "tcp") {
        bare_fds(fds::kind::tcp);
    } else if (what == "udp") {
        bare_fds(fds::kind::udp);
    } else if (what == "mq") {
        run([] { return std::make_unique<bare::posix_queue<message>>(); }, count, two);
    } else if (what == "sysv") {
        run([] { return std::make_unique<bare::sysv_queue<message>>(); }, count, two);
    } else {
        return 2;
    }
}
