// SPDX-License-Identifier: MIT
// What stacks may be made of, what they write, and single steps of their machines.
#include <parley/delivery/drawing.hpp>
#include <parley/delivery/durable.hpp>

#include "support/catch.hpp"
#include "support/stacks.hpp"

#include <string>
#include <vector>

using namespace parley_test;
using namespace parley;
using namespace parley::delivery;
using namespace std::chrono_literals;

namespace {

template <facts Way, class Policies>
fault fault_of(const Policies& p) {
    const auto s = as_stack(p);
    return delivery::check<std::remove_cvref_t<decltype(s)>>(Way);
}
template <facts Way, class Policies>
std::size_t header_bytes(const Policies& p) {
    const auto s = as_stack(p);
    return sending<std::remove_cvref_t<decltype(s)>, Way>::header_bytes;
}
constexpr facts one_way{true, true, true, true, false, false};
constexpr facts udp_like{.intact = true, .once = true, .ordered = true};

/// A sending side, a receiving side, and frames between them by hand.
template <facts Way, class Policies>
struct bench {
    using stack_type = std::remove_cvref_t<decltype(as_stack(std::declval<Policies>()))>;
    using frame = std::vector<std::byte>;

    explicit bench(const Policies& p)
        : policies(as_stack(p)), out(policies, 0x1'0000'0000 + 77, 256), in(policies) {}

    void submit(std::string_view text) { out.submit(as_bytes(text), now); }
    std::vector<frame> frames() {
        std::vector<frame> all;
        while (const std::size_t n = out.wants(now)) {
            frame f(n);
            f.resize(out.transmit(f, now));
            all.push_back(f);
        }
        return all;
    }
    std::string feed(const frame& f) {
        std::string all;
        in.on_frame(f);
        while (const auto m = in.next()) (all += as_text(*m)) += ' ';
        return all;
    }
    bool acknowledge() {
        frame f(in.wants(true));
        if (f.empty()) return false;
        f.resize(in.transmit(f));
        out.on_frame(f, now);
        return true;
    }

    stack_type policies;
    sending<stack_type, Way> out;
    receiving<stack_type, Way> in;
    time_point now{1s};
};

}  // namespace

