// SPDX-License-Identifier: MIT
// Calls under way, and what came of them.
#pragma once

#include <parley/codec/portable.hpp>
#include <parley/rpc/conversation.hpp>
#include <parley/rpc/remote.hpp>

#include <memory>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// The answer to a call: a result, and what is known of the call whatever the result is.
template <class R>
class reply : public result<R> {
public:
    reply(result<R> r, outcome how) : result<R>(std::move(r)), how_(how) {}
    reply(error_code ec, outcome how) : result<R>(boost::system::in_place_error, ec), how_(how) {}
    reply(errc e, outcome how) : reply(make_error_code(e), how) {}
    [[nodiscard]] outcome how() const noexcept { return how_; }

private:
    outcome how_;
};

namespace rpc {

template <class R>
[[nodiscard]] result<R> decode_answer(bytes in) {
    if constexpr (std::is_void_v<R>) {
        return in.empty() ? result<void>() : result<void>(errc::corrupt);
    } else {
        static_assert(!portable<R>::borrows,
                      "parley: an answer outlives its message: return a std::string, a vector");
        return portable<R>::decode(in);
    }
}

}  // namespace rpc

/// A call that was started: finish it, or let it go, which gives it up.
///
/// It can be an argument of the next call, in place of the answer that it will have: see method.
///
/// Thread safety: its client's thread. Lifetime: it must not outlive its client.
template <class R>
class pending {
public:
    using answer_type = R;

    pending() = default;
    /// `talk`: where the streams and callbacks among its arguments are.
    pending(rpc::remote* at, std::uint64_t id,
            std::shared_ptr<rpc::conversation> talk = nullptr) noexcept
        : far_(at), id_(id), talk_(std::move(talk)) {}
    pending(pending&& other) noexcept
        : far_(std::exchange(other.far_, nullptr)), id_(other.id_), talk_(std::move(other.talk_)) {}
    pending& operator=(pending&& other) noexcept {
        if (this != &other) {
            cancel();
            far_ = std::exchange(other.far_, nullptr);
            id_ = other.id_;
            talk_ = std::move(other.talk_);
        }
        return *this;
    }
    ~pending() { cancel(); }

    /// The answer. timed_out or would_block by this deadline alone: it goes on, ask again.
    [[nodiscard]] reply<R> finish(deadline d = never) {
        if (far_ == nullptr) return {errc::invalid_argument, outcome::unknown};
        auto answer = far_->finish(id_, d);
        if (!answer) {
            if (far_->is_known(id_)) return {answer.error(), outcome::unknown};
            talk_.reset();
            return {answer.error(), std::exchange(far_, nullptr)->how()};
        }
        auto value = rpc::decode_answer<R>(*answer);
        far_ = nullptr;
        talk_.reset();
        const outcome how = value ? outcome::done : outcome::failed;
        return {std::move(value), how};
    }
    [[nodiscard]] reply<R> try_finish() { return finish(expired); }
    /// Gives the call up, and tells the server.
    void cancel() noexcept {
        if (far_ != nullptr) std::exchange(far_, nullptr)->cancel(id_);
        talk_.reset();
    }
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    /// Whom it was made to; null when it is over.
    [[nodiscard]] rpc::remote* at() const noexcept { return far_; }
    /// Takes the call out, for who finishes it elsewhere.
    std::uint64_t release() noexcept {
        far_ = nullptr;
        return id_;
    }

private:
    rpc::remote* far_ = nullptr;
    std::uint64_t id_ = 0;
    std::shared_ptr<rpc::conversation> talk_;
};

}  // namespace v1
}  // namespace parley
