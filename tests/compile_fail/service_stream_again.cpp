// SPDX-License-Identifier: MIT
// A call in which more goes to and fro than question and answer cannot be made again.
// expect: parley: a call with a stream or a callback is answered, and not made again
#include <parley/rpc.hpp>

struct service {
#ifdef BAD
    parley::method<"sum", int(parley::stream<int>), parley::idempotent> sum;
#else
    parley::method<"sum", int(parley::stream<int>)> sum;
#endif
};

int main() { return service{}.sum ? 1 : 0; }
