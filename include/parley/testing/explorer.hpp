// SPDX-License-Identifier: MIT
// Runs a small program of two to four threads in every way that it can run: every interleaving of
// its shared accesses, every value that each load may return (memory_model.hpp), and, if wanted, a
// death after every shared write.
//
// It runs the program again and again, each time with another sequence of choices, depth first. A
// state that was reached before on another way is not entered again: a thread's own state is told
// by the values it was given, the memory's by what can still be read of it. So the work grows with
// the states, not with the interleavings, and nothing is left out, but for the chance that two of n
// states have one 64-bit hash (n * n / 2^65). It is what SPIN does (Holzmann, "The Model Checker
// SPIN", 1997), with re-execution in place of stored states, as VeriSoft has it (Godefroid, 1997).
#pragma once

#include <parley/testing/memory_model.hpp>
#include <parley/testing/mutant.hpp>
#include <parley/testing/scheduler.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// Explores a program whose threads share memory through scheduled_atomics.
///
///     explorer e({.deaths = 1});
///     e.before([&] { flag = data = 0; });               // each execution starts anew
///     e.thread("writer", [&] { … A::store(flag, 1, std::memory_order_release); }, life::mortal);
///     e.thread("reader", [&] { if (A::load(flag, …) == 1) explorer::require(…, "words"); });
///     e.after([&] { … });                               // all that live have come to their end
///     const exploration seen = e.run();                 // seen.wrong, and e.replay(seen.schedule)
///
/// Bodies are deterministic, share memory only through A, and hold nothing that a destructor must
/// free: an execution that leads nowhere new is dropped where it is. What a body writes down for
/// `after` it writes down for itself. A futex wakes nobody by itself: if all that live sleep, that
/// is a lost wake-up, unless somebody died: then sleepers look around, as they do each 50 ms.
///
/// To explore a part of your own: make it a template over Atomics, hand plain shared bytes through
/// Atomics::write and read (what a loan or a view shows too), and write a world as those of
/// tests/explore: lane_world.hpp has one writer and one reader, registry_world.hpp three threads. A
/// publisher and two readers are three threads; give them the smallest ring and two messages, say
/// settled() at the head of each loop, and bound interruptions when three have too many states. A
/// reader that is lapped reads plain bytes in a race: copy them by relaxed loads of whole words.
///
/// Thread safety: one explorer of a process runs at a time. Blocking: run() as long as it takes.
class explorer : private scheduler {
public:
    using scheduler::life;

    explicit explorer(exploration_plan plan = {}) : scheduler(plan) {}

    // --- the program -----------------------------------------------------------------------
    using scheduler::after;
    using scheduler::before;
    using scheduler::thread;
    /// Memory that is mapped twice, back to back.
    void mapped_twice(const std::byte* at, std::size_t n) { memory_.alias(at, at + n, n); }
    /// What a trace calls the n bytes from `at` on.
    void call(const void* at, std::size_t n, std::string name) {
        names_.push_back({static_cast<const std::byte*>(at), n, std::move(name)});
    }
    /// From now on the program has this edit.
    void mutate(const mutant& m) { edits_.choose(m); }
    /// The edits that it could have: see edits::mutants.
    [[nodiscard]] std::vector<mutant> mutants(std::string_view part) const {
        return edits_.mutants(part);
    }

    // --- exploring -------------------------------------------------------------------------
    [[nodiscard]] exploration run() {
        start_anew();
        for (bool more = true; more && seen_.wrong.empty();) {
            execute_alone();
            if (!seen_.wrong.empty()) break;
            if (seen_uses_ == known_) {
                more = schedule_.next();
            } else {
                learn_uses();
                schedule_.clear();
                visited_.clear();
            }
        }
        seen_.states = visited_.size();
        exploration out = std::exchange(seen_, {});
        if (out.wrong.empty()) return out;
        out.schedule = schedule_.text();
        out.trace = replay(out.schedule).trace;
        return out;
    }
    /// One execution by the schedule that run() gave, with its trace.
    [[nodiscard]] exploration replay(std::string_view choices) {
        start_anew();
        schedule_.read(choices);
        tracing_ = true;
        execute_alone();
        tracing_ = false;
        return std::exchange(seen_, {});
    }

    // --- what a body may ask -----------------------------------------------------------------
    static void require(bool held, std::string_view words) {
        if (!held) running_->fail(std::string(words));
    }
    /// True until the thread, by its number, died or came to its end. Whoever hears of that sees
    /// all it wrote, as with all that the kernel says.
    static bool lives(std::size_t t) { return running_->ask(t); }
    /// All that this thread will do follows from h: what it was told before makes no difference.
    static void settled(std::uint64_t h) noexcept { running_->scheduler::settled(h); }
    /// A lock of the kernel, by its number below 8: it falls when its holder dies.
    static bool try_lock(std::size_t n) { return running_->lock(n, true); }
    static bool is_locked(std::size_t n) { return !running_->lock(n, false); }
    static void unlock(std::size_t n) { running_->scheduler::unlock(n); }
    /// A descriptor to poll, by its number below 8: raised by whoever writes to it, until drained.
    static void raise(std::size_t n) { running_->set(n, true); }
    static void drain(std::size_t n) { running_->set(n, false); }
    static void poll(std::size_t n) { running_->sleep_on(n); }

