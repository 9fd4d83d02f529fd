// SPDX-License-Identifier: MIT
// A packed message has no alignment for wide elements.
// expect: a portable message has no alignment
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    std::span<const int> rows;
#else
    std::span<const std::byte> rows;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
