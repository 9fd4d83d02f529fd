// SPDX-License-Identifier: MIT
// Channels under Boost.Asio: any completion token on the same ends.
#pragma once

#include <parley/channel.hpp>
#include <parley/drive/asio.hpp>
#include <parley/drive/asio_calls.hpp>
#include <parley/rpc.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/execution/executor.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/system/system_error.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// What async_borrow hands over: a borrowed message, or nothing after an error. Its lifetime is
/// that of `borrowed`: it must not outlive its receiver.
template <class T, source S>
class async_borrowed {
public:
    async_borrowed() = default;
    explicit async_borrowed(borrowed<T, S> b) : message_(std::move(b)) {}

    [[nodiscard]] explicit operator bool() const noexcept { return message_.has_value(); }
    [[nodiscard]] const T& operator*() const { return **message_; }
    [[nodiscard]] const T* operator->() const { return message_->operator->(); }
    /// Lets the message go.
    void reset() noexcept { message_.reset(); }

private:
    std::optional<borrowed<T, S>> message_;
};

namespace detail {

/// The executor's own default token, else asio::deferred: co_await it, or launch it later.
template <class Executor>
using default_token = std::conditional_t<
    std::is_void_v<typename boost::asio::default_completion_token<Executor>::type>,
    boost::asio::deferred_t, typename boost::asio::default_completion_token<Executor>::type>;

template <class Token>
concept token = !std::convertible_to<Token, deadline>;

/// A message on its way into an operation. Those that would burden a stack lie apart.
template <class T>
class outgoing {
public:
    explicit outgoing(T value) : value_(wrapped(std::move(value))) {}
    [[nodiscard]] std::size_t size() const { return codec<T>::size(get()); }
    void write(mutable_bytes out) const { codec<T>::encode(get(), out); }

private:
    static constexpr bool large = sizeof(T) > 256;
    using holder = std::conditional_t<large, std::unique_ptr<T>, T>;

    static holder wrapped(T&& value) {
        if constexpr (large) {
            return std::make_unique<T>(std::move(value));
        } else {
            return std::move(value);
        }
    }
    [[nodiscard]] const T& get() const noexcept {
        if constexpr (large) {
            return *value_;
        } else {
            return value_;
        }
    }

    holder value_;
};

/// What both asynchronous ends have. `End` is the blocking end inside.
template <class End, class Executor>
class async_end {
public:
    using executor_type = Executor;
    using value_type = typename End::value_type;
    /// The blocking end, which release() gives back.
    using end_type = End;

