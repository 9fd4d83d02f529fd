// SPDX-License-Identifier: MIT
// parley transports: what each transport guarantees, as its own limits() say, and what it costs
// here. The README's table is this output.
#include "transports.hpp"
#include "tool.hpp"

#include <parley/channel.hpp>
#include <parley/transport/boost_mq.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/sysv.hpp>

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>

namespace tool {
namespace {

/// One address of each kind. `%` in it becomes a directory of this run, `#` a name of its own.
struct sample {
    const char* shown;    ///< in the table
    const char* address;  ///< opened here
    const char* between;
    const char* access;
    std::size_t bytes = 64;  ///< of the messages that are measured; 0: not measured
};
constexpr const char* one_host = "processes of a host";
constexpr const char* file_mode = "mode, owner, group";
constexpr sample samples[] = {
    {"shm://x", "shm://#", one_host, file_mode},
    {"unix:///run/x, unix://@x", "unix://%/s", one_host, "mode, owner, group; allow"},
    {"unix://…?type=seqpacket", "unix://%/q?type=seqpacket", one_host, "the same"},
    {"unix://…?type=datagram", "unix://%/d?type=datagram", one_host, "the same"},
    {"tcp://host:7000", "tcp://127.0.0.1:0", "hosts", "who reaches the port"},
    {"tls://host:7000?ca=…", "tls://localhost:0?ca=%/tls.pem&cert=%/tls.pem&key=%/tls.key", "hosts",
     "whose certificate `ca` vouches for"},
    {"udp://host:7001?delivery=at_most_once", "udp://127.0.0.1:0?delivery=at_most_once", "hosts",
     "who reaches the port"},
    {"udp_multicast://239.1.1.1:7400?delivery=…",
     "udp_multicast://239.255.77.2:0?delivery=at_most_once&interface=lo", "hosts",
     "who reaches the group"},
    {"pipe:?fd=3", "pipe:", "parent, children, across exec", "who inherited it"},
    {"fifo:///run/x", "fifo://%/f", one_host, file_mode},
    {"inproc://x", "inproc://#", "threads", "the process"},
    {"mq://x", "mq://#", one_host, file_mode},
    {"sysv://x", "sysv://#?directory=%", one_host, file_mode},
    {"boost_mq://x", "boost_mq://#", one_host, file_mode},
    {"signals://x", "signals://#", "processes of a user", "the user", 16},
    {"file:///var/x", "file://%/log", one_host, file_mode},
    {"mmap:///var/x", "mmap://%/ring", one_host, file_mode},
    {"snapshot:///var/x", "snapshot://%/last", one_host, file_mode, 0},
    {"maildir:///var/x", "maildir://%/mail", one_host, file_mode},
};

std::string many(std::size_t n) {
    return n >= std::numeric_limits<std::uint32_t>::max() ? "any" : fmt::format("{}", n);
}
std::string length(std::size_t n) {
    // What a header takes off a round number is no news.
    for (const std::size_t unit : {std::size_t{1} << 20, std::size_t{1} << 10}) {
        const std::size_t whole = (n + unit - 1) / unit;
        if (n >= unit - 256 && whole * unit - n <= 256) {
            return fmt::format(
                "{} {}{}", whole, unit > 1024 ? "MiB" : "KiB",
                whole * unit == n ? "" : fmt::format(" less {} B", whole * unit - n));
        }
    }
    return fmt::format("{} B", n);
}

struct row {
    sample is;
    parley::limits sender = {}, receiver = {};
    bench_result cost = {};
};

/// The limits of both ends, asked of ends that are really open.
bool look(row& r, const std::string& address, parley::diagnostics& why) {
    using parley::any_message;
    using payload = std::span<const std::byte>;
    const any_address at{parley::uri{address}};
    if (at.to_uri().scheme() == "pipe") {
        auto both = parley::make_channel<std::vector<std::byte>>(at, &why);
        if (!both) return false;
        r.sender = both->tx.limits();
        r.receiver = both->rx.limits();
        return true;
    }
    constexpr auto longest = std::chrono::seconds(5);
    auto in = parley::open_receiver<any_message>(at, longest, &why);
    if (!in) return false;
    auto out = parley::open_sender<payload>(any_address(in->address()), longest, &why);
    if (!out) return false;
    r.receiver = in->limits();
    r.sender = out->limits();
    return true;
}

std::string filled_in(std::string address, const std::string& directory) {
    const std::string own = fmt::format("parley-transports-{}", ::getpid());
    for (const auto& [mark, text] : {std::pair{"%", directory}, std::pair{"#", own}}) {
        for (std::size_t at; (at = address.find(mark)) != std::string::npos;) {
            address.replace(at, 1, text);
        }
    }
    return address;
}

/// Whether this tool can open it here. For TLS it makes a certificate that vouches for itself.
bool can_open(const parley::uri& at, const std::string& directory) {
    if (at.scheme() != "tls") return true;
#if !TOOL_WITH_TLS
    fmt::print(stderr, "tls is left out: this tool was built without OpenSSL\n");
    return false;
#endif
    const std::string command = fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
        "-keyout '{0}/tls.key' -out '{0}/tls.pem' >/dev/null 2>&1 </dev/null",
        directory);
    if (std::system(command.c_str()) == 0) return true;
    fmt::print(stderr,
               "tls is left out: its certificate is made by the openssl command, which is not "
               "there or failed (Debian: apt-get install openssl)\n");
    return false;
}

/// The kernel keeps a queue until somebody removes it.
template <class Queue>
void remove_queue(const std::string& address) {
    parley::diagnostics ignored;
    const parley::uri at{address};
    if (at.scheme() != Queue::scheme) return;
    if (const auto queue = Queue::from(at, ignored)) (void)queue->remove(ignored);
}

void print(const std::vector<row>& rows, bool measured) {
    fmt::print(
        "| address | between | longest message, by default | senders | receivers | in place "
        "| may lose | outlives both ends | a death is told | others may follow | poll "
        "| who may |{}\n",
        measured ? " round trip | one way |" : "");
    fmt::print("|---|---|---|---|---|---|---|---|---|---|---|---|{}\n", measured ? "---|---|" : "");
    const auto yes = [](bool b) { return b ? "yes" : "no"; };
    for (const auto& r : rows) {
        const auto& l = r.receiver;
        fmt::print("| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |", r.is.shown,
                   r.is.between, length(std::min(l.message_bytes_max, r.sender.message_bytes_max)),
                   many(l.writers_max), many(l.readers_max), yes(l.in_place),
                   l.lossy ? "yes, counted" : "no", yes(l.persistent), yes(l.reports_peer_loss),
                   yes(l.successors), yes(l.pollable), r.is.access);
        if (measured && r.is.bytes == 0) fmt::print(" | |");
        if (measured && r.is.bytes != 0) {
            fmt::print(" {:.1f} us | {:.2g} M/s |", r.cost.round_trip_us,
                       r.cost.messages_per_s / 1e6);
        }
        fmt::print("\n");
    }
}

}  // namespace

