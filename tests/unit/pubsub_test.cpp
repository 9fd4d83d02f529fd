// SPDX-License-Identifier: MIT
#include <parley/pubsub.hpp>
#include <parley/shm/inspect.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::open_publisher;
using parley::open_subscriber;
using parley::shm;
namespace when_full = parley::when_full;

namespace {

struct tick {
    std::uint64_t number;
    std::uint64_t twice;
};
struct other {
    std::uint32_t x, y, z;
};

shm tiny(const std::string& name, parley::waiting wait = parley::waiting::spin_then_park) {
    return shm(name, {.capacity_bytes = 4096, .writers_max = 4, .wait = wait});
}
tick nth(std::uint64_t i) { return {i, 2 * i}; }

constexpr std::uint64_t count = 5000;
// Both ends in batches that divide neither the ring nor each other.
std::size_t publish(parley::publisher<tick>& out, std::uint64_t from) {
    std::vector<tick> some;
    for (std::uint64_t i = from; i < from + 13 && i < count; ++i) some.push_back(nth(i));
    return out.publish_many(some).value();
}
parley::result<std::size_t> receive(parley::subscriber<tick>& in, std::uint64_t& next,
                                    std::uint64_t& got, parley::deadline d) {
    std::array<tick, 7> some;
    const auto n = in.receive_many(some, d);
    for (std::size_t i = 0; n && i < *n; ++i) {
        REQUIRE(some[i].number >= next);
        REQUIRE(some[i].twice == 2 * some[i].number);
        next = some[i].number + 1;
        ++got;
    }
    return n;
}

}  // namespace

