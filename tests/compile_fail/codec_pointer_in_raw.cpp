// SPDX-License-Identifier: MIT
// A pointer is refused before it travels.
// expect: a pointer, reference or member pointer means nothing in another process
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    int* value;
#else
    int value;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
