// SPDX-License-Identifier: MIT
// A service has methods and nothing else.
// expect: a service is a struct of parley::method
#include <parley/rpc.hpp>
#include <parley/transport/uds.hpp>

struct service {
    parley::method<"add", int(int, int)> add;
#ifdef BAD
    int count = 0;
#endif
};

void use() { (void)parley::open_client<service>(parley::uds{"/x"}); }
