// SPDX-License-Identifier: MIT
// What ast.hpp is made of: its words, the numbers and handlers of one who is trapped, and how a
// queued signal becomes a call.
//
//   post, byte 40 … 48: signal numbers, u8, ascending: for each mode m that of interrupting traps
//   (40 + 2 m) and of deferred ones (41 + 2 m), then that of wake; byte 64 + id: how handler `id`
//   is delivered, 0: there is none.
//   A trap's word (si_errno):  bit 0 … 7  handler   8 … 15  'A'   16 … 31  low bits of the post's
//   id
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/signal_numbers.hpp>
#include <parley/detail/signal_post.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace ast {

/// How urgent a trap is. One handler of a mode runs at a time, first come, first served; one of a
/// more urgent mode comes before it, and may interrupt it.
enum class mode : std::uint8_t { kernel = 0, executive = 1, supervisor = 2, user = 3 };
inline constexpr std::size_t modes = 4;
inline constexpr std::size_t handlers_max = 64;

/// What a handler gets. `pid` and `uid` are what the sender said of itself.
struct event {
    std::uint64_t parameter = 0;
    std::uint32_t handler = 0;
    mode level = mode::user;
    pid_t pid = 0;
    uid_t uid = 0;
};

struct options {
    std::string directory = "/dev/shm";  ///< of the file parley-ast.name
};

/// What may run in signal context: no exception leaves it, and nothing is allocated to keep it.
/// That it calls nothing but what signal-safety(7) lists is its author's word.
template <class F>
concept signal_safe = std::is_nothrow_invocable_v<const F&, const event&> &&
                          std::is_trivially_copyable_v<F> && std::is_trivially_destructible_v<F> &&
                          sizeof(F) <= 4 * sizeof(void*) &&
                      alignof(F) <= alignof(void*);

}  // namespace ast

namespace detail {

/// The numbers of a trap's owner, in the order of urgency.
struct ast_numbers {
    std::array<std::uint8_t, 2 * ast::modes + 1> all{};

    enum kind : std::uint8_t { none = 0, deferred = 1, interrupting = 2 };

    [[nodiscard]] int of(ast::mode m, kind how) const noexcept {
        return all[2 * static_cast<std::size_t>(m) + (how == deferred ? 1 : 0)];
    }
    [[nodiscard]] int wake() const noexcept { return all.back(); }
    /// Those of one kind whose mode is at least (most urgent: 0) `from`, less than `to`.
    [[nodiscard]] signal_mask mask(kind how, std::size_t from, std::size_t to) const noexcept {
        signal_mask m = 0;
        for (; from < to; ++from) m |= mask_of(of(static_cast<ast::mode>(from), how));
        return m;
    }
    [[nodiscard]] std::size_t index_of(int number) const noexcept {
        std::size_t i = 0;
        while (all[i] != number) ++i;
        return i;
    }
};

[[nodiscard]] constexpr std::uint32_t ast_word(std::uint64_t post, std::uint32_t handler) noexcept {
    return static_cast<std::uint32_t>(post & 0xffff) << 16 | std::uint32_t{'A'} << 8 | handler;
}
inline constexpr off_t ast_numbers_at = 40, ast_handlers_at = 64;

/// The owner's side.
struct ast_core final : fork_sensitive {
    ast_core(claimed_signals c, unique_fd f, std::string p, std::uint64_t i, ast_numbers n)
        : claimed(std::move(c)), post(std::move(f)), path(std::move(p)), id(i), numbers(n) {
        for (std::size_t m = 0; m < ast::modes; ++m) {
            const int number = numbers.of(static_cast<ast::mode>(m), ast_numbers::interrupting);
            owners()[static_cast<std::size_t>(number)].store(this);
            struct sigaction action {};
            action.sa_sigaction = &ast_core::on_signal;
            action.sa_flags = SA_SIGINFO | SA_RESTART;
            ::sigemptyset(&action.sa_mask);
            for (std::size_t held = m; held < ast::modes; ++held) {  // nothing less urgent
                ::sigaddset(&action.sa_mask,
                            numbers.of(static_cast<ast::mode>(held), ast_numbers::interrupting));
            }
            ::sigaction(number, &action, nullptr);
        }
        guard_against_fork();
    }
    ~ast_core() override {
        unguard();
        shut();
    }
    void in_forked_child() noexcept override {
        const auto all = numbers.mask(ast_numbers::interrupting, 0, ast::modes);
        for (std::size_t n = 1; n <= 64; ++n) {
            if ((all & mask_of(static_cast<int>(n))) != 0) owners()[n].store(nullptr);
        }
        bell.reset();
        post.reset();
    }
    void shut() noexcept {
        if (!post) return;
        remove_name(path, post.get());
        const auto all = numbers.mask(ast_numbers::interrupting, 0, ast::modes);
        block_signals(all);
        for (std::size_t n = 1; n <= 64; ++n) {
            if ((all & mask_of(static_cast<int>(n))) == 0) continue;
            ::signal(static_cast<int>(n), SIG_DFL);
            owners()[n].store(nullptr);
        }
        bell.reset();
        post.reset();
        claimed.release();
    }

