// SPDX-License-Identifier: MIT
#include <parley/base/limits.hpp>
#include <parley/base/type.hpp>

#include "support/catch.hpp"

TEST_CASE("message type: equal fingerprints are accepted and others refused", "[base]") {
    constexpr parley::message_type in{0x1234, "raw {u32 @0} 4/4", 4};
    CHECK(parley::accepts(in, 0x1234));
    CHECK_FALSE(parley::accepts(in, 0x1235));
    CHECK_FALSE(parley::accepts(in, 0));
}

TEST_CASE("message type: an end that takes any type accepts all", "[base]") {
    CHECK(parley::accepts(parley::any_type, 0));
    CHECK(parley::accepts(parley::any_type, 0x1234));
    CHECK(parley::any_type.description == "any type");
}

TEST_CASE("limits: unless a transport says more, there is one of each and nothing is lost",
          "[base]") {
    constexpr parley::limits l;
    CHECK(l.message_bytes_max == 0);
    CHECK(l.loans_max == 1);
    CHECK(l.borrows_max == 1);
    CHECK(l.writers_max == 1);
    CHECK(l.readers_max == 1);
    CHECK_FALSE(l.lossy);
    CHECK_FALSE(l.persistent);
}
