// SPDX-License-Identifier: MIT
// message_queue of Boost.Interprocess: 1024 messages deep, 64 from 64 KiB on. One way it sleeps
// when it has to (faster than spinning), round trips spin.
#include "peer.hpp"

#include <boost/interprocess/ipc/message_queue.hpp>

namespace {

struct boost_queue {
    using queue = boost::interprocess::message_queue;
    static std::size_t depth(const peers::route& way) {
        return way.bytes >= (64 << 10) ? 64 : 1024;
    }
    struct sender {
        explicit sender(const peers::route& way)
            : spins(way.answered), q(boost::interprocess::open_only, way.name.c_str()) {}
        void send(const std::byte* m, std::size_t n) {
            if (!spins) return q.send(m, n, 0);
            while (!q.try_send(m, n, 0)) {
            }
        }
        bool spins;
        queue q;
    };
    struct receiver {
        explicit receiver(const peers::route& way)
            : spins(way.answered),
              name(way.name),
              q(boost::interprocess::create_only, way.name.c_str(), depth(way), way.bytes) {}
        receiver(const receiver&) = delete;
        receiver& operator=(const receiver&) = delete;
        ~receiver() { queue::remove(name.c_str()); }
        void receive(std::byte* m, std::size_t n) {
            queue::size_type got = 0;
            unsigned rank = 0;
            if (!spins) return q.receive(m, n, got, rank);
            while (!q.try_receive(m, n, got, rank)) {
            }
        }
        bool spins;
        std::string name;
        queue q;
    };
};

}  // namespace

int main(int argc, char** argv) { return peers::peer_main<boost_queue>(argc, argv); }
