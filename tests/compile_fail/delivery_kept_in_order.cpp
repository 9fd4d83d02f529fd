// SPDX-License-Identifier: MIT
// A file keeps one queue.
// expect: durable keeps messages in one order: leave out prioritized
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | durable{} | prioritized{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | durable{})>) > 0);
#endif
