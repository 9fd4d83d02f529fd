// SPDX-License-Identifier: MIT
// Waiting under Asio, written once for all transports: the loop that drive/blocking.hpp writes with
// `wait`, as a composed operation.
//
//   initiation        takes the one turn that an end has, and posts
//   after the post    cancelled? asks the transport; would_block: waits on a copy of pollable()
//   after each wait   the same
//   an answer         gives the turn back and calls the completion handler, in the same invocation
//
// So a message is never between the transport and its handler while other handlers run. All of this
// runs on the associated executor of the completion handler, as in every composed operation.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/transport.hpp>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// An end of a channel on an executor: what its handle and its operations share. `End` has the
/// transport's end as `end()`. The handle holds it and calls let_go(); an operation that comes back
/// later finds no end and reports operation_aborted.
///
/// Thread safety: one strand. The descriptor watched is a copy of pollable(), so that the reactor
/// forgets it before anybody closes the original.
template <class End, class Executor>
class attached : public std::enable_shared_from_this<attached<End, Executor>> {
public:
    attached(const Executor& ex, End&& end) : end_(std::move(end)), watched_(ex), timer_(ex) {}

    [[nodiscard]] bool is_gone() const noexcept { return !end_; }
    [[nodiscard]] End& end() noexcept { return *end_; }
    [[nodiscard]] const End& end() const noexcept { return *end_; }
    [[nodiscard]] Executor get_executor() noexcept { return watched_.get_executor(); }

    /// Ends the operation that is under way, if any, and takes the end out.
    [[nodiscard]] std::optional<End> let_go() {
        abort();
        unwatch();
        return std::exchange(end_, std::nullopt);
    }
    /// Ends the operation that is under way with operation_aborted, whatever it waits for.
    void abort() {
        aborted_ = true;
        wake();
    }
    void unwatch() noexcept {
        error_code ignored;
        watched_.close(ignored);
    }

private:
    template <class, class>
    friend class operation;
    template <class>
    friend class turn;

    void wake() {
        error_code ignored;
        watched_.cancel(ignored);
    }
    /// Has the descriptor made, copied and registered, once.
    error_code watch() {
        if (watched_.is_open()) return {};
        const auto fd = end_->end().pollable();
        if (!fd) return fd.error();
        detail::unique_fd copy(::fcntl(*fd, F_DUPFD_CLOEXEC, 0));
        if (!copy) return detail::last_error();
        error_code ec;
        watched_.assign(copy.get(), ec);
        if (!ec) copy.release();
        return ec;
    }
    template <class Handler>
    void wait(Handler&& handler) {
        watched_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                            std::forward<Handler>(handler));
    }
    /// At `at` the operation of this turn is late; an answer that comes with it still counts.
    template <class OtherExecutor>
    void wake_at(time_point at, const OtherExecutor& ex) {
        armed_ = true;
        timer_.expires_at(at);
        timer_.async_wait(boost::asio::bind_executor(
            ex, [weak = this->weak_from_this(), turn = turn_](error_code ec) {
                const auto self = weak.lock();
                if (ec || self == nullptr || self->turn_ != turn) return;
                self->late_ = true;
                self->wake();
            }));
    }

    /// Pushes what a stream still holds, also when nobody sends again; an operation under way does
    /// it itself. `ex` is that of the last handler: a handler's strand protects this too.
    template <class OtherExecutor>
    void settle(const OtherExecutor& ex) {
        if (flushing_ && !bytes_left_) wake();  // it may wait for what has closed by now
        if (flushing_ || !bytes_left_ || watch()) return;
        flushing_ = true;
        wait(boost::asio::bind_executor(
            ex, [self = this->shared_from_this(), ex](error_code) { self->flush_now(ex); }));
    }
    template <class OtherExecutor>
    void flush_now(const OtherExecutor& ex) {
        flushing_ = false;
        if (is_gone() || busy_) return;
        const auto r = end_->end().flush(expired);
        bytes_left_ = !r && r.error() == errc::would_block;
        settle(ex);
    }

    std::optional<End> end_;
    boost::asio::posix::basic_stream_descriptor<Executor> watched_;
    boost::asio::basic_waitable_timer<clock, boost::asio::wait_traits<clock>, Executor> timer_;
    std::uint64_t turn_ = 0;   // counts operations, so that a late timer means no other one
    bool busy_ = false;        // an operation is under way
    bool aborted_ = false;     // and it is to end
    bool late_ = false;        // and its deadline passed
    bool armed_ = false;       // and its deadline is timed
    bool bytes_left_ = false;  // committed bytes lie in this process
    bool flushing_ = false;    // and somebody waits to push them
};

/// The right of one operation to use an end; from initiation to completion at most one holds it.
template <class Attached>
class turn {
public:
    explicit turn(std::shared_ptr<Attached> a) noexcept : attached_(std::move(a)) {}
    turn(turn&& other) noexcept
        : attached_(std::move(other.attached_)), mine_(std::exchange(other.mine_, false)) {}
    turn& operator=(turn&&) = delete;
    ~turn() { give_back(); }

    void take() noexcept {
        Attached& a = *attached_;
        if (a.busy_) return;
        mine_ = a.busy_ = true;
        a.aborted_ = a.late_ = a.armed_ = false;
        ++a.turn_;
    }
    void give_back() noexcept {
        if (!std::exchange(mine_, false)) return;
        Attached& a = *attached_;
        a.busy_ = false;
        ++a.turn_;
        if (a.armed_) a.timer_.cancel();
    }
    /// Why the operation must not touch the transport, if it must not.
    [[nodiscard]] error_code obstacle() const noexcept {
        if (attached_->is_gone() || (mine_ && attached_->aborted_)) {
            return boost::asio::error::operation_aborted;
        }
        if (!mine_) return errc::in_use;
        return {};
    }
    [[nodiscard]] bool is_mine() const noexcept { return mine_; }
    [[nodiscard]] Attached& operator*() const noexcept { return *attached_; }
    [[nodiscard]] Attached* operator->() const noexcept { return attached_.get(); }

private:
    std::shared_ptr<Attached> attached_;
    bool mine_ = false;
};

