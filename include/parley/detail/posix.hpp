// SPDX-License-Identifier: MIT
// Descriptors and waiting on them: the thin layer over the calls of the kernel.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ctime>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

static_assert(sizeof(off_t) == 8,
              "parley: files and locks are addressed by 64 bits: on a 32-bit machine compile with "
              "-D_FILE_OFFSET_BITS=64");

/// Owns a descriptor, closes it once.
class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~unique_fd() { reset(); }

    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    void reset(int fd = -1) noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_ = -1;
};

/// A part of what one call writes.
[[nodiscard]] inline iovec part(const void* at, std::size_t n) noexcept {
    return {const_cast<void*>(at), n};
}

/// A number that nobody else has.
[[nodiscard]] inline std::uint64_t fresh_id() noexcept {
    std::uint64_t id = 0;
    if (::getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id) {
        id = static_cast<std::uint64_t>(clock::now().time_since_epoch().count()) ^
             static_cast<std::uint64_t>(::getpid()) << 40;
    }
    return id == 0 ? 1 : id;
}

/// Calls again while a signal interrupts: parley's waits end by their deadline, not by a signal.
template <class Call>
[[gnu::always_inline]] inline auto retried(Call call) noexcept(noexcept(call())) {
    for (;;) {
        const auto r = call();
        if (r >= 0 || errno != EINTR) return r;
    }
}

/// The error of the last system call.
[[nodiscard]] inline error_code last_error() noexcept { return from_errno(errno); }

/// "what 'path': reason of the system".
[[nodiscard]] inline std::string explain(std::string what, int number) {
    return std::move(what) + ": " + boost::system::system_category().message(number);
}

/// The time left until `until`, not below zero; must not be `never`.
[[nodiscard]] inline timespec time_left(time_point until) noexcept {
    timespec left{};
    if (until == expired) return left;
    const auto d = until - clock::now();
    if (d <= duration::zero()) return left;
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
    left.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    left.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    return left;
}

/// poll with a monotonic deadline. The number of ready descriptors; 0 when the deadline passed.
inline result<int> poll_until(pollfd* fds, nfds_t count, time_point until) noexcept {
    for (;;) {
        timespec left{};
        if (until != never) left = time_left(until);
        const int n = ::ppoll(fds, count, until == never ? nullptr : &left, nullptr);
        if (n >= 0) return n;
        if (errno != EINTR) return last_error();
    }
}

/// Waits for one event on one descriptor: success, timed_out, or the error of poll.
inline result<void> wait_for(int fd, short events, time_point until) noexcept {
    pollfd p{fd, events, 0};
    const auto n = poll_until(&p, 1, until);
    if (!n) return n.error();
    if (*n == 0) return errc::timed_out;
    return {};
}

/// epoll_wait with a monotonic deadline. The number of events; 0 when the deadline passed.
inline result<int> epoll_until(int epoll, epoll_event* events, int count,
                               time_point until) noexcept {
    for (;;) {
        int n = 0;
        if (until == expired || until == never) {
            n = ::epoll_wait(epoll, events, count, until == expired ? 0 : -1);
        } else {
            const timespec left = time_left(until);
            n = ::epoll_pwait2(epoll, events, count, &left, nullptr);
            // Before Linux 5.11, or in a sandbox: whole milliseconds, rounded up.
            if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
                const auto ms = left.tv_sec * 1000 + (left.tv_nsec + 999'999) / 1'000'000;
                n = ::epoll_wait(epoll, events, count, static_cast<int>(ms < 60'000 ? ms : 60'000));
                if (n == 0 && clock::now() < until) continue;
            }
        }
        if (n >= 0) return n;
        if (errno != EINTR) return last_error();
    }
}

/// Sleeps a little longer each time, for what tells nobody that it changed.
class backoff {
public:
    explicit backoff(duration longest = std::chrono::milliseconds(20)) noexcept
        : longest_(longest) {}

