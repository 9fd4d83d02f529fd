// SPDX-License-Identifier: MIT
// parley bench: how fast messages go there and back, and one way, through the public API. Two
// processes (inproc: two threads), each on a core of its own where that is allowed.
#include "tool.hpp"
#include "transports_list.hpp"

#include <parley/channel.hpp>
#include <parley/transport/boost_mq.hpp>
#include <parley/transport/fifo.hpp>
#include <parley/transport/file.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/signals.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>
#include <parley/transport/uds.hpp>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <optional>
#include <thread>

namespace tool {
namespace {

using payload = std::span<const std::byte>;

/// What two processes need: a way there and a way back. Named ends are opened after the fork,
/// nameless ones before.
template <class Address>
struct route {
    using receiver = parley::receiver<payload, Address>;
    using sender = parley::sender<payload, Address>;

    Address there, back;
    std::optional<parley::channel<payload, Address>> both_there = {}, both_back = {};

    static constexpr bool nameless = std::same_as<Address, parley::pipe>;
};

template <class Address>
struct ends {
    typename route<Address>::receiver in;
    typename route<Address>::sender out;
};

/// The ends of one side. Side 0 sends there and receives back.
template <class Address>
parley::result<ends<Address>> open_ends(route<Address>& r, int side, parley::diagnostics& why) {
    if constexpr (route<Address>::nameless) {
        auto& in = side == 0 ? r.both_back : r.both_there;
        auto& out = side == 0 ? r.both_there : r.both_back;
        ends<Address> mine{std::move(in->rx), std::move(out->tx)};
        in.reset();  // the ends of the other side, if this is another process
        out.reset();
        return mine;
    } else {
        using namespace std::chrono_literals;
        auto in = parley::open_receiver<payload>(side == 0 ? r.back : r.there, 10s, &why);
        if (!in) return in.error();
        auto out = parley::open_sender<payload>(side == 0 ? r.there : r.back, 10s, &why);
        if (!out) return out.error();
        return ends<Address>{std::move(*in), std::move(*out)};
    }
}

/// Puts this thread on the n-th of the cores it may use; -1 if there are too few.
int pin(int n) {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return -1;
    if (CPU_COUNT(&allowed) < 2) return -1;
    for (int core = 0; core < CPU_SETSIZE; ++core) {
        if (!CPU_ISSET(core, &allowed) || n-- > 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        return ::sched_setaffinity(0, sizeof one, &one) == 0 ? core : -1;
    }
    return -1;
}

/// What was measured.
struct figures {
    std::vector<std::uint32_t> round_trips_ns = {};  // sorted
    double messages_per_s = 0;
    int cores[2] = {-1, -1};

    [[nodiscard]] double us(double share) const {
        if (round_trips_ns.empty()) return 0;
        const auto last = round_trips_ns.size() - 1;
        return round_trips_ns[static_cast<std::size_t>(share * static_cast<double>(last))] / 1e3;
    }
};

/// How many messages go one way before an answer is waited for, where too many would be lost.
constexpr std::uint64_t lossy_burst = 16;

/// Where nobody waits for a receiver: asks until the other side answers.
template <class Address>
parley::result<void> meet(ends<Address>& e) {
    using namespace std::chrono_literals;
    const std::byte knock[1]{};
    for (int i = 0; i < 500; ++i) {
        if (auto r = e.out.send(payload(knock)); !r) return r;
        if (e.in.borrow(20ms)) {
            while (e.in.borrow(50ms)) {  // the answers to earlier ones
            }
            return {};
        }
    }
    return parley::errc::timed_out;
}

/// Side 1: sends back what comes; an empty message begins the one-way run, whose end is told.
template <class Address>
void answer(ends<Address>& e) {
    bool echo = true;
    while (auto m = e.in.borrow()) {
        const payload seen = **m;
        if (seen.empty()) echo = !echo;
        if (echo || seen.empty()) {
            if (!e.out.send(seen)) return;
        }
    }
}

template <class Address>
parley::result<void> ask(ends<Address>& e, payload message) {
    if (auto r = e.out.send(message); !r) return r;
    using namespace std::chrono_literals;
    const bool lossy = parley::lossy_transport<Address>;
    auto m = e.in.borrow(lossy ? parley::deadline(10s) : parley::deadline(parley::never));
    if (!m) return m.error();
    return {};
}

template <class Address>
parley::result<void> measure_round_trips(ends<Address>& e, payload message, double seconds,
                                         figures& f) {
    const auto length = std::chrono::duration<double>(seconds);
    f.round_trips_ns.reserve(1 << 20);
    for (int i = 0; i < 2000; ++i) {
        if (auto r = ask(e, message); !r) return r;
    }
    const auto start = parley::clock::now();
    for (auto before = start; before - start < length;) {
        if (auto r = ask(e, message); !r) return r;
        const auto after = parley::clock::now();
        f.round_trips_ns.push_back(
            static_cast<std::uint32_t>(std::chrono::nanoseconds(after - before).count()));
        before = after;
    }
    std::sort(f.round_trips_ns.begin(), f.round_trips_ns.end());
    return {};
}

template <class Address>
parley::result<void> measure_rate(ends<Address>& e, payload message, double seconds, figures& f) {
    const auto length = std::chrono::duration<double>(seconds);
    if (auto r = ask(e, {}); !r) return r;
    std::uint64_t n = 0;
    const auto start = parley::clock::now();
    while (n % 64 != 0 || parley::clock::now() - start < length) {
        if (parley::lossy_transport<Address> && n % lossy_burst == 0 && n > 0) {
            if (auto r = ask(e, {}); !r) return r;  // the end of this one, the begin of the next
            if (auto r = ask(e, {}); !r) return r;
        }
        if (auto r = e.out.send(message); !r) return r;
        ++n;
    }
    if (auto r = ask(e, {}); !r) return r;  // everything before it was received
    const std::chrono::duration<double> took = parley::clock::now() - start;
    f.messages_per_s = static_cast<double>(n) / took.count();
    return {};
}

void print(const bench_options& o, const figures& f) {
    const double mb = f.messages_per_s * static_cast<double>(o.size) / 1e6;
    if (o.json) {
        fmt::print(
            "{{\"address\": \"{}\", \"size\": {}, \"cores\": [{}, {}], \"round_trips\": {}, "
            "\"p50_us\": {:.2f}, \"p99_us\": {:.2f}, \"p999_us\": {:.2f}, "
            "\"max_us\": {:.2f}, \"messages_per_s\": {:.0f}, \"mb_per_s\": {:.1f}}}\n",
            o.address, o.size, f.cores[0], f.cores[1], f.round_trips_ns.size(), f.us(0.5),
            f.us(0.99), f.us(0.999), f.us(1), f.messages_per_s, mb);
        return;
    }
    const auto cores = f.cores[0] < 0 || f.cores[1] < 0
                           ? std::string("not pinned")
                           : fmt::format("cores {} and {}", f.cores[0], f.cores[1]);
    fmt::print("{}, messages of {}, {}\n", o.address, human_bytes(static_cast<double>(o.size)),
               cores);
    fmt::print("  round trip  p50 {:.1f}  p99 {:.1f}  p99.9 {:.1f}  max {:.1f} us  ({} of them)\n",
               f.us(0.5), f.us(0.99), f.us(0.999), f.us(1), f.round_trips_ns.size());
    fmt::print("  one way     {:.0f} messages/s, {:.1f} MB/s\n", f.messages_per_s, mb);
}

template <class Address>
int drive(route<Address>& r, const bench_options& o, figures& f) {
    parley::diagnostics why;
    auto mine = open_ends(r, 0, why);
    if (!mine) return fail_to_open(mine.error(), why);
    const auto most = mine->out.limits().message_bytes_max;
    if (o.size > most) {
        return fail(wrong_usage, fmt::format("--size {}: a message over {} has at most {} bytes",
                                             o.size, o.address, most));
    }
    if constexpr (parley::lossy_transport<Address>) {
        const auto met = meet(*mine);
        if (!met) return fail_to_open(met.error(), mine->in.why());
    }
    f.cores[0] = pin(0);
    const std::vector<std::byte> message(o.size, std::byte{42});
    auto done = measure_round_trips(*mine, message, o.seconds, f);
    if (done) done = measure_rate(*mine, message, o.seconds, f);
    if (!done) return fail(code_of(done.error()), done.error(), mine->in.why());
    if (o.result != nullptr) {
        *o.result = {f.us(0.5), f.messages_per_s};
    } else {
        print(o, f);
    }
    mine->out.close();
    return ok;
}

template <class Address>
int bench(route<Address> r, const bench_options& o) {
    parley::diagnostics why;
    if constexpr (route<Address>::nameless) {
        for (auto* both : {&r.both_there, &r.both_back}) {
            auto made = parley::make_channel<payload>(r.there, &why);
            if (!made) return fail_to_open(made.error(), why);
            both->emplace(std::move(*made));
        }
    }
    figures f;
    const auto peer = [&r](int core) {
        pin(core);
        parley::diagnostics ignored;
        if (auto mine = open_ends(r, 1, ignored)) answer(*mine);
    };
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    (void)::sched_getaffinity(0, sizeof allowed, &allowed);
    f.cores[1] = -1;
    for (int core = 0, seen = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &allowed) && seen++ == 1) f.cores[1] = core;
    }
    if constexpr (std::same_as<Address, parley::inproc>) {
        std::jthread other(peer, 1);
        return drive(r, o, f);
    } else {
        const pid_t child = ::fork();
        if (child < 0) return fail(cannot_open, "fork failed");
        if (child == 0) {
            peer(1);
            ::_exit(0);
        }
        const int code = drive(r, o, f);
        if (code != ok) ::kill(child, SIGTERM);
        ::waitpid(child, nullptr, 0);
        return code;
    }
}

template <class Address>
parley::result<Address> with_own_port(const parley::uri& at, const std::string& host, int type,
                                      parley::diagnostics& why);

/// The address with a name of this process's own in place of the given one.
template <class Address>
parley::result<Address> renamed(const parley::uri& at, std::string_view suffix,
                                parley::diagnostics& why) {
    const std::string& text = at.text();
    const auto question = std::min(text.find('?'), text.size());
    const auto body_at = text.find("://");
    std::string body = body_at < question ? text.substr(body_at + 3, question - body_at - 3) : "";
    const std::string own = fmt::format("parley-bench-{}-{}", ::getpid(), suffix);
    if (at.scheme() == "unix") {
        const auto slash = body.rfind('/');
        body = body.starts_with('/') ? body.substr(0, slash + 1) + own : "@" + own;
    } else if (at.scheme() == "fifo" || at.scheme() == "file" || at.scheme() == "mmap" ||
               at.scheme() == "maildir") {
        const auto slash = body.rfind('/');
        body = (slash == std::string::npos ? "/tmp/" : body.substr(0, slash + 1)) + own;
    } else {
        body = own;
    }
    if constexpr (route<Address>::nameless) return Address::from(at, why);
    if constexpr (requires(Address a) { a.with.tcp; }) {
        return with_own_port<Address>(at, "localhost", SOCK_STREAM, why);  // as in certificates
    }
    return Address::from(
        parley::uri{fmt::format("{}://{}{}", at.scheme(), body, text.substr(question))}, why);
}

/// `host` with a free port of its own. A socket that does not listen, of datagrams one at another
/// address of this host, keeps the port until the end of the program; a receiver may have it
/// nevertheless.
template <class Address>
parley::result<Address> with_own_port(const parley::uri& at, const std::string& host, int type,
                                      parley::diagnostics& why) {
    const std::string& text = at.text();
    const auto question = std::min(text.find('?'), text.size());
    auto own = Address::from(
        parley::uri{fmt::format("{}://{}:0{}", Address::scheme, host, text.substr(question))}, why);
    if (!own) return own;
    parley::detail::host_port where;
    (void)where.assign(type == SOCK_DGRAM ? "127.0.0.2:0" : own->at);
    const auto all = parley::detail::resolve(where, true, why);
    if (!all) return all.error();
    parley::detail::unique_fd fd(::socket(all->front().family(), type | SOCK_CLOEXEC, 0));
    const int on = type == SOCK_STREAM ? 1 : 0;
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::bind(fd.get(), all->front().get(), all->front().length) != 0) {
        return why.fail(parley::from_errno(errno), "no free port of this host");
    }
    const auto port = parley::detail::ip_address::of(fd.get(), &::getsockname).port();
    own->at = fmt::format("{}:{}", host, port);
    (void)fd.release();
    return own;
}
std::string loopback_of(const parley::uri& at) {
    return at.text().find("://[") != std::string::npos ? "[::1]" : "127.0.0.1";
}
template <>
parley::result<parley::tcp> renamed<parley::tcp>(const parley::uri& at, std::string_view,
                                                 parley::diagnostics& why) {
    return with_own_port<parley::tcp>(at, loopback_of(at), SOCK_STREAM, why);
}
template <>
parley::result<parley::udp> renamed<parley::udp>(const parley::uri& at, std::string_view,
                                                 parley::diagnostics& why) {
    return with_own_port<parley::udp>(at, loopback_of(at), SOCK_DGRAM, why);
}
template <>
parley::result<parley::udp_multicast> renamed<parley::udp_multicast>(const parley::uri& at,
                                                                     std::string_view,
                                                                     parley::diagnostics& why) {
    return with_own_port<parley::udp_multicast>(at, "239.255.77.1", SOCK_DGRAM, why);
}

