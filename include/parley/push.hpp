// SPDX-License-Identifier: MIT
// Push and pull: tasks for workers that take one when they are free, over any two-way transport.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/drive/dispense.hpp>
#include <parley/request.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

template <class T>
struct dispensed {
    static constexpr auto text_of(std::string_view first) {
        type_text t;
        t.put(first).put("tasks [").put(codec<T>::type.description).put("] ");
        t.put_hex(codec<T>::type.fingerprint);
        return t.finish();
    }
    static constexpr auto task_text = text_of("");
    static constexpr auto pull_text = text_of("wants ");
    static constexpr message_type task{task_text.fingerprint(), task_text.words(), 8};
    static constexpr message_type pull{pull_text.fingerprint(), pull_text.words(), 8};
};

}  // namespace detail

/// A task that a worker has: done with it, say so.
template <class T>
struct task {
    T value;
    std::uint64_t number = 0;
    std::uint32_t attempt = 1;  ///< more than 1: others had it, and died or gave it back
};

/// Dispenses tasks. It owns the address.
///
///     auto out = parley::open_pusher<job>(parley::uds{"/run/jobs"}).value();
///     for (const job& j : jobs) out.push(j).value();
///     out.drain().value();                              // all of them are finished
///
/// A worker gets a task when it asked for one, so a busy one gets none; those who ask take turns. A
/// task stays here until its worker says that it is done: the tasks of one that dies, or closes, go
/// to others at once, before those that wait. So each is done once, or more often if a worker dies
/// between doing it and saying so.
///
/// Nobody runs in the background: hearing workers and handing out goes on with each call.
/// Thread safety: one thread at a time. Blocking: `push` waits while `tasks_max` are unfinished,
/// `drain` until none is; `work` for something to do.
/// Errors: timed_out, would_block; message_too_large: a task fitted into no message when its turn
/// came, and is dropped; those of accepting (out_of_resources).
template <class T, class Address>
class pusher {
public:
    using value_type = T;
    struct options {
        std::size_t tasks_max = 1024;  ///< that are not finished
    };

    pusher(typename Address::listener door, const options& o) : desk_(std::move(door)), with_(o) {}

    result<void> push(const T& value, deadline d = never) {
        const std::size_t n = codec<T>::size(value);
        if (n == unencodable) return errc::message_too_large;
        auto room = until([this] { return unfinished() < with_.tasks_max; }, d);
        if (!room) return room;
        buffer_.resize(n);
        codec<T>::encode(value, buffer_);
        desk_.tasks().submit(buffer_);
        return desk_.go_on(why_);
    }
    result<void> try_push(const T& value) { return push(value, expired); }
    /// Waits until every task is finished.
    result<void> drain(deadline d = never) {
        return until([this] { return unfinished() == 0; }, d);
    }
    /// Hears workers and hands out; waits until there is something to do.
    result<void> work(deadline d = never) {
        const auto before = desk_.events();
        return until([&] { return desk_.events() != before; }, d);
    }
    /// Ends in good order, without waiting for tasks: drain() does.
    result<void> close(deadline d = never) { return desk_.close(d.at()); }

    [[nodiscard]] std::size_t workers() const { return desk_.workers(); }
    [[nodiscard]] std::uint64_t workers_lost() const { return desk_.workers_lost(); }
    /// Tasks that nobody has; that some worker has or nobody; that are finished; and how often one
    /// had to go to another worker.
    [[nodiscard]] std::size_t waiting() const { return desk_.tasks().queued(); }
    [[nodiscard]] std::size_t unfinished() const { return desk_.tasks().unfinished(); }
    [[nodiscard]] std::uint64_t finished() const { return desk_.tasks().finished(); }
    [[nodiscard]] std::uint64_t sent_again() const { return desk_.tasks().sent_again(); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }
    [[nodiscard]] uri address() { return desk_.door().address(); }

private:
    template <class Condition>
    result<void> until(Condition holds, deadline d) {
        for (bool looked = false;; looked = d.is_try()) {
            if (auto r = desk_.go_on(why_); !r) return r;
            if (holds()) return {};
            if (looked) return errc::would_block;
            if (auto r = desk_.wait(d.at()); !r && !d.is_try()) return r;
        }
    }

