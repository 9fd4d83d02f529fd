// SPDX-License-Identifier: MIT
// The source over connections: one receiver, any number of senders that come and go.
//
// The hub accepts inside try_receive and wait. Connections that the kernel or a buffer calls ready
// stand in one queue and take turns, a message each; the kernel is asked again when the queue is
// empty, or when enough was read since it was asked last, so that no sender starves another.
//
// Ends. A connection is a sender once it said hello. When the last sender is gone and everything
// it committed was delivered, the hub looks once more for senders that came in the meantime, and
// if there is none reports `closed` or `peer_lost`, once. A connection that vanishes before its
// hello never was. One that sends another type, or garbage, is refused alone: it is answered with
// the receiver's hello, hung up on and counted; try_receive reports `incompatible` or `corrupt`
// only if no other connection is left, else why() says it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/hub_connection.hpp>
#include <parley/transport/stream_source.hpp>

#include <sys/timerfd.h>

#include <memory>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// A source over a `Door`: descriptor(), packets(), who(fd) in words, close() and abandon() (close
/// in a forked child). Sockets of any family fit.
template <class Door>
class hub_source {
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
        if (core_->has_message && !core_->borrowed) return {};
        return wait_slowly(until);
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.shown = true;
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
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->lost; }
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

    struct core final : fork_sensitive {
        core(Door d, const message_type& t, uri a, stream_options o)
            : door(std::move(d)), type(t), address(std::move(a)), options(std::move(o)) {}
        ~core() override {
            unguard();
            shut(true);
        }
        void in_forked_child() noexcept override { shut(false); }

        result<void> start() {
            guard_against_fork();
            timer.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
            if (!timer) return last_error();
            if (auto r = ready.add(timer.get(), EPOLLIN, timer_tag); !r) return r.error();
            if (auto r = ready.add(door.descriptor(), EPOLLIN, door_tag); !r) return r.error();
            return {};
        }

        /// True if there is a message or a verdict to hand out; reads what the queue promises.
        bool find() {
            while (!has_message && !verdict) {
                if (connection* c = queue.pop()) {
                    turn(*c);
                } else if (end_due && !looked_again) {
                    looked_again = true;
                    (void)ask(expired);
                } else if (end_due) {
                    verdict = std::exchange(end_due, error_code());
                } else {
                    return false;
                }
            }
            return true;
        }

        /// One message of this connection, or what else it has to say.
        void turn(connection& c) {
            if (c.packets) take_buffer(c);
            if (hand_out(c)) return;
            if (c.readable && !c.eof && c.reader.empty() && !since_asked.exhausted()) {
                since_asked.add(c.read(!shown));  // a hope is no reason to be readable
                if (hand_out(c)) return;
            }
            turn_slowly(c);
        }

        /// The usual case: a known sender, a whole message.
        [[gnu::always_inline]] bool hand_out(connection& c) {
            if (!c.counted || !c.framed || c.overlong) return false;
            const bytes m = c.reader.next_message();
            if (m.data() == nullptr) return false;
            if (c.packets && !c.reader.empty()) {
                c.overlong = true;  // the rest would be taken for another sender's
                return false;
            }
            message = m;
            has_message = true;
            if (c.has_more()) queue.push(c);
            return true;
        }

        [[gnu::noinline]] void turn_slowly(connection& c) {
            auto m = c.next(why);
            if (!m && m.error() == errc::would_block && !c.eof && c.readable) {
                if (since_asked.exhausted()) {
                    queue.push(c);
                    (void)ask(expired);
                    return;
                }
                since_asked.add(c.read(!shown));
                m = c.next(why);
            }
            if (!c.counted && c.is_sender()) {
                c.counted = true;
                ++senders;
                end_due = {};
            }
            if (m) {
                message = *m;
                has_message = true;
            } else if (m.error() != errc::would_block) {
                return refuse(c, m.error());
            } else if (c.eof) {
                return depart(c);
            }
            if (c.has_more()) queue.push(c);
        }

        /// Packets leave nothing behind, so the connections share one buffer, as long as a packet.
        void take_buffer(connection& c) {
            if (buffer_holder == &c) return;
            if (buffer_holder != nullptr) c.reader.swap_buffer(buffer_holder->reader);
            buffer_holder = &c;
        }

        /// Asks the kernel who is ready, accepts who came. The number of events; 0: timed out.
        result<int> ask(time_point until) {
            since_asked.reset();
            epoll_event events[events_max];
            const auto n = epoll_until(ready.get(), events, events_max, until);
            if (!n) {
                why.fail(n.error(), "waiting for " + address.text());
                return n;
            }
            for (int i = 0; i < *n; ++i) {
                switch (events[i].data.u64) {
                    case readiness::flag_tag: break;
                    case door_tag: accept_some(); break;
                    case timer_tag: reopen_door(); break;
                    default: {
                        auto* c = reinterpret_cast<connection*>(events[i].data.u64);
                        c->readable = true;
                        queue.push(*c);
                    }
                }
            }
            // Its own flag alone is no news.
            return *n == 1 && events[0].data.u64 == readiness::flag_tag ? 0 : *n;
        }

        void accept_some() {
            for (int i = 0; i < accepts_at_once; ++i) {
                unique_fd fd(::accept4(door.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
                if (fd) {
                    exhaustion_told = false;
                    admit(std::move(fd));
                    continue;
                }
                if (errno == EINTR || errno == ECONNABORTED) continue;
                const int number = errno;
                if (from_errno(number) == errc::out_of_resources) shut_door_for_a_while(number);
                return;
            }
        }
        void admit(unique_fd fd) {
            auto made = std::make_unique<connection>(std::move(fd), type, options, door.packets());
            if (!ready.add(
                    made->fd.get(), EPOLLIN,
                    static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(made.get())))) {
                return shut_door_for_a_while(errno);
            }
            made->index = all.size();
            made->readable = true;  // the hello is there by now, most likely
            all.push_back(std::move(made));
            queue.push(*all.back());
        }

        /// Nobody can be let in: those at the door wait there, those inside are served on.
        void shut_door_for_a_while(int number) {
            watch_door(0);
            const itimerspec in{{}, {0, 100'000'000}};
            ::timerfd_settime(timer.get(), 0, &in, nullptr);
            if (exhaustion_told) return;
            exhaustion_told = true;
            verdict = why.fail(
                errc::out_of_resources,
                explain("a sender waits at " + address.text() + " and cannot be let in", number) +
                    (number == EMFILE ? "; raise the limit of descriptors (ulimit -n)" : "") +
                    "; the others are served, and it is tried again every 100 ms");
        }
        void reopen_door() {
            std::uint64_t times = 0;
            (void)!::read(timer.get(), &times, sizeof times);
            watch_door(EPOLLIN);
        }
        void watch_door(std::uint32_t events) noexcept {
            epoll_event e{};
            e.events = events;
            e.data.u64 = door_tag;
            ::epoll_ctl(ready.get(), EPOLL_CTL_MOD, door.descriptor(), &e);
        }

        void depart(connection& c) {
            const bool was_sender = c.counted;
            const errc how = c.at_end();
            if (was_sender && how == errc::peer_lost) {
                ++lost;
                why.fail(how, "a sender on " + address.text() + " (" + door.who(c.fd.get()) +
                                  ") died: its connection went away without a goodbye" +
                                  (c.reader.empty() ? "" : ", in mid-message"));
            }
            forget(c);
            if (was_sender && --senders == 0) {
                end_due = how;
                looked_again = false;
            }
        }

        void refuse(connection& c, error_code ec) {
            ++refused;
            why.fail(ec, "refused a sender on " + address.text() + " (" + door.who(c.fd.get()) +
                             "): " + why.text());
            if (c.framed) answer_with_hello(c.fd.get(), type);
            const bool was_sender = c.counted;
            forget(c);
            if (was_sender) --senders;
            if (all.empty()) {
                verdict = ec;
                end_due = {};
            } else if (was_sender && senders == 0) {
                end_due = errc::peer_lost;
                looked_again = false;
            }
        }

        void forget(connection& c) {
            // Told to the kernel by name, since a copy of the socket may live on elsewhere.
            ::epoll_ctl(ready.get(), EPOLL_CTL_DEL, c.fd.get(), nullptr);
            if (exhaustion_told) watch_door(EPOLLIN);  // a descriptor is free now
            if (buffer_holder == &c) {
                c.reader.drop_pending();
                spare.reader.swap_buffer(c.reader);
                buffer_holder = &spare;
            }
            const std::size_t at = c.index;
            all.back()->index = at;
            std::swap(all[at], all.back());
            all.pop_back();
        }

        void show_more() {
            if (shown && (has_message || verdict || end_due || !queue.empty())) {
                (void)ready.raise();
            }
        }
        void shut(bool in_order) noexcept {
            if (failed) return;
            failed = errc::closed;
            has_message = false;
            in_order ? door.close() : door.abandon();
            ready.reset();
            timer.reset();
            for (auto& c : all) c->fd.reset();
        }

        static constexpr std::uint64_t door_tag = 0, timer_tag = 1;
        static constexpr int events_max = 64, accepts_at_once = 32;

        Door door;
        message_type type;
        uri address;
        stream_options options;
        diagnostics why;
        readiness ready;
        unique_fd timer;  // held from the start: when descriptors are short it is too late
        std::vector<std::unique_ptr<connection>> all;
        connection_queue queue;
        connection spare{
            unique_fd(), {}, {}, false};  // keeps the buffer of a packet reader that left
        connection* buffer_holder = nullptr;
        reading_budget since_asked;
        bytes message;
        error_code verdict, end_due, failed;
        std::size_t senders = 0;
        std::uint64_t lost = 0, refused = 0;
        bool has_message = false;
        bool borrowed = false;
        bool shown = false;
        bool looked_again = false;
        bool exhaustion_told = false;
    };

    explicit hub_source(std::unique_ptr<core> c) : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
