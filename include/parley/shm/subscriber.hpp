// SPDX-License-Identifier: MIT
// A subscriber's hold on a topic: a place of its own, a cursor in each ring, who came, left and
// died; all that is not the path of a message.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/peer_watch.hpp>
#include <parley/shm/broadcast_bell.hpp>
#include <parley/shm/followed_ring.hpp>
#include <parley/shm/topic.hpp>
#include <parley/shm/waiting.hpp>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A process's hold on a topic as one of its subscribers.
template <class Atomics>
struct topic_subscriber final : fork_sensitive {
    using followed = followed_ring<Atomics>;
    using reader = broadcast_reader<Atomics>;

    topic_subscriber(segment s, std::string name, uri a, wait_plan p)
        : seg(std::move(s)), path(std::move(name)), address(std::move(a)), plan(p) {}
    ~topic_subscriber() override { unguard(); }

    void in_forked_child() noexcept override { drop(); }

    // --- opening ---------------------------------------------------------------------------
    result<void> map(diagnostics& d) {
        namespace layout = shm_layout;
        constexpr int rights = PROT_READ | PROT_WRITE;
        auto r = subscribers_map.map(seg.file.get(), layout::reader_offset, 2 * layout::page_bytes,
                                     rights);
        if (r) {
            r = publishers_map.map(seg.file.get(), layout::doorbell_offset,
                                   (1 + seg.shape.lanes) * layout::page_bytes, PROT_READ);
        }
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        all = &subscribers_map.as<layout::subscribers_page>();
        doorbell = &publishers_map.as<const layout::doorbell_page>();
        rings = std::make_unique<std::unique_ptr<followed>[]>(seg.shape.lanes);
        starts = std::make_unique<typename reader::start[]>(seg.shape.lanes);
        if (overwrites(rule())) room.make(broadcast_bytes_max(shape, true), shape.alignment);
        return {};
    }
    result<void> claim(diagnostics& d) {
        for (std::size_t j = 0; j < shm_layout::readers_max; ++j) {
            auto mine = try_lock(seg.file.get(), subscriber_lock(j));
            if (mine) return take(j, d);
            if (mine.error() == errc::would_block) continue;
            return d.fail(mine.error(), explain("locking a place", errno));
        }
        return d.fail(errc::out_of_resources, "all " + std::to_string(shm_layout::readers_max) +
                                                  " places for subscribers at " + address.text() +
                                                  " are taken");
    }
    result<void> take(std::size_t j, diagnostics& d) {
        const std::size_t at = seg.shape.cursors_offset(j), n = shm_layout::cursors_bytes;
        if (auto r = reserve(seg.file.get(), at, n, address.text(), d); !r) return r;
        if (auto r = page_map.map(seg.file.get(), at, n, PROT_READ | PROT_WRITE); !r) {
            return d.fail(r.error(), explain("mapping " + address.text(), errno));
        }
        place = j;
        me = &page_map.as<shm_layout::subscriber_page>();
        let_all_go();
        me->pid = static_cast<std::uint32_t>(::getpid());
        me->pid_namespace = namespace_id("pid");
        Atomics::store(me->asleep, std::uint64_t{0}, std::memory_order_relaxed);
        claim_number = Atomics::load(me->claims, std::memory_order_relaxed) + 1;
        // Release: who sees the claim sees that no cursor of the last one holds any more.
        Atomics::store(me->claims, claim_number, std::memory_order_release);
        set_known();
        claims_seen = Atomics::load(doorbell->claims, std::memory_order_acquire);
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            starts[i] = reader::choose(shape, rule(), page_of(i), me->rings[i]);
            if (Atomics::load(page_of(i).claims, std::memory_order_acquire) == 0) continue;
            if (auto r = follow(i, d); !r) return r;
            skip_to_end(*rings[i]);
        }
        guard_against_fork();
        return try_lock(seg.file.get(), subscriber_lock(j) + 2);  // from now on we miss nothing
    }
    /// Publishers look at our cursors from now on.
    void set_known() noexcept {
        auto known = Atomics::load(all->known, std::memory_order_relaxed);
        const auto wanted = std::uint64_t{1} << place;
        while (!Atomics::compare_exchange(all->known, known, known | wanted,
                                          std::memory_order_seq_cst)) {
        }
    }

    // --- rings -----------------------------------------------------------------------------
    [[nodiscard]] shm_layout::giving_way rule() const noexcept {
        return static_cast<shm_layout::giving_way>(seg.rule);
    }
    [[nodiscard]] const shm_layout::publisher_page& page_of(std::size_t i) const noexcept {
        return publishers_map.as<const shm_layout::publisher_page>((1 + i) *
                                                                   shm_layout::page_bytes);
    }
    [[nodiscard]] bool lives(std::size_t i) const noexcept {
        return is_locked(seg.file.get(), writer_lock(i));
    }

    /// Begins to follow a ring, from where starts[i] says.
    result<void> follow(std::size_t i, diagnostics& d) {
        mapping memory, chunks;
        if (auto r = seg.map_ring(memory, i, PROT_READ, address.text(), d); !r) return r;
        if (auto r = seg.map_chunks(chunks, i, PROT_READ, address.text(), d); !r) return r;
        const auto& page = page_of(i);
        const auto deaths = Atomics::load(page.deaths, std::memory_order_acquire);
        const auto claim = Atomics::load(page.claims, std::memory_order_acquire);
        const std::byte* const ring = memory.data();
        rings[i] = std::make_unique<followed>(
            followed{reader(shape, rule(), ring, me->rings[i], page, starts[i]), &page, i, claim,
                     deaths, false, std::move(memory), std::move(chunks)});
        followed& f = *rings[i];
        if (in_chunks) f.chunks = {seg.shape, f.chunk_memory.data(), me->rings[i], page};
        f.active = !f.has_closed() && lives(i);
        if (f.active) ++publishers;
        if (f.active) peers.came(f.pid());
        if (f.active && ready.made()) watch(f);
        return {};
    }
    void skip_to_end(followed& f) noexcept {
        // The publisher may have met our cursor already, and sleep until it moves.
        if (const auto asleep = f.ring.skip_to_end(); asleep != 0) wake_publisher(f, asleep);
    }
    /// Looks for publishers that came since the last look. True if there is one.
    bool adopt_newcomers() {
        const auto seen = Atomics::load(doorbell->claims, std::memory_order_acquire);
        if (seen == claims_seen) [[likely]]
            return false;
        claims_seen = seen;
        bool any = false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            // Acquire pairs with the claim: the page is signed.
            const auto claim = Atomics::load(page_of(i).claims, std::memory_order_acquire);
            if (rings[i] == nullptr ? claim == 0 : claim == rings[i]->claim) continue;
            any = true;
            if (rings[i] != nullptr) {
                succeed(*rings[i], claim);
            } else if (auto r = follow(i, why); !r) {
                trouble = r.error();
            } else if (!rings[i]->active) {
                over(*rings[i], rings[i]->has_closed() ? errc::closed : errc::peer_lost);
            }
        }
        return any;
    }
    /// Another publisher took the ring over.
    void succeed(followed& f, std::uint32_t claim) {
        f.claim = claim;
        const auto deaths = Atomics::load(f.page->deaths, std::memory_order_relaxed);
        peers.died(0, deaths - f.deaths);
        f.deaths = deaths;
        peers.came(f.pid());
        if (f.broken) {
            skipped += f.ring.lost();
            starts[f.number] = reader::choose(shape, rule(), *f.page, me->rings[f.number]);
            f.ring = reader(shape, rule(), f.memory.data(), me->rings[f.number], *f.page,
                            starts[f.number]);
            skip_to_end(f);
            f.broken = false;
        }
        if (!f.active) ++publishers;
        f.active = true;
        if (ready.made()) watch(f);
    }
    /// The publisher of a ring has nothing more to say.
    void over(followed& f, errc how) noexcept {
        if (f.active) --publishers;
        f.active = false;
        f.pidfd.reset();
        last_end = how;
        ended = true;
        if (how != errc::peer_lost) return;
        peers.died(f.pid());
        ++f.deaths;  // its successor will count it too
    }
    /// The ring holds what is no message: leave it to its publisher until another one comes.
    void spoilt(followed& f) {
        trouble = why.fail(errc::corrupt, "process " + std::to_string(f.page->pid) +
                                              " wrote no message into its ring of " +
                                              address.text() + "; the ring is dropped");
        f.broken = true;
        Atomics::store(me->rings[f.number].head, shm_layout::nowhere, std::memory_order_release);
        over(f, errc::peer_lost);
    }
    /// A ring keeps its turn for so many bytes, so that its lines stay warm.
    static constexpr std::uint64_t turn_bytes = 16 << 10;
    /// The next ring has its turn. False if there is none.
    bool next_turn() noexcept {
        for (std::size_t n = seg.shape.lanes; n > 0; --n) {
            current = current + 1 >= seg.shape.lanes ? 0 : current + 1;
            now = rings[current].get();
            if (now == nullptr || now->broken) continue;
            turn_until = now->ring.position() + turn_bytes;
            return true;
        }
        now = nullptr;
        return false;
    }

    void let_go(followed& f, bytes payload) noexcept {
        if (!open) return;  // a forked child's copy gives nothing back
        --borrowed;
        const auto asleep = f.let_go(payload);
        if (asleep != 0) [[unlikely]]
            wake_publisher(f, asleep);
    }
    [[nodiscard]] typename reader::item take_chunk(followed& f) noexcept {
        return f.take_chunk(room.get(), [&](std::uint64_t asleep) { wake_publisher(f, asleep); });
    }
    /// The publisher sleeps until those who hold it up have come to a certain place.
    void wake_publisher(followed& f, std::uint64_t asleep) noexcept {
        if (!f.ring.is_awaited(place)) return;
        (void)rang<Atomics>(asleep, all->room[f.number], [] { return false; });
    }

    // --- ends ------------------------------------------------------------------------------
    /// Sees who closed, and each 50 ms who died, after their last message. True if that gave news.
    bool see_who_ended() {
        if (publishers == 0) return false;
        const bool look = ready.made() || look_is_due();
        bool any = false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            followed* const f = rings[i].get();
            if (f == nullptr || !f->active) continue;
            const bool closed = f->has_closed();
            if (!closed && (!look || lives(i))) continue;
            any = true;
            // It ended after the last look at its ring: what it published before counts.
            if (f->ring.ready()) continue;
            if (Atomics::load(f->page->claims, std::memory_order_acquire) != f->claim) continue;
            over(*f, closed || f->has_closed() ? errc::closed : errc::peer_lost);
        }
        return any;
    }
    [[nodiscard]] bool look_is_due() noexcept {
        const auto t = coarse_now_ns();
        if (t - looked_ns < liveness_interval.count() && !look_now) return false;
        looked_ns = t;
        look_now = false;
        return true;
    }
    [[nodiscard]] bool somebody_died() noexcept {
        if (publishers == 0 || !look_is_due()) return false;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            if (rings[i] != nullptr && rings[i]->active && !lives(i)) return look_now = true;
        }
        return false;
    }
    error_code report_end() {
        ended = false;
        if (last_end == errc::closed) return make_error_code(errc::closed);
        return why.fail(errc::peer_lost, "the last publisher on " + address.text() +
                                             " died; what it published was received");
    }

    // --- waiting ---------------------------------------------------------------------------
    [[nodiscard]] bool something_to_say() const noexcept {
        if (Atomics::load(doorbell->claims, std::memory_order_acquire) != claims_seen) return true;
        if (!open || trouble || (ended && publishers == 0)) return true;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            const followed* const f = rings[i].get();
            if (f == nullptr || f->broken) continue;
            if (f->ring.ready() || (f->active && f->has_closed())) return true;
        }
        return false;
    }
    [[nodiscard]] many_sleepers<Atomics> sleepers() const noexcept {
        return {all->asleep, doorbell->bell};
    }
    void park(time_point until) noexcept {
        const auto seen = sleepers().lie_down(asleep_on_futex);
        if (something_to_say()) return;
        // With no publisher there is nobody to look after.
        const duration most = publishers == 0 ? std::chrono::seconds(1) : liveness_interval;
        sleepers().sleep(seen, until == never ? most : shorter(most, until - clock::now()));
    }

    // --- pollable --------------------------------------------------------------------------
    result<int> make_pollable() {
        if (auto r = bell.listen(subscriber_bell(seg.id, place, claim_number)); !r) {
            return why.fail(r.error(), explain("binding a bell", errno));
        }
        Atomics::store(me->asleep, asleep_on_bell, std::memory_order_release);
        auto fd = ready.add(bell.get(), EPOLLIN);
        if (!fd) return fd.error();
        if (auto r = ready.raise(); !r) return r.error();
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            if (rings[i] != nullptr && rings[i]->active) watch(*rings[i]);
        }
        return fd;
    }
    /// Death must wake the descriptor too: by pidfd, or where PIDs mean nothing, by a clock.
    void watch(followed& f) noexcept {
        f.pidfd = pidfd_of(f.page->pid, f.page->pid_namespace);
        if (!f.pidfd) {
            f.pidfd = liveness_clock();
            foreign = true;
        }
        (void)ready.add(f.pidfd.get(), EPOLLIN);
    }
    /// Nothing to receive: the descriptor becomes unreadable until there is. True if there is.
    bool rearm() {
        bell.drain();
        (void)sleepers().lie_down(asleep_on_bell);
        if (something_to_say()) return true;
        ready.lower();
        for (std::size_t i = 0; foreign && i < seg.shape.lanes; ++i) {
            std::uint64_t ticks = 0;
            if (rings[i] != nullptr && rings[i]->pidfd) {
                (void)!::read(rings[i]->pidfd.get(), &ticks, sizeof ticks);
            }
        }
        return false;
    }

    // --- closing ---------------------------------------------------------------------------
    /// No cursor of ours holds anybody up.
    void let_all_go() noexcept {
        for (auto& r : me->rings) {
            Atomics::store(r.head, shm_layout::nowhere, std::memory_order_seq_cst);
            Atomics::store(r.holds, std::uint64_t{0}, std::memory_order_seq_cst);
        }
    }
    void close() noexcept {
        if (open) {
            let_all_go();
            for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
                const auto a = Atomics::load(page_of(i).state.asleep, std::memory_order_seq_cst);
                (void)rang<Atomics>(a, all->room[i], [] { return false; });
            }
            leave_segment(path, seg.file);
        }
        drop();
    }
    void drop() noexcept {
        ready.reset();
        bell.reset();
        seg.file.reset();
        open = false;
        publishers = 0;
        now = nullptr;
    }
    [[nodiscard]] std::uint64_t lost() const noexcept {
        auto n = skipped;
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            if (rings[i] != nullptr && !rings[i]->broken) n += rings[i]->ring.lost();
        }
        return n;
    }

    segment seg;
    std::string path;
    uri address;
    wait_plan plan;
    diagnostics why;
    mapping subscribers_map, publishers_map, page_map;
    shm_layout::subscribers_page* all = nullptr;
    const shm_layout::doorbell_page* doorbell = nullptr;
    shm_layout::subscriber_page* me = nullptr;
    std::unique_ptr<std::unique_ptr<followed>[]> rings;
    std::unique_ptr<typename reader::start[]> starts;
    const bool in_chunks = seg.shape.chunks != 0;
    const shm_layout::shape shape = seg.shape.rings();
    own_room room;  // for a copy of what may be overwritten
    std::size_t place = 0;
    std::uint32_t claim_number = 0;
    std::uint32_t claims_seen = 0;
    std::size_t publishers = 0;  // that are not over
    std::size_t current = 0;     // whose turn it is
    followed* now = nullptr;
    std::uint64_t turn_until = 0;  // a position in its ring
    std::size_t borrowed = 0;      // views of all rings
    peer_watch peers;
    std::uint64_t skipped = 0;  // lost in rings that were given up
    std::int64_t looked_ns = 0;
    errc last_end = errc::closed;
    error_code trouble;  // said once
    readiness ready;
    socket_bell bell;
    bool ended = false;  // some publisher ended, and that was not reported yet
    bool look_now = false;
    bool foreign = false;
    bool open = true;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
