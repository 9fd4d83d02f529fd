// SPDX-License-Identifier: MIT
// Topics whose messages lie in chunks: what is published lies still for whoever looks at it.
#include <parley/pubsub.hpp>
#include <parley/shm/inspect.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::open_publisher;
using parley::open_subscriber;
using parley::shm;
namespace when_full = parley::when_full;

namespace {

/// A page and a bit: each word tells which frame it is of.
struct frame {
    std::uint64_t words[700];

    void fill(std::uint64_t n) { std::fill(std::begin(words), std::end(words), n); }
    [[nodiscard]] bool is(std::uint64_t n) const {
        return std::all_of(std::begin(words), std::end(words),
                           [n](std::uint64_t w) { return w == n; });
    }
};

}  // namespace
template <>
struct parley::codec<frame> : parley::opaque<frame> {};
namespace {

/// Four frames for each publisher.
shm four(const std::string& name, parley::waiting wait = parley::waiting::spin_then_park) {
    return shm(name, {.capacity_bytes = 32768, .writers_max = 2, .wait = wait, .chunks = 4});
}
template <class Publisher>
parley::result<void> publish(Publisher& out, std::uint64_t n, parley::deadline d = 0ms) {
    auto l = out.loan(d);
    if (!l) return l.error();
    (*l)->fill(n);
    return out.publish(std::move(*l));
}

}  // namespace

TEST_CASE("chunks: each subscriber sees each frame where its publisher wrote it, by every rule") {
    watchdog dog("chunks: every rule");
    const unique_name name("chunks");
    const auto run = [&](auto rule) {
        auto out = open_publisher<frame>(four(name), rule).value();
        auto a = open_subscriber<frame>(four(name)).value();
        auto b = open_subscriber<frame>(four(name)).value();
        CHECK(out.limits().message_bytes_max == 8192);
        CHECK((out.limits().in_place && a.limits().in_place));
        CHECK(a.limits().borrows_max == 4);
        for (std::uint64_t i = 0; i < 100; ++i) {
            if (i % 2 == 0) {
                publish(out, i).value();
            } else {
                frame f;
                f.fill(i);
                out.publish(f, 0ms).value();
            }
            const auto seen = a.borrow().value();
            CHECK(seen->is(i));
            CHECK(reinterpret_cast<std::uintptr_t>(&*seen) % 4096 == 0);
            frame copy;
            b.receive(copy).value();
            CHECK(copy.is(i));
        }
        CHECK(a.lost() + b.lost() + out.dropped() == 0);
        CHECK(a.try_receive().error() == errc::would_block);
        out.close().value();
        CHECK(a.receive().error() == errc::closed);
    };
    run(when_full::block{});
    run(when_full::drop_newest{});
    run(when_full::drop_oldest{});
    run(when_full::latest_only{});
    CHECK(leftovers(name.text()).empty());
}

TEST_CASE("chunks: whoever holds a frame keeps nobody from the later ones, until all are held") {
    watchdog dog("chunks: holding");
    const unique_name name("chunks");
    auto out = open_publisher<frame>(four(name), when_full::block{}).value();
    auto holder = open_subscriber<frame>(four(name)).value();
    auto other = open_subscriber<frame>(four(name)).value();
    std::deque<parley::subscriber<frame>::borrowed_type> held;
    std::uint64_t n = 0;
    const auto pass = [&](std::uint64_t count) {
        for (std::uint64_t i = 0; i < count; ++i, ++n) {
            publish(out, n).value();
            CHECK(other.borrow().value()->is(n));
            held.push_back(holder.borrow().value());
        }
    };
    pass(1);
    for (int i = 0; i < 20; ++i) {
        pass(1);
        held.pop_back();
    }
    CHECK(held.front()->is(0));
    pass(3);
    CHECK(publish(out, n).error() == errc::would_block);
    CHECK(publish(out, n, 20ms).error() == errc::timed_out);
    CHECK((held[0]->is(0) && held[3]->is(n - 1)));
    std::jthread letting_go([&] { held.erase(held.begin() + 1); });
    publish(out, n, 10s).value();
    letting_go.join();
    CHECK((held[0]->is(0) && held[1]->is(n - 2) && held[2]->is(n - 1)));
    CHECK(other.borrow().value()->is(n));
    CHECK(holder.borrow().value()->is(n));
    CHECK(holder.lost() + other.lost() == 0);
}