TEST_CASE("delivery stack: the check finds each fault and lets the rest pass") {
    CHECK(fault_of<line>(at_least_once{} | batched{} | when_full::block{}) == fault::none);
    CHECK(fault_of<line>(at_least_once{} | exactly_once{}) == fault::same_purpose);
    CHECK(fault_of<line>(batched{} | batched{}) == fault::same_purpose);
    CHECK(fault_of<line>(when_full::block{} | when_full::error{}) == fault::same_purpose);
    CHECK(fault_of<calm>(batched{}) == fault::nothing_named);
    CHECK(fault_of<udp_like>(batched{} | at_most_once{}) == fault::none);
    CHECK(fault_of<wild>(at_most_once{}) == fault::damaged);
    CHECK(fault_of<wild>(at_most_once{} | checksum{}) == fault::none);
    CHECK(fault_of<one_way>(at_least_once{}) == fault::one_way);
    CHECK(fault_of<one_way>(exactly_once{}) == fault::one_way);
    CHECK(fault_of<one_way>(batched{} | when_full::drop_oldest{}) == fault::none);
    CHECK(fault_of<line>(at_least_once{} | when_full::drop_oldest{}) == fault::gives_up);
    CHECK(fault_of<line>(exactly_once{} | when_full::latest_only{}) == fault::gives_up);
    CHECK(fault_of<line>(exactly_once{} | unordered{} | fragmented{}) == fault::parts_in_disorder);
    CHECK(fault_of<line>(batched{} | unordered{}) == fault::nothing_to_order);
    CHECK(fault_of<line>(at_most_once{} | receipts{}) == fault::nothing_to_tell);
    CHECK(fault_of<line>(exactly_once{} | receipts{}) == fault::none);
    CHECK(fault_of<line>(at_most_once{} | durable{}) == fault::nothing_to_keep);
    CHECK(fault_of<line>(at_least_once{} | durable{} | prioritized{}) == fault::kept_in_order);
    CHECK(fault_of<line>(exactly_once{} | durable{} | receipts{}) == fault::none);
    CHECK(fault_of<line>(at_least_once{} | durable{} | expires_after{}) ==
          fault::kept_until_acknowledged);
    for (auto f = fault::same_purpose; f <= fault::kept_until_acknowledged;
         f = static_cast<fault>(static_cast<int>(f) + 1)) {
        CHECK_THAT(std::string(sentence(f)), contains("parley: "));
    }
}
TEST_CASE("delivery stack: the order in which policies are written does not matter") {
    CHECK(header<std::remove_cvref_t<decltype(checksum{} | at_most_once{} | batched{})>, wild>() ==
          header<std::remove_cvref_t<decltype(batched{} | checksum{} | at_most_once{})>, wild>());
}
TEST_CASE("delivery stack: what a transport promises by itself is not written") {
    CHECK(header_bytes<line>(at_most_once{} | checksum{}) == 0);
    CHECK(header_bytes<udp_like>(at_most_once{}) == 0);
    CHECK(header_bytes<line>(when_full::drop_oldest{} | expires_after{}) == 0);
    CHECK(header_bytes<line>(batched{}) == 4);
    CHECK(header_bytes<line>(at_least_once{}) == 6);
    CHECK(header_bytes<line>(exactly_once{}) == 14);
    CHECK(header_bytes<calm>(at_least_once{}) == 14);
    CHECK(header_bytes<wild>(at_most_once{} | checksum{}) == 16);
    CHECK(header_bytes<line>(fragmented{}) == 12);
    CHECK(header_bytes<one_way>(fragmented{}) == 20);
    CHECK(header_bytes<calm>(fragmented{} | at_most_once{}) == 24);
}
TEST_CASE("delivery stack: the header draws itself") {
    using all = std::remove_cvref_t<decltype(exactly_once{} | checksum{} | batched{})>;
    CHECK('\n' + draw<all, wild>() == R"(
byte    0         4            12           16        18           22
        +---------+------------+------------+---------+------------+- - -
        | crc u32 | sender u64 | number u32 | lag u16 | length u32 | message
        +---------+------------+------------+---------+------------+- - -
)");
    CHECK('\n' + draw(header_back<all, line>(), "nothing") == R"(
byte    0            8          12         14           22
        +------------+----------+----------+------------+- - -
        | sender u64 | next u32 | room u16 | beyond u64 | nothing
        +------------+----------+----------+------------+- - -
)");
    CHECK(header_back<delivery::stack<batched>, line>().empty());
}
TEST_CASE("at_least_once: what was lost is sent again after its time, each time after twice it") {
    bench<calm, at_least_once> b(at_least_once{.resend_after = 10ms, .resend_after_max = 30ms});
    b.submit("one");
    CHECK(b.frames().size() == 1);
    for (const auto wait : {10ms, 20ms, 30ms, 30ms}) {
        CHECK(b.out.next_deadline() == b.now + wait);
        b.now += wait - 1ms;
        CHECK(b.frames().empty());
        b.now += 1ms;
        CHECK(b.frames().size() == 1);
    }
    CHECK(b.out.counters().resent == 4);
}
TEST_CASE("at_least_once: a message is acknowledged when its receiver asks for the next one") {
    bench<line, at_least_once> b(at_least_once{});
    b.submit("one");
    const auto f = b.frames();
    b.in.on_frame(f.at(0));
    CHECK(as_text(b.in.next().value()) == "one");
    (void)b.acknowledge();
    CHECK_FALSE(b.out.idle());
    CHECK_FALSE(b.in.next());
    CHECK(b.acknowledge());
    CHECK(b.out.idle());
    CHECK(b.out.next_deadline() == never);
}
TEST_CASE("receipts: what arrived is told at once, what is in hand is not yet consumed") {
    bench<line, decltype(at_least_once{} | receipts{})> b(at_least_once{} | receipts{});
    for (const auto* m : {"one", "two", "three"}) b.submit(m);
    CHECK(b.out.submitted() == 3);
    const auto f = b.frames();
    CHECK(b.out.reached(receipt::delivered) == 0);
    b.in.on_frame(f.at(0));
    CHECK(b.acknowledge());  // before it is handed out
    CHECK(b.out.reached(receipt::delivered) == 1);
    CHECK(b.in.next());
    CHECK_FALSE(b.acknowledge());
    CHECK(b.out.reached(receipt::consumed) == 0);
    CHECK_FALSE(b.in.next());
    CHECK(b.acknowledge());
    CHECK(b.out.reached(receipt::consumed) == 1);
    b.in.on_frame(f.at(1));
    CHECK(b.in.next());
    CHECK(b.acknowledge());  // in hand
    CHECK(b.out.reached(receipt::delivered) == 2);
    CHECK(b.out.reached(receipt::consumed) == 1);
}
TEST_CASE("receipts: a message in parts came when its last part did, one that waits did not") {
    const auto how = at_least_once{.window = 2} | fragmented{};
    bench<line, std::remove_cvref_t<decltype(how)>> b(how);
    b.submit("short");
    b.submit(std::string(900, 'x'));  // four frames
    b.submit("last");
    std::vector<std::uint64_t> reached;
    for (int i = 0; i < 8 && b.out.reached(receipt::consumed) < 3; ++i) {
        for (const auto& f : b.frames()) (void)b.feed(f);
        (void)b.acknowledge();
        reached.push_back(b.out.reached(receipt::consumed));
    }
    CHECK(reached == std::vector<std::uint64_t>{1, 1, 3});
}
TEST_CASE("receipts: what was given up is not waited for, what waits behind it is") {
    const auto how = at_least_once{.window = 1} | expires_after{10ms} | prioritized{2};
    bench<line, std::remove_cvref_t<decltype(how)>> b(how);
    b.submit("on its way");
    const auto f = b.frames();
    b.submit("too late");
    b.now += 20ms;
    b.out.priority(1);
    b.submit("high");
    CHECK_FALSE(b.feed(f.at(0)).empty());
    CHECK(b.acknowledge());
    CHECK(b.out.reached(receipt::consumed) == 1);  // nobody looked at the time yet
    const auto g = b.frames();
    REQUIRE(g.size() == 1);
    CHECK(b.out.reached(receipt::consumed) == 1);
    CHECK(b.feed(g[0]) == "high ");
    CHECK(b.acknowledge());
    CHECK(b.frames().empty());
    CHECK(b.out.counters().expired == 1);
    CHECK(b.out.reached(receipt::consumed) == 3);
}
TEST_CASE("receipts: an acknowledgement of what was never sent changes nothing") {
    bench<line, decltype(at_least_once{} | receipts{})> b(at_least_once{} | receipts{});
    b.submit("one");
    const auto f = b.frames();
    b.in.on_frame(f.at(0));
    std::vector<std::byte> back(b.in.wants(true));
    back.resize(b.in.transmit(back));
    store_le(back.data() + back.size() - 2, std::uint16_t{2});
    b.out.on_frame(back, b.now);
    CHECK(b.out.counters().corrupt == 1);
    CHECK(b.out.reached(receipt::delivered) == 0);
}
TEST_CASE("at_least_once: the window is what may be on the way, and its receiver's if smaller") {
    bench<calm, at_least_once> b(at_least_once{.window = 4});
    for (int i = 0; i < 6; ++i) b.submit("m");
    const auto f = b.frames();
    CHECK(f.size() == 4);
    CHECK(b.feed(f[2]).empty());
    CHECK(b.feed(f[1]).empty());
    CHECK(b.feed(f[0]) == "m m m ");
    CHECK(b.acknowledge());
    CHECK(b.frames().size() == 2);
}
TEST_CASE("at_least_once: only the frame that was overtaken is sent again at once, and once") {
    bench<calm, at_least_once> b(at_least_once{});
    for (int i = 0; i < 4; ++i) b.submit("m");
    const auto f = b.frames();
    CHECK(b.feed(f[0]) == "m ");
    CHECK(b.feed(f[2]).empty());
    CHECK(b.acknowledge());
    const auto again = b.frames();
    REQUIRE(again.size() == 1);
    CHECK(b.feed(f[3]).empty());
    CHECK(b.acknowledge());
    CHECK(b.frames().empty());
    CHECK(b.feed(again[0]) == "m m m ");
}
TEST_CASE("exactly_once: after a receiver's death its successor begins where it was acknowledged") {
    bench<line, exactly_once> b(exactly_once{});
    for (const auto* m : {"a", "b", "c"}) b.submit(m);
    const auto f = b.frames();
    CHECK(b.feed(f[0]) == "a ");
    CHECK(b.acknowledge());
    b.in = decltype(b.in)(b.policies);
    b.out.on_link(b.now);
    std::string got;
    for (const auto& again : b.frames()) got += b.feed(again);
    CHECK(got == "b c ");
}
TEST_CASE("at_most_once: a sender that was here before another one is not heard again") {
    using policies = std::remove_cvref_t<decltype(as_stack(at_most_once{}))>;
    bench<calm, at_most_once> b(at_most_once{});
    sending<policies, calm> other(b.policies, 5, 256);
    b.submit("old");
    const auto old = b.frames();
    CHECK(b.feed(old[0]) == "old ");
    other.submit(as_bytes("new"), b.now);
    std::vector<std::byte> f(other.wants(b.now));
    f.resize(other.transmit(f, b.now));
    CHECK(b.feed(f) == "new ");
    b.submit("late");
    CHECK(b.feed(b.frames()[0]).empty());
    CHECK(b.in.counters().duplicates == 1);
}
TEST_CASE("expires_after: a full queue says when it has room by itself") {
    bench<line, decltype(when_full::block{} | expires_after{})> b(when_full::block{.messages = 1} |
                                                                  expires_after{100ms});
    CHECK(b.out.next_deadline(b.now) == never);
    b.submit("one");
    CHECK(b.out.admits(b.now) == admission::wait);
    CHECK(b.out.next_deadline(b.now) == b.now + 100ms);
    b.now += 100ms;
    CHECK(b.out.admits(b.now) == admission::taken);
    CHECK(b.out.next_deadline(b.now) == never);
}
TEST_CASE("delivery stack: what was due before does not hide when something is due next") {
    bench<calm, decltype(at_least_once{} | batched{})> b(
        at_least_once{.window = 1, .resend_after = 50ms} | batched{.messages = 2, .linger = 10ms});
    for (int i = 0; i < 2; ++i) b.submit("m");
    CHECK(b.frames().size() == 1);
    const auto again = b.now + 50ms;
    b.submit("m");
    b.now += 20ms;  // it lingered long enough, and the window is closed
    CHECK(b.frames().empty());
    CHECK(b.out.next_deadline() == b.now - 10ms);
    CHECK(b.out.next_deadline(b.now) == again);
}
TEST_CASE("prioritized: a higher priority goes first, and each keeps its order") {
    bench<line, decltype(at_least_once{} | prioritized{3})> b(at_least_once{.window = 1} |
                                                              prioritized{3});
    const auto submit = [&](std::size_t priority, std::string_view text) {
        b.out.priority(priority);
        b.submit(text);
    };
    submit(0, "numbered");
    const auto first = b.frames();
    REQUIRE(first.size() == 1);
    submit(0, "low");
    submit(2, "high");
    submit(1, "middle");
    submit(7, "highest");  // there is none above 2
    std::string got = b.feed(first[0]);
    while (b.acknowledge()) {
        for (const auto& f : b.frames()) got += b.feed(f);
    }
    CHECK(got == "numbered high highest middle low ");
}
TEST_CASE("prioritized: a full queue of one priority does not hold up another") {
    bench<line, decltype(when_full::block{} | prioritized{})> b(when_full::block{.messages = 1} |
                                                                prioritized{});
    b.submit("low");
    CHECK(b.out.admits(b.now) == admission::wait);
    b.out.priority(1);
    CHECK(b.out.admits(b.now) == admission::taken);
    b.submit("high");
    CHECK(b.out.admits(b.now) == admission::wait);
    CHECK(b.out.unfinished() == 2);
    std::string got;
    for (const auto& f : b.frames()) got += b.feed(f);
    CHECK(got == "high low ");
}
TEST_CASE("prioritized: a message of which a part was sent is sent to its end") {
    bench<line, decltype(fragmented{} | prioritized{})> b(fragmented{} | prioritized{});
    const std::string long_one(300, 'x');
    b.submit(long_one);
    std::vector<std::byte> part(b.out.wants(b.now));
    part.resize(b.out.transmit(part, b.now));
    b.out.priority(1);
    b.submit("high");
    std::string got = b.feed(part);
    for (const auto& f : b.frames()) got += b.feed(f);
    CHECK(got == long_one + " high ");
}
TEST_CASE("prioritized: what waits longest decides when a batch has lingered enough") {
    bench<line, decltype(batched{} | prioritized{})> b(batched{.linger = 10ms} | prioritized{});
    b.submit("low");
    b.now += 6ms;
    b.out.priority(1);
    b.submit("high");
    CHECK(b.frames().empty());
    CHECK(b.out.next_deadline() == b.now + 4ms);
    b.now += 4ms;
    const auto f = b.frames();
    REQUIRE(f.size() == 1);
    CHECK(b.feed(f[0]) == "high low ");
}
TEST_CASE("batched: what waits already goes together, and linger waits for more") {
    bench<line, batched> now(batched{.messages = 3});
    for (int i = 0; i < 7; ++i) now.submit("m");
    const auto f = now.frames();
    CHECK(f.size() == 3);
    CHECK(now.feed(f[0]) == "m m m ");
    bench<line, batched> later(batched{.messages = 3, .linger = 5ms});
    later.submit("m");
    CHECK(later.frames().empty());
    CHECK(later.out.next_deadline() == later.now + 5ms);
    later.now += 5ms;
    CHECK(later.frames().size() == 1);
    later.submit("m");
    later.out.hurry();
    CHECK(later.frames().size() == 1);
    for (int i = 0; i < 3; ++i) later.submit("m");
    CHECK(later.frames().size() == 1);
}
TEST_CASE("when_full::error refuses, block asks to wait") {
    bench<line, when_full::error> e(when_full::error{.messages = 1});
    CHECK(e.out.admits(e.now) == admission::taken);
    e.submit("m");
    CHECK(e.out.admits(e.now) == admission::refused);
    bench<line, when_full::block> w(when_full::block{.messages = 1});
    w.submit("m");
    CHECK(w.out.admits(w.now) == admission::wait);
    (void)w.frames();
    CHECK(w.out.admits(w.now) == admission::taken);
}
TEST_CASE("when_full: who is given up is the newest, the oldest, or all but the latest") {
    const auto kept = [](const auto& rule) {
        bench<line, std::remove_cvref_t<decltype(rule)>> b(rule);
        for (const auto* m : {"1", "2", "3", "4"}) b.submit(m);
        std::string all;
        for (const auto& f : b.frames()) all += b.feed(f);
        CHECK(b.out.counters().dropped + all.size() / 2 == 4);
        return all;
    };
    CHECK(kept(when_full::drop_newest{.messages = 2}) == "1 2 ");
    CHECK(kept(when_full::drop_oldest{.messages = 2}) == "3 4 ");
    CHECK(kept(when_full::latest_only{}) == "4 ");
}
TEST_CASE("delivery: bytes from outside change nothing but a counter") {
    const auto policies = exactly_once{} | checksum{} | fragmented{} | batched{};
    parley::random dice(3);
    bench<wild, std::remove_cvref_t<decltype(policies)>> b(policies);
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> f(4 + dice.below(60));
        for (auto& x : f) x = std::byte(dice.below(256));
        if (i % 2 == 0) checksum::sealing(checksum{}, true).seal(f);
        CHECK(b.feed(f).empty());
        b.out.on_frame(f, b.now);
    }
    CHECK(b.in.counters().corrupt + b.in.counters().duplicates >= 10'000);
}

TEST_CASE("batched: a batch longer than the usual queue fills, and a full queue waits no longer") {
    bench<one_way, batched> b(batched{.messages = 100, .linger = 1h});
    for (int i = 0; i < 99; ++i) {
        REQUIRE(b.out.admits(b.now) == admission::taken);
        b.submit("x");
    }
    CHECK(b.frames().empty());
    b.submit("x");
    CHECK(!b.frames().empty());

    const auto few = batched{.messages = 100, .linger = 1h} | when_full::error{.messages = 4};
    bench<one_way, std::remove_cvref_t<decltype(few)>> c(few);
    for (int i = 0; i < 4; ++i) c.submit("x");
    CHECK(c.frames().size() == 1);
}
