// SPDX-License-Identifier: MIT
// Promise pipelining: calls whose arguments are answers that have not come.
#include <parley/rpc.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/testing/virtual_wire.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::method;
using parley::outcome;
using parley::result;
namespace rpc = parley::rpc;

namespace {

struct chain {
    method<"add(a, b)", std::int64_t(std::int64_t, std::int64_t)> add;
    method<"text", std::string(std::int64_t)> text;
    method<"length", std::size_t(std::string_view)> length;
    method<"repeat", std::string(std::string, std::int64_t)> repeat;
    method<"join", std::string(std::string, std::string)> join;
    method<"refuse", std::int64_t(std::int64_t)> refuse;
    method<"pay", std::int64_t(std::int64_t), parley::once> pay;
    method<"stop", void()> stop;
};
chain implementation() {
    return {.add = [](auto a, auto b) { return a + b; },
            .text = [](auto n) { return std::to_string(n); },
            .length = [](std::string_view s) { return s.size(); },
            .repeat =
                [](const std::string& s, auto n) {
                    std::string all;
                    for (; n > 0; --n) all += s;
                    return all;
                },
            .join = [](const std::string& a, const std::string& b) { return a + b; },
            .refuse = [](parley::call_context& c, auto) -> result<std::int64_t> {
                return c.fail(errc::denied, "not today");
            },
            .pay = [paid = std::int64_t{0}](auto n) mutable { return paid += n; },
            .stop = [](parley::call_context& c) { c.stop(); }};
}

/// A client and its server over a way of 1 ms, in virtual time.
struct far_chain {
    std::shared_ptr<parley::testing::virtual_way> way =
        std::make_shared<parley::testing::virtual_way>();
    parley::testing::virtual_wire at{way};
    parley::server<chain, parley::testing::virtual_wire> desk =
        parley::open_server(at, implementation()).value();
    parley::client<chain> c = parley::open_client<chain>(at).value();

    far_chain() {
        way->serve = [this] {
            while (desk.try_serve()) {
            }
        };
    }
};

}  // namespace

