// SPDX-License-Identifier: MIT
// A message type is a plain type.
// expect: a message type is neither const nor a reference
#include <parley/codec/codec.hpp>

#ifdef BAD
using message = const int;
#else
using message = int;
#endif
static_assert(parley::codec<message>::in_place);
