// SPDX-License-Identifier: MIT
// The monotonic clock, read for less where the processor has a counter that never stops.
#pragma once

#include <parley/base/time.hpp>

#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

/// A reader of the monotonic clock for who asks at every message: mostly it reads the processor's
/// own counter, and the clock itself each 200 microseconds, by which it also learns how fast the
/// counter runs. Off by some nanoseconds, by which it may go back; behind for 200 microseconds
/// where the process was interrupted. One thread at a time.
class tick_clock {
public:
    [[nodiscard, gnu::always_inline]] time_point now() noexcept {
#if defined(__x86_64__)
        const std::uint64_t passed = __builtin_ia32_rdtsc() - ticks_;
        // A counter that was set anew, as in a guest that moves, is far off and asks the clock.
        if (passed < trusted_ticks_) [[likely]] {
            return at_ + duration(static_cast<std::int64_t>(passed * rate_ >> rate_bits));
        }
#endif
        return read();
    }

private:
    static constexpr int rate_bits = 24;

    [[gnu::noinline]] time_point read() noexcept {
        // In this order: who is interrupted in between falls behind for a while, never ahead.
        at_ = clock::now();
#if defined(__x86_64__)
        ticks_ = __builtin_ia32_rdtsc();
        const auto ns = (at_ - base_at_).count();
        if (ns < 0 || ticks_ <= base_ticks_) trusted_ticks_ = 0;
        if (ns < 0 || ns > 100 * base_ns || ticks_ <= base_ticks_) {
            base_at_ = at_;  // the first reading, or one after a long time
            base_ticks_ = ticks_;
        } else if (ns >= base_ns) {
            // Over so long a time an interruption in between is a ten-thousandth.
            rate_ = (static_cast<std::uint64_t>(ns) << rate_bits) / (ticks_ - base_ticks_);
            trusted_ticks_ = rate_ == 0 ? 0 : (std::uint64_t{200'000} << rate_bits) / rate_;
        }
#endif
        return at_;
    }
    static constexpr std::int64_t base_ns = 10'000'000;

    time_point at_{}, base_at_{};
    std::uint64_t ticks_ = 0, base_ticks_ = 0;
    std::uint64_t trusted_ticks_ = 0;  // how long a reading is gone by
    std::uint64_t rate_ = 0;           // nanoseconds of a tick, in units of 2^-24
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
