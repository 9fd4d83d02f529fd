// SPDX-License-Identifier: MIT
// One publisher, a fast subscriber and a slow one, which is overtaken and knows what it missed.
// Then the publisher is killed, and another one goes on under the same name: nobody has to be
// restarted.
#include <parley/pubsub.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <string>

struct tick {
    std::uint64_t number;
    double price;
};
namespace when_full = parley::when_full;
using namespace std::chrono_literals;

int watch(const parley::shm& at, const char* who, std::chrono::microseconds pause) {
    auto feed = parley::open_subscriber<tick>(at).value();  // waits for a publisher
    std::uint64_t got = 0;
    for (;;) {
        const auto t = feed.receive();
        if (t) {
            ++got;
            if (pause > 0us) usleep(static_cast<useconds_t>(pause.count()));
        } else if (t.error() != parley::errc::peer_lost) {
            break;  // closed; after a death another publisher may come
        }
    }
    const auto lost = feed.lost();
    std::printf(
        "%s: of %llu ticks %llu came, %llu were overwritten first; publishers that died: %llu\n",
        who, static_cast<unsigned long long>(got + lost), static_cast<unsigned long long>(got),
        static_cast<unsigned long long>(lost), static_cast<unsigned long long>(feed.peers_lost()));
    return got + lost == 20'000 && feed.peers_lost() == 1 ? 0 : 1;
}

int publish(const parley::shm& at, std::uint64_t from, std::uint64_t to) {
    auto feed = parley::open_publisher<tick>(at, when_full::drop_oldest{}).value();
    feed.wait_for_subscribers(2).value();
    for (auto i = from; i < to; ++i) feed.publish({i, 100 + static_cast<double>(i % 7)}).value();
    if (from == 0) raise(SIGKILL);
    feed.close().value();
    return 0;
}

int main() {
    const parley::shm at("16_pubsub-" + std::to_string(getpid()), {.capacity_bytes = 1 << 16});
    const pid_t fast = fork();
    if (fast == 0) return watch(at, "fast", 0us);
    const pid_t slow = fork();
    if (slow == 0) return watch(at, "slow", 100us);
    const pid_t first = fork();
    if (first == 0) return publish(at, 0, 10'000);
    int status = 0, failed = 0;
    waitpid(first, &status, 0);
    if (!WIFSIGNALED(status)) failed = 1;
    if (publish(at, 10'000, 20'000) != 0) failed = 1;
    for (const pid_t child : {fast, slow}) {
        waitpid(child, &status, 0);
        if (status != 0) failed = 1;
    }
    return failed;
}
