// SPDX-License-Identifier: MIT
// nng over ipc://: PUSH and PULL with buffers of 1024 messages.
#include "peer.hpp"

#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

namespace {

struct nanomsg_next {
    static std::string at(const peers::route& way) { return "ipc:///tmp/" + way.name + ".nng"; }
    static void must(int code, const char* what) {
        if (code != 0) peers::failed(what);
    }
    struct sender {
        explicit sender(const peers::route& way) {
            must(::nng_push0_open(&socket), "nng_push0_open");
            (void)::nng_socket_set_int(socket, NNG_OPT_SENDBUF, 1024);
            must(::nng_dial(socket, at(way).c_str(), nullptr, 0), "nng_dial");
        }
        ~sender() { ::nng_close(socket); }
        void send(std::byte* m, std::size_t n) { must(::nng_send(socket, m, n, 0), "nng_send"); }
        nng_socket socket{};
    };
    struct receiver {
        explicit receiver(const peers::route& way) {
            must(::nng_pull0_open(&socket), "nng_pull0_open");
            (void)::nng_socket_set_int(socket, NNG_OPT_RECVBUF, 1024);
            (void)::nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0);
            must(::nng_listen(socket, at(way).c_str(), nullptr, 0), "nng_listen");
        }
        ~receiver() { ::nng_close(socket); }
        void receive(std::byte* m, std::size_t n) {
            must(::nng_recv(socket, m, &n, 0), "nng_recv");
        }
        nng_socket socket{};
    };
};

}  // namespace

int main(int argc, char** argv) { return peers::peer_main<nanomsg_next>(argc, argv); }
