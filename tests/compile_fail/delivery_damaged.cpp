// SPDX-License-Identifier: MIT
// A transport that may damage needs a check sum.
// expect: this transport may damage messages: add checksum
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<testing::chaotic<uds>, delivery::stack<exactly_once>>) > 0);
#else
static_assert(sizeof(delivered<testing::chaotic<uds>, decltype(exactly_once{} | checksum{})>) > 0);
#endif
