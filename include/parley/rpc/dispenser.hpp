// SPDX-License-Identifier: MIT
// Tasks for workers who ask for them: which one goes to whom, and which must go again, as a value
// that decides and does nothing else.
//
//   byte    0             8          12             16
//           +-------------+----------+--------------+------------- - -
//   frame   | number u64  | kind u32 | attempt u32  | a task's bytes
//           +-------------+----------+--------------+------------- - -
//
//   pull    from a worker: it takes `number` tasks more
//   done    from a worker: task `number` is finished
//   back    from a worker: task `number` is for another
//   task    to a worker; attempt: 1, more if others had it before
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

enum class task_kind : std::uint32_t { pull = 1, done = 2, back = 3, task = 4 };

struct task_header {
    static constexpr std::size_t bytes = 16;

    std::uint64_t number = 0;
    task_kind what = task_kind::pull;
    std::uint32_t attempt = 0;

    void write(std::byte* to) const noexcept {
        store_le(to, number);
        store_le(to + 8, static_cast<std::uint32_t>(what));
        store_le(to + 12, attempt);
    }
    /// False if nobody who speaks this writes such bytes.
    [[nodiscard]] bool read(parley::bytes from) noexcept {
        if (from.size() < bytes) return false;
        number = load_le<std::uint64_t>(from.data());
        what = static_cast<task_kind>(load_le<std::uint32_t>(from.data() + 8));
        attempt = load_le<std::uint32_t>(from.data() + 12);
        return what == task_kind::task || (from.size() == bytes && attempt == 0 &&
                                           what >= task_kind::pull && what <= task_kind::back);
    }
};

/// The side that has the tasks. A task goes to a worker that asked for one, stays with it until it
/// says that it is done, and goes to another if it gives it back or leaves. Those go first.
///
///     d.submit(bytes);  d.join(7);  d.on_frame(7, pull_one);
///     if (d.wants(7)) { send d.front() to 7;  d.sent(7); }
///     d.on_frame(7, done);                       // or d.leave(7): it goes again
class dispenser {
public:
    /// A task that waits: its bytes, until the next call that is not const.
    struct waiting {
        std::uint64_t number;
        std::uint32_t attempt;
        bytes body;
    };
    /// What a worker may ask for at once, whatever it says.
    static constexpr std::uint64_t credit_max = 1U << 20;

    std::uint64_t submit(bytes body) {
        std::vector<std::byte> kept;
        if (!spare_.empty()) {
            kept = std::move(spare_.back());
            spare_.pop_back();
        }
        kept.assign(body.begin(), body.end());
        queue_.push_back({next_, 1, std::move(kept)});
        return next_++;
    }
    void join(std::uint64_t worker) { workers_.emplace(worker, side{}); }
    /// A worker is gone: what it had goes again.
    void leave(std::uint64_t worker) {
        const auto at = workers_.find(worker);
        if (at == workers_.end()) return;
        auto& held = at->second.held;
        for (auto t = held.rbegin(); t != held.rend(); ++t) again(std::move(*t));
        workers_.erase(at);
    }
    /// Takes what a worker said. False: it said what no worker says.
    [[nodiscard]] bool on_frame(std::uint64_t worker, bytes frame) {
        const auto at = workers_.find(worker);
        task_header h;
        if (at == workers_.end() || !h.read(frame) || h.what == task_kind::task) return false;
        side& s = at->second;
        if (h.what == task_kind::pull) {
            if (h.number > credit_max - s.credit) return false;
            s.credit += h.number;
            return true;
        }
        const auto t = std::find_if(s.held.begin(), s.held.end(),
                                    [&](const task& one) { return one.number == h.number; });
        if (t == s.held.end()) return false;
        task one = std::move(*t);
        s.held.erase(t);
        if (h.what == task_kind::back) {
            again(std::move(one));
        } else {
            ++finished_;
            if (spare_.size() < spare_max) spare_.push_back(std::move(one.body));
        }
        return true;
    }
    /// Whether the front of the queue may go to this worker.
    [[nodiscard]] bool wants(std::uint64_t worker) const {
        const auto at = workers_.find(worker);
        return !queue_.empty() && at != workers_.end() && at->second.credit > 0;
    }
    [[nodiscard]] waiting front() const noexcept {
        const task& t = queue_.front();
        return {t.number, t.attempt, t.body};
    }
    /// The front went to this worker, which wants() it.
    void sent(std::uint64_t worker) {
        side& s = workers_.find(worker)->second;
        --s.credit;
        s.held.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }

    /// Gives the front up: nobody can take it.
    void drop() {
        queue_.pop_front();
        ++finished_;
    }

    [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }
    [[nodiscard]] std::size_t held() const noexcept {
        std::size_t n = 0;
        for (const auto& [number, s] : workers_) n += s.held.size();
        return n;
    }
    [[nodiscard]] std::size_t unfinished() const noexcept {
        return static_cast<std::size_t>(next_ - 1 - finished_);
    }
    [[nodiscard]] std::uint64_t finished() const noexcept { return finished_; }
    /// How often a task had to go again.
    [[nodiscard]] std::uint64_t sent_again() const noexcept { return again_; }

private:
    struct task {
        std::uint64_t number;
        std::uint32_t attempt;
        std::vector<std::byte> body;
    };
    struct side {
        std::uint64_t credit = 0;
        std::deque<task> held = {};
    };
    static constexpr std::size_t spare_max = 64;

    void again(task t) {
        ++again_;
        ++t.attempt;
        queue_.push_front(std::move(t));
    }

    std::deque<task> queue_;
    std::map<std::uint64_t, side> workers_;
    std::vector<std::vector<std::byte>> spare_;  // memory of tasks that are finished
    std::uint64_t next_ = 1, finished_ = 0, again_ = 0;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
