// SPDX-License-Identifier: MIT
// Functions as arguments: the other side calls them back while the call runs.
#pragma once

#include <parley/rpc/arguments.hpp>
#include <parley/rpc/stream.hpp>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// A function of the other side: sends calls of it and takes what comes back.
template <class R, class... A>
class calling_back final : public mover {
    using arguments = rpc::arguments<R, A...>;

public:
    calling_back(std::shared_ptr<talk> t, std::size_t channel)
        : talk_(std::move(t)), channel_(channel) {}

    result<void> begin(const A&... a) {
        if (talk_->is_over()) return talk_->end_of(channel_);
        const std::size_t n = arguments::size(
            arguments::most, [](const hole&, std::size_t) {}, a...);
        if (n == unencodable) return errc::message_too_large;
        queued_.emplace_back(n);
        arguments::write(arguments::most, queued_.back(), a...);
        ++begun_;
        return {};
    }
    /// What came back of the last call that was begun.
    result<R> answer() {
        while (const auto i = talk_->take(channel_)) {
            if (++ended_ != begun_) continue;  // of one that was not waited for any longer
            if (i->head.of != family::none) return failed<R>(read_error(i->head));
            if constexpr (std::is_void_v<R>) {
                return i->body.empty() ? result<R>() : result<R>(errc::corrupt);
            } else {
                return portable<R>::decode(i->body);
            }
        }
        return failed<R>(too_large_ ? errc::message_too_large : talk_->end_of(channel_));
    }
    result<void> wait(deadline& d) { return talk_->wait(d); }

private:
    bool move(talk& t, line& to) override {
        while (!queued_.empty() && t.may_send(channel_)) {
            const auto& next = queued_.front();
            const auto write = [&](mutable_bytes at) {
                if (!next.empty()) std::memcpy(at.data(), next.data(), next.size());
            };
            const auto r = to.send(t.header_of(kind::item, channel_), next.size(), filler(write));
            if (!r && r.error() == errc::would_block) return false;
            if (r) t.sent(channel_, next.size());
            too_large_ = too_large_ || !r;
            queued_.erase(queued_.begin());
        }
        return true;
    }

    std::shared_ptr<talk> talk_;
    std::size_t channel_;
    std::vector<std::vector<std::byte>> queued_;
    std::uint64_t begun_ = 0, ended_ = 0;
    bool too_large_ = false;
};

}  // namespace rpc

/// A function as an argument: on the caller's side made of anything that can be called, on the
/// other side called there, as long as the call runs.
///
///     parley::method<"copy", int(std::string, parley::callback<bool(double)>)> copy;
///     c->copy("disk", [](double part) { return show(part), true; });        // the caller's side
///     .copy = [](const std::string& what, parley::callback<bool(double)> tell)
///         -> parley::eventual<int> {
///         while (…) if (!(co_await tell.start(part)).value()) co_return errc::closed;
///     }
///
/// The caller's functions run in his thread, while he waits for the call, or for a stream of it.
/// Blocking: called as `tell(part)` it waits, and in a handler holds the server up; awaited it does
/// not. Thread safety: that of its call. Lifetime: none of it outlives the call, after which it is
/// errc::closed.
/// Errors: what the function returned, or threw; closed; peer_lost; message_too_large; timed_out.
template <class R, class... A>
class callback<R(A...)> {
    using far_type = rpc::calling_back<R, std::remove_cvref_t<A>...>;

public:
    callback() = default;
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, callback> &&
             std::is_invocable_v<F&, const std::remove_cvref_t<A>&...>)
        callback(F f)  // NOLINT(google-explicit-constructor)
        : near_([f = std::move(f)](const std::remove_cvref_t<A>&... a) mutable -> result<R> {
              if constexpr (std::is_void_v<
                                std::invoke_result_t<F&, const std::remove_cvref_t<A>&...>>) {
                  f(a...);
                  return {};
              } else {
                  return f(a...);
              }
          }) {}
    explicit callback(std::shared_ptr<far_type> far) : far_(std::move(far)) {}

    [[nodiscard]] explicit operator bool() const noexcept { return near_ || far_; }
    result<R> operator()(const std::remove_cvref_t<A>&... a, deadline d = never) const {
        if (!far_) return near_ ? near_(a...) : result<R>(errc::unsupported);
        if (auto r = far_->begin(a...); !r) return rpc::failed<R>(r.error());
        for (;;) {
            auto answer = far_->answer();
            if (answer || answer.error() != errc::would_block || d.is_try()) return answer;
            if (auto r = far_->wait(d); !r) return rpc::failed<R>(r.error());
        }
    }
    /// In a coroutine: `auto r = co_await f.start(x)`.
    [[nodiscard]] auto start(const std::remove_cvref_t<A>&... a) const {
        std::optional<result<R>> now;
        if (!far_) {
            now = near_ ? near_(a...) : result<R>(errc::unsupported);
        } else if (auto r = far_->begin(a...); !r) {
            now = rpc::failed<R>(r.error());
        }
        auto ask = [now = std::move(now), far = far_] { return now ? *now : far->answer(); };
        auto wait = [far = far_](deadline& d) { return far ? far->wait(d) : result<void>(); };
        return rpc::asking<decltype(ask), decltype(wait)>(std::move(ask), std::move(wait));
    }

private:
    std::function<result<R>(const std::remove_cvref_t<A>&...)> near_;
    std::shared_ptr<far_type> far_;
};

namespace rpc {

template <class Signature>
class answering;
/// Answers the calls of a callback.
template <class R, class... A>
class answering<R(A...)> final : public mover {
    using arguments = rpc::arguments<R, std::remove_cvref_t<A>...>;

public:
    answering(callback<R(A...)> f, std::size_t channel) : function_(std::move(f)), at_(channel) {}

private:
    bool move(talk& t, line& to) override {
        for (;;) {
            if (!answer_) {
                const auto i = t.take(at_);
                if (!i) return true;
                words_.clear();
                answer_.emplace(run(i->body));
            }
            if (!t.may_send(at_)) return true;
            const auto r = send(t, to);
            if (!r && r.error() == errc::would_block) return false;
            answer_.reset();
        }
    }
    result<R> run(bytes in) {
        typename arguments::values values{};
        if (!arguments::read(arguments::most, in, values)) return errc::corrupt;
        return guarded<R>([&] { return std::apply(function_, values); },
                          [this](error_code ec, const char* words) { return words_ = words, ec; });
    }
    result<void> send(talk& t, line& to) {
        header h = t.header_of(kind::item, at_);
        if constexpr (std::is_void_v<R>) {
            if (*answer_) return sent(t, 0, to.send_words(h, {}));
        } else if (*answer_) {
            const std::size_t n = portable<R>::size(**answer_);
            const auto write = [this](mutable_bytes at) { portable<R>::encode(**answer_, at); };
            const auto r = n == unencodable ? result<void>(errc::message_too_large)
                                            : to.send(h, n, filler(write));
            if (r || r.error() == errc::would_block) return sent(t, n, r);
            answer_ = failed<R>(r.error());
        }
        write_error(h, answer_->error());
        return sent(t, words_.size(), to.send_words(h, words_));
    }
    static result<void> sent(talk& t, std::size_t at, std::size_t n, result<void> r) {
        if (r) t.sent(at, n);
        return r;
    }
    result<void> sent(talk& t, std::size_t n, result<void> r) { return sent(t, at_, n, r); }

    callback<R(A...)> function_;
    std::size_t at_;
    std::optional<result<R>> answer_;
    std::string words_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
