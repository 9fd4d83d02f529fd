// SPDX-License-Identifier: MIT
// What became of what was sent: each order is delivered when a clerk's process has it, and consumed
// when the clerk asks for the next one, having written it down. The first clerk dies with an order
// in hand; the sender knows that it was not done, and the next clerk gets it.
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;
using parley::receipt;

const auto policies = parley::at_least_once{} | parley::receipts{};

void clerk(const parley::uds& at, int dies_with) {
    auto in = parley::open_receiver<int>(at, policies, 5s).value();
    while (const auto order = in.receive()) {
        if (*order == dies_with) raise(SIGKILL);
        std::printf("    written down: order %d\n", *order);
        std::fflush(stdout);
    }
}

int main() {
    const parley::uds at("@22_receipts-" + std::to_string(getpid()));
    const pid_t first = fork();
    if (first == 0) return clerk(at, 3), 0;
    auto out = parley::open_sender<int>(at, policies, 5s).value();
    for (int order = 1; order <= 3; ++order) {
        out.send(order).value();
        out.end().await(receipt::delivered, 5s).value();
        std::printf("order %d is delivered\n", order);
        std::fflush(stdout);
    }
    waitpid(first, nullptr, 0);
    const auto done = out.end().await(receipt::consumed, 100ms);
    std::printf("order 3 is consumed: %s; of %llu orders %llu are\n",
                done ? "yes" : done.error().message().c_str(),
                static_cast<unsigned long long>(out.end().sent()),
                static_cast<unsigned long long>(out.end().reached(receipt::consumed)));
    std::fflush(stdout);

    const pid_t second = fork();
    if (second == 0) return clerk(at, 0), 0;
    out.end().await(receipt::consumed, 5s).value();
    std::puts("order 3 is consumed by the second clerk");
    out.close(5s).value();
    int status = 0;
    return waitpid(second, &status, 0) == second && !done ? status : 1;
}
