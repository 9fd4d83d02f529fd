// SPDX-License-Identifier: MIT
// A pointer among members that travel packed is refused too.
// expect: a pointer, reference or member pointer means nothing in another process
#include <parley/codec/codec.hpp>

#include <string>
#include <vector>

struct message {
#ifdef BAD
    std::string name;
    std::vector<int*> rows;
#else
    std::string name;
    std::vector<int> rows;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
