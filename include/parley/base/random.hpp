// SPDX-License-Identifier: MIT
// A small seeded generator for simulation, tests, backoff and names: never for secrets.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace parley {
inline namespace v1 {

/// xoshiro256** by Blackman and Vigna (2018), seeded through SplitMix64: the same numbers on every
/// host for one seed. A uniform_random_bit_generator. Distinct objects are independent; one object
/// needs outside locking.
class random {
public:
    using result_type = std::uint64_t;

    explicit constexpr random(std::uint64_t seed) noexcept {
        for (auto& word : state_) {
            seed += 0x9e3779b97f4a7c15ULL;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
            word = z ^ (z >> 31);
        }
    }

    static constexpr result_type min() noexcept { return 0; }
    static constexpr result_type max() noexcept { return ~result_type{0}; }

    constexpr result_type operator()() noexcept {
        const std::uint64_t out = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t t = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= t;
        state_[3] = std::rotl(state_[3], 45);
        return out;
    }

    /// Uniform in [0, bound), without modulo bias (Lemire 2019, by rejection); bound must not be 0.
    constexpr std::uint64_t below(std::uint64_t bound) noexcept {
        const std::uint64_t threshold = (~bound + 1) % bound;
        for (;;) {
            const std::uint64_t r = (*this)();
            if (r >= threshold) return r % bound;
        }
    }

private:
    std::array<std::uint64_t, 4> state_{};
};

}  // namespace v1
}  // namespace parley
