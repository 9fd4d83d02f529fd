// SPDX-License-Identifier: MIT
// A count of nothing could be any number.
// expect: elements that take no bytes cannot be counted safely
#include <parley/codec/codec.hpp>

#include <vector>

struct nothing {};

struct message {
#ifdef BAD
    std::vector<nothing> rows;
#else
    std::vector<int> rows;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
