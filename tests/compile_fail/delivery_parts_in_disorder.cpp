// SPDX-License-Identifier: MIT
// Parts come in order.
// expect: fragmented wants its parts in order: leave out unordered
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(uds{"/x"}, exactly_once{} | fragmented{} | unordered{});
#else
    (void)open_sender<int>(uds{"/x"}, exactly_once{} | fragmented{});
#endif
}