template <class Address>
int bench_over(const bench_options& o) {
    const parley::uri at{o.address};
    parley::diagnostics why;
    auto there = renamed<Address>(at, "a", why), back = renamed<Address>(at, "b", why);
    if (!there || !back) return fail_to_open(there ? back.error() : there.error(), why);
    const int code = bench(route<Address>{*there, *back}, o);
    if constexpr (requires { there->remove(why); }) {  // nobody else does
        (void)there->remove(why);
        (void)back->remove(why);
    }
    return code;
}

/// What is large enough for it is measured by both ways of copying, unless one is asked for.
int bench_over_shm(const bench_options& o) {
    cpu_set_t allowed;  // a run leaves this process on one core
    CPU_ZERO(&allowed);
    (void)::sched_getaffinity(0, sizeof allowed, &allowed);
    const int code = bench_over<parley::shm>(o);
    const bool one = o.size < parley::streaming_bytes_min || o.result != nullptr ||
                     o.address.find("copy=") != std::string::npos;
    if (code != ok || one) return code;
    bench_options other = o;
    other.address += o.address.find('?') == std::string::npos ? "?" : "&";
    other.address += "copy=streaming";
    (void)::sched_setaffinity(0, sizeof allowed, &allowed);
    return bench_over<parley::shm>(other);
}

}  // namespace

