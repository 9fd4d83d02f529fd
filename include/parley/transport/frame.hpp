// SPDX-License-Identifier: MIT
// The frames of parley on byte streams and in packets, and the reader that takes nothing on trust.
//
//   byte   0        4      5       6        8
//          +--------+------+-------+--------+------------------- - -
//   frame  | length | kind | layout| magic  | payload, length bytes
//          | u32    | u8   | u8    | u16    |
//          +--------+------+-------+--------+------------------- - -
//
//   byte   0                8                16              24      28       32
//          +----------------+----------------+---------------+-------+--------+------------- - -
//   hello  | frame, kind 1  | fingerprint    | sender        | pid   | zero   | description
//          |                | u64            | u64, random   | u32   | u32    | text, <= 1024 bytes
//          +----------------+----------------+---------------+-------+--------+------------- - -
//
// All numbers are little-endian. A sender's first frame is its hello, its last one is `end`; the
// receiver of a two-way connection that refuses the sender's type answers with a hello of its own.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace frame {

inline constexpr std::size_t header_bytes = 8;
inline constexpr std::size_t hello_bytes = 32;  ///< without the description
inline constexpr std::size_t description_bytes_max = 1024;
inline constexpr std::size_t hello_bytes_max = hello_bytes + description_bytes_max;
inline constexpr std::uint8_t layout = 1;
inline constexpr std::uint16_t magic = 0x5950;  // "PY"

enum class kind : std::uint8_t {
    hello = 1,    ///< who speaks and what type it carries
    message = 2,  ///< one message
    end = 3,      ///< the sender closes in good order; nothing follows unless it says hello again
};

inline void write_header(std::byte* to, kind k, std::size_t length) noexcept {
    store_le(to, static_cast<std::uint32_t>(length));
    to[4] = static_cast<std::byte>(k);
    to[5] = static_cast<std::byte>(layout);
    store_le(to + 6, magic);
}

/// Writes a hello at `to` and returns its length, at most hello_bytes_max.
inline std::size_t write_hello(std::byte* to, const message_type& type, std::uint64_t sender,
                               std::uint32_t pid) noexcept {
    const auto text = as_bytes(type.description.substr(0, description_bytes_max));
    write_header(to, kind::hello, hello_bytes - header_bytes + text.size());
    store_le(to + 8, type.fingerprint);
    store_le(to + 16, sender);
    store_le(to + 24, pid);
    store_le(to + 28, std::uint32_t{0});
    std::copy(text.begin(), text.end(), to + hello_bytes);
    return hello_bytes + text.size();
}

/// What a hello says. `description` borrows from the payload.
struct hello {
    std::uint64_t fingerprint = 0;
    std::uint64_t sender = 0;
    std::uint32_t pid = 0;
    std::string_view description;
};

/// Reads the payload of a hello frame (without its header); nothing if it is too short.
[[nodiscard]] inline bool read_hello(bytes payload, hello& out) noexcept {
    constexpr std::size_t fixed = hello_bytes - header_bytes;
    if (payload.size() < fixed || payload.size() > hello_bytes_max - header_bytes) return false;
    out.fingerprint = load_le<std::uint64_t>(payload.data());
    out.sender = load_le<std::uint64_t>(payload.data() + 8);
    out.pid = load_le<std::uint32_t>(payload.data() + 16);
    out.description = as_text(payload.subspan(fixed));
    return true;
}

/// One sentence that names both types, for diagnostics.
[[nodiscard]] inline std::string mismatch(std::string_view receiver, std::string_view sender) {
    std::string text = "the types of the two ends differ: the receiver expects [";
    ((text += receiver) += "], the sender carries [") += sender;
    return text += "]; give both ends the same message type";
}

}  // namespace frame

namespace detail {

/// A growing buffer that bytes from outside are read into and frames are taken from, in place.
/// The first byte lies 8 below a multiple of 64, so that the first payload is aligned to 64.
class inbound_buffer {
public:
    explicit inbound_buffer(std::size_t first = first_bytes) noexcept : first_(first) {}

    [[nodiscard]] bytes pending() const noexcept { return {at(begin_), end_ - begin_}; }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }

    /// Room for at least `wanted` more bytes behind what is pending; may move what is pending.
    /// Throws std::bad_alloc if there is no memory.
    mutable_bytes room(std::size_t wanted) {
        if (begin_ == end_) begin_ = end_ = 0;
        if (capacity_ - end_ < wanted) {
            const std::size_t held = end_ - begin_;
            if (capacity_ < held + wanted) {
                grow(std::max(held + wanted, std::max(first_, capacity_ * 2)));
            } else if (held > 0) {
                std::memmove(at(0), at(begin_), held);
            }
            begin_ = 0;
            end_ = held;
        }
        return {at(end_), capacity_ - end_};
    }
    void filled(std::size_t n) noexcept { end_ += n; }
    void consume(std::size_t n) noexcept { begin_ += n; }
    void clear() noexcept { begin_ = end_ = 0; }

    static constexpr std::size_t first_bytes = 64 * 1024 + 64;

private:
    static constexpr std::size_t offset = 56;

    [[nodiscard]] std::byte* at(std::size_t i) const noexcept { return base_ + i; }

    void grow(std::size_t capacity) {
        auto bigger = std::make_unique_for_overwrite<std::byte[]>(capacity + 128);
        auto* base = bigger.get();
        const auto address = reinterpret_cast<std::uintptr_t>(base);
        base += (64 - address % 64) % 64 + offset;
        if (end_ > begin_) std::memcpy(base, at(begin_), end_ - begin_);
        memory_ = std::move(bigger);
        base_ = base;
        capacity_ = capacity;
    }

