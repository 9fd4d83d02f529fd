// SPDX-License-Identifier: MIT
// A transfer over the worst network there is: one message in ten is lost, one in ten comes twice,
// one in ten is damaged, one in ten comes late, and halfway the receiver is killed. Every line
// arrives, in order; what the last receiver did not acknowledge comes to the next one.
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using namespace std::chrono_literals;

const auto policies = parley::checksum{} |
                      parley::at_least_once{.window = 32, .resend_after = 5ms} |
                      parley::batched{.messages = 4};

template <class Address>
int receive(const Address& at, int dies_after) {
    auto in = parley::open_receiver<std::string>(at, policies, 5s).value();
    std::string first, last;
    for (int lines = 1;; ++lines) {
        const auto line = in.receive();
        if (!line) break;
        if (lines == 1) first = *line;
        last = *line;
        if (lines == dies_after) raise(SIGKILL);
    }
    const auto c = in.end().counters();
    std::printf("the second receiver got '%s' to '%s'; %llu frames came twice, %llu damaged\n",
                first.c_str(), last.c_str(), static_cast<unsigned long long>(c.duplicates),
                static_cast<unsigned long long>(c.corrupt));
    return last == "line 1999" ? 0 : 1;
}

int main() {
    const parley::uds real("@14_survives_loss-" + std::to_string(getpid()),
                           {.type = parley::uds::seqpacket});
    const parley::testing::chaotic at{
        real, {.seed = 7, .drop = 100, .duplicate = 100, .damage = 100, .disorder = 100}};
    const pid_t sender = fork();
    if (sender == 0) {
        auto out = parley::open_sender<std::string>(at, policies, 5s).value();
        for (int i = 0; i < 2000; ++i) out.send("line " + std::to_string(i)).value();
        out.close(30s).value();  // everything is acknowledged
        std::printf("the sender sent %llu frames again\n",
                    static_cast<unsigned long long>(out.end().counters().resent));
        return 0;
    }
    const pid_t first = fork();
    if (first == 0) return receive(at, 1000);
    waitpid(first, nullptr, 0);
    std::puts("the first receiver was killed with line 999 in its hands");
    int status = 0;
    return receive(at, 0) == 0 && waitpid(sender, &status, 0) == sender ? status : 1;
}