    /// timed_out once `until` passed.
    result<void> sleep(time_point until) noexcept {
        if (until == expired) return errc::timed_out;
        const auto now = clock::now();
        if (now >= until) return errc::timed_out;
        (void)poll_until(nullptr, 0, until - now < next_ ? until : now + next_);
        next_ = shorter(next_ * 2, longest_);
        return {};
    }

private:
    duration longest_;
    duration next_ = std::chrono::microseconds(250);
};

/// Writing into a pipe whose reader died must be an error, not the death of the process. Sockets
/// say so for each call; for pipes the disposition is the process's: it is changed only if nobody
/// ever chose one.
inline void ignore_sigpipe_if_default() noexcept {
    struct sigaction now {};
    if (::sigaction(SIGPIPE, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
        now.sa_handler == SIG_DFL) {
        struct sigaction ignore {};
        ignore.sa_handler = SIG_IGN;
        ::sigaction(SIGPIPE, &ignore, nullptr);
    }
}

/// Gives a pipe room for so many bytes; 0: 256 KiB where the kernel grants it, else what it has, so
/// that a message of 64 KiB and its headers need not wait for the reader half-way. An error is
/// errno's: EPERM above /proc/sys/fs/pipe-max-size.
[[nodiscard]] inline bool size_pipe(int fd, std::size_t capacity_bytes) noexcept {
    const auto wanted = capacity_bytes == 0 ? 256 << 10 : static_cast<int>(capacity_bytes);
    return ::fcntl(fd, F_SETPIPE_SZ, wanted) >= 0 || capacity_bytes == 0;
}
[[nodiscard]] inline std::string size_pipe_failed(std::size_t capacity_bytes, int number) {
    return explain("a pipe of " + std::to_string(capacity_bytes) +
                       " bytes (the limit is in /proc/sys/fs/pipe-max-size)",
                   number);
}

/// A level-triggered descriptor over others, with a flag of its own for "a message lies in a
/// buffer of ours": the kernel cannot see that one.
class readiness {
public:
    /// Makes the epoll descriptor on first call and adds `fd` for `events`.
    result<int> add(int fd, std::uint32_t events, std::uint64_t tag = 0) noexcept {
        if (auto made = make(); !made) return made.error();
        epoll_event e{};
        e.events = events;
        e.data.u64 = tag;
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0 && errno != EEXIST) {
            return last_error();
        }
        return epoll_.get();
    }
    /// Other events of a descriptor that was added, if any was.
    void watch(int fd, short events, std::uint64_t tag = 0) noexcept {
        if (!epoll_) return;
        epoll_event e{};
        e.events = static_cast<std::uint32_t>(events);
        e.data.u64 = tag;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e);
    }
    [[nodiscard]] bool made() const noexcept { return static_cast<bool>(epoll_); }
    [[nodiscard]] int get() const noexcept { return epoll_.get(); }

    /// Readable from now on, until lower(). One system call on a change, none else.
    [[gnu::always_inline]] result<void> raise() noexcept {
        if (raised_ || !epoll_) return {};
        return raise_flag();
    }
    void lower() noexcept {
        if (!raised_) return;
        std::uint64_t count = 0;
        (void)!::read(flag_.get(), &count, sizeof count);
        raised_ = false;
    }
    [[nodiscard]] bool raised() const noexcept { return raised_; }
    void reset() noexcept {
        epoll_.reset();
        flag_.reset();
        raised_ = false;
    }

    /// The tag of the flag's own event.
    static constexpr std::uint64_t flag_tag = ~std::uint64_t{0};

private:
    [[gnu::noinline]] result<void> raise_flag() noexcept {
        if (!flag_) {
            flag_ = unique_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
            if (!flag_) return last_error();
            if (auto r = add(flag_.get(), EPOLLIN, flag_tag); !r) return r.error();
        }
        const std::uint64_t one = 1;
        if (::write(flag_.get(), &one, sizeof one) < 0 && errno != EAGAIN) return last_error();
        raised_ = true;
        return {};
    }
    result<void> make() noexcept {
        if (!epoll_) epoll_ = unique_fd(::epoll_create1(EPOLL_CLOEXEC));
        if (!epoll_) return last_error();
        return {};
    }

    unique_fd epoll_;
    unique_fd flag_;
    bool raised_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
