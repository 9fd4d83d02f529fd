// SPDX-License-Identifier: MIT
// An answer is an argument where its type is wanted, and nowhere else.
// expect: parley: the answer to that call is no argument of this one: other types
#include <parley/rpc.hpp>

#include <string>

struct service {
    parley::method<"text", std::string(int)> text;
    parley::method<"number", int(int)> number;
};

#ifdef BAD
bool chain(const service& s, const parley::pending<std::string>& p) {
    return s.number.start(p).has_value();
}
#else
bool chain(const service& s, const parley::pending<int>& p) { return s.text.start(p).has_value(); }
#endif

int main() { return chain({}, {}) ? 1 : 0; }
