// SPDX-License-Identifier: MIT
// Taking frames from the bytes of one sender, trusting nothing. No I/O in it.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/transport/frame.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
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
    [[gnu::always_inline]] mutable_bytes room(std::size_t wanted) {
        if (begin_ == end_) begin_ = end_ = 0;
        if (capacity_ - end_ < wanted) [[unlikely]]
            make_room(wanted);
        return {at(end_), capacity_ - end_};
    }
    [[nodiscard, gnu::always_inline]] mutable_bytes whole_room() noexcept {
        begin_ = end_ = 0;
        return {at(0), capacity_};
    }
    void filled(std::size_t n) noexcept { end_ += n; }
    void consume(std::size_t n) noexcept { begin_ += n; }
    void clear() noexcept { begin_ = end_ = 0; }

    static constexpr std::size_t first_bytes = 64 * 1024 + 64;

private:
    static constexpr std::size_t offset = 56;

    [[nodiscard]] std::byte* at(std::size_t i) const noexcept { return base_ + i; }

    [[gnu::noinline, gnu::cold]] void make_room(std::size_t wanted) {
        const std::size_t held = end_ - begin_;
        if (capacity_ < held + wanted) {
            grow(std::max(held + wanted, std::max(first_, capacity_ * 2)));
        } else if (held > 0) {
            std::memmove(at(0), at(begin_), held);
        }
        begin_ = 0;
        end_ = held;
    }
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
/// Source of the format: the drawing in frame.hpp.
class frame_reader {
public:
    frame_reader(const message_type& type, std::size_t message_bytes_max,
                 std::size_t first_bytes = detail::inbound_buffer::first_bytes) noexcept
        : type_(type), message_bytes_max_(message_bytes_max), buffer_(first_bytes) {}

    /// Where to read more bytes to. Room grows with what has come, not with what a header claims:
    /// a sender that announces much and sends little costs little.
    mutable_bytes room(std::size_t at_least = 0) {
        if (buffer_.empty()) [[likely]]
            return buffer_.room(std::max(at_least, least_room));
        const std::size_t earned = std::max(trusted_bytes, buffer_.pending().size());
        return buffer_.room(std::max({std::min(missing(), earned), at_least, least_room}));
    }
    /// All the room that there is already, while nothing is pending.
    [[nodiscard, gnu::always_inline]] mutable_bytes whole_room() noexcept {
        return buffer_.whole_room();
    }
    /// Readers of packets, which leave nothing behind, may share one buffer: the one who reads
    /// next has it.
    /// The sender's type, where any is taken and once it said hello.
    [[nodiscard]] const peer_type& told() const noexcept { return told_; }
    void swap_buffer(frame_reader& other) noexcept {
        std::swap(buffer_, other.buffer_);
        std::swap(whole_, other.whole_);
    }
    /// Forgets bytes that nobody will ask for.
    void drop_pending() noexcept {
        buffer_.clear();
        whole_ = 0;
    }
    void filled(std::size_t n) noexcept { buffer_.filled(n); }

    /// True if next() has something to say without more bytes: a whole frame, or a broken one.
    [[nodiscard, gnu::always_inline]] bool ready() const noexcept {
        return buffer_.pending().size() >= frame::header_bytes &&
               (whole_message() || missing() == 0);
    }

    /// The length of the frame that comes first, if it is a whole message; else 0.
    [[nodiscard]] std::size_t whole_bytes() const noexcept { return whole_; }

    /// The next message if it comes first and is whole, as it nearly always is; else an empty span
    /// without data, and next() knows more.
    [[nodiscard, gnu::always_inline]] bytes next_message() noexcept {
        if (!whole_message()) [[unlikely]]
            return {};
        const bytes payload(buffer_.pending().data() + frame::header_bytes,
                            whole_ - frame::header_bytes);
        buffer_.consume(std::exchange(whole_, 0));
        ended_ = false;
        return payload;
    }

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
            whole_ = 0;
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

    /// True if only a message, or the end, can come next, and not a byte of it is here.
    [[nodiscard]] bool at_rest() const noexcept { return greeted_ && buffer_.empty(); }
    /// True if these are the first bytes of a message of n bytes.
    [[nodiscard]] bool announces(const std::byte* header, std::size_t n) const noexcept {
        return n <= message_bytes_max_ &&
               load_le<std::uint64_t>(header) == frame::header_word(frame::kind::message, n);
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

    /// True if a whole message comes first; its header is looked at once.
    [[nodiscard, gnu::always_inline]] bool whole_message() const noexcept {
        if (whole_ != 0) return true;
        const bytes b = buffer_.pending();
        if (b.size() < frame::header_bytes || !greeted_) return false;
        const auto word = load_le<std::uint64_t>(b.data());
        const std::size_t length = word & 0xffffffffU;
        if (word != frame::header_word(frame::kind::message, length) ||
            length > message_bytes_max_ || b.size() - frame::header_bytes < length) {
            return false;
        }
        whole_ = frame::header_bytes + length;
        return true;
    }
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
    [[nodiscard, gnu::noinline]] std::size_t missing() const noexcept {
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
        if (h.what == frame::answer::denied) {
            return why.fail(errc::denied, std::string(frame::denied_words));
        }
        if (!accepts(type_, h.fingerprint)) {
            return why.fail(errc::incompatible, type_mismatch(type_.description, h.description));
        }
        greeted_ = true;
        ended_ = false;
        pid_ = h.pid;
        if (type_.fingerprint == 0) told_ = {h.fingerprint, std::string(h.description)};
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
    peer_type told_;  // only where any type is taken
    std::size_t message_bytes_max_;
    detail::inbound_buffer buffer_;
    std::uint32_t pid_ = 0;
    mutable std::size_t whole_ = 0;  // length of the frame that comes first, once it was checked
    bool greeted_ = false;
    bool ended_ = false;
};

}  // namespace v1
}  // namespace parley
