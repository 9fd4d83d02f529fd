// SPDX-License-Identifier: MIT
// A transport that may lose needs a guarantee.
// expect: this transport may lose messages: say what is promised of them
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<testing::chaotic<uds>, delivery::stack<checksum>>) > 0);
#else
static_assert(sizeof(delivered<testing::chaotic<uds>, decltype(at_most_once{} | checksum{})>) > 0);
#endif
