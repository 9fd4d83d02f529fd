// SPDX-License-Identifier: MIT
// Acknowledgements need a way back.
// expect: at_least_once and exactly_once need a way back for acknowledgements
#include <parley/delivered.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace parley;

void use() {
#ifdef BAD
    (void)open_sender<int>(shm{"a"}, at_least_once{});
#else
    (void)open_sender<int>(duplex{shm{"a"}, shm{"b"}}, at_least_once{});
#endif
}
