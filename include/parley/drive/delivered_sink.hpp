// SPDX-License-Identifier: MIT
// The sink of a delivery stack over a transport: pushes what its sending side wants, brings back
// what comes, and makes a new connection where a guarantee outlives the old one.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/drive/delivered_way.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/drive/redial.hpp>
#include <parley/drive/send_clock.hpp>
#include <parley/drive/sink_readiness.hpp>
#include <parley/transport/loan.hpp>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// A sink as transport.hpp says, with one loan at a time, which lies in this process until it is
/// committed. Nobody runs in the background: what does not fit, and what is to be sent again, is
/// sent by the next call (a send, flush, wait, close).
template <class Address, class Stack>
class delivered_sink {
    struct core;
    using way = delivered_way<Address, Stack>;

public:
    using loan = detail::core_loan<core>;

    /// Opens the way and takes the stack over it.
    [[nodiscard]] static result<delivered_sink> open(const Address& at, const Stack& how,
                                                     const open_request& request) {
        auto c = std::make_unique<core>(at, how, request.type);
        if (auto r = c->road.check_policies(*request.why); !r) return r.error();
        auto end = c->road.open_out(request.until, *request.why);
        if (!end) return end.error();
        c->below = way::sink_of(*end).limits();
        if (c->below.lossy && way::promises.lossless) {
            return request.why->fail(errc::unsupported,
                                     c->road.address().text() + ": " +
                                         std::string(sentence(delivery::fault::nothing_named)));
        }
        const std::size_t most = c->below.message_bytes_max;
        c->out.emplace(how, detail::fresh_id(), most);
        if (c->out->message_bytes_max() == 0) {
            return request.why->fail(errc::unsupported,
                                     c->road.address().text() + " takes messages of at most " +
                                         std::to_string(most) +
                                         " bytes, less than the headers of this delivery stack");
        }
        c->message_bytes_max = c->out->message_bytes_max();
        c->end.emplace(std::move(*end));
        return delivered_sink(std::move(c));
    }
    delivered_sink(delivered_sink&&) noexcept = default;
    delivered_sink& operator=(delivered_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(clock::now() + linger);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    /// Closes; what is not delivered within `linger` is given up. Call close(deadline) to decide.
    ~delivered_sink() {
        if (core_) (void)close(clock::now() + linger);
    }
    static constexpr duration linger = std::chrono::seconds(1);

    result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (n > c.out->message_bytes_max()) {
            return c.why.fail(errc::message_too_large,
                              "a message of " + std::to_string(n) + " bytes; this delivery over " +
                                  address().text() + " takes at most " +
                                  std::to_string(c.out->message_bytes_max()));
        }
        if (c.loaned) {
            return c.why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
        }
        c.out->priority(c.level);
        auto verdict = c.out->admits(c.watch.now());
        if (verdict != delivery::admission::taken) {
            if (auto r = c.pump(true, clock::now()); !r) return r.error();
            verdict = c.out->admits(clock::now());
        }
        if (verdict == delivery::admission::wait) return c.told(errc::would_block).error();
        if (verdict == delivery::admission::refused) {
            return c.why.fail(errc::out_of_resources,
                              "as many messages wait as when_full::error allows");
        }
        c.ready.raise();
        c.loaned = true;
        return loan(&c, mutable_bytes(c.room_for(n), n));
    }
    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        c.out->submit(l.bytes(), c.watch.now());
        return {};
    }
    /// For every length: into the queue it is copied anyway.
    static constexpr bool straight = true;
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (c.end && !c.failed && !c.loaned && m.size() <= c.message_bytes_max) [[likely]] {
            const auto now = c.watch.of_message(Stack::template has<batched>);
            c.out->priority(c.level);
            if (c.out->admits(now) == delivery::admission::taken) [[likely]] {
                c.ready.raise();
                c.out->submit(m, now);
                if constexpr (!way::links) {
                    if (c.out->wants(now) == 0) return {};
                }
                return pushed(now);
            }
        }
        return send_slowly(m);
    }
    /// Pushes until the transport took all that may be sent now. Where the rule for when it is full
    /// is that messages give way, nobody waits.
    result<void> flush(time_point until) {
        return core_->told(flush_from(core_->watch.now(), until));
    }
    static constexpr bool queues = true;
    result<void> wait(time_point until) { return core_->told(core_->wait(until)); }
    /// After a flush that would block, or a close that timed out, it is readable when that may go
    /// on. Resending goes on with each call and not by itself: call flush(expired) now and then
    /// while something is unfinished(). A connection that was lost is made again in such a call,
    /// which may take up to 50 ms.
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (c.end && room_of(way::sink_of(*c.end)).fd < 0) return errc::unsupported;
        return c.ready.make();
    }
    /// Of what is loaned or sent from now on.
    void priority(std::size_t n) noexcept requires(Stack::template has<prioritized>) {
        core_->level = n;
        core_->ready.raise();
    }

    /// Waits until everything is sent and, under a guarantee, acknowledged; then says goodbye.
    /// Errors: timed_out: something is left, close again; those of the transport, with the number
    /// of messages that were not delivered in why().
    result<void> close(time_point until) { return core_->told(core_->close(until)); }

    /// Messages that wait, and frames that are not yet acknowledged.
    [[nodiscard]] std::size_t unfinished() const noexcept { return core_->out->unfinished(); }
    [[nodiscard]] delivery::counters counters() const noexcept { return core_->out->counters(); }
    [[nodiscard]] parley::limits limits() const {
        auto l = core_->below;
        l.message_bytes_max = core_->out->message_bytes_max();
        l.loans_max = 1;
        l.in_place = false;
        l.lossy = way::may_lose;
        l.reports_peer_loss = l.reports_peer_loss && !way::acknowledges;
        return l;
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->road.address(); }

