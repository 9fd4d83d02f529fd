// SPDX-License-Identifier: MIT
// An enum whose values C++ does not bound must be stated.
// expect: an enum without a fixed underlying type
#include <parley/codec/codec.hpp>

#include <vector>

enum fixed : int { one };
enum loose { two };

struct message {
#ifdef BAD
    loose value;
    std::vector<int> rows;
#else
    fixed value;
    std::vector<int> rows;
#endif
};

auto decoded = parley::codec<message>::decode({});
