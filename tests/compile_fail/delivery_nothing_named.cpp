// SPDX-License-Identifier: MIT
// A transport that may lose needs a guarantee.
// expect: this transport may lose messages: say what is promised of them
#include <parley/delivered.hpp>
#include <parley/testing/chaotic.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(testing::chaotic{uds{"/x"}, testing::mischief{}}, checksum{});
#else
    (void)open_sender<int>(testing::chaotic{uds{"/x"}, testing::mischief{}},
                           at_most_once{} | checksum{});
#endif
}
