// SPDX-License-Identifier: MIT
// A received value is made before it is filled.
// expect: give the type a default constructor
#include <parley/codec/codec.hpp>

#include <string>

struct message {
#ifdef BAD
    explicit message(int) {}
#else
    message() = default;
#endif
    std::string name;
};
template <>
struct parley::codec<message> : parley::fields<&message::name> {};
auto decoded = parley::codec<message>::decode({});
