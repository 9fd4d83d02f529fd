// SPDX-License-Identifier: MIT
// The publisher's end of a topic.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/streaming_copy.hpp>
#include <parley/shm/publisher.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Atomics>
class publisher_sink {
    using core = topic_publisher<Atomics>;

public:
    static constexpr bool in_memory = true, straight = true;

    using loan = core_loan<core>;

    /// In a chunk, or in the ring; or, where that may be overwritten at any time or the message may
    /// be dropped, in memory of the publisher's own.
    [[nodiscard]] result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (!c.open || n > c.message_bytes_max || c.loaned) [[unlikely]] {
            if (auto r = c.make_ready(n); !r) return r.error();
        }
        mutable_bytes room;
        const bool dropping = c.rule() == shm_layout::giving_way::drop_newest;
        if (c.in_chunks && c.room_now(n)) {
            room = {c.chunks.room(), n};
        } else if (dropping || (c.ring.overwriting() && !c.in_chunks)) {
            c.staged.make(c.message_bytes_max, c.seg.shape.alignment);
            room = {c.staged.get(), n};
        } else if (c.in_chunks) {
            if (auto r = c.make_way(n); !r) return r.error();
            room = {c.chunks.room(), n};
        } else {
            room = c.ring.try_loan(n);
            if (room.data() == nullptr) [[unlikely]] {
                if (auto r = c.make_way(n); !r) return r.error();
                room = c.ring.try_loan(n);
            }
        }
        c.loaned = true;
        return loan(&c, room);
    }

    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (!c.open || m.size() > c.message_bytes_max || c.loaned) [[unlikely]] {
            if (auto r = c.make_ready(m.size()); !r) return r.error();
        }
        return c.in_chunks ? put_into_chunk(m) : put(m);
    }

    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        const bytes m = l.bytes();
        if (m.data() == c.staged.get()) return c.in_chunks ? put_into_chunk(m) : put(m);
        if (c.in_chunks) return publish_chunk(m.size());
        const auto asleep = c.ring.commit(m.size());
        if (asleep != c.rung_for) c.wake(asleep);
        return {};
    }
    result<void> flush(time_point) { return {}; }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.open) return {};
        const time_point spin_until = c.plan.spin_until(until);
        for (;;) {
            for (int i = 0; i < 64; ++i) Atomics::pause();
            if (c.make_way(c.refused)) return {};
            if (spin_until != expired && clock::now() < spin_until) continue;
            if (until != never && clock::now() >= until) return errc::timed_out;
            c.park(until);
        }
    }

    /// Only block makes a publisher wait, and that is for its subscribers' memory.
    result<int> pollable() {
        return core_->why.fail(errc::unsupported, "a publisher has no descriptor to poll");
    }
    /// What was published stays for those who subscribe.
    result<void> close(time_point) {
        core_->close();
        return {};
    }

    /// Messages that were given up because a subscriber had no room (drop_newest).
    [[nodiscard]] std::uint64_t dropped() const noexcept { return core_->dropped; }
    [[nodiscard]] std::size_t subscribers() const noexcept { return core_->subscribers(); }
    [[nodiscard]] parley::limits limits() const noexcept {
        const core& c = *core_;
        return {.message_bytes_max = c.message_bytes_max,
                .writers_max = c.seg.shape.lanes,
                .readers_max = shm_layout::readers_max,
                .in_place = c.in_chunks || !c.ring.overwriting(),
                .lossy = c.rule() != shm_layout::giving_way::block,
                .pollable = false,
                .reports_peer_loss = false};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    publisher_sink(publisher_sink&&) noexcept = default;
    publisher_sink& operator=(publisher_sink&& other) noexcept {
        if (core_) core_->close();
        core_ = std::move(other.core_);
        return *this;
    }
    ~publisher_sink() {
        if (core_) core_->close();
    }

    /// Takes a ring of a topic that was joined.
    [[nodiscard]] static result<publisher_sink> claim(segment seg, std::string path, uri address,
                                                      wait_plan plan, diagnostics& why) {
        auto c = std::make_unique<core>(std::move(seg), std::move(path), std::move(address), plan);
        auto r = c->map(why);
        if (r) r = c->claim(why);
        if (!r) {  // it may be that nobody else is there
            leave_segment(c->path, c->seg.file);
            return r.error();
        }
        return publisher_sink(std::move(c));
    }

private:
    [[gnu::always_inline]] result<void> put(bytes m) {
        core& c = *core_;
        std::uint64_t asleep = 0;
        if (!c.ring.copy_in(m, asleep)) [[unlikely]] {
            return put_slowly(m);
        }
        if (asleep != c.rung_for) [[unlikely]]
            c.wake(asleep);
        return {};
    }
    [[gnu::noinline]] result<void> put_slowly(bytes m) {
        core& c = *core_;
        if (auto r = c.make_way(m.size()); !r) {
            if (c.rule() != shm_layout::giving_way::drop_newest) return r;
            c.give_up();
            return {};
        }
        std::uint64_t asleep = 0;
        (void)c.ring.copy_in(m, asleep);
        if (asleep != c.rung_for) c.wake(asleep);
        return {};
    }

    [[gnu::noinline]] result<void> put_into_chunk(bytes m) {
        core& c = *core_;
        if (auto r = c.make_way(m.size()); !r) {
            if (c.rule() != shm_layout::giving_way::drop_newest) return r;
            c.give_up();
            return {};
        }
        if (c.seg.copy == copy::streaming && m.size() >= streaming_bytes_min) {
            streaming_copy(c.chunks.room(), m);
        } else if (!m.empty()) {
            Atomics::write(c.chunks.room(), m.data(), m.size());
        }
        return publish_chunk(m.size());
    }
    [[gnu::always_inline]] result<void> publish_chunk(std::size_t n) {
        core& c = *core_;
        std::uint64_t asleep = 0;
        // Its note has room, unless a subscriber lies about where it is.
        if (!c.publish_chunk(n, asleep)) [[unlikely]] {
            c.refused = n;
            return errc::would_block;
        }
        if (asleep != c.rung_for) [[unlikely]]
            c.wake(asleep);
        return {};
    }

    explicit publisher_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

using topic_sink = publisher_sink<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
