// SPDX-License-Identifier: MIT
// Two programs that disagree about a struct refuse each other, and say why.
#include <parley/channel.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

namespace desk {  // what the receiver was compiled with
struct tick {
    std::uint32_t id;
    double price;
};
}  // namespace desk
namespace feed {  // what the sender was compiled with: somebody saved four bytes
struct tick {
    std::uint32_t id;
    float price;
};
}  // namespace feed

using namespace std::chrono_literals;

// Only these are compiled; with <parley/transport/all.hpp> and without the list, all are.
constexpr parley::transport_list<parley::shm, parley::uds> ways;

int feed_side(const parley::uri& at) {
    parley::diagnostics why;
    auto out = parley::open_sender<feed::tick>(at, ways, 5s, &why);
    if (out) {  // a transport without a way back: refused at the first words
        (void)out->send({1, 2.5F});
        std::printf("%-26s opened\n", at.text().c_str());
        return 1;
    }
    std::printf("%s\n  %s\n  %s\n", at.text().c_str(), out.error().message().c_str(),
                why.text().c_str());
    return out.error() == parley::errc::incompatible ? 0 : 1;
}

int main() {
    const std::string own = "06_types-" + std::to_string(getpid());
    int failed = 0;
    for (const std::string& address : {"shm://" + own, "unix:///tmp/" + own}) {
        const parley::uri at{address};
        auto in = parley::open_receiver<desk::tick>(at, ways).value();
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            const int code = feed_side(at);
            std::fflush(stdout);
            _exit(code);
        }
        int status = 0;
        waitpid(child, &status, 0);
        failed |= status;
    }
    return failed == 0 ? 0 : 1;
}