TEST_CASE("chunks: drop_oldest takes back what nobody holds, and whoever is late knows how many") {
    watchdog dog("chunks: drop_oldest");
    const unique_name name("chunks");
    auto out = open_publisher<frame>(four(name), when_full::drop_oldest{}).value();
    auto holder = open_subscriber<frame>(four(name)).value();
    auto late = open_subscriber<frame>(four(name)).value();
    publish(out, 0).value();
    publish(out, 1).value();
    std::optional first = holder.borrow().value();
    std::optional second = holder.borrow().value();
    for (std::uint64_t i = 2; i < 1000; ++i) publish(out, i).value();
    CHECK((first->operator*().is(0) && second->operator*().is(1)));
    std::uint64_t got = 0;
    for (; auto f = late.try_borrow(); ++got) CHECK((*f)->is(got + late.lost()));
    CHECK(got >= 2);
    CHECK(got + late.lost() == 1000);
    std::vector<parley::subscriber<frame>::borrowed_type> held;
    while (auto f = holder.try_borrow()) held.push_back(std::move(*f));
    CHECK(held.size() + 2 + holder.lost() == 1000);
    CHECK(held.back()->is(999));
    CHECK(publish(out, 1000).error() == errc::would_block);  // all four are held
    CHECK(publish(out, 1000, 20ms).error() == errc::timed_out);
    std::jthread letting_go([&] { second.reset(); });
    publish(out, 1000, 10s).value();
    CHECK(first->operator*().is(0));
    CHECK(late.borrow().value()->is(1000));
}

TEST_CASE("chunks: drop_newest gives up what finds none, and says how many") {
    const unique_name name("chunks");
    auto out = open_publisher<frame>(four(name), when_full::drop_newest{}).value();
    auto slow = open_subscriber<frame>(four(name)).value();
    auto fast = open_subscriber<frame>(four(name)).value();
    for (std::uint64_t i = 0; i < 100; ++i) {
        publish(out, i).value();
        frame f;
        f.fill(i);
        if (i % 3 == 0) out.publish(f).value();
        while (fast.try_borrow()) {
        }
    }
    CHECK(out.dropped() == 100 + 34 - 4);
    std::uint64_t got = 0;
    while (auto f = slow.try_borrow()) ++got;
    CHECK(got == 4);
    CHECK(slow.lost() == out.dropped());
    publish(out, 7).value();
    CHECK(slow.borrow().value()->is(7));
}

TEST_CASE("chunks: latest_only gives the newest frame, and a held one stays") {
    const unique_name name("chunks");
    auto out = open_publisher<frame>(four(name), when_full::latest_only{}).value();
    auto in = open_subscriber<frame>(four(name)).value();
    publish(out, 0).value();
    const auto first = in.borrow().value();
    for (std::uint64_t i = 1; i < 500; ++i) publish(out, i).value();
    CHECK(in.borrow().value()->is(499));
    CHECK(in.lost() == 498);
    CHECK(in.try_borrow().error() == errc::would_block);
    CHECK(first->is(0));
}

