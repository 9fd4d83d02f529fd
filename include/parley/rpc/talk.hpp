// SPDX-License-Identifier: MIT
// What goes to and fro within a call besides its question and its answer: the values of streams,
// the calls of callbacks. A value that decides and does nothing else; frames in, frames out.
//
// A call has channels, both sides know which: 0 is its answer, if that is a stream, n its argument
// n (from 1). Each has two directions, in each of which its sender may have `window_bytes` under
// way (of values and what is counted for their headers); what was taken is credited in halves of
// that.
#pragma once

#include <parley/rpc/backlog.hpp>
#include <parley/rpc/frame.hpp>
#include <parley/rpc/remote.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// Where the frames of a talk go. would_block: there is no room now; message_too_large.
class line {
public:
    line() = default;
    line(const line&) = delete;
    line& operator=(const line&) = delete;
    virtual ~line() = default;
    virtual result<void> send(const header&, std::size_t n, filler) = 0;

    result<void> send_words(header h, std::string_view words) {
        const auto write = [words](mutable_bytes to) {
            if (!words.empty()) std::memcpy(to.data(), words.data(), words.size());
        };
        return send(h, words.size(), filler(write));
    }
};

/// One side of a talk.
///
///     talk t(id, channels);
///     t.on_frame(header, body);                           // what came
///     while (auto i = t.take(1)) use(i->body);            // in
///     if (t.may_send(1)) … t.sent(1, n);                  // out
///     t.settle(line);                                     // what is due: credit, enough
///
/// Bounds: what waits in a channel is at most `window_bytes` and one value more; who sends beyond
/// his credit is corrupt.
class talk {
public:
    static constexpr std::uint32_t window_bytes = 256 * 1024;

    /// Who lets things come in while somebody waits for them.
    class pump {
    public:
        /// Waits until something may have come. Errors: timed_out; what ended the call.
        virtual result<void> run(const talk&, deadline&) = 0;

    protected:
        ~pump() = default;
    };
    struct item {
        header head;
        bytes body;  ///< until the next on_frame
    };

    talk(std::uint64_t id, std::size_t channels) : id_(id), channels_(channels) {}

    /// False: nobody who speaks this writes it.
    [[nodiscard]] bool on_frame(const header& h, bytes body) {
        if (h.mark >= channels_.size() || over_) return h.mark < channels_.size();
        channel& c = channels_[h.mark];
        switch (h.what) {
            case kind::item:
                if (c.room <= 0 || c.ended) return false;
                c.room -= cost(body.size());
                if (!c.enough) c.items.push(h, body);
                return true;
            case kind::credit:
                c.credit += h.number;
                return h.number > 0 && c.credit <= window_bytes;
            case kind::end:
                if (c.ended) return false;
                c.ended = h.of == family::none ? error_code(errc::closed) : read_error(h);
                return true;
            case kind::enough: c.unwanted = true; return true;
            default: return false;
        }
    }

    // -- in ---------------------------------------------------------------------------------------
    [[nodiscard]] std::optional<item> take(std::size_t in) {
        channel& c = channels_[in];
        if (c.items.empty()) return std::nullopt;
        const auto [head, body] = c.items.pop();
        c.owed += static_cast<std::uint32_t>(cost(body.size()));
        return item{head, body};
    }
    /// Why take() has nothing: would_block, closed at the end, or an error.
    [[nodiscard]] error_code end_of(std::size_t in) const {
        if (channels_[in].ended) return *channels_[in].ended;
        return over_ ? *over_ : error_code(errc::would_block);
    }
    /// Whether credit is to be given before anybody waits: settle() does.
    [[nodiscard]] bool is_due(std::size_t in) const noexcept {
        return channels_[in].owed >= window_bytes / 2 && !channels_[in].ended && !over_;
    }
    /// Nothing more is wanted; what waits is dropped.
    void enough(std::size_t in) {
        channel& c = channels_[in];
        c.enough = true;
        c.items.clear();
    }

    // -- out --------------------------------------------------------------------------------------
    [[nodiscard]] bool may_send(std::size_t out) const noexcept {
        return channels_[out].credit > 0 && !over_;
    }
    /// Whether the other side wants nothing more, or nobody is there.
    [[nodiscard]] bool is_unwanted(std::size_t out) const noexcept {
        return channels_[out].unwanted || over_;
    }
    void sent(std::size_t out, std::size_t n) noexcept { channels_[out].credit -= cost(n); }
    [[nodiscard]] header header_of(kind what, std::size_t number) const noexcept {
        return {id_, 0, what, family::none, static_cast<std::uint16_t>(number)};
    }

    /// Sends what is due. False: there was no room for all of it.
    bool settle(line& to) {
        const auto nothing = [](mutable_bytes) {};
        for (std::size_t i = 0; i < channels_.size() && !over_; ++i) {
            channel& c = channels_[i];
            if (c.ended) continue;
            if (c.enough) {
                if (c.told) continue;
                if (!to.send(header_of(kind::enough, i), 0, filler(nothing))) return false;
                c.told = true;
            } else if (is_due(i)) {
                header h = header_of(kind::credit, i);
                h.number = c.owed;
                if (!to.send(h, 0, filler(nothing))) return false;
                c.room += std::exchange(c.owed, 0);
            }
        }
        return true;
    }

    /// The call is over: what has come can still be taken.
    void end(error_code why) {
        if (!over_) over_ = why;
        pump_ = nullptr;
    }
    [[nodiscard]] bool is_over() const noexcept { return over_.has_value(); }
    void set_pump(pump* p) noexcept { pump_ = p; }
    result<void> wait(deadline& d) {
        if (pump_ == nullptr) return over_ ? *over_ : error_code(errc::would_block);
        return pump_->run(*this, d);
    }
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    void set_id(std::uint64_t id) noexcept { id_ = id; }
    [[nodiscard]] std::size_t channels() const noexcept { return channels_.size(); }

private:
    struct channel {
        backlog<header> items;
        std::optional<error_code> ended;
        std::int64_t room = window_bytes, credit = window_bytes;
        std::uint32_t owed = 0;  // taken, not credited yet
        bool enough = false, told = false, unwanted = false;
    };
    [[nodiscard]] static std::int64_t cost(std::size_t n) noexcept {
        return static_cast<std::int64_t>(n + header::bytes);
    }

    std::uint64_t id_;
    std::vector<channel> channels_;
    std::optional<error_code> over_;
    pump* pump_ = nullptr;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
