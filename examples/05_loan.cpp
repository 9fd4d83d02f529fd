// SPDX-License-Identifier: MIT
// Zero copy: a picture of 3 MiB is drawn in the memory that the other process looks at.
#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <numeric>

struct picture {
    std::uint64_t number;
    std::array<std::uint8_t, 3 << 20> pixels;
};
// Nobody can find the members of a type so large, so it states them.
template <>
struct parley::codec<picture> : parley::fields<&picture::number, &picture::pixels> {};

using namespace std::chrono_literals;
constexpr std::uint64_t pictures = 200;

int draw(const parley::shm& at) {
    auto out = parley::open_sender<picture>(at).value();
    for (std::uint64_t n = 1; n <= pictures; ++n) {
        auto p = out.loan(5s).value();  // waits while the lane is full
        p->number = n;
        p->pixels.fill(static_cast<std::uint8_t>(n));
        out.send(std::move(p)).value();  // nothing is copied, nothing can fail halfway
    }
    out.close().value();
    return 0;
}

int main() {
    const parley::shm at("05_loan-" + std::to_string(getpid()), {.capacity_bytes = 16 << 20});
    auto in = parley::open_receiver<picture>(at).value();
    const pid_t child = fork();
    if (child == 0) _exit(draw(at));

    std::uint64_t seen = 0, wrong = 0;
    const auto start = parley::clock::now();
    while (auto p = in.borrow(5s)) {  // pinned until `p` dies
        const picture& look = **p;
        wrong += look.number != ++seen || look.pixels[seen] != look.number % 256;
    }
    const std::chrono::duration<double> took = parley::clock::now() - start;
    waitpid(child, nullptr, 0);
    std::printf("%llu pictures of %zu bytes in %.3f s, %.1f GB/s drawn, none copied, %llu wrong\n",
                static_cast<unsigned long long>(seen), sizeof(picture), took.count(),
                static_cast<double>(seen * sizeof(picture)) / took.count() / 1e9,
                static_cast<unsigned long long>(wrong));
    return seen == pictures && wrong == 0 ? 0 : 1;
}
