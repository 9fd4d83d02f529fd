// SPDX-License-Identifier: MIT
// Calls of a service under Asio: one wait on the link for all of them, and a timer for each, which
// is cancelled when its answer is there.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/drive/far_service.hpp>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace drive {

/// A client on an executor: what its handle and its calls share. One strand.
template <class Client, class Executor>
class attached_client : public std::enable_shared_from_this<attached_client<Client, Executor>> {
public:
    using timer =
        boost::asio::basic_waitable_timer<clock, boost::asio::wait_traits<clock>, Executor>;

    attached_client(const Executor& ex, Client c) : client_(std::move(c)), watched_(ex) {}

    [[nodiscard]] Client& client() noexcept { return client_; }
    [[nodiscard]] service_link& link() noexcept { return client_.link(); }
    [[nodiscard]] Executor get_executor() noexcept { return watched_.get_executor(); }

    void add(std::uint64_t id, timer& t) {
        waiting_.push_back({id, &t});
        watch();
    }
    void drop(const timer& t) noexcept {
        std::erase_if(waiting_, [&](const waiter& w) { return w.wakes == &t; });
        if (waiting_.empty()) unwatch();
    }
    /// Nothing more is asked of the link: calls under way end with operation_aborted.
    void let_go() {
        gone_ = true;
        for (const waiter& w : waiting_) w.wakes->cancel();
        unwatch();
    }
    [[nodiscard]] bool is_gone() const noexcept { return gone_; }
    /// Takes answers, and wakes the calls that have theirs.
    void look() {
        link().look();
        for (const waiter& w : waiting_) {
            if (link().is_settled(w.id)) w.wakes->cancel();
        }
    }

private:
    struct waiter {
        std::uint64_t id;
        timer* wakes;
    };

    void unwatch() noexcept {
        error_code ignored;
        watched_.close(ignored);
        reads_ = writes_ = false;
    }
    /// The descriptor watched is a copy, so that the reactor forgets it before the original closes.
    [[nodiscard]] bool is_open() {
        if (watched_.is_open() && links_ == link().links()) return true;
        unwatch();
        ++turn_;
        const auto fd = link().descriptor();
        if (!fd) return false;
        detail::unique_fd copy(::fcntl(*fd, F_DUPFD_CLOEXEC, 0));
        error_code ec;
        if (copy) watched_.assign(copy.get(), ec);
        if (!copy || ec) return false;
        copy.release();
        links_ = link().links();
        return true;
    }
    void watch() {
        using base = boost::asio::posix::descriptor_base;
        if (gone_ || waiting_.empty()) return;
        look();
        if (!is_open()) return;
        if (!std::exchange(reads_, true)) wait(base::wait_read, reads_);
        if (link().is_unflushed() && !std::exchange(writes_, true)) wait(base::wait_write, writes_);
    }
    void wait(boost::asio::posix::descriptor_base::wait_type what, bool& waits) {
        watched_.async_wait(
            what, [self = this->shared_from_this(), &waits, turn = turn_](error_code ec) {
                if (turn != self->turn_ || ec == boost::asio::error::operation_aborted) return;
                waits = false;
                self->watch();
            });
    }

    Client client_;
    boost::asio::posix::basic_stream_descriptor<Executor> watched_;
    std::vector<waiter> waiting_;
    std::uint64_t links_ = 0, turn_ = 0;
    bool reads_ = false, writes_ = false, gone_ = false;
};

/// Waits for the answer to one call.
template <class Attached, class Pending>
class finish_operation {
public:
    /// `failed`: why the call could not be started.
    finish_operation(std::shared_ptr<Attached> a, Pending p, error_code failed)
        : attached_(std::move(a)),
          timer_(std::make_unique<typename Attached::timer>(attached_->get_executor())),
          call_(std::move(p)),
          failed_(failed) {}

    template <class Self>
    void operator()(Self& self, error_code = {}) {
        if (!std::exchange(begun_, true)) {
            self.reset_cancellation_state(boost::asio::enable_total_cancellation());
            auto& t = *timer_;
            const auto known = call_.id();
            auto a = attached_;
            a->link().look();
            const bool now = failed_ || a->is_gone() || !a->link().is_known(known) ||
                             a->link().is_settled(known);
            t.expires_at(now ? time_point::min() : a->link().until(known));
            t.async_wait(std::move(self));
            if (!now) a->add(known, t);
            return;
        }
        attached_->drop(*timer_);
        if (failed_) return complete(self, failed_);
        if (attached_->is_gone() || self.cancelled() != boost::asio::cancellation_type::none) {
            call_.cancel();
            return complete(self, boost::asio::error::operation_aborted);
        }
        auto r = call_.try_finish();
        if (!r && r.error() == errc::would_block) {
            auto& t = *timer_;
            const auto id = call_.id();
            auto a = attached_;
            t.expires_at(a->link().until(id));
            t.async_wait(std::move(self));
            a->add(id, t);
            return;
        }
        if (!r) return complete(self, r.error());
        timer_.reset();  // before the handler, as every operation of Asio
        if constexpr (std::is_void_v<answer>) {
            self.complete(error_code());
        } else {
            self.complete(error_code(), std::move(*r));
        }
    }

private:
    using answer = typename Pending::answer_type;

    template <class Self>
    void complete(Self& self, error_code ec) {
        timer_.reset();
        if constexpr (std::is_void_v<answer>) {
            self.complete(ec);
        } else {
            self.complete(ec, answer());
        }
    }

    std::shared_ptr<Attached> attached_;
    std::unique_ptr<typename Attached::timer> timer_;
    Pending call_;
    error_code failed_;
    bool begun_ = false;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
