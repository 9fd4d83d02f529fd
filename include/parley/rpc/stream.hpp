// SPDX-License-Identifier: MIT
// Streams: values that come one after another, as an argument of a method or as its answer.
#pragma once

#include <parley/codec/portable.hpp>
#include <parley/rpc/coroutine.hpp>
#include <parley/rpc/guarded.hpp>
#include <parley/rpc/talk.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

/// Where the values of a stream come from.
template <class T>
class stream_source {
public:
    stream_source() = default;
    stream_source(const stream_source&) = delete;
    stream_source& operator=(const stream_source&) = delete;
    virtual ~stream_source() = default;

    /// The next value. would_block: not yet; closed: there are no more.
    virtual result<T> pull() = 0;
    /// Waits until pull may have something else to say.
    virtual result<void> wait(deadline&) = 0;
};

template <class T>
struct stream_promise : coroutine_promise {
    std::optional<T> value;
    std::optional<error_code> failed;

    std::suspend_always yield_value(T v) {
        value.emplace(std::move(v));
        return {};
    }
    std::suspend_always yield_value(error_code ec) {
        failed = ec;
        return {};
    }
    std::suspend_always yield_value(errc e) { return yield_value(make_error_code(e)); }
    void return_void() const noexcept {}
};

template <class T, class Promise>
class yielding final : public stream_source<T> {
public:
    explicit yielding(coroutine<Promise> c) : from_(std::move(c)) {}

    result<T> pull() override {
        auto& p = from_->promise();
        while (!p.failed && !from_->is_done() && from_->go_on()) {
            if (p.value) {
                result<T> v = std::move(*p.value);
                p.value.reset();
                return v;
            }
        }
        if (p.failed) return failed<T>(*p.failed);
        return from_->is_done() ? errc::closed : errc::would_block;
    }
    result<void> wait(deadline& d) override { return from_->wait(d); }

private:
    std::optional<coroutine<Promise>> from_;
};

template <class T, class F>
class computed final : public stream_source<T> {
public:
    explicit computed(F f) : next_(std::move(f)) {}

    result<T> pull() override {
        auto v = next_();
        if constexpr (std::same_as<decltype(v), std::optional<T>>) {
            if (!v) return errc::closed;
            return std::move(*v);
        } else {
            return v;
        }
    }
    /// Nobody tells when a function has something.
    result<void> wait(deadline&) override { return errc::would_block; }

private:
    F next_;
};

/// A stream that the other side sends.
template <class T>
class arriving final : public stream_source<T> {
public:
    arriving(std::shared_ptr<talk> t, std::size_t channel)
        : talk_(std::move(t)), channel_(channel) {}
    ~arriving() override { talk_->enough(channel_); }

    result<T> pull() override {
        static_assert(!portable<T>::borrows,
                      "parley: a value of a stream outlives its message: send a std::string, a "
                      "vector");
        const auto i = talk_->take(channel_);
        if (!i) return failed<T>(talk_->end_of(channel_));
        if (i->head.of != family::none) return failed<T>(read_error(i->head));
        return portable<T>::decode(i->body);
    }
    result<void> wait(deadline& d) override { return talk_->wait(d); }

private:
    std::shared_ptr<talk> talk_;
    std::size_t channel_;
};

}  // namespace rpc

/// Values of T, one after another: an argument or the answer of a method, near or far.
///
///     struct market {
///         parley::method<"watch(symbol)", parley::stream<tick>(std::string)> watch;
///         parley::method<"load(rows)", std::int64_t(parley::stream<row>)> load;
///         parley::method<"translate", parley::stream<word>(parley::stream<word>)> translate;
///     };
///
/// It is made of a coroutine that yields (an error, last: `co_yield errc::denied`), or of a
/// function that returns std::optional<T>, nothing at the end, or result<T>:
///
///     parley::stream<tick> watch(std::string symbol) { for (…) co_yield last(symbol); }
///
/// and it is taken from, or awaited in another such coroutine, or a parley::eventual:
///
///     auto ticks = c->watch("EURUSD").value();
///     while (auto t = ticks.next(1s)) use(*t);
///
/// Values are made when they are asked for, and sent ahead as far as the credit of the other side
/// goes: 256 KiB (rpc::talk). Who drops his last copy of a stream wants no more of it: then the
/// other side stops, and what yielded is destroyed.
///
/// A copy is the same stream. Thread safety, lifetime: those of its call; of a client, its.
/// Blocking: next() waits; in a handler it holds the server up, which co_await does not. What a
/// function says would_block of is asked again when something else happens; next() returns that.
/// Errors of next: closed at the end; what its maker ended it with; timed_out, would_block;
/// peer_lost at once when the other side dies; corrupt.
template <class T>
class stream {
public:
    using value_type = T;
    struct promise_type : rpc::stream_promise<T> {
        stream get_return_object() {
            using source = rpc::yielding<T, promise_type>;
            return stream(std::make_shared<source>(rpc::coroutine<promise_type>(*this)));
        }
    };

