// SPDX-License-Identifier: MIT
// Links over TCP: what they share with those of Unix domain sockets, once more where the kernel's
// part differs.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/tcp.hpp>

#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::tcp;

static_assert(parley::duplex_transport<tcp>);

namespace {

/// The type that listeners answer with.
constexpr parley::message_type answer_type{0x7465787400000003, "raw answers of tests", 8};

tcp::listener listener() {
    diagnostics why;
    return tcp("127.0.0.1:0").open_listener({answer_type, text_type, parley::never, &why}).value();
}
tcp::link link_to(const tcp::listener& l) {
    diagnostics why;
    return tcp::from(l.address(), why)
        .value()
        .open_link({text_type, answer_type, parley::never, &why})
        .value();
}
tcp::link accepted(tcp::listener& l) {
    REQUIRE(l.wait(parley::never));
    return l.try_accept().value();
}

}  // namespace

TEST_CASE("tcp link: questions go one way, answers the other, and each ends by itself") {
    watchdog dog("tcp link: questions and answers");
    auto door = listener();
    CHECK(door.try_accept().error() == errc::would_block);
    auto client = link_to(door);
    auto server = accepted(door);
    CHECK(server.peer().uid == static_cast<uid_t>(-1));  // TCP names nobody
    for (int i = 0; i < 3; ++i) {
        REQUIRE(send(client.out(), "question"));
        CHECK(receive(server.in()).value() == "question");
        REQUIRE(send(server.out(), "answer"));
        CHECK(receive(client.in()).value() == "answer");
    }
    REQUIRE(door.close(parley::never));
    CHECK(door.try_accept().error() == errc::closed);
    REQUIRE(send(client.out(), "last question"));
    REQUIRE(client.out().close(parley::never));
    CHECK(receive(server.in()).value() == "last question");
    CHECK(receive(server.in()).error() == errc::closed);
    REQUIRE(send(server.out(), "last answer"));
    REQUIRE(server.close(parley::never));
    CHECK(receive(client.in()).value() == "last answer");
    CHECK(receive(client.in()).error() == errc::closed);
}

TEST_CASE("tcp link: a death shows in both directions") {
    watchdog dog("tcp link: a death");
    auto door = listener();
    child c([&] {
        // An inherited listener is closed in a child; its address tells the port nevertheless.
        auto client = link_to(door);
        if (!send(client.out(), "alive")) return 1;
        ::pause();
        return 0;
    });
    auto server = accepted(door);
    CHECK(receive(server.in()).value() == "alive");
    c.kill();
    CHECK(receive(server.in()).error() == errc::peer_lost);
    parley::error_code ec;
    while (!ec) {
        if (const auto r = send(server.out(), "answer"); !r) ec = r.error();
    }
    CHECK(ec == errc::peer_lost);
}

TEST_CASE("tcp link: a forked child does not end its parent's link") {
    watchdog dog("tcp link: a forked child");
    auto door = listener();
    auto client = link_to(door);
    auto server = accepted(door);
    child c([&] {
        { const auto gone = std::move(client); }
        { const auto gone = std::move(server); }
        return 0;
    });
    CHECK(c.wait() == 0);
    REQUIRE(send(client.out(), "still here"));
    CHECK(receive(server.in()).value() == "still here");
    REQUIRE(send(server.out(), "here too"));
    CHECK(receive(client.in()).value() == "here too");
}

TEST_CASE("tcp link: other types are refused, each direction for itself") {
    watchdog dog("tcp link: types");
    auto door = listener();
    diagnostics why;
    const tcp at = tcp::from(door.address(), why).value();
    auto client = at.open_link({text_type, other_type, parley::never, &why}).value();
    auto server = accepted(door);
    CHECK(receive(client.in()).error() == errc::incompatible);
    CHECK_THAT(client.in().why().text(), contains(std::string(answer_type.description)));
}
