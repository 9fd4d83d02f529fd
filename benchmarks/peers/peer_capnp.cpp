// SPDX-License-Identifier: MIT
// Cap'n Proto over a unix socket: its event loop on both sides, as its EzRpc sets it up.
#include "calls.hpp"

#include <capnp/ez-rpc.h>

#include <calls.capnp.h>

namespace {

struct service final : Calls::Server {
    kj::Promise<void> nothing(NothingContext) override { return kj::READY_NOW; }
};
struct client {
    explicit client(const std::string& path) : far("unix:" + path), calls(far.getMain<Calls>()) {}
    void call() { calls.nothingRequest().send().wait(far.getWaitScope()); }
    capnp::EzRpcClient far;
    Calls::Client calls;
};

}  // namespace

int main(int argc, char** argv) {
    return peers::calls_main<client>(argc, argv, [](const std::string& path, auto ready) {
        capnp::EzRpcServer server(kj::heap<service>(), "unix:" + path);
        (void)server.getPort().wait(server.getWaitScope());
        ready();
        kj::NEVER_DONE.wait(server.getWaitScope());
    });
}
