// SPDX-License-Identifier: MIT
// The source over a message queue of the kernel.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/transport/kernel_queue.hpp>
#include <parley/transport/stream_source.hpp>
#include <parley/transport/transport.hpp>

#include <memory>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// `Queue` has what the sink asks for, and: receive(record, n, rank), wait_for_message(patience,
/// until), has_message(); and has_more(), if it reads ahead.
template <class Queue>
class queue_source {
public:
    using view = buffered_view;

    queue_source(Queue q, const message_type& type, uri address, queue_options options)
        : core_(std::make_unique<core>(std::move(q), type, std::move(address), options)) {
        core_->guard_against_fork();
    }

    result<view> try_receive() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        if (!c.find()) {
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

    result<void> wait(time_point until) {
        core& c = *core_;
        typename Queue::patience p;
        while (!c.failed && !(c.borrowed ? c.queue.has_message() : c.find())) {
            if (!c.borrowed) c.ready.lower();
            if (auto r = c.queue.wait_for_message(p, until); !r) return r;
        }
        c.show_more();
        return {};
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if constexpr (!Queue::pollable) {
            return c.why.fail(errc::unsupported, c.address.text() + ": " + Queue::no_descriptor);
        } else {
            c.shown = true;
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
    /// The kernel does not tell; always 0.
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return 0; }
    [[nodiscard]] parley::limits limits() const noexcept {
        const core& c = *core_;
        return queue_limits(c.queue.record_bytes_max(), c.options.framed, c.options.shared,
                            Queue::pollable);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

protected:
    [[nodiscard]] std::uint32_t rank() const noexcept { return core_->rank; }

private:
    struct core final : fork_sensitive {
        core(Queue q, const message_type& t, uri a, queue_options o)
            : queue(std::move(q)),
              type(t),
              address(std::move(a)),
              options(o),
              memory(std::make_unique_for_overwrite<std::byte[]>(queue.record_bytes_max() + 128)) {
            const auto payload = reinterpret_cast<std::uintptr_t>(memory.get()) + 63 +
                                 Queue::prefix_bytes + header();
            record = memory.get() + 63 + Queue::prefix_bytes - payload % 64;
        }
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        [[nodiscard]] std::size_t header() const noexcept {
            return options.framed ? queue_record::header_bytes : 0;
        }

        /// True if there is something to say.
        bool find() {
            while (!has_message && !verdict) {
                const auto n = queue.receive(record, queue.record_bytes_max(), next_rank);
                if (n >= 0) {
                    judge(bytes(record, static_cast<std::size_t>(n)));
                } else if (const int number = errno; number != EAGAIN) {
                    verdict = queue.failure(number, "receiving from " + address.text(), why);
                    if (number != EMSGSIZE) failed = verdict;  // else: of one message only
                } else if (!std::exchange(end_due, false) ||
                           queue_places::has_sender(queue.places(), ended)) {
                    return false;
                } else {
                    verdict = errc::closed;
                }
            }
            return true;
        }

        void judge(bytes packet) {
            if (!options.framed) return deliver(packet);
            queue_record head;
            if (!head.read(packet)) {
                return refuse(errc::corrupt, "a message of " + std::to_string(packet.size()) +
                                                 " bytes that no end of parley wrote (?frame=none "
                                                 "receives those of other programs)");
            }
            const bytes rest = packet.subspan(queue_record::header_bytes);
            const std::size_t n = rest.size() - head.trailer;
            if (head.what == queue_record::kind::end) {
                if (options.shared) return;  // one of many would hear it
                ended.push_back(head.sender);
                end_due = true;
                // Most of many have left by now.
                if (ended.size() % 64 == 0) (void)queue_places::has_sender(queue.places(), ended);
            } else if (!accepts(type, head.tag)) {
                const auto described = as_text(rest.subspan(n));
                refuse(errc::incompatible,
                       type_mismatch(type.description,
                                     described.empty()
                                         ? "another type, tag " + std::to_string(head.tag)
                                         : std::string(described)));
            } else {
                deliver(rest.first(n));
            }
        }
        void deliver(bytes payload) noexcept {
            message = payload;
            has_message = true;
        }
        void refuse(errc e, std::string words) {
            ++refused;
            verdict = why.fail(e, "refused at " + address.text() + ": " + std::move(words));
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
        }

        Queue queue;
        message_type type;
        uri address;
        queue_options options;
        diagnostics why;
        readiness ready;
        std::unique_ptr<std::byte[]> memory;
        std::byte* record = nullptr;
        bytes message;
        std::vector<std::uint32_t> ended;  // senders whose end record came and whose mark remains
        error_code verdict, failed;
        std::uint64_t refused = 0;
        std::uint32_t rank = 0, next_rank = 0;
        bool has_message = false;
        bool borrowed = false;
        bool shown = false;
        bool end_due = false;  // said when the queue is empty and no other sender is there
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
