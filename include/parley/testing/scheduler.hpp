// SPDX-License-Identifier: MIT
// Who of an explored program's threads has the next step, and what the explored machine has beside
// memory: deaths, sleepers, locks and descriptors of the kernel. See explorer.hpp.
#pragma once

#include <parley/testing/fibre.hpp>
#include <parley/testing/memory_model.hpp>
#include <parley/testing/schedule.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// What is explored, beside the interleavings.
struct exploration_plan {
    unsigned deaths = 0;        ///< how many threads die in one execution, at most
    unsigned early_wakes = 0;   ///< how often a futex returns for no reason, at most
    unsigned steps_max = 1000;  ///< a longer execution makes no progress: an error
    bool asymmetric = true;     ///< what Atomics::enrol() says
    /// How often a thread that could go on is interrupted, at most. Three threads soon have too
    /// many interleavings; most errors show with two or three (Musuvathi and Qadeer, PLDI 2007).
    unsigned interruptions = ~0U;
};

/// What was explored, and what went wrong.
struct exploration {
    std::string wrong;     ///< empty: nothing did
    std::string schedule;  ///< the choices that led there, for explorer::replay
    std::string trace;     ///< each step of it in words
    std::uint64_t executions = 0, states = 0, steps = 0;
};

/// The threads of a program, of which one runs at a time.
class scheduler {
public:
    /// A servant may sleep when all others have come to their end.
    enum class life : std::uint8_t { immortal, mortal, servant };

    explicit scheduler(exploration_plan plan) : plan_(plan) {}
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    void before(std::function<void()> setup) { before_ = std::move(setup); }
    void after(std::function<void()> checks) { after_ = std::move(checks); }
    void thread(std::string name, std::function<void()> body, life l = life::immortal) {
        threads_.push_back(std::make_unique<one>(one{std::move(name), std::move(body), l}));
    }
    [[nodiscard]] bool in_thread() const noexcept { return in_thread_; }

    // --- what the kernel knows -----------------------------------------------------------------
    bool ask(std::size_t t) {
        step();
        const bool alive = threads_[t]->is < state::dead;
        if (!alive) memory_.learn(now_, ends_[t]);
        note(alive ? 1 : 2, alive ? "hears of the life of" : "hears of the end of", t);
        return alive;
    }
    bool lock(std::size_t n, bool take) {
        step();
        kernel_lock& l = locks_[n];
        const bool is_free = l.holder == model_threads_max || l.holder == now_;
        if (is_free) memory_.learn(now_, l.tells);
        if (is_free && take) l.holder = now_, wrote();
        note(is_free ? 1 : 2, is_free ? "gets or finds free lock" : "finds held lock", n);
        return is_free;
    }
    void unlock(std::size_t n) {
        step();
        locks_[n] = {model_threads_max, memory_.tell(now_)};
        wrote();
        note(3, "unlocks", n);
    }
    void set(std::size_t n, bool up) {
        step();
        auto& d = descriptors_[n];
        memory_.learn(now_, d.tells);
        d = {up, memory_.tell(now_)};
        if (up) wake(&d), wrote();
        note(4, up ? "raises" : "drains", n);
    }
    void sleep_on(std::size_t n) {
        step();
        auto& d = descriptors_[n];
        note(5, d.up ? "finds raised" : "sleeps on", n);
        if (!d.up) lie_down(&d);
        memory_.learn(now_, d.tells);
    }
    void settled(std::uint64_t h) noexcept { me().told = mixed(1, h); }
    void fail(std::string words) {
        if (seen_.wrong.empty()) seen_.wrong = std::move(words);
        stop();
    }

protected:
    enum class state : std::uint8_t { ready, asleep, dead, done };
    struct one {
        std::string name;
        std::function<void()> body;
        life how;
        fibre stack = {};
        state is = state::ready;
        bool wrote = false;      // its last step was a shared write: it may die here
        bool has_turn = true;    // it was chosen, and has done nothing since
        std::uint64_t told = 0;  // a hash of all values that it was given
        const void* bed = nullptr;
    };

