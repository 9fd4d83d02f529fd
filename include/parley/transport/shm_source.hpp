// SPDX-License-Identifier: MIT
// The reader's end of a segment: it owns the segment, drains the lanes in turn, notices who came,
// left and died, and hands lanes on.
#pragma once

#include <parley/shm/reader.hpp>
#include <parley/transport/transport.hpp>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The source of shm and inproc.
template <class Atomics>
class lane_source {
    using core = segment_reader<Atomics>;
    using adopted = adopted_lane<Atomics>;

public:
    static constexpr bool in_memory = true, straight = true;
    static constexpr bool straight_after_wait = true;

    /// A message where its writer put it. The writer gets room back in order: what lies behind the
    /// oldest open view of its lane waits for that one.
    class view {
    public:
        view(view&& other) noexcept
            : core_(std::exchange(other.core_, nullptr)),
              lane_(other.lane_),
              bytes_(other.bytes_) {}
        view& operator=(view&& other) noexcept {
            let_go();
            core_ = std::exchange(other.core_, nullptr);
            lane_ = other.lane_;
            bytes_ = other.bytes_;
            return *this;
        }
        ~view() { let_go(); }

        [[nodiscard]] parley::bytes bytes() const noexcept { return bytes_; }

    private:
        friend lane_source;
        view(core* c, adopted* l, parley::bytes b) noexcept : core_(c), lane_(l), bytes_(b) {}
        void let_go() noexcept {
            if (core_ != nullptr) core_->let_go(*lane_, bytes_);
            core_ = nullptr;
        }

        core* core_;
        adopted* lane_;
        parley::bytes bytes_;
    };

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.lane_now != nullptr && c.turn < turn_max) [[likely]] {
            const auto item = c.lane_now->lane.take();
            if (item.kind == taken::message) [[likely]] {
                ++c.turn;
                ++c.lane_now->borrowed;
                return view(&c, c.lane_now, item.payload);
            }
            c.lane_said(*c.lane_now, item.kind);
        }
        return try_receive_slowly();
    }

    /// Where a message is copied out anyway, without a view in between.
    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into, time_point) {
        core& c = *core_;
        adopted* const l = c.lane_now;
        if (l == nullptr || c.turn >= turn_max || l->borrowed != 0) return placement::not_placed;
        if (!l->lane.take_into(into)) return placement::not_placed;
        ++c.turn;
        if (const auto asleep = l->lane.release(); asleep != 0) [[unlikely]]
            c.wake_writer(*l, asleep);
        return placement::placed;
    }

    /// The messages of the lane whose turn it is, `each` bytes long, that are there and have room
    /// in `into`. How many; 0 if try_receive is to say what else there is.
    std::size_t receive_many_into(mutable_bytes into, std::size_t each) {
        core& c = *core_;
        adopted* const l = c.lane_now;
        if (l == nullptr || c.turn >= turn_max || l->borrowed != 0) return 0;
        const std::size_t n = l->lane.take_many_into(into, each);
        if (n == 0) return 0;
        c.turn += static_cast<unsigned>(n);
        if (const auto asleep = l->lane.release(); asleep != 0) c.wake_writer(*l, asleep);
        return n;
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (auto r = c.use(); !r) return r;
        const time_point spin_until = c.plan.spin_until(until);
        for (;;) {
            for (int i = 0; i < 64; ++i) {
                // Whoever takes what there is acquires it.
                if (c.something_to_say(std::memory_order_relaxed)) return {};
                Atomics::pause();
            }
            if (spin_until != expired && clock::now() < spin_until) {
                if (c.somebody_died()) return {};
                continue;
            }
            if (until != never && clock::now() >= until) return errc::timed_out;
            c.park(until);
            if (c.somebody_died()) return {};
        }
    }

    result<int> pollable() {
        core& c = *core_;
        if (auto r = c.use(); !r) return r.error();
        if (c.ready.made()) return c.ready.get();
        return c.make_pollable();
    }

    result<void> close(time_point) {
        core_->close();
        return {};
    }

    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    /// Messages that receivers before this one had in hand when they were killed, since the segment
    /// was made: taken with the last call or borrowed, so that nobody knows what became of them.
    [[nodiscard]] std::uint64_t lost() const noexcept { return core_->messages_lost; }
    [[nodiscard]] peer_type sender_type() const {
        if (core_->lane_now == nullptr) return {};
        const shm_layout::lane_page& told = *core_->lane_now->page;
        const std::uint32_t length = told.description_bytes;  // read once: it is the writer's
        if (length > sizeof told.description) return {};
        return {told.fingerprint, std::string(told.description, length)};
    }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->seg.shape.message_bytes_max(),
                .borrows_max = ~std::size_t{0},
                .writers_max = core_->seg.shape.lanes,
                .in_place = true,
                .successors = core_->named};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    /// Owns `seg`, whose reader lock is held. Without a name it is an end of make_channel, which
    /// belongs to whoever uses it first.
    [[nodiscard]] static result<lane_source> own(segment seg, segment_label<Atomics> called,
                                                 uri address, wait_plan plan, diagnostics& why) {
        auto c =
            std::make_unique<core>(std::move(seg), std::move(called), std::move(address), plan);
        if (auto r = c->map(why); !r) return r.error();
        return lane_source(std::move(c));
    }

    lane_source(lane_source&&) noexcept = default;
    lane_source& operator=(lane_source&& other) noexcept {
        if (core_) core_->close();
        core_ = std::move(other.core_);
        return *this;
    }
    ~lane_source() {
        if (core_) core_->close();
    }

private:
    explicit lane_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    /// A lane keeps its turn for so many messages, so that the ring's lines stay warm.
    static constexpr unsigned turn_max = 256;
    static constexpr int rounds_max = 64;

    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (auto r = c.use(); !r) return r.error();
        // News without end are a peer's that plays with us: then there is nothing, for now, and a
        // descriptor stays readable.
        for (int rounds = 0; rounds < rounds_max; ++rounds) {
            for (std::size_t lanes = c.active; lanes > 0; --lanes) {
                if (!c.next_turn()) break;
                adopted& l = *c.lane_now;
                const auto item = l.lane.take();
                if (item.kind == taken::message) {
                    ++c.turn;
                    ++l.borrowed;
                    return view(&c, &l, item.payload);
                }
                c.lane_said(l, item.kind);
            }
            if (c.failed) return c.failed;
            if (c.trouble) return std::exchange(c.trouble, error_code());
            if (c.adopt_newcomers() || c.bury_the_dead()) continue;
            if (c.ended && c.active == 0) return c.report_end();
            if (!c.ready.made() || !c.rearm()) break;
        }
        return errc::would_block;
    }

    std::unique_ptr<core> core_;
};

using shm_source = lane_source<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
