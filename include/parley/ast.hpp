// SPDX-License-Identifier: MIT
// Asynchronous system traps, as VMS and RSX have them: a procedure and a parameter that another
// process queues to this one. No stream of bytes; a noun of its own over queued signals.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/ast_core.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace ast {

class hold;
class interruptible;

/// The one who is trapped: its handlers, and the points at which they run.
///
///     auto trap = parley::ast::open_trap("plant").value();
///     trap.on(1, [&](const parley::ast::event& e) { log(e.parameter); }).value();    // any code
///     trap.on_interrupt(2, [&stop](const parley::ast::event&) noexcept { stop = true; }).value();
///     {
///         parley::ast::interruptible here(trap);  // handler 2 now interrupts this thread,
///         while (!stop) compute();                // which polls nothing
///     }
///     trap.hibernate().value();                   // handlers run; until somebody wakes us
///
/// Deferred handlers (`on`) run in `run` and `hibernate`, in the thread that calls these; they may
/// do anything, `run` and `hibernate` among it: more urgent traps then nest. Interrupting ones
/// (`on_interrupt`) run in signal context inside a scope of `interruptible`, between two
/// instructions of that thread: they may touch lock-free atomics and call what signal-safety(7)
/// lists, no malloc, no stdio, of parley only `wake` of this trap. Outside of
/// such a scope they run at safe points too.
///
/// Thread safety: one thread at a time; it is that thread that `hold` and `interruptible` mean. The
/// nine signal numbers must be blocked in every other thread, as signals.hpp says.
/// Lifetime: outlives its holds and scopes. Blocking: hibernate only. Errors of open: as
/// signals://.
class trap {
public:
    /// Errors: invalid_argument (no such id: 0 to 63). May be called again to replace a handler.
    template <std::invocable<const event&> F>
    [[nodiscard]] result<void> on(std::uint32_t id, F handler) {
        if (id >= handlers_max) return errc::invalid_argument;
        core_->handlers[id] = std::move(handler);
        return core_->publish(id, detail::ast_numbers::deferred);
    }
    template <signal_safe F>
    [[nodiscard]] result<void> on_interrupt(std::uint32_t id, F handler) {
        if (id >= handlers_max) return errc::invalid_argument;
        auto& q = core_->quicks[id];
        const auto call = [](const std::byte* object, const event& e) noexcept {
            (*std::launder(reinterpret_cast<const F*>(object)))(e);
        };
        if (q.call.load() != nullptr) return errc::in_use;  // it might run while it is replaced
        ::new (static_cast<void*>(q.object)) F(handler);
        q.call.store(call, std::memory_order_release);
        return core_->publish(id, detail::ast_numbers::interrupting);
    }

