// SPDX-License-Identifier: MIT
// The sink of a delivery stack over a transport.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/drive/delivered_out.hpp>
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
    using core = delivered_out<Address, Stack>;
    using way = typename core::way;

public:
    using loan = detail::core_loan<core>;

    /// Opens the way and takes the stack over it.
    [[nodiscard]] static result<delivered_sink> open(const Address& at, const Stack& how,
                                                     const open_request& request) {
        auto c = std::make_unique<core>(at, how, request.type);
        if (auto r = c->open(request); !r) return r.error();
        return delivered_sink(std::move(c));
    }
    delivered_sink(delivered_sink&&) noexcept = default;
    delivered_sink& operator=(delivered_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(last_moment());
            core_ = std::move(other.core_);
        }
        return *this;
    }
    /// Closes; what is not delivered within `linger` is given up, but for what a file keeps. Call
    /// close(deadline) to decide.
    ~delivered_sink() {
        if (core_) (void)close(last_moment());
    }
    static constexpr duration linger = std::chrono::seconds(1);

    result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (n > c.message_bytes_max) {
            return c.why.fail(errc::message_too_large,
                              "a message of " + std::to_string(n) + " bytes; this delivery over " +
                                  address().text() + " takes at most " +
                                  std::to_string(c.message_bytes_max) + c.limit_words());
        }
        if (c.loaned) {
            return c.why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
        }
        if (c.out) c.out->priority(c.level);
        auto verdict = c.admits(n, c.watch.now());
        if (verdict != delivery::admission::taken) {
            if (auto r = c.pump(true, clock::now()); !r) return r.error();
            verdict = c.admits(n, clock::now());
        }
        if (verdict == delivery::admission::wait) return c.told(errc::would_block).error();
        if (verdict == delivery::admission::refused) {
            return c.why.fail(errc::out_of_resources, c.full_words());
        }
        c.ready.raise();
        c.loaned = true;
        return loan(&c, mutable_bytes(c.room_for(n), n));
    }
    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        if (c.failed) return c.failed;
        return c.submit(l.bytes(), c.watch.now());
    }
    /// For every length: into the queue it is copied anyway.
    static constexpr bool straight = true;
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (!core::is_durable && c.end && !c.failed && !c.loaned && m.size() <= c.message_bytes_max)
            [[likely]] {
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
    result<void> close(time_point until) {
        core& c = *core_;
        const auto r = c.close(until);
        if constexpr (core::is_durable) {
            if (c.failed) c.spool.file.leave();
        }
        return c.told(r);
    }

    /// Waits until all that was sent so far was consumed by its receiver, or arrived there
    /// (`receipts`). What was given up, and counted, is not waited for; a batch does not linger.
    /// Errors: timed_out: call again; those of the transport.
    result<void> await(receipt far, deadline d = never) requires(way::acknowledges) {
        return await(far, sent(), d);
    }
    /// The same of the messages up to `number`.
    result<void> await(receipt far, std::uint64_t number,
                       deadline d = never) requires(way::acknowledges) {
        return core_->told(core_->await(far, std::min(number, sent()), d.at()));
    }
    /// How many messages were sent: the number of the last one.
    [[nodiscard]] std::uint64_t sent() const noexcept { return core_->submitted(); }
    /// The number up to which all messages came as far as `far`, as known from the last call.
    [[nodiscard]] std::uint64_t reached(receipt far) const noexcept requires(way::acknowledges) {
        return core_->reached(far);
    }
    /// What was taken waits for room in the transport.
    [[nodiscard]] bool holds_back() const noexcept { return core_->blocked; }
    /// Messages that wait, and frames that are not yet acknowledged.
    [[nodiscard]] std::size_t unfinished() const noexcept { return core_->unfinished(); }
    [[nodiscard]] delivery::counters counters() const noexcept {
        return core_->out ? core_->out->counters() : delivery::counters{};
    }
    [[nodiscard]] parley::limits limits() const {
        auto l = core_->below;
        l.message_bytes_max = core_->message_bytes_max;
        l.loans_max = 1;
        l.in_place = false;
        l.lossy = way::may_lose;
        l.reports_peer_loss = l.reports_peer_loss && !way::acknowledges;
        return l;
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->road.address(); }

private:
    [[nodiscard]] time_point last_moment() const noexcept {
        return core::is_durable && !core_->end ? expired : clock::now() + linger;
    }
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

    explicit delivered_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
