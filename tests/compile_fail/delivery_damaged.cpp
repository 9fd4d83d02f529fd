// SPDX-License-Identifier: MIT
// A transport that may damage needs a check sum.
// expect: this transport may damage messages: add checksum
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(testing::chaotic{uds{"/x"}, testing::mischief{}}, exactly_once{});
#else
    (void)open_sender<int>(testing::chaotic{uds{"/x"}, testing::mischief{}},
                           exactly_once{} | checksum{});
#endif
}
