// SPDX-License-Identifier: MIT
// What keeps every message gives none up.
// expect: keep every message, this rule for when
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | when_full::drop_oldest{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | when_full::error{})>) > 0);
#endif
