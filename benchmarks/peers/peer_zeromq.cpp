// SPDX-License-Identifier: MIT
// ZeroMQ over ipc://: PUSH and PULL, high-water mark 10000 messages, 64 from 64 KiB on.
#include "peer.hpp"

#include <zmq.h>

namespace {

struct zeromq {
    struct end {
        end(const peers::route& way, int type, bool owns) : path("/tmp/" + way.name + ".zmq") {
            context = ::zmq_ctx_new();
            socket = ::zmq_socket(context, type);
            const int depth = way.bytes >= (64 << 10) ? 64 : 10000;
            ::zmq_setsockopt(socket, ZMQ_SNDHWM, &depth, sizeof depth);
            ::zmq_setsockopt(socket, ZMQ_RCVHWM, &depth, sizeof depth);
            const std::string at = "ipc://" + path;
            if ((owns ? ::zmq_bind(socket, at.c_str()) : ::zmq_connect(socket, at.c_str())) != 0) {
                peers::failed("zmq_bind or zmq_connect");
            }
        }
        end(const end&) = delete;
        end& operator=(const end&) = delete;
        ~end() {
            ::zmq_close(socket);
            ::zmq_ctx_term(context);
            ::unlink(path.c_str());
        }
        std::string path;
        void* context = nullptr;
        void* socket = nullptr;
    };
    struct sender : end {
        explicit sender(const peers::route& way) : end(way, ZMQ_PUSH, false) {}
        void send(const std::byte* m, std::size_t n) {
            if (::zmq_send(socket, m, n, 0) < 0) peers::failed("zmq_send");
        }
    };
    struct receiver : end {
        explicit receiver(const peers::route& way) : end(way, ZMQ_PULL, true) {}
        void receive(std::byte* m, std::size_t n) {
            if (::zmq_recv(socket, m, n, 0) < 0) peers::failed("zmq_recv");
        }
    };
};

}  // namespace

int main(int argc, char** argv) { return peers::peer_main<zeromq>(argc, argv); }
