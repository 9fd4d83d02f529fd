// SPDX-License-Identifier: MIT
// Nothing can be handed out early that is not late.
// expect: unordered does nothing without at_least_once or exactly_once
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(uds{"/x"}, batched{} | unordered{});
#else
    (void)open_sender<int>(uds{"/x"}, at_least_once{} | unordered{});
#endif
}
