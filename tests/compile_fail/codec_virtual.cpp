// SPDX-License-Identifier: MIT
// A virtual function means nothing elsewhere.
// expect: a virtual function means nothing in another process
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    virtual int value() const { return 1; }
#else
    int value() const { return 1; }
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
