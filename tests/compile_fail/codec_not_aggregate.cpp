// SPDX-License-Identifier: MIT
// Private members can be stated by nobody but their author.
// expect: neither an aggregate nor a known container.*parley::opaque
#include <parley/codec/codec.hpp>

struct message {
#ifdef BAD
    message() : x(1) {}
    int value() const { return x; }

private:
    int x;
#else
    int x;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
