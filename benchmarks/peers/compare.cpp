// SPDX-License-Identifier: MIT
// Runs the programs of parley and its peers in turn, in one run, and prints how many times as fast
// parley is. A pair counts if the placement of both cores was the same before and after it.
//
//   compare_peers [--rounds N] [--seconds S] [--patience S] [--peer NAME] [--json] [--chart FILE]
#include "../harness.hpp"
#include "drawing.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/utsname.h>
#include <csignal>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>

namespace {

struct settings {
    int rounds = 15;
    double seconds = 0.2;
    double patience = 2;  // for a quiet moment
    bool json = false;
    std::string only, chart, here;
};

/// What a peer did on a quiet machine of this kind (EPYC Zen 4, two processors of a virtual
/// machine), by placement; 0: not known.
struct usual {
    double near, far;
};
/// One kind of work. A peer has to come up to 85 % of its usual figure, so that it, and not what
/// else the machine had to do, is what was measured.
struct work {
    const char* name;
    const char* kind;
    std::size_t bytes;
    std::map<std::string, usual> peers;
};
const work works[] = {
    {"64 B one way",
     "rate",
     64,
     {{"boost", {5.4e6, 3.0e6}},
      {"zeromq", {4.6e6, 1.9e6}},
      {"iceoryx", {1.21e6, 0.6e6}},
      {"nng", {28e3, 28e3}}}},
    {"1 KiB one way",
     "rate",
     1 << 10,
     {{"boost", {2.0e6, 0}},
      {"zeromq", {0.66e6, 0}},
      {"iceoryx", {1.21e6, 0}},
      {"nng", {28e3, 0}}}},
    {"64 KiB one way",
     "rate",
     1 << 16,
     {{"boost", {76e3, 30e3}},
      {"zeromq", {26e3, 0}},
      {"iceoryx", {116e3, 26e3}},
      {"nng", {13.6e3, 0}}}},
    {"1 MiB one way",
     "rate",
     1 << 20,
     {{"boost", {6.5e3, 0}},
      {"zeromq", {2.4e3, 0}},
      {"iceoryx", {36.4e3, 2.7e3}},
      {"nng", {2.1e3, 0}}}},
    {"64 B round trip",
     "trip",
     64,
     {{"boost", {1880, 0}}, {"zeromq", {70200, 0}}, {"iceoryx", {1740, 0}}, {"nng", {106000, 0}}}},
    {"call, unix socket", "call", 0, {{"grpc", {0, 0}}, {"capnp", {0, 0}}}},
};

pid_t start(const std::vector<std::string>& words, int out) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::setpgid(0, 0);
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(out >= 0 ? out : nowhere, STDOUT_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    std::vector<char*> argv;
    for (const auto& w : words) argv.push_back(const_cast<char*>(w.c_str()));
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
}

/// The first number that the program prints. It is killed, with its own children, if it hangs.
std::optional<double> run(const std::vector<std::string>& words, double patience_s) {
    int fd[2];
    if (::pipe2(fd, O_CLOEXEC) != 0) return {};
    const pid_t child = start(words, fd[1]);
    ::close(fd[1]);
    std::string said;
    const auto end = bench::now_ns() + static_cast<std::int64_t>(patience_s * 1e9);
    for (char room[256];;) {
        pollfd p{fd[0], POLLIN, 0};
        const auto left = (end - bench::now_ns()) / 1'000'000;
        if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0) break;
        const auto n = ::read(fd[0], room, sizeof room);
        if (n <= 0) break;
        said.append(room, static_cast<std::size_t>(n));
    }
    ::close(fd[0]);
    int status = 0;
    for (int i = 0; ::waitpid(child, &status, WNOHANG) == 0; ++i) {
        if (i > 2000 || bench::now_ns() > end) {  // it has closed stdout and does not end
            ::kill(-child, SIGKILL);
            ::waitpid(child, &status, 0);
            break;
        }
        ::usleep(1000);
    }
    ::kill(-child, SIGKILL);
    const double value = std::atof(said.c_str());
    return status == 0 && value > 0 ? std::optional(value) : std::nullopt;
}

