// SPDX-License-Identifier: MIT
// What the kernel tells of files that change (inotify).
#pragma once

#include <parley/detail/posix.hpp>

#include <sys/inotify.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

/// Changes of what is watched, on one descriptor. It is in blocking mode: a wait without deadline
/// is one call, the read that also takes what happened. One thread at a time.
class change_watch {
public:
    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    /// Watches a path from now on; the number by which `forget` knows it.
    result<int> look_at(const char* path, std::uint32_t what) noexcept {
        if (!fd_) fd_.reset(::inotify_init1(IN_CLOEXEC));
        const int watch = fd_ ? ::inotify_add_watch(fd_.get(), path, what) : -1;
        if (watch < 0) return last_error();
        return watch;
    }
    void forget(int watch) noexcept { (void)::inotify_rm_watch(fd_.get(), watch); }

    /// Waits until something happened, and takes it, or as much of it as one read gives:
    /// `each(event, name)`, where the name ends in zeros, event.len bytes in all. timed_out:
    /// nothing did.
    template <class Each>
    [[gnu::always_inline]] result<void> take(time_point until, Each each) noexcept {
        if (until != never) {
            if (auto r = wait_for(fd_.get(), POLLIN, until); !r) return r;
        }
        alignas(inotify_event) char events[4096];
        const auto n = retried([&] { return ::read(fd_.get(), events, sizeof events); });
        if (n < 0) return last_error();
        for (ssize_t at = 0; at < n;) {
            inotify_event e;
            std::memcpy(&e, events + at, sizeof e);
            each(e, events + at + sizeof e);
            at += static_cast<ssize_t>(sizeof e + e.len);
        }
        return {};
    }
    result<void> take(time_point until) noexcept {
        return take(until, [](const inotify_event&, const char*) {});
    }
    void reset() noexcept { fd_.reset(); }

private:
    unique_fd fd_;
};

/// Tells when a file was changed.
class file_watch : public change_watch {
public:
    /// Watches this open file from now on, and no other.
    result<void> look_at(int fd) noexcept {
        char path[32];
        std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const auto watch = change_watch::look_at(path, IN_MODIFY | IN_ATTRIB);
        if (!watch) return watch.error();
        if (watch_ >= 0 && watch_ != *watch) forget(watch_);
        watch_ = *watch;
        return {};
    }

private:
    int watch_ = -1;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
