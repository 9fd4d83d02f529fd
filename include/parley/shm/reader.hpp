// SPDX-License-Identifier: MIT
// The reader's side of a segment: it owns the segment, notices who came, left and died, and hands
// lanes on; all that is not the path of a message.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/peer_watch.hpp>
#include <parley/shm/adopted_lane.hpp>
#include <parley/shm/bell.hpp>
#include <parley/shm/registry.hpp>
#include <parley/shm/segment.hpp>
#include <parley/shm/succession.hpp>
#include <parley/shm/waiting.hpp>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// A process's hold on a segment as its reader: the lanes it drains, who came, left and died.
template <class Atomics>
struct segment_reader final : fork_sensitive {
    using adopted = adopted_lane<Atomics>;
    using registry = lane_registry<Atomics>;

    segment_reader(segment s, segment_label<Atomics> called, uri a, wait_plan w)
        : seg(std::move(s)),
          path(std::move(called.path)),
          registration(std::move(called.registration)),
          named(!path.empty() || registration != nullptr),
          address(std::move(a)),
          plan(w),
          forks_at_open(forks()) {
        if (named) {
            used = true;
            guard_against_fork();
        }
    }
    ~segment_reader() override { unguard(); }

    // A forked child drops its copies and forgets the name: only the opener removes it.
    void in_forked_child() noexcept override {
        path.clear();
        drop();
    }

