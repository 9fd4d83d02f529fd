// SPDX-License-Identifier: MIT
// Two one-way addresses as one link.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/duplex_pair.hpp>
#include <parley/transport/uds.hpp>

using namespace parley_test;
using parley::diagnostics;
using parley::duplex;
using parley::errc;
using parley::uds;

static_assert(parley::duplex_transport<duplex<uds>>);

TEST_CASE("duplex pair: one link at a time, and the next after it") {
    watchdog dog("duplex pair: one link at a time");
    const temporary_directory dir;
    const duplex at{uds(dir / "there"), uds(dir / "back")};
    diagnostics why;
    const parley::duplex_request server{other_type, text_type, parley::never, &why};
    const parley::duplex_request client{text_type, other_type, parley::never, &why};
    auto door = at.open_listener(server).value();
    CHECK(door.try_accept().error() == errc::would_block);
    CHECK(door.wait(parley::clock::now()).error() == errc::timed_out);
    for (int round = 0; round < 2; ++round) {
        CHECK(door.try_accept().error() == errc::would_block);  // takes its name again
        auto linked = at.open_link(client).value();
        REQUIRE(door.wait(parley::never));
        auto accepted = door.try_accept().value();
        CHECK(door.try_accept().error() == errc::would_block);
        CHECK(at.open_link(client).error() == errc::in_use);
        REQUIRE(send(linked.out(), "question"));
        CHECK(receive(accepted.in()).value() == "question");
        REQUIRE(send(accepted.out(), "answer"));
        CHECK(receive(linked.in()).value() == "answer");
        REQUIRE(linked.close(parley::never));
        CHECK(receive(accepted.in()).error() == errc::closed);
    }
    REQUIRE(door.close(parley::never));
    CHECK(door.try_accept().error() == errc::closed);
    CHECK(dir.entries() == 0);
}
