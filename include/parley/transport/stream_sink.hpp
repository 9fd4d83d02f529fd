// SPDX-License-Identifier: MIT
// The sink over any descriptor that takes bytes or packets: pipes and sockets share it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/stream_io.hpp>
#include <parley/transport/stream_options.hpp>
#include <parley/transport/transport.hpp>

#include <algorithm>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// A sink that writes frames through `Io`: descriptor(), write(bytes, may_block), where it can the
/// same of two parts, awaits(), verdict(...), close(). One loan at a time; the loan is the send
/// buffer itself, right behind the frame header.
template <class Io>
class stream_sink {
    struct core;

public:
    /// Belongs to its sink, also to one that is moved meanwhile.
    using loan = core_loan<core>;

    /// Takes over an open `io` and says hello on it.
    stream_sink(Io io, const message_type& type, uri address, stream_options options)
        : core_(std::make_unique<core>(std::move(io), std::move(address), std::move(options))) {
        if (core_->options.used_at_once) core_->use();
        if (core_->options.frames == framing::parley) core_->say_hello(type);
        (void)flush(expired);
    }
    stream_sink(stream_sink&&) noexcept = default;
    stream_sink& operator=(stream_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(clock::now() + linger);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    /// Closes in good order; committed bytes that the other side does not take within `linger` are
    /// given up. Call close(deadline) to decide yourself.
    ~stream_sink() {
        if (core_) (void)close(clock::now() + linger);
    }
    static constexpr duration linger = std::chrono::seconds(1);

    [[gnu::always_inline]] result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (!c.idle || n > c.options.message_bytes_max || c.prefix + n > c.capacity) [[unlikely]] {
            if (auto r = prepare(n, n); !r) return r.error();
        }
        c.idle = false;
        c.loaned = true;
        return loan(&c, mutable_bytes(c.memory + c.prefix, n));
    }

    [[gnu::always_inline]] result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        if (c.options.frames == framing::parley) [[likely]] {
            c.write_header(l.bytes().size());
        } else if (l.bytes().empty()) {
            return nothing();
        }
        c.begin = 0;
        c.end = c.prefix + l.bytes().size();
        c.loaned = false;
        l.settle();
        return {};
    }

    /// For every length: a small message is copied behind its header without a loan in between.
    static constexpr bool straight = true;
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point until) {
        core& c = *core_;
        if constexpr (writes_two_parts<Io>) {
            if (m.size() > copied_bytes_max) return gather(m, until);
        }
        const std::size_t n = m.size(), whole = c.prefix + n;
        if (!c.idle || n > c.options.message_bytes_max || whole > c.capacity) [[unlikely]] {
            if (auto r = prepare(n, n); !r) return r;
        }
        if (whole == 0) return nothing();
        c.write_header(n);
        std::copy(m.begin(), m.end(), c.memory + c.prefix);
        const auto written = c.io.write(c.memory, whole, until == never);
        if (written == static_cast<ssize_t>(whole)) [[likely]] {
            c.watch();
            return {};
        }
        return keep_rest(whole, written, until);
    }

    /// A message from where it lies, its header beside it in the same call: what the kernel takes
    /// is not copied here. What it does not take at once is, and is flushed like any other.
    result<void> gather(bytes m, time_point until) requires writes_two_parts<Io> {
        core& c = *core_;
        PARLEY_ASSERT(!m.empty());
        if (!c.idle || m.size() > c.options.message_bytes_max || c.prefix > c.capacity) {
            if (auto r = prepare(m.size(), 0); !r) return r;
        }
        c.write_header(m.size());
        const auto n = c.io.write(c.memory, c.prefix, m.data(), m.size(), until == never);
        if (n == static_cast<ssize_t>(c.prefix + m.size())) [[likely]] {
            c.idle = c.used;
            return {};
        }
        c.keep(m);
        auto r = c.flush_rest(n, until);
        return !r && r.error() == errc::would_block ? result<void>() : r;
    }

    [[gnu::always_inline]] result<void> flush(time_point until) {
        core& c = *core_;
        const std::size_t left = c.end - c.begin;
        if (left > 0 && c.open) [[likely]] {
            const auto n = c.io.write(c.memory + c.begin, left, until == never);
            if (n == static_cast<ssize_t>(left)) [[likely]] {
                c.begin = c.end;
                c.idle = c.used;
                c.watch();
                return {};
            }
            return c.flush_rest(n, until);
        }
        return c.failed ? result<void>(c.failed) : result<void>();
    }

    result<void> wait(time_point until) {
        const auto r = flush(until);
        return !r && r.error() == errc::would_block ? errc::timed_out : r;
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.use();
        if (c.ready.made()) return c.ready.get();
        c.watched = c.awaited();
        return c.ready.add(c.io.descriptor(), static_cast<std::uint32_t>(c.watched));
    }

    /// Errors: timed_out (the rest was not taken in time: the end stays open, so call again, or
    /// destroy it and lose the rest), peer_lost.
    result<void> close(time_point until) {
        core& c = *core_;
        if (c.failed) {
            const error_code ec = c.failed;
            c.shut();
            return ec == errc::closed ? result<void>() : ec;
        }
        if (c.speaks_for_the_channel()) {
            if (auto r = wait(until); !r) return r.error();
            // Once: a close that timed out behind the end record is called again.
            if (c.options.frames == framing::parley && !std::exchange(c.ended, true)) {
                std::byte* at = c.reserve(c.prefix) + c.prefix;
                frame::write_header(at - frame::header_bytes, frame::kind::end, 0);
                c.begin = 0;
                c.end = c.prefix;
                if (auto r = wait(until); !r) return r.error();
            }
        }
        c.shut();
        return {};
    }

    /// Lets the descriptor survive exec; the program that inherits it opens the address that is
    /// returned. Close this end then: it says no goodbye, the other program does.
    /// Errors: unsupported (it has a name: open that), would_block (something is still to be
    /// written here), closed.
    [[nodiscard]] result<uri> hand_over() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (auto r = names_descriptor(c.address, c.why); !r) return r.error();
        if (auto r = flush(expired); !r) return r.error();
        if (auto r = c.io.hand_over(); !r) return r.error();
        c.used = c.idle = false;
        return c.address;
    }

    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->options.message_bytes_max,
                .writers_max = core_->options.writers_max};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }
    [[nodiscard]] Io& io() noexcept { return core_->io; }

