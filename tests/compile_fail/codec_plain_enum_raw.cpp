// SPDX-License-Identifier: MIT
// In raw messages as well.
// expect: an enum without a fixed underlying type
#include <parley/codec/codec.hpp>

enum fixed : int { one };
enum loose { two };

struct message {
#ifdef BAD
    loose value;
#else
    fixed value;
#endif
};

auto decoded = parley::codec<message>::decode({});
