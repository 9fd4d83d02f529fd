// SPDX-License-Identifier: MIT
// Waiting, written once for all transports: the loops that turn verbs which never wait into calls
// that end by a deadline.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/transport/transport.hpp>

#include <cstddef>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

// The first attempt is inlined into the caller, the waiting is kept out of its way: a message that
// finds room, or is there, costs no call of a function.

template <sink S>
[[gnu::noinline, gnu::cold]] void loan_later(S& s, std::size_t n, deadline& d,
                                             result<typename S::loan>& l) {
    while (!l && l.error() == errc::would_block) {
        if (auto r = s.wait(d.at()); !r) {
            l = r.error();
        } else {
            l = s.try_loan(n);
        }
    }
}

/// Lends n bytes, waiting for room. Errors: would_block (d means try), timed_out, those of
/// try_loan.
template <sink S>
[[nodiscard, gnu::always_inline]] inline result<typename S::loan> loan(S& s, std::size_t n,
                                                                       deadline& d) {
    auto l = s.try_loan(n);
    if (!l && !d.is_try()) [[unlikely]]
        loan_later(s, n, d, l);
    return l;
}

/// A sink that queues by itself and pushes on with each call: a send need not wait for it.
template <class S>
concept queueing_sink = requires {
    requires bool(S::queues);
};

/// Commits and pushes. The message is the transport's once it is committed: that it still lies in
/// this process when the deadline passes is no error.
template <sink S>
[[nodiscard, gnu::always_inline]] inline result<void> commit(S& s, typename S::loan l,
                                                             deadline& d) {
    if (auto r = s.try_commit(std::move(l)); !r) [[unlikely]]
        return r;
    auto r = s.flush(queueing_sink<S> || d.is_try() ? expired : d.at());
    if (!r && r.error() == errc::would_block) [[unlikely]]
        return {};
    return r;
}

/// Whether a message of n bytes is to go straight from, or to, where it lies. With system calls
/// those that gather or scatter cost more, which a small message is not worth; who has a way of its
/// own for small ones says so.
template <class End>
[[nodiscard]] constexpr bool goes_straight(std::size_t n) noexcept {
    return n > 4095 || requires { requires End::straight; };
}

/// Sends a message from where it lies, waiting for room. Errors as of loan and commit.
template <gathering_sink S>
[[nodiscard, gnu::always_inline]] inline result<void> send_from(S& s, bytes m, deadline& d) {
    for (;;) {
        auto r = s.send_from(m, d.is_try() || in_memory<S> || queueing_sink<S> ? expired : d.at());
        // Made anew, not copied: what was just written in parts and is copied as a whole waits for
        // all stores before it, those of the message among them.
        if (r) [[likely]]
            return {};
        if (r.error() != errc::would_block || d.is_try()) return r;
        if (auto w = s.wait(d.at()); !w) return w.error();
    }
}

/// The next message straight into `into`, if it is as long and can be had this way.
template <scattering_source S>
[[nodiscard, gnu::always_inline]] inline result<placement> receive_into(S& s, mutable_bytes into,
                                                                        deadline& d) {
    auto r = s.receive_into(into, d.is_try() || in_memory<S> ? expired : d.at());
    if constexpr (requires { requires S::straight_after_wait; }) {
        // A source says so where that was measured to make round trips shorter: what is waited for
        // is taken like what was there, and not by a view. What else it was, try_receive says.
        if (r && *r == placement::not_placed && !d.is_try()) {
            if (auto w = s.wait(d.at()); !w) return w.error();
            return s.receive_into(into, expired);
        }
    }
    if (!r && r.error() == errc::timed_out && d.is_try()) return errc::would_block;
    return r;
}

/// Whether try_receive is cheaper than wait.
template <source S>
[[nodiscard]] bool asks_first(const S& s) noexcept {
    if constexpr (requires { s.is_in_memory(); }) {
        return s.is_in_memory();
    } else {
        return in_memory<S>;
    }
}

template <source S>
[[gnu::noinline, gnu::cold]] void receive_later(S& s, deadline& d, result<typename S::view>& m) {
    while (!m && m.error() == errc::would_block) {
        if (auto r = s.wait(d.at()); !r) {
            m = r.error();
        } else {
            m = s.try_receive();
            // A source that is called for nothing again and again, by whom it cannot trust.
            if (!m && m.error() == errc::would_block && d.has_passed()) m = errc::timed_out;
        }
    }
}

/// The next message, waiting for it. Errors: would_block (d means try), timed_out, those of
/// try_receive.
template <source S>
[[nodiscard, gnu::always_inline]] inline result<typename S::view> receive(S& s, deadline& d) {
    // Where asking costs a system call, waiting comes first: it reads what it waited for.
    if (!d.is_try() && !asks_first(s)) {
        if (auto r = s.wait(d.at()); !r) [[unlikely]]
            return r.error();
    }
    auto m = s.try_receive();
    if (!m && !d.is_try()) [[unlikely]]
        receive_later(s, d, m);
    return m;
}

}  // namespace drive
}  // namespace v1
}  // namespace parley
