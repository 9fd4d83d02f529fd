// SPDX-License-Identifier: MIT
// Delivery policies between real processes: lost, doubled and damaged datagrams, cut connections,
// killed receivers.
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/all_list.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/socket.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::testing::chaotic;
using parley::testing::mischief;

namespace {

constexpr std::uint64_t messages_max = 20'000;
struct tally {
    std::atomic<std::uint32_t> came[messages_max] = {};
};

/// Message i: its number, and text of a length that depends on it.
std::string message(std::uint64_t i) {
    std::string m(8 + i * 37 % 200, static_cast<char>('a' + i % 26));
    std::memcpy(m.data(), &i, 8);
    return m;
}

template <class Address, class Policies>
int send_all(const Address& at, const Policies& how, std::uint64_t n) {
    auto out = parley::open_sender<std::string>(at, how, 20s).value();
    for (std::uint64_t i = 0; i < n; ++i) out.send(message(i)).value();
    return out.close(60s) ? 0 : 1;
}
/// Takes messages until their sender closed, and checks each.
template <class Address, class Policies>
int receive_all(const Address& at, const Policies& how, tally& seen, bool ordered) {
    auto in = parley::open_receiver<std::string>(at, how, 20s).value();
    for (std::uint64_t next = 0;;) {
        const auto m = in.receive();
        if (!m) {
            if (m.error() == errc::peer_lost) continue;  // it comes again
            return m.error() == errc::closed ? 0 : 1;
        }
        std::uint64_t i = messages_max;
        if (m->size() >= 8) std::memcpy(&i, m->data(), 8);
        if (i >= messages_max || *m != message(i)) return 2;
        if (ordered && seen.came[i] == 0 && i < next) return 3;
        next = i + 1;
        ++seen.came[i];
    }
}
bool each_came(const tally& seen, std::uint64_t n, std::uint32_t least, std::uint32_t most) {
    for (std::uint64_t i = 0; i < n; ++i) {
        if (seen.came[i] < least || seen.came[i] > most) {
            UNSCOPED_INFO("message " << i << " came " << seen.came[i] << " times");
            return false;
        }
    }
    return true;
}
template <class Address, class Policies>
void transfer(const Address& at, const Policies& how, std::uint64_t n, std::uint32_t least,
              std::uint32_t most, bool ordered = true) {
    const shared<tally> seen;
    child receiver([&] { return receive_all(at, how, *seen.operator->(), ordered); });
    CHECK(send_all(at, how, n) == 0);
    CHECK(receiver.wait() == 0);
    CHECK(each_came(*seen.operator->(), n, least, most));
}
mischief weather(unsigned seed) {
    return {.seed = seed, .drop = 100, .duplicate = 100, .damage = 100, .disorder = 100};
}

}  // namespace