    drive::task_desk<Address> desk_;
    options with_;
    std::vector<std::byte> buffer_;
    diagnostics why_;
};

/// A worker.
///
///     auto in = parley::open_puller<job>(parley::uds{"/run/jobs"}).value();
///     while (auto t = in.pull()) {
///         work_on(t->value);
///         in.done(*t).value();
///     }
///
/// Without a call to pull nothing comes. `pull(n)` asks for n at once and returns what came first;
/// the others follow with the next calls. Whoever has tasks and closes, or dies, leaves them to
/// others.
///
/// Thread safety: one thread at a time. Blocking: `pull` waits for a task, `done` and `give_back`
/// at most for room to write. Cancellation: a pull that timed out stays asked for: its task comes
/// with the next one, or goes to others when this closes. Errors: closed, peer_lost: the pusher is
/// gone; timed_out, would_block; corrupt; incompatible.
template <class T, class Address>
class puller {
public:
    using value_type = T;

    explicit puller(typename Address::link l) : link_(std::move(l)) {}

    [[nodiscard]] result<task<T>> pull(deadline d = never) {
        deadline soon = never;  // an ask is small
        if (auto r = link_.ask(1, soon, why_); !r) return r.error();
        return next(d);
    }
    [[nodiscard]] result<task<T>> try_pull() { return pull(expired); }
    /// At least one task, at most n.
    [[nodiscard]] result<std::vector<task<T>>> pull_many(std::size_t n, deadline d = never) {
        deadline soon = never;
        if (auto r = link_.ask(std::max<std::size_t>(n, 1), soon, why_); !r) return r.error();
        std::vector<task<T>> all;
        while (all.size() < std::max<std::size_t>(n, 1)) {
            auto t = next(all.empty() ? d : deadline(expired));
            if (!t && all.empty()) return t.error();
            if (!t) break;
            all.push_back(std::move(*t));
        }
        return all;
    }
    /// The task is finished.
    result<void> done(const task<T>& t, deadline d = never) {
        return link_.say({t.number, rpc::task_kind::done, 0}, d, why_);
    }
    /// The task is for another worker.
    result<void> give_back(const task<T>& t, deadline d = never) {
        return link_.say({t.number, rpc::task_kind::back, 0}, d, why_);
    }
    result<void> close(deadline d = never) { return link_.close(d.at()); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }

private:
    result<task<T>> next(deadline d) {
        std::optional<result<T>> value;
        rpc::task_header h;
        auto r = link_.next(
            [&](const rpc::task_header& of, bytes body) {
                h = of;
                value.emplace(codec<T>::decode(body));
            },
            d, why_);
        if (!r) return r.error();
        if (!*value) return value->error();
        return task<T>{std::move(**value), h.number, h.attempt};
    }

    drive::task_link<typename Address::link> link_;
    diagnostics why_;
};

/// Opens the side that has the tasks, and with it creates the address. Errors: in_use; and those of
/// open_puller.
template <class T, class Address>
[[nodiscard]] auto open_pusher(const Address& at, deadline d = never, diagnostics* why = nullptr,
                               typename pusher<T, detail::two_way_t<Address>>::options o = {}) {
    using end = pusher<T, detail::two_way_t<Address>>;
    using types = detail::dispensed<T>;
    diagnostics unasked;
    auto door = detail::two_way(at).open_listener(
        {types::task, types::pull, d.at(), why != nullptr ? why : &unasked});
    if (!door) return result<end>(door.error());
    return result<end>(end(std::move(*door), o));
}

/// Opens a worker, waiting for the pusher until the deadline. Errors: timed_out: nobody dispenses
/// there; incompatible; invalid_argument; denied; out_of_resources.
template <class T, class Address>
[[nodiscard]] auto open_puller(const Address& at, deadline d = never, diagnostics* why = nullptr) {
    static_assert(!codec<T>::borrows, "parley: a task outlives its message: it must own its parts");
    using end = puller<T, detail::two_way_t<Address>>;
    using types = detail::dispensed<T>;
    diagnostics unasked;
    auto l = detail::two_way(at).open_link(
        {types::pull, types::task, d.at(), why != nullptr ? why : &unasked});
    if (!l) return result<end>(l.error());
    return result<end>(end(std::move(*l)));
}

}  // namespace v1
}  // namespace parley
