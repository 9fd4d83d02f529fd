// SPDX-License-Identifier: MIT
// A sender is killed. Everything it had sent is received, its death is told once, and the next
// sender goes on where it was: nobody hangs, nothing is left to delete.
#include <parley/channel.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

// Only these are compiled; with <parley/transport/all.hpp> and without the list, all are.
constexpr parley::transport_list<parley::shm, parley::uds> ways;

[[noreturn]] void send_and_hang(const parley::uri& at, int from) {
    auto out = parley::open_sender<int>(at, ways).value();
    for (int i = from; i < from + 3; ++i) out.send(i).value();
    for (;;) pause();
}

int show(const parley::uri& at) {
    auto in = parley::open_receiver<int>(at, ways).value();
    std::printf("%s\n", at.text().c_str());
    int expected = 0;
    for (int round = 0; round < 2; ++round) {
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) send_and_hang(at, expected);
        for (int i = 0; i < 3; ++i) {
            if (in.receive(5s).value() != expected++) return 1;
        }
        std::printf("  3 messages from process %d; it is killed\n", child);
        const auto before = parley::clock::now();
        kill(child, SIGKILL);
        const auto end = in.receive(5s);
        const std::chrono::duration<double, std::milli> took = parley::clock::now() - before;
        waitpid(child, nullptr, 0);
        if (end || end.error() != parley::errc::peer_lost) return 1;
        std::printf("  %s, told after %.1f ms; senders lost so far: %llu\n",
                    end.error().message().c_str(), took.count(),
                    static_cast<unsigned long long>(in.peers_lost()));
    }
    return 0;
}

int main() {
    const std::string own = "07_peer_lost-" + std::to_string(getpid());
    int failed = 0;
    for (const std::string& a : {"shm://" + own, "unix:///tmp/" + own, "unix://@" + own}) {
        failed |= show(parley::uri{a});
    }
    return failed;
}
