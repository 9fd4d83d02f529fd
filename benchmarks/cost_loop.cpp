// SPDX-License-Identifier: MIT
// cost_loop parley|bare MECHANISM COUNT [two]: sends and receives COUNT messages of 64 bytes in
// turn, in one process; with `two`, as round trips between two processes. Run it twice with
// different counts and take the difference: what is left is the cost of messages. `cost_loop list`
// names the mechanisms.

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

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

struct message {
    std::uint64_t sequence;
    std::byte rest[56];
};
template <>
struct parley::codec<message> : parley::opaque<message> {};

namespace {

template <class Address>
struct through_parley {
    explicit through_parley(const Address& at) : ends(parley::make_channel<message>(at).value()) {}
    void send(const message& v) { ends.tx.send(v).value(); }
    void receive(message& v) { ends.rx.receive(v).value(); }

    parley::channel<message, Address> ends;
};

struct work {
    long count;
    bool two;  // processes
};

template <class Make>
void run(Make make, work w) {
    auto there = make();
    message v{};
    if (!w.two) {
        if constexpr (requires { there->open_receiver(); }) there->open_receiver();
        if constexpr (requires {
                          requires decltype(there)::element_type::shakes_hands;
                      }) {  // which takes both sides at once
            std::thread first([&] { there->send(v); });
            there->receive(v);
            first.join();
        }
        for (long i = 0; i < w.count; ++i) {
            v.sequence = static_cast<std::uint64_t>(i);
            there->send(v);
            there->receive(v);
        }
        return;
    }
    auto back = make();
    bench::two_processes(
        [&](bench::signals&) {
            for (long i = 0; i < w.count; ++i) {
                there->send(v);
                back->receive(v);
            }
        },
        [&](bench::signals&) {
            for (long i = 0; i < w.count; ++i) {
                there->receive(v);
                back->send(v);
            }
        });
}

template <class Address>
void run_pair(const Address& at, work w) {
    run([&] { return std::make_unique<through_parley<Address>>(at); }, w);
}
template <class Make>
void run_named(Make address, work w) {
    using way = bench::by_name<message, std::invoke_result_t<Make>>;
    run([&] { return std::make_unique<way>(address()); }, w);
}
template <class Bare>
void run_bare(work w) {
    run([] { return std::make_unique<Bare>(); }, w);
}
using fds = bare::descriptors<message>;
template <fds::kind Kind>
void run_descriptors(work w) {
    run([] { return std::make_unique<fds>(Kind); }, w);
}

std::string fresh_path() { return "/dev/shm/" + bench::fresh_name(); }

/// A mechanism, by hand and through parley.
struct mechanism {
    std::string_view name;
    void (*bare)(work);
    void (*parley)(work);
};
using bench::fresh_name;
using parley::uds;
constexpr mechanism mechanisms[] = {
    {"shm", run_bare<bare::ring<message>>,
     [](work w) { run_pair(parley::shm({.wait = parley::waiting::spin}), w); }},
    {"pipe", run_descriptors<fds::kind::pipe>, [](work w) { run_pair(parley::pipe{}, w); }},
    {"stream", run_descriptors<fds::kind::stream>,
     [](work w) { run_pair(uds({.type = uds::stream}), w); }},
    {"seqpacket", run_descriptors<fds::kind::seqpacket>,
     [](work w) { run_pair(uds({.type = uds::seqpacket}), w); }},
    {"datagram", run_descriptors<fds::kind::datagram>,
     [](work w) { run_pair(uds({.type = uds::datagram}), w); }},
    {"fifo", run_descriptors<fds::kind::fifo>,
     [](work w) { run_named([] { return parley::fifo(fresh_path()); }, w); }},
    {"tcp", run_descriptors<fds::kind::tcp>,
     [](work w) { run_named([] { return parley::tcp("127.0.0.1:0"); }, w); }},
#if BENCH_WITH_TLS
    {"tls", run_bare<bare::tls_connection<message>>,
     [](work w) {
         run_named([] { return parley::tls("127.0.0.1:0", bare::certificate::usual().options()); },
                   w);
     }},
#endif
    {"udp", run_descriptors<fds::kind::udp>,
     [](work w) {
         run_named([] { return parley::udp("127.0.0.1:0", parley::at_most_once{}); }, w);
     }},
    {"mq", run_bare<bare::posix_queue<message>>,
     [](work w) { run_named([] { return parley::mq(fresh_name()); }, w); }},
    {"sysv", run_bare<bare::sysv_queue<message>>,
     [](work w) { run_named([] { return parley::sysv(fresh_name()); }, w); }},
    {"boost_mq", run_bare<bare::boost_queue<message>>,
     [](work w) { run_named([] { return parley::boost_mq(fresh_name()); }, w); }},
    {"signals", run_bare<bare::signal_queue<message>>,
     [](work w) { run_named([] { return parley::signals(fresh_name()); }, w); }},
    {"mmap", run_bare<bare::mapped_ring<message>>,
     [](work w) {
         run_named([] { return parley::mmap(fresh_path(), {.wait = parley::waiting::spin}); }, w);
     }},
    {"file", run_bare<bare::append_log<message>>,
     [](work w) { run_named([] { return parley::file(fresh_path()); }, w); }},
    {"snapshot", run_bare<bare::replaced_value<message>>,
     [](work w) {
         run_named(
             [] { return parley::snapshot(bare::path_apart(), {.await = parley::level::visible}); },
             w);
     }},
    {"maildir", run_bare<bare::mail_directory<message>>,
     [](work w) { run_named([] { return parley::maildir(fresh_path()); }, w); }},
};

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "list") {
        for (const auto& m : mechanisms) std::printf("%s\n", std::string(m.name).c_str());
        return 0;
    }
    if (argc < 4) return 2;
    const std::string_view who = argv[1], what = argv[2];
    const work w{std::atol(argv[3]), argc > 4};
    for (const auto& m : mechanisms) {
        if (m.name != what) continue;
        (who == "bare" ? m.bare : m.parley)(w);
        return 0;
    }
    return 2;
}
