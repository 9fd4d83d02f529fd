// SPDX-License-Identifier: MIT
// A C array cannot be counted, and the error says what to do.
// expect: a C array hides in this struct.*std::array.*parley::fields
#include <parley/codec/codec.hpp>

#include <array>

struct message {
#ifdef BAD
    char name[8];
    int x;
#else
    std::array<char, 8> name;
    int x;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