private:
    struct core final : fork_sensitive {
        core(Io i, uri a, stream_options o)
            : io(std::move(i)),
              address(std::move(a)),
              options(std::move(o)),
              prefix(options.frames == framing::none ? 0
                                                     : options.tag.size() + frame::header_bytes),
              forks_at_open(forks()) {}
        ~core() override { unguard(); }

        void in_forked_child() noexcept override {
            if (!io.handed_over()) shut();
        }

        void use() noexcept {
            if (used) return;
            used = true;
            guard_against_fork();
        }
        /// An end that was only made here, before a fork or for another program, ends in silence:
        /// the process that uses it says goodbye.
        [[nodiscard]] bool speaks_for_the_channel() const noexcept {
            return used || (!io.handed_over() && forks() == forks_at_open);
        }
        void say_hello(const message_type& type) {
            std::byte* at = reserve(options.tag.size() + frame::hello_bytes_max);
            end = options.tag.size() + frame::write_hello(at + options.tag.size(), type, fresh_id(),
                                                          static_cast<std::uint32_t>(::getpid()));
            own_type = type;
        }
        std::byte* reserve(std::size_t n) {
            if (n > capacity) {
                const std::size_t wanted =
                    std::max<std::size_t>(n, std::max<std::size_t>(capacity * 2, 4096));
                constexpr std::size_t front = bytes_in_front<Io>();
                auto bigger = std::make_unique_for_overwrite<std::byte[]>(front + wanted + 128);
                // The first payload byte, at `prefix`, is aligned to 64.
                std::byte* base = bigger.get() + front + prefix;
                base += (64 - reinterpret_cast<std::uintptr_t>(base) % 64) % 64;
                owner = std::move(bigger);
                memory = base - prefix;
                capacity = wanted;
                std::copy(options.tag.begin(), options.tag.end(), reinterpret_cast<char*>(memory));
            }
            return memory;
        }
        [[gnu::always_inline]] void write_header(std::size_t length) noexcept {
            if (options.frames == framing::none) return;
            frame::write_header(memory + prefix - frame::header_bytes, frame::kind::message,
                                length);
        }
        /// Makes a message the next to be written; errno stays.
        void keep(bytes m) {
            const int number = errno;
            std::byte* at = reserve(prefix + m.size());
            write_header(m.size());
            std::copy(m.begin(), m.end(), at + prefix);
            begin = 0;
            end = prefix + m.size();
            idle = false;
            errno = number;
        }
        /// Goes on after a first write that took less than all, or failed with errno.
        [[gnu::noinline]] result<void> flush_rest(ssize_t n, time_point until) {
            for (;;) {
                if (n >= 0) {
                    begin += static_cast<std::size_t>(n);
                    if (begin == end) break;
                } else if (errno == EAGAIN) {
                    watch();
                    if (until == expired) return errc::would_block;
                    const auto r = wait_for(io.descriptor(), awaited(), until);
                    if (!r && r.error() == errc::timed_out) return errc::would_block;
                    if (!r) return fail(r.error());
                } else if (errno != EINTR) {
                    return write_failed(errno);
                }
                n = io.write(memory + begin, end - begin, until == never);
            }
            idle = used;
            watch();
            return {};
        }
        /// What poll, and epoll by the same numbers, are to wait for.
        [[nodiscard]] short awaited() const noexcept { return awaited_event(io); }
        [[gnu::always_inline]] void watch() noexcept {
            if constexpr (awaits_events<Io>) {
                if (watched == io.awaits()) return;
                watched = io.awaits();
                ready.watch(io.descriptor(), watched);
            }
        }
        error_code fail(error_code ec) noexcept {
            failed = ec;
            open = idle = false;
            return ec;
        }
        error_code write_failed(int number) {
            const error_code ec = from_errno(number);
            if (ec == errc::message_too_large) {
                begin = end;  // refused whole, so the channel goes on
                idle = used;
                return why.fail(ec, explain("the kernel refuses a packet of this length", number));
            }
            if (ec != errc::peer_lost && ec != errc::not_found) {
                return fail(why.fail(ec, explain("writing to " + address.text(), number)));
            }
            return fail(io.verdict(own_type, why));
        }
        void shut() noexcept {
            ready.reset();
            io.close();
            begin = end;
            fail(errc::closed);
        }

        Io io;
        uri address;
        stream_options options;
        std::size_t prefix;
        std::uint64_t forks_at_open;
        message_type own_type;
        diagnostics why;
        std::unique_ptr<std::byte[]> owner;
        std::byte* memory = nullptr;
        std::size_t capacity = 0;
        std::size_t begin = 0, end = 0;  // committed, not yet written
        readiness ready;
        short watched = event_of_room<Io>();  // what `ready` is to wait for
        error_code failed;
        bool open = true;  // not closed, not failed
        bool loaned = false;
        bool idle = false;  // in use, nothing on loan, nothing to write: ready for a loan
        bool used = false;
        bool ended = false;  // the end record is committed: nothing may follow it
    };

    static constexpr std::size_t copied_bytes_max = 4095;  // more is worth a costlier call

    [[gnu::noinline, gnu::cold]] error_code nothing() {
        return core_->why.fail(errc::invalid_argument,
                               "an empty message is nothing without a frame (frame=none)");
    }
    /// The first write of a committed message took less than all, or failed with errno.
    [[gnu::noinline]] result<void> keep_rest(std::size_t whole, ssize_t written, time_point until) {
        core& c = *core_;
        c.begin = 0;
        c.end = whole;
        c.idle = false;
        auto r = c.flush_rest(written, until);
        return !r && r.error() == errc::would_block ? result<void>() : r;
    }

    /// What stands in the way of a loan of n bytes: success if it could be removed.
    /// `held`: how much of it is to lie in the send buffer.
    [[gnu::noinline]] result<void> prepare(std::size_t n, std::size_t held) {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (n > c.options.message_bytes_max) {
            return c.why.fail(errc::message_too_large,
                              "a message of " + std::to_string(n) + " bytes; " + c.address.text() +
                                  " takes at most " + std::to_string(c.options.message_bytes_max));
        }
        if (c.loaned) {
            return c.why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
        }
        c.use();
        if (c.begin < c.end) {
            if (c.ended) return errc::closed;
            if (auto r = flush(expired); !r) return r;
        }
        c.reserve(c.prefix + held);
        c.idle = true;
        return {};
    }

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
