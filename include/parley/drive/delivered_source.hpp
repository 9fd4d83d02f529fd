// SPDX-License-Identifier: MIT
// The source of a delivery stack over a transport: hands out what its receiving sides have, feeds
// them, and sends back what they owe.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/drive/delivered_inlet.hpp>

#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// A source as transport.hpp says, with one borrow at a time. Asking for the next message says that
/// the last one is done with; closing says it too.
template <class Address, class Stack>
class delivered_source {
    using way = delivered_way<Address, Stack>;

public:
    using view = parley::detail::buffered_view;

    [[nodiscard]] static result<delivered_source> open(const Address& at, const Stack& how,
                                                       const open_request& request) {
        auto road = std::make_unique<way>(at, how, request.type);
        if (auto r = road->check_policies(*request.why); !r) return r.error();
        auto end = road->open_in(request.until, *request.why);
        if (!end) return end.error();
        return delivered_source(
            std::make_unique<core>(std::move(road), inlet(std::move(*end), how)));
    }

    result<view> try_receive() {
        core& c = *core_;
        if (c.closed) return errc::closed;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.nothing_now) c.in.look();
        auto m = c.in.next(c.why);
        c.nothing_now = !m && m.error() == errc::would_block;
        if (c.ready.made()) c.show();
        if (!m) return m.error();
        return view(&c.borrowed, *m);
    }
    /// A message of a frame that is here already, as the rest of a batch.
    static constexpr bool straight = !way::links;
    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into,
                                                          time_point) requires(!way::links) {
        core& c = *core_;
        if (c.closed || c.borrowed) return placement::not_placed;
        const auto m = c.in.at_hand();
        if (!m) return placement::not_placed;
        if (m->size() != into.size()) return errc::corrupt;
        std::memcpy(into.data(), m->data(), m->size());
        return placement::placed;
    }
    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.closed) return {};
        auto r = c.in.wait(until, c.borrowed);  // which may read ahead
        c.nothing_now = !r;
        return r ? c.ready.raise() : r;
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.closed) return errc::closed;
        if (c.ready.made()) return c.ready.get();
        auto r = c.in.watch(c.ready);
        if (r) r = c.ready.raise();
        if (!r) return c.ready.reset(), r.error();
        return c.ready.get();
    }
    result<void> close(time_point until) {
        if (std::exchange(core_->closed, true)) return {};
        return core_->in.close(until);
    }
    [[nodiscard]] std::uint64_t peers_lost() const { return core_->in.peers_lost(); }
    [[nodiscard]] parley::detail::peer_watch& peers() { return core_->in.peers(); }
    [[nodiscard]] delivery::counters counters() const { return core_->in.counters(); }
    /// Frames that never came, where some may.
    [[nodiscard]] std::uint64_t lost() const { return counters().lost; }
    [[nodiscard]] parley::limits limits() const {
        auto l = core_->in.limits();
        l.borrows_max = 1;
        l.in_place = false;
        l.lossy = way::may_lose;
        return l;
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->in.address(); }

private:
    using inlet = std::conditional_t<way::links, delivered_links<Address, Stack>,
                                     delivered_inlet<Address, Stack>>;
    struct core final : parley::detail::fork_sensitive {
        core(std::unique_ptr<way> r, inlet i) : road(std::move(r)), in(std::move(i)) {
            guard_against_fork();
        }
        ~core() override { unguard(); }
        // The ends below close themselves.
        void in_forked_child() noexcept override {
            closed = true;
            ready.reset();
        }
        /// Whoever polls is to ask again, or not.
        void show() {
            const bool watched = in.watch(ready).has_value();
            (nothing_now && watched && !in.is_left_over()) ? ready.lower() : (void)ready.raise();
        }

        std::unique_ptr<way> road;  // the description of the type lives in it
        inlet in;
        diagnostics why;
        parley::detail::readiness ready;
        bool nothing_now = false;  // was said last, and nobody waited since
        bool borrowed = false;
        bool closed = false;
    };

    explicit delivered_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
