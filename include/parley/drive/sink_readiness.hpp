// SPDX-License-Identifier: MIT
// What polls like the sink of a delivery stack.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/drive/link_set.hpp>

#include <sys/timerfd.h>

#include <algorithm>

namespace parley {
inline namespace v1 {
namespace drive {

/// A descriptor that is readable while something may be submitted. While nothing may, it becomes so
/// by whatever may change that: room in the transport, something that came back, or a time.
class sink_readiness {
public:
    result<int> make() noexcept {
        if (ready_.made()) return ready_.get();
        auto r = begin();
        if (!r) ready_.reset(), timer_.reset();
        return r;
    }
    [[gnu::always_inline]] void raise() noexcept { (void)ready_.raise(); }
    [[nodiscard]] bool made() const noexcept { return ready_.made(); }

    /// Unreadable until a time.
    void lower(time_point at) noexcept {
        itimerspec t{};
        if (at != never) {
            // A timer of 0 would be none.
            const auto ns = std::max<duration::rep>(at.time_since_epoch().count(), 1);
            t.it_value.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
            t.it_value.tv_nsec = static_cast<long>(ns % 1'000'000'000);
        }
        ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &t, nullptr);
        ready_.lower();
    }
    /// … or until the end of a way has room, if that is wanted, or something came back to it.
    template <class Way, class End>
    void lower(End& end, bool for_room, time_point at) noexcept {
        auto room = room_of(Way::sink_of(end));
        if (!for_room) room.events = 0;
        if constexpr (Way::links) {
            const auto back = descriptor_of(end.in());
            if (back && *back == room.fd) {
                room.events = static_cast<short>(room.events | POLLIN);
            } else if (back) {
                watch(*back, POLLIN);
            }
        }
        watch(room.fd, room.events);
        lower(at);
    }

private:
    result<int> begin() noexcept {
        timer_ = detail::unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
        if (!timer_) return detail::last_error();
        if (auto r = ready_.add(timer_.get(), EPOLLIN); !r) return r;
        if (auto r = ready_.raise(); !r) return r.error();
        return ready_.get();
    }
    void watch(int fd, short events) noexcept {
        if (fd < 0) return;
        (void)ready_.add(fd, static_cast<std::uint32_t>(events));
        ready_.watch(fd, events);
    }

    detail::readiness ready_;
    detail::unique_fd timer_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