int run_transports(const transports_options& o) {
    std::string directory = std::filesystem::temp_directory_path() / "parley-transports-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) return fail(file_failed, "no temporary directory");
    std::vector<row> rows;
    cpu_set_t everywhere;
    CPU_ZERO(&everywhere);
    (void)::sched_getaffinity(0, sizeof everywhere, &everywhere);
    int code = ok;
    for (const auto& s : samples) {
        row r{s};
        parley::diagnostics why;
        const std::string address = filled_in(s.address, directory);
        if (!can_open(parley::uri{address}, directory)) continue;
        if (!look(r, address, why)) {
            code = fail(cannot_open, why.text());
            continue;
        }
        remove_queue<parley::mq>(address);
        remove_queue<parley::sysv>(address);
        remove_queue<parley::boost_mq>(address);
        if (o.seconds > 0 && s.bytes > 0) {
            code = std::max(code, run_bench({.address = address,
                                             .size = s.bytes,
                                             .seconds = o.seconds,
                                             .result = &r.cost}));
            // Each run binds this thread to a core; the next one is to choose anew.
            (void)::sched_setaffinity(0, sizeof everywhere, &everywhere);
        }
        rows.push_back(std::move(r));
    }
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    print(rows, o.seconds > 0);
    return code;
}

}  // namespace tool
