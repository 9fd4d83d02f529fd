// SPDX-License-Identifier: MIT
// The source over one descriptor with one sender at its other end. Addresses with many senders
// have a hub instead.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/frame_reader.hpp>
#include <parley/transport/gathering.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/transport.hpp>

#include <algorithm>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// When a read may sleep in the kernel.
enum class reading : std::uint8_t {
    at_once,     ///< never
    after_poll,  ///< poll just said that there is something
    blocking,    ///< as long as it takes: one system call for a wait and a read
};

/// A message in the receive buffer of its source; one at a time.
class buffered_view {
public:
    buffered_view(bool* borrowed, parley::bytes b) noexcept : borrowed_(borrowed), bytes_(b) {
        *borrowed_ = true;
    }
    buffered_view(buffered_view&& other) noexcept
        : borrowed_(std::exchange(other.borrowed_, nullptr)), bytes_(other.bytes_) {}
    buffered_view& operator=(buffered_view&& other) noexcept {
        let_go();
        borrowed_ = std::exchange(other.borrowed_, nullptr);
        bytes_ = other.bytes_;
        return *this;
    }
    ~buffered_view() { let_go(); }

    [[nodiscard]] parley::bytes bytes() const noexcept { return bytes_; }

private:
    void let_go() noexcept {
        if (borrowed_ != nullptr) *borrowed_ = false;
        borrowed_ = nullptr;
    }

    bool* borrowed_;
    parley::bytes bytes_;
};

template <class Io>
concept reads_parts = requires(Io io, iovec* parts, reading how) {
    { io.read(parts, 2, how) } -> std::same_as<ssize_t>;
};

/// A source that reads frames through `Io`: descriptor(), read(to, n, reading), where it
/// can the same into several parts, refuse(...), close().
template <class Io>
class stream_source {
public:
    using view = buffered_view;

    stream_source(Io io, const message_type& type, uri address, stream_options options)
        : core_(std::make_unique<core>(std::move(io), type, std::move(address), options)) {
        if (options.used_at_once) core_->use();
    }

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (!c.borrowed && !c.failed_before && !c.ready.made()) [[likely]] {
            const bytes m = c.reader.next_message();
            if (m.data() != nullptr) [[likely]]
                return view(&c.borrowed, m);
        }
        return try_receive_slowly();
    }

    /// The next message straight into `into`, if it is as long. not_placed: something else comes
    /// first, and wait and try_receive tell it; what `into` holds then, and on an error, is nothing
    /// to go by. timed_out: no whole message came.
    result<placement> receive_into(mutable_bytes into, time_point until) requires reads_parts<Io> {
        core& c = *core_;
        if (!c.plain || c.failed_before || c.at_eof || c.borrowed || c.ready.made() ||
            !c.reader.at_rest()) {
            return placement::not_placed;
        }
        return c.read_into(into, until);
    }

    [[gnu::always_inline]] result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.borrowed && c.reader.ready()) [[likely]]
            return {};
        if (until == never && c.read_a_message()) [[likely]]
            return {};
        return wait_slowly(until);
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed == errc::closed) return c.failed;
        c.use();
        if (c.ready.made()) return c.ready.get();
        auto fd = c.ready.add(c.io.descriptor(), EPOLLIN);
        if (fd && (c.has_more() || c.at_eof)) {
            if (auto r = c.ready.raise(); !r) return r.error();
        }
        return fd;
    }

    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// As stream_sink::hand_over. in_use: something was read here, which the other program would
    /// miss.
    [[nodiscard]] result<uri> hand_over() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (auto r = names_descriptor(c.address, c.why); !r) return r.error();
        if (c.reader.greeted() || !c.reader.empty() || !c.raw.empty()) {
            return c.why.fail(errc::in_use, "this end was read from; hand it over before");
        }
        if (auto r = c.io.hand_over(); !r) return r.error();
        c.handed_over = true;
        return c.address;
    }

    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    [[nodiscard]] peer_type sender_type() const { return core_->reader.told(); }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->options.message_bytes_max};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }
    [[nodiscard]] Io& io() noexcept { return core_->io; }