    async_end(async_end&&) noexcept = default;
    async_end& operator=(async_end&& other) {
        if (this != &other) {
            let_go();
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~async_end() { let_go(); }

    [[nodiscard]] Executor get_executor() const { return core_->get_executor(); }
    /// Ends the operation under way with operation_aborted. Nothing is lost; the end stays open.
    void cancel() { core_->abort(); }
    /// Gives the blocking end back and leaves this one empty; an operation under way ends with
    /// operation_aborted.
    [[nodiscard]] End release() { return *std::exchange(core_, nullptr)->let_go(); }

    [[nodiscard]] parley::limits limits() const { return core_->end().limits(); }
    [[nodiscard]] const diagnostics& why() const { return core_->end().why(); }
    [[nodiscard]] uri address() const { return core_->end().address(); }
    [[nodiscard]] static constexpr const message_type& type() noexcept { return End::type(); }

protected:
    using core = drive::attached<End, Executor>;

    async_end(const Executor& ex, End&& end) {
        if (!end.limits().pollable) {
            throw boost::system::system_error(
                errc::unsupported, end.address().text() +
                                       " has no descriptor that a reactor could watch; give it a "
                                       "thread of its own and the blocking calls");
        }
        core_ = std::make_shared<core>(ex, std::move(end));
    }

    std::shared_ptr<core> core_;

private:
    void let_go() noexcept {
        if (core_ != nullptr) (void)core_->let_go();
    }
};

template <class Sender, class Receipt>
concept learns_receipts = requires(Sender& s, Receipt r) {
    s.end().await(r, s.end().sent());
};

}  // namespace detail

/// The receiving end of a channel of T under Asio; `attach` makes it.
///
///     auto ain = parley::attach(io, parley::open_receiver<tick>(parley::shm{"ticks"}).value());
///     tick t = co_await ain.async_receive(asio::use_awaitable);
///     ain.async_receive(50ms, [](parley::error_code ec, tick t) { … });
///
/// Thread safety: distinct ends are independent. One end, its handlers' associated executors and
/// whoever calls it belong to one strand: a context that one thread runs is one. No hidden threads.
/// Lifetimes: it must not outlive its execution context. When it is destroyed, the channel's end
/// closes at once and the operation under way ends with operation_aborted; the handler may destroy
/// it. What is borrowed must not outlive it. In a forked child its operations end with `closed`.
/// Blocking: nothing blocks. An operation keeps its context busy until it completes; its handler is
/// never called by the initiating function. One operation at a time: a second one ends with in_use.
/// Deadlines: operations end with timed_out; one that is zero or past asks once.
/// Cancellation: terminal, partial and total all mean the same: an operation that was cancelled
/// before its message left the transport never takes one and ends with operation_aborted. A message
/// leaves the transport in the handler invocation that calls the completion handler, never before.
/// So a race drops no message, whoever wins:
///     constexpr auto tuple = asio::as_tuple(asio::use_awaitable);
///     auto first = co_await (ain.async_receive(tuple) || timer.async_wait(tuple));
/// The tuple matters: without it `||` takes an error, such as the end of the channel, for no
/// completion, waits for the timer and swallows the error. What comes after a completion is not the
/// channel's to protect. `a || b || c` means `(a || b) || c`: the pair completes only when its
/// loser did, and if `c` completes in between, the operator drops what the pair had. For three or
/// more say experimental::make_parallel_group(a, b, c), which hands over every result. Errors:
/// those of receiver; in_use; operation_aborted; out_of_resources (descriptors). After an error the
/// value is T().
template <class T, transport Address, class Executor = boost::asio::any_io_executor>
class async_receiver : public detail::async_end<receiver<T, Address>, Executor> {
    using base = detail::async_end<receiver<T, Address>, Executor>;
    using default_token = detail::default_token<Executor>;

public:
    using borrowed_type = async_borrowed<T, typename Address::source>;
    template <class Other>
    struct rebind_executor {
        using other = async_receiver<T, Address, Other>;
    };

    async_receiver(const Executor& ex, receiver<T, Address>&& in) : base(ex, std::move(in)) {}
    /// The same end with another type of executor; nothing may be under way.
    template <class Other>
    requires std::constructible_from<Executor, Other> async_receiver(
        async_receiver<T, Address, Other>&& other)
        : async_receiver{Executor(other.get_executor()), other.release()} {}  // in this order

    /// The next message: void(error_code, T).
    template <detail::token Token = default_token>
    auto async_receive(Token&& token = Token()) requires(!codec<T>::borrows) {
        return async_receive(never, std::forward<Token>(token));
    }
    template <detail::token Token = default_token>
    auto async_receive(deadline d, Token&& token = Token()) requires(!codec<T>::borrows) {
        static_assert(std::is_default_constructible_v<T>,
                      "parley: a handler is called with T() after an error, so T needs a default "
                      "constructor; async_borrow works without");
        return drive::start<Token>(this->core_, drive::receive_step<T, decode>{}, d, token);
    }
    /// The next message where it lies: void(error_code, borrowed_type).
    template <detail::token Token = default_token>
    auto async_borrow(Token&& token = Token()) {
        return async_borrow(never, std::forward<Token>(token));
    }
    template <detail::token Token = default_token>
    auto async_borrow(deadline d, Token&& token = Token()) {
        return drive::start<Token>(this->core_, drive::receive_step<borrowed_type, look_at>{}, d,
                                   token);
    }

    /// Closes at once; the operation under way ends with operation_aborted.
    result<void> close() {
        this->core_->abort();
        return this->core_->end().close(expired);
    }
    /// How many senders died so far without closing.
    [[nodiscard]] std::uint64_t peers_lost() const { return this->core_->end().peers_lost(); }
    /// How many messages of its senders never came; 0 where none can be lost.
    [[nodiscard]] std::uint64_t lost() const {
        if constexpr (requires { this->core_->end().lost(); }) {
            return this->core_->end().lost();
        } else {
            return 0;
        }
    }

private:
    using view = typename Address::source::view;

