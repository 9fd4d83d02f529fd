// SPDX-License-Identifier: MIT
// Steady state allocates nothing: the operators of this binary count.
#include "conformance/transport.hpp"

#include <cstdlib>
#include <new>

using namespace conformance;

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
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