/// The loop around `step(end, bytes_left)`, which never waits: it returns result<value_type>, and
/// would_block to be asked again once pollable() is readable. A step that commits may leave bytes
/// in this process: then the descriptor is made before it, and the rest is pushed after it.
template <class Attached, class Step>
class operation {
public:
    using value_type = typename Step::value_type;

    operation(std::shared_ptr<Attached> a, Step step, deadline until)
        : turn_(std::move(a)), step_(std::move(step)), until_(until) {}

    template <class Self>
    void operator()(Self& self) {
        if (std::exchange(begun_, true)) return go_on(self);
        self.reset_cancellation_state(boost::asio::enable_total_cancellation());
        turn_.take();
        boost::asio::post(std::move(self));
    }
    template <class Self>
    void operator()(Self& self, error_code) {
        go_on(self);  // what the wait says does not matter: the transport knows
    }

private:
    template <class Self>
    void go_on(Self& self) {
        Attached& a = *turn_;
        error_code ec = turn_.obstacle();
        if (!ec && self.cancelled() != boost::asio::cancellation_type::none) {
            ec = boost::asio::error::operation_aborted;
        }
        if (!ec && Step::commits) ec = a.watch();
        if (ec) return complete(self, ec);
        result<value_type> answer = step_(a.end(), a.bytes_left_);
        if (answer || answer.error() != errc::would_block) {
            return complete(self, std::move(answer));
        }
        if (a.late_ || until_.is_try()) return complete(self, make_error_code(errc::timed_out));
        if (ec = a.watch(); ec) return complete(self, ec);
        if (const auto at = until_.at(); at != never && !a.armed_) {
            a.wake_at(at, boost::asio::get_associated_executor(self));
        }
        a.wait(std::move(self));
    }
    template <class Self>
    void complete(Self& self, result<value_type> answer) {
        if constexpr (Step::may_leave_bytes) {
            if (turn_.is_mine() && !turn_->is_gone()) {
                turn_->settle(boost::asio::get_associated_executor(self));
            }
        }
        turn_.give_back();
        if constexpr (std::is_void_v<value_type>) {
            self.complete(answer ? error_code() : answer.error());
        } else if (answer) {
            self.complete(error_code(), std::move(*answer));
        } else {
            self.complete(answer.error(), value_type());
        }
    }

    turn<Attached> turn_;
    Step step_;
    deadline until_;
    bool begun_ = false;
};

/// Takes the next message and lets `make` turn its view into the value of the handler.
template <class Value, class Make>
struct receive_step {
    using value_type = Value;
    static constexpr bool commits = false, may_leave_bytes = false;

    template <class End>
    [[nodiscard]] result<Value> operator()(End& end, bool&) {
        auto m = end.end().try_receive();
        if (!m) return m.error();
        return make(end, std::move(*m));
    }

    [[no_unique_address]] Make make;
};

/// Commits `message`, which has size() and write(bytes). What the transport cannot take at once is
/// pushed in the background: from the commit on it is the transport's, and the operation is over.
template <class Message>
struct send_step {
    using value_type = void;
    static constexpr bool commits = true, may_leave_bytes = true;

    template <class End>
    [[nodiscard]] result<void> operator()(End& end, bool& bytes_left) {
        auto& sink = end.end();
        auto l = sink.try_loan(message.size());
        if (!l) return l.error();
        message.write(l->bytes());
        if (auto r = sink.try_commit(std::move(*l)); !r) return r;
        auto r = sink.flush(expired);
        bytes_left = !r && r.error() == errc::would_block;
        return bytes_left ? result<void>() : r;
    }

    Message message;
};

/// Waits for receipts of the messages up to a number.
template <class Receipt>
struct await_step {
    using value_type = void;
    static constexpr bool commits = false, may_leave_bytes = true;

    template <class End>
    [[nodiscard]] result<void> operator()(End& end, bool& bytes_left) {
        auto r = end.end().await(far, number, expired);
        bytes_left = end.end().holds_back();
        return !r && r.error() == errc::timed_out ? result<void>(errc::would_block) : r;
    }

    Receipt far;
    std::uint64_t number;
};

/// Closes in good order: timed_out of the transport means that something is still here.
struct close_step {
    using value_type = void;
    static constexpr bool commits = false, may_leave_bytes = true;

    template <class End>
    [[nodiscard]] result<void> operator()(End& end, bool& bytes_left) {
        auto r = end.end().close(expired);
        bytes_left = !r && r.error() == errc::timed_out;
        return bytes_left ? result<void>(errc::would_block) : r;
    }
};

/// What completion handlers of an operation are called with.
template <class Value>
struct signature {
    using type = void(error_code, Value);
};
template <>
struct signature<void> {
    using type = void(error_code);
};

/// Starts the operation with a completion token; `Token` is a reference for one that is to be
/// copied, not moved.
template <class Token, class Attached, class Step>
auto start(const std::shared_ptr<Attached>& a, Step step, deadline until,
           std::remove_reference_t<Token>& token) {
    PARLEY_ASSERT(a != nullptr);  // an end that was moved from starts nothing
    using signature = typename signature<typename Step::value_type>::type;
    return boost::asio::async_compose<Token, signature>(
        operation<Attached, Step>(a, std::move(step), until), token, a->get_executor());
}

}  // namespace drive
}  // namespace v1
}  // namespace parley