    /// A safe point: runs what is queued, the most urgent first. How many handlers ran.
    std::size_t run() { return core_->run(); }
    /// Sleeps, and runs what comes, until somebody wakes this trap. A wake that came before counts.
    /// Errors: timed_out.
    [[nodiscard]] result<void> hibernate(deadline d = never);
    /// Ends this trap's hibernation, the next one if there is none now. Signal-safe.
    void wake() const noexcept { (void)::kill(::getpid(), core_->numbers.wake()); }
    /// Readable while a trap or a wake is queued: then call run, or hibernate with a zero deadline.
    [[nodiscard]] result<int> pollable() {
        auto& bell = core_->bell;
        if (!bell) bell = detail::signal_descriptor(core_->claimed.mask());
        if (!bell) return detail::last_error();
        return bell.get();
    }
    /// Signals that were no trap of parley for this one; they were ignored.
    [[nodiscard]] std::uint64_t foreign() const noexcept { return core_->foreign.load(); }

private:
    friend hold;
    friend interruptible;
    friend result<trap> open_trap(const std::string&, const options&, diagnostics*);
    explicit trap(std::unique_ptr<detail::ast_core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<detail::ast_core> core_;
};

/// While it lives no handler runs in this thread; what comes waits. Nests. (VMS: $SETAST.)
class hold {
public:
    explicit hold(trap& t) noexcept : core_(*t.core_) {
        if (core_.holds++ == 0 && core_.scopes > 0) detail::block_signals(which());
    }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;
    ~hold() {
        if (--core_.holds == 0 && core_.scopes > 0) detail::unblock_signals(which());
    }

private:
    /// Of a handler that runs, the mode and what is less urgent are held by others.
    [[nodiscard]] detail::signal_mask which() const noexcept {
        return core_.numbers.mask(detail::ast_numbers::interrupting, 0, core_.level);
    }
    detail::ast_core& core_;
};

/// While it lives interrupting handlers run in this thread, whatever it does. Nests. Start no
/// thread meanwhile: it would be interrupted too.
class interruptible {
public:
    explicit interruptible(trap& t) noexcept : core_(*t.core_) {
        if (core_.scopes++ == 0 && core_.holds == 0) detail::unblock_signals(which());
    }
    interruptible(const interruptible&) = delete;
    interruptible& operator=(const interruptible&) = delete;
    ~interruptible() {
        if (--core_.scopes == 0) detail::block_signals(which());
    }

private:
    [[nodiscard]] detail::signal_mask which() const noexcept {
        return core_.numbers.mask(detail::ast_numbers::interrupting, 0, core_.level);
    }
    detail::ast_core& core_;
};

inline result<void> trap::hibernate(deadline d) {
    auto& c = *core_;
    const auto wake = detail::mask_of(c.numbers.wake());
    const time_point until = d.is_try() ? expired : d.at();
    for (;;) {
        timespec left{};
        if (until != never) left = detail::time_left(until);
        detail::signal_packet p;
        if (!detail::take_signal(c.deliverable() | wake, until == never ? nullptr : &left, p)) {
            if (errno == EINTR) continue;
            return d.is_try() ? errc::would_block : errc::timed_out;
        }
        if (p.number != c.numbers.wake()) {
            c.deliver(p);
            continue;
        }
        detail::drop_signals(wake);  // two wakes are one
        return {};
    }
}

/// Becomes the one who is trapped under `name`.
[[nodiscard]] inline result<trap> open_trap(const std::string& name, const options& with = {},
                                            diagnostics* words = nullptr) {
    diagnostics unasked;
    diagnostics& why = words != nullptr ? *words : unasked;
    const auto at = detail::ast_post(name, with);
    detail::ast_numbers numbers;
    auto claimed = detail::claimed_signals::claim(numbers.all.size(), why);
    if (!claimed) return claimed.error();
    detail::post_page page;
    page.sign(detail::post_page::kind::ast);
    for (std::size_t i = 0; i < numbers.all.size(); ++i) {
        numbers.all[i] = static_cast<std::uint8_t>(claimed->number(i));
        page.memory[detail::ast_numbers_at + i] = static_cast<std::byte>(numbers.all[i]);
    }
    auto file = detail::make_post(at, page, detail::post_page::bytes, why);
    if (!file) return file.error();
    return trap(std::make_unique<detail::ast_core>(std::move(*claimed), std::move(*file), at.path(),
                                                   page.id(), numbers));
}

/// One who queues traps to another process, or to its own.
///
///     auto plant = parley::ast::open_declarer("plant").value();              // waits for the trap
///     plant.declare(1, 42).value();
///     plant.declare(2, 0, parley::ast::mode::kernel, 10ms).value();
///     plant.wake().value();
///
/// Thread safety: one thread at a time. Blocking: declare waits while the queue of signals is full.
class declarer {
public:
    /// Queues handler `id` with a parameter. Errors: not_found (it has no such handler), timed_out
    /// or would_block (the queue is full: RLIMIT_SIGPENDING), closed, peer_lost, invalid_argument.
    [[nodiscard]] result<void> declare(std::uint32_t id, std::uint64_t parameter,
                                       mode level = mode::user, deadline d = never);
    /// Ends its hibernation, the next one if there is none now. Never waits: a wake needs no place
    /// in the queue. Errors: closed, peer_lost.
    [[nodiscard]] result<void> wake();
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }

private:
    friend result<declarer> open_declarer(const std::string&, deadline, const options&,
                                          diagnostics*);
    declarer(detail::found_post at, std::string path, detail::ast_numbers n)
        : at_(std::move(at)), path_(std::move(path)), numbers_(n) {}

