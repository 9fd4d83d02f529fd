// SPDX-License-Identifier: MIT
// Delivery stacks over ways without connections: drop, delay, duplicate, reorder, damage.
#include "support/stacks.hpp"

using namespace parley_test;
using namespace parley;

TEST_CASE("delivery: every stack over datagrams that may be damaged keeps its promises") {
    watchdog dog("delivery: wild", std::chrono::seconds(campaign() ? 3600 : 120));
    seen total;
    guaranteed<wild>(checksum{} | when_full::block{.messages = 16}, total);
    CHECK(total.stacks == 24);
    CHECK(total.resent > 0);
    CHECK(total.duplicates > 0);
    CHECK(total.corrupt > 0);
    CHECK(total.lost > 0);
    CHECK(total.again == 0);
}
TEST_CASE("delivery: every stack over datagrams keeps its promises") {
    watchdog dog("delivery: calm", std::chrono::seconds(campaign() ? 3600 : 120));
    seen total;
    guaranteed<calm>(when_full::block{.messages = 3}, total);
    CHECK(total.stacks == 24);
    CHECK(total.cuts > 0);
    CHECK(total.corrupt == 0);
}
