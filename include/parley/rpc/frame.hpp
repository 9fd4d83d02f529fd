// SPDX-License-Identifier: MIT
// What requests and answers look like on their way.
//
//   byte    0            8             12      13        14      16
//           +------------+-------------+-------+---------+-------+------------- - -
//   frame   | id u64     | number u32  | kind  | family  | mark  | what it carries
//           |            |             | u8    | u8      | u16   |
//           +------------+-------------+-------+---------+-------+------------- - -
//
//   request  a question; number: the time left for it in microseconds, 0 for no limit; mark: see
//            `marks`, and promises.hpp
//   cancel   its caller no longer waits
//   value    the answer
//   failure  there is none; number and family: the error, what it carries: words
//   refusal  the same, and the question was not begun with
//   notice   a question that nobody answers; its id means nothing
//   batch    carries frames, each behind its length as u32; the answers may come together too
//
// Within a question that is not answered yet, either side may send (talk.hpp); mark: the channel
//   item     a value; with a family: an error instead of one, what it carries are words
//   credit   number: so many bytes more may be sent
//   end      nothing more comes; with a family: because of an error, what it carries are words
//   enough   nothing more is wanted
//
// The mark of what is not said to have one is zero. All numbers are little-endian. A caller numbers
// its questions in ascending order; no number comes twice.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/time.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley {
inline namespace v1 {

/// What is known of a call that is over, whatever its error: whether to ask again is safe.
enum class outcome : std::uint8_t {
    done,         ///< it was answered
    failed,       ///< it ran, and ended in the error
    not_sent,     ///< nothing of it left this process
    not_started,  ///< the other side refused it before it ran
    unknown,      ///< the other side, or the way to it, was lost, or time ran out: it may have run
};

namespace rpc {

enum class kind : std::uint8_t {
    request = 1,
    cancel = 2,
    value = 3,
    failure = 4,
    refusal = 5,
    notice = 6,
    batch = 7,
    item = 8,
    credit = 9,
    end = 10,
    enough = 11
};
/// Where the number of an error comes from.
enum class family : std::uint8_t { none = 0, parley = 1, system = 2, generic = 3, other = 4 };

/// What a question says of itself in its mark.
namespace marks {
inline constexpr std::uint16_t kept = 1;  ///< questions behind it, in its message, take its answer
inline constexpr std::uint16_t filled = 2;  ///< it takes answers: it begins with where they go
inline constexpr std::uint16_t all = kept | filled;
}  // namespace marks

/// The header of a frame.
struct header {
    static constexpr std::size_t bytes = 16;

    std::uint64_t id = 0;
    std::uint32_t number = 0;
    kind what = kind::request;
    family of = family::none;
    std::uint16_t mark = 0;

    void write(std::byte* to) const noexcept {
        store_le(to, id);
        store_le(to + 8, number);
        store_le(to + 12, static_cast<std::uint32_t>(static_cast<unsigned>(what) |
                                                     static_cast<unsigned>(of) << 8 |
                                                     static_cast<unsigned>(mark) << 16));
    }
    /// False if nobody who speaks this writes such bytes.
    [[nodiscard]] bool read(parley::bytes from) noexcept {
        if (from.size() < bytes) return false;
        id = load_le<std::uint64_t>(from.data());
        number = load_le<std::uint32_t>(from.data() + 8);
        const auto word = load_le<std::uint32_t>(from.data() + 12);
        what = static_cast<kind>(word & 0xff);
        of = static_cast<family>(word >> 8 & 0xff);
        mark = static_cast<std::uint16_t>(word >> 16);
        if (what < kind::request || what > kind::enough || of > family::other) return false;
        if (what < kind::item && mark > (what == kind::request ? marks::all : 0)) return false;
        const bool fails = what == kind::failure || what == kind::refusal;
        const bool may_fail = fails || what == kind::item || what == kind::end;
        return of == family::none ? !fails : may_fail;
    }
};

/// An error as a frame carries it, and back: in what `h` is, if that may be one, else a failure. Of
/// a category that is not known here is told by its words alone: errc::unsupported.
inline void write_error(header& h, error_code ec) noexcept {
    if (h.what < kind::refusal) h.what = kind::failure;
    h.number = static_cast<std::uint32_t>(ec.value());
    h.of = ec.category() == make_error_code(errc::closed).category() ? family::parley
           : ec.category() == boost::system::system_category()       ? family::system
           : ec.category() == boost::system::generic_category()      ? family::generic
                                                                     : family::other;
}
[[nodiscard]] inline error_code read_error(const header& h) noexcept {
    const int value = static_cast<int>(h.number);
    switch (h.of) {
        case family::parley:
            if (value >= static_cast<int>(errc::would_block) &&
                value <= static_cast<int>(errc::unsupported)) {
                return static_cast<errc>(value);
            }
            return errc::corrupt;
        case family::system: return {value, boost::system::system_category()};
        case family::generic: return {value, boost::system::generic_category()};
        case family::other: return errc::unsupported;
        case family::none: break;
    }
    return errc::corrupt;
}

/// The time left until `until` as a frame carries it: 0 for more than an hour.
[[nodiscard]] constexpr std::uint32_t budget_us(time_point now, time_point until) noexcept {
    if (until == never || until - now > std::chrono::hours(1)) return 0;
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(until - now).count();
    return us < 1 ? 1 : static_cast<std::uint32_t>(us);
}

/// Frames that travel as one message.
class pack {
public:
    /// Room for a frame of n bytes.
    [[nodiscard]] std::byte* add(std::size_t n) {
        if (bytes_.empty()) {
            bytes_.resize(header::bytes);
            header{0, 0, kind::batch, family::none}.write(bytes_.data());
        }
        const std::size_t at = bytes_.size();
        starts_.push_back(at + length_bytes);
        bytes_.resize(at + length_bytes + n);
        store_le(bytes_.data() + at, static_cast<std::uint32_t>(n));
        return bytes_.data() + at + length_bytes;
    }
    /// Takes back the frame that was added last.
    void drop(std::size_t n) noexcept {
        bytes_.resize(bytes_.size() - length_bytes - n);
        starts_.pop_back();
        if (bytes_.size() == header::bytes) bytes_.clear();
    }
    /// How long the message would be with a frame of n bytes more.
    [[nodiscard]] std::size_t size_with(std::size_t n) const noexcept {
        return (bytes_.empty() ? header::bytes : bytes_.size()) + length_bytes + n;
    }
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] bytes message() const noexcept { return bytes_; }
    void clear() noexcept {
        bytes_.clear();
        starts_.clear();
    }
    /// The question with this number, as it lies here; null: it is not here. Fast for the last.
    [[nodiscard]] std::byte* find(std::uint64_t id) noexcept {
        for (std::size_t i = starts_.size(); i-- > 0;) {
            std::byte* const frame = bytes_.data() + starts_[i];
            if (std::to_integer<unsigned>(frame[12]) != static_cast<unsigned>(kind::request)) {
                continue;
            }
            const auto number = load_le<std::uint64_t>(frame);
            if (number == id) return frame;
            if (number < id) break;
        }
        return nullptr;
    }

    static constexpr std::size_t length_bytes = 4;

private:
    std::vector<std::byte> bytes_;
    std::vector<std::size_t> starts_;  // of the frames
};

/// Whether a message is a batch.
[[nodiscard]] inline bool is_batch(bytes message) noexcept {
    return message.size() >= header::bytes &&
           std::to_integer<unsigned>(message[12]) == static_cast<unsigned>(kind::batch);
}
/// Whether a frame belongs to the talk of a call.
[[nodiscard]] inline bool is_talk(bytes frame) noexcept {
    return frame.size() >= header::bytes &&
           std::to_integer<unsigned>(frame[12]) >= static_cast<unsigned>(kind::item);
}
/// Calls `take(frame)` for the frames of a message, one or a batch of them, until it says false.
/// False: it did, or this is no message. A batch in a batch is for `take` to refuse.
template <class Take>
[[nodiscard]] bool each_frame(bytes message, Take take) {
    if (!is_batch(message)) return take(message);
    header h;
    if (!h.read(message)) return false;
    for (bytes rest = message.subspan(header::bytes); !rest.empty();) {
        if (rest.size() < pack::length_bytes) return false;
        const auto n = load_le<std::uint32_t>(rest.data());
        rest = rest.subspan(pack::length_bytes);
        if (n > rest.size() || !take(rest.first(n))) return false;
        rest = rest.subspan(n);
    }
    return true;
}

}  // namespace rpc
}  // namespace v1
}  // namespace parley
