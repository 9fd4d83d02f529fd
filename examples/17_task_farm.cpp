// SPDX-License-Identifier: MIT
// Tasks for three workers, each of which takes one when it is free. One of them is killed at its
// work: what it had is done by another.
#include <parley/push.hpp>
#include <parley/transport/shm.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

struct range {
    unsigned first, last;
};

unsigned primes_in(const range& r) {
    unsigned count = 0;
    for (unsigned n = r.first; n < r.last; ++n) {
        bool prime = n > 1;
        for (unsigned d = 2; d * d <= n && prime; ++d) prime = n % d != 0;
        count += prime ? 1 : 0;
    }
    return count;
}

int main() {
    const parley::shm at("17_task_farm-" + std::to_string(getpid()));
    int told[2];
    if (pipe(told) != 0) return 1;
    pid_t workers[3];
    for (int w = 0; w < 3; ++w) {
        workers[w] = fork();
        if (workers[w] != 0) continue;
        auto in = parley::open_puller<range>(at, 5s).value();
        for (int n = 0;; ++n) {
            auto t = in.pull();
            if (!t) return 0;                             // the farm is closed
            if (w == 0 && n == 2) return raise(SIGKILL);  // with a task in its hands
            const unsigned result[] = {t->value.first, primes_in(t->value), t->attempt};
            if (write(told[1], result, sizeof result) < 0 || !in.done(*t)) return 1;
        }
    }
    auto out = parley::open_pusher<range>(at).value();
    for (unsigned i = 0; i < 60; ++i) out.push({i * 5'000, (i + 1) * 5'000}).value();
    out.drain(30s).value();
    out.close(5s).value();
    for (const pid_t w : workers) waitpid(w, nullptr, 0);
    close(told[1]);

    unsigned one[3], primes = 0, tasks = 0, again = 0;
    while (read(told[0], one, sizeof one) == sizeof one) {
        primes += one[1];
        ++tasks;
        again += one[2] > 1 ? 1 : 0;
    }
    std::printf("%u primes below 300000, in %u tasks by three workers\n", primes, tasks);
    std::printf("%llu worker died; %u of its tasks was done by another\n",
                static_cast<unsigned long long>(out.workers_lost()), again);
    return primes == 25997 && tasks == 60 ? 0 : 1;
}
