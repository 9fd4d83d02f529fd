// SPDX-License-Identifier: MIT
// A pointer to a member is no better than a pointer.
// expect: a pointer, reference or member pointer means nothing in another process
#include <parley/codec/codec.hpp>

struct other {
    int x;
};
struct message {
#ifdef BAD
    int other::*value;
#else
    int value;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
