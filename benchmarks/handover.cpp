// SPDX-License-Identifier: MIT
// What it costs to hand over a loan, of 64 bytes and of a mebibyte from the same chunks: loan,
// publish, borrow and let go, of which the subscriber looks at the first word. README.md says how
// each number is made.

#include "harness.hpp"
#include "named.hpp"

#include <parley/pubsub.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t large = 1 << 20;

struct settings {
    int pairs = 15;
    double seconds = 0.1;  // of one run
    bool json = false;
};

/// Hand-overs per second.
template <class Rule>
double rate_of(Rule rule, std::size_t n, std::uint64_t count) {
    const parley::shm at(bench::fresh_name(),
                         {.capacity_bytes = 64 * large, .writers_max = 1, .chunks = 64});
    using message = std::span<const std::byte>;
    auto feed = parley::open_publisher<message>(at, rule).value();
    double seconds = 0;
    auto* done = bench::shared<std::atomic<std::int64_t>>();
    bench::one_to_many(
        1,
        [&](bench::signals&) {
            feed.wait_for_subscribers(1).value();
            const auto t0 = bench::now_ns();
            for (std::uint64_t i = 0; i < count; ++i) {
                auto l = feed.loan_bytes(n).value();
                std::memcpy(l.bytes().data(), &i, sizeof i);
                feed.publish(std::move(l)).value();
            }
            feed.close().value();
            while (done->load() == 0) ::usleep(100);
            seconds = static_cast<double>(done->load() - t0) * 1e-9;
        },
        [&](bench::signals&, int) {
            auto in = parley::open_subscriber<message>(at).value();
            std::uint64_t got = 0;
            while (auto m = in.borrow()) {
                std::uint64_t i = 0;
                std::memcpy(&i, (*m)->data(), sizeof i);
                if ((*m)->size() != n || i != got + in.lost()) ::_exit(3);
                ++got;
            }
            if (got + in.lost() != count) ::_exit(4);
            done->store(bench::now_ns());
        });
    bench::drop(done);
    return static_cast<double>(count) / seconds;
}

template <class Rule>
void compare(const settings& s, const char* name, Rule rule) {
    const auto trial = rate_of(rule, 64, 20'000);
    const auto count = static_cast<std::uint64_t>(trial * s.seconds) + 20'000;
    std::vector<double> small, big, ratios;
    std::size_t dropped = 0;
    const char* place = "";
    double before = bench::line_round_trip_ns();
    for (int i = 0; i < s.pairs * 2 && static_cast<int>(ratios.size()) < s.pairs; ++i) {
        const auto x = rate_of(rule, 64, count), y = rate_of(rule, large, count);
        const double after = bench::line_round_trip_ns();
        if (std::string_view(bench::placement(before)) == bench::placement(after)) {
            small.push_back(x);
            big.push_back(y);
            ratios.push_back(x / y);
            place = bench::placement(after);
        } else {
            ++dropped;
        }
        before = after;
    }
    const auto q = bench::quartiles(ratios);
    std::printf(s.json ? "{\"rule\":\"%s\",\"figure\":\"hand_over\",\"small_per_s\":%.0f,"
                         "\"large_per_s\":%.0f,\"cost_ratio\":%.3f,\"ratio_q1\":%.3f,"
                         "\"ratio_q3\":%.3f,\"pairs\":%zu,\"dropped\":%zu,\"placement\":\"%s\"}\n"
                       : "%-12s 64 B %11.0f/s   1 MiB %11.0f/s   1 MiB costs %.2fx [%.2f-%.2f]  "
                         "%zu pairs, %zu dropped, %s\n",
                name, bench::quartiles(small).median, bench::quartiles(big).median, q.median, q.low,
                q.high, ratios.size(), dropped, place);
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    settings s;
    for (int i = 1; i < argc; ++i) {
        const std::string_view a = argv[i];
        const auto value = [&] { return i + 1 < argc ? argv[++i] : "0"; };
        if (a == "--json") {
            s.json = true;
        } else if (a == "--pairs") {
            s.pairs = std::atoi(value());
        } else if (a == "--seconds") {
            s.seconds = std::atof(value());
        } else {
            std::printf("handover_bench [--pairs N] [--seconds S] [--json]\n");
            return 2;
        }
    }
    compare(s, "block", parley::when_full::block{});
    compare(s, "drop_oldest", parley::when_full::drop_oldest{});
}
