// SPDX-License-Identifier: MIT
// parley over shared memory, through the public API; both sides spin.
#include "peer.hpp"

#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

namespace {

template <std::size_t N>
struct block {
    std::byte all[N];
};

}  // namespace

template <std::size_t N>
struct parley::codec<block<N>> : parley::opaque<block<N>> {};

namespace {

/// Messages of a fixed length, as a program has them.
template <std::size_t N>
struct of_bytes {
    static parley::shm at(const peers::route& way) {
        return {way.name, {.wait = parley::waiting::spin}};
    }
    struct sender {
        explicit sender(const peers::route& way)
            : end(parley::open_sender<block<N>>(at(way)).value()) {}
        void send(std::byte* m, std::size_t) { end.send(*reinterpret_cast<block<N>*>(m)).value(); }
        parley::sender<block<N>, parley::shm> end;
    };
    struct receiver {
        explicit receiver(const peers::route& way)
            : end(parley::open_receiver<block<N>>(at(way)).value()) {}
        void receive(std::byte* m, std::size_t) {
            end.receive(*reinterpret_cast<block<N>*>(m)).value();
        }
        parley::receiver<block<N>, parley::shm> end;
    };
};

}  // namespace

int main(int argc, char** argv) {
    switch (argc == 4 ? std::atoll(argv[2]) : 64) {
        case 64: return peers::peer_main<of_bytes<64>>(argc, argv);
        case 1 << 10: return peers::peer_main<of_bytes<1 << 10>>(argc, argv);
        case 1 << 16: return peers::peer_main<of_bytes<1 << 16>>(argc, argv);
        case 1 << 20: return peers::peer_main<of_bytes<1 << 20>>(argc, argv);
        default: return 2;
    }
}
