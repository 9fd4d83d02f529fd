// SPDX-License-Identifier: MIT
// A stack has one guarantee.
// expect: has one policy for each purpose: one guarantee, one
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(uds{"/x"}, exactly_once{} | batched{} | at_most_once{});
#else
    (void)open_sender<int>(uds{"/x"}, exactly_once{} | batched{});
#endif
}
