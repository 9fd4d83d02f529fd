// SPDX-License-Identifier: MIT
// Monotonic time and deadlines: every wait of parley ends by this clock, whatever the wall clock
// does.
#pragma once

// Durations and clocks are all that is wanted here. In libstdc++, <chrono> brings calendars and
// with them <sstream> and locales; <mutex>, which the error codes need anyway, brings the former
// alone.
#include <version>
#ifdef __GLIBCXX__
#include <mutex>
#else
#include <chrono>
#endif

namespace parley {
inline namespace v1 {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

/// As long as it takes.
inline constexpr time_point never = time_point::max();
/// Do not wait at all.
inline constexpr time_point expired = time_point::min();

/// The one that comes first, and the one that is shorter.
[[nodiscard]] constexpr time_point earlier(time_point a, time_point b) noexcept {
    return b < a ? b : a;
}
[[nodiscard]] constexpr duration shorter(duration a, duration b) noexcept { return b < a ? b : a; }

/// How long a call may take: a duration from the call on, or a time point; zero means try.
/// The clock is read only if the call really has to wait.
class deadline {
public:
    constexpr deadline(time_point at) noexcept : at_(at) {}
    template <class Rep, class Period>
    constexpr deadline(std::chrono::duration<Rep, Period> in) noexcept
        : at_(in.count() > 0 ? relative_mark : expired), in_(shortened(in)) {}

    /// True if the call must not wait.
    [[nodiscard]] constexpr bool is_try() const noexcept { return at_ == expired; }

    /// The time point; the first call fixes it, so that a chain of waits shares one deadline.
    [[nodiscard, gnu::always_inline]] time_point at() noexcept {
        if (at_ == relative_mark) {
            at_ = in_ == duration::max() ? never : clock::now() + in_;
        }
        return at_;
    }

    [[nodiscard]] bool has_passed() noexcept { return at() != never && clock::now() >= at(); }

private:
    static constexpr time_point relative_mark = expired + duration(1);

    /// More than a century is forever. Compared in floating point, which no unit overflows.
    template <class Rep, class Period>
    static constexpr duration shortened(std::chrono::duration<Rep, Period> in) noexcept {
        constexpr double century = 100.0 * 365 * 24 * 3600;
        const double seconds = std::chrono::duration<double>(in).count();
        if (!(seconds > 0)) return duration::zero();
        if (seconds > century) return duration::max();
        return std::chrono::duration_cast<duration>(in);
    }

    time_point at_;
    duration in_ = duration::zero();
};

}  // namespace v1
}  // namespace parley
