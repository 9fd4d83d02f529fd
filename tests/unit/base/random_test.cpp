// SPDX-License-Identifier: MIT
#include <parley/base/random.hpp>

#include "support/catch.hpp"

#include <array>
#include <cstdint>
#include <random>

namespace {

static_assert(std::uniform_random_bit_generator<parley::random>);

/// SplitMix64 and xoshiro256** once more, written down from their definitions.
struct reference {
    std::array<std::uint64_t, 4> s;
    explicit reference(std::uint64_t seed) {
        for (auto& word : s) {
            std::uint64_t z = (seed += 0x9e3779b97f4a7c15);
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
            z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
            word = z ^ (z >> 31);
        }
    }
    static std::uint64_t turned(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
    std::uint64_t next() {
        const std::uint64_t result = turned(s[1] * 5, 7) * 9;
        const std::uint64_t t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = turned(s[3], 45);
        return result;
    }
};

constexpr std::uint64_t first_of(std::uint64_t seed) {
    parley::random r(seed);
    return r();
}
// The published first outputs of SplitMix64 seeded with 0 fill the state; from its second word
// 0x6e789e6aa1b965f4 the first number follows: rotl(s1 * 5, 7) * 9.
static_assert(first_of(0) == std::rotl(0x6e789e6aa1b965f4ULL * 5, 7) * 9);

}  // namespace

TEST_CASE("random: one seed gives the same numbers everywhere", "[base]") {
    for (const std::uint64_t seed : {0ULL, 1ULL, 42ULL, ~0ULL}) {
        parley::random ours(seed);
        reference theirs(seed);
        for (int i = 0; i < 1000; ++i) REQUIRE(ours() == theirs.next());
    }
}

TEST_CASE("random: a copy goes on with the same numbers", "[base]") {
    parley::random a(7);
    (void)a();
    parley::random b = a;
    for (int i = 0; i < 100; ++i) CHECK(a() == b());
}

TEST_CASE("random: other seeds give other numbers", "[base]") {
    parley::random a(1);
    parley::random b(2);
    int equal = 0;
    for (int i = 0; i < 1000; ++i) equal += a() == b();
    CHECK(equal == 0);
}

TEST_CASE("random: below stays below its bound and reaches every value", "[base]") {
    parley::random r(3);
    for (const std::uint64_t bound : {1ULL, 2ULL, 3ULL, 10ULL, 64ULL}) {
        std::uint64_t seen = 0;
        for (int i = 0; i < 2000; ++i) {
            const auto v = r.below(bound);
            REQUIRE(v < bound);
            seen |= std::uint64_t{1} << v;
        }
        CHECK(seen == (bound == 64 ? ~0ULL : (1ULL << bound) - 1));
    }
    CHECK(r.below(~0ULL) < ~0ULL);
}

TEST_CASE("random: below is even, also for a bound that halves the range badly", "[base]") {
    // Plain modulo would give the lower half of this range twice as often as the upper half.
    const std::uint64_t bound = (1ULL << 63) + (1ULL << 62);
    parley::random r(11);
    int lower = 0;
    constexpr int rounds = 30000;
    for (int i = 0; i < rounds; ++i) lower += r.below(bound) < bound / 3;
    CHECK(lower > rounds / 3 - 500);  // six standard deviations of a fair draw
    CHECK(lower < rounds / 3 + 500);
}
