// SPDX-License-Identifier: MIT
// The bytes of an owner are not what it owns.
// expect: opaque<T> wants a trivially copyable type
#include <parley/codec/codec.hpp>

#include <string>

struct message {
#ifdef BAD
    std::string name;
#else
    int name;
#endif
};
template <>
struct parley::codec<message> : parley::opaque<message> {};
static_assert(parley::codec<message>::type.fingerprint != 0);
