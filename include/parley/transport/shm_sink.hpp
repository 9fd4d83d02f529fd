// SPDX-License-Identifier: MIT
// The writer's end of a segment: one lane, and the waiting for room in it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/streaming_copy.hpp>
#include <parley/shm/writer.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {

namespace detail {

/// The sink of shm and inproc.
template <class Atomics>
class lane_sink {
    using core = segment_writer<Atomics>;

public:
    static constexpr bool in_memory = true, straight = true;

    /// Belongs to its sink, also to one that is moved meanwhile.
    using loan = core_loan<core>;

    [[gnu::always_inline]] result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (!c.ready_to_write() || n > c.message_bytes_max || c.loaned) [[unlikely]] {
            if (auto r = c.make_ready(n); !r) return r.error();
        }
        auto room = c.lane.try_loan(n);
        if (room.data() == nullptr) [[unlikely]] {
            if (auto r = c.no_room(n); !r) return r.error();
            room = c.lane.try_loan(n);
        }
        c.loaned = true;
        return loan(&c, room);
    }

    /// Where a message is copied in anyway, without a loan in between.
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point until) {
        core& c = *core_;
        if (c.ready_to_write() && m.size() <= c.short_bytes_max && !c.loaned) [[likely]] {
            std::uint64_t asleep = 0;
            if (c.lane.copy_in(m, asleep)) [[likely]] {
                if (asleep == 0 && (++c.flushes & 7) != 0) [[likely]]
                    return {};
                c.reader_asleep = asleep;
                return c.ring_reader();
            }
        }
        return send_slowly(m, until);
    }

    /// As many of the messages in `m`, `each` bytes long, as there is room for, published at once.
    result<std::size_t> send_many_from(bytes m, std::size_t each) {
        core& c = *core_;
        if (c.ready_to_write() && each <= c.short_bytes_max && !c.loaned) {
            std::uint64_t asleep = 0;
            if (const std::size_t n = c.lane.copy_in_many(m, each, asleep); n != 0) {
                c.reader_asleep = asleep;
                if (auto r = flush(expired); !r) return r.error();
                return n;
            }
        }
        // What hinders it, or the first alone.
        if (auto r = send_slowly(m.first(each), expired); !r) return r.error();
        return std::size_t{1};
    }

    [[gnu::always_inline]] result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        c.reader_asleep = c.lane.commit(l.bytes().size());
        return {};
    }

    /// Rings the reader if it sleeps. Never blocks: what is committed is where it will be read.
    [[gnu::always_inline]] result<void> flush(time_point) {
        core& c = *core_;
        if (c.reader_asleep != 0 || (++c.flushes & 7) == 0) [[unlikely]]
            return c.ring_reader();
        return {};
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.ready_to_write()) return {};
        const time_point spin_until = c.plan.spin_until(until);
        for (;;) {
            for (int i = 0; i < 64; ++i) {
                if (c.lane.room_now(c.refused) || c.closed_by_reader()) return {};
                Atomics::pause();
            }
            if (auto r = c.look_after_reader(false); !r) return {};  // try_loan will say it
            if (spin_until != expired && clock::now() < spin_until) continue;
            if (until != never && clock::now() >= until) return errc::timed_out;
            c.park(until);
        }
    }

    result<int> pollable() {
        core& c = *core_;
        if (auto r = c.make_ready(0); !r) return r.error();
        if (c.ready.made()) return c.ready.get();
        return c.make_pollable();
    }

    /// Never waits: the end record always has room.
    result<void> close(time_point) {
        core& c = *core_;
        if (c.open && c.speaks_for_the_channel() && !c.failed) {
            if (auto r = c.use(); !r) return r;
            (void)rang<Atomics>(c.lane.commit_end(), c.doorbell->bell,
                                [&c] { return c.ring_bell(); });
        }
        c.clean_up_after_reader();
        c.shut();
        return {};
    }

    /// Messages of this sender that the receiver has not taken: after peer_lost, those it never
    /// took, and nobody else will.
    [[nodiscard]] std::uint64_t undelivered() { return core_->lane.unread(); }

    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->seg.shape.message_bytes_max(),
                .writers_max = core_->seg.shape.lanes,
                .in_place = true};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    lane_sink(lane_sink&&) noexcept = default;
    lane_sink& operator=(lane_sink&& other) noexcept {
        if (core_) (void)close(expired);
        core_ = std::move(other.core_);
        return *this;
    }
    ~lane_sink() {
        if (core_) (void)close(expired);
    }

    /// Takes a free lane of an open segment whose reader lives. `shared`: made before a fork, it
    /// belongs to whoever uses it first.
    [[nodiscard]] static result<lane_sink> claim(segment seg, std::string path, uri address,
                                                 wait_plan plan, bool shared, diagnostics& why) {
        auto c = std::make_unique<core>(std::move(seg), std::move(path), std::move(address), plan,
                                        shared);
        if (auto r = c->map(why); !r) return r.error();
        if (auto r = c->claim(why); !r) return r.error();
        return lane_sink(std::move(c));
    }

private:
    [[gnu::noinline]] result<void> send_slowly(bytes m, time_point until) {
        auto l = try_loan(m.size());
        if (!l) return l.error();
        if (core_->streaming && m.size() >= streaming_bytes_min) {
            streaming_copy(l->bytes().data(), m);
        } else if (!m.empty()) {
            std::memcpy(l->bytes().data(), m.data(), m.size());
        }
        if (auto r = try_commit(std::move(*l)); !r) return r;
        return flush(until);
    }

    explicit lane_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

using shm_sink = lane_sink<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
