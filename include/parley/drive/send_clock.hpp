// SPDX-License-Identifier: MIT
// The time that a message is given when it is sent.
#pragma once

#include <parley/base/time.hpp>
#include <parley/detail/ticks.hpp>

namespace parley {
inline namespace v1 {
namespace drive {

/// While messages follow one another so fast that a batch is full long before its linger is over,
/// one look at the clock does for eight of them. One thread.
class send_clock {
public:
    explicit send_clock(duration linger) noexcept : linger_(linger) {}

    [[nodiscard]] time_point now() noexcept { return ticks_.now(); }
    [[nodiscard]] time_point of_message(bool batched) noexcept {
        if (!batched) return now();
        if (unstamped_ > 0) {
            --unstamped_;
            return stamp_;
        }
        const auto t = now();
        unstamped_ = t - stamp_ < linger_ / 8 ? 7 : 0;
        return stamp_ = t;
    }

private:
    detail::tick_clock ticks_;
    time_point stamp_{};      // of the last message whose time was looked at
    unsigned unstamped_ = 0;  // messages that still share it
    const duration linger_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