    // --- opening ---------------------------------------------------------------------------
    result<void> map(diagnostics& d) {
        constexpr std::size_t one = shm_layout::page_bytes;
        auto r = reader_map.map(seg.file.get(), shm_layout::reader_offset, 2 * one,
                                PROT_READ | PROT_WRITE);
        if (r) {
            r = writers_map.map(seg.file.get(), shm_layout::doorbell_offset,
                                (1 + seg.shape.lanes) * one, PROT_READ);
        }
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        me = &reader_map.as<shm_layout::reader_page>();
        doorbell = &writers_map.as<const shm_layout::doorbell_page>();
        lanes = std::make_unique<std::unique_ptr<adopted>[]>(seg.shape.lanes);
        rings = std::make_unique<later<mapping, Atomics>[]>(seg.shape.lanes);
        if (seg.inherited) {
            if (auto s = succeed(d); !s) return s;
        }
        if (!seg.rung_by_signals) return {};
        const auto number = bell.claim_signal(d);
        if (!number) return close(), number.error();
        // Release: whoever reads the number learns whose it is.
        Atomics::store(me->state.signal, *number, std::memory_order_release);
        return {};
    }
    /// Goes on where a reader that died has stopped. Past the door, and its lock is ours.
    result<void> succeed(diagnostics& d) {
        Atomics::store(me->state.signal, std::uint32_t{0}, std::memory_order_relaxed);
        if (auto r = seg.sign(); !r) return d.fail(r.error(), explain("signing " + path, errno));
        const auto life = Atomics::load(me->state.life, std::memory_order_relaxed);
        Atomics::store(me->state.life, life + 1, std::memory_order_release);
        // Who was in a rush goes on being published to without care: lie_down() sees to that.
        if (Atomics::load(me->state.asleep, std::memory_order_relaxed) != rushing) self().get_up();
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            lane_cursor& cursor = me->lanes[i];
            if (succession<Atomics>::wants_ring(cursor)) {
                if (auto r = seg.map_ring(rings[i], i, PROT_READ, address.text(), d); !r) return r;
            }
            const std::byte* ring = rings[i] ? rings[i].data() : nullptr;
            messages_lost += succession<Atomics>::take_over(cursor, seg.shape, ring);
            std::uint32_t claim = 0;
            if (registry::is_claimed(page_of(i), cursor, claim) &&
                registry::is_abandoned(page_of(i), claim)) {
                registry::free(cursor, claim);
            }
            ring_writer(i);
        }
        claims_seen = registry::announced(*doorbell, std::memory_order_relaxed) - 1;
        unlock(seg.file.get(), door_lock);
        return {};
    }
    /// See shm_sink: the lock moves to a description of this process alone.
    result<void> use() {
        if (failed) return failed;
        if (used) return {};
        unique_fd own;
        if (auto r = reopen(seg.file.get(), own); !r) {
            return why.fail(r.error(), explain("reopening the segment", errno));
        }
        if (auto r = try_lock(own.get(), reader_lock); !r) {
            return why.fail(errc::in_use, "this end is in use by another process");
        }
        seg.file = std::move(own);
        used = true;
        guard_against_fork();
        return {};
    }

    // --- lanes -----------------------------------------------------------------------------
    [[nodiscard]] const lane_page& page_of(std::size_t i) const noexcept {
        return writers_map.as<const lane_page>((1 + i) * shm_layout::page_bytes);
    }
    [[nodiscard]] adopted* at(std::size_t i) const noexcept { return lanes[i].get(); }

    /// Looks for writers that came since the last look. True if there is one.
    bool adopt_newcomers() {
        const auto seen = registry::announced(*doorbell, std::memory_order_acquire);
        if (seen == claims_seen) [[likely]]
            return false;
        claims_seen = seen;
        bool any = false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            std::uint32_t claim = 0;
            if (at(i) == nullptr && registry::is_claimed(page_of(i), me->lanes[i], claim)) {
                any |= adopt(i, claim);
            }
        }
        return any;
    }
    bool adopt(std::size_t i, std::uint32_t claim) {
        if (!rings[i]) {
            if (auto r = seg.map_ring(rings[i], i, PROT_READ, address.text(), why); !r) {
                trouble = r.error();
                return false;
            }
        }
        lane_cursor& cursor = me->lanes[i];
        lanes[i] = std::make_unique<adopted>(
            adopted{lane_reader<Atomics>(seg.shape, rings[i].data(), cursor, page_of(i)),
                    &page_of(i), &cursor, i, claim});
        if (ready.made()) watch(*lanes[i]);
        ++active;
        peers.came(lanes[i]->pid());
        return true;
    }

    /// The lane had no message: what else.
    void lane_said(adopted& l, taken what) {
        if (what == taken::end) finish(l, errc::closed);
        if (what != taken::broken) return;
        trouble = why.fail(errc::corrupt, "process " + std::to_string(l.page->pid) +
                                              " wrote no message into its lane of " +
                                              address.text() + "; the lane is dropped");
        finish(l, errc::peer_lost);
    }
    /// The next lane with a writer has its turn. False if there is none.
    bool next_turn() noexcept {
        if (lane_now != nullptr) lane_now->lane.settle();
        awake_for += std::exchange(turn, 0);
        if (awake_for >= rush_after && enrolled) self().rush();
        const std::size_t n = seg.shape.lanes;
        for (std::size_t i = 0; i < n; ++i) {
            current = current + 1 == n ? 0 : current + 1;
            lane_now = at(current);
            if (lane_now != nullptr && !lane_now->over) return true;
        }
        lane_now = nullptr;
        return false;
    }

    void let_go(adopted& l, bytes payload) noexcept {
        if (!seg.file) return;  // closed, or a forked child's copy: it gives nothing back
        const bool last = --l.borrowed == 0;
        const auto asleep = last ? l.lane.release() : l.lane.release_oldest(payload);
        if (last && &l != lane_now) l.lane.settle();
        if (asleep != 0) [[unlikely]]
            wake_writer(l, asleep);
        if (l.over && last) [[unlikely]]
            free_lane(l);
    }
    /// The writer sleeps until there is room for what it wants to send.
    [[gnu::noinline, gnu::cold]] void wake_writer(adopted& l, std::uint64_t asleep) noexcept {
        if (!l.lane.is_room_enough()) return;
        (void)rang<Atomics>(asleep, l.cursor->bell, [&] { return ring_lane(l.number, l.claim); });
    }

    /// This lane's writer has nothing more to say.
    void finish(adopted& l, errc how) noexcept {
        if (how == errc::peer_lost) peers.died(l.pid());
        last_end = how;
        ended = true;
        l.over = true;
        --active;
        if (lane_now == &l) lane_now = nullptr;
        if (l.borrowed == 0) free_lane(l);
    }
    void free_lane(adopted& l) noexcept {
        const std::size_t i = l.number;
        l.lane.settle();
        registry::free(*l.cursor, l.claim);
        lanes[i].reset();
    }

    error_code report_end() {
        // An anonymous segment keeps saying it: nobody else can come.
        ended = !named;
        if (last_end == errc::closed) return make_error_code(errc::closed);
        return why.fail(errc::peer_lost, "the last sender on " + address.text() +
                                             " died; everything it committed was received");
    }

    // --- death -----------------------------------------------------------------------------
    [[nodiscard]] bool is_dead(const adopted& l) const noexcept {
        return !l.over && !is_locked(seg.file.get(), writer_lock(l.number));
    }
    [[nodiscard]] bool look_is_due() noexcept {
        const auto now = coarse_now_ns();
        if (now - looked_ns < liveness_interval.count() && !look_now) return false;
        looked_ns = now;
        look_now = false;
        return true;
    }
    /// Finishes the lanes of the dead, after their last message. True if that gave news.
    bool bury_the_dead() {
        if (active == 0 || (!ready.made() && !look_is_due())) return false;
        bool any = false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            adopted* l = at(i);
            if (l == nullptr || !is_dead(*l)) continue;
            // It died after the last look at its lane: what it committed before counts, and the
            // kernel's word on its death made all of that visible.
            if (!l->lane.ready(std::memory_order_relaxed)) finish(*l, errc::peer_lost);
            any = true;
        }
        return any;
    }
    [[nodiscard]] bool somebody_died() noexcept {
        if (active == 0 || !look_is_due()) return false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            if (at(i) != nullptr && is_dead(*at(i))) return look_now = true;
        }
        return false;
    }

    // --- waiting ---------------------------------------------------------------------------
    [[nodiscard]] bool something_to_say(std::memory_order order) const noexcept {
        if (registry::announced(*doorbell, order) != claims_seen) return true;
        if (failed || trouble || (ended && active == 0)) return true;
        if (active == 0) return false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            const adopted* l = at(i);
            if (l != nullptr && !l->over && l->lane.ready(order)) return true;
        }
        return false;
    }
    [[nodiscard]] sleeper<Atomics> self() const noexcept {
        return {me->state.asleep, doorbell->bell};
    }
    std::uint32_t lie_down(std::uint64_t how) noexcept {
        awake_for = 0;
        return self().lie_down(how);
    }
    void park(time_point until) noexcept {
        if (bell.is_signal()) bell.drain();
        awake_for = 0;
        self().doze(
            bell.is_signal() ? asleep_on_bell : asleep_on_futex,
            [this] { return something_to_say(std::memory_order_seq_cst); },
            [this, until](std::uint32_t seen) {
                // With no writer there is nobody to look after.
                const duration most = active == 0 ? std::chrono::seconds(1) : liveness_interval;
                const auto left = until == never ? most : shorter(most, until - clock::now());
                bell.is_signal() ? bell.sleep(left) : self().sleep(seen, left);
            });
        (void)ready.raise();  // it is up now, and who polls is not rung for
    }

    bool ring_lane(std::size_t i, std::uint32_t claim) noexcept {
        const lane_page& to = page_of(i);
        // Only where that was agreed on: a number in a page is no leave to signal anybody.
        if (!seg.rung_by_signals) return bell.ring({seg.id, static_cast<int>(i), claim}, {});
        return bell.ring({seg.id, static_cast<int>(i), claim},
                         {Atomics::load(to.signal, std::memory_order_relaxed), to.pid,
                          seg.file.get(), writer_lock(i)});
    }

    // --- pollable --------------------------------------------------------------------------
    result<int> make_pollable() {
        if (auto r = bell.listen({seg.id, -1, 0}); !r) {
            return why.fail(r.error(), explain("binding a bell", errno));
        }
        auto fd = ready.add(bell.get(), EPOLLIN);
        if (!fd) return fd.error();
        if (auto r = ready.raise(); !r) return r.error();
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            if (at(i) != nullptr) watch(*at(i));
        }
        return fd;
    }
    /// Death must wake the descriptor too: by pidfd, or where PIDs mean nothing, by a clock. Of
    /// make_channel's writer nobody knows which process it will be.
    void watch(adopted& l) noexcept {
        if (named) l.pidfd = pidfd_of(l.page->pid, l.page->pid_namespace);
        if (!l.pidfd) {
            l.pidfd = liveness_clock();
            foreign = true;
        }
        (void)ready.add(l.pidfd.get(), EPOLLIN);
    }
    /// Nothing to receive: the descriptor becomes unreadable until there is. True if there is.
    bool rearm() {
        bell.drain();
        (void)lie_down(asleep_on_bell);
        if (something_to_say(std::memory_order_seq_cst)) return true;
        ready.lower();
        if (foreign) quiet_clocks();
        return false;
    }
    void quiet_clocks() noexcept {
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            std::uint64_t ticks = 0;
            if (at(i) != nullptr && at(i)->pidfd) {
                (void)!::read(at(i)->pidfd.get(), &ticks, sizeof ticks);
            }
        }
    }

    // --- closing ---------------------------------------------------------------------------
    void close() {
        const bool mine = used || forks() == forks_at_open;
        if (mine && seg.file) {
            Atomics::store(me->state.closed, std::uint32_t{1}, std::memory_order_seq_cst);
            for (std::size_t i = 0; i < seg.shape.lanes; ++i) ring_writer(i);
            if (!path.empty()) remove_name(path, seg.file.get());
            registration.reset();
        }
        drop();
    }
    /// Wakes the writer of a lane, also of one that was never looked at.
    void ring_writer(std::size_t i) noexcept {
        const auto claim = Atomics::load(page_of(i).claims, std::memory_order_seq_cst);
        if (claim == me->lanes[i].released) return;
        (void)ring<Atomics>(page_of(i).state.asleep, me->lanes[i].bell,
                            [&] { return ring_lane(i, claim); });
    }
    void drop() noexcept {
        ready.reset();
        bell.reset();
        seg.file.reset();
        failed = errc::closed;
        active = 0;
        lane_now = nullptr;
    }

    segment seg;
    std::string path;
    std::shared_ptr<later<void, Atomics>> registration;
    bool named;
    uri address;
    wait_plan plan;
    std::uint64_t forks_at_open;
    diagnostics why;
    mapping reader_map, writers_map;
    std::unique_ptr<later<mapping, Atomics>[]> rings;
    std::unique_ptr<std::unique_ptr<adopted>[]> lanes;
    shm_layout::reader_page* me = nullptr;
    const shm_layout::doorbell_page* doorbell = nullptr;
    std::size_t active = 0;   // lanes with a writer that is not over
    std::size_t current = 0;  // whose turn it is
    adopted* lane_now = nullptr;
    unsigned turn = 0;
    unsigned awake_for = 0;  // messages
    const bool enrolled = Atomics::enrol();
    std::uint32_t claims_seen = 0;
    peer_watch peers;
    std::uint64_t messages_lost = 0;  // with the readers before
    std::int64_t looked_ns = 0;
    errc last_end = errc::closed;
    error_code failed;   // stays
    error_code trouble;  // said once
    readiness ready;
    lane_bell bell;
    bool used = false;
    bool ended = false;  // some sender ended, and that was not reported yet
    bool look_now = false;
    bool foreign = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
