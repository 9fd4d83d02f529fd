// SPDX-License-Identifier: MIT
// Talks: seeded worlds, and frames that nobody writes.
#include <parley/rpc/talk.hpp>

#include "support/catch.hpp"
#include "support/talks.hpp"
#include "support/watchdog.hpp"

#include <cstdint>
#include <vector>

using namespace parley_test;
namespace rpc = parley::rpc;

TEST_CASE("talk: in every world values come once, in order, before their end, within credit") {
    std::uint64_t taken = 0, refused = 0;
    for (std::uint64_t seed = 1; seed <= (campaign() ? 20'000U : 200U); ++seed) {
        world_of_talks world(seed);
        const auto wrong = world.run(4000);
        INFO("seed " << seed);
        REQUIRE(wrong == "");
        taken += world.taken();
        refused += world.refused();
    }
    CHECK(taken > 10'000);
    CHECK(refused > 100);
}
TEST_CASE("talk: frames that nobody writes are refused, whatever they are") {
    parley::random dice(11);
    int refused = 0, taken = 0;
    for (int round = 0; round < 200; ++round) {
        rpc::talk t(1, 3);
        std::int64_t held = 0;
        for (int i = 0; i < 200; ++i) {
            std::vector<std::byte> f(rpc::header::bytes + dice.below(3) * dice.below(20'000));
            rpc::header h{1, static_cast<std::uint32_t>(dice.below(70'000)),
                          static_cast<rpc::kind>(6 + dice.below(7)),
                          static_cast<rpc::family>(dice.below(3)),
                          static_cast<std::uint16_t>(dice.below(4))};
            h.write(f.data());
            rpc::header read;
            if (!read.read(f) || !t.on_frame(read, parley::bytes(f).subspan(16))) {
                ++refused;
                continue;
            }
            ++taken;
            if (read.what == rpc::kind::item) held += static_cast<std::int64_t>(f.size());
            CHECK(held <= 3 * (rpc::talk::window_bytes + 60'000));
        }
    }
    CHECK(refused > 1000);
    CHECK(taken > 1000);
}
