// SPDX-License-Identifier: MIT
// long double differs between hosts.
// expect: long double and wchar_t differ between hosts
#include <parley/codec/codec.hpp>

#include <string>

struct message {
#ifdef BAD
    std::string name;
    long double x;
#else
    std::string name;
    double x;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