int run_bench(const bench_options& o) {
    const parley::uri at{o.address};
    const auto scheme = at.scheme();
    if (scheme == parley::shm::scheme) return bench_over_shm(o);
    if (scheme == parley::uds::scheme) return bench_over<parley::uds>(o);
    if (scheme == parley::tcp::scheme) return bench_over<parley::tcp>(o);
    if constexpr (!std::is_void_v<tls>) {
        if (scheme == "tls") return bench_over<tls>(o);
    }
    if (scheme == parley::udp::scheme) return bench_over<parley::udp>(o);
    if (scheme == parley::udp_multicast::scheme) return bench_over<parley::udp_multicast>(o);
    if (scheme == parley::pipe::scheme) return bench_over<parley::pipe>(o);
    if (scheme == parley::fifo::scheme) return bench_over<parley::fifo>(o);
    if (scheme == parley::inproc::scheme) return bench_over<parley::inproc>(o);
    if (scheme == parley::mq::scheme) return bench_over<parley::mq>(o);
    if (scheme == parley::sysv::scheme) return bench_over<parley::sysv>(o);
    if (scheme == parley::boost_mq::scheme) return bench_over<parley::boost_mq>(o);
    if (scheme == parley::signals::scheme) return bench_over<parley::signals>(o);
    if (scheme == parley::file::scheme) return bench_over<parley::file>(o);
    if (scheme == parley::mmap::scheme) return bench_over<parley::mmap>(o);
    if (scheme == parley::maildir::scheme) return bench_over<parley::maildir>(o);
    return fail(
        wrong_usage,
        fmt::format("'{}': no such scheme; wants shm:, unix:, tcp:, tls:, udp:, udp_multicast:, "
                    "pipe:, fifo:, inproc:, mq:, sysv:, boost_mq:, signals:, file:, mmap: or "
                    "maildir:",
                    o.address));
}

}  // namespace tool
