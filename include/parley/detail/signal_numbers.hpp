// SPDX-License-Identifier: MIT
// Real-time signals as small packets: which numbers are whose in this process, and what one signal
// carries. A number is claimed by one end; it is blocked, so that it is queued and taken like a
// message and never runs a handler, unless ast.hpp wants just that.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/posix.hpp>

#include <dirent.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A set of signal numbers as the kernel keeps it: bit n - 1 is number n.
using signal_mask = std::uint64_t;
[[nodiscard]] constexpr signal_mask mask_of(int number) noexcept {
    return signal_mask{1} << (number - 1);
}

/// The numbers that parley may claim: all real-time ones but the last four, which are left to
/// whoever wants a number of his own.
[[nodiscard]] inline signal_mask claimable_signals() noexcept {
    signal_mask all = 0;
    for (int n = SIGRTMIN; n <= SIGRTMAX - 4; ++n) all |= mask_of(n);
    return all;
}
/// Of the calling thread; threads that it starts inherit it.
inline void block_signals(signal_mask m) noexcept {
    (void)::syscall(SYS_rt_sigprocmask, SIG_BLOCK, &m, nullptr, sizeof m);
}
inline void unblock_signals(signal_mask m) noexcept {
    (void)::syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &m, nullptr, sizeof m);
}

/// What a signal carries beside its number. The kernel copies 48 bytes of a siginfo_t from the
/// sender to whoever takes it with sigtimedwait(2):
///
///   byte   0          4         8          12       16      20      24        32          48
///         +----------+---------+----------+--------+-------+-------+---------+-----------+
///         | si_signo | si_errno| si_code  | 0      | si_pid| si_uid| si_value| 16 bytes  |
///         |          | = word  | SI_QUEUE |        |       |       | = payload, 24 bytes |
///         +----------+---------+----------+--------+-------+-------+---------+-----------+
///
/// POSIX promises si_value only; that the rest arrives is probed where it is used. What si_pid and
/// si_uid say is the sender's word, not the kernel's.
struct signal_packet {
    static constexpr std::size_t payload_bytes_max = 24;
    static constexpr std::size_t payload_bytes_sure = 8;

    int number = 0;
    std::uint32_t word = 0;
    pid_t pid = 0;
    uid_t uid = 0;
    bool queued = true;  ///< by sigqueue or its like; false: kill(2), a timer, the kernel
    std::array<std::byte, payload_bytes_max> payload{};

    /// Reads what a taken siginfo_t, or a handler's, holds.
    [[nodiscard]] static signal_packet of(const siginfo_t& info) noexcept {
        signal_packet p;
        p.number = info.si_signo;
        p.word = static_cast<std::uint32_t>(info.si_errno);
        p.queued = info.si_code == SI_QUEUE;
        p.pid = info.si_pid;
        p.uid = info.si_uid;
        std::memcpy(p.payload.data(), reinterpret_cast<const std::byte*>(&info) + payload_at,
                    payload_bytes_max);
        return p;
    }
    /// Queues it to the process behind a pidfd. EAGAIN: that user's queue is full.
    [[nodiscard]] int send(int pidfd) const noexcept {
        siginfo_t info;
        std::memset(&info, 0, sizeof info);
        info.si_signo = number;
        info.si_errno = static_cast<int>(word);
        info.si_code = SI_QUEUE;
        info.si_pid = pid;
        info.si_uid = uid;
        std::memcpy(reinterpret_cast<std::byte*>(&info) + payload_at, payload.data(),
                    payload_bytes_max);
        return ::syscall(SYS_pidfd_send_signal, pidfd, number, &info, 0) == 0 ? 0 : errno;
    }

private:
    static constexpr std::size_t payload_at = offsetof(siginfo_t, si_value);
    static_assert(sizeof(siginfo_t) == 128 && offsetof(siginfo_t, si_errno) == 4);
    static_assert(offsetof(siginfo_t, si_uid) == offsetof(siginfo_t, si_pid) + 4 &&
                  payload_at == offsetof(siginfo_t, si_uid) + 4);
};