TEST_CASE("chunks: bytes of any length up to a chunk; what does not fit is refused with words") {
    const unique_name name("chunks");
    diagnostics why;
    const parley::uri at("shm://" + name.text() + "?capacity_bytes=65536&chunks=8");
    auto out = open_publisher<std::string>(at, when_full::drop_oldest{}).value();
    auto in = open_subscriber<std::string>(at).value();
    auto any = open_subscriber<parley::any_message>(at).value();
    CHECK(out.address() == at);
    for (const std::size_t n : {0U, 1U, 9U, 4096U, 8188U}) {
        const std::string text(n, static_cast<char>('a' + n % 26));
        out.publish(text).value();
        CHECK(in.receive().value() == text);
        CHECK(any.borrow().value()->payload.size() == n);
    }
    CHECK(out.limits().message_bytes_max == 8192);
    CHECK(out.publish(std::string(8193, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("chunks"));
    const auto seen = parley::segment_report::of("/dev/shm/parley." + name.text(), why).value();
    CHECK((seen.chunks == 8 && seen.message_bytes_max == 8192));

    const unique_name others("chunks-others");
    struct alignas(1024) wide {
        std::array<std::byte, 1024> b;
    };
    const shm many(others.text(), {.capacity_bytes = 32768, .chunks = 64});
    CHECK(open_publisher<wide>(many, when_full::block{}, 0ms, &why).error() ==
          errc::invalid_argument);
    CHECK_THAT(why.text(), contains("chunks"));
    const shm too_many(others.text(), {.chunks = 65});
    CHECK(open_publisher<int>(too_many, when_full::block{}, 0ms, &why).error() ==
          errc::invalid_argument);
    CHECK_THAT(why.text(), contains("chunks=65: a publisher has 1 to 64"));
    CHECK(open_publisher<int>(parley::uri("shm://x?chunks=65"), when_full::block{}, 0ms, &why)
              .error() == errc::invalid_argument);
    CHECK(parley::open_receiver<int>(many, 0ms, &why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("only topics have chunks"));
    CHECK(leftovers(others.text()).empty());
}

TEST_CASE("chunks: a publisher that writes nonsense into its notes is dropped, and no more") {
    namespace layout = parley::shm_layout;
    const unique_name name("chunks");
    const auto at = four(name);
    const layout::shape shape{at.with.writers_max, at.with.capacity_bytes, 8,
                              layout::segment_kind::topic, at.with.chunks};
    const auto spoil = [&](const layout::chunk_note& note, std::uint64_t lost = 0) {
        auto liar = open_publisher<frame>(at, when_full::block{}).value();
        auto good = open_publisher<frame>(at, when_full::block{}).value();
        auto in = open_subscriber<frame>(at).value();
        publish(liar, 1).value();
        const parley::detail::unique_fd segment(
            ::open(("/dev/shm/parley." + name.text()).c_str(), O_RDWR | O_CLOEXEC));
        const auto place = shape.ring_offset(0) + shape.rings().first() + 8;
        REQUIRE(::pwrite(segment.get(), &note, sizeof note, static_cast<off_t>(place)) ==
                static_cast<ssize_t>(sizeof note));
        if (lost == 0) {
            CHECK(in.receive(10s).error() == errc::corrupt);
            CHECK_THAT(in.why().text(), contains("wrote no message"));
        }
        publish(good, 2).value();
        CHECK(in.borrow(10s).value()->is(2));
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.lost() == lost);
    };
    spoil({.chunk = 4, .generation = 0, .length = sizeof(frame)});
    spoil({.chunk = ~std::uint64_t{0}, .generation = 0, .length = sizeof(frame)});
    spoil({.chunk = 0, .generation = 0, .length = 8193});
    spoil({.chunk = 0, .generation = 0, .length = ~std::uint64_t{0}});
    spoil({.chunk = 0, .generation = 7, .length = sizeof(frame)}, 1);  // of a message that is gone
}

TEST_CASE("chunks: what is copied in past the caches is whole") {
    const unique_name name("chunks");
    shm at(name.text(), {.capacity_bytes = 1 << 20, .chunks = 4});
    at.with.copy = parley::copy::streaming;
    auto out = open_publisher<std::string>(at, when_full::drop_oldest{}).value();
    auto in = open_subscriber<std::string>(at).value();
    for (const std::size_t n : {16'383U, 16'384U, 100'001U, 262'144U}) {
        std::string text(n, ' ');
        for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i % 23);
        out.publish(text).value();
        CHECK(in.receive().value() == text);
    }
}

TEST_CASE("chunks: what a killed subscriber held is taken back") {
    watchdog dog("chunks: a dead holder");
    const unique_name name("chunks");
    auto out = open_publisher<frame>(four(name), when_full::block{}).value();
    gate ready, never_opened;
    child c([&] {
        auto in = open_subscriber<frame>(four(name)).value();
        std::vector<parley::subscriber<frame>::borrowed_type> held;
        ready.open();
        for (int i = 0; i < 4; ++i) held.push_back(in.borrow().value());
        ready.open();
        never_opened.pass();
        return 0;
    });
    ready.pass();
    out.wait_for_subscribers(1).value();
    for (std::uint64_t i = 0; i < 4; ++i) publish(out, i, parley::never).value();
    ready.pass();
    CHECK(publish(out, 4, 1ms).error() == errc::timed_out);
    c.kill();
    auto in = open_subscriber<frame>(four(name)).value();
    for (std::uint64_t i = 5; i < 50; ++i) {
        publish(out, i, 10s).value();
        CHECK(in.borrow().value()->is(i));
    }
}

TEST_CASE("chunks: a killed publisher's successor spares what subscribers look at") {
    watchdog dog("chunks: a successor");
    const unique_name name("chunks");
    const auto run = [&](auto rule) {
        gate ready, never_opened, subscribed;
        child c([&] {
            auto out = open_publisher<frame>(four(name), rule).value();
            subscribed.pass();
            for (std::uint64_t i = 0; i < 3; ++i) publish(out, i).value();
            auto half = out.loan().value();  // it dies while it writes
            half->fill(77);
            ready.open();
            never_opened.pass();
            return 0;
        });
        auto in = open_subscriber<frame>(four(name)).value();
        subscribed.open();
        ready.pass();
        c.kill();
        const auto first = in.borrow().value();
        CHECK(first->is(0));
        auto out = open_publisher<frame>(four(name), rule).value();
        std::optional<parley::subscriber<frame>::borrowed_type> seen;
        for (std::uint64_t i = 100; i < 120; ++i) {
            publish(out, i, 10s).value();
            for (;;) {
                auto f = in.borrow();
                REQUIRE(f);
                seen = std::move(*f);
                if ((*seen)->is(i)) break;
                CHECK(((*seen)->is(1) || (*seen)->is(2)));
            }
        }
        CHECK(first->is(0));
    };
    run(when_full::block{});
    run(when_full::drop_oldest{});
}

TEST_CASE("chunks: no frame is torn, and none is missing uncounted, while all go on at once") {
    watchdog dog("chunks: all at once");
    const unique_name name("chunks");
    const auto wait = GENERATE(parley::waiting::spin_then_park, parley::waiting::park);
    const auto run = [&](auto rule) {
        constexpr std::uint64_t count = 3000;
        auto out = open_publisher<frame>(four(name, wait), rule).value();
        std::atomic<int> torn = 0, wrong = 0;
        std::atomic<std::uint64_t> told = 0;
        const auto watch = [&](std::size_t holding) {
            auto in = open_subscriber<frame>(four(name, wait)).value();
            std::deque<std::pair<std::uint64_t, parley::subscriber<frame>::borrowed_type>> held;
            std::uint64_t got = 0;
            while (auto f = in.borrow()) {
                const auto n = (*f)->words[0];
                if (!(*f)->is(n)) ++torn;
                const bool drops_newest = std::is_same_v<decltype(rule), when_full::drop_newest>;
                if (drops_newest ? n < got : n != got + in.lost()) ++wrong;
                ++got;
                held.emplace_back(n, std::move(*f));
                if (held.size() <= holding) continue;
                if (!held.front().second->is(held.front().first)) ++torn;
                held.pop_front();
            }
            if (got + in.lost() != count) ++wrong;
            told += in.lost();
        };
        std::jthread one([&] { watch(0); }), two([&] { watch(1); });
        out.wait_for_subscribers(2).value();
        for (std::uint64_t i = 0; i < count; ++i) publish(out, i, 10s).value();
        out.close().value();
        one.join();
        two.join();
        CHECK(torn == 0);
        CHECK(wrong == 0);
        return told.load();
    };
    CHECK(run(when_full::block{}) == 0);
    (void)run(when_full::drop_newest{});
    (void)run(when_full::drop_oldest{});
}
