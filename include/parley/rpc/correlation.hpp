// SPDX-License-Identifier: MIT
// Which answer belongs to which question: both sides of request and reply as values that decide and
// do nothing else. No clock, thread or descriptor; time comes in as a number, frames as bytes.
//
//   byte    0            8             12      13        14      16
//           +------------+-------------+-------+---------+-------+------------- - -
//   frame   | id u64     | number u32  | kind  | family  | zero  | what it carries
//           |            |             | u8    | u8      | u16   |
//           +------------+-------------+-------+---------+-------+------------- - -
//
//   request  a question; number: the time left for it in microseconds, 0 for no limit
//   cancel   its caller no longer waits
//   value    the answer
//   failure  there is none; number and family: the error, what it carries: words
//
// All numbers are little-endian. A caller numbers its questions; no number comes twice.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/time.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

enum class kind : std::uint8_t { request = 1, cancel = 2, value = 3, failure = 4 };
/// Where the number of an error comes from.
enum class family : std::uint8_t { none = 0, parley = 1, system = 2, generic = 3, other = 4 };

/// The header of a frame.
struct header {
    static constexpr std::size_t bytes = 16;

    std::uint64_t id = 0;
    std::uint32_t number = 0;
    kind what = kind::request;
    family of = family::none;

    void write(std::byte* to) const noexcept {
        store_le(to, id);
        store_le(to + 8, number);
        store_le(to + 12, static_cast<std::uint32_t>(static_cast<unsigned>(what) |
                                                     static_cast<unsigned>(of) << 8));
    }
    /// False if nobody who speaks this writes such bytes.
    [[nodiscard]] bool read(parley::bytes from) noexcept {
        if (from.size() < bytes) return false;
        id = load_le<std::uint64_t>(from.data());
        number = load_le<std::uint32_t>(from.data() + 8);
        const auto word = load_le<std::uint32_t>(from.data() + 12);
        what = static_cast<kind>(word & 0xff);
        of = static_cast<family>(word >> 8 & 0xff);
        return word >> 16 == 0 && what >= kind::request && what <= kind::failure &&
               of <= family::other && (of != family::none) == (what == kind::failure);
    }
};

