// SPDX-License-Identifier: MIT
#include <parley/latest.hpp>
#include <parley/pubsub.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::open_latest_reader;
using parley::open_latest_writer;
using parley::shm;

namespace {

struct pose {
    std::uint64_t number;
    std::array<std::uint64_t, 40> same;
};
pose nth(std::uint64_t i) {
    pose p{i, {}};
    p.same.fill(i);
    return p;
}
bool is_whole(const pose& p) {
    for (const auto x : p.same) {
        if (x != p.number) return false;
    }
    return true;
}

}  // namespace

TEST_CASE("latest: a reader gets the value as it is, whole, and learns of the next") {
    watchdog dog("latest: one value");
    const unique_name name("pose");
    auto out = open_latest_writer<pose>(shm(name)).value();
    auto in = open_latest_reader<pose>(shm(name)).value();
    CHECK(in.try_read().error() == errc::would_block);
    CHECK(in.read(1ms).error() == errc::timed_out);
    for (std::uint64_t i = 1; i <= 100; ++i) out.write(nth(i)).value();
    CHECK(in.read().value().number == 100);
    CHECK(in.try_read().value().number == 100);
    CHECK(in.version() == 100);
    CHECK(in.skipped() == 0);
    CHECK(in.try_read_newer().error() == errc::would_block);
    std::jthread later([&] { out.write(nth(101)).value(); });
    CHECK(in.read_newer().value().number == 101);
    later.join();
    for (std::uint64_t i = 102; i <= 110; ++i) out.write(nth(i)).value();
    CHECK(in.read_newer(1s).value().number == 110);
    CHECK(in.skipped() == 8);
    auto late = open_latest_reader<pose>(shm(name)).value();
    CHECK(late.read().value().number == 110);
    CHECK(late.skipped() == 0);
    out.close().value();
    CHECK(in.read_newer().error() == errc::closed);
    CHECK(in.try_read_newer().error() == errc::would_block);
    CHECK(in.read().value().number == 110);
    auto next = open_latest_writer<pose>(shm(name)).value();
    CHECK(next.version() == 110);
    next.write(nth(111)).value();
    CHECK(in.read_newer().value().number == 111);
    next.close().value();
    in.close().value();
    late.close().value();
    CHECK(in.try_read().error() == errc::closed);
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("latest: readers never see a torn value, and the writer waits for none of them") {
    watchdog dog("latest: torn values", 120s);
    const unique_name name("pose");
    auto out = open_latest_writer<pose>(shm(name)).value();
    const std::uint64_t count = campaign() ? 20'000'000 : 200'000;
    std::atomic<std::uint64_t> torn{0}, backwards{0};
    {
        std::vector<std::jthread> readers;
        std::atomic<int> ready{0};
        for (int k = 0; k < 2; ++k) {
            readers.emplace_back([&] {
                auto in = open_latest_reader<pose>(shm(name)).value();
                ++ready;
                for (std::uint64_t last = 0; last < count;) {
                    const auto p = in.read().value();
                    torn += !is_whole(p);
                    backwards += p.number < last;
                    last = p.number;
                }
            });
        }
        while (ready < 2) std::this_thread::yield();
        for (std::uint64_t i = 1; i <= count; ++i) out.write(nth(i)).value();
    }
    CHECK(torn == 0);
    CHECK(backwards == 0);
}

TEST_CASE("latest: texts, by URI; what does not fit together is refused with words") {
    const unique_name name("state");
    const parley::uri at("shm://" + name.text() + "?capacity_bytes=8192");
    diagnostics why;
    auto out = open_latest_writer<std::string>(at).value();
    auto in = open_latest_reader<std::string>(at).value();
    for (const auto n : {0u, 1u, 7u, 8u, 9u, 5000u, 8184u}) {
        out.write(std::string(n, 'x')).value();
        CHECK(in.read_newer(0ms).value() == std::string(n, 'x'));
    }
    CHECK(out.write(std::string(8185, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("capacity_bytes"));
    CHECK(open_latest_writer<std::string>(at, 0ms, &why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("live writer"));
    CHECK(open_latest_reader<pose>(at, 0ms, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("text") && contains("u64 @0"));
    CHECK(parley::open_subscriber<pose>(at, 0ms, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("is a latest value"));
    CHECK(open_latest_reader<pose>(shm{}, 0ms, &why).error() == errc::invalid_argument);
    out.close().value();
    in.close().value();
    CHECK(leftovers(name.text()).empty());
    CHECK(open_latest_reader<pose>(at, 1ms, &why).error() == errc::timed_out);
}

TEST_CASE("latest kill -9: the last value stays whole for its readers, and a new writer goes on") {
    watchdog dog("latest: killed writers", 300s);
    const unique_name name("pose");
    auto in = [&] {
        auto out = open_latest_writer<pose>(shm(name)).value();
        return open_latest_reader<pose>(shm(name)).value();
    }();
    CHECK(in.read().error() == errc::closed);
    std::uint64_t last = 0;
    const int rounds = campaign() ? 2000 : 40;
    for (int round = 1; round <= rounds; ++round) {
        gate started;
        child c([&]() -> int {
            auto out = open_latest_writer<pose>(shm(name)).value();
            started.open();
            for (std::uint64_t i = out.version() + 1;; ++i) out.write(nth(i)).value();
        });
        started.pass();
        bool whole = true;
        for (int n = 0; n < round * 50; ++n) {
            const auto p = in.read().value();
            whole = whole && is_whole(p) && p.number >= last;
            last = p.number;
        }
        c.kill();
        while (const auto p = in.read_newer()) last = p->number;
        CHECK(in.peers_lost() == static_cast<std::uint64_t>(round));
        const auto p = in.read().value();
        CHECK((whole && is_whole(p) && p.number == last && in.version() == last));
    }
    in.close().value();
    CHECK(leftovers(name.text()).empty());
}
