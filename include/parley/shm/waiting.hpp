// SPDX-License-Identifier: MIT
// How the ends of shared memory wait, and how they see that somebody died.
#pragma once

#include <parley/base/time.hpp>
#include <parley/shm/segment.hpp>

#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <ctime>

namespace parley {
inline namespace v1 {

/// How an end of shared memory waits.
enum class waiting : std::uint8_t {
    park,            ///< sleep at once: about 0 % CPU, a wake-up costs tens of microseconds
    spin_then_park,  ///< spin about as long as a wake-up costs, then sleep
    spin,            ///< never sleep: the lowest latency, a whole core
};

namespace detail {

/// How one end waits, and for how long it spins first.
struct wait_plan {
    waiting how = waiting::spin_then_park;
    duration spin_for = std::chrono::microseconds(50);

    [[nodiscard]] time_point spin_until(time_point until) const {
        if (how == waiting::spin) return until;
        if (how == waiting::park) return expired;
        return earlier(until, clock::now() + spin_for);
    }
};

/// A lock tells nobody when it falls, so who sleeps looks at it this often: the bound within which
/// a death is noticed.
inline constexpr duration liveness_interval = std::chrono::milliseconds(50);

/// The time, to a few milliseconds, for a few nanoseconds.
[[nodiscard]] inline std::int64_t coarse_now_ns() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// A process by its number in its PID namespace: 0 if that is another one than ours.
[[nodiscard]] inline std::uint32_t pid_here(std::uint32_t pid, std::uint64_t pid_namespace) {
    return pid_namespace != 0 && pid_namespace == namespace_id("pid") ? pid : 0;
}

/// A descriptor that becomes readable when the process dies. Empty if the process is of another
/// PID namespace, or gone.
[[nodiscard]] inline unique_fd pidfd_of(std::uint32_t pid, std::uint64_t pid_namespace) noexcept {
    const auto number = static_cast<pid_t>(pid_here(pid, pid_namespace));
    if (number == 0) return {};
    return unique_fd(static_cast<int>(::syscall(SYS_pidfd_open, number, 0)));
}

/// A descriptor that becomes readable each time a liveness lock is to be looked at.
[[nodiscard]] inline unique_fd liveness_clock() noexcept {
    unique_fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    itimerspec t{};
    t.it_value.tv_nsec = t.it_interval.tv_nsec = liveness_interval.count();
    if (timer) ::timerfd_settime(timer.get(), 0, &t, nullptr);
    return timer;
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
