// SPDX-License-Identifier: MIT
// The sink over a message queue of the kernel, or over a socket of datagrams, which to a sender is
// much the same. A message goes into the queue when it is committed; only if another sender took
// the last room between loan and commit it waits here.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/transport/kernel_queue.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// `Queue` has what stands in kernel_queue, and: prefix_bytes, pollable, descriptor(),
/// record_bytes_max(), send(record, n, rank, may_block), has_room(n), wait_for_room(patience,
/// until), failure(errno, why), too_large(), close(); and room_descriptor(), if descriptor() does
/// not tell of room. send blocks at most where it may; says_full: it refuses what finds no room,
/// so nobody need ask has_room before. An error of a lossy one concerns one message; any other ends
/// the sink.
template <class Queue>
class queue_sink {
    struct core;
    using record = typename Queue::record;

public:
    /// Belongs to its sink, also to one that is moved meanwhile.
    using loan = core_loan<core>;

    /// `place`: of this sender, as queue_places gave it; 0 without frames. A sender of datagrams,
    /// which nobody would know of otherwise, says hello.
    queue_sink(Queue q, decltype(record::sender) place, const message_type& type, uri address,
               queue_options options)
        : core_(std::make_unique<core>(std::move(q), place, type, std::move(address), options)) {
        core_->guard_against_fork();
        if constexpr (Queue::lossy) core_->say_hello();
    }
    queue_sink(queue_sink&&) noexcept = default;
    queue_sink& operator=(queue_sink&& other) noexcept {
        if (this != &other) {
            leave();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    /// Closes in good order. If the queue is full and a receiver is there, waits up to `linger` for
    /// room; else leaves without an end record. Call close(deadline) to decide yourself.
    ~queue_sink() { leave(); }
    static constexpr duration linger = std::chrono::seconds(1);

    [[gnu::always_inline]] result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (!c.idle || n > c.message_bytes_max || !c.queue.has_room(c.header + n)) [[unlikely]] {
            if (auto r = c.prepare(n); !r) return r.error();
        }
        c.idle = false;
        c.loaned = true;
        return loan(&c, mutable_bytes(c.at + c.header, n));
    }

    [[gnu::always_inline]] result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        l.settle();
        c.loaned = false;
        if (!c.open) [[unlikely]]
            return c.failed;
        c.pending_bytes = c.header + l.bytes().size();
        if (c.options.framed) [[likely]]
            c.write_header(record::kind::message);
        const int e = c.queue.send(c.at, c.pending_bytes, c.options.rank, false);
        if (e != 0) [[unlikely]]
            return c.not_sent(e);
        c.head.advance();
        c.idle = true;
        return {};
    }

    /// Puts a message into the queue, or nothing of it, without asking first whether there is room.
    [[gnu::always_inline]] result<void> send_from(bytes m,
                                                  time_point until) requires(Queue::says_full) {
        core& c = *core_;
        if (!c.idle || m.size() > c.message_bytes_max) [[unlikely]] {
            if (auto r = c.prepare(m.size()); !r) return r;
        }
        if (!m.empty()) std::memcpy(c.at + c.header, m.data(), m.size());
        c.pending_bytes = c.header + m.size();
        if (c.options.framed) [[likely]]
            c.write_header(record::kind::message);
        const int e = c.queue.send(c.at, c.pending_bytes, c.options.rank, until == never);
        if (e != 0) [[unlikely]]
            return c.not_taken(e, m.size());
        c.head.advance();
        return {};
    }
    static constexpr bool straight = Queue::says_full;  ///< also what is small: see send_from

