// SPDX-License-Identifier: MIT
// What keeps every message gives none up.
// expect: keep every message, this rule for when
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(uds{"/x"}, at_least_once{} | when_full::drop_oldest{});
#else
    (void)open_sender<int>(uds{"/x"}, at_least_once{} | when_full::error{});
#endif
}
