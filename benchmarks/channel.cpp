// SPDX-License-Identifier: MIT
// Each backend through the public API beside the raw mechanism written by hand, in one run,
// interleaved: round trips and one-way rates. README.md says how each number is made.

#include "bare.hpp"
#include "bare_files.hpp"
#include "bare_queues.hpp"
#if BENCH_WITH_TLS
#include "bare_tls.hpp"
#endif
#include "harness.hpp"
#include "named.hpp"

#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <fcntl.h>

#include <cstring>
#include <functional>
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
    std::string_view only;
    std::size_t size = 0;

    [[nodiscard]] bool wants(std::string_view name) const { return only.empty() || only == name; }
};

/// A one-way connection as the runs use it, whatever it is made of.
template <std::size_t N, class Address>
struct through_parley {
    explicit through_parley(const Address& at)
        : ends(parley::make_channel<payload<N>>(at).value()) {}
    void send(const payload<N>& v) { ends.tx.send(v).value(); }
    void receive(payload<N>& v) { ends.rx.receive(v).value(); }

    parley::channel<payload<N>, Address> ends;
};

[[noreturn]] void out_of_order(std::uint64_t got, std::uint64_t wanted) {
    std::fprintf(stderr, "message %llu came instead of %llu\n",
                 static_cast<unsigned long long>(got), static_cast<unsigned long long>(wanted));
    ::_exit(3);
}

/// Messages per second, from the first send to the last receive; every message is copied in and
/// out and its number checked.
template <std::size_t N, class Make>
double rate(Make&& make, std::uint64_t count) {
    auto way = make();
    double seconds = 0;
    bench::two_processes(
        [&](bench::signals& s) {
            auto v = std::make_unique<payload<N>>();
            std::memset(v.get(), 1, sizeof *v);
            if constexpr (requires { way->open_sender(); }) way->open_sender();
            const auto t0 = bench::now_ns();
            for (std::uint64_t i = 0; i < count; ++i) {
                v->sequence = i;
                way->send(*v);
            }
            while (s.done_ns.load() == 0) ::usleep(100);
            seconds = static_cast<double>(s.done_ns.load() - t0) * 1e-9;
        },
        [&](bench::signals& s) {
            auto v = std::make_unique<payload<N>>();
            for (std::uint64_t i = 0; i < count; ++i) {
                way->receive(*v);
                if (v->sequence != i) out_of_order(v->sequence, i);
            }
            s.done_ns.store(bench::now_ns());
        });
    return static_cast<double>(count) / seconds;
}

/// Round-trip times of `count` messages there and back.
template <std::size_t N, class Make>
bench::latencies round_trip(Make&& make, std::uint64_t count) {
    auto there = make(), back = make();
    std::vector<std::int64_t> ns;
    ns.reserve(count);
    const std::uint64_t warm_up = count / 10;
    bench::two_processes(
        [&](bench::signals&) {
            auto v = std::make_unique<payload<N>>();
            std::memset(v.get(), 1, sizeof *v);
            for (std::uint64_t i = 0; i < warm_up + count; ++i) {
                const auto t0 = bench::now_ns();
                v->sequence = i;
                there->send(*v);
                back->receive(*v);
                if (v->sequence != i) out_of_order(v->sequence, i);
                if (i >= warm_up) ns.push_back(bench::now_ns() - t0);
            }
        },
        [&](bench::signals&) {
            auto v = std::make_unique<payload<N>>();
            for (std::uint64_t i = 0; i < warm_up + count; ++i) {
                there->receive(*v);
                back->send(*v);
            }
        });
    return bench::percentiles(ns);
}

/// How many messages make a run of about `seconds`: measured with the thing itself.
template <class Run>
std::uint64_t count_for(Run&& run, double seconds) {
    std::uint64_t count = 64;
    for (;;) {
        const auto t0 = bench::now_ns();
        run(count);
        const double took = static_cast<double>(bench::now_ns() - t0) * 1e-9;
        if (took > 0.02) {
            return std::max<std::uint64_t>(
                32, static_cast<std::uint64_t>(static_cast<double>(count) * seconds / took));
        }
        count *= 4;
    }
}

void print_rate(const settings& s, const char* name, std::size_t n, const std::vector<double>& ours,
                const std::vector<double>& bare, const char* place, std::size_t dropped) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i] / bare[i]);
    const auto q = bench::quartiles(ratios);
    const double mine = bench::quartiles(ours).median, raw = bench::quartiles(bare).median;
    if (s.json) {
        std::printf(
            "{\"backend\":\"%s\",\"figure\":\"rate\",\"bytes\":%zu,\"parley_per_s\":%.0f,"
            "\"bare_per_s\":%.0f,\"ratio\":%.3f,\"ratio_q1\":%.3f,\"ratio_q3\":%.3f,"
            "\"pairs\":%zu,\"dropped\":%zu,\"placement\":\"%s\"}\n",
            name, n, mine, raw, q.median, q.low, q.high, ours.size(), dropped, place);
    } else {
        std::printf(
            "%-10s %8zu B  rate   %12.0f/s  bare %12.0f/s   %.2fx [%.2f-%.2f]  %zu pairs, "
            "%s\n",
            name, n, mine, raw, q.median, q.low, q.high, ours.size(), place);
    }
    std::fflush(stdout);
}

