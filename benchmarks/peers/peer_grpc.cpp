// SPDX-License-Identifier: MIT
// gRPC over a unix socket: the synchronous interface, one thread that polls.
#include "calls.hpp"

#include <grpcpp/grpcpp.h>

#include <calls.grpc.pb.h>

namespace {

struct service final : peers::Calls::Service {
    grpc::Status Nothing(grpc::ServerContext*, const peers::Void*, peers::Void*) override {
        return grpc::Status::OK;
    }
};
struct client {
    explicit client(const std::string& path)
        : stub(peers::Calls::NewStub(
              grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials()))) {}
    void call() {
        grpc::ClientContext context;
        peers::Void in, out;
        if (!stub->Nothing(&context, in, &out).ok()) peers::failed("a call");
    }
    std::unique_ptr<peers::Calls::Stub> stub;
};

}  // namespace

int main(int argc, char** argv) {
    return peers::calls_main<client>(argc, argv, [](const std::string& path, auto ready) {
        service s;
        grpc::ServerBuilder b;
        b.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
        b.RegisterService(&s);
        using option = grpc::ServerBuilder::SyncServerOption;
        b.SetSyncServerOption(option::NUM_CQS, 1);
        b.SetSyncServerOption(option::MIN_POLLERS, 1);
        b.SetSyncServerOption(option::MAX_POLLERS, 1);
        const auto server = b.BuildAndStart();
        if (!server) peers::failed("BuildAndStart");
        ready();
        server->Wait();
    });
}
