// SPDX-License-Identifier: MIT
// The writer's side of a segment: one lane, and all that is not the path of a message.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/fork.hpp>
#include <parley/shm/bell.hpp>
#include <parley/shm/lane.hpp>
#include <parley/shm/registry.hpp>
#include <parley/shm/segment.hpp>
#include <parley/shm/waiting.hpp>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

using lane_page = shm_layout::lane_page;
using lane_cursor = shm_layout::lane_cursor;

/// A process's hold on one lane as its writer: opening, taking the lane, waiting for room, and
/// noticing that the reader is gone.
template <class Atomics>
struct segment_writer final : fork_sensitive {
    using registry = lane_registry<Atomics>;

    segment_writer(segment s, std::string name, uri a, wait_plan p, bool shared_)
        : seg(std::move(s)),
          path(std::move(name)),
          address(std::move(a)),
          plan(p),
          shared(shared_),
          forks_at_open(forks()) {}
    ~segment_writer() override { unguard(); }

    void in_forked_child() noexcept override { shut(); }

    // --- opening ---------------------------------------------------------------------------
    result<void> map(diagnostics& d) {
        constexpr std::size_t one = shm_layout::page_bytes;
        const int file = seg.file.get();
        auto r = reader_map.map(file, shm_layout::reader_offset, 2 * one, PROT_READ);
        if (r) {
            r = doorbell_map.map(file, shm_layout::doorbell_offset, one, PROT_READ | PROT_WRITE);
        }
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        reader = &reader_map.as<const shm_layout::reader_page>();
        doorbell = &doorbell_map.as<shm_layout::doorbell_page>();
        // The life first: what is read of the owner after it is as new, or will be read again.
        life_seen = Atomics::load(reader->state.life, std::memory_order_acquire);
        if (!path.empty()) seg.look_who_owns();
        return {};
    }
    result<void> claim(diagnostics& d) {
        bool draining = false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            auto mine = try_lock(seg.file.get(), writer_lock(i) + (shared ? 1 : 0));
            if (!mine && mine.error() == errc::would_block) continue;
            if (!mine) return d.fail(mine.error(), explain("locking a lane", errno));
            if (is_locked(seg.file.get(), writer_lock(i))) {  // its other byte
                unlock(seg.file.get(), writer_lock(i) + (shared ? 1 : 0));
                continue;
            }
            auto taken = take(i, d);
            if (taken || taken.error() != errc::would_block) return taken;
            draining = true;
            unlock(seg.file.get(), writer_lock(i) + (shared ? 1 : 0));
        }
        return d.fail(draining ? errc::would_block : errc::out_of_resources,
                      "all " + std::to_string(seg.shape.lanes) + " lanes of " + address.text() +
                          " are taken; raise ?writers_max=… at the receiver");
    }
    /// would_block: the reader has not finished with the lane's last writer yet.
    result<void> take(std::size_t i, diagnostics& d) {
        constexpr std::size_t one = shm_layout::page_bytes;
        constexpr int rights = PROT_READ | PROT_WRITE;
        mapping page, both;
        if (auto r = page.map(seg.file.get(), shm_layout::lanes_offset + i * one, one, rights);
            !r) {
            return d.fail(r.error(), explain("mapping " + address.text(), errno));
        }
        auto& l = page.as<lane_page>();
        std::uint32_t claims = 0;
        if (!registry::is_free(l, reader->lanes[i], claims)) {
            // Its last writer may have died before it said that it came: say it for the dead.
            announce();
            return errc::would_block;
        }
        if (auto r = seg.map_ring(both, i, rights, address.text(), d); !r) return r.error();
        lane_map = std::move(page);
        ring_map = std::move(both);
        me = &l;
        number = i;
        lane = lane_writer<Atomics>(seg.shape, ring_map.data(), reader->lanes[i], reader->state, l);
        std::uint32_t signal = 0;
        if (seg.rung_by_signals) {
            const auto claimed = own_bell.claim_signal(d);
            if (!claimed) return claimed.error();
            signal = *claimed;
        }
        sign();
        claim_number = claims + 1;
        registry::claim(l, claim_number, signal);
        announce();
        if (!shared) {
            used = usable = true;
            guard_against_fork();
        }
        return {};
    }
    /// Makes the reader look at who has which lane.
    void announce() noexcept {
        registry::announce(*doorbell);
        (void)ring<Atomics>(reader->state.asleep, doorbell->bell, [this] { return ring_bell(); });
    }
    void sign() noexcept {
        me->pid = static_cast<std::uint32_t>(::getpid());
        me->pid_namespace = namespace_id("pid");
        me->sender = seg.id ^ (std::uint64_t{me->pid} << 32 | claim_number);
        const auto words = seg.type.description.substr(0, sizeof me->description);
        me->fingerprint = seg.type.fingerprint;
        me->description_bytes = static_cast<std::uint32_t>(words.size());
        std::memcpy(me->description, words.data(), words.size());
    }

    // --- use -------------------------------------------------------------------------------
    [[nodiscard]] bool ready_to_write() noexcept {
        return usable && Atomics::load(reader->state.closed, std::memory_order_relaxed) == 0;
    }
    /// Makes an end of make_channel this process's own: its lock moves to a description that no
    /// other process shares.
    result<void> use() {
        if (used) return {};
        unique_fd own;
        if (auto r = reopen(seg.file.get(), own); !r) {
            return why.fail(r.error(), explain("reopening the segment", errno));
        }
        if (auto r = try_lock(own.get(), writer_lock(number)); !r) {
            return why.fail(errc::in_use, "this end is in use by another process");
        }
        seg.file = std::move(own);
        sign();
        used = usable = true;
        guard_against_fork();
        return {};
    }
    /// Why a loan of n bytes is refused, if it is.
    [[gnu::noinline, gnu::cold]] result<void> make_ready(std::size_t n) {
        if (failed) return failed;
        if (auto r = use(); !r) return r;
        if (closed_by_reader()) {
            return lost(errc::closed, "the receiver of " + address.text() + " closed");
        }
        if (n > message_bytes_max) return too_large(n);
        if (!loaned) return {};
        return why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
    }
    /// Success: meanwhile there is room.
    [[gnu::noinline, gnu::cold]] result<void> no_room(std::size_t n) {
        refused = n;
        if (ready.made()) return rearm(n);
        return errc::would_block;
    }
    /// Looking after the reader costs a system call, so it is done when ringing finds nobody,
    /// and now and then.
    [[gnu::noinline]] result<void> ring_reader() {
        if (flushes - flushes_asleep >= rush_after && enrolled) self().rush();
        const auto asleep = std::exchange(reader_asleep, 0);
        const auto r = rang<Atomics>(asleep, doorbell->bell, [this] { return ring_bell(); });
        return look_after_reader(r == rung::no_answer);
    }
    [[nodiscard]] bool closed_by_reader() const noexcept {
        return Atomics::load(reader->state.closed, std::memory_order_relaxed) != 0;
    }
    [[nodiscard]] bool speaks_for_the_channel() const noexcept {
        return used || forks() == forks_at_open;
    }
    error_code lost(errc e, std::string words) {
        usable = false;
        failed = why.fail(e, std::move(words));
        return failed;
    }
    error_code too_large(std::size_t n) {
        return why.fail(errc::message_too_large, "a message of " + std::to_string(n) +
                                                     " bytes; a lane of " + address.text() +
                                                     " takes at most " +
                                                     std::to_string(seg.shape.message_bytes_max()) +
                                                     ": raise ?capacity_bytes=… at the receiver");
    }
    /// Error: the reader is gone. Asks the kernel each 50 ms, or each millisecond if in doubt.
    result<void> look_after_reader(bool in_doubt) {
        if (failed) return failed;
        const auto now = coarse_now_ns();
        const duration interval = in_doubt ? std::chrono::milliseconds(1) : liveness_interval;
        if (now - looked_ns < interval.count()) return {};
        looked_ns = now;
        const int file = seg.file.get();
        if (is_locked(file, reader_lock)) return meet_successor(), result<void>();
        if (closed_by_reader()) {
            return lost(errc::closed, "the receiver of " + address.text() + " closed");
        }
        // What the sender is told was not received is received by nobody. If somebody stands in the
        // door, we ask again.
        if (!try_lock(file, door_lock)) return {};
        const bool dead = !is_locked(file, reader_lock);
        if (dead) registry::abandon(*me, claim_number);
        unlock(file, door_lock);
        if (!dead) return {};
        return lost(errc::peer_lost, "the receiver of " + address.text() + ", process " +
                                         std::to_string(seg.owner_pid) + ", died; " +
                                         std::to_string(lane.unread()) +
                                         " of the messages sent were not received");
    }
    /// The reader lives, but may be another one.
    void meet_successor() noexcept {
        const auto life = Atomics::load(reader->state.life, std::memory_order_acquire);
        if (life == life_seen) [[likely]]
            return;
        life_seen = life;
        seg.look_who_owns();
        if (ready.made()) (void)watch_reader();
    }
    [[nodiscard]] sleeper<Atomics> self() const noexcept {
        return {me->state.asleep, reader->lanes[number].bell};
    }
    /// Says for how much room it is going to sleep.
    void want(std::size_t n) noexcept {
        flushes_asleep = flushes;
        Atomics::store(me->state.wanted, lane.head_for(n), std::memory_order_relaxed);
    }
    void park(time_point until) noexcept {
        const bool by_signal = own_bell.is_signal();
        if (by_signal) own_bell.drain();
        want(refused);
        self().doze(
            by_signal ? asleep_on_bell : asleep_on_futex,
            [this] { return lane.room_now(refused) || closed_by_reader(); },
            [this, until, by_signal](std::uint32_t seen) {
                const auto left = until == never ? liveness_interval : until - clock::now();
                const auto most = shorter(left, liveness_interval);
                by_signal ? own_bell.sleep(most) : self().sleep(seen, most);
            });
        (void)ready.raise();  // it is up now, and who polls is not rung for
    }
    bool ring_bell() noexcept {
        if (!seg.rung_by_signals) return reader_bell.ring({seg.id, -1, 0}, {});
        // Acquire: a number is that of the owner whom we know from then on, or of one before, and
        // then it is none any more.
        const auto number_seen = Atomics::load(reader->state.signal, std::memory_order_acquire);
        meet_successor();
        const auto signal = Atomics::load(reader->state.signal, std::memory_order_relaxed);
        if (signal != number_seen || signal == 0) return false;
        return reader_bell.ring({seg.id, -1, 0},
                                {signal, seg.owner_pid, seg.file.get(), reader_lock});
    }

    // --- pollable --------------------------------------------------------------------------
    result<int> make_pollable() {
        if (auto r = own_bell.listen({seg.id, static_cast<int>(number), claim_number}); !r) {
            return why.fail(r.error(), explain("binding a bell", errno));
        }
        auto fd = ready.add(own_bell.get(), EPOLLIN);
        if (!fd) return fd.error();
        if (auto r = watch_reader(); !r) return r.error();
        if (auto r = ready.raise(); !r) return r.error();
        return fd;
    }
    result<int> watch_reader() {
        // Which process is to be the reader of make_channel's segment is not known here.
        reader_pidfd.reset();
        if (!shared) reader_pidfd = pidfd_of(seg.owner_pid, seg.pid_namespace);
        by_clock = !reader_pidfd;
        if (by_clock) reader_pidfd = liveness_clock();
        return ready.add(reader_pidfd.get(), EPOLLIN);
    }
    /// No room: from now on the descriptor is unreadable until the reader makes some.
    result<void> rearm(std::size_t n) {
        own_bell.drain();
        want(n);
        (void)self().lie_down(asleep_on_bell);
        if (lane.room_now(n)) return {};
        // A reader that closed before it could see this sleeper rings nobody, and its lock may
        // fall a little later: its word counts, and seq_cst orders it with the bell.
        if (Atomics::load(reader->state.closed, std::memory_order_seq_cst) != 0) {
            return lost(errc::closed, "the receiver of " + address.text() + " closed");
        }
        if (auto r = look_after_reader(true); !r) return r.error();
        ready.lower();
        std::uint64_t ticks = 0;
        if (by_clock) (void)!::read(reader_pidfd.get(), &ticks, sizeof ticks);
        return errc::would_block;
    }
    /// The last one to know removes the name that a dead reader left, unless somebody else's
    /// messages wait there for a successor.
    void clean_up_after_reader() noexcept {
        if (path.empty() || failed != errc::peer_lost) return;
        mapping pages;
        if (!pass_door(seg.file.get()) || is_locked(seg.file.get(), reader_lock) ||
            !pages.map(seg.file.get(), shm_layout::lanes_offset,
                       seg.shape.lanes * shm_layout::page_bytes, PROT_READ)) {
            return;
        }
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            const auto& its = pages.as<const lane_page>(i * shm_layout::page_bytes);
            std::uint32_t claim = 0;
            if (registry::is_claimed(its, reader->lanes[i], claim) &&
                !registry::is_abandoned(its, claim)) {
                return;
            }
        }
        remove_name(path, seg.file.get());
    }
    void shut() noexcept {
        ready.reset();
        own_bell.reset();
        reader_bell.reset();
        reader_pidfd.reset();
        seg.file.reset();
        open = usable = false;
        if (!failed) failed = errc::closed;
    }

    segment seg;
    std::string path;  // empty: no name
    uri address;
    wait_plan plan;
    bool shared;
    std::uint64_t forks_at_open;
    diagnostics why;
    mapping reader_map, doorbell_map, lane_map, ring_map;
    const shm_layout::reader_page* reader = nullptr;
    shm_layout::doorbell_page* doorbell = nullptr;
    lane_page* me = nullptr;
    std::size_t number = 0;
    std::uint32_t claim_number = 0;
    std::uint32_t life_seen = 0;
    lane_writer<Atomics> lane;
    const std::size_t message_bytes_max = seg.shape.message_bytes_max();
    const bool streaming = seg.copy == copy::streaming;
    // Longer ones take the way on which there is time to ask how they are copied.
    const std::size_t short_bytes_max = streaming && message_bytes_max >= streaming_bytes_min
                                            ? streaming_bytes_min - 1
                                            : message_bytes_max;
    std::size_t refused = 0;
    std::uint64_t flushes = 0;
    std::uint64_t flushes_asleep = 0;  // what it was when we slept last
    std::uint64_t reader_asleep = 0;   // as the last commit saw it
    const bool enrolled = Atomics::enrol();
    std::int64_t looked_ns = 0;
    error_code failed;
    readiness ready;
    lane_bell own_bell, reader_bell;
    unique_fd reader_pidfd;  // or a clock
    bool by_clock = false;
    bool loaned = false;
    bool used = false;
    bool usable = false;  // in use, and nothing failed
    bool open = true;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
