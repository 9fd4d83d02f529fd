// SPDX-License-Identifier: MIT
// A desk that calculates, in a process of its own; its callers send a question and get the answer,
// an error, or at once the news that it died.
#include <parley/request.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

struct task {
    std::string operation;
    double left, right;
};

parley::result<double> calculate(const task& t) {
    if (t.operation == "add") return t.left + t.right;
    if (t.operation == "divide" && t.right != 0) return t.left / t.right;
    if (t.operation == "ponder") pause();
    return parley::errc::invalid_argument;
}

void show(const char* what, const parley::result<double>& r) {
    if (r) {
        std::printf("%-16s %g\n", what, *r);
    } else {
        std::printf("%-16s no answer: %s\n", what, r.error().message().c_str());
    }
}

int main() {
    const parley::uds at("@13_calculator-" + std::to_string(getpid()));
    const pid_t child = fork();
    if (child == 0) {
        auto desk = parley::open_replier<task, double>(at).value();
        return desk.serve(calculate) ? 0 : 1;
    }
    auto ask = parley::open_requester<task, double>(at, 5s).value();
    show("1.5 + 2", ask.request({"add", 1.5, 2}));
    show("7 / 2", ask.request({"divide", 7, 2}, 100ms));
    show("7 / 0", ask.request({"divide", 7, 0}, 100ms));

    // Many at once: they are sent before the first answer is read.
    parley::call calls[5];
    for (int i = 0; i < 5; ++i) calls[i] = ask.start({"add", double(i), 10}).value();
    for (const auto c : calls) show("pipelined", ask.finish(c));

    show("pondered 50 ms", ask.request({"ponder", 0, 0}, 50ms));
    const auto last = ask.start({"add", 1, 1}).value();
    kill(child, SIGKILL);
    show("desk killed", ask.finish(last));
    waitpid(child, nullptr, 0);
}
