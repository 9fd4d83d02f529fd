// SPDX-License-Identifier: MIT
// Raw members that leave something out do not describe the bytes.
// expect: the members do not explain the size of this struct
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    char name[8];
    int x;
    double y;
#else
    char name[8];
    int x;
#endif
};
template <>
struct parley::codec<message> : parley::fields<&message::name, &message::x> {};
static_assert(parley::codec<message>::type.fingerprint != 0);
