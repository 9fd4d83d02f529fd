// SPDX-License-Identifier: MIT
// Memory as the C++20 memory model lets threads see it: each word is a list of writes, and a load
// may return any of them that its thread does not know to be out of date.
//
// The rules are those of the view machines of Kang et al., "A Promising Semantics for
// Relaxed-Memory Concurrency" (POPL 2017), without promises, as Relacy (Vyukov) and CDSChecker
// (Norris and Demsky, OOPSLA 2013) explore them:
//
//   - the writes of a word are ordered as they were executed. A thread knows of each word a newest
//     write, and loads return that one or any later. What a load returned is known from then on.
//   - a release store hands all that its thread knows to the acquire load that reads it; so does a
//     read-modify-write that another one reads from (C++20's release sequences).
//   - seq_cst operations share one more knowledge, of words only: a seq_cst load returns nothing
//     older than the last seq_cst access to that word saw or wrote.
//   - plain bytes are written and read in happens-before order, or it is a data race, and an error.
//
// What is left out: values out of the future (a load that reads a store which its own later store
// causes; no compiler or processor is known to do it), the extra freedom that C++20 gave POWER
// where seq_cst and weaker accesses to one word meet, and stores of two threads to one word in no
// happens-before order. The last is an error here, so a program that passes had none.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

inline constexpr std::size_t model_threads_max = 4;
#ifndef PARLEY_MODEL_WORDS
#define PARLEY_MODEL_WORDS 64  // shared words of a program; the more, the slower
#endif
inline constexpr std::size_t model_words_max = PARLEY_MODEL_WORDS;

[[nodiscard]] constexpr std::uint64_t mixed(std::uint64_t h, std::uint64_t with) noexcept {
    h = (h ^ with) * 0x9e3779b97f4a7c15ULL;
    return h ^ (h >> 29);
}
[[nodiscard]] constexpr bool acquires(std::memory_order o) noexcept {
    return o == std::memory_order_acquire || o == std::memory_order_acq_rel ||
           o == std::memory_order_seq_cst;
}
[[nodiscard]] constexpr bool releases(std::memory_order o) noexcept {
    return o == std::memory_order_release || o == std::memory_order_acq_rel ||
           o == std::memory_order_seq_cst;
}

/// What a thread, a write or a fence knows: of each word its newest write, and of each thread up to
/// which of the times that it told something.
struct knowledge {
    using word_stamps [[gnu::vector_size(model_words_max)]] = std::uint8_t;
    using clocks [[gnu::vector_size(2 * model_threads_max)]] = std::uint16_t;

    word_stamps words{};
    clocks steps{};

    void learn(const knowledge& other) noexcept {
        words = words > other.words ? words : other.words;
        steps = steps > other.steps ? steps : other.steps;
    }
    [[nodiscard]] bool covers(const knowledge& other) const noexcept {
        knowledge both = *this;
        both.learn(other);
        return std::memcmp(&both, this, sizeof both) == 0;
    }
};

/// The words of one execution. Words are recognised by their address, their first value is what
/// lies there. One thread: an explorer lets one step happen at a time.
class memory_model {
public:
    using thread = std::size_t;
    using word = std::size_t;

    /// Forgets what was written, not which words there are.
    void begin() noexcept {
        for (auto& w : words_) w.writes.clear();
        for (auto& t : threads_) t = {};
        for (thread t = 0; t < model_threads_max; ++t) told(t);
        strict_ = knowledge::word_stamps{};
        wrong.clear();
    }
    /// Bytes that are mapped a second time, at `second`.
    void alias(const void* first, const void* second, std::size_t n) {
        aliases_.push_back({address(first), address(second), n});
    }
    /// The word at an address. `bytes` is 4 or 8.
    [[nodiscard]] word find(const void* at, std::size_t bytes) {
        const auto a = original(address(at));
        for (std::size_t slot = a / 4;; ++slot) {
            auto& i = table_[slot % table_.size()];
            if (i == 0) {
                if (words_.size() == model_words_max) {
                    wrong = "too many shared words: raise PARLEY_MODEL_WORDS";
                    return 0;
                }
                words_.emplace_back(a, bytes);
                i = static_cast<std::uint8_t>(words_.size());
            }
            auto& w = words_[i - 1U];
            if (w.at != a) continue;
            if (w.bytes != bytes) wrong = "one word is used with two widths";
            if (w.writes.empty()) w.start();
            return i - 1U;
        }
    }

