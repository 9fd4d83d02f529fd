// SPDX-License-Identifier: MIT
// A reference cannot be received.
// expect: a reference, const or immovable member cannot be received
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    int& value;
#else
    int value;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
