// SPDX-License-Identifier: MIT
// A new version that old callers cannot use is refused where it is written.
// expect: static assertion failed|static_assert failed
#include <parley/rpc.hpp>

#include <optional>
#include <string>

struct old_one {
    parley::method<"find", std::string(int)> find;
};
struct new_one {
#ifdef BAD
    parley::method<"find", std::string(int, int)> find;
#else
    parley::method<"find", std::string(int, std::optional<int>)> find;
#endif
};
static_assert(parley::rpc::compatible<old_one, new_one>);