    struct decode {
        result<T> operator()(receiver<T, Address>&, view m) const {
            return codec<T>::decode(m.bytes());
        }
    };
    struct look_at {
        result<borrowed_type> operator()(receiver<T, Address>& in, view m) const {
            auto seen = in.look_at(std::move(m));
            if (!seen) return seen.error();
            return borrowed_type(std::move(*seen));
        }
    };
};

/// The sending end of a channel of T under Asio; `attach` makes it.
///
///     auto aout = parley::attach(io, parley::open_sender<tick>(parley::shm{"ticks"}).value());
///     co_await aout.async_send({7, 99.5}, asio::use_awaitable);
///     aout.async_send({8, 99.4}, 10ms, [](parley::error_code ec) { … });
///
/// Thread safety, blocking and deadlines: as async_receiver.
/// Completion: a send completes when its message is committed: from then on it is the transport's,
/// and what a stream could not take at once is pushed in the background, on the executor of the
/// last handler, also if nobody sends again; the context stays busy until all of it is taken.
/// Cancellation: all kinds mean the same: a send that ended with operation_aborted or timed_out was
/// not sent, and nothing of it will ever arrive; a send is committed and completes in one handler
/// invocation, so in `async_send(…) || timer` the timer wins only over a message that was not sent.
/// Lifetimes: as async_receiver; the destructor is that of sender: it gives streams up to a second
/// for what is still here. async_close waits without blocking.
/// Errors: those of sender; in_use; operation_aborted; out_of_resources (descriptors).
template <class T, transport Address, class Executor = boost::asio::any_io_executor>
class async_sender : public detail::async_end<sender<T, Address>, Executor> {
    using base = detail::async_end<sender<T, Address>, Executor>;
    using default_token = detail::default_token<Executor>;

public:
    template <class Other>
    struct rebind_executor {
        using other = async_sender<T, Address, Other>;
    };

    async_sender(const Executor& ex, sender<T, Address>&& out) : base(ex, std::move(out)) {}
    /// The same end with another type of executor; nothing may be under way.
    template <class Other>
    requires std::constructible_from<Executor, Other> async_sender(
        async_sender<T, Address, Other>&& other)
        : async_sender{Executor(other.get_executor()), other.release()} {}  // in this order

    /// Sends a message: void(error_code).
    template <detail::token Token = default_token>
    auto async_send(T value, Token&& token = Token()) {
        return async_send(std::move(value), never, std::forward<Token>(token));
    }
    template <detail::token Token = default_token>
    auto async_send(T value, deadline d, Token&& token = Token()) {
        using message = detail::outgoing<T>;
        return drive::start<Token>(this->core_,
                                   drive::send_step<message>{message(std::move(value))}, d, token);
    }
    /// Waits for receipts of all that was sent so far, under a guarantee: void(error_code). Nothing
    /// can be sent meanwhile; after timed_out, wait again.
    template <class Receipt, detail::token Token = default_token>
    auto async_await(Receipt far, Token&& token = Token()) requires
        detail::learns_receipts<sender<T, Address>, Receipt> {
        return async_await(far, never, std::forward<Token>(token));
    }
    template <class Receipt, detail::token Token = default_token>
    auto async_await(Receipt far, deadline d, Token&& token = Token()) requires
        detail::learns_receipts<sender<T, Address>, Receipt> {
        const auto number = this->core_->end().end().sent();
        return drive::start<Token>(this->core_, drive::await_step<Receipt>{far, number}, d, token);
    }
    /// Waits until everything sent is on its way, then tells the receiver that this sender is done:
    /// void(error_code). After timed_out or operation_aborted it is still open; close again.
    template <detail::token Token = default_token>
    auto async_close(Token&& token = Token()) {
        return async_close(never, std::forward<Token>(token));
    }
    template <detail::token Token = default_token>
    auto async_close(deadline d, Token&& token = Token()) {
        return drive::start<Token>(this->core_, drive::close_step{}, d, token);
    }
};

/// A client of a service under Asio; `attach` makes it.
///
///     auto c = parley::attach(io, parley::open_client<calculator>(at).value());
///     double sum = co_await c.async_finish(c->add.start(1, 2, 20ms), asio::use_awaitable);
///     c.async_finish(c->add.start(1, 2), [](parley::error_code ec, double sum) { … });
///     std::future<double> f = c.async_finish(c->add.start(1, 2), asio::use_future);
///
/// Any number of calls may be under way. Thread safety, cancellation: as async_receiver; a
/// cancelled call is given up, and its server told. Deadlines: that of start is that of the call.
/// Blocking: `start` waits for room, and after a loss for a server, as long as its deadline allows;
/// nothing else blocks. Lifetimes: it must not outlive its execution context; when it is destroyed,
/// the calls under way end with operation_aborted. In a handler `how()` tells of its call.
/// Errors: those of method; what start could not do arrives here too; operation_aborted.
template <class Service, class Executor = boost::asio::any_io_executor>
class async_client {
    using core = drive::attached_client<client<Service>, Executor>;

public:
    using executor_type = Executor;