/// Takes the next signal of a set that this thread blocks: lowest number first, and of one number
/// the oldest. `patience`: null waits for ever. False with errno EAGAIN: none, EINTR: a handler
/// ran.
[[nodiscard]] inline bool take_signal(signal_mask from, const timespec* patience,
                                      signal_packet& into) noexcept {
    siginfo_t info;
    if (::syscall(SYS_rt_sigtimedwait, &from, &info, patience, sizeof from) < 0) return false;
    into = signal_packet::of(info);
    return true;
}
[[nodiscard]] inline bool take_signal_now(signal_mask from, signal_packet& into) noexcept {
    constexpr timespec none{};
    while (!take_signal(from, &none, into)) {
        if (errno != EINTR) return false;
    }
    return true;
}
/// Sleeps for it, at most so long, or until a handler interrupts.
[[nodiscard]] inline bool take_signal_within(signal_mask from, duration longest,
                                             signal_packet& into) noexcept {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(longest).count();
    const timespec patience{static_cast<time_t>(ns / 1'000'000'000),
                            static_cast<long>(ns % 1'000'000'000)};
    return take_signal(from, &patience, into);
}
inline void drop_signals(signal_mask from) noexcept {
    signal_packet unread;
    while (take_signal_now(from, unread)) {
    }
}
/// A descriptor that is readable while a signal of the set is pending.
[[nodiscard]] inline unique_fd signal_descriptor(signal_mask of) noexcept {
    return unique_fd(
        static_cast<int>(::syscall(SYS_signalfd4, -1, &of, sizeof of, SFD_CLOEXEC | SFD_NONBLOCK)));
}

/// A thread of this process that does not block all of `m`; empty if there is none.
[[nodiscard]] inline std::string thread_that_takes(signal_mask m) {
    std::string found;
    DIR* all = ::opendir("/proc/self/task");
    if (all == nullptr) return found;
    while (const dirent* entry = ::readdir(all)) {
        if (entry->d_name[0] == '.') continue;
        char path[300], text[4096];
        std::snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        const unique_fd file(::open(path, O_RDONLY | O_CLOEXEC));
        const auto n = file ? ::read(file.get(), text, sizeof text - 1) : -1;
        if (n <= 0) continue;  // it has just ended
        text[n] = '\0';
        const char* blocked = std::strstr(text, "\nSigBlk:");
        if (blocked == nullptr || std::strstr(text, "\nState:\tZ") != nullptr ||
            std::strstr(text, "\nState:\tX") != nullptr) {
            continue;
        }
        if ((m & ~std::strtoull(blocked + 8, nullptr, 16)) != 0) {
            found = entry->d_name;
            if (const char* name = std::strstr(text, "Name:\t")) {
                found += " (" + std::string(name + 6, std::strcspn(name + 6, "\n")) + ")";
            }
            break;
        }
    }
    ::closedir(all);
    return found;
}

/// Numbers of this process that nobody else in it has, until the end of the scope. They stay
/// blocked after that: a late signal of a peer must not end the process.
/// Thread safety: distinct objects from any thread.
class claimed_signals {
public:
    claimed_signals() = default;
    claimed_signals(claimed_signals&& other) noexcept
        : mask_(std::exchange(other.mask_, 0)), process_(other.process_) {}
    claimed_signals& operator=(claimed_signals&& other) noexcept {
        if (this != &other) {
            release();
            mask_ = std::exchange(other.mask_, 0);
            process_ = other.process_;
        }
        return *this;
    }
    ~claimed_signals() { release(); }

    /// Claims `count` numbers, blocks them in this thread and drops what was queued to them.
    /// Errors: out_of_resources (all are taken), unsupported (another thread takes them).
    [[nodiscard]] static result<claimed_signals> claim(std::size_t count, diagnostics& why) {
        claimed_signals mine;
        const signal_mask may = claimable_signals();
        for (int n = SIGRTMIN; n <= SIGRTMAX && count > 0; ++n) {
            struct sigaction now {};
            if ((may & mask_of(n)) == 0 || ::sigaction(n, nullptr, &now) != 0 ||
                (now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL ||
                (table().taken.fetch_or(mask_of(n)) & mask_of(n)) != 0) {
                continue;
            }
            mine.mask_ |= mask_of(n);
            --count;
        }
        if (count > 0) {
            return why.fail(errc::out_of_resources,
                            "this process has no signal number left: each sender takes one, each "
                            "receiver one for every lane, an ast receiver nine; close some of "
                            "them");
        }
        block_signals(mine.mask_);
        if (const auto thread = thread_that_takes(mine.mask_); !thread.empty()) {
            return why.fail(errc::unsupported,
                            "thread " + thread +
                                " of this process does not block parley's signals, and one of them "
                                "would end the process there: open before you start threads, or "
                                "call parley::reserve_signals() first of all in main");
        }
        drop_signals(mine.mask_);
        return mine;
    }

    [[nodiscard]] signal_mask mask() const noexcept { return mask_; }
    /// The i-th number; lower ones are delivered first.
    [[nodiscard]] int number(std::size_t i = 0) const noexcept {
        signal_mask left = mask_;
        for (; i > 0; --i) left &= left - 1;
        return std::countr_zero(left) + 1;
    }
    void release() noexcept {
        if (mask_ == 0) return;
        if (process_ == ::getpid()) {  // a forked child has claims of its own
            drop_signals(mask_);
            table().taken.fetch_and(~mask_);
        }
        mask_ = 0;
    }

private:
    struct claims {
        std::atomic<signal_mask> taken{0};
        std::atomic<pid_t> process{0};
    };
    static claims& table() noexcept {
        static claims all;
        const pid_t self = ::getpid();
        if (all.process.exchange(self) != self) all.taken = 0;
        return all;
    }

    signal_mask mask_ = 0;
    pid_t process_ = ::getpid();
};

}  // namespace detail

/// Blocks every number that parley may claim in this thread and in those that it starts. To be
/// called first of all in main by a program that opens `signals` or `ast` ends after it has started
/// threads; others need not.
inline void reserve_signals() noexcept { detail::block_signals(detail::claimable_signals()); }

}  // namespace v1
}  // namespace parley
