// SPDX-License-Identifier: MIT
// Two pinned processes, interleaved pairs, medians of ratios: what a figure has to be to count.
#pragma once

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace bench {

using steady = std::chrono::steady_clock;

[[nodiscard]] inline std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(steady::now().time_since_epoch())
        .count();
}

inline bool pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return ::sched_setaffinity(0, sizeof set, &set) == 0;
}

/// Memory that a forked child shares.
template <class T>
[[nodiscard]] T* shared() {
    void* at =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    return new (at) T();
}
template <class T>
void drop(T* p) {
    ::munmap(p, sizeof(T));
}

/// Makes the compiler believe that somebody looks at all of it.
inline void seen(const void* at) { asm volatile("" : : "r"(at) : "memory"); }

struct signals {
    alignas(64) std::atomic<int> ready{0};
    alignas(64) std::atomic<int> go{0};
    alignas(64) std::atomic<std::int64_t> done_ns{0};
};

/// Runs `here` pinned to core 0 and `there(s, k)` in forked children k = 0 … n - 1 that share core
/// 1, all released at the same moment.
template <class Here, class There>
void one_to_many(int n, Here&& here, There&& there) {
    auto* s = shared<signals>();
    std::vector<pid_t> children;
    for (int k = 0; k < n; ++k) {
        const pid_t child = ::fork();
        if (child == 0) {
            pin(1);
            s->ready.fetch_add(1);
            while (s->go.load() == 0) ::sched_yield();
            there(*s, k);
            ::_exit(0);
        }
        children.push_back(child);
    }
    pin(0);
    while (s->ready.load() < n) ::sched_yield();  // it may be that they are to run here first
    s->go.store(1);
    here(*s);
    for (const pid_t child : children) {
        int status = 0;
        ::waitpid(child, &status, 0);
        if (status != 0) {
            std::fprintf(stderr, "a benchmark's other process failed (status %d)\n", status);
            std::exit(1);
        }
    }
    drop(s);
}
/// The same with one child.
template <class Here, class There>
void two_processes(Here&& here, There&& there) {
    one_to_many(1, here, [&](signals& s, int) { there(s); });
}

/// How far the two cores are from each other right now: the hypervisor moves them. Nanoseconds of
/// one cache line's round trip, over 20,000 of them.
[[nodiscard]] inline double line_round_trip_ns() {
    struct lines {
        alignas(64) std::atomic<std::uint32_t> ping{0};
        alignas(64) std::atomic<std::uint32_t> pong{0};
    };
    constexpr std::uint32_t rounds = 20'000;
    auto* l = shared<lines>();
    std::int64_t took = 0;
    two_processes(
        [&](signals&) {
            const auto t0 = now_ns();
            for (std::uint32_t i = 1; i <= rounds; ++i) {
                l->ping.store(i, std::memory_order_release);
                while (l->pong.load(std::memory_order_acquire) != i) {
                }
            }
            took = now_ns() - t0;
        },
        [&](signals&) {
            for (std::uint32_t i = 1; i <= rounds; ++i) {
                while (l->ping.load(std::memory_order_acquire) != i) {
                }
                l->pong.store(i, std::memory_order_release);
            }
        });
    drop(l);
    return static_cast<double>(took) / rounds;
}
[[nodiscard]] inline const char* placement(double line_ns) {
    return line_ns < 80 ? "same core" : line_ns < 260 ? "near" : "far";
}

struct spread {
    double low = 0, median = 0, high = 0;  // quartiles
};
[[nodiscard]] inline spread quartiles(std::vector<double> v) {
    if (v.empty()) return {};
    std::sort(v.begin(), v.end());
    const auto at = [&](double q) {
        return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1) + 0.5)];
    };
    return {at(0.25), at(0.5), at(0.75)};
}

/// Round-trip times of one run, in nanoseconds.
struct latencies {
    double p50 = 0, p99 = 0, p999 = 0, max = 0;
};
[[nodiscard]] inline latencies percentiles(std::vector<std::int64_t>& ns) {
    std::sort(ns.begin(), ns.end());
    const auto at = [&](double q) {
        return static_cast<double>(
            ns[static_cast<std::size_t>(q * static_cast<double>(ns.size() - 1))]);
    };
    return {at(0.5), at(0.99), at(0.999), static_cast<double>(ns.back())};
}

}  // namespace bench