    stream() = default;
    template <class F>
    requires(std::same_as<std::invoke_result_t<F&>, std::optional<T>> ||
             std::same_as<std::invoke_result_t<F&>, result<T>>)
        stream(F next)  // NOLINT(google-explicit-constructor)
        : from_(std::make_shared<rpc::computed<T, F>>(std::move(next))) {}
    explicit stream(std::shared_ptr<rpc::stream_source<T>> from) : from_(std::move(from)) {}

    [[nodiscard]] explicit operator bool() const noexcept { return from_ != nullptr; }
    result<T> next(deadline d = never) const {
        for (;;) {
            auto v = try_next();
            if (v || v.error() != errc::would_block || d.is_try()) return v;
            if (auto r = wait(d); !r) return rpc::failed<T>(r.error());
        }
    }
    result<T> try_next() const {
        if (from_ == nullptr) return errc::closed;
        return from_->pull();
    }
    /// Waits until try_next may have something else to say.
    result<void> wait(deadline& d) const { return from_ ? from_->wait(d) : result<void>(); }
    /// In a coroutine: `while (auto v = co_await values) …`
    [[nodiscard]] auto operator co_await() const {
        auto ask = [s = *this] { return s.try_next(); };
        auto sleep = [s = *this](deadline& d) { return s.wait(d); };
        return rpc::asking<decltype(ask), decltype(sleep)>(std::move(ask), std::move(sleep));
    }

private:
    std::shared_ptr<rpc::stream_source<T>> from_;
};

namespace rpc {

/// What one side of a call does beside waiting: sends a stream, answers a callback.
class mover {
public:
    mover() = default;
    mover(const mover&) = delete;
    mover& operator=(const mover&) = delete;
    virtual ~mover() = default;

    /// Does and sends what can be now. False: there was no room. What it runs may wait, and so come
    /// here again: then the others move.
    bool go(talk& t, line& to) {
        if (busy_) return true;
        busy_ = true;
        const bool room = move(t, to);
        busy_ = false;
        return room;
    }

private:
    virtual bool move(talk&, line&) = 0;

    bool busy_ = false;
};

/// Sends a stream. `says_end`: in the channel; else it is for who answers the call.
class departing_stream : public mover {
public:
    explicit departing_stream(bool says_end) noexcept : says_end_(says_end) {}

    [[nodiscard]] bool is_over() const noexcept { return end_ && !says_end_; }
    /// closed, or what it ended with.
    [[nodiscard]] const error_code& end() const noexcept { return *end_; }
    [[nodiscard]] const std::string& words() const noexcept { return words_; }

protected:
    std::optional<error_code> end_;
    std::string words_;
    bool says_end_;
};
template <class T>
class departing final : public departing_stream {
public:
    departing(stream<T> from, std::size_t channel, bool says_end)
        : departing_stream(says_end), from_(std::move(from)), channel_(channel) {}

private:
    bool move(talk& t, line& to) override {
        while (!is_over()) {
            if (t.is_unwanted(channel_)) {
                finish(errc::closed);
                says_end_ = false;
                return true;
            }
            if (!end_ && !held_) {
                if (!t.may_send(channel_)) return true;
                auto v = guarded<T>(
                    [this] { return from_.try_next(); },
                    [this](error_code ec, const char* words) { return words_ = words, ec; });
                if (v) {
                    held_.emplace(std::move(*v));
                } else if (v.error() == errc::would_block) {
                    return true;
                } else {
                    finish(v.error());
                }
            }
            if (held_ ? !send_value(t, to) : !send_end(t, to)) return false;
        }
        return true;
    }
    void finish(error_code why) {
        end_ = why;
        held_.reset();
        from_ = {};  // whoever yields is destroyed
    }
    bool send_value(talk& t, line& to) {
        const std::size_t n = portable<T>::size(*held_);
        const auto write = [this](mutable_bytes at) { portable<T>::encode(*held_, at); };
        const auto r = n == unencodable
                           ? result<void>(errc::message_too_large)
                           : to.send(t.header_of(kind::item, channel_), n, filler(write));
        if (r) {
            t.sent(channel_, n);
            held_.reset();
        } else if (r.error() != errc::would_block) {
            words_ = "a value of the stream is too long for the transport";
            finish(r.error());
        }
        return r || r.error() != errc::would_block;
    }
    bool send_end(talk& t, line& to) {
        if (!says_end_) return true;
        header h = t.header_of(kind::end, channel_);
        if (*end_ != errc::closed) write_error(h, *end_);
        const auto r = to.send_words(h, words_);
        if (!r && r.error() == errc::would_block) return false;
        says_end_ = false;
        return true;
    }

    stream<T> from_;
    std::size_t channel_;
    std::optional<T> held_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