    // --- atomic accesses -------------------------------------------------------------------
    /// How many writes a load may return.
    [[nodiscard]] std::size_t readable(thread t, word w, std::memory_order order) const noexcept {
        return words_[w].writes.size() - oldest(t, w, order);
    }
    /// The value of the n-th of them, the newest first, without a load.
    [[nodiscard]] std::uint64_t look(word w, std::size_t n) const noexcept {
        const auto& writes = words_[w].writes;
        return writes[writes.size() - 1 - n].value;
    }
    /// Which of them make a difference: an older write of the same value that makes nothing more
    /// known allows whatever a newer one does. How many there are.
    using choices = std::array<std::uint8_t, 64>;
    [[nodiscard]] std::size_t different(thread t, word w, std::memory_order order,
                                        choices& out) const noexcept {
        const auto& writes = words_[w].writes;
        const std::size_t last = writes.size() - 1, all = readable(t, w, order);
        std::size_t found = 0;
        for (std::size_t n = 0; n < all && found < out.size(); ++n) {
            const auto& newer = writes[last - n];
            knowledge then = threads_[t].knows;
            then.learn(newer.tells);
            bool needed = true;
            for (std::size_t o = n + 1; needed && o < all; ++o) {
                const auto& older = writes[last - o];
                needed = older.value != newer.value || !then.covers(older.tells);
            }
            if (needed) out[found++] = static_cast<std::uint8_t>(n);
        }
        return found;
    }
    std::uint64_t load(thread t, word w, std::size_t n, std::memory_order order) noexcept {
        auto& me = threads_[t];
        auto& at = words_[w];
        const std::size_t i = at.writes.size() - 1 - n;
        if (at.plain_by != t && me.knows.steps[at.plain_by] < at.plain_at) race("load");
        use(at, t);
        me.knows.words[w] = static_cast<std::uint8_t>(i);
        (acquires(order) ? me.knows : me.would_acquire).learn(at.writes[i].tells);
        if (order == std::memory_order_seq_cst) raise(strict_, w, i);
        return at.writes[i].value;
    }
    void store(thread t, word w, std::uint64_t value, std::memory_order order) {
        auto& me = threads_[t];
        auto& at = words_[w];
        for (thread o = 0; o < model_threads_max; ++o) {
            if (me.knows.steps[o] < at.laid[o] && o != t) {
                wrong = "two threads store to one word in no order";
            }
        }
        write(me, t, w, value, order, {});
        at.laid[t] = at.stored[t];
    }
    /// Always reads the newest write.
    std::uint64_t exchange(thread t, word w, std::uint64_t value, std::memory_order order) {
        const auto seen = load(t, w, 0, order);
        const knowledge before = words_[w].writes.back().tells;
        write(threads_[t], t, w, value, order, before);
        return seen;
    }

    // --- plain accesses --------------------------------------------------------------------
    void store_plain(thread t, word w, std::uint64_t value) {
        auto& me = threads_[t];
        auto& at = words_[w];
        for (thread o = 0; o < model_threads_max; ++o) {
            if (o != t && me.knows.steps[o] < at.used[o]) race("write");
        }
        write(me, t, w, value, std::memory_order_relaxed, {});
        at.plain_by = t;
        at.plain_at = me.knows.steps[t];
    }
    std::uint64_t load_plain(thread t, word w) {
        auto& me = threads_[t];
        auto& at = words_[w];
        for (thread o = 0; o < model_threads_max; ++o) {
            if (o != t && me.knows.steps[o] < at.stored[o]) race("read");
        }
        use(at, t);
        return at.writes.back().value;
    }

