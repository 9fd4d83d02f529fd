// SPDX-License-Identifier: MIT
// One connection of a hub, the queue of those that are ready, and how much may be read before the
// kernel is asked again who else is.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/transport/frame.hpp>
#include <parley/transport/frame_reader.hpp>
#include <parley/transport/stream_sink.hpp>

#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// Answers a sender that is refused with the receiver's hello, if there is room for it.
inline void answer_with_hello(int fd, const message_type& own,
                              frame::answer what = frame::answer::none) noexcept {
    std::byte hello[frame::hello_bytes_max];
    const auto n = frame::write_hello(hello, own, 0, static_cast<std::uint32_t>(::getpid()), what);
    (void)!::send(fd, hello, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/// The socket of a connection whose bytes are as they come. A `Door` lets in such, or others that
/// have the same: get(), reset(), receive(), has_pending(), that bytes lie here which poll does not
/// see, answer(), and failure(), why a connection that ended is to be refused.
class plain_socket : public unique_fd {
public:
    using unique_fd::unique_fd;
    explicit plain_socket(unique_fd fd) noexcept : unique_fd(std::move(fd)) {}

    [[gnu::always_inline]] ssize_t receive(std::byte* to, std::size_t n, int flags) noexcept {
        return ::recv(get(), to, n, flags);
    }
    [[nodiscard]] static constexpr bool has_pending() noexcept { return false; }
    void answer(const message_type& own) noexcept { answer_with_hello(get(), own); }
    [[nodiscard]] static error_code failure(diagnostics&) noexcept { return {}; }
};

/// Lets a read that sleeps on this socket give up after so long. False if it would not.
[[nodiscard]] inline bool wakes_within(int fd, duration longest) noexcept {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(longest).count();
    const timeval most{static_cast<time_t>(us / 1'000'000),
                       static_cast<suseconds_t>(us % 1'000'000)};
    return ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0;
}

/// Whether to read again at once, or to ask the kernel first. While messages keep coming, asking
/// would double the calls; where each is waited for, a read that finds nothing would. So one
/// follows what was, and after a failure tries again more and more seldom.
class eagerness {
public:
    [[nodiscard]] bool after_success() noexcept {
        if (held_back_ == 0) {
            apart_ = first_apart;
            return true;
        }
        if (++held_back_ <= apart_) return false;
        held_back_ = 0;
        return true;
    }
    void after_failure() noexcept {
        held_back_ = 1;
        apart_ = std::min(apart_ * 2, last_apart);
    }

private:
    static constexpr unsigned first_apart = 8, last_apart = 512;

    unsigned apart_ = first_apart;
    unsigned held_back_ = 0;  // reads since one failed; 0: they do not fail
};

/// A connection and the frames that come over it.
template <class Socket>
struct connection {
    static constexpr std::size_t first_bytes = 4096;
    static constexpr std::size_t batch_bytes = 64 * 1024;

    connection(Socket f, const message_type& type, const stream_options& o, bool in_packets)
        : fd(std::move(f)),
          reader(type, o.message_bytes_max, first_bytes),
          raw(first_bytes),
          packet_bytes_max(in_packets ? std::max(o.message_bytes_max + frame::header_bytes,
                                                 frame::hello_bytes_max)
                                      : 0),
          framed(o.frames == framing::parley),
          packets(in_packets) {}

    /// The next whole message; would_block if there is none without reading more.
    result<bytes> next(diagnostics& why) {
        if (overlong) {
            return why.fail(errc::corrupt, "a packet that is not one frame of at most " +
                                               std::to_string(packet_bytes_max) +
                                               " bytes, see the receiver's message_bytes_max");
        }
        if (framed) {
            auto m = reader.next(why);
            // A packet is one frame. A rest would be taken for another sender's: see take_buffer.
            if (packets && !reader.empty() && (m || m.error() == errc::would_block)) {
                return why.fail(errc::corrupt, "a packet that is not exactly one frame");
            }
            return m;
        }
        if (raw.empty()) return errc::would_block;
        const bytes all = raw.pending();
        raw.consume(all.size());
        return all;
    }

    /// Reads once, never waits, and returns the number of bytes. One recv takes as many messages
    /// as fit into the buffer, which grows for those who fill it. `may_hope`: that there is more
    /// may be assumed without certainty.
    std::size_t read(bool may_hope) {
        const auto to = room();
        const auto n = retried([&] { return fd.receive(to.data(), to.size(), flags); });
        return took(n, to.size(), may_hope);
    }
    /// What a recv into `room` bytes of the buffer said.
    std::size_t took(ssize_t n, std::size_t room_bytes, bool may_hope) noexcept {
        if (n > 0) {
            spoke = true;
            const auto got = static_cast<std::size_t>(n);
            overlong = got > room_bytes;
            if (!overlong) framed ? reader.filled(got) : raw.filled(got);
            const bool full = !packets && got == room_bytes;
            if (full) batch = std::min(batch * 2, batch_bytes);
            readable = (more.after_success() && may_hope) || full || fd.has_pending();
            return got;
        }
        if (n < 0 && errno == EAGAIN) {
            more.after_failure();
            readable = false;
        } else {
            eof = true;  // the end, or an error that ends it: at_end() says which
            broken = n < 0;
            readable = false;
        }
        return 0;
    }

    [[nodiscard]] bool is_sender() const noexcept { return framed ? reader.greeted() : spoke; }
    /// True if it has a turn to come without a word of the kernel.
    [[nodiscard]] bool has_more() const noexcept {
        return readable || eof || (framed ? reader.ready() : !raw.empty());
    }
    /// How it ended. Foreign programs say no goodbye, but an error of the connection is none.
    [[nodiscard]] errc at_end() const noexcept {
        if (framed) return reader.at_end();
        return broken ? errc::peer_lost : errc::closed;
    }

    Socket fd;
    frame_reader reader;
    inbound_buffer raw;  // for frame=none
    std::size_t packet_bytes_max;
    std::size_t batch = first_bytes - 64;
    eagerness more;
    connection* next_in_queue = nullptr;
    std::size_t index = 0;  // in the hub's list
    bool framed;
    bool packets;
    const int nap_flags = packets ? MSG_TRUNC : 0;
    const int flags = nap_flags | MSG_DONTWAIT;
    bool naps = false;  // a read with nap_flags wakes up by itself
    bool queued = false;
    bool readable = false;  // the kernel said so, or experience does
    bool eof = false;
    bool broken = false;
    bool counted = false;  // as a sender
    bool spoke = false;
    bool overlong = false;

private:
    mutable_bytes room() {
        const std::size_t wanted = std::max(packet_bytes_max, batch);
        return framed ? reader.room(wanted) : raw.room(wanted);
    }
};

/// First in, first out, each connection at most once; links lie in the connections.
template <class Connection>
class connection_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push(Connection& c) noexcept {
        if (c.queued) return;
        c.queued = true;
        c.next_in_queue = nullptr;
        (last_ == nullptr ? first_ : last_->next_in_queue) = &c;
        last_ = &c;
    }
    [[nodiscard]] Connection* pop() noexcept {
        Connection* c = first_;
        if (c == nullptr) return nullptr;
        first_ = c->next_in_queue;
        if (first_ == nullptr) last_ = nullptr;
        c->queued = false;
        return c;
    }

private:
    Connection* first_ = nullptr;
    Connection* last_ = nullptr;
};

/// How much is read between two questions to the kernel: the bound of unfairness to connections
/// that became ready in the meantime.
class reading_budget {
public:
    void reset() noexcept { spent_ = 0; }
    void add(std::size_t bytes) noexcept { spent_ += bytes + call_bytes; }
    void exhaust() noexcept { spent_ = bytes_max; }
    [[nodiscard]] bool exhausted() const noexcept { return spent_ >= bytes_max; }

    static constexpr std::size_t bytes_max = 256 * 1024;
    static constexpr std::size_t call_bytes = 4 * 1024;  // what a read costs beside its bytes

private:
    std::size_t spent_ = 0;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
