// SPDX-License-Identifier: MIT
// Nothing can be handed out early that is not late.
// expect: unordered does nothing without at_least_once or exactly_once
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(batched{} | unordered{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | unordered{})>) > 0);
#endif
