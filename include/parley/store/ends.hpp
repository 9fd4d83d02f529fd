// SPDX-License-Identifier: MIT
// Who is at the ends of a stored channel, and how far they are: one page, in a file of its own
// beside a log (path.ends) and in the file of a mapped ring. Both ends map it.
//
//   byte   0        8        12       16        24
//          +--------+--------+--------+---------+----------
//          | magic  | layout | zero   | id u64  |               written once; id is random
//   64     +--------+--------+-----+--+-----+---+--------+--------+
//          | tail  u64 | synced u64 | count u64 | openings | sender |   the sender's words
//   128    +-----------+------------+-----------+----------+--------+
//          | asleep u64 | wanted u64 | bell u32 |                         the sender, while full
//   192    +------------+------------+----------+
//          | head  u64  | released u64 | from u32 |                       the reader's words
//   256    +------------+----------+---+----------+
//          | asleep u64 | bell u32 |                                      the reader, in a ring
//          +------------+----------+                                      4096
//
// `tail` is the position behind the last committed record, `synced` a position before which all was
// once on stable storage, `head` that of the reader's next record, `released` (of a ring) that
// before which all may be overwritten, `from` (of a ring too) the sender of the record before head:
// one of an earlier sender behind it is left from before a crash. After a loss of power tail and
// head may be older than what they tell of, or younger: openers check them against the records.
//
// Roles are open file description locks on the file: byte 0 the reader, byte 16 the sender; byte 32
// is held while the file's log is made or mended. They fall with their holder, whatever ends it.
#pragma once

#include <parley/detail/atomics.hpp>
#include <parley/detail/posix.hpp>
#include <parley/shm/doorbell.hpp>
#include <parley/shm/segment.hpp>
#include <parley/shm/waiting.hpp>
#include <parley/store/files.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {
namespace store {

inline constexpr std::uint64_t ends_magic = 0x31534e45'59505250;  // "PRPYENS1" in its own order
inline constexpr std::uint32_t ends_layout = 1;

struct ends_page {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t zero;
    std::uint64_t id;
    alignas(64) std::uint64_t tail;
    std::uint64_t synced;
    std::uint64_t count;     // sequence of the last committed record
    std::uint32_t openings;  // of senders, ever
    std::uint32_t sender;    // the one that is there; 0: none
    alignas(64) std::uint64_t room_asleep;
    std::uint64_t room_wanted;  // the sender sleeps until head reaches this
    std::uint32_t room_bell;
    alignas(64) std::uint64_t head;
    std::uint64_t released;
    std::uint32_t from;
    alignas(64) std::uint64_t data_asleep;
    std::uint32_t data_bell;
    alignas(64) std::byte rest[3776];
};
static_assert(sizeof(ends_page) == 4096 && offsetof(ends_page, tail) == 64);
static_assert(offsetof(ends_page, sender) == 92 && offsetof(ends_page, room_bell) == 144);
static_assert(offsetof(ends_page, head) == 192 && offsetof(ends_page, data_bell) == 264);
static_assert(offsetof(ends_page, from) == 208);

inline constexpr off_t sender_lock = detail::writer_lock(0);
inline constexpr off_t mending_lock = 32;

[[nodiscard]] inline ends_page fresh_ends() noexcept {
    ends_page p{};
    p.magic = ends_magic;
    p.layout = ends_layout;
    p.id = detail::fresh_id();
    return p;
}

/// Whether a sender is there that is not number `gone`; `file` bears the locks.
[[nodiscard]] inline bool has_sender(const ends_page& p, int file, std::uint32_t gone) noexcept {
    const auto s = detail::std_atomics::load(p.sender, std::memory_order_acquire);
    return s != 0 && s != gone && detail::is_locked(file, sender_lock);
}

/// Waits for a lock byte; how the making and mending of a log is one at a time.
[[nodiscard]] inline bool lock_and_wait(int fd, off_t at) noexcept {
    struct flock l {};
    l.l_type = F_WRLCK;
    l.l_whence = SEEK_SET;
    l.l_start = at;
    l.l_len = 1;
    return detail::retried([&] { return ::fcntl(fd, F_OFD_SETLKW, &l); }) == 0;
}

/// One side's wait at a bell in shared memory: it spins, then sleeps on the futex, or on a socket
/// for who polls. `look()` is true if there is something to do; it is asked again after the sleeper
/// has lain down, so no wake-up is lost (see shm/doorbell.hpp). Who rings may be killed before it
/// does: a sleeper on the futex looks every 50 ms.
template <class Atomics>
class bell_waiter {
public:
    bell_waiter(std::uint64_t& asleep, const std::uint32_t& bell, detail::socket_bell::name name,
                detail::wait_plan plan) noexcept
        : sleeper_{asleep, bell}, name_(name), plan_(plan) {}

