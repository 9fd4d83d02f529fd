// SPDX-License-Identifier: MIT
// Calls that take longer than their turn: those with streams or callbacks, at the server.
#pragma once

#include <parley/rpc/answer.hpp>
#include <parley/rpc/callback.hpp>
#include <parley/rpc/method.hpp>
#include <parley/rpc/stream.hpp>
#include <parley/rpc/talk.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// A call under way. It decides when it is asked to go on, and does nothing in between.
class running {
public:
    running() = default;
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    virtual ~running() = default;

    virtual void begin(std::uint64_t id, talk::pump&) = 0;
    /// False: nobody who speaks this writes it.
    virtual bool on_frame(const header&, bytes body) = 0;
    /// Sends what can be sent.
    virtual void work(line&) = 0;
    /// Goes on with the handler, and sends what can be sent. True: it was answered.
    virtual bool go_on(line&, answer_sink&) = 0;
};

template <class Method>
class running_call final : public running {
    using R = typename Method::answer_type;
    using values = typename Method::values;

public:
    static_assert(!Method::arguments::borrows,
                  "parley: the arguments of a method with streams or callbacks outlive their "
                  "message: take a std::string, a vector");

    running_call(const Method& m, values v, std::unique_ptr<call_context> c)
        : method_(m),
          context_(std::move(c)),
          arguments_(std::move(v)),
          talk_(std::make_shared<talk>(0, std::tuple_size_v<values> + 1)) {
        bind(std::make_index_sequence<std::tuple_size_v<values>>{});
    }
    ~running_call() override {
        talk_->end(errc::closed);
        movers_.clear();
        handler_.reset();
    }

    void begin(std::uint64_t id, talk::pump& by) override {
        talk_->set_id(id);
        talk_->set_pump(&by);
    }
    bool on_frame(const header& h, bytes body) override { return talk_->on_frame(h, body); }
    void work(line& to) override {
        for (const auto& m : movers_) {
            if (!m->go(*talk_, to)) return;
        }
        (void)talk_->settle(to);
    }
    bool go_on(line& to, answer_sink& out) override {
        work(to);
        if (!stream_) {
            std::optional<result<R>> r = ask();
            if (r && (!is_stream<R> || !*r)) {
                if constexpr (is_stream<R>) {
                    send_answer<void>(r->error(), *context_, out);
                } else {
                    send_answer<R>(*r, *context_, out);
                }
                return true;
            }
            if constexpr (is_stream<R>) {
                if (r) send_stream(std::move(**r));
            }
            work(to);  // what the handler has begun
        }
        if (!stream_ || !stream_->is_over()) return false;
        answer_end(out);
        return true;
    }

private:
    template <std::size_t... I>
    void bind(std::index_sequence<I...>) {
        (bind_one(std::get<I>(arguments_), I + 1), ...);
    }
    template <class T>
    void bind_one(T&, std::size_t) {}
    template <class T>
    void bind_one(stream<T>& s, std::size_t channel) {
        s = stream<T>(std::make_shared<arriving<T>>(talk_, channel));
    }
    template <class C, class... A>
    void bind_one(callback<C(A...)>& f, std::size_t channel) {
        using far = calling_back<C, std::remove_cvref_t<A>...>;
        auto made = std::make_shared<far>(talk_, channel);
        f = callback<C(A...)>(made);
        movers_.push_back(std::move(made));
    }
    /// What the handler says; nothing: it waits.
    std::optional<result<R>> ask() {
        std::optional<result<R>> r;
        const auto done = run_guarded<void>(*context_, [&]() -> result<void> {
            if (!handler_) handler_.emplace(call());
            r = handler_->pull();
            return {};
        });
        if (!done) r.emplace(failed<R>(done.error()));
        return r;
    }
    eventual<R> call() {
        return std::apply(
            [this](const auto&... a) { return access::handler(method_)(*context_, a...); },
            arguments_);
    }
    template <class T>
    void send_stream(stream<T> s) {
        stream_ = std::make_shared<departing<T>>(std::move(s), 0, false);
        movers_.push_back(stream_);
    }

    void answer_end(answer_sink& out) {
        const error_code& why = stream_->end();
        if (context_->why().empty() && !stream_->words().empty()) {
            (void)context_->fail(why, stream_->words());
        }
        send_answer<void>(why == errc::closed ? result<void>() : why, *context_, out);
    }

    const Method& method_;
    std::unique_ptr<call_context> context_;
    values arguments_;
    std::shared_ptr<talk> talk_;
    std::vector<std::shared_ptr<mover>> movers_;
    std::shared_ptr<departing_stream> stream_;  // that is the answer
    std::optional<eventual<R>> handler_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
