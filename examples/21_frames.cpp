// SPDX-License-Identifier: MIT
// Frames of 2 MiB from one camera to two viewers, copied by nobody: the camera fills them where
// both look at them. One viewer looks at a frame for a long time; the other sees what comes
// meanwhile, the camera waits for neither, and what was looked at is whole to the end.
#include <parley/pubsub.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

struct frame {
    std::uint64_t number;
    std::array<std::uint8_t, (2 << 20) - 8> pixels;
};
template <>
struct parley::codec<frame> : parley::fields<&frame::number, &frame::pixels> {};
using namespace std::chrono_literals;
int watch(const parley::shm& at, const char* who, std::chrono::milliseconds look) {
    auto camera = parley::open_subscriber<frame>(at).value();
    std::uint64_t seen = 0, torn = 0;
    while (auto f = camera.borrow()) {  // the frame itself, held until f is gone
        const auto number = (*f)->number;
        if (look > 0ms) std::this_thread::sleep_for(look);
        torn += (*f)->number != number || (*f)->pixels.back() != static_cast<std::uint8_t>(number);
        ++seen;
    }
    const auto lost = camera.lost();
    std::printf("%s: saw %llu frames, was too slow for %llu, torn: %llu\n", who,
                static_cast<unsigned long long>(seen), static_cast<unsigned long long>(lost),
                static_cast<unsigned long long>(torn));
    return torn == 0 && seen + lost == 300 ? 0 : 1;
}

int main() {
    const parley::shm at("21_frames-" + std::to_string(getpid()),
                         {.capacity_bytes = 16 << 20, .writers_max = 1, .chunks = 8});
    const pid_t fast = fork();
    if (fast == 0) return watch(at, "fast viewer", 0ms);
    const pid_t slow = fork();
    if (slow == 0) return watch(at, "slow viewer", 20ms);
    auto out = parley::open_publisher<frame>(at, parley::when_full::drop_oldest{}).value();
    out.wait_for_subscribers(2).value();
    for (std::uint64_t i = 0; i < 300; ++i) {
        auto shot = out.loan().value();  // one of the 8 chunks: what is exposed here is seen there
        shot->number = i;
        std::memset(shot->pixels.data(), static_cast<int>(i), shot->pixels.size());
        out.publish(std::move(shot)).value();
        std::this_thread::sleep_for(1ms);
    }
    out.close().value();
    int failed = 0;
    for (int status = 0; wait(&status) > 0;) failed |= status;
    return failed;
}
