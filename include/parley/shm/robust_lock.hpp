// SPDX-License-Identifier: MIT
// A lock in shared memory whose holder may be killed.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>

#include <pthread.h>

#include <cerrno>
#include <ctime>
#include <utility>

namespace parley {
inline namespace v1 {

/// A mutual exclusion between processes that survives the death of whoever holds it: the next one
/// gets the lock, is told so, and repairs what the dead one was changing. For those who must lock;
/// no path of a message does.
///
///     struct shared { parley::robust_lock lock; account from, to; };   // in shared memory
///     auto held = s->lock.lock([&] { return s->restore_balance(); }, 1s);
///     if (!held) …                                                     // timed_out, or corrupt
///
/// Made once, in memory that all parties map for writing, before anybody else can see it; a party
/// of another word size must not touch it. Thread safety: all of it, from all processes. Not
/// recursive. Blocking: until the holder lets go or dies, or the deadline passes; a death is
/// noticed at once. Cancellation: by the deadline only.
///
/// Errors: timed_out; would_block (a deadline of zero: somebody holds it); corrupt (a holder died
/// and nobody repaired what it left: the lock is of no use any more); what `repair` returned.
///
/// Source: the robust futexes of Linux (Molnar, Gleixner, Drepper 2006) as POSIX robust mutexes:
/// the kernel marks what a dying thread holds.
class robust_lock {
public:
    /// Held until it is destroyed.
    class [[nodiscard]] guard {
    public:
        guard(guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
        guard& operator=(guard&& other) noexcept {
            std::swap(lock_, other.lock_);
            return *this;
        }
        ~guard() {
            if (lock_ != nullptr) ::pthread_mutex_unlock(&lock_->mutex_);
        }

    private:
        friend robust_lock;
        explicit guard(robust_lock& l) noexcept : lock_(&l) {}

        robust_lock* lock_;
    };

    robust_lock() noexcept {
        pthread_mutexattr_t how;
        ::pthread_mutexattr_init(&how);
        ::pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
        ::pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
        ::pthread_mutex_init(&mutex_, &how);
        ::pthread_mutexattr_destroy(&how);
    }
    robust_lock(const robust_lock&) = delete;
    robust_lock& operator=(const robust_lock&) = delete;
    ~robust_lock() { ::pthread_mutex_destroy(&mutex_); }

    /// `repair()` is called, with the lock held, if the last holder died; it returns a
    /// result<void>. If it fails, its error is returned and the lock is corrupt from then on, since
    /// nobody knows what it guards; if it throws, likewise.
    template <class Repair>
    [[nodiscard]] result<guard> lock(Repair&& repair, deadline d = never) {
        const int e = take(d);
        if (e != 0 && e != EOWNERDEAD) return error_of(e, d);
        guard held(*this);
        if (e == 0) return held;
        if (result<void> r = repair(); !r) return r.error();  // unlocked unrepaired: corrupt
        ::pthread_mutex_consistent(&mutex_);
        return held;
    }

private:
    int take(deadline& d) noexcept {
        const int e = ::pthread_mutex_trylock(&mutex_);
        if (e != EBUSY || d.is_try()) return e;
        if (d.at() == never) return ::pthread_mutex_lock(&mutex_);
        const auto ns =
            std::chrono::duration_cast<std::chrono::nanoseconds>(d.at().time_since_epoch()).count();
        const timespec at{static_cast<time_t>(ns / 1'000'000'000),
                          static_cast<long>(ns % 1'000'000'000)};
        return ::pthread_mutex_clocklock(&mutex_, CLOCK_MONOTONIC, &at);
    }
    [[nodiscard]] static error_code error_of(int e, const deadline& d) noexcept {
        switch (e) {
            case EBUSY:
            case ETIMEDOUT: return d.is_try() ? errc::would_block : errc::timed_out;
            case ENOTRECOVERABLE: return errc::corrupt;
            default: return from_errno(e);
        }
    }

    pthread_mutex_t mutex_;
};

}  // namespace v1
}  // namespace parley
