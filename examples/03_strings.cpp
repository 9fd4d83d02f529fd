// SPDX-License-Identifier: MIT
// Aggregates with strings, vectors, maps and more need no code at all: they travel packed and
// little-endian, the same on every host.
#include <parley/channel.hpp>
#include <parley/transport/uds.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <vector>

enum class side : std::uint8_t { buy, sell };
struct leg {
    std::string symbol;
    side what;
    std::uint32_t lots;
};
struct order {
    std::string account;
    std::vector<leg> legs;
    std::map<std::string, double> limits;
    std::optional<std::string> note;
};

int main() {
    const parley::uds at("@03_strings-" + std::to_string(getpid()));
    auto in = parley::open_receiver<order>(at).value();
    const pid_t child = fork();
    if (child == 0) {
        auto out = parley::open_sender<order>(at).value();
        out.send({"desk 4",
                  {{"EURUSD", side::buy, 2}, {"USDJPY", side::sell, 1}},
                  {{"EURUSD", 1.0925}},
                  "by noon"})
            .value();
        _exit(0);
    }
    const order got = in.receive().value();
    waitpid(child, nullptr, 0);
    std::printf("order of %s, %zu legs:\n", got.account.c_str(), got.legs.size());
    for (const leg& l : got.legs) {
        std::printf("  %s %u %s", l.what == side::buy ? "buy" : "sell", l.lots, l.symbol.c_str());
        if (const auto limit = got.limits.find(l.symbol); limit != got.limits.end()) {
            std::printf(" up to %.4f", limit->second);
        }
        std::printf("\n");
    }
    std::printf("note: %s\nit travelled as: %s\n", got.note.value_or("none").c_str(),
                std::string(in.type().description).c_str());
    return got.legs.size() == 2 ? 0 : 1;
}
