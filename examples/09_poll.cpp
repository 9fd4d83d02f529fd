// SPDX-License-Identifier: MIT
// Every receiver has a descriptor for the loop you already have: here a plain poll(2) that waits
// for shared memory, a socket and a pipe at once.
#include <parley/channel.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

// Only these are compiled; with <parley/transport/all.hpp> and without the list, all are.
using addressed = parley::transport_list<parley::shm, parley::uds, parley::pipe>;
using any_receiver = parley::receiver<std::string, parley::any_transport<addressed>>;
constexpr addressed ways;

int main() {
    const std::string own = "09_poll-" + std::to_string(getpid());
    const std::array addresses{parley::uri{"shm://" + own}, parley::uri{"unix://@" + own}};
    std::vector<any_receiver> in;
    for (const auto& at : addresses)
        in.push_back(parley::open_receiver<std::string>(at, ways).value());
    auto pair = parley::make_channel<std::string>(parley::uri{"pipe:"}, ways).value();
    in.push_back(std::move(pair.rx));

    if (fork() == 0) {
        for (const auto& at : addresses) {
            parley::open_sender<std::string>(at, ways)
                .value()
                .send("hello over " + at.text())
                .value();
        }
        pair.tx.send("hello over a pipe").value();
        _exit((pair.tx.close(), 0));
    }
    pair.tx.close();

    std::vector<pollfd> fds;
    for (auto& one : in) fds.push_back({one.pollable().value(), POLLIN, 0});
    std::size_t open = in.size(), messages = 0;
    while (open > 0 && poll(fds.data(), fds.size(), 10'000) > 0) {
        for (std::size_t i = 0; i < in.size(); ++i) {
            if ((fds[i].revents & POLLIN) == 0) continue;
            auto m = in[i].try_receive();
            for (; m; m = in[i].try_receive()) {  // until would_block: that re-arms the descriptor
                std::printf("descriptor %d: %s\n", fds[i].fd, m->c_str());
                ++messages;
            }
            if (m.error() == parley::errc::would_block) continue;
            std::printf("descriptor %d: %s\n", fds[i].fd, m.error().message().c_str());
            fds[i].fd = -1;
            --open;
        }
    }
    wait(nullptr);
    return messages == 3 && open == 0 ? 0 : 1;
}