    async_client(const Executor& ex, client<Service>&& c)
        : core_(std::make_shared<core>(ex, std::move(c))) {}
    async_client(async_client&&) noexcept = default;
    async_client& operator=(async_client&&) = delete;
    ~async_client() {
        if (core_ != nullptr) core_->let_go();
    }

    [[nodiscard]] const Service* operator->() const noexcept {
        return core_->client().operator->();
    }
    [[nodiscard]] Executor get_executor() const { return core_->get_executor(); }
    /// The answer to a call: void(error_code, R), or void(error_code) if it returns nothing.
    template <class R, detail::token Token = detail::default_token<Executor>>
    auto async_finish(result<pending<R>> started, Token&& token = Token()) {
        using signature = typename drive::signature<R>::type;
        const auto ec = started ? error_code() : started.error();
        return boost::asio::async_compose<Token, signature>(
            drive::finish_operation<core, pending<R>>(
                core_, started ? std::move(*started) : pending<R>(), ec),
            token, core_->get_executor());
    }
    [[nodiscard]] outcome how() const { return core_->link().how(); }
    [[nodiscard]] const diagnostics& why() const { return core_->client().why(); }

private:
    std::shared_ptr<core> core_;
};

/// Puts an end on an executor, or on the context of one. The end is moved only if that succeeds.
/// Throws boost::system::system_error with errc::unsupported if the transport has no descriptor;
/// whatever else may fail (descriptors, a peer that has gone) is reported by the first operation.
///
///     auto ain = parley::attach(io, parley::open_receiver<tick>(parley::shm{"ticks"}).value());
///     auto own = parley::attach(asio::make_strand(pool), std::move(out));
template <class Executor, class T, transport Address>
requires boost::asio::execution::is_executor<Executor>::value
    [[nodiscard]] async_receiver<T, Address, Executor>
    attach(const Executor& ex, receiver<T, Address>&& in) {
    return {ex, std::move(in)};
}
template <class Executor, class T, transport Address>
requires boost::asio::execution::is_executor<Executor>::value
    [[nodiscard]] async_sender<T, Address, Executor>
    attach(const Executor& ex, sender<T, Address>&& out) {
    return {ex, std::move(out)};
}
template <class Context, class Service>
requires std::derived_from<Context, boost::asio::execution_context>
[[nodiscard]] async_client<Service> attach(Context& at, client<Service>&& c) {
    return {at.get_executor(), std::move(c)};
}
template <class Context, class T, transport Address>
requires std::derived_from<Context, boost::asio::execution_context>
[[nodiscard]] async_receiver<T, Address> attach(Context& at, receiver<T, Address>&& in) {
    return {at.get_executor(), std::move(in)};
}
template <class Context, class T, transport Address>
requires std::derived_from<Context, boost::asio::execution_context>
[[nodiscard]] async_sender<T, Address> attach(Context& at, sender<T, Address>&& out) {
    return {at.get_executor(), std::move(out)};
}

}  // namespace v1
}  // namespace parley
