// SPDX-License-Identifier: MIT
// Who acknowledges nothing has nothing to tell.
// expect: receipts come with acknowledgements: add at_least_once or exactly_once
#include <parley/delivered.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<uds, decltype(batched{} | receipts{})>) > 0);
#else
static_assert(sizeof(delivered<uds, decltype(at_least_once{} | receipts{})>) > 0);
#endif
