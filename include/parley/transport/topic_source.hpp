// SPDX-License-Identifier: MIT
// A subscriber's end of a topic.
#pragma once

#include <parley/shm/subscriber.hpp>
#include <parley/transport/transport.hpp>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Atomics>
class subscriber_source {
    using core = topic_subscriber<Atomics>;
    using followed = followed_ring<Atomics>;

public:
    static constexpr bool in_memory = true, straight = true;

    /// A message where its publisher put it, which holds that publisher up; or a copy of it, where
    /// the publisher would overwrite it. Room is given back as by lane_source::view.
    class view {
    public:
        view(view&& other) noexcept
            : core_(std::exchange(other.core_, nullptr)),
              ring_(other.ring_),
              bytes_(other.bytes_) {}
        view& operator=(view&& other) noexcept {
            let_go();
            core_ = std::exchange(other.core_, nullptr);
            ring_ = other.ring_;
            bytes_ = other.bytes_;
            return *this;
        }
        ~view() { let_go(); }

        [[nodiscard]] parley::bytes bytes() const noexcept { return bytes_; }

    private:
        friend subscriber_source;
        view(core* c, followed* f, parley::bytes b) noexcept : core_(c), ring_(f), bytes_(b) {
            ++c->borrowed;
            ++f->borrowed;
        }
        void let_go() noexcept {
            if (core_ != nullptr) core_->let_go(*ring_, bytes_);
            core_ = nullptr;
        }

        core* core_;
        followed* ring_;
        parley::bytes bytes_;
    };

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.in_chunks) return try_receive_chunk();
        if (c.now != nullptr && !c.room && c.now->ring.position() < c.turn_until) [[likely]] {
            const auto item = c.now->ring.take(nullptr);
            if (item.kind == taken::message) [[likely]] {
                return view(&c, c.now, item.payload);
            }
            if (item.kind == taken::broken) c.spoilt(*c.now);
        }
        return try_receive_slowly();
    }

    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into, time_point) {
        core& c = *core_;
        followed* const f = c.now;
        if (f == nullptr || c.in_chunks || f->ring.position() >= c.turn_until || f->borrowed != 0) {
            return placement::not_placed;
        }
        if (!f->ring.take_into(into)) return placement::not_placed;
        if (const auto asleep = f->ring.release(); asleep != 0) [[unlikely]]
            c.wake_publisher(*f, asleep);
        return placement::placed;
    }
    /// The messages of the publisher whose turn it is, `each` bytes long, that are there and have
    /// room in `into`. How many; 0 if try_receive is to say what else there is.
    std::size_t receive_many_into(mutable_bytes into, std::size_t each) {
        core& c = *core_;
        followed* const f = c.now;
        if (f == nullptr || c.in_chunks || f->borrowed != 0) return 0;
        std::size_t n = 0;
        for (; into.size() >= each && f->ring.position() < c.turn_until; ++n) {
            if (!f->ring.take_into(into.first(each))) break;
            into = into.subspan(each);
        }
        if (n == 0) return 0;
        if (const auto asleep = f->ring.release(); asleep != 0) c.wake_publisher(*f, asleep);
        return n;
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.open) return {};
        const time_point spin_until = c.plan.spin_until(until);
        for (;;) {
            for (int i = 0; i < 64; ++i) {
                if (c.something_to_say()) return {};
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
        if (!c.open) return errc::closed;
        if (c.ready.made()) return c.ready.get();
        return c.make_pollable();
    }
    result<void> close(time_point) {
        core_->close();
        return {};
    }

    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return core_->lost(); }
    [[nodiscard]] parley::limits limits() const noexcept {
        const core& c = *core_;
        return {.message_bytes_max = topic_bytes_max(c.seg.shape, overwrites(c.rule())),
                .borrows_max = c.in_chunks ? c.seg.shape.chunks
                               : c.room    ? 1
                                           : ~std::size_t{0},
                .writers_max = c.seg.shape.lanes,
                .readers_max = shm_layout::readers_max,
                .in_place = c.in_chunks || !c.room,
                .lossy = c.rule() != shm_layout::giving_way::block,
                .successors = true};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    subscriber_source(subscriber_source&&) noexcept = default;
    subscriber_source& operator=(subscriber_source&& other) noexcept {
        if (core_) core_->close();
        core_ = std::move(other.core_);
        return *this;
    }
    ~subscriber_source() {
        if (core_) core_->close();
    }

    /// Takes a place in a topic that was joined.
    [[nodiscard]] static result<subscriber_source> claim(segment seg, std::string path, uri address,
                                                         wait_plan plan, diagnostics& why) {
        auto c = std::make_unique<core>(std::move(seg), std::move(path), std::move(address), plan);
        auto r = c->map(why);
        if (r) r = c->claim(why);
        if (!r) {  // it may be that nobody else is there
            leave_segment(c->path, c->seg.file);
            return r.error();
        }
        return subscriber_source(std::move(c));
    }

private:
    explicit subscriber_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    [[gnu::noinline]] result<view> try_receive_chunk() {
        core& c = *core_;
        if (c.now != nullptr && c.now->ring.position() < c.turn_until) {
            const auto item = c.take_chunk(*c.now);
            if (item.kind == taken::message) return view(&c, c.now, item.payload);
            if (item.kind == taken::broken) c.spoilt(*c.now);
        }
        return try_receive_slowly();
    }
    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (!c.open) return errc::closed;
        if (c.room && !c.in_chunks && c.borrowed != 0) {
            return c.why.fail(errc::out_of_resources,
                              "one borrow at a time where messages may be overwritten");
        }
        for (;;) {
            for (std::size_t n = c.seg.shape.lanes; n > 0 && c.next_turn(); --n) {
                followed& f = *c.now;
                const auto item = c.in_chunks ? c.take_chunk(f) : f.ring.take(c.room.get());
                if (item.kind == taken::message) {
                    return view(&c, &f, item.payload);
                }
                if (item.kind == taken::broken) c.spoilt(f);
            }
            if (c.trouble) return std::exchange(c.trouble, error_code());
            if (c.adopt_newcomers() || c.see_who_ended()) continue;
            if (c.ended && c.publishers == 0) return c.report_end();
            if (c.ready.made() && c.rearm()) continue;
            return errc::would_block;
        }
    }

    std::unique_ptr<core> core_;
};

using topic_source = subscriber_source<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