    [[nodiscard]] one& me() noexcept { return *threads_[now_]; }
    void wrote() noexcept { me().wrote = true; }
    void say(const one& who, const std::string& words) {
        if (tracing_) seen_.trace += who.name + ' ' + words + '\n';
    }
    void note(std::uint64_t told, const char* what, std::size_t n) {
        me().told = mixed(me().told, told);
        if (tracing_) say(me(), std::string(what) + ' ' + std::to_string(n));
    }

    // --- one execution ---------------------------------------------------------------------
    void execute() {
        if (before_) before_();
        memory_.begin();
        memory_.used = threads_.size();
        schedule_.rewind();
        steps_ = deaths_ = wakes_ = looks_ = interruptions_ = 0;
        ends_ = {};
        locks_ = {};
        descriptors_ = {};
        complete_ = false;
        for (auto& t : threads_) {
            t->is = state::ready;
            t->wrote = false;
            t->has_turn = true;
            t->told = 0;
            t->stack.start(&scheduler::enter, this);
        }
        now_ = choose(threads_.size());
        in_thread_ = true;
        main_.swap_to(me().stack);
        in_thread_ = false;
        ++seen_.executions;
        seen_.steps += steps_;
        if (!complete_) return;
        memory_.write_back();
        if (after_) after_();
    }
    std::size_t choose(std::size_t n) {
        if (n >= schedule::options_max) fail("more than 64 ways to go on");
        return n <= 1 ? 0 : schedule_.choose(n);
    }
    /// Before each shared access: somebody else may have his first, unless this one concerns
    /// nobody else.
    void step(bool alone = false) {
        if (!memory_.wrong.empty()) fail(memory_.wrong);
        if (++steps_ > plan_.steps_max) fail("no progress in " + std::to_string(steps_) + " steps");
        if (!std::exchange(me().has_turn, false)) {
            if (!alone) {
                give_way();
            } else if (may_die(me()) && choose(2) == 1) {
                kill(now_);
                give_way();
            }
        }
        me().wrote = false;
    }
    void lie_down(const void* bed) {
        me().is = state::asleep;
        me().bed = bed;
        give_way();
        me().has_turn = true;
    }
    /// How many slept there.
    std::uint64_t wake(const void* bed) noexcept {
        std::uint64_t n = 0;
        for (auto& t : threads_) {
            if (t->is != state::asleep || t->bed != bed) continue;
            t->is = state::ready;
            ++n;
        }
        return n;
    }

    exploration_plan plan_;
    memory_model memory_;
    schedule schedule_;
    hash_set visited_;
    exploration seen_;
    std::size_t now_ = 0;  // whose turn it is
    bool kernel_used_ = true;
    bool tracing_ = false;

private:
    struct descriptor {
        bool up = false;
        knowledge tells;
    };
    struct kernel_lock {
        std::size_t holder = model_threads_max;
        knowledge tells;
    };
    using options = std::array<std::uint8_t, 3 * model_threads_max>;

    static void enter(void* self) {
        scheduler& s = *static_cast<scheduler*>(self);
        const std::size_t t = s.now_;
        s.threads_[t]->body();
        s.threads_[t]->is = state::done;
        s.leave(t);
        s.give_way();
    }
    void stop() noexcept {
        if (in_thread_) me().stack.swap_to(main_);
    }
    /// A thread is no more: its locks fall.
    void leave(std::size_t t) {
        ends_[t] = memory_.tell(t);
        for (auto& l : locks_) {
            if (l.holder == t) l = {model_threads_max, ends_[t]};
        }
        memory_.end(t);
    }
    [[nodiscard]] bool may_die(const one& o) const noexcept {
        return o.how == life::mortal && o.wrote && o.is < state::dead && deaths_ < plan_.deaths;
    }
    void kill(std::size_t t) {
        threads_[t]->is = state::dead;
        ++deaths_;
        leave(t);
        say(*threads_[t], "is killed");
    }

