// SPDX-License-Identifier: MIT
// What a program does with an end that it inherited: `handover_helper send|receive URI`. Sends 1000
// numbers, or checks them.
#include <parley/channel.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/uds.hpp>

#include <cstdint>
#include <string_view>

constexpr parley::transport_list<parley::pipe, parley::uds> inherited;

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const parley::uri at(argv[2]);
    if (std::string_view(argv[1]) == "send") {
        auto out = parley::open_sender<std::uint64_t>(at, inherited);
        if (!out) return 3;
        for (std::uint64_t i = 0; i < 1000; ++i) {
            if (!out->send(i)) return 4;
        }
        return out->close() ? 0 : 5;
    }
    auto in = parley::open_receiver<std::uint64_t>(at, inherited);
    if (!in) return 3;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        const auto n = in->receive();
        if (!n || *n != i) return 4;
    }
    return in->receive().error() == parley::errc::closed ? 0 : 5;
}
