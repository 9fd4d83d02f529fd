// SPDX-License-Identifier: MIT
// Acknowledgements need a way back.
// expect: at_least_once and exactly_once need a way back for acknowledgements
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>

using namespace parley;

// What open_sender makes first; delivery_two_guarantees.cpp says it as a user does.
#ifdef BAD
static_assert(sizeof(delivered<shm, delivery::stack<at_least_once>>) > 0);
#else
static_assert(sizeof(delivered<duplex<shm>, delivery::stack<at_least_once>>) > 0);
#endif
