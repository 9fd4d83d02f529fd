// SPDX-License-Identifier: MIT
// What the kernel tells of files that change (inotify).
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/posix.hpp>

#include <sys/inotify.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

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
        for_each(events, n, each);
        return {};
    }
    result<void> take(time_point until) noexcept {
        return take(until, [](const inotify_event&, const char*) {});
    }
    void reset() noexcept { fd_.reset(); }

protected:
    template <class Each>
    static void for_each(const char* events, ssize_t n, Each each) noexcept {
        for (ssize_t at = 0; at < n;) {
            inotify_event e;
            std::memcpy(&e, events + at, sizeof e);
            each(e, events + at + sizeof e);
            at += static_cast<ssize_t>(sizeof e + e.len);
        }
    }

    unique_fd fd_;
};

/// Tells when a file in a directory gets a certain name.
class name_watch : public change_watch {
public:
    explicit name_watch(const std::string& name) : name_(name + '\0') {
        // As the kernel pads it.
        name_.resize((name_.size() + sizeof(inotify_event) - 1) & ~(sizeof(inotify_event) - 1));
    }
    result<void> look_at(const char* directory) noexcept {
        if (auto r = change_watch::look_at(directory, IN_MOVED_TO); !r) return r.error();
        return {};
    }

    /// Waits until it happened. timed_out: it did not.
    [[gnu::noinline]] result<void> await(time_point until) noexcept {
        for (bool ours = false; !ours;) {
            auto r = take(until, [&](const inotify_event& e, const char* n) { ours |= is(e, n); });
            if (!r) return r;
        }
        return {};
    }
    /// The usual case of a wait: as long as it takes, for one read. False: wait on.
    [[nodiscard]] bool await_in_read() noexcept {
        alignas(inotify_event) char events[4096];
        const auto n = ::read(fd_.get(), events, sizeof events);
        constexpr std::size_t head = sizeof(inotify_event);
        if (n == static_cast<ssize_t>(head + name_.size())) [[likely]] {
            std::uint64_t other = 0;
            for (std::size_t at = 0; at < name_.size(); at += 8) {
                other |=
                    load_le<std::uint64_t>(reinterpret_cast<std::byte*>(events) + head + at) ^
                    load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(name_.data()) + at);
            }
            if (other == 0) return true;
        }
        return is_among(events, n);
    }

private:
    /// An event told of our name, or the kernel could not tell all.
    [[nodiscard]] bool is(const inotify_event& e, const char* name) const noexcept {
        return (e.mask & IN_Q_OVERFLOW) != 0 ||
               (e.len == name_.size() && std::memcmp(name, name_.data(), name_.size()) == 0);
    }
    [[nodiscard, gnu::noinline]] bool is_among(const char* events, ssize_t n) const noexcept {
        bool ours = false;
        for_each(events, n, [&](const inotify_event& e, const char* name) { ours |= is(e, name); });
        return ours;
    }

    std::string name_;  // with zeros behind it
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