    /// Pushes a message that found no room when it was committed.
    [[gnu::always_inline]] result<void> flush(time_point until) {
        core& c = *core_;
        if (c.idle) [[likely]]
            return {};
        return c.flush_rest(until);
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.failed) return c.failed;
        typename Queue::patience p;
        for (;;) {
            const auto r = c.make_room();
            if (r || r.error() != errc::would_block) return r;
            if (auto w = c.queue.wait_for_room(p, until); !w) return w;
        }
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if constexpr (!Queue::pollable) {
            return c.why.fail(errc::unsupported, c.address.text() + ": " + Queue::no_descriptor);
        } else if constexpr (requires { c.queue.room_descriptor(); }) {
            return c.queue.room_descriptor();
        } else {
            if (c.ready.made()) return c.ready.get();
            return c.ready.add(c.queue.descriptor(), EPOLLOUT);
        }
    }

    /// Errors: timed_out (there is no room for the end record, or for the last message: the end
    /// stays open, so call again, or destroy it and leave without).
    result<void> close(time_point until) {
        core& c = *core_;
        if (c.failed) {
            const error_code ec = c.failed;
            c.shut();
            return ec == errc::closed ? result<void>() : ec;
        }
        if (auto r = c.wait_until_pushed(until); !r) return r;
        if (c.options.framed) {
            record end = c.head;
            end.trailer = 0;
            end.what = record::kind::end;
            alignas(8) std::byte bytes[Queue::prefix_bytes + record::header_bytes];
            std::byte* const at = bytes + Queue::prefix_bytes;
            end.write(at);
            typename Queue::patience p;
            while (const int e =
                       c.queue.send(at, record::header_bytes, c.options.end_rank, false)) {
                if (e != EAGAIN && Queue::lossy) break;  // a lost one, as others may be
                if (e != EAGAIN) return c.fail(e);
                if (auto r = c.queue.wait_for_room(p, until); !r) return r;
            }
        }
        c.shut();
        return {};
    }

    [[nodiscard]] parley::limits limits() const noexcept {
        return core_->queue.limits(core_->options);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

protected:
    void set_rank(std::uint32_t rank) noexcept { core_->options.rank = rank; }
    [[nodiscard]] const Queue& queue() const noexcept { return core_->queue; }

private:
    struct core final : fork_sensitive {
        core(Queue q, decltype(record::sender) place, const message_type& t, uri a, queue_options o)
            : queue(std::move(q)),
              type(t),
              address(std::move(a)),
              options(o),
              header(o.framed ? record::header_bytes : 0),
              message_bytes_max(queue.message_bytes_max(o.framed)),
              memory(std::make_unique_for_overwrite<std::byte[]>(queue.record_bytes_max() + 128)) {
            // The payload is aligned to 64, with a header and the queue's own prefix before it.
            const auto payload =
                reinterpret_cast<std::uintptr_t>(memory.get()) + 63 + Queue::prefix_bytes + header;
            at = memory.get() + 63 + Queue::prefix_bytes - payload % 64;
            head.tag = type.fingerprint;
            head.sender = place;
        }
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        /// What stands in the way of a loan of n bytes: success if it could be removed.
        [[gnu::noinline]] result<void> prepare(std::size_t n) {
            if (failed) return failed;
            if (n > message_bytes_max) {
                return why.fail(errc::message_too_large,
                                "a message of " + std::to_string(n) + " bytes; " + address.text() +
                                    " takes at most " + std::to_string(message_bytes_max) + ": " +
                                    queue.too_large());
            }
            if (loaned) {
                return why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
            }
            wanted = header + n;
            return make_room();
        }
        /// Success, would_block, or the error that ends this sink.
        result<void> make_room() {
            if (auto r = push(); !r) return r;
            if (queue.has_room(wanted)) return {};
            return errc::would_block;
        }
        result<void> push() {
            if (!pending) return {};
            const int e = queue.send(at, pending_bytes, options.rank, false);
            if (e == EAGAIN) return errc::would_block;
            if (e != 0) return fail(e);
            pending = false;
            head.advance();
            return {};
        }
        /// The message that is committed found no room, which is no error, or is refused.
        [[gnu::noinline]] result<void> not_sent(int e) {
            if (e != EAGAIN) return fail(e);
            pending = true;
            return {};
        }
        /// The message of send_from found no room, or is refused.
        [[gnu::noinline]] result<void> not_taken(int e, std::size_t n) {
            if (head.trailer != 0) introduced = false;
            if (e != EAGAIN) return fail(e);
            wanted = header + n;
            return errc::would_block;
        }
        [[gnu::noinline]] result<void> flush_rest(time_point until) {
            if (failed) return failed;
            const auto r = wait_until_pushed(until);
            return !r && r.error() == errc::timed_out ? errc::would_block : r;
        }
        result<void> wait_until_pushed(time_point until) {
            typename Queue::patience p;
            for (;;) {
                const auto r = push();
                if (r || r.error() != errc::would_block) return r;
                if (auto w = queue.wait_for_room(p, until); !w) return w;
            }
        }
        void write_header(typename record::kind what) noexcept {
            head.what = what;
            head.trailer = introduced ? std::uint16_t{0} : introduce();
            head.write(at);
            pending_bytes += head.trailer;
        }
        /// Writes the type's description behind the first message that leaves room for it.
        [[gnu::noinline]] std::uint16_t introduce() noexcept {
            const auto text = as_bytes(type.description.substr(0, record::trailer_bytes_max));
            const std::size_t whole = pending_bytes + text.size();
            if (whole > queue.record_bytes_max() || !queue.has_room(whole)) return 0;
            std::copy(text.begin(), text.end(), at + pending_bytes);
            introduced = true;
            return static_cast<std::uint16_t>(text.size());
        }
        /// The hello may be lost, so the first message introduces its sender too.
        void say_hello() noexcept {
            if (!options.framed) return;
            pending_bytes = record::header_bytes;
            write_header(record::kind::hello);
            (void)queue.send(at, pending_bytes, options.rank, false);
            introduced = false;
        }
        error_code fail(int number) {
            const error_code ec = queue.failure(number, "sending to " + address.text(), why);
            if constexpr (Queue::lossy) {
                pending = false;
            } else {
                end_with(ec);
            }
            return ec;
        }
        void shut() noexcept {
            ready.reset();
            queue.close();
            pending = false;
            end_with(errc::closed);
        }
        void end_with(error_code ec) noexcept {
            failed = ec;
            open = idle = false;
        }

        Queue queue;
        message_type type;
        uri address;
        queue_options options;
        diagnostics why;
        readiness ready;
        std::size_t header, message_bytes_max;
        std::unique_ptr<std::byte[]> memory;
        std::byte* at = nullptr;  // where a record begins
        record head;
        std::size_t wanted = 0;  // by the last loan
        std::size_t pending_bytes = 0;
        error_code failed;
        bool open = true;      // not failed
        bool idle = true;      // open, nothing on loan, nothing pending: ready for a loan
        bool pending = false;  // committed, not in the queue
        bool loaned = false;
        bool introduced = false;
    };

    void leave() noexcept {
        if (!core_ || core_->failed) return;
        if (close(expired)) return;
        if (core_->pending || core_->queue.awaited()) {
            (void)close(clock::now() + linger);
        }
    }

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
