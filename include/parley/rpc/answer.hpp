// SPDX-License-Identifier: MIT
// From a handler to its answer: what it returns or throws, as a frame.
#pragma once

#include <parley/codec/portable.hpp>
#include <parley/rpc/frame.hpp>
#include <parley/rpc/guarded.hpp>
#include <parley/rpc/remote.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

class running;

/// Where an answer goes.
class answer_sink {
public:
    answer_sink() = default;
    answer_sink(const answer_sink&) = delete;
    answer_sink& operator=(const answer_sink&) = delete;
    virtual ~answer_sink() = default;
    virtual void send(header, std::size_t n, filler) = 0;
    /// A call that takes longer than its turn: it goes on from time to time until it is answered.
    virtual void keep(std::unique_ptr<running>) {
        refuse(errc::unsupported, "streams and callbacks are not for here");
    }
    /// A context that lives as long as such a call.
    [[nodiscard]] virtual std::unique_ptr<call_context> lasting(time_point until) {
        return std::make_unique<call_context>(until);
    }

    void refuse(errc e, std::string_view words) { fail(kind::refusal, e, words); }
    void fail(kind how, error_code ec, std::string_view words) {
        header h{0, 0, how, family::none};
        write_error(h, ec);
        const auto write = [words](mutable_bytes to) {
            if (!words.empty()) std::memcpy(to.data(), words.data(), words.size());
        };
        send(h, words.size(), filler(write));
    }
};

/// Runs handlers and turns whatever leaves them into an error. Its words are in `c`.
template <class R, class Run>
[[nodiscard]] result<R> run_guarded(call_context& c, Run run) {
    return guarded<R>(std::move(run),
                      [&c](error_code ec, const char* words) { return c.fail(ec, words); });
}

/// What the handler of a method that returns R has said.
template <class R>
void send_answer(const result<R>& r, const call_context& c, answer_sink& out) {
    if (!r) {
        const std::string words = c.why().empty() ? r.error().message() : c.why().text();
        return out.fail(kind::failure, r.error(), words);
    }
    const header h{0, 0, kind::value, family::none};
    if constexpr (std::is_void_v<R>) {
        const auto nothing = [](mutable_bytes) {};
        out.send(h, 0, filler(nothing));
    } else {
        const std::size_t n = portable<R>::size(*r);
        if (n == unencodable) {
            return out.fail(kind::failure, errc::message_too_large,
                            "an answer without an encoding");
        }
        const auto write = [&](mutable_bytes to) { portable<R>::encode(*r, to); };
        out.send(h, n, filler(write));
    }
}

}  // namespace rpc
}  // namespace v1
}  // namespace parley
