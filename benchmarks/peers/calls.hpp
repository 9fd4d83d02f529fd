// SPDX-License-Identifier: MIT
// Calls without arguments over a unix socket, one after another: two processes, on cores 0 and 1.
//
//   peer_NAME call 0 SECONDS   prints calls per second
#pragma once

#include "peer.hpp"

#include <thread>

namespace peers {

/// `serve(path, ready)` answers until the process ends, after it said ready(); `Client(path)` is
/// made then, and its call() makes a call and waits for the answer.
template <class Client, class Serve>
int calls_main(int argc, char** argv, Serve serve) {
    if (argc != 4 || std::string_view(argv[1]) != "call") {
        return std::fprintf(stderr, "%s call 0 SECONDS\n", argv[0]), 2;
    }
    const std::string path = "/tmp/peers-calls" + std::to_string(::getpid());
    const double seconds = std::atof(argv[3]);
    auto* opened = bench::shared<std::atomic<int>>();
    std::uint64_t made = 0;
    double took = 0;
    bench::two_processes(
        [&](bench::signals& s) {
            while (opened->load() == 0) ::usleep(50);
            Client c(path);
            for (int i = 0; i < 1000; ++i) c.call();
            const auto start = bench::now_ns();
            const auto end = start + static_cast<std::int64_t>(seconds * 1e9);
            auto now = start;
            for (; now < end; ++made) {
                c.call();
                now = bench::now_ns();
            }
            took = static_cast<double>(now - start) * 1e-9;
            s.done_ns.store(now);
        },
        [&](bench::signals& s) {
            std::thread([&s] {
                while (s.done_ns.load() == 0) ::usleep(1000);
                ::_exit(0);
            }).detach();
            serve(path, [&] { opened->store(1); });
        });
    ::unlink(path.c_str());
    std::printf("%.0f\n", static_cast<double>(made) / took);
    return 0;
}

}  // namespace peers
