// SPDX-License-Identifier: MIT
// Owning pointers are no values.
// expect: neither an aggregate nor a known container
#include <parley/codec/codec.hpp>

#include <memory>
#include <vector>

struct message {
#ifdef BAD
    std::unique_ptr<int> rows;
#else
    std::vector<int> rows;
#endif
};

static_assert(parley::codec<message>::type.fingerprint != 0);
