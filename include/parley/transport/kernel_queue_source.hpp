// SPDX-License-Identifier: MIT
// The source over a message queue of the kernel, or over a socket of datagrams.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/transport/kernel_queue.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/transport.hpp>

#include <algorithm>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// `Queue` has what the sink asks for, and: receive(record, n, rank, may_block),
/// wait_for_message(patience, until), has_message(); and has_more(), if it reads ahead.
template <class Queue>
class queue_source {
public:
    using view = buffered_view;

    queue_source(Queue q, const message_type& type, uri address, queue_options options)
        : core_(std::make_unique<core>(std::move(q), type, std::move(address), options)) {
        core_->guard_against_fork();
    }

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.has_message && c.plain && !c.borrowed) [[likely]] {
            c.has_message = false;
            c.rank = c.next_rank;
            return view(&c.borrowed, c.message);
        }
        return try_receive_slowly();
    }

    [[gnu::always_inline]] result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.plain || c.borrowed) [[unlikely]]
            return wait_slowly(until, false);
        if (c.has_message) return {};
        c.take(until == never);
        if (c.has_message) [[likely]]
            return {};
        return wait_slowly(until, true);
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if constexpr (!Queue::pollable) {
            return c.why.fail(errc::unsupported, c.address.text() + ": " + Queue::no_descriptor);
        } else {
            c.shown = true;
            c.plain = false;
            if (!c.ready.made()) {
                auto fd = c.ready.add(c.queue.descriptor(), EPOLLIN);
                if (!fd) return fd;
            }
            c.show_more();
            return c.ready.get();
        }
    }
    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// How many messages were refused so far: of another type, or none of parley's.
    [[nodiscard]] std::uint64_t refused() const noexcept { return core_->refused; }
    /// How many messages never came; 0 where none can be lost.
    [[nodiscard]] std::uint64_t lost() const noexcept { return core_->queue.lost(); }
    /// The kernel does not tell; always 0.
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return 0; }
    [[nodiscard]] parley::limits limits() const noexcept {
        return core_->queue.limits(core_->options);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

protected:
    [[nodiscard]] std::uint32_t rank() const noexcept { return core_->rank; }
    [[nodiscard]] const Queue& queue() const noexcept { return core_->queue; }

private:
    using record = typename Queue::record;

    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        if (!c.find(false, false)) {
            c.ready.lower();
            return errc::would_block;
        }
        if (c.verdict) {
            const error_code ec = std::exchange(c.verdict, error_code());
            c.show_more();
            return ec;
        }
        c.has_message = false;
        c.rank = c.next_rank;
        c.show_more();
        return view(&c.borrowed, c.message);
    }
    /// `taken`: the queue was just asked.
    [[gnu::noinline]] result<void> wait_slowly(time_point until, bool taken) {
        core& c = *core_;
        typename Queue::patience p;
        while (!c.failed && !(c.borrowed ? c.queue.has_message() : c.find(until == never, taken))) {
            if (!c.borrowed) c.ready.lower();
            if (auto r = c.queue.wait_for_message(p, until); !r) return r;
            taken = false;
        }
        c.show_more();
        return {};
    }

    struct core final : fork_sensitive {
        core(Queue q, const message_type& t, uri a, queue_options o)
            : queue(std::move(q)),
              type(t),
              address(std::move(a)),
              options(o),
              message_bytes_max(queue.message_bytes_max(o.framed)),
              memory(std::make_unique_for_overwrite<std::byte[]>(queue.record_bytes_max() + 128)) {
            const auto payload = reinterpret_cast<std::uintptr_t>(memory.get()) + 63 +
                                 Queue::prefix_bytes + (options.framed ? record::header_bytes : 0);
            at = memory.get() + 63 + Queue::prefix_bytes - payload % 64;
        }
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        /// True if there is something to say. `taken`: the queue was just asked.
        bool find(bool may_block, bool taken) {
            for (; !has_message && !verdict; taken = false) {
                if (!taken) take(may_block && !end_due);
                if (got >= 0) continue;
                if (const int number = errno; number != EAGAIN) {
                    verdict = queue.failure(number, "receiving from " + address.text(), why);
                    if (number != EMSGSIZE) failed = verdict;  // else: of one message only
                } else if (!std::exchange(end_due, false) || queue.has_sender()) {
                    plain = !shown;
                    return false;
                } else {
                    verdict = errc::closed;
                }
            }
            plain = !shown && !verdict && !end_due;
            return true;
        }
        /// Asks the queue once.
        [[gnu::always_inline]] void take(bool may_block) {
            got = queue.receive(at, queue.record_bytes_max(), next_rank, may_block);
            if (got >= 0) [[likely]]
                judge(static_cast<std::size_t>(got));
        }

        [[gnu::always_inline]] void judge(std::size_t n) {
            record head;
            if (options.framed && n <= queue.record_bytes_max() && head.read(bytes(at, n)) &&
                head.what == record::kind::message && accepts(type, head.tag)) [[likely]] {
                const std::size_t length = n - record::header_bytes - head.trailer;
                if (length <= message_bytes_max) [[likely]] {
                    if (queue.admit(head)) deliver(bytes(at + record::header_bytes, length));
                    return;
                }
            }
            judge_rarities(n);
        }
        [[gnu::noinline]] void judge_rarities(std::size_t n) {
            const bytes packet(at, std::min(n, queue.record_bytes_max()));
            record head;
            if (n > packet.size() || (options.framed && !head.read(packet))) {
                return refuse(errc::corrupt,
                              "a message of " + std::to_string(n) +
                                  " bytes that no end of parley wrote (?frame=none receives those "
                                  "of other programs)");
            }
            if (!options.framed) return deliver(packet);
            const bytes rest = packet.subspan(record::header_bytes);
            const bytes payload = rest.first(rest.size() - head.trailer);
            const bool wanted = accepts(type, head.tag);
            if (head.what == record::kind::end && (wanted || !Queue::lossy)) {
                // Among many receivers only one would hear it.
                if (Queue::lossy || !options.shared) end_due |= queue.heard_end(head);
                plain = false;
            } else if (!wanted) {
                const auto described = as_text(rest.subspan(payload.size()));
                refuse(errc::incompatible,
                       type_mismatch(type.description,
                                     described.empty()
                                         ? "another type, tag " + std::to_string(head.tag)
                                         : std::string(described)));
            } else if (payload.size() > message_bytes_max) {
                refuse(errc::corrupt, "a message of " + std::to_string(payload.size()) +
                                          " bytes; at most " + std::to_string(message_bytes_max) +
                                          " are taken here, see message_bytes_max");
            } else {
                (void)queue.admit(head);  // a hello
            }
        }
        void deliver(bytes payload) noexcept {
            message = payload;
            has_message = true;
        }
        void refuse(errc e, std::string words) {
            ++refused;
            if (!queue.tells(e)) return;
            verdict = why.fail(e, "refused at " + address.text() + ": " + std::move(words));
            plain = false;
        }
        void show_more() {
            bool more = has_message || verdict || end_due;
            if constexpr (requires { queue.has_more(); }) more |= queue.has_more();
            if (shown && more) (void)ready.raise();
        }
        void shut() noexcept {
            ready.reset();
            queue.close();
            failed = errc::closed;
            has_message = plain = false;
        }

        Queue queue;
        message_type type;
        uri address;
        queue_options options;
        std::size_t message_bytes_max;
        diagnostics why;
        readiness ready;
        std::unique_ptr<std::byte[]> memory;
        std::byte* at = nullptr;  // where a record begins
        bytes message;
        error_code verdict, failed;
        std::uint64_t refused = 0;
        ssize_t got = 0;  // by the last call of the queue
        std::uint32_t rank = 0, next_rank = 0;
        bool has_message = false;
        bool plain = true;  // nothing to say but messages, nobody polls
        bool borrowed = false;
        bool shown = false;
        bool end_due = false;  // said when the queue is empty and no other sender is there
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