    // --- what scheduled_atomics does -----------------------------------------------------------
    /// The explorer whose program runs, before() and after() included; whose thread runs.
    [[nodiscard]] static explorer* running() noexcept { return running_; }
    [[nodiscard]] static explorer* in_thread() noexcept {
        return running_ != nullptr && running_->scheduler::in_thread() ? running_ : nullptr;
    }
    [[nodiscard]] bool asymmetric() const noexcept { return plan_.asymmetric; }
    /// Long after the last time it was asked.
    [[nodiscard]] std::uint64_t hours() noexcept { return ++hours_; }

    std::uint64_t load(const void* at, std::size_t n, std::memory_order order, place p) {
        order = edits_.of("load", order, p).becomes;
        const auto w = memory_.find(at, n);
        const bool own = order != strict ? !stored_by_others(w) : is_private(w);
        note_use(w, loads);
        step(own);
        const auto v = memory_.load(now_, w, choose_write(w, order), order);
        return answer(v, "load", at, v, order, p);
    }
    void store(void* at, std::size_t n, std::uint64_t value, std::memory_order order, place p) {
        const auto edit = edits_.of("store", order, p);
        if (edit.removed) return;
        const auto w = memory_.find(at, n);
        // Done at once, a weak store hinders nobody: others may still read what was there before.
        const bool own = edit.becomes != strict ? !stored_by_others(w) : is_private(w);
        note_use(w, stores);
        step(own);
        memory_.store(now_, w, value, edit.becomes);
        wrote();
        answer(0, "store", at, value, edit.becomes, p);
    }
    bool compare_exchange(void* at, std::size_t n, std::uint64_t& seen, std::uint64_t value,
                          std::memory_order order, place p) {
        const auto edit = edits_.of("compare_exchange", order, p);
        if (edit.removed) return true;
        const auto w = memory_.find(at, n);
        const bool own = is_private(w);
        note_use(w, loads | stores);
        step(own);
        constexpr auto weak = std::memory_order_relaxed;
        // Succeeds with the newest value only; any other one that it may see lets it fail.
        std::array<std::uint8_t, 64> may{};
        std::size_t ways = 0;
        const std::size_t all = memory_.readable(now_, w, weak);
        for (std::size_t i = 0; i < all && ways < may.size(); ++i) {
            if (i == 0 || memory_.look(w, i) != seen) may[ways++] = static_cast<std::uint8_t>(i);
        }
        const std::size_t back = may[choose(ways)];
        if (back == 0 && memory_.look(w, 0) == seen) {
            memory_.exchange(now_, w, value, edit.becomes);
            wrote();
            return answer(1, "compare_exchange to", at, value, edit.becomes, p) != 0;
        }
        seen = memory_.load(now_, w, back, weak);
        answer(seen + 2, "compare_exchange fails on", at, seen, weak, p);
        return false;
    }
    std::uint64_t fetch_add(void* at, std::size_t n, std::uint64_t value, std::memory_order order,
                            place p) {
        const auto edit = edits_.of("fetch_add", order, p);
        const auto w = memory_.find(at, n);
        const bool own = is_private(w);
        note_use(w, loads | stores);
        step(own);
        const auto before = memory_.look(w, 0);
        if (edit.removed) return answer(before, "no fetch_add", at, value, order, p);
        memory_.exchange(now_, w, before + value, edit.becomes);
        wrote();
        return answer(before, "fetch_add", at, value, edit.becomes, p);
    }
    /// Bytes in whole words, from or to memory that nobody shares. No step: a race is found
    /// whichever comes first.
    void copy(void* to, const void* from, std::size_t n, bool to_shared) {
        for (std::size_t i = 0; i < n; i += 8) {
            const auto* at = static_cast<const std::byte*>(to_shared ? to : from) + i;
            const auto w = memory_.find(at, 8);
            note_use(w, to_shared ? stores : loads);
            seen_uses_.plainly[w] = true;
            std::uint64_t value = 0;
            const std::size_t bytes = n - i < 8 ? n - i : 8;
            if (to_shared) {
                std::memcpy(&value, static_cast<const std::byte*>(from) + i, bytes);
                memory_.store_plain(now_, w, value);
            } else {
                value = memory_.load_plain(now_, w);
                std::memcpy(static_cast<std::byte*>(to) + i, &value, bytes);
            }
            answer(value, to_shared ? "write" : "read", at, value);
        }
        if (!memory_.wrong.empty()) fail(memory_.wrong);
        if (to_shared) wrote();
    }
    /// Compares and lies down in one step, as the kernel does.
    /// Compares and lies down in one step, as the kernel does.
    void futex_wait(const void* at, std::uint32_t seen, place p) {
        const auto w = memory_.find(at, 4);
        note_use(w, loads);
        step();
        memory_.order_calls(now_, w);
        constexpr auto weak = std::memory_order_relaxed;
        const auto v = memory_.load(now_, w, choose_write(w, weak), weak);
        answer(v, v == seen ? "falls asleep on" : "does not sleep on", at, v, {}, p);
        if (v == seen) lie_down(at);
    }
    long futex_wake(const void* at, place p) {
        if (edits_.of("futex_wake", {}, p).removed) return 1;
        const auto w = memory_.find(at, 4);
        note_use(w, loads);
        step();
        memory_.order_calls(now_, w);
        const auto n = wake(at);
        return static_cast<long>(answer(n, "wakes on", at, n, {}, p));
    }
    void fence(bool heavy, place p) {
        const auto* what = heavy ? "heavy_fence" : "light_fence";
        if (edits_.of(what, {}, p).removed) return;
        seen_uses_.heavy |= heavy;
        step(!heavy && !known_.heavy);
        heavy ? memory_.heavy_fence(now_) : memory_.light_fence(now_);
        answer(0, what, nullptr, 0, {}, p);
    }

private:
    struct named {
        const std::byte* at;
        std::size_t bytes;
        std::string name;
    };