    template <class Look>
    result<void> wait(Look look, time_point until) {
        const time_point spin_until = plan_.spin_until(until);
        for (;;) {
            for (int i = 0; i < 64; ++i) {
                if (look()) return {};
                Atomics::pause();
            }
            if (spin_until != expired && clock::now() < spin_until) continue;
            if (until != never && clock::now() >= until) return errc::timed_out;
            awake_ = 0;
            const auto seen = sleeper_.lie_down(detail::asleep_on_futex);
            if (!look()) {
                const auto left = until == never ? detail::liveness_interval : until - clock::now();
                sleeper_.sleep(seen, shorter(left, detail::liveness_interval));
            }
            sleeper_.get_up();
            (void)ready_.raise();  // who polls is not rung for now
        }
    }

    /// A descriptor that is readable until rearm() gives false.
    result<int> pollable() {
        if (ready_.made()) return ready_.get();
        if (auto r = socket_.listen(name_); !r) return r.error();
        auto fd = ready_.add(socket_.get(), EPOLLIN);
        if (!fd) return fd;
        if (auto r = ready_.raise(); !r) return r.error();
        return fd;
    }
    /// True if there is something to do after all; else the descriptor is unreadable until rung.
    template <class Look>
    [[nodiscard]] bool rearm(Look look) {
        if (!ready_.made()) return look();
        socket_.drain();
        awake_ = 0;
        (void)sleeper_.lie_down(detail::asleep_on_bell);
        if (look()) return true;
        ready_.lower();
        return false;
    }
    [[nodiscard]] bool is_polled() const noexcept { return ready_.made(); }
    /// There is something to do, or was `times` times: the descriptor says so. Who often has, and
    /// does not sleep, is in a rush (see shm/doorbell.hpp).
    void show(std::uint32_t times = 1) noexcept {
        if (ready_.made()) (void)ready_.raise();
        awake_ += times;
        if (awake_ >= detail::rush_after && enrolled_) sleeper_.rush();
    }
    void reset() noexcept {
        ready_.reset();
        socket_.reset();
    }

private:
    detail::sleeper<Atomics> sleeper_;
    detail::socket_bell::name name_;
    detail::wait_plan plan_;
    detail::socket_bell socket_;
    detail::readiness ready_;
    std::uint32_t awake_ = 0;  // so often there was something to do since it slept
    bool enrolled_ = Atomics::enrol();
};

/// Rings for a side of a page that may sleep, at the socket `name()` if it polls; after its words
/// were stored with seq_cst or by publish_to().
template <class Atomics, class Name>
[[gnu::always_inline]] inline void ring_for(const std::uint64_t& asleep, std::uint32_t& bell,
                                            detail::socket_bell& by, Name&& name) noexcept {
    // Pairs with lie_down().
    const auto a = Atomics::load(asleep, std::memory_order_seq_cst);
    if ((a & ~detail::rushing) == 0) [[likely]]
        return;
    (void)detail::rang<Atomics>(a, bell, [&] { return by.ring(name()); });
}

}  // namespace store
}  // namespace v1
}  // namespace parley
