// SPDX-License-Identifier: MIT
// Links over Unix domain sockets: two ways, two types, ends that are independent.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/uds.hpp>

#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::uds;

static_assert(parley::duplex_transport<uds>);

namespace {

constexpr uds::kind kinds[] = {uds::stream, uds::seqpacket};

/// The type that listeners answer with.
constexpr parley::message_type answer_type{0x7465787400000003, "raw answers of tests", 8};

uds::listener listener_at(const uds& at) {
    diagnostics why;
    return at.open_listener({answer_type, text_type, parley::never, &why}).value();
}
uds::link link_at(const uds& at) {
    diagnostics why;
    return at.open_link({text_type, answer_type, parley::never, &why}).value();
}
uds::link accepted(uds::listener& l) {
    REQUIRE(l.wait(parley::never));
    return l.try_accept().value();
}

}  // namespace

TEST_CASE("uds link: questions go one way and answers the other") {
    watchdog dog("uds link: questions and answers");
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds at(dir / "x", {.type = k});
        auto door = listener_at(at);
        CHECK(door.try_accept().error() == errc::would_block);
        auto client = link_at(at);
        auto server = accepted(door);
        CHECK(server.peer() == parley::peer_id{::getpid(), ::getuid(), ::getgid()});
        CHECK(client.peer().pid == ::getpid());
        for (int i = 0; i < 3; ++i) {
            REQUIRE(send(client.out(), "question"));
            CHECK(receive(server.in()).value() == "question");
            REQUIRE(send(server.out(), "answer"));
            CHECK(receive(client.in()).value() == "answer");
        }
        REQUIRE(door.close(parley::never));
        CHECK(dir.entries() == 0);
        REQUIRE(send(client.out(), "the link goes on"));
        CHECK(receive(server.in()).value() == "the link goes on");
    }
}

TEST_CASE("uds link: each direction ends by itself") {
    watchdog dog("uds link: each direction");
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds at(dir / "x", {.type = k});
        auto door = listener_at(at);
        auto client = link_at(at);
        auto server = accepted(door);
        REQUIRE(send(client.out(), "last question"));
        REQUIRE(client.out().close(parley::never));
        CHECK(receive(server.in()).value() == "last question");
        CHECK(receive(server.in()).error() == errc::closed);
        REQUIRE(send(server.out(), "answer"));
        REQUIRE(server.close(parley::never));
        CHECK(receive(client.in()).value() == "answer");
        CHECK(receive(client.in()).error() == errc::closed);
    }
}

TEST_CASE("uds link: a death shows in both directions") {
    watchdog dog("uds link: a death");
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds at(dir / "x", {.type = k});
        auto door = listener_at(at);
        child c([&] {
            auto client = link_at(at);
            if (!send(client.out(), "alive")) return 1;
            ::pause();
            return 0;
        });
        auto server = accepted(door);
        CHECK(server.peer().pid == c.pid());
        CHECK(receive(server.in()).value() == "alive");
        c.kill();
        CHECK(receive(server.in()).error() == errc::peer_lost);
        CHECK(send(server.out(), "answer").error() == errc::peer_lost);
    }
}

TEST_CASE("uds link: a forked child does not end its parent's link") {
    watchdog dog("uds link: a forked child");
    const temporary_directory dir;
    const uds at(dir / "x");
    auto door = listener_at(at);
    auto client = link_at(at);
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

TEST_CASE("uds link: other types are refused, each direction for itself") {
    watchdog dog("uds link: types");
    const temporary_directory dir;
    const uds at(dir / "x");
    auto door = listener_at(at);
    diagnostics why;
    CHECK(at.open_link({other_type, answer_type, parley::never, &why}).error() ==
          errc::incompatible);
    (void)door.try_accept();
    auto client = at.open_link({text_type, other_type, parley::never, &why}).value();
    auto server = accepted(door);
    CHECK(receive(client.in()).error() == errc::incompatible);
    CHECK_THAT(client.in().why().text(), contains(std::string(answer_type.description)));
    CHECK(uds(dir / "y", {.type = uds::datagram})
              .open_listener({answer_type, text_type, parley::never, &why})
              .error() == errc::unsupported);
}