    std::size_t choose_write(std::size_t w, std::memory_order order) {
        memory_model::choices may;
        return may[choose(memory_.different(now_, w, order, may))];
    }
    void start_anew() {
        schedule_.clear();
        visited_.clear();
        seen_ = {};
    }
    void execute_alone() {
        explorer* const outer = std::exchange(running_, this);
        hours_ = 0;
        execute();
        running_ = outer;
    }

    // --- who uses what ---------------------------------------------------------------------
    // A step that nobody else can notice or change needs no other order. Who uses a word is learned
    // while exploring, and when there is news all is explored anew.
    struct uses {
        std::array<std::uint8_t, model_words_max> loads{}, stores{};  // a bit for each thread
        std::array<bool, model_words_max> plainly{};
        bool heavy = false;

        friend bool operator==(const uses&, const uses&) = default;
    };
    enum kind : unsigned { loads = 1, stores = 2 };
    static constexpr auto strict = std::memory_order_seq_cst;

    void learn_uses() noexcept {
        known_ = seen_uses_;
        memory_.shared.heavy = known_.heavy;
        for (std::size_t w = 0; w < model_words_max; ++w) {
            const unsigned by = known_.loads[w] | known_.stores[w], many = known_.stores[w];
            memory_.shared.words[w] = (by & (by - 1)) != 0 ? 255 : 0;
            memory_.shared.watched[w] = known_.plainly[w] || (many & (many - 1)) != 0;
        }
    }
    void note_use(std::size_t w, unsigned kinds) noexcept {
        const auto bit = static_cast<std::uint8_t>(1U << now_);
        if ((kinds & loads) != 0) seen_uses_.loads[w] |= bit;
        if ((kinds & stores) != 0) seen_uses_.stores[w] |= bit;
    }
    [[nodiscard]] bool stored_by_others(std::size_t w) const noexcept {
        return (known_.stores[w] & ~(1U << now_)) != 0;
    }
    [[nodiscard]] bool is_private(std::size_t w) const noexcept {
        return ((known_.stores[w] | known_.loads[w]) & ~(1U << now_)) == 0;
    }

    // --- traces ----------------------------------------------------------------------------
    std::uint64_t answer(std::uint64_t v, const char* what, const void* at, std::uint64_t value,
                         std::memory_order order = std::memory_order_relaxed, place p = {"", 0}) {
        me().told = mixed(me().told, v + 1);
        if (!tracing_) return v;
        std::string words = what;
        if (at != nullptr) words += ' ' + name_of(at) + " = " + std::to_string(value);
        if (p.line != 0) {
            const std::string_view file = p.file;
            words += std::string(" ") + word_of(order) + "  " +
                     std::string(file.substr(file.rfind('/') + 1)) + ':' + std::to_string(p.line);
        }
        say(me(), words);
        return v;
    }
    [[nodiscard]] std::string name_of(const void* at) const {
        const auto* a = static_cast<const std::byte*>(at);
        for (const auto& n : names_) {
            if (a < n.at || a >= n.at + n.bytes) continue;
            return a == n.at ? n.name : n.name + '+' + std::to_string(a - n.at);
        }
        return "a word";
    }

    static inline explorer* running_ = nullptr;

    std::vector<named> names_;
    edits edits_;
    uses known_, seen_uses_;
    std::uint64_t hours_ = 0;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
