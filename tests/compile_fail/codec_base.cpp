// SPDX-License-Identifier: MIT
// A base class hides members.
// expect: a base class hides members
#include <parley/codec/codec.hpp>

struct head {
    int y;
};
#ifdef BAD
struct message : head {
#else
struct message {
#endif
#ifdef BAD
    int x;
#else
    head h;
    int x;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
