// SPDX-License-Identifier: MIT
// What a process of 32 bits and one of 64 must agree on, or tell apart by name. Compiled for both
// widths by width.sh; the layouts of shared memory and files are asserted where they are drawn.
#include <parley/parley.hpp>
#include <parley/pubsub.hpp>
#include <parley/transport/all.hpp>

#include <string>
#include <vector>

struct small {
    std::uint32_t id, flags;
};
struct wide {  // 12 bytes on one side, 16 on the other
    std::uint32_t id;
    double price;
};
struct text {
    std::string name;
    std::vector<std::uint64_t> all;
};

template <class T>
constexpr auto print = parley::codec<T>::type.fingerprint;

static_assert(print<small> == 1485220201356787497U, "the same bytes are the same type");
static_assert(print<text> == 367840670991976732U, "what is portable is the same on every width");
static_assert((print<wide> == 568064259531695420U) == (alignof(wide) == 8),
              "another layout is another type, so that its ends refuse each other");
