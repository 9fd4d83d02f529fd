// SPDX-License-Identifier: MIT
// What nobody acknowledges would be kept for ever.
// expect: durable keeps what is not acknowledged: add at_least_once or exactly_once
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(batched{} | durable{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | durable{})>) > 0);
#endif
