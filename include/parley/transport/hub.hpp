// SPDX-License-Identifier: MIT
// The source over connections: one receiver, any number of senders that come and go.
//
// The hub accepts inside try_receive and wait. Connections that the kernel or a buffer calls ready
// stand in one queue and take turns, a message each; the kernel is asked again when the queue is
// empty, or when enough was read since it was asked last, so that no sender starves another. While
// there is one connection only, a wait without deadline sleeps in its recv, so that a message costs
// the one call that it costs without a hub; who else comes is let in within some 10 ms.
//
// Ends. A connection is a sender once it said hello. When the last sender is gone and everything
// it committed was delivered, the hub looks once more for senders that came in the meantime, and
// if there is none reports `closed` or `peer_lost`, once. A connection that vanishes before its
// hello never was. One that sends another type, or garbage, is refused alone: it is answered with
// the receiver's hello, hung up on and counted; try_receive reports `incompatible` or `corrupt`
// only if no other connection is left, else why() says it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/transport/hub_core.hpp>
#include <parley/transport/stream_source.hpp>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// A source over a `Door`: descriptor(), packets(), let_in(fd) makes its `socket` (see
/// plain_socket), who(fd) in words, close() and abandon() (close in a forked child). Sockets of any
/// family fit.
template <class Door>
class hub_source {
    using core = hub_core<Door>;

public:
    using view = buffered_view;

    [[nodiscard]] static result<hub_source> open(Door door, const message_type& type, uri address,
                                                 stream_options options, diagnostics& why) {
        hub_source made(std::make_unique<core>(std::move(door), type, std::move(address), options));
        if (auto r = made.core_->start(); !r) {
            return why.fail(r.error(), explain("making an epoll set and a timer", errno));
        }
        return made;
    }

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.has_message && !c.borrowed && !c.shown) [[likely]] {
            c.has_message = false;
            return view(&c.borrowed, c.message);
        }
        return try_receive_slowly();
    }

    [[gnu::always_inline]] result<void> wait(time_point until) {
        core& c = *core_;
        if (c.has_message && !c.borrowed) return {};
        if (c.steady != nullptr && c.read_steadily(until == never)) [[likely]]
            return {};
        return wait_slowly(until);
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.shown = true;
        c.steady = nullptr;
        c.show_more();
        return c.ready.get();
    }

    result<void> close(time_point) {
        core_->shut(true);
        return {};
    }

    /// How many connections were refused so far, for another type or for garbage.
    [[nodiscard]] std::uint64_t refused() const noexcept { return core_->refused; }
    /// How many senders are connected, as far as the hub has looked.
    [[nodiscard]] std::size_t senders() const noexcept { return core_->senders; }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    [[nodiscard]] peer_type sender_type() const {
        return core_->speaker == nullptr ? peer_type() : core_->speaker->reader.told();
    }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->options.message_bytes_max,
                .writers_max = core_->options.writers_max,
                .successors = true};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }
    [[nodiscard]] Door& door() noexcept { return core_->door; }

private:
    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        while (!c.find()) {
            const auto events = c.ask(expired);
            if (!events) return events.error();
            if (*events == 0) {
                c.ready.lower();
                return errc::would_block;
            }
        }
        if (c.verdict) {
            c.show_more();
            return std::exchange(c.verdict, error_code());
        }
        c.has_message = false;
        c.show_more();
        return view(&c.borrowed, c.message);
    }

    [[gnu::noinline]] result<void> wait_slowly(time_point until) {
        core& c = *core_;
        if (c.failed) return {};
        // What is borrowed lies in the buffer that more would be read to.
        while (c.borrowed ? c.queue.empty() : !c.find()) {
            c.ready.lower();
            const auto events = c.ask(until);
            if (!events) return events.error();
            if (*events == 0) return errc::timed_out;
        }
        c.show_more();
        return {};
    }

    explicit hub_source(std::unique_ptr<core> c) : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
