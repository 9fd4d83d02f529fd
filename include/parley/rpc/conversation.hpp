// SPDX-License-Identifier: MIT
// The caller's side of a call with streams or callbacks.
#pragma once

#include <parley/rpc/callback.hpp>
#include <parley/rpc/remote.hpp>
#include <parley/rpc/stream.hpp>
#include <parley/rpc/talk.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// A call and its talk. It gives the call up when it ends, unless that was finished.
class conversation final : public talker, public talk::pump {
public:
    conversation(remote& far, std::size_t channels)
        : far_(&far), talk_(std::make_shared<talk>(0, channels)) {}
    conversation(const conversation&) = delete;
    conversation& operator=(const conversation&) = delete;
    ~conversation() {
        if (begun_) far_->leave(talk_->id());
        talk_->end(errc::closed);
    }

    /// Binds an argument to a channel.
    template <class T>
    void add(const stream<T>& s, std::size_t channel) {
        movers_.push_back(std::make_unique<departing<T>>(s, channel, true));
    }
    template <class S>
    void add(const callback<S>& f, std::size_t channel) {
        movers_.push_back(std::make_unique<answering<S>>(f, channel));
    }
    /// The call was sent.
    void begin(std::uint64_t id) {
        begun_ = true;
        talk_->set_id(id);
        talk_->set_pump(this);
        far_->join(id, *this);
    }

    bool on_frame(const header& h, bytes body) override { return talk_->on_frame(h, body); }
    void work(line& to) override {
        for (const auto& m : movers_) {
            if (!m->go(*talk_, to)) return;
        }
        (void)talk_->settle(to);
    }
    result<void> run(const talk&, deadline& d) override { return wait(d); }
    result<void> wait(deadline& d) { return far_->pump(talk_->id(), d); }
    /// Whether the call is over; its error is then what its streams end with.
    bool look() {
        if (talk_->is_over()) return true;
        if (!far_->is_settled(talk_->id())) return false;
        const auto answer = far_->finish(talk_->id(), never);
        talk_->end(answer ? error_code(errc::closed) : answer.error());
        return true;
    }
    /// Nobody wants the answer.
    void give_up() {
        if (!talk_->is_over()) far_->cancel(talk_->id());
    }
    [[nodiscard]] const std::shared_ptr<talk>& frames() const noexcept { return talk_; }

private:
    remote* far_;
    std::shared_ptr<talk> talk_;
    std::vector<std::unique_ptr<mover>> movers_;
    bool begun_ = false;
};

/// A stream that is the answer to a call.
template <class T>
class answered_stream final : public stream_source<T> {
public:
    explicit answered_stream(std::shared_ptr<conversation> c)
        : call_(std::move(c)), in_(call_->frames(), 0) {}
    ~answered_stream() override { call_->give_up(); }

    result<T> pull() override {
        auto v = in_.pull();
        deadline now = expired;
        if (v && call_->frames()->is_due(0)) (void)call_->wait(now);
        if (v || v.error() != errc::would_block) return v;
        (void)call_->wait(now);
        (void)call_->look();
        return in_.pull();
    }
    result<void> wait(deadline& d) override { return call_->wait(d); }

private:
    std::shared_ptr<conversation> call_;
    arriving<T> in_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
