// SPDX-License-Identifier: MIT
// Eight processes send to one. Each one's messages come in its order; nothing is lost.
#include <parley/channel.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

struct reading {
    std::uint32_t sensor;
    std::uint32_t number;
};
constexpr std::uint32_t sensors = 8, readings = 20'000;

// Only these are compiled; with <parley/transport/all.hpp> and without the list, all are.
constexpr parley::transport_list<parley::shm, parley::uds> ways;

int sense(const parley::uri& at, std::uint32_t sensor) {
    auto out = parley::open_sender<reading>(at, ways).value();
    for (std::uint32_t n = 1; n <= readings; ++n) out.send({sensor, n}).value();
    out.close().value();
    return 0;
}

int collect(const parley::uri& at) {
    auto in = parley::open_receiver<reading>(at, ways).value();
    for (std::uint32_t s = 0; s < sensors; ++s) {
        if (fork() == 0) _exit(sense(at, s));
    }
    std::array<std::uint32_t, sensors> last{};
    std::uint32_t total = 0, out_of_order = 0;
    const auto start = parley::clock::now();
    while (total < sensors * readings) {
        // When all that came so far have left, that is an end too; the others are still to come.
        auto r = in.receive(std::chrono::seconds(20));
        if (!r && r.error() == parley::errc::closed) continue;
        if (!r) return std::printf("%s\n", r.error().message().c_str()), 1;
        out_of_order += r->number != ++last[r->sensor];
        ++total;
    }
    const std::chrono::duration<double> took = parley::clock::now() - start;
    while (wait(nullptr) > 0) {
    }
    std::printf("%-34s %u messages from %u senders, %u out of order, %.1f million/s\n",
                at.text().c_str(), total, sensors, out_of_order, total / took.count() / 1e6);
    return out_of_order == 0 ? 0 : 1;
}

int main() {
    const std::string own = "08_many_senders-" + std::to_string(getpid());
    return collect(parley::uri{"shm://" + own}) | collect(parley::uri{"unix://@" + own});
}
