// SPDX-License-Identifier: MIT
// Tasks over links, below the codec: the side that has them, and a worker's.
#pragma once

#include <parley/drive/blocking.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/rpc/dispenser.hpp>

#include <cstring>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// Hands the tasks of a dispenser to whoever comes for them.
template <class Address>
class task_desk {
    using listener = typename Address::listener;
    struct side {
        std::uint64_t number;
    };
    using links = link_set<listener, side>;
    using member = typename links::member;

public:
    explicit task_desk(listener door) : links_(std::move(door)) {}

    /// Hears workers, and gives them what they asked for. Never waits.
    result<void> go_on(diagnostics& why) {
        auto r = links_.accept([&](auto&) {
            tasks_.join(++workers_);
            ++events_;
            return side{workers_};
        });
        if (!r) return why.fail(r.error(), links_.door().why().text());
        for (const auto& m : links_.all()) hear(*m, why);
        links_.sweep();
        return give(why);
    }
    /// Waits until go_on may have something to do.
    result<void> wait(time_point until) {
        for (const auto& m : links_.all()) {
            if (m->ready) return {};
        }
        return links_.wait(until);
    }
    result<void> close(time_point until) {
        result<void> all;
        for (const auto& m : links_.all()) {
            if (auto r = m->way.close(until); !r && r.error() != condition::gone) all = r;
        }
        links_.all().clear();
        auto r = links_.door().close(until);
        return all ? r : all;
    }
    [[nodiscard]] rpc::dispenser& tasks() noexcept { return tasks_; }
    [[nodiscard]] const rpc::dispenser& tasks() const noexcept { return tasks_; }
    [[nodiscard]] std::size_t workers() const noexcept {
        return const_cast<links&>(links_).all().size();
    }
    [[nodiscard]] std::uint64_t workers_lost() const noexcept { return lost_; }
    /// Changes with everything that go_on finds to do.
    [[nodiscard]] std::uint64_t events() const noexcept { return events_; }
    [[nodiscard]] listener& door() noexcept { return links_.door(); }

private:
    void hear(member& m, diagnostics& why) {
        if (m.wanting) flush(m);
        while (m.ready && !m.gone) {
            auto f = m.way.in().try_receive();
            if (f && tasks_.on_frame(m.own.number, f->bytes())) {
                ++events_;
                continue;
            }
            if (!f && f.error() == errc::would_block) {
                m.ready = false;
                return;
            }
            if (f || f.error() != errc::closed) {
                ++lost_;
                (void)why.fail(f ? make_error_code(errc::corrupt) : f.error(),
                               f ? "a worker said what no worker says" : m.way.in().why().text());
            }
            m.gone = true;
            ++events_;
            tasks_.leave(m.own.number);
        }
    }
    /// One task each, in turn, as long as somebody wants one and has room for it.
    result<void> give(diagnostics& why) {
        auto& all = links_.all();
        for (std::size_t idle = 0; idle < all.size() && tasks_.queued() > 0;) {
            turn_ = (turn_ + 1) % all.size();
            idle = give_one(*all[turn_]) ? 0 : idle + 1;
            if (too_large_ > 0) {
                const auto n = std::exchange(too_large_, 0);
                return why.fail(errc::message_too_large,
                                "a task of " + std::to_string(n) +
                                    " bytes fits into no message of this transport; it is dropped");
            }
        }
        return {};
    }
    bool give_one(member& m) {
        if (m.wanting || m.gone || !tasks_.wants(m.own.number)) return false;
        const auto t = tasks_.front();
        auto l = m.way.out().try_loan(rpc::task_header::bytes + t.body.size());
        if (!l) {
            m.wanting = l.error() == errc::would_block;
            if (l.error() == errc::message_too_large) {
                too_large_ = t.body.size();
                tasks_.drop();
            }
            return false;  // it is gone otherwise, as its source tells
        }
        rpc::task_header{t.number, rpc::task_kind::task, t.attempt}.write(l->bytes().data());
        if (!t.body.empty()) {
            std::memcpy(l->bytes().data() + rpc::task_header::bytes, t.body.data(), t.body.size());
        }
        if (!m.way.out().try_commit(std::move(*l))) return false;
        tasks_.sent(m.own.number);
        ++events_;
        flush(m);
        return true;
    }
    static void flush(member& m) {
        const auto r = m.way.out().flush(expired);
        m.wanting = !r && r.error() == errc::would_block;
    }

    links links_;
    rpc::dispenser tasks_;
    std::size_t turn_ = 0, too_large_ = 0;
    std::uint64_t workers_ = 0, lost_ = 0, events_ = 0;
};

/// What a worker has asked for, and has.
template <class Link>
class task_link {
public:
    explicit task_link(Link l) : link_(std::move(l)) {}

    /// Asks for tasks until n are promised.
    result<void> ask(std::uint64_t n, deadline& d, diagnostics& why) {
        if (n <= asked_) return {};
        auto r = say({n - asked_, rpc::task_kind::pull, 0}, d, why);
        if (r) asked_ = n;
        // The source tells whether it closed or died, after the last tasks.
        return r || r.error() == condition::gone ? result<void>() : r;
    }
    result<void> say(rpc::task_header h, deadline& d, diagnostics& why) {
        auto l = drive::loan(link_.out(), rpc::task_header::bytes, d);
        if (!l) return why.fail(l.error(), link_.out().why().text());
        h.write(l->bytes().data());
        auto r = drive::commit(link_.out(), std::move(*l), d);
        return r ? r : why.fail(r.error(), link_.out().why().text());
    }
    /// The next task: `take(header, body)`.
    template <class Take>
    result<void> next(Take take, deadline& d, diagnostics& why) {
        auto f = drive::receive(link_.in(), d);
        if (!f) return why.fail(f.error(), link_.in().why().text());
        rpc::task_header h;
        if (!h.read(f->bytes()) || h.what != rpc::task_kind::task || asked_ == 0) {
            return why.fail(errc::corrupt, "what came is no task that was asked for");
        }
        --asked_;
        take(h, f->bytes().subspan(rpc::task_header::bytes));
        return {};
    }
    result<void> close(time_point until) { return link_.close(until); }
    [[nodiscard]] std::uint64_t asked() const noexcept { return asked_; }

private:
    Link link_;
    std::uint64_t asked_ = 0;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
