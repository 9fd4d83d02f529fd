// SPDX-License-Identifier: MIT
// A durable outbox: a meter writes readings into a file while nobody collects them, dies, and is
// started again. The collector that comes later gets every one, in order. In between the file is a
// ring as any other: `parley info mmap:///tmp/…` tells what waits in it.
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

const std::string me = std::to_string(getpid());
const parley::uds collector("@23_outbox-" + me);
const std::string file = "/tmp/23_outbox-" + me;
const auto policies = parley::at_least_once{} | parley::durable{.path = file};

int meter(int first, int dies_before) {
    auto out = parley::open_sender<int>(collector, policies).value();  // waits for nobody
    std::printf("a meter finds %llu readings kept\n",
                static_cast<unsigned long long>(out.end().unfinished()));
    std::fflush(stdout);
    for (int reading = first; reading < 2000; ++reading) {
        if (reading == dies_before) raise(SIGKILL);
        out.send(reading).value();  // and now it outlives this process
    }
    return out.close(10s) ? 0 : 1;  // every one is acknowledged
}

int main() {
    const pid_t first = fork();
    if (first == 0) return meter(0, 1000);
    waitpid(first, nullptr, 0);
    std::puts("it was killed behind reading 999; nobody has collected anything");
    std::fflush(stdout);
    const pid_t second = fork();
    if (second == 0) return meter(1000, 0);

    auto in = parley::open_receiver<int>(collector, policies).value();
    int next = 0;
    while (const auto reading = in.receive(10s)) {
        if (*reading != next++) return 1;
    }
    std::printf("the collector got %d readings, in order\n", next);
    int status = 0;
    waitpid(second, &status, 0);
    unlink(file.c_str());
    return next == 2000 ? status : 1;
}
