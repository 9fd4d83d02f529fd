// SPDX-License-Identifier: MIT
// What every mutant has to face: stacks over ways of each kind, and calls, in seeded worlds. Ends
// with 1 and the words when a promise is broken.
#include <parley/testing/simulated.hpp>

#include "support/calls.hpp"

#include <cstdio>
#include <cstdlib>

using namespace parley;
using delivery::facts;
using namespace std::chrono_literals;

namespace {

constexpr facts wild{.two_way = true};
constexpr facts calm{.intact = true, .two_way = true};
constexpr facts line{true, true, true, true, true, true};

template <facts Way, class Policies>
void face(const char* name, const Policies& policies) {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        const auto r = testing::simulate<Way>(policies, seed, 150);
        if (r.wrong.empty()) continue;
        std::printf("%s, seed %llu: %s\n", name, static_cast<unsigned long long>(seed),
                    r.wrong.c_str());
        std::exit(1);
    }
}

}  // namespace

int main() {
    face<wild>("at_least_once", checksum{} | at_least_once{.window = 8} | batched{} | fragmented{});
    face<wild>("at_most_once", checksum{} | at_most_once{} | fragmented{});
    face<calm>("exactly_once", exactly_once{.window = 16} | unordered{});
    face<calm>("receipts", at_least_once{.window = 8} | receipts{});
    face<line>("exactly_once over cuts", exactly_once{.window = 8} | batched{});
    face<line>("at_least_once over cuts", at_least_once{.window = 8} | batched{});
    face<line>("latest_only", when_full::latest_only{} | fragmented{} | expires_after{500us});
    face<line>("prioritized",
               prioritized{3} | fragmented{} | batched{} | at_least_once{.window = 4});
    face<line>("drop_newest", when_full::drop_newest{.messages = 2} | batched{});
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        const auto wrong = parley_test::world_of_calls(seed).run(400);
        if (wrong.empty()) continue;
        std::printf("calls, seed %llu: %s\n", static_cast<unsigned long long>(seed), wrong.c_str());
        return 1;
    }
    std::puts("every promise was kept");
    return 0;
}
