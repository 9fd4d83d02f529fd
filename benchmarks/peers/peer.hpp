// SPDX-License-Identifier: MIT
// One program for each peer, since their libraries need not get on with each other. Each does the
// same work: the sender fills every message from a buffer, the receiver copies all of it out and
// checks its number; two processes, on cores 0 and 1.
//
//   peer_NAME rate BYTES SECONDS   prints messages per second, one way
//   peer_NAME trip BYTES SECONDS   prints p50 and p99 of round trips, in nanoseconds
#pragma once

#include "../harness.hpp"

#include <cstring>
#include <memory>
#include <string_view>

namespace peers {

/// What both processes of a run know: which of several ways is meant, and how long messages are.
struct route {
    std::string name;  // a word of its own for each run
    std::size_t bytes;
    bool answered = false;  // each message is waited for: who can spin, spins
};

inline constexpr std::uint64_t last_mark = std::uint64_t{1} << 63;  // in the number of a message

/// A message as it is sent and as it is taken out.
class message {
public:
    explicit message(std::size_t bytes) : all_(bytes, std::byte{1}) {}
    [[nodiscard]] std::byte* data() noexcept { return all_.data(); }
    [[nodiscard]] std::uint64_t number() const noexcept {
        std::uint64_t n = 0;
        std::memcpy(&n, all_.data(), sizeof n);
        return n;
    }
    void number(std::uint64_t n) noexcept { std::memcpy(all_.data(), &n, sizeof n); }

private:
    std::vector<std::byte> all_;
};

inline void check(std::uint64_t got, std::uint64_t wanted) {
    if ((got & ~last_mark) == wanted) return;
    std::fprintf(stderr, "message %llu came instead of %llu\n",
                 static_cast<unsigned long long>(got), static_cast<unsigned long long>(wanted));
    ::_exit(3);
}

/// Both sides opened their ends; what is timed begins.
struct meeting {
    std::atomic<int> here{0};
    void wait() {
        here.fetch_add(1);
        while (here.load() < 2) ::usleep(50);
    }
};

/// `Peer::sender` and `Peer::receiver` are made from a route, in the process that uses them, the
/// receiver first; `send(data, n)` and `receive(data, n)` wait as the peer does best.
template <class Peer>
double rate(const route& way, double seconds) {
    auto* met = bench::shared<meeting>();
    auto* opened = bench::shared<std::atomic<int>>();
    std::uint64_t sent = 0;
    double took = 0;
    bench::two_processes(
        [&](bench::signals& s) {
            message m(way.bytes);
            while (opened->load() == 0) ::usleep(50);
            typename Peer::sender out(way);
            met->wait();
            const auto start = bench::now_ns();
            const auto end = start + static_cast<std::int64_t>(seconds * 1e9);
            const std::uint64_t look = way.bytes <= 1024 ? 255 : 0;
            for (bool last = false; !last; ++sent) {
                last = (sent & look) == 0 && bench::now_ns() >= end;
                m.number(sent | (last ? last_mark : 0));
                out.send(m.data(), way.bytes);
            }
            while (s.done_ns.load() == 0) ::usleep(100);
            took = static_cast<double>(s.done_ns.load() - start) * 1e-9;
        },
        [&](bench::signals& s) {
            message m(way.bytes);
            typename Peer::receiver in(way);
            opened->store(1);
            met->wait();
            for (std::uint64_t i = 0;; ++i) {
                in.receive(m.data(), way.bytes);
                check(m.number(), i);
                if ((m.number() & last_mark) != 0) break;
            }
            s.done_ns.store(bench::now_ns());
        });
    return static_cast<double>(sent) / took;
}

template <class Peer>
bench::latencies trip(const route& there, double seconds) {
    const route way{there.name, there.bytes, true}, back{there.name + "b", there.bytes, true};
    auto* met = bench::shared<meeting>();
    auto* opened = bench::shared<std::atomic<int>>();
    std::vector<std::int64_t> ns;
    ns.reserve(1 << 20);
    bench::two_processes(
        [&](bench::signals&) {
            message m(way.bytes);
            typename Peer::receiver in(back);
            opened->fetch_add(1);
            while (opened->load() < 2) ::usleep(50);
            typename Peer::sender out(way);
            met->wait();
            const auto start = bench::now_ns();
            const auto warm = start + static_cast<std::int64_t>(seconds * 1e8);
            const auto end = start + static_cast<std::int64_t>(seconds * 1e9);
            auto before = start;
            for (std::uint64_t i = 0; before < end; ++i) {
                m.number(i);
                out.send(m.data(), way.bytes);
                in.receive(m.data(), way.bytes);
                check(m.number(), i);
                const auto after = bench::now_ns();
                if (before >= warm) ns.push_back(after - before);
                before = after;
            }
            m.number(last_mark);
            out.send(m.data(), way.bytes);
            in.receive(m.data(), way.bytes);
        },
        [&](bench::signals&) {
            message m(way.bytes);
            typename Peer::receiver in(way);
            opened->fetch_add(1);
            while (opened->load() < 2) ::usleep(50);
            typename Peer::sender out(back);
            met->wait();
            do {
                in.receive(m.data(), way.bytes);
                out.send(m.data(), way.bytes);
            } while ((m.number() & last_mark) == 0);
            ::usleep(20'000);  // a peer may lose what it sent last when it is closed at once
        });
    return bench::percentiles(ns);
}

[[noreturn]] inline void failed(const char* what) {
    std::fprintf(stderr, "%s failed\n", what);
    ::_exit(4);
}

template <class Peer>
int peer_main(int argc, char** argv) {
    if (argc != 4) return std::fprintf(stderr, "%s rate|trip BYTES SECONDS\n", argv[0]), 2;
    const route way{"peers" + std::to_string(::getpid()),
                    static_cast<std::size_t>(std::atoll(argv[2]))};
    const double seconds = std::atof(argv[3]);
    if (std::string_view(argv[1]) == "rate") {
        std::printf("%.0f\n", rate<Peer>(way, seconds));
    } else {
        const auto l = trip<Peer>(way, seconds);
        std::printf("%.0f %.0f\n", l.p50, l.p99);
    }
    return 0;
}

}  // namespace peers
