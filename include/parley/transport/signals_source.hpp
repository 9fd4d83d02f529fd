// SPDX-License-Identifier: MIT
// The source of signals://: takes signals, puts each sender's chunks together again, gives credit
// back, and notices who came, left and died.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/transport/signals_sender.hpp>
#include <parley/transport/stream_source.hpp>

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

class signal_source {
public:
    using view = buffered_view;

    [[nodiscard]] static result<signal_source> open(owned_signals at, const signals_notice& notice,
                                                    const message_type& type, uri address,
                                                    diagnostics& why) {
        auto c = std::make_unique<core>(std::move(at), notice, type, std::move(address));
        c->guard_against_fork();
        if (auto r = c->watch(); !r) return why.fail(r.error(), explain("watching signals", errno));
        return signal_source(std::move(c));
    }

    result<view> try_receive() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        while (!c.find()) {
            const auto events = c.ask(expired);
            if (!events) return events.error();
            if (*events == 0 || c.flooded) {
                c.flooded ? (void)c.ready.raise() : c.ready.lower();
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

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.failed) return {};
        // What is borrowed lies in a buffer that more would be put into.
        if (c.borrowed)
            return c.has_more() ? result<void>() : wait_for(c.bell.get(), POLLIN, until);
        while (!c.find(until == never ? core::nap : duration::zero())) {
            c.ready.lower();
            // A lock that falls while its process lives on (exec) tells nobody.
            const bool look = until != expired && c.seated > 0;
            const auto limit = look ? earlier(until, clock::now() + core::look_apart) : until;
            const auto events = c.ask(limit);
            if (!events) return events.error();
            if (*events == 0 && limit == until) return errc::timed_out;
            if (c.flooded && clock::now() >= until) return errc::timed_out;
            if (*events == 0) c.look_at_locks();
        }
        c.show_more();
        return {};
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

    /// Signals on this receiver's numbers that no sender of its sent; they were ignored.
    [[nodiscard]] std::uint64_t foreign() const noexcept { return core_->foreign; }
    /// How many senders were refused so far, for another type or for garbage.
    [[nodiscard]] std::uint64_t refused() const noexcept { return core_->refused; }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    /// The signal number of lane `i`.
    [[nodiscard]] int number(std::size_t i = 0) const noexcept { return core_->notice.numbers[i]; }
    [[nodiscard]] parley::limits limits() const noexcept { return core_->notice.limits(); }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

private:
    using sender = signal_sender;

    struct core final : fork_sensitive {
        core(owned_signals o, const signals_notice& n, const message_type& t, uri a)
            : at(std::move(o)), notice(n), type(t), address(std::move(a)) {}
        ~core() override {
            unguard();
            shut(true);
        }
        void in_forked_child() noexcept override { shut(false); }

        result<void> watch() {
            bell = signal_descriptor(at.numbers.mask());
            if (!bell) return last_error();
            if (auto r = ready.add(bell.get(), EPOLLIN, bell_tag); !r) return r.error();
            return clock.watch_in(ready, clock_tag);
        }

        /// True if there is a message or a verdict to hand out. A wait sleeps in the call that
        /// takes a signal, for `longest`, before it asks who else has news: one call for a signal,
        /// not three. `flooded`: so many signals came to nothing that others are to have a turn.
        bool find(duration longest = {}) {
            flooded = false;
            for (int heard = 0; !has_message && !verdict && !failed;) {
                if (current != nullptr) {
                    take();
                } else if (heard == signals_at_once) {
                    flooded = true;
                    return false;
                } else if (next_signal(longest)) {
                    ++heard;
                } else if (longest = {}; bury()) {
                    continue;
                } else if (end_due) {
                    verdict = std::exchange(end_due, error_code());
                } else {
                    return false;
                }
            }
            return true;
        }

        // --- signals ---------------------------------------------------------------------------
        bool next_signal(duration longest) {
            signal_packet p;
            const auto from = at.numbers.mask();
            const bool taken = longest == duration::zero() ? take_signal_now(from, p)
                                                           : take_signal_within(from, longest, p);
            if (!taken) return false;
            const auto w = signal_word::of(p.word);
            if (!p.queued || w.slot >= notice.writers_max) {
                ++foreign;
            } else if (w.what == signal_word::kind::chunk) {
                hear_chunk(p, w);
            } else if (w.what == signal_word::kind::look) {
                free_deserted_slots();
            } else if (w.what == signal_word::kind::gone) {
                sender* s = seats[w.slot].get();
                if (s != nullptr && s->sent(p) &&
                    load_le<std::uint64_t>(p.payload.data()) == s->record.id) {
                    s->gone = true;
                } else {
                    free_deserted_slots();
                }
            } else {
                ++foreign;
            }
            return true;
        }
        void hear_chunk(const signal_packet& p, signal_word w) {
            sender* s = seats[w.slot].get();
            if (s == nullptr) s = seat(p, w.slot);
            if (s == nullptr || !s->sent(p) || w.sequence != s->next || w.length == 0 ||
                w.length > notice.payload_bytes) {
                foreign += verdict || refusing == w.slot ? 0 : 1;
                return;
            }
            const auto to = s->reader.room(w.length);
            std::memcpy(to.data(), p.payload.data(), w.length);
            s->reader.filled(w.length);
            ++s->next;
            if (++s->taken >= notice.window / 4) give_credit(*s);
            current = s;
        }

        // --- who is there ----------------------------------------------------------------------
        /// A first chunk: who holds the slot, if it is the one who the signal says it is.
        sender* seat(const signal_packet& p, std::uint8_t slot) {
            signal_slot r;
            if (!r.read(at.post.get(), slot) || !r.taken() || !r.real() ||
                r.pid != static_cast<std::uint32_t>(p.pid) || r.uid != p.uid) {
                return nullptr;
            }
            auto s = std::make_unique<sender>(type, notice.message_bytes_max);
            s->record = r;
            s->slot = slot;
            s->next = static_cast<std::uint16_t>(r.first);
            const auto holds = [&] { return is_locked(at.post.get(), writer_lock(slot)); };
            s->gone = !holds();
            if (!s->gone) {
                s->pidfd = pidfd_vouched_for(r.pid, holds);
                s->gone = !s->pidfd && !holds();
                if (!s->gone && (!s->pidfd || !ready.add(s->pidfd.get(), EPOLLIN, slot))) {
                    verdict = why.fail(errc::out_of_resources,
                                       "process " + std::to_string(r.pid) + " sends to " +
                                           address.text() +
                                           ", but there is no descriptor left to watch it with; "
                                           "raise ulimit -n");
                    turn_away(*s);
                    signal_slot::release(at.post.get(), slot, r.id);
                    return nullptr;
                }
            }
            ++seated;
            return (seats[slot] = std::move(s)).get();
        }
        /// Slots whose holder died, or left, before its first chunk.
        void free_deserted_slots() noexcept {
            for (std::size_t i = 0; i < notice.writers_max; ++i) {
                signal_slot r;
                if (seats[i] == nullptr && !is_locked(at.post.get(), writer_lock(i)) &&
                    r.read(at.post.get(), i) && r.taken()) {
                    signal_slot::release(at.post.get(), i, r.id);
                }
            }
        }
        void look_at_locks() noexcept {
            for (auto& s : seats) {
                if (s && !s->gone) s->gone = !is_locked(at.post.get(), writer_lock(s->slot));
            }
        }
        /// Those whose going is known and whose signals were all taken. True if there was one.
        bool bury() {
            bool any = false;
            for (std::size_t i = 0; i < notice.writers_max; ++i) {
                if (seats[i] == nullptr || !seats[i]->gone) continue;
                depart(*seats[i], errc::peer_lost);
                any = true;
            }
            return any;
        }
        void depart(sender& s, errc how) {
            if (s.counted && how == errc::peer_lost) {
                peers.died(s.record.pid);
                why.fail(how, "a sender on " + address.text() + " (process " +
                                  std::to_string(s.record.pid) +
                                  ") died, or went away without a goodbye" +
                                  (s.reader.empty() ? "" : ", in mid-message"));
            }
            if (s.counted && --senders == 0) end_due = how;
            leave(s);
        }
        void leave(sender& s) noexcept {
            signal_slot::release(at.post.get(), s.slot, s.record.id);
            if (current == &s) current = nullptr;
            --seated;
            seats[s.slot].reset();
        }

        /// The next message of the sender whose chunk came last, or what else it has to say.
        void take() {
            sender& s = *current;
            const auto m = s.reader.next(why);
            if (!s.counted && s.reader.greeted()) {
                s.counted = true;
                ++senders;
                peers.came(s.record.pid);
                end_due = {};
            }
            if (m) {
                message = *m;
                has_message = true;
                return;
            }
            current = nullptr;
            if (m.error() != errc::would_block) return refuse(s, m.error());
            if (s.counted && s.reader.at_end() == errc::closed) depart(s, errc::closed);
        }
        void refuse(sender& s, error_code ec) {
            ++refused;
            why.fail(ec, "refused a sender on " + address.text() + ": " + why.text());
            if (s.counted) --senders;
            turn_away(s);
            leave(s);
            if (senders == 0) {
                verdict = ec;
                end_due = {};
            }
        }
        void turn_away(const sender& s) noexcept {
            refusing = s.slot;  // its other chunks follow
            if (s.pidfd) {
                (void)s.record.tell(
                    s.pidfd.get(),
                    {.what = signal_word::kind::gone, .slot = s.slot, .length = signal_refusal});
            }
        }

        // --- credit ----------------------------------------------------------------------------
        void give_credit(sender& s) noexcept {
            if (s.gone || !s.pidfd) return;
            const int number = s.record.tell(
                s.pidfd.get(),
                {.what = signal_word::kind::credit, .sequence = s.next, .slot = s.slot});
            s.owed = number == EAGAIN;
            if (s.owed) {
                clock.set(signal_retry);
            } else {
                s.taken = 0;
            }
        }
        // --- waiting ---------------------------------------------------------------------------
        /// Waits for the kernel's news; how many there were, the flag of our own aside.
        result<int> ask(time_point until) {
            epoll_event events[events_max];
            const auto n = epoll_until(ready.get(), events, events_max, until);
            if (!n) {
                why.fail(n.error(), "waiting for " + address.text());
                return n;
            }
            int news = *n;
            for (int i = 0; i < *n; ++i) {
                const auto tag = events[i].data.u64;
                if (tag == readiness::flag_tag) {
                    --news;
                } else if (tag == clock_tag) {
                    (void)clock.stop();
                    for (auto& s : seats) {
                        if (s && s->owed) give_credit(*s);
                    }
                } else if (tag < signal_slots_max) {
                    auto& seat = seats[static_cast<std::size_t>(tag)];
                    if (seat == nullptr) continue;
                    seat->gone = true;
                    seat->pidfd.reset();  // and so out of the set
                }
            }
            return news;
        }
        [[nodiscard]] bool has_more() const noexcept {
            return has_message || verdict || end_due || current != nullptr;
        }
        void show_more() {
            if (shown && has_more()) (void)ready.raise();
        }

        // --- closing ---------------------------------------------------------------------------
        void shut(bool in_order) noexcept {
            if (failed) return;
            failed = errc::closed;
            if (in_order && at.post) {  // see signal_writer::enter: first the lock, then the slots
                remove_name(at.path, at.post.get());
                unlock(at.post.get(), 0);
                tell_all_gone(at.post.get(), static_cast<std::size_t>(notice.writers_max));
            }
            ready.reset();
            clock.reset();
            bell.reset();
            at.post.reset();
            for (auto& s : seats) {
                if (s) s->pidfd.reset();
            }
            at.numbers.release();
        }
        static constexpr std::uint64_t bell_tag = signal_slots_max;
        static constexpr std::uint64_t clock_tag = signal_slots_max + 1;
        static constexpr int events_max = 64, signals_at_once = 1024;
        static constexpr duration look_apart = std::chrono::seconds(1);
        static constexpr duration nap = std::chrono::milliseconds(5);  // deaths are told so late

        owned_signals at;
        signals_notice notice;
        message_type type;
        uri address;
        diagnostics why;
        readiness ready;
        retry_clock clock;
        unique_fd bell;
        std::array<std::unique_ptr<sender>, signal_slots_max> seats;
        sender* current = nullptr;  // its chunk came last
        bytes message;
        error_code verdict, end_due, failed;
        std::size_t senders = 0;  // that said hello
        std::size_t seated = 0;
        peer_watch peers;
        std::uint64_t refused = 0, foreign = 0;
        int refusing = -1;
        bool has_message = false;
        bool borrowed = false;
        bool shown = false, flooded = false;
    };

    explicit signal_source(std::unique_ptr<core> c) : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