TEST_CASE("delivered: guarantees hold over datagrams that are lost, doubled, damaged, disordered") {
    watchdog dog("delivered: chaos", std::chrono::seconds(campaign() ? 600 : 60));
    using namespace parley;
    const temporary_directory dir;
    const std::uint64_t n = campaign() ? messages_max : 1500;
    const auto patience = 3ms;
    for (unsigned seed = 1; seed <= (campaign() ? 10U : 2U); ++seed) {
        INFO("seed " << seed);
        const chaotic at{uds(dir / "x", {.type = uds::seqpacket}), weather(seed)};
        transfer(at, checksum{} | at_most_once{}, n, 0, 1);
        transfer(at, checksum{} | at_least_once{.resend_after = patience}, n, 1, 1);
        transfer(at, checksum{} | exactly_once{.resend_after = patience} | unordered{}, n, 1, 1,
                 false);
        transfer(at, checksum{} | exactly_once{.resend_after = patience} | batched{} | fragmented{},
                 n, 1, 1);
    }
}
TEST_CASE("delivered: connections that are cut again and again cost nothing") {
    watchdog dog("delivered: cuts");
    using namespace parley;
    const temporary_directory dir;
    const reserved_port port;
    constexpr delivery::facts line{true, true, true, true, true, true};
    const mischief cuts{.cut_every = 97};
    const std::uint64_t n = 3000;
    const auto over = [&](const auto& real) {
        using address = std::remove_cvref_t<decltype(real)>;
        const chaotic<address, line> at{real, cuts};
        transfer(at, delivery::as_stack(exactly_once{}), n, 1, 1);
        transfer(at, exactly_once{.window = 8} | batched{.messages = 4}, n, 1, 1);
        transfer(at, delivery::as_stack(at_least_once{}), n, 1, 1000);
    };
    over(uds(dir / "x"));
    over(uds(dir / "y", {.type = uds::seqpacket}));
    over(tcp(port.text()));
    // So that the cut hits the last messages, their acknowledgements and the goodbye.
    for (unsigned i = 1; i <= 20; ++i) {
        const chaotic<tcp, line> at{tcp(port.text()), {.cut_every = 60 + i}};
        transfer(at, delivery::as_stack(exactly_once{}), 145, 1, 1);
    }
}
TEST_CASE("delivered: a goodbye over a new link is not taken for the death of the old one") {
    watchdog dog("delivered: goodbye");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    const auto over = [&](const auto& how) {
        auto in = parley::open_receiver<int>(at, how).value();
        const int first = ::dup(0);
        ::close(first);
        auto out = parley::open_sender<int>(at, how).value();
        out.send(1).value();
        CHECK(in.receive().value() == 1);
        CHECK(in.try_receive().error() == errc::would_block);  // acknowledges
        out.end().wait(parley::clock::now() + 1s).value();
        REQUIRE(out.end().unfinished() == 0);
        // The sender's socket is cut, and the receiver does not look before the sender has left.
        REQUIRE(::shutdown(first, SHUT_RDWR) == 0);
        CHECK(out.close(10s));
        CHECK(in.receive(10s).error() == errc::closed);
        CHECK(in.peers_lost() == 1);
    };
    over(parley::exactly_once{});
    over(parley::at_least_once{});
}
TEST_CASE("delivered: of two links of one sender the newer one is kept, whichever is read first") {
    watchdog dog("delivered: two links");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    auto in = parley::open_receiver<int>(at, parley::exactly_once{}).value();
    const auto next_descriptor = [] {
        const int fd = ::dup(0);
        ::close(fd);
        return fd;
    };
    int link = next_descriptor();
    auto out = parley::open_sender<int>(at, parley::exactly_once{}).value();
    const auto go_on = [&] { out.end().wait(parley::clock::now() + 1s).value(); };
    out.send(1).value();
    CHECK(in.receive().value() == 1);
    CHECK(in.try_receive().error() == errc::would_block);  // acknowledges
    go_on();
    REQUIRE(::shutdown(link, SHUT_RDWR) == 0);
    CHECK(in.receive(10s).error() == errc::peer_lost);
    out.send(2).value();  // finds the cut
    link = next_descriptor();
    go_on();  // the second link, which ends with a message in it
    REQUIRE(::shutdown(link, SHUT_RDWR) == 0);
    out.send(3).value();
    while (out.end().counters().resent < 3) go_on();  // the third link
    CHECK(in.receive(10s).value() == 2);
    CHECK(in.receive(10s).value() == 3);
    CHECK(in.try_receive().error() == errc::would_block);
    std::thread leaves([&] { out.close(10s).value(); });
    CHECK(in.receive(10s).error() == errc::closed);
    leaves.join();
}
TEST_CASE("delivered: a killed receiver's successor gets what was not acknowledged") {
    watchdog dog("delivered: a killed receiver");
    using namespace parley;
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto how = at_least_once{.window = 16} | when_full::block{.messages = 4};
    const std::uint64_t n = 5000;
    const shared<tally> seen;
    child sender([&] { return send_all(at, how, n); });
    for (int round = 0; round < 5; ++round) {
        gate some;
        child receiver([&] {
            auto in = open_receiver<std::string>(at, how, 20s).value();
            for (int i = 0; i < 600; ++i) {
                const auto m = in.receive().value();
                std::uint64_t k = 0;
                std::memcpy(&k, m.data(), 8);
                ++seen->came[k];  // done with, before the next call says so
                if (i == 300) some.open();
            }
            ::pause();
            return 0;
        });
        some.pass();
        receiver.kill();
    }
    child last([&] { return receive_all(at, how, *seen.operator->(), false); });
    CHECK(sender.wait() == 0);
    CHECK(last.wait() == 0);
    CHECK(each_came(*seen.operator->(), n, 1, 6));
}
TEST_CASE("delivered: a sender that is killed is lost, and what it was acknowledged is there") {
    watchdog dog("delivered: a killed sender");
    using namespace parley;
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = open_receiver<std::string>(at, exactly_once{}).value();
    gate sent;
    child sender([&] {
        auto out = open_sender<std::string>(at, exactly_once{}, 20s).value();
        for (std::uint64_t i = 0; i < 50; ++i) out.send(message(i)).value();
        // The first acknowledgement tells how much the receiver takes, and so sends the rest.
        while (out.end().unfinished() == 50) (void)out.end().wait(parley::clock::now() + 10s);
        sent.open();
        ::pause();
        return 0;
    });
    for (std::uint64_t i = 0; i < 20; ++i) CHECK(in.receive().value() == message(i));
    sent.pass();
    sender.kill();
    for (std::uint64_t i = 20; i < 50; ++i) CHECK(in.receive().value() == message(i));
    CHECK(in.receive().error() == errc::peer_lost);
    CHECK(in.peers_lost() == 1);
}
TEST_CASE("delivered: ends of other stacks refuse each other and name what they write") {
    watchdog dog("delivered: other stacks");
    using namespace parley;
    const temporary_directory dir;
    const uds at(dir / "x");
    const auto in = open_receiver<int>(at, exactly_once{}).value();
    diagnostics why;
    CHECK(open_sender<int>(at, at_least_once{}, 5s, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("[delivery {sender u64, number u32, lag u16} of raw i32") &&
                               contains("[delivery {number u32, lag u16} of raw i32"));
    CHECK(open_sender<int>(at, 5s, &why).error() == errc::incompatible);
}
TEST_CASE("delivered: a stack that writes nothing meets an end without policies") {
    watchdog dog("delivered: nothing written");
    using namespace parley;
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = open_receiver<int>(at).value();
    auto out = open_sender<int>(at, when_full::drop_oldest{} | at_most_once{}).value();
    REQUIRE(out.send(7));
    CHECK(in.receive().value() == 7);
}
TEST_CASE("delivered: a full transport is left to what is urgent first") {
    watchdog dog("delivered: priorities");
    using namespace parley;
    const temporary_directory dir;
    const uds at(dir / "x");
    auto in = open_receiver<int>(at).value();
    auto out = open_sender<int>(at, prioritized{} | when_full::block{.messages = 8}).value();
    int many = 0;
    while (out.try_send(many)) ++many;  // until the socket and the queue are full
    CHECK(out.try_send(many).error() == errc::would_block);
    out.end().priority(1);
    REQUIRE(out.try_send(-1));
    std::thread leaves([&] { out.close(10s).value(); });
    int behind = 0;  // the urgent one
    for (int next = 0; next < many;) {
        const int m = in.receive(10s).value();
        CHECK(m == (m == -1 ? -1 : next));
        next += m == -1 ? 0 : 1;
        if (m == -1) behind = many - next;
    }
    CHECK(behind >= 8);
    CHECK(in.receive(10s).error() == errc::closed);
    leaves.join();
}
TEST_CASE("delivered: by uri an impossible stack is refused with the compiler's words") {
    using namespace parley;
    const temporary_directory dir;
    diagnostics why;
    const auto refused = [&](const std::string& at) {
        const auto r = open_sender<int>(uri{at}, at_least_once{}, 0ms, &why);
        return !r && r.error() == errc::unsupported;
    };
    CHECK(refused("shm://nobody"));
    CHECK_THAT(why.text(), contains(std::string(sentence(delivery::fault::one_way))));
    CHECK(refused("nowhere://x"));
    const std::string path = "unix://" + (dir / "x");
    auto in = open_receiver<int>(uri{path}, at_least_once{}).value();
    auto out = open_sender<int>(uri{path}, at_least_once{}).value();
    REQUIRE(out.send(7));
    CHECK(in.receive().value() == 7);
    CHECK(in.try_receive().error() == errc::would_block);
    REQUIRE(out.close(5s));
    CHECK(in.receive().error() == errc::closed);
}
