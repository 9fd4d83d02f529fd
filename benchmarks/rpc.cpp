// SPDX-License-Identifier: MIT
// Calls of a service between two pinned processes: one by one, many in batches, and a chain of
// eight in which each takes the answer of the one before; beside each the round trip of the same
// transport without anything on it. rpc_bench [PAIRS]
#include "harness.hpp"

#include <parley/channel.hpp>
#include <parley/rpc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace {

struct service {
    parley::method<"nothing", void()> nothing;
    parley::method<"add", std::int64_t(std::int64_t, std::int64_t)> add;
    parley::method<"stop", void()> stop;
};

constexpr int warm = 2'000, calls = 20'000;

double median_ns(std::vector<std::int64_t>& ns) { return bench::percentiles(ns).p50; }

template <class Address>
int serve(const Address& at) {
    auto s = parley::open_server(at, service{.nothing = [] {},
                                             .add = [](auto a, auto b) { return a + b; },
                                             .stop = [](parley::call_context& c) { c.stop(); }});
    return s && s->serve() && s->close(std::chrono::seconds(5)) ? 0 : 1;
}

/// The median of a round trip over a pair of channels.
template <class Address>
double round_trip_ns(const Address& there, const Address& back) {
    double median = 0;
    bench::two_processes(
        [&](auto&) {
            auto in = parley::open_receiver<std::int64_t>(back).value();
            auto out = parley::open_sender<std::int64_t>(there).value();
            std::vector<std::int64_t> ns;
            for (int i = 0; i < warm + calls; ++i) {
                const auto before = bench::now_ns();
                out.send(i).value();
                (void)in.receive().value();
                if (i >= warm) ns.push_back(bench::now_ns() - before);
            }
            out.send(-1).value();
            median = median_ns(ns);
        },
        [&](auto&) {
            auto in = parley::open_receiver<std::int64_t>(there).value();
            auto out = parley::open_sender<std::int64_t>(back).value();
            for (std::int64_t n = 0; (n = in.receive().value()) >= 0;) out.send(n).value();
        });
    return median;
}

struct figures {
    double null_ns = 0, chain_ns = 0, batched_per_s = 0;
};

template <class Address>
figures measure_calls(const Address& at) {
    figures out;
    bench::two_processes(
        [&](auto&) {
            auto c = parley::open_client<service>(at).value();
            std::vector<std::int64_t> ns;
            for (int i = 0; i < warm + calls; ++i) {
                const auto before = bench::now_ns();
                c->nothing().value();
                if (i >= warm) ns.push_back(bench::now_ns() - before);
            }
            out.null_ns = median_ns(ns);
            ns.clear();
            for (int i = 0; i < calls / 8; ++i) {
                const auto before = bench::now_ns();
                const auto together = c.batch();
                auto sum = c->add.start(i, 1).value();
                for (int k = 1; k < 8; ++k) sum = c->add.start(sum, 1).value();
                if (sum.finish().value() != i + 8) std::abort();
                ns.push_back(bench::now_ns() - before);
            }
            out.chain_ns = median_ns(ns);
            std::vector<parley::pending<std::int64_t>> sums;
            constexpr int many = 512, rounds = 200;
            std::int64_t total = 0;
            const auto before = bench::now_ns();
            for (int round = 0; round < rounds; ++round) {
                sums.clear();
                {
                    const auto together = c.batch();
                    for (int i = 0; i < many; ++i) sums.push_back(c->add.start(i, 1).value());
                }
                for (auto& sum : sums) total += sum.finish().value();
            }
            const auto took = static_cast<double>(bench::now_ns() - before);
            if (total != std::int64_t{rounds} * many * (many + 1) / 2) std::abort();
            out.batched_per_s = 1e9 * many * rounds / took;
            c->stop().value();
        },
        [&](auto&) {
            if (serve(at) != 0) std::abort();
        });
    return out;
}

template <class Address>
void compare(const char* name, int pairs, const Address& at, const Address& there,
             const Address& back) {
    std::vector<double> bare, null, ratio, rate, chain;
    for (int pair = 0; pair < pairs; ++pair) {
        bare.push_back(round_trip_ns(there, back));
        const auto f = measure_calls(at);
        null.push_back(f.null_ns);
        rate.push_back(f.batched_per_s);
        ratio.push_back(f.null_ns / bare.back());
        chain.push_back(f.chain_ns / f.null_ns);
    }
    std::printf("%-10s %10.0f %10.0f %8.2f %8.2f to %.2f %12.2f %12.2f\n", name,
                bench::quartiles(bare).median, bench::quartiles(null).median,
                bench::quartiles(ratio).median, bench::quartiles(ratio).low,
                bench::quartiles(ratio).high, bench::quartiles(rate).median / 1e6,
                bench::quartiles(chain).median);
}

}  // namespace

int main(int argc, char** argv) {
    const int pairs = argc > 1 ? std::atoi(argv[1]) : 15;
    const std::string id = std::to_string(::getpid());
    std::printf("%-10s %10s %10s %8s %16s %12s %12s\n", "", "bare ns", "call ns", "ratio",
                "quartiles", "batched M/s", "chain/call");
    const auto shm = [&](const char* what) {
        return parley::shm("rpc_bench-" + id + what, {.wait = parley::waiting::spin});
    };
    compare("shm, spin", pairs, shm("c"), shm("t"), shm("b"));
    const auto uds = [&](const char* what) { return parley::uds("@rpc_bench-" + id + what); };
    compare("uds", pairs, uds("c"), uds("t"), uds("b"));
}
