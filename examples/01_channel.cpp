// SPDX-License-Identifier: MIT
#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>
#include <unistd.h>
#include <cstdio>

struct tick { unsigned id; double price; };
int main() {
    auto in = parley::open_receiver<tick>(parley::shm{"ticks"}).value();
    if (fork() == 0) {  // another process; it might as well be another program
        auto out = parley::open_sender<tick>(parley::shm{"ticks"}).value();
        return out.send({7, 99.5}) ? 0 : 1;
    }
    tick t = in.receive().value();
    std::printf("tick %u at %.2f\n", t.id, t.price);
}
