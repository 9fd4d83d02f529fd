// SPDX-License-Identifier: MIT
// Delivery stacks over connections, which are cut and made again.
#include "support/stacks.hpp"

using namespace parley_test;
using namespace parley;
using namespace std::chrono_literals;

TEST_CASE("delivery: every stack over connections keeps its promises") {
    watchdog dog("delivery: line", std::chrono::seconds(campaign() ? 3600 : 120));
    seen total;
    packed<line>("no guarantee", when_full::block{.messages = 2}, total);
    guaranteed<line>(when_full::block{}, total);
    CHECK(total.stacks == 28);
    CHECK(total.cuts > 0);
    CHECK(total.resent > 0);
    // At least once says so: what was handed out before a cut and not acknowledged comes again.
    CHECK(total.again > 0);
}
TEST_CASE("delivery: what is given up is counted, by every rule for when it is full") {
    watchdog dog("delivery: when_full");
    seen total;
    packed<line>("drop_newest", when_full::drop_newest{.messages = 2}, total);
    packed<line>("drop_oldest", when_full::drop_oldest{.messages = 3}, total);
    packed<line>("latest_only", delivery::as_stack(when_full::latest_only{}), total);
    CHECK(total.dropped > 0);
    CHECK(total.expired == 0);
    packed<line>("expires", when_full::drop_oldest{} | expires_after{50us}, total);
    packed<line>("error", when_full::error{} | expires_after{100us}, total);
    CHECK(total.expired > 0);
}