    std::unique_ptr<std::byte[]> memory_;
    std::byte* base_ = nullptr;
    std::size_t first_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0, end_ = 0;
};

}  // namespace detail

/// Takes frames from the bytes of one sender: checks each header, the sender's hello and type, and
/// remembers how it ended. No I/O in it. One thread at a time.
/// Source of the format: the drawing at the top of this file.
class frame_reader {
public:
    frame_reader(const message_type& type, std::size_t message_bytes_max,
                 std::size_t first_bytes = detail::inbound_buffer::first_bytes) noexcept
        : type_(type), message_bytes_max_(message_bytes_max), buffer_(first_bytes) {}

    /// Where to read more bytes to. Room grows with what has come, not with what a header claims:
    /// a sender that announces much and sends little costs little.
    mutable_bytes room(std::size_t at_least = 0) {
        const std::size_t earned = std::max(trusted_bytes, buffer_.pending().size());
        return buffer_.room(std::max({std::min(missing(), earned), at_least, least_room}));
    }
    /// Readers of packets, which leave nothing behind, may share one buffer: the one who reads
    /// next has it.
    void swap_buffer(frame_reader& other) noexcept { std::swap(buffer_, other.buffer_); }
    /// Forgets bytes that nobody will ask for.
    void drop_pending() noexcept { buffer_.clear(); }
    void filled(std::size_t n) noexcept { buffer_.filled(n); }

    /// True if next() has something to say without more bytes: a whole frame, or a broken one.
    [[nodiscard]] bool ready() const noexcept { return missing() == 0; }

    /// The payload of the next message, in the buffer until the next room(); hello and end frames
    /// are dealt with on the way. Errors: would_block (more bytes are needed), incompatible,
    /// corrupt; the last two stay.
    result<bytes> next(diagnostics& why) {
        for (;;) {
            const bytes b = buffer_.pending();
            if (b.size() < frame::header_bytes) return errc::would_block;
            const std::size_t length = load_le<std::uint32_t>(b.data());
            const auto kind = static_cast<frame::kind>(b[4]);
            if (!sane(b, kind, length)) return corrupt(why, kind, length);
            if (b.size() - frame::header_bytes < length) return errc::would_block;
            const bytes payload = b.subspan(frame::header_bytes, length);
            if (kind == frame::kind::message) {
                buffer_.consume(frame::header_bytes + length);
                ended_ = false;
                return payload;
            }
            if (kind == frame::kind::hello) {
                if (auto r = greet(payload, why); !r) return r.error();
            } else {
                ended_ = true;
            }
            buffer_.consume(frame::header_bytes + length);
        }
    }

    /// What it means that the sender's bytes have come to their end: `closed` after an end frame,
    /// else `peer_lost`.
    [[nodiscard]] errc at_end() const noexcept {
        return ended_ && buffer_.empty() ? errc::closed : errc::peer_lost;
    }
    /// True once the sender said hello.
    [[nodiscard]] bool greeted() const noexcept { return greeted_; }
    [[nodiscard]] std::uint32_t pid() const noexcept { return pid_; }
    /// True if nothing lies in the buffer, not even a part of a frame.
    [[nodiscard]] bool empty() const noexcept { return buffer_.empty(); }

private:
    static constexpr std::size_t least_room = 2048;
    static constexpr std::size_t trusted_bytes = 256 * 1024;

    [[nodiscard]] bool sane(bytes b, frame::kind kind, std::size_t length) const noexcept {
        if (b[5] != std::byte{frame::layout} || load_le<std::uint16_t>(&b[6]) != frame::magic) {
            return false;
        }
        switch (kind) {
            case frame::kind::hello: return length <= frame::hello_bytes_max - frame::header_bytes;
            case frame::kind::message: return greeted_ && length <= message_bytes_max_;
            case frame::kind::end: return greeted_ && length == 0;
        }
        return false;
    }

    /// How many bytes next() lacks; 0 if it can speak.
    [[nodiscard]] std::size_t missing() const noexcept {
        const bytes b = buffer_.pending();
        if (b.size() < frame::header_bytes) return frame::header_bytes - b.size();
        const std::size_t length = load_le<std::uint32_t>(b.data());
        // A hello in front of a message may hide a length that only next() can judge.
        if (!sane(b, static_cast<frame::kind>(b[4]), length)) return 0;
        const std::size_t whole = frame::header_bytes + length;
        return b.size() >= whole ? 0 : whole - b.size();
    }

    result<void> greet(bytes payload, diagnostics& why) {
        frame::hello h;
        if (!frame::read_hello(payload, h)) {
            return why.fail(errc::corrupt, "the sender's hello is too short: " +
                                               std::to_string(payload.size()) + " bytes");
        }
        if (!accepts(type_, h.fingerprint)) {
            return why.fail(errc::incompatible, frame::mismatch(type_.description, h.description));
        }
        greeted_ = true;
        ended_ = false;
        pid_ = h.pid;
        return {};
    }

    error_code corrupt(diagnostics& why, frame::kind kind, std::size_t length) const {
        std::string text = "not a frame of parley (kind " +
                           std::to_string(static_cast<unsigned>(kind)) + ", length " +
                           std::to_string(length) + ", limit " +
                           std::to_string(message_bytes_max_) + ")";
        if (!greeted_)
            text += " before any hello: does the writer speak parley? if not, ?frame=none";
        return why.fail(errc::corrupt, std::move(text));
    }

    message_type type_;
    std::size_t message_bytes_max_;
    detail::inbound_buffer buffer_;
    std::uint32_t pid_ = 0;
    bool greeted_ = false;
    bool ended_ = false;
};

}  // namespace v1
}  // namespace parley