/// The daemon of iceoryx, as long as this lives.
class roudi {
public:
    roudi() {
        const std::string pools = "/tmp/peers-roudi.toml";
        std::ofstream out(pools);
        out << "[general]\nversion = 1\n\n[[segment]]\n";
        const std::pair<int, int> all[] = {
            {128, 10000}, {2048, 3000}, {131072, 600}, {2097152, 48}};
        for (const auto& [bytes, count] : all) {
            out << "\n[[segment.mempool]]\nsize = " << bytes << "\ncount = " << count << "\n";
        }
        out.close();
        child_ = start({"iox-roudi", "-c", pools}, -1);
        ::usleep(1'500'000);  // it tells nobody but its terminal that it is ready
    }
    roudi(const roudi&) = delete;
    roudi& operator=(const roudi&) = delete;
    ~roudi() {
        ::kill(child_, SIGTERM);
        ::waitpid(child_, nullptr, 0);
    }

private:
    pid_t child_;
};

struct figures {
    std::vector<double> ratios, ours, theirs;
};
/// By placement: what counts in one says nothing in another.
struct outcome {
    std::map<std::string, figures> placed = {};
    int dropped = 0, hung = 0;
};

std::optional<double> measure(const settings& s, const std::string& peer, const work& w) {
    return run(
        {s.here + "/peer_" + peer, w.kind, std::to_string(w.bytes), fmt::format("{}", s.seconds)},
        10 + 10 * s.seconds);
}

/// Ticks that the processors of this machine were busy, and all ticks.
std::pair<double, double> ticks() {
    std::ifstream stat("/proc/stat");
    std::string word;
    double busy = 0, all = 0;
    stat >> word;
    for (int i = 0; i < 8; ++i) {
        double n = 0;
        stat >> n;
        all += n;
        if (i != 3 && i != 4) busy += n;  // idle, and waiting for a disk
    }
    return {busy, all};
}
/// Waits while others use more than a fifth of the machine, but not for ever.
void wait_for_quiet(double patience_s) {
    const auto end = bench::now_ns() + static_cast<std::int64_t>(patience_s * 1e9);
    do {
        const auto [busy, all] = ticks();
        ::usleep(100'000);
        const auto [busy_now, all_now] = ticks();
        if (busy_now - busy <= 0.2 * (all_now - all)) return;
    } while (bench::now_ns() < end);
}

/// One run of parley, one of the peer.
void pair(const settings& s, const std::string& peer, const work& w, outcome& o) {
    wait_for_quiet(s.patience);
    const std::string place = bench::placement(bench::line_round_trip_ns());
    const auto ours = measure(s, std::string_view(w.kind) == "call" ? "calls" : "parley", w);
    const auto theirs = measure(s, peer, w);
    if (!theirs || !ours) {
        ++o.hung;
    } else if (place != bench::placement(bench::line_round_trip_ns())) {
        ++o.dropped;
    } else {
        const bool time = std::string_view(w.kind) == "trip";
        figures& f = o.placed[place];
        f.ours.push_back(*ours);
        f.theirs.push_back(*theirs);
        f.ratios.push_back(time ? *theirs / *ours : *ours / *theirs);
    }
}

std::string figure(const work& w, double x) {
    if (std::string_view(w.kind) == "trip") return fmt::format("{:.2f} us", x / 1e3);
    return x >= 1e6 ? fmt::format("{:.2f} M/s", x / 1e6) : fmt::format("{:.1f} k/s", x / 1e3);
}

/// How much of its usual figure the peer came up to; 0: nobody knows that figure.
double share_of(const work& w, const std::string& peer, const std::string& place, double now) {
    const auto known = w.peers.find(peer);
    if (known == w.peers.end() || now == 0) return 0;
    const double before = place == "near"  ? known->second.near
                          : place == "far" ? known->second.far
                                           : 0;
    if (before == 0) return 0;
    return std::string_view(w.kind) == "trip" ? before / now : now / before;
}

/// Prints a line for each placement and returns the ratio that most pairs stand for.
double print(const settings& s, const work& w, const std::string& peer, const outcome& o) {
    std::size_t most = 0;
    double ratio = 0;
    for (const auto& [place, f] : o.placed) {
        const auto q = bench::quartiles(f.ratios);
        const double ours = bench::quartiles(f.ours).median;
        const double theirs = bench::quartiles(f.theirs).median;
        const double share = share_of(w, peer, place, theirs);
        if (f.ratios.size() > most) {
            most = f.ratios.size();
            ratio = q.median;
        }
        if (s.json) {
            fmt::print(
                "{{\"work\": \"{}\", \"bytes\": {}, \"peer\": \"{}\", \"placement\": "
                "\"{}\", \"parley\": {:.0f}, \"peer_figure\": {:.0f}, \"ratio\": {:.3f}, "
                "\"ratio_q1\": {:.3f}, \"ratio_q3\": {:.3f}, \"pairs\": {}, \"dropped\": "
                "{}, \"failed\": {}, \"peer_of_its_usual\": {:.2f}, \"fit\": {}}}\n",
                w.name, w.bytes, peer, place, ours, theirs, q.median, q.low, q.high,
                f.ratios.size(), o.dropped, o.hung, share, share >= 0.85);
        } else {
            const auto fit = share >= 0.85 ? std::string()
                             : share == 0  ? std::string("; the peer's usual is not known")
                                           : fmt::format(
                                                 "; not fit: the peer at {:.0f} % of its "
                                                  "usual",
                                                 share * 100);
            fmt::print(
                "{:<16} {:<8} {:>12} {:>12} {:>8.2f}x [{:.2f}-{:.2f}]  {}, {} pairs, {} "
                "dropped, {} failed{}\n",
                w.name, peer, figure(w, ours), figure(w, theirs), q.median, q.low, q.high, place,
                f.ratios.size(), o.dropped, o.hung, fit);
        }
    }
    if (o.placed.empty() && !s.json) {
        fmt::print("{:<16} {:<8} not measured ({} dropped, {} failed)\n", w.name, peer, o.dropped,
                   o.hung);
    }
    (void)std::fflush(stdout);
    return ratio;
}

std::string machine() {
    std::string cpu = "unknown processor";
    std::ifstream info("/proc/cpuinfo");
    for (std::string line; std::getline(info, line);) {
        if (line.starts_with("model name")) {
            cpu = line.substr(line.find(':') + 2);
            break;
        }
    }
    utsname u{};
    (void)::uname(&u);
    return fmt::format("{}, {} processors, Linux {}", cpu, ::sysconf(_SC_NPROCESSORS_ONLN),
                       u.release);
}

settings read_arguments(int argc, char** argv) {
    settings s;
    s.here = argv[0];
    s.here = s.here.substr(0, s.here.rfind('/'));
    for (int i = 1; i < argc; ++i) {
        const std::string_view a = argv[i];
        const auto value = [&] { return i + 1 < argc ? argv[++i] : "0"; };
        if (a == "--json") {
            s.json = true;
        } else if (a == "--rounds") {
            s.rounds = std::atoi(value());
        } else if (a == "--seconds") {
            s.seconds = std::atof(value());
        } else if (a == "--patience") {
            s.patience = std::atof(value());
        } else if (a == "--peer") {
            s.only = value();
        } else if (a == "--chart") {
            s.chart = value();
        } else {
            fmt::print(
                "compare_peers [--rounds N] [--seconds S] [--patience S] [--peer NAME] [--json] "
                "[--chart FILE]\n");
            std::exit(2);
        }
    }
    return s;
}

}  // namespace

