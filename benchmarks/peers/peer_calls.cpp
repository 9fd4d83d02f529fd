// SPDX-License-Identifier: MIT
// A service of parley over a unix socket, with what it does by itself.
#include "calls.hpp"

#include <parley/rpc.hpp>
#include <parley/transport/uds.hpp>

namespace {

struct service {
    parley::method<"nothing", void()> nothing;
};
struct client {
    explicit client(const std::string& path)
        : far(parley::open_client<service>(parley::uds(path)).value()) {}
    void call() { far->nothing().value(); }
    parley::client<service> far;
};

}  // namespace

int main(int argc, char** argv) {
    return peers::calls_main<client>(argc, argv, [](const std::string& path, auto ready) {
        auto s = parley::open_server(parley::uds(path), service{.nothing = [] {}}).value();
        ready();
        (void)s.serve();
    });
}
