// SPDX-License-Identifier: MIT
// Parts come in order.
// expect: fragmented wants its parts in order: leave out unordered
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(exactly_once{} | fragmented{} | unordered{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(exactly_once{} | fragmented{})>) > 0);
#endif