/// An error as a frame carries it, and back. One of a category that is not known here is told by
/// its words alone: errc::unsupported.
inline void write_error(header& h, error_code ec) noexcept {
    h.what = kind::failure;
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

/// The calling side: questions under way, and the answers that wait to be fetched.
///
///     const auto id = book.begin(until);             // write book.header_of(*id, now), send it
///     book.on_frame(frame);                          // an answer, to whichever question
///     if (book.is_settled(*id)) auto a = book.settle(*id);
///
/// Errors of begin: out_of_resources: as many are under way as were asked for.
class calls {
public:
    explicit calls(std::size_t in_flight_max)
        : slots_(std::bit_ceil(std::clamp<std::size_t>(in_flight_max, 1, std::size_t{1} << 20))),
          limit_(std::max<std::size_t>(in_flight_max, 1)) {}

    [[nodiscard]] result<std::uint64_t> begin(time_point until) {
        if (under_way_ >= limit_) return errc::out_of_resources;
        while (at(next_).is != state::free) ++next_;
        slot& s = at(next_);
        s.is = state::waiting;
        s.id = next_;
        s.until = until;
        earliest_ = earlier(earliest_, until);
        ++under_way_;
        return next_++;
    }
    [[nodiscard]] header header_of(std::uint64_t id, time_point now) noexcept {
        return {id, budget_us(now, at(id).until), kind::request, family::none};
    }

    /// Takes a frame. False: it is none of an answering side's.
    [[nodiscard]] bool on_frame(bytes f) {
        header h;
        if (!h.read(f) || (h.what != kind::value && h.what != kind::failure)) {
            ++corrupt_;
            return false;
        }
        slot& s = at(h.id);
        if (s.id != h.id || s.is != state::waiting) {
            ++late_;  // it was cancelled, or took too long
            return true;
        }
        const bytes body = f.subspan(header::bytes);
        s.body.assign(body.begin(), body.end());
        s.error = h.what == kind::failure ? read_error(h) : error_code();
        s.is = state::settled;
        return true;
    }
    /// Ends what took too long, and tells each once so that it can be cancelled on the other side.
    [[nodiscard]] std::optional<std::uint64_t> expire(time_point now) {
        if (now < earliest_) return std::nullopt;
        earliest_ = never;
        for (slot& s : slots_) {
            if (s.is != state::waiting) continue;
            if (now < s.until) {
                earliest_ = earlier(earliest_, s.until);
                continue;
            }
            earliest_ = now;  // there may be more
            s.is = state::settled;
            s.error = errc::timed_out;
            s.body.clear();
            return s.id;
        }
        return std::nullopt;
    }
    /// The other side is gone: everything that waits ends with `ec`.
    void fail_all(error_code ec) {
        for (slot& s : slots_) {
            if (s.is != state::waiting) continue;
            s.is = state::settled;
            s.error = ec;
            s.body.clear();
        }
    }

    [[nodiscard]] bool is_known(std::uint64_t id) const noexcept {
        return at(id).id == id && at(id).is != state::free;
    }
    [[nodiscard]] bool is_settled(std::uint64_t id) const noexcept {
        return at(id).id == id && at(id).is == state::settled;
    }
    [[nodiscard]] time_point until(std::uint64_t id) const noexcept { return at(id).until; }
    /// The answer's bytes or the error, with words in answer_words(); they stay until the next
    /// begin. The call is over.
    [[nodiscard]] result<bytes> settle(std::uint64_t id) noexcept {
        slot& s = at(id);
        release(s);
        words_ = s.error ? as_text(s.body) : std::string_view();
        if (s.error) return s.error;
        return bytes(s.body);
    }
    [[nodiscard]] std::string_view answer_words() const noexcept { return words_; }
    /// Forgets a call; its answer will be dropped.
    void forget(std::uint64_t id) noexcept {
        if (is_known(id)) release(at(id));
    }
    [[nodiscard]] std::size_t under_way() const noexcept { return under_way_; }
    [[nodiscard]] std::uint64_t late() const noexcept { return late_; }
    [[nodiscard]] std::uint64_t corrupt() const noexcept { return corrupt_; }

private:
    enum class state : std::uint8_t { free, waiting, settled };
    struct slot {
        std::uint64_t id = ~std::uint64_t{0};
        time_point until = never;
        error_code error;
        std::vector<std::byte> body;
        state is = state::free;
    };

    [[nodiscard]] slot& at(std::uint64_t id) noexcept { return slots_[id & (slots_.size() - 1)]; }
    [[nodiscard]] const slot& at(std::uint64_t id) const noexcept {
        return slots_[id & (slots_.size() - 1)];
    }
    void release(slot& s) noexcept {
        s.is = state::free;
        --under_way_;
    }

    std::vector<slot> slots_;
    std::size_t limit_, under_way_ = 0;
    time_point earliest_ = never;  // no call is late before
    std::uint64_t next_ = 0, late_ = 0, corrupt_ = 0;
    std::string_view words_;
};

/// The answering side of one caller: which of its questions are open, and which of them it gave up.
class desk {
public:
    /// A question, its bytes borrowed from the frame.
    struct question {
        std::uint64_t id;
        time_point until;
        bytes body;
    };

    /// Takes a frame: a question to be answered, or nothing (a cancel, or bytes that no caller
    /// writes: counted).
    [[nodiscard]] std::optional<question> on_frame(bytes f, time_point now) {
        header h;
        if (!h.read(f) || (h.what != kind::request && h.what != kind::cancel)) {
            ++corrupt_;
            return std::nullopt;
        }
        if (h.what == kind::cancel) {
            std::erase(open_, h.id);
            return std::nullopt;
        }
        if (is_open(h.id)) {
            ++corrupt_;
            return std::nullopt;
        }
        open_.push_back(h.id);
        const time_point until = h.number == 0 ? never : now + std::chrono::microseconds(h.number);
        return question{h.id, until, f.subspan(header::bytes)};
    }
    /// Ends a question; false: its caller no longer waits for the answer.
    bool close(std::uint64_t id) { return std::erase(open_, id) > 0; }
    /// Asked, not answered, not given up.
    [[nodiscard]] bool is_open(std::uint64_t id) const noexcept {
        return std::find(open_.begin(), open_.end(), id) != open_.end();
    }
    [[nodiscard]] std::size_t open() const noexcept { return open_.size(); }
    [[nodiscard]] std::uint64_t corrupt() const noexcept { return corrupt_; }

private:
    std::vector<std::uint64_t> open_;
    std::uint64_t corrupt_ = 0;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
