// SPDX-License-Identifier: MIT
// Steady state allocates nothing: the operators of this binary count.
#include "conformance/transport.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/rpc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

using namespace conformance;
using parley_test::temporary_directory;
using parley_test::unique_name;
using parley_test::watchdog;

namespace {

std::atomic<std::uint64_t> allocations{0};

void* counted(std::size_t n, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    void* p = nullptr;
    if (::posix_memalign(&p, std::max(alignment, sizeof(void*)), n == 0 ? 1 : n) != 0) {
        throw std::bad_alloc();
    }
    return p;
}

/// Not inlined: the compiler would complain that what operator new gave is freed.
[[gnu::noinline]] void give_back(void* p) noexcept { std::free(p); }

struct desk_service {
    parley::method<"add(a, b)", std::int64_t(std::int64_t, std::int64_t), parley::idempotent> add;
    parley::method<"length", std::uint64_t(std::string_view)> length;
    parley::method<"note", void(std::int64_t), parley::one_way> note;
    parley::method<"count", parley::stream<std::int64_t>(std::int64_t)> count;
    parley::method<"stop", void()> stop;
};
parley::stream<std::int64_t> count(std::int64_t to) {
    for (std::int64_t i = 0; i < to; ++i) co_yield i;
}

TEST_CASE("service: steady state allocates nothing, on neither side") {
    watchdog dog("service: steady state");
    using namespace std::chrono_literals;
    const temporary_directory dir;
    const unique_name name("steady");
    const auto over = [](const auto& at) {
        std::thread serving([&] {
            desk_service s;
            s.add = [](std::int64_t a, std::int64_t b) { return a + b; };
            s.length = [](std::string_view text) { return text.size(); };
            s.note = [](std::int64_t) {};
            s.count = count;
            s.stop = [](parley::call_context& c) { c.stop(); };
            auto desk = parley::open_server(at, s, 20s).value();
            (void)desk.serve();
            (void)desk.close(5s);
        });
        auto c = parley::open_client<desk_service>(at, 20s).value();
        std::vector<parley::pending<std::int64_t>> sums(100);
        auto ticks = c->count(1'000'000).value();
        std::int64_t ticked = 0;
        bool right = true;
        const auto rounds = [&](std::int64_t n) {
            for (std::int64_t i = 0; i < n; ++i) {
                right &= c->add(i, 1).value() == i + 1;
                right &= c->add(i, 1, 20s).value() == i + 1;
                right &= c->length("as long as this").value() == 15;
                right &= c->note(i).has_value();
                const auto together = c.batch();
                for (auto& sum : sums) sum = c->add.start(i, 1).value();
                for (auto& sum : sums) right &= sum.finish().value() == i + 1;
                auto chain = c->add.start(i, 1).value();
                for (int k = 0; k < 7; ++k) chain = c->add.start(chain, 1).value();
                right &= chain.finish().value() == i + 8;
                for (int k = 0; k < 100; ++k) right &= ticks.next().value() == ticked++;
            }
        };
        rounds(200);
        const auto before = allocations.load();
        rounds(200);
        const auto after = allocations.load();
        CHECK(right);
        CHECK(after - before == 0);
        ticks = {};
        CHECK(c->stop());
        serving.join();
    };
    over(parley::uds(dir / "x"));
    over(parley::shm(name.text()));
}
TEST_CASE("transport: steady state allocates nothing") {
    each_model("steady state", [](const model& m) {
        if (!m.steady) return;
        auto at = m.make();
        auto both = at->open();
        const std::size_t n = handy(both.sink);
        bool right = true;
        const auto rounds = [&](std::uint64_t count) {
            for (std::uint64_t i = 0; i < count; ++i) {
                for (std::uint64_t k = 0; k < 3; ++k) {
                    right &= send(both.sink, n, i + k).has_value();
                }
                right &= both.source.wait(parley::never).has_value();
                for (std::uint64_t k = 0; k < 3; ++k) right &= receives(both.source, n, i + k);
                right &= !both.source.try_receive();
                right &= !both.source.wait(parley::expired);
            }
        };
        rounds(100);
        const auto before = allocations.load();
        rounds(2000);
        const auto after = allocations.load();
        CHECK(right);
        CHECK(after - before == 0);
        if (!both.sink.limits().pollable) return;
        REQUIRE(both.source.pollable());
        REQUIRE(both.sink.pollable());
        rounds(10);
        const auto polled = allocations.load();
        rounds(1000);
        CHECK(right);
        CHECK(allocations.load() - polled == 0);
    });
}

}  // namespace

void* operator new(std::size_t n) { return counted(n, alignof(std::max_align_t)); }
void* operator new[](std::size_t n) { return counted(n, alignof(std::max_align_t)); }
void* operator new(std::size_t n, std::align_val_t a) {
    return counted(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
    return counted(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
    return counted(n, alignof(std::max_align_t));
}
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
    return counted(n, alignof(std::max_align_t));
}
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
