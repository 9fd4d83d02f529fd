// SPDX-License-Identifier: MIT
// How a hub accepts senders, gives them turns, refuses and buries them. Rules: hub.hpp.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/detail/ticks.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/gathering.hpp>
#include <parley/transport/hub_connection.hpp>

#include <sys/timerfd.h>

#include <memory>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// What a hub_source knows and does; the path of a message stands there.
template <class Door>
struct hub_core final : fork_sensitive {
    using socket = typename Door::socket;
    using connection = detail::connection<socket>;

    hub_core(Door d, const message_type& t, uri a, stream_options o)
        : door(std::move(d)), type(t), address(std::move(a)), options(std::move(o)) {}
    ~hub_core() override {
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

    /// The only sender: its next message without a look at the queue. `may_sleep`: for it, as long
    /// as newcomers may wait.
    [[gnu::noinline]] bool read_steadily(bool may_sleep) {
        connection& c = *steady;
        may_sleep = may_sleep && c.naps;
        if (borrowed || c.eof || !c.reader.empty() || !(may_sleep || c.readable)) return false;
        if (ticks.now() - asked_at >= newcomers_wait) {
            since_asked.exhaust();
            return false;
        }
        queue.push(c);  // whatever else it has to say
        const bool lay_here = c.fd.has_pending();
        if (may_sleep && !lay_here) rush.pause();
        const auto to = c.reader.whole_room();
        const auto n = c.fd.receive(to.data(), to.size(), may_sleep ? c.nap_flags : c.flags);
        if (n <= 0 || static_cast<std::size_t>(n) >= to.size()) [[unlikely]] {
            if (n < 0 && errno == EINTR) return false;
            since_asked.add(c.took(n, to.size(), true));
            return false;
        }
        c.reader.filled(static_cast<std::size_t>(n));
        const bool lies_here = c.fd.has_pending();
        c.readable = c.more.after_success() || lies_here;
        const bytes m = c.reader.next_message();
        if (m.data() == nullptr) [[unlikely]]
            return false;
        if (c.packets && !c.reader.empty()) [[unlikely]] {
            c.overlong = true;
            return false;
        }
        const std::size_t beside = lay_here || lies_here ? 1 : 0;  // they came together
        rush.found(static_cast<std::size_t>(n) + beside, frame::header_bytes + m.size());
        message = m;
        speaker = &c;
        has_message = true;
        return true;
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
        speaker = &c;
        has_message = true;
        if (c.has_more()) queue.push(c);
        steady = all.size() == 1 && !shown ? &c : nullptr;
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
            peers.came(c.reader.pid());
            end_due = {};
        }
        if (m) {
            message = *m;
            speaker = &c;
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
        asked_at = ticks.now();
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
        if (!door.admits(fd.get())) return turn_away(std::move(fd));
        auto made =
            std::make_unique<connection>(door.let_in(std::move(fd)), type, options, door.packets());
        if (!ready.add(made->fd.get(), EPOLLIN,
                       static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(made.get())))) {
            return shut_door_for_a_while(errno);
        }
        steady = nullptr;
        made->naps = wakes_within(made->fd.get(), newcomers_wait);
        made->index = all.size();
        made->readable = true;  // the hello is there by now, most likely
        all.push_back(std::move(made));
        queue.push(*all.back());
    }

    /// A stranger at the door disturbs nobody: it is counted, and why() knows.
    void turn_away(unique_fd fd) {
        ++refused;
        why.fail(errc::denied, "turned away at " + address.text() + ": " + door.who(fd.get()) +
                                   ", whom `allow` does not let in");
        if (options.frames == framing::parley) {
            answer_with_hello(fd.get(), type, frame::answer::denied);
        }
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
        if (const error_code ec = c.fd.failure(why)) return refuse(c, ec);
        const bool was_sender = c.counted;
        const errc how = c.at_end();
        if (was_sender && how == errc::peer_lost) {
            peers.died(c.reader.pid());
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
        if (c.framed) c.fd.answer(type);
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
        steady = nullptr;
        if (speaker == &c) speaker = nullptr;
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
        steady = nullptr;
        in_order ? door.close() : door.abandon();
        ready.reset();
        timer.reset();
        for (auto& c : all) c->fd.reset();
    }

    static constexpr std::uint64_t door_tag = 0, timer_tag = 1;
    static constexpr int events_max = 64, accepts_at_once = 32;
    /// For a read that sleeps, and for the next question to the kernel.
    static constexpr duration newcomers_wait = std::chrono::milliseconds(5);

    Door door;
    message_type type;
    uri address;
    stream_options options;
    diagnostics why;
    readiness ready;
    unique_fd timer;  // held from the start: when descriptors are short it is too late
    std::vector<std::unique_ptr<connection>> all;
    connection_queue<connection> queue;
    connection spare{socket(), {}, {}, false};  // keeps the buffer of a packet reader that left
    connection* buffer_holder = nullptr;
    connection* steady = nullptr;  // the only one, if it sent the last message
    reading_budget since_asked;
    gathering rush;  // of the steady one
    tick_clock ticks;
    time_point asked_at{};
    bytes message;
    const connection* speaker = nullptr;  // who sent it
    error_code verdict, end_due, failed;
    std::size_t senders = 0;
    peer_watch peers;
    std::uint64_t refused = 0;
    bool has_message = false;
    bool borrowed = false;
    bool shown = false;
    bool looked_again = false;
    bool exhaustion_told = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