    error_code lost() {
        if (detail::has_exited(at_.pidfd.get())) {
            detail::remove_post_if_dead(path_, at_.file.get());
            return why_.fail(errc::peer_lost, "the process behind " + path_ + " died");
        }
        return why_.fail(errc::closed, "the trap behind " + path_ + " was closed");
    }

    detail::found_post at_;
    std::string path_;
    detail::ast_numbers numbers_;
    diagnostics why_;
};

inline result<void> declarer::declare(std::uint32_t id, std::uint64_t parameter, mode level,
                                      deadline d) {
    if (id >= handlers_max || static_cast<std::size_t>(level) >= modes) {
        return errc::invalid_argument;
    }
    if (!at_.owned()) return lost();
    std::uint8_t how = detail::ast_numbers::none;
    (void)!::pread(at_.file.get(), &how, 1, detail::ast_handlers_at + id);
    if (how == detail::ast_numbers::none || how > detail::ast_numbers::interrupting) {
        return why_.fail(errc::not_found, path_ + " has no handler " + std::to_string(id));
    }
    detail::signal_packet p{
        .number = numbers_.of(level, static_cast<detail::ast_numbers::kind>(how)),
        .word = detail::ast_word(at_.page.id(), id),
        .pid = ::getpid(),
        .uid = ::getuid()};
    store_le(p.payload.data(), parameter);
    for (detail::backoff pause(std::chrono::milliseconds(1));;) {
        const int number = p.send(at_.pidfd.get());
        if (number == 0) return {};
        if (number == ESRCH) return lost();
        if (number != EAGAIN) {
            return why_.fail(from_errno(number), detail::explain("a trap to " + path_, number));
        }
        if (d.is_try()) return errc::would_block;
        if (auto r = pause.sleep(d.at()); !r) return r;
        if (!at_.owned()) return lost();
    }
}

inline result<void> declarer::wake() {
    if (!at_.owned()) return lost();
    // As kill(2) does it: the kernel notes it even when the queue is full.
    const int number = numbers_.wake();
    if (::syscall(SYS_pidfd_send_signal, at_.pidfd.get(), number, nullptr, 0) == 0) return {};
    return errno == ESRCH ? lost() : detail::last_error();
}

/// Finds the trap under `name`, waiting for it. Errors as of a sender of signals://.
[[nodiscard]] inline result<declarer> open_declarer(const std::string& name, deadline d = never,
                                                    const options& with = {},
                                                    diagnostics* words = nullptr) {
    diagnostics unasked;
    diagnostics& why = words != nullptr ? *words : unasked;
    const auto at = detail::ast_post(name, with);
    if (auto ok = at.check(why); !ok) return ok.error();
    auto found = detail::opened_in_time(d.is_try() ? expired : d.at(), [&] {
        return detail::find_post(at, detail::post_page::kind::ast, why);
    });
    if (!found) return found.error();
    detail::ast_numbers numbers;
    for (std::size_t i = 0; i < numbers.all.size(); ++i) {
        numbers.all[i] = static_cast<std::uint8_t>(found->page.memory[detail::ast_numbers_at + i]);
        if (numbers.all[i] < SIGRTMIN || numbers.all[i] > SIGRTMAX) {
            return why.fail(errc::corrupt, at.path() + " is a post that no trap of parley wrote");
        }
    }
    return declarer(std::move(*found), at.path(), numbers);
}

}  // namespace ast
}  // namespace v1
}  // namespace parley