TEST_CASE("pipeline: a chain of eight calls costs one round trip over a way of 1 ms") {
    far_chain far;
    auto& c = far.c;
    for (int i = 0; i < 8; ++i) CHECK(c->add(1, i).value() == 1 + i);
    CHECK(far.way->round_trips() == 8);  // one after another
    const double before = far.way->round_trips();
    const auto sent = far.way->messages;
    {
        const auto together = c.batch();
        std::vector<parley::pending<std::int64_t>> promises;
        promises.push_back(c->add.start(1, 1).value());
        for (int i = 0; i < 7; ++i) promises.push_back(c->add.start(promises.back(), 1).value());
        CHECK(promises.back().finish().value() == 9);
        for (std::size_t i = 0; i < 7; ++i) {
            CHECK(promises[i].finish().value() == static_cast<std::int64_t>(i) + 2);
        }
    }
    const double cost = far.way->round_trips() - before;
    INFO("a chain of eight took " << cost << " round trips");
    CHECK(cost <= 1.2);
    CHECK(far.way->messages - sent == 2);
}
TEST_CASE("pipeline: answers of any type go anywhere among the arguments") {
    far_chain far;
    auto& c = far.c;
    const auto together = c.batch();
    auto n = c->add.start(1, 2).value();
    auto text = c->text.start(n).value();
    auto longer = c->repeat.start(text, n).value();  // two answers, one of them moves the other
    CHECK(c->join(longer, text).value() == "3333");
    CHECK(longer.finish().value() == "333");
    auto again = c->repeat.start(std::string("ab"), c->add.start(2, 3).value()).value();
    CHECK(c->length(again).value() == 10);
    CHECK(again.finish().value() == "ababababab");
    CHECK(far.way->round_trips() == 2);
    auto paid = c->pay.start(c->add.start(20, 1).value()).value();
    CHECK(c->add(paid, 1, 20s).value() == 22);
    CHECK(n.finish().value() == 3);
    CHECK(text.finish().value() == "3");
    CHECK(c.under_way() <= 3);  // of those that were dropped, whose answers came
}
TEST_CASE("pipeline: an answer that has come is sent along, one that left alone is waited for") {
    far_chain far;
    auto& c = far.c;
    auto sum = c->add.start(1, 2).value();
    const auto& settled = c->add(0, 0);
    CHECK(settled.value() == 0);  // the answer to the first came before it
    CHECK(c->add(sum, 1).value() == 4);
    CHECK(far.way->round_trips() == 2);
    auto alone = c->add.start(5, 6).value();
    CHECK(c->add(alone, 1).value() == 12);
    CHECK(far.way->round_trips() == 4);
    CHECK(alone.finish().value() == 11);
    CHECK(sum.finish().value() == 3);
    auto left = c->add.start(7, 0).value();
    const auto together = c.batch();
    auto packed = c->add.start(1, 1).value();
    CHECK(c->add(left, packed).value() == 9);  // waits for one; the other left meanwhile
}
TEST_CASE("pipeline: who takes the answer to a call that failed is told its error, and not run") {
    far_chain far;
    auto& c = far.c;
    CHECK(c->pay(5).value() == 5);
    const auto together = c.batch();
    auto bad = c->refuse.start(1).value();
    auto next = c->pay.start(bad).value();
    const auto last = c->add(next, 1);
    CHECK(last.error() == errc::denied);
    CHECK(last.how() == outcome::not_started);
    const auto second = next.finish();
    CHECK(second.error() == errc::denied);
    CHECK(second.how() == outcome::not_started);
    CHECK(c.why().text() == "not today");
    const auto late = c->add.start(bad, 1);  // it is known here by now
    CHECK(late.error() == errc::denied);
    CHECK(bad.finish().how() == outcome::failed);
    CHECK(c->pay(1).value() == 6);                                  // nothing was paid
    CHECK(c->add.start(bad, 1).error() == errc::invalid_argument);  // it is over
}
TEST_CASE("pipeline: a call that is given up takes those with it that wait for it") {
    far_chain far;
    auto& c = far.c;
    const auto together = c.batch();
    auto first = c->add.start(1, 2, 20s).value();
    auto second = c->add.start(first, 1).value();
    first.cancel();  // its answer is still wanted by another
    CHECK(second.finish().value() == 4);
    CHECK(c.under_way() == 0);
}
TEST_CASE("pipeline: what one message cannot hold is waited for") {
    far_chain far;
    auto& c = far.c;
    const std::string big(300'000, 'x');
    const auto together = c.batch();
    auto a = c->repeat.start(big, 1).value();
    auto b = c->join.start(a, big).value();  // together less than a message
    auto d = c->join.start(b, big).value();
    CHECK(d.finish().value().size() == 900'000);
    CHECK(b.finish().value().size() == 600'000);
    CHECK(a.finish().value().size() == 300'000);
    auto long_one = c->repeat.start(big, 4).value();
    CHECK(c->length(long_one).error() == errc::message_too_large);  // its answer is that error
    CHECK(long_one.finish().error() == errc::message_too_large);
    auto half = c->repeat.start(std::string(1000, 'x'), 600).value();
    auto other = c->repeat.start(std::string(1000, 'x'), 600).value();
    const auto both = c->join(half, other);  // each is short enough, both are not
    CHECK(both.error() == errc::message_too_large);
    CHECK(both.how() == outcome::not_started);
}
TEST_CASE("pipeline: between threads over real transports") {
    watchdog dog("pipeline: between threads");
    const temporary_directory dir;
    const unique_name name("pipeline");
    const auto over = [](const auto& at) {
        bool served = false;
        std::thread serving([&] {
            auto s = parley::open_server(at, implementation(), 20s).value();
            served = s.serve().has_value();
            (void)s.close(5s);
        });
        auto c = parley::open_client<chain>(at, 20s).value();
        for (int round = 0; round < 50; ++round) {
            const auto together = c.batch();
            auto sum = c->add.start(round, 1).value();
            for (int i = 0; i < 30; ++i) sum = c->add.start(sum, 1).value();
            auto text = c->text.start(sum).value();
            CHECK(c->length(text, 20s).value() == std::to_string(round + 31).size());
            CHECK(text.finish().value() == std::to_string(round + 31));
            CHECK(sum.finish().value() == round + 31);
        }
        CHECK(c->stop());
        serving.join();
        CHECK(served);
    };
    over(parley::uds(dir / "x"));
    over(parley::uds(dir / "y", {.type = parley::uds::seqpacket}));
    over(parley::shm(name.text()));
}
TEST_CASE("promises: what nobody writes is refused, whatever it says") {
    const auto fill = [](std::vector<rpc::taken> takes, std::size_t behind, std::size_t most) {
        rpc::promises kept;
        const rpc::header value{0, 0, rpc::kind::value, rpc::family::none};
        kept.keep(3, value, parley::as_bytes("three"));
        kept.keep(7, value, parley::as_bytes("seven"));
        std::vector<std::byte> call(rpc::taken::bytes_of(takes.size()));
        rpc::write_taken(takes, behind, call.data());
        for (const char c : std::string_view("0123456789")) call.push_back(std::byte(c));
        const auto r = kept.fill(call, most);
        return r ? std::string(parley::as_text(*r)) : r.error().message();
    };
    const auto corrupt = parley::make_error_code(errc::corrupt).message();
    CHECK(fill({{3, 0}, {7, 5}}, 0, 100) == "three01234seven56789");
    CHECK(fill({{7, 5}, {7, 5}}, 0, 100) == "01234sevenseven56789");
    CHECK(fill({{3, 0}}, 10, 100) == "0123456789three");
    CHECK(fill({{3, 0}}, 11, 100) == corrupt);
    CHECK(fill({{7, 5}, {3, 4}}, 0, 100) == corrupt);
    CHECK(fill({{4, 0}}, 0, 100) == corrupt);
    CHECK(fill({{8, 0}}, 0, 100) == corrupt);
    CHECK(fill({}, 0, 100) == corrupt);
    CHECK(fill({{3, 5}}, 0, 9) == parley::make_error_code(errc::message_too_large).message());
}
