// SPDX-License-Identifier: MIT
// A service in a process of its own: one struct says what it does, callers call it as if it were
// here, and learn of every call what became of it.
#include <parley/rpc.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

using namespace std::chrono_literals;

struct calculator {
    parley::method<"add(a, b)", double(double, double), parley::idempotent> add;
    parley::method<"divide(a, b)", double(double, double)> divide;
    parley::method<"ponder()", double()> ponder;
};

parley::result<double> divide(parley::call_context& c, double a, double b) {
    if (b == 0) return c.fail(parley::errc::invalid_argument, "a division by nothing");
    return a / b;
}

void show(const char* what, const parley::reply<double>& r) {
    const char* how[] = {"done", "failed", "not sent", "not started", "unknown"};
    if (r) {
        std::printf("%-15s %g\n", what, *r);
    } else {
        std::printf("%-15s %s: %s\n", what, how[static_cast<int>(r.how())],
                    r.error().message().c_str());
    }
}

int main() {
    const parley::uds at("@13_calculator-" + std::to_string(getpid()));
    const pid_t child = fork();
    if (child == 0) {
        calculator here{.add = [](double a, double b) { return a + b; },
                        .divide = divide,
                        .ponder = [] { return pause(); }};
        auto desk = parley::open_server(at, here).value();
        return desk.serve() ? 0 : 1;
    }
    auto c = parley::open_client<calculator>(at, 5s).value();
    show("1.5 + 2", c->add(1.5, 2));
    show("7 / 2", c->divide(7, 2, 100ms));
    show("7 / 0", c->divide(7, 0));
    std::printf("%-15s %s\n", "", c.why().text().c_str());

    // Many at once: one message there, one message back.
    std::vector<parley::pending<double>> sums;
    {
        const auto together = c.batch();
        for (int i = 0; i < 5; ++i) sums.push_back(c->add.start(i, 10).value());
    }
    for (auto& sum : sums) show("in a batch", sum.finish());

    show("pondered 50 ms", c->ponder(50ms));
    auto last = c->add.start(1, 1).value();  // waits until the server stops pondering
    kill(child, SIGKILL);
    show("server killed", last.finish());
    waitpid(child, nullptr, 0);
    show("nobody there", c->add(1, 1, 20ms));
}
