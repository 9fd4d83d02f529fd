// SPDX-License-Identifier: MIT
// A large struct is not walked, and the error says what to do.
// expect: 4 KiB or more are not walked.*parley::fields.*parley::opaque
#include <parley/codec/codec.hpp>

#include <array>

struct message {
#ifdef BAD
    std::array<char, 3 * 1024 * 1024> pixels;
    int x;
#else
    std::array<char, 1000> pixels;
    int x;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
