// SPDX-License-Identifier: MIT
// The publisher's hold on a topic: one ring, and all that is not the path of a message.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/fork.hpp>
#include <parley/shm/broadcast_bell.hpp>
#include <parley/shm/broadcast_writer.hpp>
#include <parley/shm/chunks.hpp>
#include <parley/shm/topic.hpp>
#include <parley/shm/waiting.hpp>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A process's hold on one ring of a topic: opening, taking the ring, waiting for room, and burying
/// the dead among those who hold it up.
template <class Atomics>
struct topic_publisher final : fork_sensitive {
    topic_publisher(segment s, std::string name, uri a, wait_plan p)
        : seg(std::move(s)), path(std::move(name)), address(std::move(a)), plan(p) {}
    ~topic_publisher() override { unguard(); }

    // Only the opener's process says that it closed, and removes the name.
    void in_forked_child() noexcept override { drop(); }

    // --- opening ---------------------------------------------------------------------------
    result<void> map(diagnostics& d) {
        namespace layout = shm_layout;
        const int file = seg.file.get();
        auto r =
            subscribers_map.map(file, layout::reader_offset, 2 * layout::page_bytes, PROT_READ);
        if (r) {
            r = doorbell_map.map(file, layout::doorbell_offset, layout::page_bytes,
                                 PROT_READ | PROT_WRITE);
        }
        if (r) {
            r = cursors_map.map(file, seg.shape.cursors_offset(0),
                                layout::readers_max * layout::cursors_bytes, PROT_READ);
        }
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        all = &subscribers_map.as<const layout::subscribers_page>();
        doorbell = &doorbell_map.as<layout::doorbell_page>();
        return {};
    }
    result<void> claim(diagnostics& d) {
        for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
            auto mine = try_lock(seg.file.get(), writer_lock(i));
            if (mine) return take(i, d);
            if (mine.error() == errc::would_block) continue;
            return d.fail(mine.error(), explain("locking a ring", errno));
        }
        return d.fail(errc::out_of_resources, "all " + std::to_string(seg.shape.lanes) +
                                                  " places for publishers at " + address.text() +
                                                  " are taken; the first one's ?writers_max=… "
                                                  "says how many there are");
    }
    result<void> take(std::size_t i, diagnostics& d) {
        constexpr int rights = PROT_READ | PROT_WRITE;
        if (auto r = seg.map_ring(ring_map, i, rights, address.text(), d); !r) return r;
        if (auto r = seg.map_chunks(chunk_map, i, rights, address.text(), d); !r) return r;
        if (auto r = page_map.map(seg.file.get(), seg.shape.lane_offset(i), shm_layout::page_bytes,
                                  rights);
            !r) {
            return d.fail(r.error(), explain("mapping " + address.text(), errno));
        }
        me = &page_map.as<shm_layout::publisher_page>();
        number = i;
        ring = broadcast_writer<Atomics>(seg.shape.rings(), rule(), i, ring_map.data(), *me, *all,
                                         cursors_map.data());
        if (in_chunks) {
            chunks = chunk_writer<Atomics>(seg.shape, chunk_map.data(), *me, ring,
                                           [this](std::size_t j) { return vet(j); });
        }
        const auto before = Atomics::load(me->claims, std::memory_order_relaxed);
        if (before != Atomics::load(me->closed, std::memory_order_relaxed)) {
            const auto deaths = Atomics::load(me->deaths, std::memory_order_relaxed);
            Atomics::store(me->deaths, deaths + 1, std::memory_order_relaxed);
        }
        claim_number = before + 1;
        me->pid = static_cast<std::uint32_t>(::getpid());
        me->pid_namespace = namespace_id("pid");
        me->sender = seg.id ^ (std::uint64_t{me->pid} << 32 | claim_number);
        self().get_up();
        // Release: whoever sees the claim sees the rest of this page.
        Atomics::store(me->claims, claim_number, std::memory_order_release);
        announce();
        guard_against_fork();
        return {};
    }
    /// Makes all subscribers look at who has which ring.
    void announce() noexcept {
        Atomics::fetch_add(doorbell->claims, std::uint32_t{1}, std::memory_order_seq_cst);
        wake(Atomics::load(all->asleep, std::memory_order_seq_cst));
    }

    // --- use -------------------------------------------------------------------------------
    [[nodiscard]] shm_layout::giving_way rule() const noexcept {
        return static_cast<shm_layout::giving_way>(seg.rule);
    }
    /// Why a loan, or a message, of n bytes is refused, if it is.
    [[gnu::noinline, gnu::cold]] result<void> make_ready(std::size_t n) {
        if (!open) return errc::closed;
        if (n > message_bytes_max) {
            return why.fail(errc::message_too_large,
                            "a message of " + std::to_string(n) + " bytes; " + address.text() +
                                " takes at most " + std::to_string(message_bytes_max) +
                                ": raise ?capacity_bytes=… at the first publisher" +
                                (in_chunks ? ", or divide it into fewer ?chunks=…" : ""));
        }
        if (!loaned) return {};
        return why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
    }
    /// Success: there is room for n bytes.
    [[gnu::noinline]] result<void> make_way(std::size_t n) {
        if (room_now(n)) return {};
        if (bury_the_dead(n) && room_now(n)) return {};
        refused = n;
        return errc::would_block;
    }
    [[nodiscard]] bool room_now(std::size_t n) noexcept {
        const auto look = [this](std::size_t j) { return vet(j); };
        return in_chunks ? chunks.make_way(ring, look) : ring.make_way(n, look);
    }
    /// Publishes n bytes of the chunk that is ready. Returns as broadcast_writer::copy_in.
    [[nodiscard, gnu::always_inline]] bool publish_chunk(std::size_t n,
                                                         std::uint64_t& asleep) noexcept {
        return chunks.publish(ring, n, asleep, [this](std::size_t j) { return vet(j); });
    }
    /// The subscriber reserved its page before it said that it came; a hostile one did not, and
    /// reading a hole of a full file system would be our death.
    [[nodiscard]] bool vet(std::size_t j) const noexcept {
        return retried([&] {
                   return ::fallocate(seg.file.get(), 0,
                                      static_cast<off_t>(seg.shape.cursors_offset(j)),
                                      static_cast<off_t>(shm_layout::cursors_bytes));
               }) == 0;
    }
    /// Asks the kernel each 50 ms whether those who hold us up live. True if one does not.
    bool bury_the_dead(std::size_t n) noexcept {
        const auto now = coarse_now_ns();
        if (now - looked_ns < liveness_interval.count()) return false;
        looked_ns = now;
        bool any = false;
        for (auto left = in_chunks ? ring.busy() : ring.holders(n); left != 0; left &= left - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctzll(left));
            const auto claim = ring.claims(j);
            if (is_locked(seg.file.get(), subscriber_lock(j))) continue;
            ring.bury(j, claim);
            any = true;
        }
        return any;
    }
    /// One message is given up for the sake of those who did not read yet.
    void give_up() noexcept {
        ring.drop();
        ++dropped;
    }
    /// Once for each value of `asleep`; see broadcast_bell.hpp.
    [[gnu::noinline]] void wake(std::uint64_t a) noexcept {
        rung_for = a;
        ring_all<Atomics>(a, doorbell->bell, [this] { ring_sockets(); });
    }
    void ring_sockets() noexcept {
        auto left = Atomics::load(all->known, std::memory_order_acquire);
        for (; left != 0; left &= left - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctzll(left));
            if (!vet(j)) continue;
            const auto& page = subscriber(j);
            if (Atomics::load(page.asleep, std::memory_order_acquire) == 0) continue;
            const auto claim = Atomics::load(page.claims, std::memory_order_relaxed);
            bell.ring(subscriber_bell(seg.id, j, claim));
        }
    }
    [[nodiscard]] const shm_layout::subscriber_page& subscriber(std::size_t j) const noexcept {
        return cursors_map.as<const shm_layout::subscriber_page>(j * shm_layout::cursors_bytes);
    }
    /// Those who live and get what is published, at this moment.
    [[nodiscard]] std::size_t subscribers() const noexcept {
        std::size_t n = 0;
        if (!open) return n;
        auto left = Atomics::load(all->known, std::memory_order_acquire);
        for (; left != 0; left &= left - 1) {
            const auto j = static_cast<std::size_t>(__builtin_ctzll(left));
            n += is_locked(seg.file.get(), subscriber_lock(j) + 2) ? 1 : 0;
        }
        return n;
    }

    // --- waiting ---------------------------------------------------------------------------
    [[nodiscard]] one_sleeper<Atomics> self() const noexcept {
        return {me->state.asleep, all->room[number], enrolled};
    }
    void park(time_point until) noexcept {
        // Of chunks it may be any: whoever lets one go wakes us.
        const auto wanted = in_chunks ? 0 : ring.head_for(refused);
        const auto by = in_chunks ? ~std::uint64_t{0} : ring.holders(refused);
        Atomics::store(me->state.wanted, wanted, std::memory_order_relaxed);
        Atomics::store(me->state.holders, by, std::memory_order_relaxed);
        const auto seen = self().lie_down();
        if (!room_now(refused)) {
            const auto left = until == never ? liveness_interval : until - clock::now();
            self().sleep(seen, shorter(left, liveness_interval));
        }
        self().get_up();
    }

    // --- closing ---------------------------------------------------------------------------
    void close() noexcept {
        if (open) {
            Atomics::store(me->closed, claim_number, std::memory_order_seq_cst);
            wake(Atomics::load(all->asleep, std::memory_order_seq_cst));
            leave_segment(path, seg.file);
        }
        drop();
    }
    void drop() noexcept {
        seg.file.reset();
        bell.reset();
        open = false;
    }

    segment seg;
    std::string path;
    uri address;
    wait_plan plan;
    diagnostics why;
    mapping subscribers_map, doorbell_map, cursors_map, page_map, ring_map, chunk_map;
    const shm_layout::subscribers_page* all = nullptr;
    shm_layout::doorbell_page* doorbell = nullptr;
    shm_layout::publisher_page* me = nullptr;
    std::size_t number = 0;
    std::uint32_t claim_number = 0;
    const bool in_chunks = seg.shape.chunks != 0;
    const std::size_t message_bytes_max = topic_bytes_max(seg.shape, overwrites(rule()));
    broadcast_writer<Atomics> ring;
    chunk_writer<Atomics> chunks;
    own_room staged;  // what is lent where the ring cannot be
    std::uint64_t rung_for = 0;
    std::uint64_t dropped = 0;
    std::size_t refused = 0;
    const bool enrolled = Atomics::enrol();
    std::int64_t looked_ns = 0;
    socket_bell bell;
    bool loaned = false;
    bool open = true;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
