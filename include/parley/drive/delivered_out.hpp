// SPDX-License-Identifier: MIT
// What the sink of a delivery stack does: pushes what its sending side wants, takes back what
// comes, and makes a new connection where a guarantee outlives the old one.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/drive/delivered_way.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/drive/redial.hpp>
#include <parley/drive/send_clock.hpp>
#include <parley/drive/sink_readiness.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// What a delivery stack's sink is made of: the way, the end of it that is open now, if any, and
/// the sending side. Nobody runs in the background.
template <class Address, class Stack>
struct delivered_out final : parley::detail::fork_sensitive {
    using way = delivered_way<Address, Stack>;

    delivered_out(const Address& at, const Stack& how, const message_type& type)
        : road(at, how, type), watch(how.template get<batched>().linger) {
        guard_against_fork();
    }
    ~delivered_out() override { unguard(); }
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
    /// Waits until the messages up to `number` came as far as `far`.
    result<void> await(receipt far, std::uint64_t number,
                       time_point until) requires(way::acknowledges) {
        while (out->reached(far) < number) {
            if (failed) return failed;
            out->hurry();
            if (auto r = pump(true, clock::now()); !r) return r;
            if (out->reached(far) >= number) break;
            if (auto r = await_progress(until); !r) return r;
        }
        return {};
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

}  // namespace drive
}  // namespace v1
}  // namespace parley