int main(int argc, char** argv) {
    const settings s = read_arguments(argc, argv);
    std::vector<std::string> all;
    for (const std::string peer : {"boost", "zeromq", "nng", "iceoryx", "grpc", "capnp"}) {
        const bool built = ::access((s.here + "/peer_" + peer).c_str(), X_OK) == 0;
        if (built && (s.only.empty() || s.only == peer)) all.push_back(peer);
    }
    std::optional<roudi> helper;
    if (std::find(all.begin(), all.end(), "iceoryx") != all.end()) helper.emplace();
    if (!s.json) {
        fmt::print("{}\n{:<16} {:<8} {:>12} {:>12} {:>9}\n", machine(), "WORK", "PEER", "PARLEY",
                   "PEER", "RATIO");
    }
    std::vector<peers::group> chart;
    for (const work& w : works) {
        std::map<std::string, outcome> results;
        for (int i = 0; i < s.rounds; ++i) {
            for (const auto& peer : all) {
                if (w.peers.contains(peer)) pair(s, peer, w, results[peer]);
            }
        }
        chart.push_back({w.name, {}});
        for (const auto& peer : all) {
            if (!w.peers.contains(peer)) continue;
            chart.back().bars.push_back({peer, print(s, w, peer, results[peer])});
        }
    }
    if (!s.chart.empty() &&
        !peers::draw(s.chart, "parley, times as fast (" + machine() + ")", chart)) {
        fmt::print(stderr, "{} cannot be written\n", s.chart);
        return 1;
    }
    return 0;
}
