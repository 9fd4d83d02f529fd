// SPDX-License-Identifier: MIT
// Which sanitizer this binary is built with.
#pragma once

namespace parley_test {

#if defined(__has_feature)
#define PARLEY_TEST_HAS(what) __has_feature(what)
#else
#define PARLEY_TEST_HAS(what) 0
#endif

#if defined(__SANITIZE_THREAD__) || PARLEY_TEST_HAS(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif

#if defined(__SANITIZE_ADDRESS__) || PARLEY_TEST_HAS(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif

/// They touch memory beside each access, and make mlock(2) do nothing.
inline constexpr bool shadows_memory = thread_sanitizer || address_sanitizer;

#undef PARLEY_TEST_HAS

}  // namespace parley_test
