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

/// Lends n bytes, waiting for room. Errors: would_block (d means try), timed_out, those of
/// try_loan.
template <sink S>
[[nodiscard]] result<typename S::loan> loan(S& s, std::size_t n, deadline& d) {
    for (;;) {
        auto l = s.try_loan(n);
        if (l || l.error() != errc::would_block || d.is_try()) return l;
        if (auto r = s.wait(d.at()); !r) return r.error();
    }
}

/// Commits and pushes. The message is the transport's once it is committed: that it still lies in
/// this process when the deadline passes is no error.
template <sink S>
[[nodiscard]] result<void> commit(S& s, typename S::loan l, deadline& d) {
    if (auto r = s.try_commit(std::move(l)); !r) return r;
    auto r = s.flush(d.is_try() ? expired : d.at());
    if (!r && r.error() == errc::would_block) return {};
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

/// The next message, waiting for it. Errors: would_block (d means try), timed_out, those of
/// try_receive.
template <source S>
[[nodiscard]] result<typename S::view> receive(S& s, deadline& d) {
    // Where asking costs a system call, waiting comes first: it reads what it waited for.
    if (d.is_try() || asks_first(s)) {
        auto m = s.try_receive();
        if (m || m.error() != errc::would_block || d.is_try()) return m;
    }
    for (;;) {
        if (auto r = s.wait(d.at()); !r) return r.error();
        auto m = s.try_receive();
        if (m || m.error() != errc::would_block) return m;
    }
}

}  // namespace drive
}  // namespace v1
}  // namespace parley