private:
    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        for (;;) {
            if (c.failed) return c.failed;
            if (auto m = c.next(); m || m.error() != errc::would_block) {
                if (!m) return c.refuse(m.error());
                if (c.ready.made() && c.has_more()) (void)c.ready.raise();
                return view(&c.borrowed, *m);
            }
            if (c.at_eof) return c.end_of_stream();
            if (auto r = c.fill(expired); !r) {
                if (r.error() != errc::timed_out) return c.fail(r.error());
                c.ready.lower();
                return errc::would_block;
            }
        }
    }

    [[gnu::noinline]] result<void> wait_slowly(time_point until) {
        core& c = *core_;
        c.use();
        if (c.borrowed) return wait_for(c.io.descriptor(), POLLIN, until);
        while (!c.failed && !c.at_eof && !c.has_more()) {
            if (auto r = c.fill(until); !r) return r.error();
        }
        return c.ready.raise();  // what was read ahead, the kernel shows no longer
    }

    struct core final : fork_sensitive {
        core(Io i, const message_type& t, uri a, stream_options o)
            : io(std::move(i)),
              type(t),
              address(std::move(a)),
              options(std::move(o)),
              reader(t, options.message_bytes_max) {
            (void)forks();
        }
        ~core() override { unguard(); }

        void in_forked_child() noexcept override {
            if (!handed_over) shut();
        }
        void use() noexcept {
            if (used) return;
            used = true;
            guard_against_fork();
            plain = options.frames == framing::parley;
        }

        /// The usual case of a wait: as long as it takes, until a message is whole. False if there
        /// is something else to see to.
        [[gnu::noinline]] bool read_a_message() {
            while (plain && !failed_before && !borrowed && !ready.made()) {
                rush.pause();
                const auto to = reader.room(io.packet_bytes_max());
                const auto n = io.read(to.data(), rush.most(to.size()), reading::blocking);
                if (n <= 0) return false;
                reader.filled(static_cast<std::size_t>(n));
                const bool speaks = reader.ready();
                rush.found(static_cast<std::size_t>(n), reader.whole_bytes());
                if (speaks) return true;
            }
            return false;
        }

        result<placement> read_into(mutable_bytes into, time_point until) {
            std::byte header[frame::header_bytes];
            const std::size_t whole = sizeof header + into.size(), packet = io.packet_bytes_max();
            std::size_t got = 0;
            error_code stopped;
            while (!stopped && !at_eof) {
                const auto how = may_read(until);
                if (!how) {
                    stopped = how.error();
                    break;
                }
                // The kernel looks at the address of an empty part too.
                const std::size_t head = std::min(got, sizeof header), body = got - head;
                iovec parts[] = {part(header + head, sizeof header - head),
                                 part(into.data() + body, into.size() - body),
                                 // A packet may be longer than hoped for.
                                 packet == 0 ? part(nullptr, 0)
                                             : part(reader.room(whole + packet).data(), packet)};
                const auto n = io.read(parts, packet == 0 ? 2 : 3, *how);
                if (n <= 0) {
                    stopped = read_failed(n, *how);
                    continue;
                }
                got += static_cast<std::size_t>(n);
                if (got >= sizeof header && !reader.announces(header, into.size())) break;
                if (got == whole) return placement::placed;
                if (packet != 0) break;
            }
            hand_to_reader(header, into, got);
            if (stopped) return stopped;
            return placement::not_placed;
        }
        /// Bytes that were read elsewhere become the next of the reader's.
        void hand_to_reader(const std::byte* header, bytes body, std::size_t got) {
            if (got == 0) return;
            const std::size_t whole = frame::header_bytes + body.size();
            const auto to = reader.room(std::max(got, whole + io.packet_bytes_max())).data();
            if (got > whole) std::memmove(to + whole, to, got - whole);
            std::memcpy(to, header, std::min(got, frame::header_bytes));
            if (got > frame::header_bytes) {
                std::memcpy(to + frame::header_bytes, body.data(),
                            std::min(got - frame::header_bytes, body.size()));
            }
            reader.filled(got);
        }

        result<bytes> next() {
            if (options.frames == framing::parley) return reader.next(why);
            if (raw.empty()) return errc::would_block;
            const bytes all = raw.pending();
            raw.consume(all.size());
            return all;
        }
        [[nodiscard]] bool has_more() const noexcept {
            return options.frames == framing::parley ? reader.ready() : !raw.empty();
        }

        /// How to read now; waits until the deadline. timed_out: nothing came.
        result<reading> may_read(time_point until) {
            if (until == never) return reading::blocking;
            if (until == expired) return reading::at_once;
            if (auto r = wait_for(io.descriptor(), POLLIN, until); !r) return r.error();
            return reading::after_poll;
        }
        /// What a read of n <= 0 bytes means: nothing if it is to be tried again, or at_eof.
        error_code read_failed(ssize_t n, reading how) {
            if (n == 0 || errno == ECONNRESET) {
                at_eof = true;
                return {};
            }
            if (errno == EAGAIN && how != reading::blocking) return errc::timed_out;
            if (errno == EINTR || errno == EAGAIN) return {};
            return why.fail(last_error(), explain("reading " + address.text(), errno));
        }

        /// Reads once. timed_out: nothing came.
        result<void> fill(time_point until) {
            use();
            const auto how = may_read(until);
            if (!how) return how.error();
            const bool framed = options.frames == framing::parley;
            const auto to = framed ? reader.room(io.packet_bytes_max())
                                   : raw.room(std::max<std::size_t>(io.packet_bytes_max(), 4096));
            for (;;) {
                const auto n = io.read(to.data(), to.size(), *how);
                if (n > 0) {
                    const auto got = static_cast<std::size_t>(n);
                    framed ? reader.filled(got) : raw.filled(got);
                    return {};
                }
                if (const error_code ec = read_failed(n, *how); ec || at_eof) {
                    return ec ? result<void>(ec) : result<void>();
                }
            }
        }

        error_code end_of_stream() {
            const errc e = options.frames == framing::none ? errc::closed : reader.at_end();
            if (e == errc::peer_lost) {
                peers.died(reader.pid());
                return fail(why.fail(e, "the sender on " + address.text() +
                                            " died: its end went away without a goodbye" +
                                            (reader.empty() ? "" : ", in mid-message")));
            }
            return fail(e);
        }
        /// Tells a sender of another type why, then hangs up.
        error_code refuse(error_code ec) {
            io.refuse(type);
            ready.reset();
            io.close();
            return fail(ec);
        }
        error_code fail(error_code ec) noexcept {
            failed = ec;
            failed_before = true;
            return ec;
        }
        void shut() noexcept {
            ready.reset();
            io.close();
            fail(errc::closed);
        }

        Io io;
        message_type type;
        uri address;
        stream_options options;
        frame_reader reader;
        gathering rush;
        inbound_buffer raw;
        diagnostics why;
        readiness ready;
        error_code failed;
        peer_watch peers;
        bool failed_before = false;
        bool at_eof = false;
        bool borrowed = false;
        bool used = false;
        bool handed_over = false;
        bool plain = false;  // in use, with frames
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
