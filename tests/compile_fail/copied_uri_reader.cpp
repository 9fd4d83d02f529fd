// SPDX-License-Identifier: MIT
// A reader hands out views into itself, so a copy would dangle.
// expect-gcc: use of deleted function .*uri_reader
// expect-clang: call to deleted constructor of 'parley::uri_reader'
#include <parley/base/uri.hpp>

void read(const parley::uri& address, parley::diagnostics& diag) {
    parley::uri_reader reader(address, diag);
#ifdef BAD
    parley::uri_reader copy = reader;
#else
    parley::uri_reader& copy = reader;
#endif
    (void)copy.scheme();
}
