// SPDX-License-Identifier: MIT
// What the sink of a delivery stack does: pushes what its sending side wants, takes back what
// comes, and makes a new connection where a guarantee outlives the old one.
#pragma once

#include <parley/delivery/durable.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/drive/delivered_way.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/drive/redial.hpp>
#include <parley/drive/send_clock.hpp>
#include <parley/drive/sink_readiness.hpp>
#include <parley/drive/spooled.hpp>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// What a delivery stack's sink is made of: the way, the end of it that is open now, if any, and
/// the sending side, which waits for the first end to know how long frames may be. Nobody runs in
/// the background.
template <class Address, class Stack>
struct delivered_out final : parley::detail::fork_sensitive {
    using way = delivered_way<Address, Stack>;
    static constexpr bool is_durable = Stack::template has<durable>;

    delivered_out(const Address& at, const Stack& h, const message_type& type)
        : road(at, h, type), how(h), watch(h.template get<batched>().linger) {
        guard_against_fork();
    }
    ~delivered_out() override { unguard(); }
    // The end below closes itself; what waits here is the parent's to send.
    void in_forked_child() noexcept override {
        failed = errc::closed;
        if constexpr (is_durable) spool.file.leave();
    }

    /// Errors: those of the way; unsupported: it does not keep what the stack relies on. Who keeps
    /// messages in a file waits for nobody.
    result<void> open(const open_request& request) {
        if (auto r = road.check_policies(*request.why); !r) return r;
        time_point until = request.until;
        if constexpr (is_durable) {
            const durable& d = keeping();
            if (auto r = spool.file.open(d.path, d.capacity_bytes, request.type, *request.why); !r)
                return r;
            spool.kept = spool.file.waiting();
            message_bytes_max = spool.file.message_bytes_max();
            until = earlier(until, clock::now() + dial_for);
        }
        auto made = road.open_out(until, *request.why);
        if (made) return begin(std::move(*made), *request.why);
        if (!is_durable || !may_come(made.error())) return made.error();
        calls.later();
        return {};
    }
    /// The first end.
    result<void> begin(typename way::out_end first, diagnostics& words) {
        below = way::sink_of(first).limits();
        if (below.lossy && way::promises.lossless) {
            return words.fail(errc::unsupported,
                              road.address().text() + ": " +
                                  std::string(sentence(delivery::fault::nothing_named)));
        }
        const std::size_t most = below.message_bytes_max;
        out.emplace(how, parley::detail::fresh_id(), most);
        if (out->message_bytes_max() == 0) {
            return words.fail(errc::unsupported,
                              road.address().text() + " takes messages of at most " +
                                  std::to_string(most) +
                                  " bytes, less than the headers of this delivery stack");
        }
        message_bytes_max = is_durable ? std::min(message_bytes_max, out->message_bytes_max())
                                       : out->message_bytes_max();
        end.emplace(std::move(first));
        return {};
    }
    [[nodiscard]] const durable& keeping() const noexcept requires is_durable {
        return std::get<durable>(how.all);
    }
    [[nodiscard]] static bool may_come(error_code ec) noexcept {
        namespace network = boost::system::errc;
        return ec == condition::flow || ec == condition::gone || ec == errc::not_found ||
               ec == errc::in_use ||
               (is_durable && (ec == network::network_unreachable || ec == network::network_down ||
                               ec == network::host_unreachable));
    }

