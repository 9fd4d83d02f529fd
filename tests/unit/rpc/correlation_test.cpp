// SPDX-License-Identifier: MIT
// The correlation of request and reply: single steps, and seeded worlds.
#include <parley/rpc/correlation.hpp>

#include "support/calls.hpp"
#include "support/catch.hpp"
#include "support/watchdog.hpp"

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
namespace rpc = parley::rpc;

TEST_CASE("calls: every call gets its own answer, or ends in time") {
    std::uint64_t answered = 0, late = 0;
    for (std::uint64_t seed = 1; seed <= (campaign() ? 20'000U : 300U); ++seed) {
        world_of_calls world(seed);
        const auto wrong = world.run(500);
        INFO("seed " << seed);
        REQUIRE(wrong.empty());
        answered += world.answered();
        late += world.too_late();
    }
    CHECK(answered > 1000);
    CHECK(late > 100);
}
TEST_CASE("calls: no more are under way than were asked for") {
    rpc::calls book(2);
    const auto a = book.begin(parley::never);
    REQUIRE(a);
    REQUIRE(book.begin(parley::never));
    CHECK(book.begin(parley::never).error() == errc::out_of_resources);
    book.forget(*a);
    CHECK(book.begin(parley::never).value() != *a);
}
TEST_CASE("calls: the end of the link ends every call, and answers that came stay") {
    rpc::calls book(4);
    const auto a = book.begin(parley::never).value(), b = book.begin(parley::never).value();
    std::byte f[rpc::header::bytes];
    rpc::header{a, 0, rpc::kind::value, rpc::family::none}.write(f);
    CHECK(book.on_frame(f));
    book.fail_all(errc::peer_lost);
    CHECK(book.settle(a));
    CHECK(book.settle(b).error() == errc::peer_lost);
}
TEST_CASE("calls: the budget is what is left, at least a microsecond, and nothing for long") {
    const parley::time_point now{10s};
    CHECK(rpc::budget_us(now, now + 20ms) == 20'000);
    CHECK(rpc::budget_us(now, now + 10ns) == 1);
    CHECK(rpc::budget_us(now, now - 1s) == 1);
    CHECK(rpc::budget_us(now, now + 2h) == 0);
    CHECK(rpc::budget_us(now, parley::never) == 0);
}
TEST_CASE("calls: errors travel by category and value") {
    for (const parley::error_code ec :
         {parley::error_code(errc::denied), parley::error_code(errc::unsupported),
          parley::error_code(5, boost::system::system_category()),
          parley::error_code(7, boost::system::generic_category())}) {
        rpc::header h, read;
        rpc::write_error(h, ec);
        std::byte f[rpc::header::bytes];
        h.write(f);
        REQUIRE(read.read(f));
        CHECK(rpc::read_error(read) == ec);
    }
    rpc::header forged{1, 4711, rpc::kind::failure, rpc::family::parley};
    CHECK(rpc::read_error(forged) == errc::corrupt);
}
TEST_CASE("calls: bytes from outside are refused and counted") {
    rpc::calls book(4);
    rpc::desk desk;
    parley::random dice(5);
    std::uint64_t refused = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> f(dice.below(40));
        for (auto& x : f) x = std::byte(dice.below(i % 2 == 0 ? 256 : 5));
        refused += book.on_frame(f) ? 0 : 1;
        const auto q = desk.on_frame(f, parley::time_point{});
        if (q) (void)desk.close(q->id);
    }
    CHECK(refused == book.corrupt());
    CHECK(refused > 10'000);
    CHECK(desk.corrupt() > 10'000);
}
