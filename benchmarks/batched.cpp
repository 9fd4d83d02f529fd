// SPDX-License-Identifier: MIT
// Small messages in batches over streams of the kernel, beside the bare bytes in writes of 64 KiB:
// what framing, numbering and copying each message out costs of what the machine can move.
#include "harness.hpp"

#include <parley/delivered.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <string_view>

struct message {
    std::uint64_t sequence;
    std::byte rest[56];
};
template <>
struct parley::codec<message> : parley::opaque<message> {};

namespace {

constexpr std::size_t block = 64 << 10;
constexpr auto in_batches =
    parley::batched{.messages = 1000, .bytes = block, .linger = std::chrono::microseconds(100)};

/// Messages a second through parley; every one is copied in and out and its number checked.
template <class Address>
double through_parley(const Address& at, std::uint64_t count) {
    auto in = parley::open_receiver<message>(at, in_batches).value();
    double seconds = 0;
    bench::two_processes(
        [&](bench::signals& s) {
            message m{};
            for (std::uint64_t i = 0; i < count; ++i) {
                in.receive(m).value();
                if (m.sequence != i) std::exit(3);
            }
            seconds = static_cast<double>(bench::now_ns() - s.done_ns.load()) * 1e-9;
        },
        [&](bench::signals& s) {
            auto out = parley::open_sender<message>(at, in_batches).value();
            message m{};
            s.done_ns.store(bench::now_ns());
            for (std::uint64_t i = 0; i < count; ++i) {
                m.sequence = i;
                out.send(m).value();
            }
            out.close().value();
        });
    return static_cast<double>(count) / seconds;
}

/// A pair of connected stream sockets.
struct pair {
    explicit pair(bool tcp) {
        if (!tcp) {
            if (::socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0) std::abort();
            const int room = 256 << 10;  // as parley
            ::setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
            return;
        }
        const int door = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t n = sizeof at;
        auto* any = reinterpret_cast<sockaddr*>(&at);
        fd[1] = ::socket(AF_INET, SOCK_STREAM, 0);
        if (::bind(door, any, n) != 0 || ::listen(door, 1) != 0 ||
            ::getsockname(door, any, &n) != 0 || ::connect(fd[1], any, n) != 0) {
            std::abort();
        }
        fd[0] = ::accept(door, nullptr, nullptr);
        ::close(door);
    }
    pair(const pair&) = delete;
    pair& operator=(const pair&) = delete;
    ~pair() {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    int fd[2] = {-1, -1};
};

/// The same bytes without a look at them.
double by_hand(bool tcp, std::uint64_t count) {
    const pair way(tcp);
    static std::byte room[block];
    const std::uint64_t all = count * sizeof(message) / block * block;
    double seconds = 0;
    bench::two_processes(
        [&](bench::signals& s) {
            for (std::uint64_t got = 0; got < all;) {
                const auto n = ::read(way.fd[0], room, sizeof room);
                if (n <= 0) std::abort();
                got += static_cast<std::uint64_t>(n);
            }
            seconds = static_cast<double>(bench::now_ns() - s.done_ns.load()) * 1e-9;
        },
        [&](bench::signals& s) {
            std::memset(room, 1, sizeof room);
            s.done_ns.store(bench::now_ns());
            for (std::uint64_t sent = 0; sent < all;) {
                const auto n = ::write(way.fd[1], room, sizeof room);
                if (n <= 0) std::abort();
                sent += static_cast<std::uint64_t>(n);
            }
        });
    return static_cast<double>(count) / seconds;
}

template <class Address>
void compare(const char* name, const Address& at, bool tcp, int pairs, std::uint64_t count) {
    std::vector<double> ours, bare, ratios;
    const char* place = "";
    double before = bench::line_round_trip_ns();
    for (int i = 0; i < 2 * pairs && static_cast<int>(ours.size()) < pairs; ++i) {
        const double a = through_parley(at, count), b = by_hand(tcp, count);
        const double after = bench::line_round_trip_ns();
        if (std::string_view(bench::placement(before)) == bench::placement(after)) {
            ours.push_back(a);
            bare.push_back(b);
            ratios.push_back(a / b);
            place = bench::placement(after);
        }
        before = after;
    }
    const auto q = bench::quartiles(ratios);
    std::printf(
        "%-6s 64 B in batches %8.2f M/s   bare 64 KiB writes %8.2f M/s   %.2fx [%.2f-%.2f]"
        "  %zu pairs, %s\n",
        name, bench::quartiles(ours).median * 1e-6, bench::quartiles(bare).median * 1e-6, q.median,
        q.low, q.high, ours.size(), place);
}

}  // namespace

int main(int argc, char** argv) {
    const int pairs = argc > 1 ? std::atoi(argv[1]) : 15;
    const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 3'000'000;
    const std::string path = "/tmp/parley-batched-" + std::to_string(::getpid());
    compare("uds", parley::uds(path), false, pairs, count);
    // A port that was free a moment ago; a name of it is wanted before the fork.
    const auto port = parley::open_receiver<int>(parley::tcp("127.0.0.1:0")).value().address();
    compare("tcp", parley::tcp(port.text().substr(sizeof "tcp://" - 1)), true, pairs, count);
}