    /// Returns when the calling thread's turn has come.
    void give_way() {
        const std::size_t own = now_;
        for (;;) {
            options may;
            const std::size_t n = list(may);
            if (n == 0) {
                end_or_wake();
                continue;
            }
            if (schedule_.is_new() && !tracing_ && !visited_.insert(hash())) stop();
            const std::size_t pick = may[choose(n)], t = pick % model_threads_max;
            one& o = *threads_[t];
            if (pick >= 2 * model_threads_max) {
                kill(t);
            } else if (pick >= model_threads_max) {
                o.is = state::ready;
                ++wakes_;
                say(o, "wakes up early");
            } else {
                if (t != now_ && threads_[now_]->is == state::ready) ++interruptions_;
                now_ = t;
                if (t != own) threads_[own]->stack.swap_to(o.stack);
                return;
            }
        }
    }
    /// Threads that may go on, the current one first, then those that may wake, then may die.
    std::size_t list(options& may) const noexcept {
        std::size_t n = 0;
        const auto add = [&](std::size_t t) { may[n++] = static_cast<std::uint8_t>(t); };
        const bool can_go_on = threads_[now_]->is == state::ready;
        if (can_go_on) add(now_);
        const bool may_switch = !can_go_on || interruptions_ < plan_.interruptions;
        for (std::size_t t = 0; may_switch && t < threads_.size(); ++t) {
            if (t != now_ && threads_[t]->is == state::ready) add(t);
        }
        for (std::size_t t = 0; t < threads_.size(); ++t) {
            const one& o = *threads_[t];
            if (o.is == state::asleep && wakes_ < plan_.early_wakes) add(model_threads_max + t);
            if (may_die(o)) add(2 * model_threads_max + t);
        }
        return n;
    }
    /// Nobody can go on.
    void end_or_wake() {
        const bool death = looks_ < looks_max * deaths_;
        bool somebody = false;
        for (auto& t : threads_) {
            if (t->is != state::asleep || (!death && t->how == life::servant)) continue;
            if (!death) fail(t->name + " sleeps for ever");
            t->is = state::ready;  // it looks around now and then
            say(*t, "looks around");
            somebody = true;
        }
        looks_ += somebody ? 1 : 0;
        if (somebody) return;
        complete_ = true;
        threads_[now_]->stack.swap_to(main_);
    }
    [[nodiscard]] std::uint64_t hash() noexcept {
        std::uint64_t h = memory_.hash();
        for (const auto& t : threads_) {
            h = mixed(h, t->told);
            h = mixed(h, static_cast<std::uint64_t>(t->is) << 1 | (t->wrote ? 1U : 0U));
        }
        if (kernel_used_) {
            for (const auto& l : locks_) h = mixed(h, mixed(l.holder, memory_.hash_of(l.tells)));
            for (const auto& d : descriptors_) h = mixed(h, mixed(d.up, memory_.hash_of(d.tells)));
            for (const auto& k : ends_) h = mixed(h, memory_.hash_of(k));
        }
        if (plan_.interruptions != ~0U) h = mixed(h, interruptions_ << 8 | now_);
        return mixed(h, looks_ << 16 | deaths_ << 8 | wakes_);
    }

    std::function<void()> before_, after_;
    std::vector<std::unique_ptr<one>> threads_;
    std::array<kernel_lock, 8> locks_;
    std::array<descriptor, 8> descriptors_;
    std::array<knowledge, model_threads_max> ends_;  // of threads, what they knew at the last
    fibre main_;
    // How often sleepers look around before that is all that happens.
    static constexpr unsigned looks_max = 3;
    unsigned steps_ = 0, deaths_ = 0, wakes_ = 0, looks_ = 0, interruptions_ = 0;
    bool complete_ = false;
    bool in_thread_ = false;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
