// SPDX-License-Identifier: MIT
// cost_named stream|seqpacket|datagram COUNT: as cost_loop, by a name, where many senders could
// come. A program of its own: a second use of the same functions changes what a compiler inlines.

#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

struct message {
    std::uint64_t sequence;
    std::byte rest[56];
};
template <>
struct parley::codec<message> : parley::opaque<message> {};

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    using parley::uds;
    const std::string_view what = argv[1];
    const auto type = what == "stream"      ? uds::stream
                      : what == "seqpacket" ? uds::seqpacket
                                            : uds::datagram;
    const uds at("@parley-cost-" + std::to_string(::getpid()), {.type = type});
    auto rx = parley::open_receiver<message>(at).value();
    auto tx = parley::open_sender<message>(at).value();
    message v{};
    for (long i = 0, count = std::atol(argv[2]); i < count; ++i) {
        v.sequence = static_cast<std::uint64_t>(i);
        tx.send(v).value();
        rx.receive(v).value();
    }
}
