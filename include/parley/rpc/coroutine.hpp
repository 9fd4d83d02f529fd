// SPDX-License-Identifier: MIT
// Coroutines that wait for streams and callbacks: they are asked again whenever something may have
// come, so they need no scheduler, no thread and no queue.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/rpc/live.hpp>

#include <concepts>
#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

/// What a coroutine waits for. It lies in the coroutine's frame.
class awaited {
public:
    [[nodiscard]] virtual bool is_ready() = 0;
    /// Blocks until is_ready() may say something else.
    virtual result<void> wait(deadline&) = 0;

protected:
    ~awaited() = default;
};

/// What the promises of eventual and stream have in common.
struct coroutine_promise {
    awaited* waits_for = nullptr;
    std::exception_ptr thrown;

    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_always final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

/// A coroutine, and its end when this ends. Copies are not made.
template <std::derived_from<coroutine_promise> Promise>
class coroutine {
public:
    explicit coroutine(Promise& p) : at_(std::coroutine_handle<Promise>::from_promise(p)) {}
    coroutine(coroutine&& other) noexcept : at_(std::exchange(other.at_, nullptr)) {}
    coroutine& operator=(coroutine&& other) noexcept {
        std::swap(at_, other.at_);
        return *this;
    }
    ~coroutine() {
        if (at_) at_.destroy();
    }

    [[nodiscard]] Promise& promise() const { return at_.promise(); }
    [[nodiscard]] bool is_done() const { return at_.done(); }
    /// Goes on until it waits, yields or is done. False: what it waits for is not there. An
    /// exception that leaves it leaves this.
    bool go_on() {
        Promise& p = promise();
        if (p.waits_for != nullptr && !p.waits_for->is_ready()) return false;
        p.waits_for = nullptr;
        at_.resume();
        if (p.thrown) std::rethrow_exception(std::exchange(p.thrown, nullptr));
        return true;
    }
    result<void> wait(deadline& d) const {
        Promise& p = promise();
        return p.waits_for != nullptr ? p.waits_for->wait(d) : result<void>();
    }

private:
    std::coroutine_handle<Promise> at_;
};

/// Waits for `ask()`, which is a result and would_block until it is there.
template <class Ask, class Wait>
class asking final : public awaited {
public:
    using got_type = std::invoke_result_t<Ask&>;

    asking(Ask ask, Wait wait) : ask_(std::move(ask)), wait_(std::move(wait)) {}

    [[nodiscard]] bool is_ready() override {
        got_.emplace(ask_());
        return got_->has_value() || got_->error() != errc::would_block;
    }
    result<void> wait(deadline& d) override { return wait_(d); }

    [[nodiscard]] bool await_ready() { return is_ready(); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) {
        static_assert(std::derived_from<Promise, coroutine_promise>,
                      "parley: streams and callbacks are awaited in coroutines that return a "
                      "parley::stream or a parley::eventual");
        h.promise().waits_for = this;
    }
    [[nodiscard]] got_type await_resume() { return std::move(*got_); }

private:
    Ask ask_;
    Wait wait_;
    std::optional<got_type> got_;
};

/// What an eventual returns.
template <class R>
struct eventual_promise : coroutine_promise {
    std::optional<result<R>> value;
    void return_value(result<R> v) { value.emplace(std::move(v)); }
    void return_value(error_code ec) { value.emplace(boost::system::in_place_error, ec); }
    void return_value(errc e) { return_value(make_error_code(e)); }
};
template <>
struct eventual_promise<void> : coroutine_promise {
    std::optional<result<void>> value;
    void return_void() { value.emplace(); }
};

}  // namespace rpc

/// A handler that can wait: of a method with streams or callbacks. It goes on when what it waits
/// for comes; the server answers others meanwhile.
///
///     .load = [](parley::stream<row> rows) -> parley::eventual<int> {
///         int n = 0;
///         while (auto r = co_await rows) n += r->amount;
///         co_return n;                                     // or an error: co_return errc::denied
///     }
///
/// Its arguments live as long as it does; what a lambda captured lives in the service. It is
/// destroyed where it waits when its caller gives up or dies.
template <class R>
class eventual {
public:
    struct promise_type : rpc::eventual_promise<R> {
        eventual get_return_object() { return eventual(rpc::coroutine<promise_type>(*this)); }
    };

    eventual(result<R> done) : done_(std::move(done)) {}  // NOLINT(google-explicit-constructor)
    template <class E>
    requires(!std::same_as<E, result<R>> && std::convertible_to<E, result<R>> &&
             !std::same_as<std::remove_cvref_t<E>, eventual>)
        eventual(E&& done)  // NOLINT(google-explicit-constructor)
        : done_(std::forward<E>(done)) {}

    /// The answer, once; nothing: it waits for something.
    [[nodiscard]] std::optional<result<R>> pull() {
        if (!running_) return std::move(done_);
        while (running_->go_on()) {
            if (running_->is_done()) return std::move(running_->promise().value);
        }
        return std::nullopt;
    }
    /// Waits until pull may have something to say.
    result<void> wait(deadline& d) const { return running_ ? running_->wait(d) : result<void>(); }

private:
    explicit eventual(rpc::coroutine<promise_type> c) : running_(std::move(c)) {}

    std::optional<rpc::coroutine<promise_type>> running_;
    std::optional<result<R>> done_;
};

}  // namespace v1
}  // namespace parley
