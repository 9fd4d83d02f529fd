// SPDX-License-Identifier: MIT
// PARLEY_ASSERT guards what this process controls, and stays on in release. What a peer, a file or
// the kernel hands in is never asserted: it is checked and reported as an error.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace parley {
inline namespace v1 {
namespace detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void assertion_failed(const char* what,
                                                                    const char* file, int line) {
    std::fprintf(stderr, "%s:%d: parley: a rule of the caller's side is broken: %s\n", file, line,
                 what);
    std::abort();
}

}  // namespace detail
}  // namespace v1
}  // namespace parley

/// Ends the process with a sentence if `condition` is false: only for mistakes in this process.
#define PARLEY_ASSERT(condition) \
    ((condition) ? void(0) : ::parley::detail::assertion_failed(#condition, __FILE__, __LINE__))
