// SPDX-License-Identifier: MIT
// One publisher to several subscribers through the public API, beside a broadcast ring written by
// hand, in one run, interleaved. README.md says how each number is made.

#include "bare.hpp"
#include "harness.hpp"
#include "named.hpp"

#include <parley/pubsub.hpp>

#include <sched.h>

#include <cstring>
#include <memory>
#include <string_view>

template <std::size_t N>
struct payload {
    std::uint64_t sequence;
    std::byte rest[N - 8];
};
template <std::size_t N>
struct parley::codec<payload<N>> : parley::opaque<payload<N>> {};

namespace {

struct settings {
    int pairs = 15;
    double seconds = 0.1;  // of one run
    bool json = false;
    int readers = 0;
    std::size_t size = 0;
    std::string_view rule;
};

[[noreturn]] void out_of_order(std::uint64_t got, std::uint64_t wanted) {
    std::fprintf(stderr, "message %llu came instead of %llu\n",
                 static_cast<unsigned long long>(got), static_cast<unsigned long long>(wanted));
    ::_exit(3);
}

struct figures {
    double published = 0;  // messages per second, until the last reader had the last one
    double received = 0;   // by each subscriber; less than that where some were lost
};

/// Readers say when they are done; the last one's time counts.
struct finish {
    std::atomic<int> readers{0};
    std::atomic<std::int64_t> ns{0};
    std::atomic<std::uint64_t> got{0};
};

template <std::size_t N, int Readers>
figures bare_rate(std::uint64_t count) {
    bare::broadcast<payload<N>, Readers> ring(count);
    auto* done = bench::shared<finish>();
    double seconds = 0;
    bench::one_to_many(
        Readers,
        [&](bench::signals&) {
            auto v = std::make_unique<payload<N>>();
            std::memset(v.get(), 1, sizeof *v);
            const auto t0 = bench::now_ns();
            for (std::uint64_t i = 0; i < count; ++i) {
                v->sequence = i;
                ring.publish(*v);
            }
            while (done->readers.load() < Readers) ::usleep(100);
            seconds = static_cast<double>(done->ns.load() - t0) * 1e-9;
        },
        [&](bench::signals&, int k) {
            auto v = std::make_unique<payload<N>>();
            for (std::uint64_t i = 0; i < count; ++i) {
                ring.receive(k, *v);
                bench::seen(v.get());
                if (v->sequence != i) out_of_order(v->sequence, i);
            }
            ring.finish(k);
            done->ns.store(bench::now_ns());
            done->readers.fetch_add(1);
        });
    bench::drop(done);
    const double rate = static_cast<double>(count) / seconds;
    return {rate, rate};
}

/// `Batch`: how many a reader asks for at once; 1: one by one.
template <std::size_t N, int Readers, std::size_t Batch, class Rule>
figures parley_rate(Rule rule, std::uint64_t count) {
    const parley::shm at(bench::fresh_name(), {.writers_max = 1});
    auto* done = bench::shared<finish>();
    auto feed = parley::open_publisher<payload<N>>(at, rule).value();
    double seconds = 0;
    bench::one_to_many(
        Readers,
        [&](bench::signals&) {
            auto v = std::make_unique<payload<N>>();
            std::memset(v.get(), 1, sizeof *v);
            feed.wait_for_subscribers(Readers).value();
            const auto t0 = bench::now_ns();
            for (std::uint64_t i = 0; i < count; ++i) {
                v->sequence = i;
                feed.publish(*v).value();
            }
            feed.close().value();
            while (done->readers.load() < Readers) ::usleep(100);
            seconds = static_cast<double>(done->ns.load() - t0) * 1e-9;
        },
        [&](bench::signals&, int) {
            auto in = parley::open_subscriber<payload<N>>(at).value();
            auto v = std::make_unique<payload<N>[]>(Batch);
            std::uint64_t next = 0, got = 0;
            const auto receive = [&]() -> parley::result<std::size_t> {
                if constexpr (Batch > 1) {
                    return in.receive_many(std::span(v.get(), Batch), parley::expired);
                } else {
                    auto r = in.receive(v[0], parley::expired);
                    if (!r) return r.error();
                    return std::size_t{1};
                }
            };
            for (;;) {
                const auto r = receive();
                if (r) {
                    bench::seen(v.get());
                    for (std::size_t i = 0; i < *r; ++i) {
                        if (v[i].sequence < next) out_of_order(v[i].sequence, next);
                        next = v[i].sequence + 1;
                    }
                    got += *r;
                } else if (r.error() == parley::errc::would_block) {
                    ::sched_yield();
                } else {
                    break;
                }
            }
            if (got + in.lost() != count) out_of_order(got + in.lost(), count);
            done->got.fetch_add(got);
            done->ns.store(bench::now_ns());
            done->readers.fetch_add(1);
        });
    const double received = static_cast<double>(done->got.load()) / Readers;
    bench::drop(done);
    return {static_cast<double>(count) / seconds, received / seconds};
}

template <class Run>
std::uint64_t count_for(Run&& run, double seconds) {
    std::uint64_t count = 1024;
    for (;;) {
        const auto rate = run(count).published;
        if (static_cast<double>(count) / rate > 0.02) {
            return static_cast<std::uint64_t>(rate * seconds);
        }
        count *= 4;
    }
}

template <std::size_t N, int Readers, std::size_t Batch = 1, class Rule>
void compare(const settings& s, const char* name, Rule rule) {
    if ((s.size != 0 && s.size != N) || (s.readers != 0 && s.readers != Readers)) return;
    if (!s.rule.empty() && s.rule != name) return;
    const auto count = count_for([](auto n) { return bare_rate<N, Readers>(n); }, s.seconds);
    std::vector<double> ours, bare, ratios;
    std::size_t dropped = 0;
    const char* place = "";
    double before = bench::line_round_trip_ns();
    for (int i = 0; i < s.pairs * 2 && static_cast<int>(ours.size()) < s.pairs; ++i) {
        const auto x = parley_rate<N, Readers, Batch>(rule, count);
        const auto y = bare_rate<N, Readers>(count);
        const double after = bench::line_round_trip_ns();
        if (std::string_view(bench::placement(before)) == bench::placement(after)) {
            ours.push_back(x.received);
            bare.push_back(y.received);
            ratios.push_back(x.received / y.received);
            place = bench::placement(after);
        } else {
            ++dropped;
        }
        before = after;
    }
    const auto q = bench::quartiles(ratios);
    std::printf(s.json ? "{\"rule\":\"%s\",\"figure\":\"fan_out\",\"readers\":%d,\"bytes\":%zu,"
                         "\"parley_per_s\":%.0f,\"bare_per_s\":%.0f,\"ratio\":%.3f,"
                         "\"ratio_q1\":%.3f,\"ratio_q3\":%.3f,\"pairs\":%zu,\"dropped\":%zu,"
                         "\"placement\":\"%s\"}\n"
                       : "%-12s 1 to %d %6zu B  %11.0f/s each  bare %11.0f/s   %.2fx "
                         "[%.2f-%.2f]  %zu pairs, %zu dropped, %s\n",
                name, Readers, N, bench::quartiles(ours).median, bench::quartiles(bare).median,
                q.median, q.low, q.high, ratios.size(), dropped, place);
    std::fflush(stdout);
}

template <std::size_t N>
void all_rules(const settings& s) {
    compare<N, 1>(s, "block", parley::when_full::block{});
    compare<N, 2>(s, "block", parley::when_full::block{});
    compare<N, 4>(s, "block", parley::when_full::block{});
    compare<N, 2>(s, "drop_oldest", parley::when_full::drop_oldest{});
    compare<N, 4>(s, "drop_oldest", parley::when_full::drop_oldest{});
    compare<N, 2, 32>(s, "block/batch", parley::when_full::block{});
    compare<N, 4, 32>(s, "block/batch", parley::when_full::block{});
    compare<N, 2, 32>(s, "drop/batch", parley::when_full::drop_oldest{});
    compare<N, 4, 32>(s, "drop/batch", parley::when_full::drop_oldest{});
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
        } else if (a == "--rule") {
            s.rule = value();
        } else if (a == "--readers") {
            s.readers = std::atoi(value());
        } else if (a == "--size") {
            s.size = static_cast<std::size_t>(std::atoll(value()));
        } else {
            std::printf(
                "fanout_bench [--rule block|drop_oldest|block/batch|drop/batch] [--readers 1|2|4] "
                "[--size 64|1024]\n"
                "             [--pairs N] [--seconds S] [--json]\n");
            return 2;
        }
    }
    all_rules<64>(s);
    all_rules<1024>(s);
}