void print_latency(const settings& s, const char* name, std::size_t n,
                   const std::vector<bench::latencies>& ours,
                   const std::vector<bench::latencies>& bare, const char* place,
                   std::size_t dropped) {
    const auto median = [](const std::vector<bench::latencies>& v, double bench::latencies::*m) {
        std::vector<double> x;
        for (const auto& l : v) x.push_back(l.*m);
        return bench::quartiles(x).median;
    };
    std::vector<double> ratios;
    for (std::size_t i = 0; i < ours.size(); ++i) ratios.push_back(ours[i].p50 / bare[i].p50);
    const auto q = bench::quartiles(ratios);
    using l = bench::latencies;
    const char* format =
        s.json ? "{\"backend\":\"%s\",\"figure\":\"round_trip\",\"bytes\":%zu,\"p50_ns\":%.0f,"
                 "\"p99_ns\":%.0f,\"p999_ns\":%.0f,\"max_ns\":%.0f,\"bare_p50_ns\":%.0f,"
                 "\"bare_p99_ns\":%.0f,\"ratio\":%.3f,\"ratio_q1\":%.3f,\"ratio_q3\":%.3f,"
                 "\"pairs\":%zu,\"dropped\":%zu,\"placement\":\"%s\"}\n"
               : "%-10s %8zu B  trip   p50 %.0f p99 %.0f p99.9 %.0f max %.0f ns  bare p50 %.0f "
                 "p99 %.0f   %.2fx [%.2f-%.2f]  %zu pairs, %zu dropped, %s\n";
    std::printf(format, name, n, median(ours, &l::p50), median(ours, &l::p99),
                median(ours, &l::p999), median(ours, &l::max), median(bare, &l::p50),
                median(bare, &l::p99), q.median, q.low, q.high, ours.size(), dropped, place);
    std::fflush(stdout);
}

/// Runs A and B in turn; a pair during which the hypervisor moved a core does not count.
template <class Figure, class A, class B, class Print>
void interleaved(const settings& s, A&& ours, B&& bare, Print&& print) {
    std::vector<Figure> a, b;
    std::size_t dropped = 0;
    const char* place = "";
    double before = bench::line_round_trip_ns();
    for (int i = 0; i < s.pairs * 2 && static_cast<int>(a.size()) < s.pairs; ++i) {
        const auto x = ours();
        const auto y = bare();
        const double after = bench::line_round_trip_ns();
        if (std::string_view(bench::placement(before)) == bench::placement(after)) {
            a.push_back(x);
            b.push_back(y);
            place = bench::placement(after);
        } else {
            ++dropped;
        }
        before = after;
    }
    print(a, b, place, dropped);
}

template <std::size_t N, class MakeOurs, class MakeBare>
void compare(const settings& s, const char* name, MakeOurs ours, MakeBare bare,
             bool one_way = true) {
    if (s.size != 0 && s.size != N) return;
    const auto trips = count_for([&](auto n) { (void)round_trip<N>(bare, n); }, s.seconds);
    interleaved<bench::latencies>(
        s, [&] { return round_trip<N>(ours, trips); }, [&] { return round_trip<N>(bare, trips); },
        [&](const auto& a, const auto& b, const char* place, std::size_t dropped) {
            print_latency(s, name, N, a, b, place, dropped);
        });
    if (!one_way) return;
    const auto messages = count_for([&](auto n) { (void)rate<N>(bare, n); }, s.seconds);
    interleaved<double>(
        s, [&] { return rate<N>(ours, messages); }, [&] { return rate<N>(bare, messages); },
        [&](const auto& a, const auto& b, const char* place, std::size_t dropped) {
            print_rate(s, name, N, a, b, place, dropped);
        });
}

template <std::size_t N, class MakeAddress>
auto by_name(MakeAddress address) {
    using way = bench::by_name<payload<N>, std::invoke_result_t<MakeAddress>>;
    return [address] { return std::make_unique<way>(address()); };
}
template <class Bare>
std::unique_ptr<Bare> by_hand() {
    return std::make_unique<Bare>();
}
/// In memory: a disk would be measured, and one that is shared.
std::string fresh_path() { return "/dev/shm/" + bench::fresh_name(); }

/// Between hosts. What datagrams cost is their round trip: one way they are lost where they come
/// faster than they are taken.
template <std::size_t N>
void network_backends(const settings& s) {
    using fds = bare::descriptors<payload<N>>;
    if (s.wants("tcp")) {
        compare<N>(s, "tcp", by_name<N>([] { return parley::tcp("127.0.0.1:0"); }),
                   [] { return std::make_unique<fds>(fds::kind::tcp); });
    }
#if BENCH_WITH_TLS
    if (s.wants("tls")) {
        const auto at = [] {
            return parley::tls("127.0.0.1:0", bare::certificate::usual().options());
        };
        compare<N>(s, "tls", by_name<N>(at), by_hand<bare::tls_connection<payload<N>>>);
    }
#endif
    if constexpr (N <= 1024) {
        if (s.wants("udp")) {
            const auto at = [] { return parley::udp("127.0.0.1:0", parley::at_most_once{}); };
            compare<N>(
                s, "udp", by_name<N>(at), [] { return std::make_unique<fds>(fds::kind::udp); },
                false);
        }
    }
}

