// SPDX-License-Identifier: MIT
// Large messages over pipes and pairs of sockets: gathered from where they lie, and read straight
// into the object that is to hold them.
#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/uds.hpp>

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using parley::errc;

struct picture {
    std::uint64_t number;
    std::byte pixels[60'000];
};

std::unique_ptr<picture> numbered(std::uint64_t n) {
    auto p = std::make_unique<picture>();
    p->number = n;
    std::memset(p->pixels, static_cast<int>(n % 251), sizeof p->pixels);
    return p;
}
bool is_numbered(const picture& p, std::uint64_t n) {
    return std::memcmp(&p, numbered(n).get(), sizeof p) == 0;
}

}  // namespace

template <>
struct parley::codec<picture> : parley::opaque<picture> {};

namespace {

template <class Address>
parley::channel<picture, Address> warm(const Address& at) {
    auto ends = parley::make_channel<picture>(at).value();
    picture first;
    // What is read into an object directly comes after the hello.
    ends.tx.send(*numbered(1)).value();
    ends.rx.receive(first).value();
    REQUIRE(is_numbered(first, 1));
    return ends;
}

/// Puts bytes on the wire behind the sender's back.
template <class Ends>
void raw(Ends& ends, const void* from, std::size_t n) {
    REQUIRE(::write(ends.tx.end().io().descriptor(), from, n) == static_cast<ssize_t>(n));
}
std::vector<std::byte> framed(std::size_t length) {
    std::vector<std::byte> f(parley::frame::header_bytes + length, std::byte{3});
    parley::frame::write_header(f.data(), parley::frame::kind::message, length);
    return f;
}

template <class Address>
void passes_all(const Address& at) {
    auto ends = warm(at);
    auto into = std::make_unique<picture>();
    CHECK(ends.rx.receive(*into, 0ms).error() == errc::would_block);
    CHECK(ends.rx.receive(*into, 1ms).error() == errc::timed_out);
    std::uint64_t sent = 1, got = 1;
    for (int round = 0; round < 5; ++round) {
        for (;;) {  // until it is full: what the kernel did not take lies in the sender
            const auto r = ends.tx.try_send(*numbered(sent + 1));
            if (!r) {
                REQUIRE(r.error() == errc::would_block);
                break;
            }
            ++sent;
        }
        // By turns straight into an object, by value, and where it lies.
        while (got < sent) {
            (void)ends.tx.end().flush(parley::expired);
            ++got;
            if (got % 3 == 0) {
                auto v = std::make_unique<parley::result<picture>>(ends.rx.receive(1s));
                REQUIRE(is_numbered(v->value(), got));
            } else if (got % 3 == 1) {
                REQUIRE(is_numbered(*ends.rx.borrow(1s).value(), got));
            } else {
                ends.rx.receive(*into, 1s).value();
                REQUIRE(is_numbered(*into, got));
            }
        }
    }
    REQUIRE(sent > 5);
    ends.tx.close().value();
    CHECK(ends.rx.receive(*into).error() == errc::closed);
}

template <class Address>
void waits_for_the_rest(const Address& at) {
    auto ends = warm(at);
    auto into = std::make_unique<picture>();
    const auto f = framed(sizeof(picture));
    for (const std::size_t cut :
         {std::size_t{3}, std::size_t{8}, std::size_t{9}, std::size_t{30'000}, f.size() - 1}) {
        raw(ends, f.data(), cut);
        CHECK(ends.rx.receive(*into, 1ms).error() == errc::timed_out);
        CHECK(ends.rx.receive(*into, 0ms).error() == errc::would_block);
        raw(ends, f.data() + cut, f.size() - cut);
        ends.rx.receive(*into).value();
        CHECK(std::memcmp(into.get(), f.data() + 8, sizeof *into) == 0);
    }
    raw(ends, f.data(), 40'000);
    // Another description of the same end goes away without a goodbye.
    ends.tx.end().io().close();
    CHECK(ends.rx.receive(*into).error() == errc::peer_lost);
}

template <class Address>
void refuses_other_lengths(const Address& at) {
    auto ends = warm(at);
    auto into = std::make_unique<picture>();
    for (const std::size_t length :
         {0UL, 1UL, 4094UL, 4095UL, 4096UL, 4097UL, 65'535UL, 65'536UL, 100'000UL}) {
        const auto f = framed(length);
        raw(ends, f.data(), f.size());
        CHECK(ends.rx.receive(*into).error() == errc::corrupt);
        ends.tx.send(*numbered(length)).value();
        ends.rx.receive(*into).value();
        CHECK(is_numbered(*into, length));
    }
}

const auto stream = parley::uds({.type = parley::uds::kind::stream});
const auto seqpacket = parley::uds({.type = parley::uds::kind::seqpacket});

}  // namespace

TEST_CASE("large messages: arrive whole and in order however they are received") {
    parley_test::watchdog dog("large messages: arrive");
    passes_all(parley::pipe{});
    passes_all(stream);
    passes_all(seqpacket);
}

TEST_CASE("large messages: one in parts is waited for, and its end in the middle is a loss") {
    parley_test::watchdog dog("large messages: parts");
    waits_for_the_rest(parley::pipe{});
    waits_for_the_rest(stream);
}

TEST_CASE("large messages: one of another length is corrupt and costs no other") {
    parley_test::watchdog dog("large messages: length");
    refuses_other_lengths(parley::pipe{});
    refuses_other_lengths(stream);
    refuses_other_lengths(seqpacket);
}

TEST_CASE("large messages: of every length arrive over names, whichever call took them") {
    parley_test::watchdog dog("large messages: lengths");
    const parley_test::temporary_directory dir;
    constexpr std::size_t lengths[] = {0, 1, 4094, 4095, 4096, 4097, 65'535, 65'536, 100'000};
    for (const auto k : {parley::uds::stream, parley::uds::seqpacket, parley::uds::datagram}) {
        const parley::uds at(dir / "x", {.type = k});
        auto in = parley::open_receiver<std::string>(at).value();
        auto out = parley::open_sender<std::string>(at).value();
        for (const std::size_t length : lengths) {
            const std::string text(length, static_cast<char>('a' + length % 26));
            // Two before one is received, so that some of it may stay with the sender.
            out.send(text, 1s).value();
            const bool taken = out.try_send(text).has_value();
            REQUIRE(in.receive(1s).value() == text);
            if (taken) {
                (void)out.end().flush(parley::clock::now() + 1s);
                REQUIRE(in.receive(1s).value() == text);
            }
        }
        out.close(parley::clock::now() + 1s).value();
        in.close().value();
    }
}