    // --- fences ----------------------------------------------------------------------------
    void light_fence(thread t) noexcept {
        auto& me = threads_[t];
        merge(me.knows.words, me.at_heavy);
        me.at_light = me.knows.words;
    }
    /// A seq_cst fence here, and one in each other thread, at its last light fence or, for what
    /// comes later, at its next: the asymmetric fences of P1202.
    void heavy_fence(thread t) noexcept {
        auto& me = threads_[t];
        me.knows.learn(me.would_acquire);
        for (const auto& o : threads_) merge(strict_, o.at_light);
        merge(me.knows.words, strict_);
        strict_ = me.knows.words;
        me.would_release = me.knows;
        for (auto& o : threads_) merge(o.at_heavy, strict_);
        told(t);
    }
    /// The kernel orders all calls that concern one futex, and says nothing of other words.
    void order_calls(thread t, word w) noexcept {
        auto& me = threads_[t];
        auto& called = words_[w].called;
        raise(me.knows.words, w, called);
        called = me.knows.words[w];
    }
    /// A thread that does not go on reads nothing.
    void end(thread t) noexcept { threads_[t].over = true; }
    /// All that t knows, for a lock or an end that hands it on; and back.
    [[nodiscard]] knowledge tell(thread t) noexcept {
        const knowledge all = threads_[t].knows;
        told(t);
        return all;
    }
    void learn(thread t, const knowledge& from) noexcept { threads_[t].knows.learn(from); }

    /// Equal for two histories only if all that can still be read, and be a race, is equal. Writes
    /// that nobody can read any more are left out, and the others are counted from there.
    [[nodiscard]] std::uint64_t hash() noexcept {
        forgotten_ = ~knowledge::word_stamps{};
        for (thread t = 0; t < used; ++t) {
            if (threads_[t].over) continue;
            const auto& own = threads_[t].knows.words;
            forgotten_ = forgotten_ < own ? forgotten_ : own;
        }
        std::uint64_t h = hash_of(strict_);
        for (thread t = 0; t < used; ++t) {
            const auto& me = threads_[t];
            if (!me.over) h = mixed(h, hash_of(me.knows));
            if (!shared.heavy) continue;
            // Only what is more than would be there anyway makes a difference.
            knowledge more = me.knows;
            more.learn(me.would_acquire);
            auto light = strict_, heavy = me.knows.words;
            merge(light, me.at_light);
            merge(heavy, me.at_heavy);
            h = mixed(mixed(h, hash_of(more)), hash_of(me.would_release));
            h = mixed(mixed(h, hash_of(light)), hash_of(heavy));
        }
        for (word w = 0; w < words_.size(); ++w) {
            if (shared.words[w] == 0) continue;
            const auto& writes = words_[w].writes;
            h = mixed(h, words_[w].called > forgotten_[w] ? words_[w].called - forgotten_[w] : 0U);
            for (std::size_t i = forgotten_[w]; i < writes.size(); ++i) {
                h = mixed(mixed(h, writes[i].value), hash_of(writes[i].tells));
            }
        }
        return h;
    }
    /// The same of what a lock or an end tells, after hash().
    [[nodiscard]] std::uint64_t hash_of(const knowledge& k) const noexcept {
        std::uint64_t h = hash_of(k.words), known = 1;
        for (word w = 0; w < words_.size(); ++w) {
            if (!shared.watched[w]) continue;
            const auto& at = words_[w];
            for (thread t = 0; t < used; ++t) {
                known = known << 3 | (k.steps[t] >= at.laid[t] ? 4U : 0U) |
                        (k.steps[t] >= at.stored[t] ? 2U : 0U) |
                        (k.steps[t] >= at.used[t] ? 1U : 0U);
                if (known >> 60 != 0) h = mixed(h, known), known = 1;
            }
        }
        return mixed(h, known);
    }
    /// Puts the last value of each word where it lies, for checks after the end.
    void write_back() noexcept {
        for (auto& w : words_) {
            if (!w.writes.empty()) {
                std::memcpy(reinterpret_cast<void*>(w.at), &w.writes.back().value, w.bytes);
            }
        }
    }

    std::string wrong;     ///< the first data race or misuse of this execution
    std::size_t used = 0;  ///< threads
    /// What the threads have in common, where that is known; else all counts.
    struct common {
        knowledge::word_stamps words = ~knowledge::word_stamps{};  // 0: one thread alone uses it
        std::array<bool, model_words_max> watched{};               // for data races
        bool heavy = true;                                         // there are heavy fences
    } shared;

private:
    struct written {
        std::uint64_t value;
        knowledge tells;
    };
    struct history {
        history(std::uintptr_t a, std::size_t n) : at(a), bytes(n) {}
        void start() {
            std::uint64_t value = 0;
            std::memcpy(&value, reinterpret_cast<const void*>(at), bytes);
            writes.push_back({value, {}});
            laid = stored = used = {};
            plain_by = 0;
            plain_at = 0;
            called = 0;
        }