private:
    static constexpr bool gives_way = Stack::template has<when_full::drop_newest> ||
                                      Stack::template has<when_full::drop_oldest> ||
                                      Stack::template has<when_full::latest_only>;

    [[gnu::noinline]] result<void> flush_from(time_point now, time_point until) {
        core& c = *core_;
        for (;;) {
            if (c.failed) return c.failed;
            if (auto r = c.pump(false, now); !r) return r;
            if (!c.blocked) return {};
            if (gives_way || !c.await_progress(until)) return errc::would_block;
            now = clock::now();
        }
    }
    /// What is queued is sent as far as it goes.
    result<void> pushed(time_point now) {
        auto r = flush_from(now, expired);
        return !r && r.error() == errc::would_block ? result<void>() : r;
    }
    [[gnu::noinline]] result<void> send_slowly(bytes m) {
        auto l = try_loan(m.size());
        if (!l) return l.error();
        if (!m.empty()) std::memcpy(l->bytes().data(), m.data(), m.size());
        if (auto r = try_commit(std::move(*l)); !r) return r;
        return pushed(core_->watch.now());
    }

    struct core final : detail::fork_sensitive {
        core(const Address& at, const Stack& how, const message_type& type)
            : road(at, how, type), watch(how.template get<batched>().linger) {
            guard_against_fork();
        }
        ~core() override { unguard(); }
        // The end below closes itself; what waits here is the parent's to send.
        void in_forked_child() noexcept override { failed = errc::closed; }

        std::byte* room_for(std::size_t n) {
            if (n > capacity || !memory) {
                capacity = std::max<std::size_t>(n, 2 * capacity);
                memory = std::make_unique_for_overwrite<std::byte[]>(capacity + 64);
            }
            const auto odd = reinterpret_cast<std::uintptr_t>(memory.get()) % 64;
            return memory.get() + (64 - odd) % 64;
        }
        result<void> wait(time_point until) {
            for (;;) {
                if (failed) return failed;
                if (auto r = pump(true, clock::now()); !r) return r;
                if (out->admits(pumped) != delivery::admission::wait) return {};
                if (auto r = await_progress(until); !r) return r;
            }
        }
        result<void> close(time_point until) {
            while (!failed) {
                out->hurry();
                if (auto r = pump(true, clock::now()); !r) break;
                if (out->idle() && !blocked) return leave(until);
                if (auto r = await_progress(until); !r && r.error() == errc::timed_out) return r;
            }
            return failed == errc::closed && !end ? result<void>() : failed;
        }
        /// What a verb came to. Who polls is to ask again now, or when that may come to more.
        result<void> told(result<void> r) noexcept {
            if (!ready.made()) return r;
            if (r || r.error() != condition::flow) {
                ready.raise();
            } else if (end) {
                ready.template lower<way>(*end, blocked, out->next_deadline(pumped));
            } else {
                ready.lower(calls.next());
            }
            return r;
        }
        /// Does all that can be done without waiting. Errors end this sink.
        result<void> pump(bool look_back, time_point now) {
            pumped = now;
            // Who never waits gives a connection that time at least.
            const time_point until = ready.made() ? now + dial_for : expired;
            if (!end && !dial(until, now)) return failed ? result<void>(failed) : result<void>();
            if constexpr (way::links) {
                // Most sends need not know what was acknowledged meanwhile.
                if (look_back || ++unread >= 16 || now >= out->next_deadline()) {
                    unread = 0;
                    if (auto r = take_back(now); !r) return lost(r.error());
                }
            }
            auto r = push(now);
            return r ? r : lost(r.error());
        }
        result<void> push(time_point now) {
            auto& to = way::sink_of(*end);
            if (blocked) {
                auto r = to.flush(expired);
                if (!r && r.error() == errc::would_block) return {};
                if (!r) return r;
            }
            blocked = false;
            while (const std::size_t n = out->wants(now)) {
                auto l = to.try_loan(n);
                if (!l && l.error() == errc::would_block) return blocked = true, result<void>();
                if (!l) return l.error();
                l->shrink(out->transmit(l->bytes(), now));
                if (auto r = to.try_commit(std::move(*l)); !r) return r;
                auto r = to.flush(expired);
                if (!r && r.error() != errc::would_block) return r;
                blocked = !r;
            }
            return {};
        }
        result<void> take_back(time_point now) {
            for (;;) {
                auto f = end->in().try_receive();
                if (!f && f.error() == errc::would_block) return {};
                if (!f) return f.error();
                out->on_frame(f->bytes(), now);
            }
        }
        /// A way that failed: a guarantee goes on over the next one.
        result<void> lost(error_code ec) {
            const diagnostics& words = way::sink_of(*end).why();
            const bool again = way::acknowledges && ec == condition::gone;
            blocked = false;
            if (!again) {
                failed = why.fail(ec, words.text() + (words.empty() ? "" : "; ") +
                                          std::to_string(out->unfinished()) +
                                          " messages were not delivered");
                end.reset();
                return failed;
            }
            end.reset();
            // Whoever cuts it every time before anything is acknowledged is not called in a hurry.
            const auto acknowledged = out->counters().acknowledged;
            calls.lost(std::exchange(acknowledged_before, acknowledged) != acknowledged);
            return {};
        }
        /// All is sent and acknowledged. A goodbye that a cut may have swallowed is said again over
        /// a new way, as long as somebody is there to hear it.
        result<void> leave(time_point until) {
            while (end || dial_to_leave(until)) {
                auto r = road.close_out(*end, until);
                blocked = !r && r.error() == errc::timed_out;
                if (blocked) return r;
                if (r || !way::acknowledges || r.error() != condition::gone) {
                    end.reset();
                    failed = errc::closed;
                    return r;
                }
                if (clock::now() >= until) return errc::timed_out;
                if (auto gone = lost(r.error()); !gone) return gone;
            }
            failed = errc::closed;
            return {};
        }
        bool dial_to_leave(time_point until) {
            (void)detail::poll_until(nullptr, 0, earlier(until, calls.next()));
            return dial(earlier(until, clock::now() + dial_for), clock::now());
        }
        /// Tries to make a new connection.
        bool dial(time_point until, time_point now) {
            if (now < calls.next()) return false;
            auto made = road.open_out(until, why);
            if (!made) {
                const error_code ec = made.error();
                calls.later();
                const bool later = ec == condition::flow || ec == condition::gone ||
                                   ec == errc::not_found || ec == errc::in_use;
                if (!later) failed = ec;
                return false;
            }
            end.emplace(std::move(*made));
            out->on_link(clock::now());
            return true;
        }
        /// Waits for what the next step waits for. timed_out: `until` passed.
        result<void> await_progress(time_point until) {
            const auto now = clock::now();
            if (until == expired || now >= until) return errc::timed_out;
            if (!end) {
                if (now < calls.next()) {
                    (void)detail::poll_until(nullptr, 0, earlier(until, calls.next()));
                }
                const auto then = clock::now();
                (void)dial(earlier(until, then + dial_for), then);
                return {};
            }
            const auto at = earlier(until, out->next_deadline(pumped));
            auto& to = way::sink_of(*end);
            if constexpr (way::links) {
                if (blocked) {
                    (void)wait_for_either(to, end->in(), at);
                } else {
                    (void)end->in().wait(at);
                }
            } else if (blocked) {
                (void)to.wait(at);
            } else {
                (void)detail::poll_until(nullptr, 0, at);  // for company in a batch
            }
            return {};  // what it was, the next pump finds
        }

        delivered_way<Address, Stack> road;
        std::optional<typename way::out_end> end;
        std::optional<typename way::sending> out;
        parley::limits below;
        std::size_t message_bytes_max = 0;
        std::size_t level = 0;  // the priority of what comes next
        static constexpr duration dial_for = std::chrono::milliseconds(50);
        send_clock watch;
        time_point pumped{};  // when all was done that could be
        sink_readiness ready;
        redial calls;
        diagnostics why;
        error_code failed;
        std::unique_ptr<std::byte[]> memory;
        std::size_t capacity = 0;
        std::uint64_t acknowledged_before = 0;
        std::size_t unread = 0;  // pumps since acknowledgements were looked for
        bool loaned = false;
        bool blocked = false;  // the transport takes no more now
    };

    explicit delivered_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
