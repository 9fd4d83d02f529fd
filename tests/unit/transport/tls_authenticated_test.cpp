// SPDX-License-Identifier: MIT
#include <parley/delivered.hpp>
#include <parley/delivery/drawing.hpp>
#include <parley/delivery/machine.hpp>
#include <parley/tls.hpp>
#include <parley/transport/duplex_pair.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::at_most_once;
using parley::authenticated;
using parley::bytes;
using parley::diagnostics;
using parley::errc;
using parley::exactly_once;
namespace delivery = parley::delivery;

namespace {

const std::string key = "0123456789abcdef0123456789abcdef";
constexpr delivery::facts wild{.two_way = true};
constexpr delivery::facts line{true, true, true, true, true, true};

template <class Policies>
struct both {
    using stack = decltype(delivery::as_stack(Policies{}));
    both(const Policies& there, const Policies& here)
        : out(delivery::as_stack(there), 77, 1400), in(delivery::as_stack(here)) {}

    std::vector<std::byte> frame_of(std::string_view text) {
        out.submit(std::as_bytes(std::span(text)), now);
        std::vector<std::byte> f(out.wants(now));
        f.resize(out.transmit(f, now));
        return f;
    }
    /// What comes of a frame: "-" if nothing.
    std::string got(bytes frame) {
        in.on_frame(frame);
        const auto m = in.next();
        std::string text =
            m ? std::string(reinterpret_cast<const char*>(m->data()), m->size()) : std::string("-");
        while (in.next()) {
        }
        return text;
    }
    parley::time_point now{};
    delivery::sending<stack, wild> out;
    delivery::receiving<stack, wild> in;
};

}  // namespace

TEST_CASE("hmac: the sums of RFC 4231") {
    const auto sum = [](const std::string& k, const std::string& text) {
        std::string hex;
        for (const auto b : parley::detail::hmac_sha256(std::as_bytes(std::span(k)),
                                                        std::as_bytes(std::span(text)))) {
            constexpr char digits[] = "0123456789abcdef";
            hex += digits[static_cast<unsigned>(b) >> 4];
            hex += digits[static_cast<unsigned>(b) & 15];
        }
        return hex;
    };
    CHECK(sum(std::string(20, '\x0b'), "Hi There") ==
          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    CHECK(sum("Jefe", "what do ya want for nothing?") ==
          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST_CASE("authenticated: what bears the key comes through, and nothing else does") {
    using policies = decltype(exactly_once{} | authenticated{});
    const policies with = exactly_once{} | authenticated{key};
    both<policies> b(with, with);
    const auto first = b.frame_of("one");
    CHECK(b.got(first) == "one");
    CHECK(b.got(first) == "-");  // it was recorded and sent again
    CHECK(b.in.counters().duplicates == 1);

    const auto second = b.frame_of("two");
    for (std::size_t i = 0; i < second.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            auto changed = second;
            changed[i] ^= static_cast<std::byte>(1 << bit);
            REQUIRE(b.got(changed) == "-");
        }
        REQUIRE(b.got(bytes(second).first(i)) == "-");
    }
    CHECK(b.in.counters().corrupt == second.size() * 9);
    CHECK(b.got(second) == "two");

    // The sender's own frame is no answer to it, whatever it may say.
    const auto refused = b.out.counters().corrupt;
    b.out.on_frame(second, b.now);
    CHECK(b.out.counters().corrupt == refused + 1);
    std::vector<std::byte> answer(b.in.wants(true));
    REQUIRE(!answer.empty());
    answer.resize(b.in.transmit(answer));
    b.out.on_frame(answer, b.now);
    CHECK(b.out.counters().acknowledged == 2);

    both<policies> stranger(exactly_once{} | authenticated{std::string(32, 'x')}, with);
    CHECK(stranger.got(stranger.frame_of("three")) == "-");
    CHECK(stranger.in.counters().corrupt == 1);
}

TEST_CASE("authenticated: it is drawn, written over what is intact too, and takes no second seal") {
    using stack = decltype(delivery::as_stack(authenticated{}));
    const auto fields = delivery::header<stack, line>();
    REQUIRE(fields.size() == 1);
    CHECK(fields[0] == delivery::field{"hmac", 16});
    using two = decltype(authenticated{} | parley::checksum{});
    CHECK(delivery::check<two>(line) == delivery::fault::same_purpose);
    CHECK(delivery::check<decltype(exactly_once{} | authenticated{})>(wild) ==
          delivery::fault::none);
}

TEST_CASE("authenticated: what is acknowledged over two ways of udp is so under the key only") {
    watchdog dog("authenticated: two ways");
    const reserved_port there(AF_INET, SOCK_DGRAM), back(AF_INET, SOCK_DGRAM);
    const reserved_port elsewhere(AF_INET, SOCK_DGRAM);
    const exactly_once once{.resend_after = 20ms};
    const auto to = [&](const reserved_port& answers) {
        return parley::duplex{parley::udp(there.text()), parley::udp(answers.text())};
    };
    auto in = parley::open_receiver<std::uint64_t>(to(back), once | authenticated{key}).value();
    auto out = parley::open_sender<std::uint64_t>(to(back), once | authenticated{key}).value();
    auto foe = parley::open_sender<std::uint64_t>(to(elsewhere),
                                                  once | authenticated{std::string(32, '?')})
                   .value();
    for (std::uint64_t i = 0; i < 100; ++i) {
        (void)foe.try_send(1'000'000 + i);
        out.send(i, 10s).value();
        REQUIRE(in.receive(10s).value() == i);
    }
    CHECK(in.receive(20ms).error() == errc::timed_out);  // and the last one is acknowledged
    CHECK(out.close(10s));
}

TEST_CASE("authenticated: over udp a stranger's datagrams change nothing") {
    watchdog dog("authenticated: a stranger");
    const reserved_port port(AF_INET, SOCK_DGRAM);
    const auto sure = at_most_once{} | authenticated{key};
    diagnostics why;
    CHECK(parley::open_receiver<int>(parley::uds("@short-key"), authenticated{"short"}, 0ms, &why)
              .error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("shorter than 16 bytes"));
    CHECK(
        parley::open_sender<int>(parley::uds("@short-key"), authenticated{""}, 0ms, &why).error() ==
        errc::invalid_argument);

    const parley::udp at(port.text());
    auto in = parley::open_receiver<std::uint64_t>(at, sure).value();
    auto out = parley::open_sender<std::uint64_t>(at, sure).value();
    auto foe =
        parley::open_sender<std::uint64_t>(at, at_most_once{} | authenticated{std::string(32, '?')})
            .value();
    for (std::uint64_t i = 0; i < 200; ++i) {
        foe.send(1'000'000 + i).value();
        out.send(i).value();
        foe.send(2'000'000 + i).value();
        REQUIRE(in.receive(10s).value() == i);
    }
    CHECK(in.try_receive().error() == errc::would_block);
}