/// Queues, which take messages of some KiB at most.
template <std::size_t N>
void queue_backends(const settings& s) {
    using bench::fresh_name;
    if (s.wants("mq")) {
        compare<N>(s, "mq", by_name<N>([] { return parley::mq(fresh_name()); }),
                   by_hand<bare::posix_queue<payload<N>>>);
    }
    if (s.wants("sysv")) {
        compare<N>(s, "sysv", by_name<N>([] { return parley::sysv(fresh_name()); }),
                   by_hand<bare::sysv_queue<payload<N>>>);
    }
    if (s.wants("boost_mq")) {
        compare<N>(s, "boost_mq", by_name<N>([] { return parley::boost_mq(fresh_name()); }),
                   by_hand<bare::boost_queue<payload<N>>>);
    }
    if (s.wants("signals")) {
        compare<N>(s, "signals", by_name<N>([] { return parley::signals(fresh_name()); }),
                   by_hand<bare::signal_queue<payload<N>>>);
    }
}

/// What is stored in files, where processes see it, not where a loss of power leaves it. Of the
/// last value only round trips are timed: one way it skips.
template <std::size_t N>
void file_backends(const settings& s) {
    if (s.wants("mmap")) {
        // As large as the one by hand: what lies in a cache decides.
        const auto at = [] {
            return parley::mmap(fresh_path(), {.capacity_bytes = bare::ring<payload<N>>::bytes,
                                               .wait = parley::waiting::spin});
        };
        compare<N>(s, "mmap", by_name<N>(at), by_hand<bare::mapped_ring<payload<N>>>);
    }
    if (s.wants("file")) {
        compare<N>(s, "file", by_name<N>([] { return parley::file(fresh_path()); }),
                   by_hand<bare::append_log<payload<N>>>);
    }
    if (s.wants("snapshot")) {
        const auto at = [] {
            return parley::snapshot(bare::path_apart(), {.await = parley::level::visible});
        };
        compare<N>(s, "snapshot", by_name<N>(at), by_hand<bare::replaced_value<payload<N>>>, false);
    }
    if (s.wants("maildir")) {
        compare<N>(s, "maildir", by_name<N>([] { return parley::maildir(fresh_path()); }),
                   by_hand<bare::mail_directory<payload<N>>>);
    }
}

template <std::size_t N>
void all_backends(const settings& s) {
    const auto parley_over = [](const auto& at) {
        return [at] {
            return std::make_unique<through_parley<N, std::remove_cvref_t<decltype(at)>>>(at);
        };
    };
    using fds = bare::descriptors<payload<N>>;
    const auto over = [](typename fds::kind k) { return [k] { return std::make_unique<fds>(k); }; };
    if (s.wants("shm")) {
        compare<N>(s, "shm", parley_over(parley::shm({.wait = parley::waiting::spin})),
                   [] { return std::make_unique<bare::ring<payload<N>>>(); });
    }
    const auto uds = [&](const char* name, parley::uds::kind type, typename fds::kind k) {
        // What keeps messages apart takes none that is longer than the usual buffer (208 KiB).
        if (!s.wants(name) || (type != parley::uds::kind::stream && N > 64 << 10)) return;
        compare<N>(s, name, parley_over(parley::uds({.type = type})), over(k));
    };
    uds("stream", parley::uds::kind::stream, fds::kind::stream);
    uds("seqpacket", parley::uds::kind::seqpacket, fds::kind::seqpacket);
    uds("datagram", parley::uds::kind::datagram, fds::kind::datagram);
    if (s.wants("pipe")) {
        compare<N>(s, "pipe", parley_over(parley::pipe{}), over(fds::kind::pipe));
    }
    if (s.wants("fifo")) {
        const auto ours = by_name<N>([] { return parley::fifo(fresh_path()); });
        if constexpr (N < PIPE_BUF) {
            compare<N>(s, "fifo", ours, over(fds::kind::fifo));
        } else {
            compare<N>(s, "fifo", ours, by_hand<bare::shared_fifo<payload<N>>>);
        }
    }
    network_backends<N>(s);
    if constexpr (N <= 1024) queue_backends<N>(s);
    file_backends<N>(s);
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
        } else if (a == "--backend") {
            s.only = value();
        } else if (a == "--size") {
            s.size = static_cast<std::size_t>(std::atoll(value()));
        } else {
            std::printf(
                "channel_bench [--backend NAME] [--size 64|1024|65536|1048576]\n"
                "              [--pairs N] [--seconds S] [--json]\n");
            return 2;
        }
    }
    all_backends<64>(s);
    all_backends<1024>(s);
    all_backends<65536>(s);
    all_backends<1048576>(s);
}
