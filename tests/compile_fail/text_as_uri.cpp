// SPDX-License-Identifier: MIT
// Text becomes an address only where somebody says so.
// expect-gcc: invalid initialization of reference of type .*parley::v1::uri
// expect-clang: no matching function for call to 'open'
#include <parley/base/uri.hpp>

void open(const parley::uri&) {}

void use() {
#ifdef BAD
    open("shm://ticks");
#else
    open(parley::uri("shm://ticks"));
#endif
}