        std::uintptr_t at;
        std::size_t bytes;
        std::vector<written> writes;
        // When each thread last stored to it, not counting and counting what always reads the
        // newest value first, and when it did anything with it, by knowledge::steps.
        std::array<std::uint16_t, model_threads_max> laid{}, stored{}, used{};
        thread plain_by = 0;  // the last plain write
        std::uint16_t plain_at = 0;
        std::uint8_t called = 0;  // what the last system call about it knew of it
    };
    struct view {
        knowledge knows;
        knowledge would_acquire;  // by a fence: what relaxed loads read
        knowledge would_release;  // what it knew at its last fence: relaxed stores hand it on
        knowledge::word_stamps at_light{};  // what it knew at its last light fence
        knowledge::word_stamps at_heavy{};  // what it learns at its next
        bool over = false;
    };
    struct twice {
        std::uintptr_t first, second;
        std::size_t bytes;
    };

    static std::uintptr_t address(const void* at) noexcept {
        return reinterpret_cast<std::uintptr_t>(at);
    }
    [[nodiscard]] std::uintptr_t original(std::uintptr_t a) const noexcept {
        for (const auto& x : aliases_) {
            if (a >= x.second && a - x.second < x.bytes) return a - x.second + x.first;
        }
        return a;
    }
    [[nodiscard]] std::uint64_t hash_of(const knowledge::word_stamps& all) const noexcept {
        const auto newer = all > forgotten_ ? all - forgotten_ : knowledge::word_stamps{};
        const auto stamps = newer & shared.words;
        std::uint64_t parts[sizeof stamps / 8], h = 0;
        std::memcpy(parts, &stamps, sizeof stamps);
        for (const auto p : parts) h = mixed(h, p);
        return h;
    }
    static void merge(knowledge::word_stamps& all, const knowledge::word_stamps& with) noexcept {
        all = all > with ? all : with;
    }
    static void raise(knowledge::word_stamps& all, word w, std::size_t to) noexcept {
        if (all[w] < to) all[w] = static_cast<std::uint8_t>(to);
    }
    /// What t does from now on is not told by what it has told already.
    void told(thread t) noexcept {
        auto& own = threads_[t].knows.steps;
        own[t] = static_cast<std::uint16_t>(own[t] + 1);
    }
    [[nodiscard]] std::size_t oldest(thread t, word w, std::memory_order order) const noexcept {
        const std::size_t own = threads_[t].knows.words[w], all = strict_[w];
        return order == std::memory_order_seq_cst && own < all ? all : own;
    }
    void write(view& me, thread t, word w, std::uint64_t value, std::memory_order order,
               const knowledge& passed_on) {
        auto& at = words_[w];
        if (at.plain_by != t && me.knows.steps[at.plain_by] < at.plain_at) race("store");
        const std::size_t i = at.writes.size();
        if (i > 250) wrong = "a word is written at most 250 times in one execution";
        use(at, t);
        at.stored[t] = at.used[t];
        raise(me.knows.words, w, i);
        knowledge tells = releases(order) ? me.knows : me.would_release;
        tells.learn(passed_on);
        raise(tells.words, w, i);
        if (order == std::memory_order_seq_cst) raise(strict_, w, i);
        at.writes.push_back({value, tells});
        if (releases(order)) told(t);
    }
    void use(history& at, thread t) const noexcept { at.used[t] = threads_[t].knows.steps[t]; }
    void race(const char* what) {
        if (wrong.empty()) wrong = std::string("data race: this ") + what + " has no order";
    }

    std::vector<history> words_;
    std::array<std::uint8_t, 1024> table_{};
    std::array<view, model_threads_max> threads_;
    knowledge::word_stamps strict_{};     // what the order of seq_cst operations makes known
    knowledge::word_stamps forgotten_{};  // the oldest writes that somebody can still read
    std::vector<twice> aliases_;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