TEST_CASE("publisher: each subscriber gets each message, in order, whoever comes first") {
    watchdog dog("pubsub: everybody gets everything");
    const unique_name name("topic");
    const auto wait = GENERATE(parley::waiting::spin_then_park, parley::waiting::park);
    std::vector<child> readers;
    for (int k = 0; k < 3; ++k) {
        readers.emplace_back([&] {
            auto in = open_subscriber<tick>(tiny(name, wait)).value();  // waits for the publisher
            for (std::uint64_t i = 0; i < 5000; ++i) {
                const auto t = in.receive().value();
                if (t.number != i || t.twice != 2 * i) return 1;
            }
            return in.receive().error() == errc::closed && in.lost() == 0 ? 0 : 2;
        });
    }
    auto out = open_publisher<tick>(tiny(name, wait), when_full::block{}).value();
    out.wait_for_subscribers(3).value();
    for (std::uint64_t i = 0; i < 5000; ++i) out.publish(nth(i)).value();
    out.close().value();
    for (auto& r : readers) CHECK(r.wait() == 0);
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("publisher: block waits for the slowest until the deadline, and for nobody alone") {
    watchdog dog("pubsub: block");
    const unique_name name("topic");
    auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
    for (std::uint64_t i = 0; i < 10'000; ++i) out.publish(nth(i), 0ms).value();
    auto slow = open_subscriber<tick>(tiny(name)).value();
    auto fast = open_subscriber<tick>(tiny(name)).value();
    CHECK(out.subscribers() == 2);
    std::uint64_t sent = 0;
    while (out.try_publish(nth(sent))) {
        ++sent;
        CHECK(fast.try_receive().value().number == sent - 1);
    }
    CHECK(out.try_publish(nth(sent)).error() == errc::would_block);
    const auto begin = parley::clock::now();
    CHECK(out.publish(nth(sent), 20ms).error() == errc::timed_out);
    CHECK(parley::clock::now() - begin >= 20ms);
    CHECK(fast.try_receive().error() == errc::would_block);
    CHECK(slow.receive().value().number == 0);
    CHECK(out.publish(nth(sent)));
    std::jthread reader([&] {
        for (std::uint64_t i = 1; i < 5000; ++i) {
            if (slow.receive().value().number != i) break;
        }
    });
    std::jthread other_reader([&] {
        for (std::uint64_t i = sent; i < 5000; ++i) {
            if (fast.receive().value().number != i) break;
        }
    });
    for (auto i = sent + 1; i < 5000; ++i) out.publish(nth(i)).value();
    reader.join();
    other_reader.join();
    CHECK(slow.try_receive().error() == errc::would_block);
    CHECK(slow.lost() + fast.lost() == 0);
    slow.close().value();
    for (std::uint64_t i = 0; i < 1000; ++i) {
        out.publish(nth(i)).value();
        CHECK(fast.try_receive().value().number == i);
    }
}

TEST_CASE(
    "publisher: drop_newest gives up what does not fit, and every subscriber knows how many") {
    const unique_name name("topic");
    auto out = open_publisher<tick>(tiny(name), when_full::drop_newest{}).value();
    auto slow = open_subscriber<tick>(tiny(name)).value();
    auto fast = open_subscriber<tick>(tiny(name)).value();
    for (std::uint64_t i = 0; i < 1000; ++i) {
        out.publish(nth(i)).value();
        (void)fast.try_receive();
    }
    CHECK(out.dropped() > 0);
    auto late = open_subscriber<tick>(tiny(name)).value();
    CHECK(late.lost() == 0);
    std::uint64_t got = 0;
    while (const auto t = slow.try_receive()) CHECK(t->number == got++);
    CHECK(slow.lost() == out.dropped());
    CHECK(fast.lost() == out.dropped());
    CHECK(got + slow.lost() == 1000);
    auto held = out.loan().value();
    *held = nth(7);
    out.publish(std::move(held)).value();
    CHECK(slow.try_receive().value().twice == 14);
    CHECK(late.try_receive().value().twice == 14);
    CHECK(late.lost() == 0);
}

TEST_CASE("publisher: drop_oldest and latest_only wait for nobody, and losses are counted") {
    const unique_name name("topic");
    SECTION("drop_oldest") {
        auto out = open_publisher<tick>(tiny(name), when_full::drop_oldest{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        for (std::uint64_t i = 0; i < 1000; ++i) out.publish(nth(i)).value();
        std::uint64_t got = 0, last = 0;
        while (const auto t = in.try_receive()) {
            CHECK(t->twice == 2 * t->number);
            CHECK(t->number == got + in.lost());
            last = t->number;
            ++got;
        }
        CHECK(last == 999);
        CHECK(got + in.lost() == 1000);
        CHECK(got > 80);  // of 4096 bytes, 24 each
    }
    SECTION("latest_only") {
        auto out = open_publisher<tick>(tiny(name), when_full::latest_only{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        for (std::uint64_t i = 0; i < 1000; ++i) out.publish(nth(i)).value();
        CHECK(in.receive().value().number == 999);
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.lost() == 999);
        out.publish(nth(1000)).value();
        tick t{};
        in.receive(t).value();
        CHECK(t.number == 1000);
        CHECK(in.lost() == 999);
    }
}

TEST_CASE("subscriber: batches take what is there, in order, wake a publisher, and count losses") {
    const watchdog dog("pubsub: batches");
    const unique_name name("topic");
    SECTION("block: the publisher waits for a batch to be taken") {
        auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
        std::uint64_t next = 0, got = 0;
        auto in = open_subscriber<tick>(tiny(name)).value();
        std::thread other([&] {
            for (std::uint64_t i = 0; i < count; i += publish(out, i)) {
            }
            out.close().value();
        });
        auto n = receive(in, next, got, parley::never);
        while (n) n = receive(in, next, got, parley::never);
        other.join();
        CHECK(n.error() == errc::closed);
        CHECK(got == count);
        CHECK(in.lost() == 0);
    }
    SECTION("drop_oldest and latest_only: what was overwritten is lost, and nothing else") {
        const auto run = [&](auto rule) {
            auto out = open_publisher<tick>(tiny(name), rule).value();
            auto in = open_subscriber<tick>(tiny(name)).value();
            std::uint64_t next = 0, got = 0;
            for (std::uint64_t i = 0; i < count;) {
                i += publish(out, i);
                if (i % 3 == 0) (void)receive(in, next, got, expired);
            }
            while (receive(in, next, got, expired)) {
            }
            CHECK(next == count);
            CHECK(got + in.lost() == count);
            CHECK(got > 0);
        };
        run(when_full::drop_oldest{});
        run(when_full::latest_only{});
    }
    SECTION("two publishers have their turns") {
        auto a = open_publisher<tick>(tiny(name), when_full::block{}).value();
        auto b = open_publisher<tick>(tiny(name), when_full::block{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        CHECK(publish(a, 0) == 13);
        CHECK(publish(b, 1000) == 13);
        std::vector<std::uint64_t> seen;
        while (seen.size() < 26) {
            std::array<tick, 7> some;
            const auto n = in.receive_many(some).value();
            for (std::size_t i = 0; i < n; ++i) seen.push_back(some[i].number);
        }
        std::ranges::sort(seen);
        for (std::uint64_t i = 0; i < 13; ++i) {
            CHECK(seen[i] == i);
            CHECK(seen[13 + i] == 1000 + i);
        }
    }
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("publisher: several on one topic have a ring each; the last to leave removes the name") {
    watchdog dog("pubsub: several publishers");
    const unique_name name("topic");
    auto in = [&] {
        auto first = open_publisher<tick>(tiny(name), when_full::block{}).value();
        auto reader = open_subscriber<tick>(tiny(name)).value();
        auto second = open_publisher<tick>(tiny(name), when_full::block{}).value();
        for (std::uint64_t i = 0; i < 100; ++i) {
            first.publish(nth(i)).value();
            second.publish(nth(1000 + i)).value();
        }
        std::uint64_t a = 0, b = 1000;
        for (int n = 0; n < 200; ++n) {
            const auto t = reader.receive().value();
            CHECK(t.number == (t.number < 1000 ? a++ : b++));
        }
        first.publish(nth(1)).value();
        return reader;
    }();
    CHECK(in.receive().value().number == 1);
    CHECK(in.receive().error() == errc::closed);
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(leftovers(name.text()).size() == 1);  // the subscriber lives there
    auto next = open_publisher<tick>(tiny(name), when_full::block{}).value();
    next.publish(nth(5)).value();
    CHECK(in.receive().value().number == 5);
    next.close().value();
    CHECK(in.receive().error() == errc::closed);
    CHECK(in.peers_lost() == 0);
    in.close().value();
    CHECK(in.try_receive().error() == errc::closed);
    CHECK(leftovers(name.text()).empty());

    std::vector<parley::publisher<tick>> all;
    for (int i = 0; i < 4; ++i) {
        all.push_back(open_publisher<tick>(tiny(name), when_full::block{}).value());
    }
    diagnostics why;
    CHECK(open_publisher<tick>(tiny(name), when_full::block{}, 0ms, &why).error() ==
          errc::out_of_resources);
    CHECK_THAT(why.text(), contains("all 4 places for publishers"));
}

TEST_CASE("publisher: what does not belong to a topic is refused with words") {
    const unique_name name("topic");
    diagnostics why;
    auto out = open_publisher<tick>(tiny(name), when_full::drop_oldest{}).value();
    CHECK(open_subscriber<other>(tiny(name), 0ms, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("u64 @8") && contains("u32 @8"));
    CHECK(open_publisher<other>(tiny(name), when_full::drop_oldest{}, 0ms, &why).error() ==
          errc::incompatible);
    CHECK_THAT(why.text(), contains("u64 @8") && contains("u32 @8"));
    CHECK(open_publisher<tick>(tiny(name), when_full::block{}, 0ms, &why).error() ==
          errc::incompatible);
    CHECK_THAT(why.text(), contains("when_full::drop_oldest") && contains("when_full::block"));
    CHECK(parley::open_sender<tick>(shm(name.text()), 0ms, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("is a topic"));
    CHECK(parley::open_receiver<tick>(shm(name.text()), 0ms, &why).error() == errc::in_use);
    CHECK(out.subscribers() == 0);
    out.close().value();
    CHECK(out.publish(nth(1)).error() == errc::closed);
    CHECK(leftovers(name.text()).empty());

    CHECK(open_subscriber<tick>(tiny(name), 1ms, &why).error() == errc::timed_out);
    CHECK(open_subscriber<tick>(shm{}, 0ms, &why).error() == errc::invalid_argument);
    CHECK(open_publisher<tick>(shm("a/b"), when_full::block{}, 0ms, &why).error() ==
          errc::invalid_argument);
    CHECK(open_publisher<tick>(tiny(name), when_full::block{.messages = 7}, 0ms, &why).error() ==
          errc::invalid_argument);
    CHECK_THAT(why.text(), contains("capacity_bytes"));
    CHECK(open_publisher<tick>(parley::uri("tcp://:0"), when_full::block{}, 0ms, &why).error() ==
          errc::unsupported);

    auto in = parley::open_receiver<tick>(shm(name.text())).value();
    CHECK(open_publisher<tick>(tiny(name), when_full::block{}, 0ms, &why).error() ==
          errc::incompatible);
    CHECK_THAT(why.text(), contains("is a channel"));
}

TEST_CASE("topic: a file that is no segment is left alone; a damaged one of the dead gives way") {
    const unique_name name("topic");
    const std::string path = "/dev/shm/parley." + name.text();
    diagnostics why;
    std::ofstream(path) << "this is no segment";
    CHECK(open_publisher<tick>(tiny(name), when_full::block{}, 0ms, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("left alone"));
    CHECK(open_subscriber<tick>(tiny(name), 0ms, &why).error() == errc::corrupt);
    std::filesystem::remove(path);
    child c([&] {
        auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
        return ::kill(::getpid(), SIGKILL);
    });
    CHECK(c.wait() == 128 + SIGKILL);
    std::filesystem::resize_file(path, 8192);
    CHECK(open_subscriber<tick>(tiny(name), 0ms, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("damaged"));
    auto out = open_publisher<tick>(tiny(name), when_full::drop_oldest{}, 0ms).value();
    CHECK(open_subscriber<tick>(tiny(name), 0ms));
}

TEST_CASE("subscriber: a borrow looks into the ring and holds its publisher, or is a copy") {
    const unique_name name("topic");
    SECTION("block") {
        auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        CHECK(in.limits().in_place);
        auto l = out.loan().value();
        CHECK(out.loan(0ms).error() == errc::out_of_resources);
        *l = nth(0);
        out.publish(std::move(l)).value();
        {
            const auto first = in.borrow().value();
            std::uint64_t sent = 1;
            while (out.try_publish(nth(sent))) ++sent;
            for (std::uint64_t i = 1; i < sent; ++i) CHECK(in.receive().value().number == i);
            CHECK(out.try_publish(nth(sent)).error() == errc::would_block);
            CHECK(first->number == 0);
        }
        CHECK(out.try_publish(nth(9)));
    }
    SECTION("drop_oldest") {
        auto out = open_publisher<tick>(tiny(name), when_full::drop_oldest{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        CHECK_FALSE(in.limits().in_place);
        auto l = out.loan().value();
        *l = nth(42);
        out.publish(std::move(l)).value();
        out.publish(nth(43)).value();
        const auto first = in.borrow().value();
        CHECK(in.try_borrow().error() == errc::out_of_resources);
        for (std::uint64_t i = 0; i < 1000; ++i) out.publish(nth(i)).value();
        CHECK(first->twice == 84);
    }
}

TEST_CASE("publisher: texts of any length up to the limit, by URI; any type for who only looks") {
    watchdog dog("pubsub: texts");
    const unique_name name("topic");
    const parley::uri at("shm://" + name.text() + "?capacity_bytes=65536");
    auto out = open_publisher<std::string>(at, when_full::drop_oldest{}).value();
    auto in = open_subscriber<std::string>(at).value();
    auto any = open_subscriber<parley::any_message>(at).value();
    CHECK(out.address() == at);
    const auto most = out.limits().message_bytes_max;
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{9}, most / 3, most}) {
        const std::string text(n, static_cast<char>('a' + n % 26));
        out.publish(text).value();
        CHECK(in.receive().value() == text);
        CHECK(any.borrow().value()->payload.size() == n);
    }
    CHECK(out.publish(std::string(most + 1, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("capacity_bytes"));
}

TEST_CASE("subscriber: its descriptor is readable while a message, or an end, is there") {
    watchdog dog("pubsub: pollable");
    const unique_name name("topic");
    auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
    auto in = open_subscriber<tick>(tiny(name)).value();
    pollfd p{in.pollable().value(), POLLIN, 0};
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(::poll(&p, 1, 0) == 0);
    for (std::uint64_t i = 0; i < 100; ++i) {
        out.publish(nth(i)).value();
        CHECK(::poll(&p, 1, -1) == 1);
        CHECK(in.try_receive().value().number == i);
        if (i % 2 == 0) continue;
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(::poll(&p, 1, 0) == 0);
    }
    auto second = open_publisher<tick>(tiny(name), when_full::block{}).value();
    std::jthread elsewhere([&] {
        second.publish(nth(7)).value();
        second.close().value();
        out.close().value();
    });
    CHECK(::poll(&p, 1, -1) == 1);
    CHECK(in.receive().value().number == 7);
    while (in.try_receive().error() != errc::closed) CHECK(::poll(&p, 1, -1) == 1);
    elsewhere.join();  // who closed rings after that can be seen
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(::poll(&p, 1, 0) == 0);
    CHECK(open_publisher<tick>(tiny(name), when_full::block{})->limits().pollable == false);
}

TEST_CASE("publisher: in a forked child both ends are closed, and the name stays") {
    watchdog dog("pubsub: fork");
    const unique_name name("topic");
    auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
    auto in = open_subscriber<tick>(tiny(name)).value();
    out.publish(nth(1)).value();
    const auto held = in.borrow().value();
    child c([&] {
        if (out.publish(nth(2)).error() != errc::closed) return 1;
        if (in.try_receive().error() != errc::closed) return 2;
        auto copy = std::move(const_cast<parley::subscriber<tick>::borrowed_type&>(held));
        return out.close() && in.close() ? 0 : 3;
    });
    CHECK(c.wait() == 0);
    CHECK(out.subscribers() == 1);
    out.publish(nth(3)).value();
    CHECK(in.receive().value().number == 3);
    CHECK(held->number == 1);
}

TEST_CASE("topic: who looks on sees its parties, and clears it away only when all are dead") {
    watchdog dog("pubsub: looking on");
    const unique_name name("topic");
    diagnostics why;
    const std::string path = "/dev/shm/parley." + name.text();
    gate ready, never_opened;
    child c([&] {
        auto out = open_publisher<tick>(tiny(name), when_full::block{}).value();
        auto in = open_subscriber<tick>(tiny(name)).value();
        ready.open();
        never_opened.pass();
        return 0;
    });
    ready.pass();
    auto seen = parley::segment_report::of(path, why).value();
    CHECK(seen.kind == parley::shm_layout::segment_kind::topic);
    CHECK(seen.alive);
    CHECK(seen.writers == std::vector{static_cast<std::uint32_t>(c.pid())});
    CHECK(seen.readers == seen.writers);
    CHECK(parley::remove_stale_segment(path, why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("is in use"));
    c.kill();
    seen = parley::segment_report::of(path, why).value();
    CHECK((!seen.alive && seen.writers.empty() && seen.readers.empty()));
    CHECK(parley::remove_stale_segment(path, why));
    CHECK(leftovers(name.text()).empty());
}
