// SPDX-License-Identifier: MIT
// A result must be looked at: every function that returns one is [[nodiscard]].
// expect-gcc: ignoring return value of .*finish.*nodiscard
// expect-clang: ignoring return value of function declared with 'nodiscard'
#include <parley/base/uri.hpp>

void read(const parley::uri& address, parley::diagnostics& diag) {
    parley::uri_reader reader(address, diag);
#ifdef BAD
    reader.finish();
#else
    if (!reader.finish()) return;
#endif
}