    // --- handlers ------------------------------------------------------------------------------
    result<void> publish(std::uint32_t handler, ast_numbers::kind how) {
        const auto byte = static_cast<std::byte>(how);
        if (::pwrite(post.get(), &byte, 1, ast_handlers_at + handler) != 1) return last_error();
        return {};
    }
    [[nodiscard]] bool read(const signal_packet& p, ast::event& e) noexcept {
        e.handler = p.word & 0xff;
        if (!p.queued || p.word != ast_word(id, e.handler) || e.handler >= ast::handlers_max ||
            p.uid != ::getuid()) {
            foreign.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
        e.parameter = load_le<std::uint64_t>(p.payload.data());
        e.level = static_cast<ast::mode>(numbers.index_of(p.number) / 2);
        e.pid = p.pid;
        e.uid = p.uid;
        return true;
    }
    /// In signal context, or at a safe point: an interrupting handler.
    void interrupt(const ast::event& e) noexcept {
        const quick& q = quicks[e.handler];
        // Acquire pairs with on_interrupt: the object is there.
        if (const auto call = q.call.load(std::memory_order_acquire)) call(q.object, e);
    }
    static void on_signal(int number, siginfo_t* info, void*) noexcept {
        const int kept = errno;
        if (ast_core* c = owners()[static_cast<std::size_t>(number)].load()) {
            ast::event e;
            if (c->read(signal_packet::of(*info), e)) c->interrupt(e);
        }
        errno = kept;
    }

    // --- safe points ---------------------------------------------------------------------------
    /// What may be delivered at a safe point of this thread now.
    [[nodiscard]] signal_mask deliverable() const noexcept {
        if (holds > 0) return 0;
        const auto late = numbers.mask(ast_numbers::deferred, 0, level);
        return scopes > 0 ? late : late | numbers.mask(ast_numbers::interrupting, 0, level);
    }
    void deliver(const signal_packet& p) {
        ast::event e;
        if (!read(p, e)) return;
        const auto m = static_cast<std::size_t>(e.level);
        if (numbers.index_of(p.number) % 2 == 0) return interrupt(e);
        // While it runs nothing of its mode or of a less urgent one does.
        const auto rest = numbers.mask(ast_numbers::interrupting, m, level);
        struct turn {
            ast_core& c;
            std::size_t before;
            signal_mask held;
            ~turn() {
                c.level = before;
                if (held != 0) unblock_signals(held);
            }
        } const now{*this, std::exchange(level, m), scopes > 0 && holds == 0 ? rest : 0};
        if (now.held != 0) block_signals(now.held);
        if (handlers[e.handler]) handlers[e.handler](e);
    }
    std::size_t run() {
        std::size_t n = 0;
        for (signal_packet p; take_signal_now(deliverable(), p); ++n) deliver(p);
        return n;
    }

    struct quick {
        std::atomic<void (*)(const std::byte*, const ast::event&) noexcept> call{nullptr};
        alignas(void*) std::byte object[4 * sizeof(void*)]{};
    };
    using owner_table = std::array<std::atomic<ast_core*>, 65>;
    static owner_table& owners() noexcept {
        static owner_table all{};
        return all;
    }

    claimed_signals claimed;
    unique_fd post;
    std::string path;
    std::uint64_t id;
    ast_numbers numbers;
    unique_fd bell;
    std::array<std::function<void(const ast::event&)>, ast::handlers_max> handlers;
    std::array<quick, ast::handlers_max> quicks;
    std::atomic<std::uint64_t> foreign{0};
    std::size_t level = ast::modes;  // of the deferred handler that runs; modes: none
    unsigned holds = 0;
    unsigned scopes = 0;  // of `interruptible`
};

[[nodiscard]] inline post_name ast_post(const std::string& name, const ast::options& o) {
    return {o.directory, "parley-ast.", name};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
