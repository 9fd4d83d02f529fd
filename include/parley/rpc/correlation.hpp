// SPDX-License-Identifier: MIT
// Which answer belongs to which question: both sides of request and reply as values that decide and
// do nothing else. No clock, thread or descriptor; time comes in as a number, frames as bytes.
#pragma once

#include <parley/rpc/frame.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

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
        s.lent = false;
        s.id = next_;
        s.until = until;
        earliest_ = earlier(earliest_, until);
        ++under_way_;
        return next_++;
    }
    [[nodiscard]] header header_of(std::uint64_t id, time_point now,
                                   std::uint16_t mark = 0) noexcept {
        return {id, budget_us(now, at(id).until), kind::request, family::none, mark};
    }

    /// Takes a frame. False: it is none of an answering side's.
    [[nodiscard]] bool on_frame(bytes f) {
        header h;
        if (!h.read(f) || h.what < kind::value || h.what > kind::refusal) {
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
        s.error = h.what == kind::value ? error_code() : read_error(h);
        s.how = h.what == kind::value     ? outcome::done
                : h.what == kind::failure ? outcome::failed
                                          : outcome::not_started;
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
            lose(s, errc::timed_out);
            return s.id;
        }
        return std::nullopt;
    }
    /// The other side is gone: everything that waits ends with `ec`.
    void fail_all(error_code ec) {
        for (slot& s : slots_) {
            if (s.is == state::waiting) lose(s, ec);
        }
    }

    [[nodiscard]] bool is_known(std::uint64_t id) const noexcept {
        return at(id).id == id && at(id).is != state::free;
    }
    [[nodiscard]] bool is_settled(std::uint64_t id) const noexcept {
        return at(id).id == id && at(id).is == state::settled;
    }
    [[nodiscard]] time_point until(std::uint64_t id) const noexcept { return at(id).until; }
    /// The answer to a call that is settled, which it stays.
    [[nodiscard]] result<bytes> peek(std::uint64_t id) const noexcept {
        const slot& s = at(id);
        if (s.error) return s.error;
        return bytes(s.body);
    }
    /// Other calls take its answer: to forget it is no reason to give it up.
    void lend(std::uint64_t id) noexcept {
        if (is_known(id)) at(id).lent = true;
    }
    [[nodiscard]] bool is_lent(std::uint64_t id) const noexcept {
        return is_known(id) && at(id).lent;
    }
    /// The answer's bytes or the error, with words in answer_words(); they stay until the next
    /// begin. The call is over.
    [[nodiscard]] result<bytes> settle(std::uint64_t id) noexcept {
        slot& s = at(id);
        release(s);
        how_ = s.how;
        words_ = s.error ? as_text(s.body) : std::string_view();
        if (s.error) return s.error;
        return bytes(s.body);
    }
    [[nodiscard]] std::string_view answer_words() const noexcept { return words_; }
    /// What is known of the call that was settled last.
    [[nodiscard]] outcome how() const noexcept { return how_; }
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
        outcome how = outcome::unknown;
        bool lent = false;
    };

    [[nodiscard]] slot& at(std::uint64_t id) noexcept {
        return slots_[static_cast<std::size_t>(id) & (slots_.size() - 1)];
    }
    [[nodiscard]] const slot& at(std::uint64_t id) const noexcept {
        return slots_[static_cast<std::size_t>(id) & (slots_.size() - 1)];
    }
    static void lose(slot& s, error_code ec) noexcept {
        s.is = state::settled;
        s.how = outcome::unknown;
        s.error = ec;
        s.body.clear();
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
    outcome how_ = outcome::done;
};

/// The answering side of one caller: which of its questions are open, and which of them it gave up.
class desk {
public:
    /// A question, its bytes borrowed from the frame.
    struct question {
        std::uint64_t id;
        time_point until;
        bytes body;
        bool notice;         ///< that nobody answers, and that is not open
        std::uint16_t mark;  ///< see marks
    };

    /// Takes a frame: a question, or nothing (a cancel, or bytes that no caller writes: counted).
    [[nodiscard]] std::optional<question> on_frame(bytes f, time_point now) {
        header h;
        if (!h.read(f) ||
            (h.what != kind::request && h.what != kind::cancel && h.what != kind::notice)) {
            ++corrupt_;
            return std::nullopt;
        }
        if (h.what == kind::cancel) {
            (void)close(h.id);
            return std::nullopt;
        }
        const bool notice = h.what == kind::notice;
        if (!notice) {
            if (h.id < next_ || h.id == ~std::uint64_t{0}) {
                ++corrupt_;
                return std::nullopt;
            }
            next_ = h.id + 1;
            open(h.id);
        }
        const time_point until = h.number == 0 ? never : now + std::chrono::microseconds(h.number);
        return question{h.id, until, f.subspan(header::bytes), notice, h.mark};
    }
    /// Ends a question; false: its caller no longer waits for the answer.
    bool close(std::uint64_t id) {
        const auto at = std::lower_bound(open_.begin() + first_, open_.end(), id);
        if (at == open_.end() || *at != id) return false;
        if (at == open_.begin() + first_) {
            ++first_;
        } else {
            open_.erase(at);
        }
        return true;
    }
    /// Asked, not answered, not given up.
    [[nodiscard]] bool is_open(std::uint64_t id) const noexcept {
        return std::binary_search(open_.begin() + first_, open_.end(), id);
    }
    [[nodiscard]] std::size_t open() const noexcept {
        return open_.size() - static_cast<std::size_t>(first_);
    }
    [[nodiscard]] std::uint64_t corrupt() const noexcept { return corrupt_; }

private:
    /// A deque would allocate as it moves on.
    void open(std::uint64_t id) {
        if (first_ > 1024 || open() == 0) {
            open_.erase(open_.begin(), open_.begin() + first_);
            first_ = 0;
        }
        open_.push_back(id);
    }

    std::vector<std::uint64_t> open_;  // ascending, from first_ on
    std::ptrdiff_t first_ = 0;
    std::uint64_t next_ = 0, corrupt_ = 0;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
