// SPDX-License-Identifier: MIT
// parley: channels from the command line.
#include "tool.hpp"

#include <CLI/CLI.hpp>

#include <parley/version.hpp>

namespace {

constexpr const char* footer = R"(Addresses:
  shm://NAME                       shared memory, /dev/shm/parley.NAME
  unix:///PATH  unix://@ABSTRACT   sockets; ?type=stream|seqpacket|datagram
  tcp://HOST:PORT  tcp://[::1]:7   between hosts; to a receiver, port 0 is a free one, no host all
  tls://HOST:PORT?ca=FILE&cert=FILE&key=FILE   the same, encrypted, where OpenSSL was there
  udp://HOST:PORT  udp_multicast://GROUP:PORT   datagrams, with ?delivery=at_most_once: recv says
                                   how many were lost; multicast with &interface=eth0
  fifo:///PATH                     a named pipe
  pipe:?fd=N                       a pipe that this process inherited
  signals://NAME                   real-time signals between processes of one user
  mq://NAME  sysv://NAME           queues of the kernel, kept until `parley clean` removes them
  boost_mq://NAME                  a message_queue of Boost.Interprocess, kept likewise
  file:///PATH  mmap:///PATH       a log, a mapped ring: kept in files; file:///x?from=first follows
  snapshot:///PATH                 the last value only
  maildir:///DIR                   a file for each message; ?frame=none for scripts
  Options follow as ?capacity_bytes=65536&writers_max=4; `parley info` shows what came of them.

Examples:
  parley recv shm://logs --follow >> all.log &   the receiver owns the address
  tail -f app.log | parley send shm://logs       any number of senders
  parley send unix://@copy --in disk.img         waits until somebody receives
  parley send pipe:?fd=1 < a | parley recv pipe:?fd=0 > b
  parley list                                    who is there; disturbs nobody
  parley bench shm:                              what this machine can do

Exit codes:
  0  done              1  wrong usage, or an address that means nothing
  2  cannot open       3  the peer was lost (killed, or it left before the end), or messages
  4  timed out         5  refused: another message type, or bytes that are no message
  6  a file or stdout failed        128+n  ended by signal n, in good order)";

void add_common(CLI::App& c, tool::common_options& o) {
    c.add_option("URI", o.address, "the address")->required();
    c.add_option("--timeout", o.timeout_seconds,
                 "give up when nothing happens for so many seconds (default: never)")
        ->check(CLI::NonNegativeNumber);
    c.add_flag("-q,--quiet", o.quiet, "no progress on the terminal");
}

CLI::App* add_transports(CLI::App& app, tool::transports_options& o) {
    auto* t =
        app.add_subcommand("transports", "what each transport guarantees, as a table in Markdown");
    t->add_option("--measure", o.seconds,
                  "measure each too, so many seconds long: small messages, between two cores")
        ->check(CLI::PositiveNumber);
    return t;
}

CLI::App* add_top(CLI::App& app, tool::top_options& o) {
    auto* t = app.add_subcommand(
        "top",
        "every channel and what flows through it, live. Passive: files are opened for reading, no "
        "lane, connection or lock is taken. ~ marks what was estimated from some of the messages. "
        "Queues of Boost are left out: to look at one takes its lock");
    t->add_option("DIRECTORY", o.directories,
                  "where to look for segments and dead sockets (default: segments in /dev/shm)");
    t->add_option("--interval", o.interval_seconds, "seconds from one look to the next (default 1)")
        ->check(CLI::Range(0.01, 86400.0));
    t->add_flag("--once", o.once, "one table, over one interval");
    t->add_flag("--json", o.json, "for programs: a line for each look");
    return t;
}

CLI::App* add_clean(CLI::App& app, tool::clean_options& o) {
    auto* c = app.add_subcommand("clean", "remove what dead owners left behind; safe at any time");
    c->add_option("WHERE", o.places,
                  "directories of segments and dead sockets (default: segments in /dev/shm); or a "
                  "queue (mq:, sysv:, boost_mq://NAME), or what is stored, file:///PATH, mmap:, "
                  "snapshot:, maildir:, which nobody else removes: it goes with all that it "
                  "holds");
    c->add_flag("--dry-run", o.dry_run, "only say what would go");
    return c;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Messages between processes, from the command line.", "parley"};
    app.require_subcommand(1);
    app.footer(footer);
    app.set_version_flag("--version",
                         fmt::format("parley {}.{}.{}", PARLEY_VERSION / 10000,
                                     PARLEY_VERSION / 100 % 100, PARLEY_VERSION % 100));

    tool::recv_options recv;
    auto* r = app.add_subcommand("recv", "write the bytes of messages, whatever their type");
    add_common(*r, recv);
    r->add_option("--out", recv.out, "file to write (default: stdout)");
    r->add_option("--count", recv.count, "stop after N messages")->check(CLI::PositiveNumber);
    r->add_flag("--follow", recv.follow, "go on when the last sender has left: wait for others");

    tool::send_options send;
    auto* s = app.add_subcommand("send", "send a file or stdin as messages of bytes");
    add_common(*s, send);
    s->add_option("--in", send.in, "file to read (default: stdin)");
    s->add_option("--chunk", send.chunk_bytes,
                  "bytes of a message (default: what suits the transport)")
        ->check(CLI::PositiveNumber);

    tool::list_options list;
    auto* l = app.add_subcommand("list", "segments and sockets: live or stale, owner, type, lanes");
    l->add_option("DIRECTORY", list.directories,
                  "where to look for segments and dead sockets (default: segments in /dev/shm)");
    l->add_flag("--json", list.json, "for programs");

    std::string about;
    auto* i = app.add_subcommand("info", "limits, type and owner of an address; takes no part");
    i->add_option("URI", about, "the address")->required();

    tool::bench_options bench;
    auto* b = app.add_subcommand("bench", "two processes: latency of round trips, one-way rate");
    b->add_option("URI", bench.address, "scheme and options; the name is replaced")->required();
    b->add_option("--size", bench.size, "bytes of a message (default 64)")
        ->check(CLI::PositiveNumber);
    b->add_option("--seconds", bench.seconds, "how long each of both runs takes (default 1)")
        ->check(CLI::PositiveNumber);
    b->add_flag("--json", bench.json, "for programs");

    tool::transports_options transports;
    auto* t = add_transports(app, transports);
    tool::top_options top;
    auto* p = add_top(app, top);
    tool::clean_options clean;
    (void)add_clean(app, clean);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? tool::ok : tool::wrong_usage;
    }
    tool::catch_signals();
    try {
        if (r->parsed()) return tool::run_recv(recv);
        if (s->parsed()) return tool::run_send(send);
        if (l->parsed()) return tool::run_list(list);
        if (i->parsed()) return tool::run_info(about);
        if (b->parsed()) return tool::run_bench(bench);
        if (p->parsed()) return tool::run_top(top);
        if (t->parsed()) return tool::run_transports(transports);
        return tool::run_clean(clean);
    } catch (const std::exception& e) {  // no memory; a stdout that cannot be written
        return tool::fail(tool::file_failed, e.what());
    }
}
