// SPDX-License-Identifier: MIT
// UDP in one process: addresses, the guarantee, what is lost, doubled, late, foreign; groups.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/ports.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/channel.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>

#include <array>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::at_most_once;
using parley::diagnostics;
using parley::errc;
using parley::udp;
using parley::udp_multicast;
using parley::detail::datagram_record;
using parley::detail::unique_fd;

static_assert(parley::lossy_transport<udp> && parley::lossy_transport<udp_multicast>);
static_assert(parley::counting_source<udp::source>);

namespace {

/// Any free port of this host.
udp anywhere(udp::options o = {}) { return {"127.0.0.1:0", at_most_once{}, o}; }

/// The address of a receiver as a sender needs it.
template <class Address = udp>
Address address_of(const parley::datagram_source& in) {
    diagnostics why;
    return Address::from(in.address(), why).value();
}
parley::detail::ip_address kernel_address(const std::string& at) {
    diagnostics why;
    parley::detail::host_port where;
    REQUIRE(where.assign(at).empty());
    return parley::detail::resolve(where, false, why).value().front();
}

/// A program that knows nothing of parley.
class foreigner {
public:
    explicit foreigner(const std::string& to)
        : to_(kernel_address(to)), fd_(::socket(to_.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
    void send(parley::bytes datagram) const {
        REQUIRE(::sendto(fd_.get(), datagram.data(), datagram.size(), 0, to_.get(), to_.length) ==
                static_cast<ssize_t>(datagram.size()));
    }
    void send(std::string_view text) const { send(parley::as_bytes(text)); }

private:
    parley::detail::ip_address to_;
    unique_fd fd_;
};

/// A datagram as a sender of `tag` writes it.
std::vector<std::byte> written(std::uint64_t tag, std::uint64_t sender, std::uint64_t number,
                               datagram_record::kind what = datagram_record::kind::message,
                               std::string_view payload = {}) {
    std::vector<std::byte> all(datagram_record::header_bytes);
    datagram_record{tag, sender, number, 0, what}.write(all.data());
    const auto text = parley::as_bytes(payload);
    all.insert(all.end(), text.begin(), text.end());
    return all;
}

/// Stands between a sender and a receiver, and decides what passes.
class relay {
public:
    explicit relay(const std::string& to) : to_(to) {
        fd_ = unique_fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto any = kernel_address("127.0.0.1:0");
        const int room = 4 << 20;
        (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        REQUIRE(::bind(fd_.get(), any.get(), any.length) == 0);
    }
    [[nodiscard]] udp address() const {
        return {parley::detail::ip_address::of(fd_.get(), &::getsockname).text(), at_most_once{}};
    }
    /// What has come since; it came at once, on this host.
    [[nodiscard]] std::vector<std::vector<std::byte>> caught() const {
        std::vector<std::vector<std::byte>> all;
        std::vector<std::byte> room(65536);
        for (;;) {
            const auto n = ::recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
            if (n < 0) return all;
            all.emplace_back(room.begin(), room.begin() + n);
        }
    }
    void pass(parley::bytes datagram) const { to_.send(datagram); }

private:
    foreigner to_;
    unique_fd fd_;
};

bool is_message(const std::vector<std::byte>& datagram) {
    datagram_record head;
    return head.read(datagram) && head.what == datagram_record::kind::message;
}

}  // namespace

TEST_CASE("udp: an address and its uri are the same") {
    diagnostics why;
    for (const char* text :
         {"udp://127.0.0.1:7000", "udp://[::1]:7000?delivery=at_most_once", "udp://:0",
          "udp://h:1?delivery=at_most_once&message_bytes_max=100&send_buffer_bytes=9000"
          "&receive_buffer_bytes=9001&frame=none"}) {
        const auto at = udp::from(parley::uri(text), why);
        INFO(text << why.text());
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(udp::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text :
         {"udp_multicast://239.1.1.1:7400", "udp_multicast://[ff02::7]:7400?delivery=at_most_once",
          "udp_multicast://239.1.1.1:7400?delivery=at_most_once&interface=lo&loopback=off&ttl=4"}) {
        const auto at = udp_multicast::from(parley::uri(text), why);
        INFO(text << why.text());
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(udp_multicast::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text :
         {"udp:", "udp://host", "udp://host:65536", "udp://h:7?delivery=maybe", "udp://h:7?ttl=1",
          "udp://h:7?message_bytes_max=65508", "udp://h:7?message_bytes_max=0"}) {
        INFO(text);
        CHECK(udp::from(parley::uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
    CHECK(udp_multicast::from(parley::uri("udp_multicast://239.1.1.1:1?ttl=256"), why).error() ==
          errc::invalid_argument);
    CHECK(udp("h:1").delivered({}) == udp("h:1", at_most_once{}));
}

TEST_CASE("udp: an open without a guarantee is refused, with the words that mend it") {
    diagnostics why;
    const auto refused = [&](const auto& r) {
        REQUIRE(!r);
        CHECK(r.error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("?delivery=at_most_once"));
        CHECK_THAT(why.text(), contains("at_most_once{}"));
        why.clear();
    };
    refused(parley::open_receiver<int>(udp{"127.0.0.1:0"}, 0s, &why));
    refused(parley::open_sender<int>(udp{"127.0.0.1:7"}, 0s, &why));
    refused(parley::open_receiver<int>(udp_multicast{"239.1.1.1:0"}, 0s, &why));
    refused(parley::open_sender<int>(udp_multicast{"239.1.1.1:7"}, 0s, &why));
    // Named in either way.
    auto in = parley::open_receiver<int>(udp{"127.0.0.1:0"}, at_most_once{}, 0s, &why).value();
    auto out = parley::open_sender<int>(udp{address_of(in.end()).at}, at_most_once{}).value();
    auto same = parley::open_sender<int>(udp{address_of(in.end()).at, at_most_once{}}).value();
    CHECK(in.limits().lossy);
    REQUIRE(out.send(1));
    REQUIRE(same.send(2));
    CHECK(in.receive(10s).value() == 1);
    CHECK(in.receive(10s).value() == 2);
    CHECK(in.lost() == 0);
}

TEST_CASE("udp: a message longer than a datagram is refused with the limit") {
    const watchdog dog("udp: too large");
    auto in = source_at(anywhere());
    auto out = sink_at(address_of(in));
    CHECK(out.limits().message_bytes_max == 65475);
    CHECK(out.try_loan(65476).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("65475"));
    CHECK_THAT(out.why().text(), contains("one datagram"));
    REQUIRE(send(out, std::string(65475, 'x')));
    CHECK(receive(in).value() == std::string(65475, 'x'));
    diagnostics why;
    CHECK(open_source(anywhere({.message_bytes_max = 65476}), why).error() ==
          errc::invalid_argument);
    CHECK_THAT(why.text(), contains("1 to 65475 bytes"));
    // A receiver that takes less refuses, and goes on.
    auto narrow = source_at(anywhere({.message_bytes_max = 10}));
    auto wide = sink_at(udp(address_of(narrow).at, at_most_once{}));
    REQUIRE(send(wide, "eleven bytes"));
    REQUIRE(send(wide, "ten bytes."));
    CHECK(receive(narrow).value() == "ten bytes.");
    CHECK(narrow.refused() == 1);
    CHECK(narrow.lost() == 1);
}

TEST_CASE("udp: what a relay drops, doubles and delays is counted exactly, the rest in order") {
    const watchdog dog("udp: relay");
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        INFO("seed " << seed);
        parley::random r(seed);
        auto in = source_at(anywhere());
        relay between(address_of(in).at);
        std::vector<parley::datagram_sink> senders;
        for (int s = 0; s < 3; ++s) senders.push_back(sink_at(between.address()));
        std::uint64_t sent = 0;
        std::array<int, 3> last{-1, -1, -1};
        std::uint64_t got = 0;
        const auto take = [&] {
            while (const auto v = in.try_receive()) {
                const auto text = parley::as_text(v->bytes());
                const auto s = static_cast<std::size_t>(text[0] - '0');
                const int number = std::stoi(std::string(text.substr(2)));
                CHECK(number > last[s]);
                last[s] = number;
                ++got;
            }
        };
        std::vector<std::vector<std::byte>> delayed;
        for (int i = 0; i < 100; ++i) {
            const auto s = r.below(3);
            REQUIRE(send(senders[s], std::to_string(s) + ' ' + std::to_string(i)));
            ++sent;
            for (const auto& datagram : between.caught()) {
                if (!is_message(datagram)) continue;  // hellos may be lost as well
                switch (r.below(5)) {
                    case 0: break;
                    case 1: between.pass(datagram); [[fallthrough]];
                    case 2: between.pass(datagram); break;
                    case 3: delayed.push_back(datagram); break;
                    default: between.pass(datagram);
                }
            }
            if (r.below(10) == 0) {
                for (const auto& datagram : delayed) between.pass(datagram);
                delayed.clear();
            }
            take();
        }
        for (auto& s : senders) REQUIRE(s.close(parley::never));
        for (const auto& datagram : between.caught()) {
            between.pass(datagram);
            between.pass(datagram);  // one goodbye is enough
        }
        // What follows the goodbye is late.
        for (const auto& datagram : delayed) between.pass(datagram);
        take();
        CHECK(in.lost() > 0);
        CHECK(sent == got + in.lost());
        CHECK(in.late() >= 3 + delayed.size());
        CHECK(in.try_receive().error() == errc::would_block);
    }
}

TEST_CASE("udp: the goodbye counts what was lost last, and comes once") {
    const watchdog dog("udp: goodbye");
    auto in = source_at(anywhere());
    relay between(address_of(in).at);
    auto out = sink_at(between.address());
    for (int i = 0; i < 10; ++i) REQUIRE(send(out, "lost"));
    (void)between.caught();
    REQUIRE(out.close(parley::never));
    const auto end = between.caught();
    REQUIRE(end.size() == 1);
    between.pass(end[0]);
    between.pass(end[0]);
    CHECK(receive(in).error() == errc::closed);
    CHECK(in.lost() == 10);
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(in.late() == 1);
}

TEST_CASE("udp: what overflows the receive buffer is counted exactly") {
    const watchdog dog("udp: overflow");
    auto in = source_at(anywhere({.receive_buffer_bytes = 16384}));
    auto one = sink_at(address_of(in)), other = sink_at(address_of(in));
    std::uint64_t sent = 0, got = 0;
    for (int round = 0; round < 20; ++round) {
        for (int i = 0; i < 500; ++i, ++sent) REQUIRE(send(i % 3 == 0 ? one : other, "message"));
        while (in.try_receive()) ++got;
    }
    REQUIRE(one.close(parley::never));
    REQUIRE(other.close(parley::never));
    CHECK(in.try_receive().error() == errc::closed);
    CHECK(got > 0);
    CHECK(in.lost() > 0);
    CHECK(sent == got + in.lost());
}

TEST_CASE("udp: nobody need receive; the host's answer is counted, and a later receiver counts") {
    const watchdog dog("udp: nobody");
    const reserved_port port(AF_INET, SOCK_DGRAM);
    const udp at(port.text(), at_most_once{});
    auto out = sink_at(at);
    for (int i = 0; i < 10; ++i) REQUIRE(send(out, "nobody hears"));
    CHECK(out.unreached() > 0);
    {
        auto in = source_at(at);
        REQUIRE(send(out, "somebody does"));
        CHECK(receive(in).value() == "somebody does");
        CHECK(in.lost() == 10);
    }
    REQUIRE(send(out, "nobody again"));
    auto next = source_at(at);
    REQUIRE(send(out, "the next one"));
    CHECK(receive(next).value() == "the next one");
    CHECK(next.lost() == 12);
    diagnostics why;
    CHECK(open_source(at, why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("ss -lunp"));
    CHECK(open_sink(anywhere(), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("its address() tells"));
}

TEST_CASE("udp: strangers are told of once while nobody is there, then only counted") {
    const watchdog dog("udp: strangers");
    auto in = source_at(anywhere());
    const foreigner stranger(address_of(in).at);
    stranger.send("GET / HTTP/1.1");
    stranger.send("");
    CHECK(in.try_receive().error() == errc::corrupt);
    CHECK_THAT(in.why().text(), contains("?frame=none"));
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(in.refused() == 2);

    diagnostics why;
    auto wrong = address_of(in).open_sink({other_type, parley::never, &why}).value();
    REQUIRE(send(wrong, "another type"));
    CHECK(in.try_receive().error() == errc::incompatible);
    CHECK_THAT(in.why().text(), contains(std::string(other_type.description)));
    CHECK_THAT(in.why().text(), contains(std::string(text_type.description)));
    CHECK(in.try_receive().error() == errc::would_block);

    auto out = sink_at(address_of(in));
    parley::random r(3);
    std::vector<std::byte> noise;
    const auto before = in.refused();
    for (int i = 0; i < 2000; ++i) {
        // Nothing but noise, or a header with a wrong byte in the part that says what it is.
        noise = written(text_type.fingerprint, 7, 0);
        noise[26 + r.below(6)] ^= static_cast<std::byte>(1 + r.below(255));
        if (i % 2 == 0 || is_message(noise)) noise.assign(r.below(200), static_cast<std::byte>(i));
        stranger.send(noise);
        REQUIRE(send(wrong, "x"));
        REQUIRE(send(out, std::to_string(i)));
        REQUIRE(receive(in).value() == std::to_string(i));
    }
    (void)wrong.close(parley::never);  // nobody's goodbye
    CHECK(in.refused() >= before + 4000 - 2);
    CHECK(in.lost() == 0);
    REQUIRE(out.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
    // A number that no sender reaches would spoil the count.
    stranger.send(written(text_type.fingerprint, 9, ~std::uint64_t{0}));
    CHECK(in.try_receive().error() == errc::corrupt);
    CHECK(in.lost() == 0);
}

TEST_CASE("udp: a flood of senders is forgotten, those that ended first") {
    const watchdog dog("udp: flood");
    auto in = source_at(anywhere());
    auto out = sink_at(address_of(in));
    REQUIRE(send(out, "first"));
    CHECK(receive(in).value() == "first");
    const foreigner stranger(address_of(in).at);
    for (std::uint64_t s = 1; s <= 10'000; ++s) {
        stranger.send(written(text_type.fingerprint, s, 0, datagram_record::kind::message, "x"));
        CHECK(receive(in).value() == "x");
        if (s % 2 == 0)
            stranger.send(written(text_type.fingerprint, s, 1, datagram_record::kind::end));
        if (s % 500 == 0) {  // heard of now and then, so not forgotten
            REQUIRE(send(out, "still here"));
            CHECK(receive(in).value() == "still here");
        }
    }
    CHECK(in.lost() == 0);
}

TEST_CASE("udp: who calls itself sender 0, which none is, is heard neither first nor later") {
    const watchdog dog("udp: nobody");
    auto in = source_at(anywhere());
    auto out = sink_at(address_of(in));
    const foreigner nobody(address_of(in).at);
    const auto word = written(text_type.fingerprint, 0, 0, datagram_record::kind::message, "x");
    for (const auto* text : {"one", "two"}) {
        nobody.send(word);
        REQUIRE(send(out, text));
        CHECK(receive(in).value() == text);
    }
    REQUIRE(out.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
    CHECK(in.lost() == 0);
}

TEST_CASE("udp: frame=none talks to programs that know nothing of parley, both ways") {
    const watchdog dog("udp: frame none");
    const parley::udp::options bare{.message_bytes_max = 65507, .frame = parley::framing::none};
    auto in = source_at(anywhere(bare));
    const foreigner stranger(address_of(in).at);
    stranger.send("as it is");
    stranger.send("");
    CHECK(receive(in).value() == "as it is");
    CHECK(receive(in).value() == "");
    relay other("127.0.0.1:1");
    auto out = sink_at(udp(other.address().at, at_most_once{}, bare));
    REQUIRE(send(out, "bare"));
    REQUIRE(out.close(parley::never));
    const auto caught = other.caught();
    REQUIRE(caught.size() == 1);
    CHECK(parley::as_text(caught[0]) == "bare");
}

// --- groups ------------------------------------------------------------------------------------

namespace {

udp_multicast group(const char* at = "239.77.7.7:0", udp_multicast::options o = {}) {
    o.interface = "lo";
    return {at, at_most_once{}, o};
}

}  // namespace

TEST_CASE("udp_multicast: each member of a host gets each message, or counts it by itself") {
    const watchdog dog("udp_multicast: members");
    auto first = source_at(group());
    const auto at = address_of<udp_multicast>(first);
    auto second = source_at(at);
    auto out = sink_at(at), other = sink_at(at);
    for (int i = 0; i < 10; ++i) {
        REQUIRE(send(i % 2 == 0 ? out : other, std::to_string(i)));
        CHECK(receive(first).value() == std::to_string(i));
        CHECK(receive(second).value() == std::to_string(i));
    }
    auto late = source_at(at);
    REQUIRE(send(out, "late"));
    CHECK(receive(late).value() == "late");
    CHECK(late.lost() == 5);
    CHECK(receive(first).value() == "late");
    CHECK(receive(second).value() == "late");
    CHECK(first.lost() + second.lost() == 0);
    REQUIRE(second.close(parley::never));
    REQUIRE(out.close(parley::never));
    REQUIRE(other.close(parley::never));
    CHECK(receive(first).error() == errc::closed);
    while (late.lost() < 10) CHECK(receive(late).error() == errc::closed);
}

TEST_CASE("udp_multicast: another group at the same port is not heard") {
    const watchdog dog("udp_multicast: groups");
    auto in = source_at(group());
    const auto at = address_of<udp_multicast>(in);
    const auto port = at.at.substr(at.at.rfind(':'));
    auto neighbour = source_at(group(("239.77.7.8" + port).c_str()));
    auto out = sink_at(address_of<udp_multicast>(neighbour));
    REQUIRE(send(out, "for the neighbour"));
    CHECK(receive(neighbour).value() == "for the neighbour");
    CHECK(in.try_receive().error() == errc::would_block);
    // Nor a datagram to the host itself.
    const foreigner stranger("127.0.0.1" + port);
    stranger.send("to nobody");
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(in.refused() == 0);
}

TEST_CASE("udp_multicast: an address that is no group, and an interface that is none, in words") {
    diagnostics why;
    CHECK(open_source(group("127.0.0.1:7000"), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("is no multicast group"));
    CHECK_THAT(why.text(), contains("udp://"));
    udp_multicast nowhere("239.1.1.1:7000", at_most_once{}, {.interface = "parley9"});
    CHECK(open_source(nowhere, why).error() == errc::invalid_argument);
    CHECK(open_sink(nowhere, why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("no interface 'parley9'"));
}