    /// Whether a message of n bytes may be submitted.
    [[nodiscard]] delivery::admission admits(std::size_t n, time_point now) {
        if constexpr (is_durable) {
            refused = n;
            if (spool.file.has_room(n)) return delivery::admission::taken;
            return Stack::template has<when_full::error> ? delivery::admission::refused
                                                         : delivery::admission::wait;
        } else {
            return out->admits(now);
        }
    }
    /// What else than the way may limit messages.
    [[nodiscard]] std::string limit_words() const {
        if constexpr (is_durable) {
            if (message_bytes_max == spool.file.message_bytes_max()) {
                return ", as much as fits into " + keeping().path +
                       ": give a new file more capacity_bytes";
            }
        }
        return {};
    }
    [[nodiscard]] std::string full_words() const {
        if constexpr (is_durable) {
            return keeping().path +
                   " is full of messages that are not acknowledged: let a "
                   "receiver take them, or give a new file more capacity_bytes";
        } else {
            return "as many messages wait as when_full::error allows";
        }
    }
    result<void> submit(bytes m, time_point now) {
        if constexpr (is_durable) {
            if (auto r = spool.file.put(m, keeping().synced, why); !r) return failed = r.error();
            ++spool.kept;
            return {};
        } else {
            out->submit(m, now);
            return {};
        }
    }
    /// How many messages there were; the number of the last one.
    [[nodiscard]] std::uint64_t submitted() const noexcept {
        if constexpr (is_durable)
            return spool.kept;
        else
            return out->submitted();
    }
    [[nodiscard]] std::uint64_t reached(receipt far) const noexcept requires(way::acknowledges) {
        return out ? out->reached(far) : 0;
    }
    /// Messages that wait, and frames that are not acknowledged.
    [[nodiscard]] std::size_t unfinished() const noexcept {
        std::size_t n = out ? out->unfinished() : 0;
        if constexpr (is_durable) n += static_cast<std::size_t>(spool.file.waiting());
        return n;
    }
    /// Gives the sending side what it has room for. False: nothing, or it failed.
    bool feed(time_point now) {
        if constexpr (is_durable) {
            if (failed) return false;
            const auto some = spool.feed(
                *out, now, [&] { return road.address().text(); }, why);
            if (!some) failed = some.error();
            return some && *some;
        }
        return false;
    }
    /// Lets go of what was consumed.
    void settle() {
        if constexpr (is_durable) {
            if (auto r = spool.settle(*out, why); !r) failed = r.error();
        }
    }

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
            if (admits(refused, pumped) != delivery::admission::wait) return {};
            if (auto r = await_progress(until); !r) return r;
        }
    }
    /// Waits until the messages up to `number` came as far as `far`.
    result<void> await(receipt far, std::uint64_t number,
                       time_point until) requires(way::acknowledges) {
        while (reached(far) < number) {
            if (failed) return failed;
            if (auto r = pump(true, clock::now(), true); !r) return r;
            if (reached(far) >= number) break;
            if (auto r = await_progress(until); !r) return r;
        }
        return {};
    }
    result<void> close(time_point until) {
        while (!failed) {
            if (auto r = pump(true, clock::now(), true); !r) break;
            if (unfinished() == 0 && !blocked) return leave(until);
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
            ready.template lower<way>(*end, blocked, next_look());
        } else {
            ready.lower(calls.next());
        }
        return r;
    }
    /// When who polls is to ask again by itself. Of a way that was not there when it began to poll
    /// nobody knew whether that has a descriptor.
    [[nodiscard]] time_point next_look() {
        const time_point at = out->next_deadline(pumped);
        const bool blind = is_durable && room_of(way::sink_of(*end)).fd < 0;
        return blind ? earlier(at, clock::now() + std::chrono::milliseconds(10)) : at;
    }
    /// Does all that can be done without waiting; `hurry`: a batch lingers no longer. Errors end
    /// this sink.
    result<void> pump(bool look_back, time_point now, bool hurry = false) {
        pumped = now;
        // Who never waits gives a connection that time at least.
        const time_point until = is_durable || ready.made() ? now + dial_for : expired;
        if (!end && !dial(until, now)) return failed ? result<void>(failed) : result<void>();
        if constexpr (way::links) {
            // Most sends need not know what was acknowledged meanwhile.
            if (look_back || ++unread >= 16 || now >= out->next_deadline()) {
                unread = 0;
                auto r = take_back(now);
                settle();
                if (!r) return lost(r.error());
            }
        }
        auto r = push(now, hurry);
        if (!r) return lost(r.error());
        if (!failed) return {};
        end.reset();
        return failed;
    }
    result<void> push(time_point now, bool hurry) {
        auto& to = way::sink_of(*end);
        if (blocked) {
            auto r = to.flush(expired);
            if (!r && r.error() == errc::would_block) return {};
            if (!r) return r;
        }
        blocked = false;
        feed(now);
        while (const std::size_t n = wanted(now, hurry)) {
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
    /// How long the next frame may be; 0: there is none.
    [[nodiscard]] std::size_t wanted(time_point now, bool hurry) {
        for (;;) {
            if (hurry) out->hurry();
            const std::size_t n = out->wants(now);
            if (n != 0 || !feed(now)) return n;
        }
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
            failed =
                why.fail(ec, words.text() + (words.empty() ? "" : "; ") +
                                 std::to_string(unfinished()) + " messages were not delivered");
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
        return dial(earlier(until, clock::now() + patience), clock::now());
    }
    /// Tries to make a new connection.
    bool dial(time_point until, time_point now) {
        if (now < calls.next()) return false;
        auto made = road.open_out(until, why);
        if (!made) {
            calls.later();
            patience = shorter(patience * 2, std::chrono::seconds(5));
            if (!may_come(made.error())) failed = made.error();
            return false;
        }
        patience = dial_for;
        if (!out) {
            if (auto r = begin(std::move(*made), why); !r) failed = r.error();
            return end.has_value();
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
            (void)dial(earlier(until, then + patience), then);
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
    Stack how;
    std::optional<typename way::out_end> end;
    std::optional<typename way::sending> out;
    parley::limits below;
    std::size_t message_bytes_max = 0;
    [[no_unique_address]] std::conditional_t<is_durable, spooled, not_spooled> spool;
    std::size_t refused = 0;  // the length of what there was no room for
    std::size_t level = 0;    // the priority of what comes next
    static constexpr duration dial_for = std::chrono::milliseconds(50);
    duration patience = dial_for;  // for a connection, of who waits anyway
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
