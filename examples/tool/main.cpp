// SPDX-License-Identifier: MIT
// parley: channels from the command line.
#include "tool.hpp"

#include <CLI/CLI.hpp>

#include <parley/version.hpp>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

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
  parley record shm://cam day.log                later: parley replay day.log shm://cam --speed 10x
  parley list                                    who is there; disturbs nobody
  parley bench shm:                              what this machine can do
  parley call unix:///run/x subtract '[42, 23]'  any JSON-RPC 2.0 server; `parley serve` is one

Exit codes:
  0  done              1  wrong usage, or an address that means nothing
  2  cannot open       3  the peer was lost (killed, or it left before the end), or messages
  4  timed out         5  refused: another message type, or bytes that are no message
  6  a file or stdout failed        7  doctor found something wrong
  128+n   ended by signal n, in good order)";

/// The commands, each with what runs it.
struct commands {
    CLI::App app{"Messages between processes, from the command line.", "parley"};
    std::vector<std::pair<const CLI::App*, std::function<int()>>> all = {};

    /// Adds a command; its options live as long as this.
    template <class Options>
    CLI::App* add(const char* name, const std::string& about, int (*run)(const Options&),
                  Options*& o) {
        auto owned = std::make_shared<Options>();
        o = owned.get();
        auto* command = app.add_subcommand(name, about);
        all.emplace_back(command, [run, owned] { return run(*owned); });
        return command;
    }
};

void add_address(CLI::App& c, std::string& address) {
    c.add_option("URI", address, "the address")->required();
}
void add_common(CLI::App& c, tool::common_options& o) {
    add_address(c, o.address);
    c.add_option("--timeout", o.timeout_seconds,
                 "give up when nothing happens for so many seconds (default: never)")
        ->check(CLI::NonNegativeNumber);
    c.add_flag("-q,--quiet", o.quiet, "no progress on the terminal");
}
void add_places(CLI::App& c, std::vector<std::string>& directories) {
    c.add_option("DIRECTORY", directories,
                 "where to look for segments and dead sockets (default: segments in /dev/shm)");
}
void add_json(CLI::App& c, bool& json, const char* about = "for programs") {
    c.add_flag("--json", json, about);
}

void add_take(CLI::App& c, tool::take_options& o) {
    add_common(c, o);
    c.add_option("--count", o.count, "stop after N messages")->check(CLI::PositiveNumber);
    c.add_flag("--follow", o.follow, "go on when the last sender has left: wait for others");
}

void add_transfer(commands& all) {
    tool::recv_options* recv = nullptr;
    auto* r =
        all.add("recv", "write the bytes of messages, whatever their type", tool::run_recv, recv);
    add_take(*r, *recv);
    r->add_option("--out", recv->out, "file to write (default: stdout)");

    tool::send_options* send = nullptr;
    auto* s = all.add("send", "send a file or stdin as messages of bytes", tool::run_send, send);
    add_common(*s, *send);
    s->add_option("--in", send->in, "file to read (default: stdin)");
    s->add_option("--chunk", send->chunk_bytes,
                  "bytes of a message (default: what suits the transport)")
        ->check(CLI::PositiveNumber);
}

/// A channel from one to one has one receiver: these are it, and take what they show.
constexpr const char* takes =
    "It is the receiver of the channel (lossless ones have one), so it takes what it shows; to "
    "look on without taking part: top";
void add_messages(commands& all) {
    tool::echo_options* echo = nullptr;
    auto* e =
        all.add("echo",
                fmt::format("print messages as they come, as JSON if the description of their "
                            "type permits, else in hex and as text. {}",
                            takes),
                tool::run_echo, echo);
    add_take(*e, *echo);
    e->add_option("--bytes", echo->bytes_max, "of a message in hex at most N (default 256)");
    add_json(*e, echo->json, "for programs: a line for each message");

    tool::hz_options* hz = nullptr;
    auto* h = all.add(
        "hz",
        fmt::format("rate, bytes, and the gaps between messages: min, mean, max, stddev. {}",
                    takes),
        tool::run_hz, hz);
    add_take(*h, *hz);
    h->add_option("--interval", hz->interval_seconds, "seconds between lines (default 1)")
        ->check(CLI::Range(0.01, 86400.0));
    add_json(*h, hz->json, "for programs: a line for each interval, and one for all");

    tool::record_options* record = nullptr;
    auto* r =
        all.add("record",
                fmt::format("messages of any type, with type and times, into a log: the file of "
                            "file:///PATH, which is made, or gone on with. {}",
                            takes),
                tool::run_record, record);
    add_take(*r, *record);
    r->add_option("FILE", record->file, "the log")->required();
    add_json(*r, record->json, "what was recorded, for programs");

    tool::replay_options* replay = nullptr;
    auto* p = all.add("replay",
                      "send what a log holds, from its first message on, of the type and with the "
                      "spacing that it had, by the monotonic clock",
                      tool::run_replay, replay);
    p->add_option("FILE", replay->file, "the log")->required();
    add_common(*p, *replay);
    p->add_option("--speed", replay->speed, "so many times as fast, as 10x (default 1)");
    p->add_flag("--fast", replay->fast, "without any spacing");
    add_json(*p, replay->json, "what was sent, for programs");
}

void add_look(commands& all) {
    tool::list_options* list = nullptr;
    auto* l = all.add("list", "segments and sockets: live or stale, owner, type, lanes",
                      tool::run_list, list);
    add_places(*l, list->directories);
    add_json(*l, list->json);

    tool::info_options* info = nullptr;
    auto* i = all.add("info", "limits, type and owner of an address; takes no part", tool::run_info,
                      info);
    add_address(*i, info->address);

    tool::top_options* top = nullptr;
    auto* t = all.add(
        "top",
        "every channel and what flows through it, live. Passive: files are opened for reading, no "
        "lane, connection or lock is taken. ~ marks what was estimated from some of the messages. "
        "Queues of Boost are left out: to look at one takes its lock",
        tool::run_top, top);
    add_places(*t, top->directories);
    t->add_option("--interval", top->interval_seconds,
                  "seconds from one look to the next (default 1)")
        ->check(CLI::Range(0.01, 86400.0));
    t->add_flag("--once", top->once, "one table, over one interval");
    add_json(*t, top->json, "for programs: a line for each look");
}

void add_bench(commands& all) {
    tool::bench_options* bench = nullptr;
    auto* b = all.add("bench", "two processes: latency of round trips, one-way rate",
                      tool::run_bench, bench);
    b->add_option("URI", bench->address, "scheme and options; the name is replaced")->required();
    b->add_option("--size", bench->size, "bytes of a message (default 64)")
        ->check(CLI::PositiveNumber);
    b->add_option("--seconds", bench->seconds, "how long each of both runs takes (default 1)")
        ->check(CLI::PositiveNumber);
    add_json(*b, bench->json);

    tool::transports_options* transports = nullptr;
    auto* t = all.add("transports", "what each transport guarantees, as a table in Markdown",
                      tool::run_transports, transports);
    t->add_option("--measure", transports->seconds,
                  "measure each too, so many seconds long: small messages, between two cores")
        ->check(CLI::PositiveNumber);
}

void add_care(commands& all) {
    tool::doctor_options* doctor = nullptr;
    auto* d = all.add("doctor",
                      "what is wrong with channels and host, why, and the command that mends it",
                      tool::run_doctor, doctor);
    add_places(*d, doctor->directories);
    add_json(*d, doctor->json);

    tool::clean_options* clean = nullptr;
    auto* c = all.add("clean", "remove what dead owners left behind; safe at any time",
                      tool::run_clean, clean);
    c->add_option("WHERE", clean->places,
                  "directories of segments and dead sockets (default: segments in /dev/shm); or a "
                  "queue (mq:, sysv:, boost_mq://NAME), or what is stored, file:///PATH, mmap:, "
                  "snapshot:, maildir:, which nobody else removes: it goes with all that it "
                  "holds");
    c->add_flag("--dry-run", clean->dry_run, "only say what would go");
    add_json(*c, clean->json);
}

void add_calls(commands& all) {
    tool::call_options* call = nullptr;
    auto* c = all.add("call",
                      "call a method of a JSON-RPC 2.0 server, or of a service of parley, print "
                      "the result",
                      tool::run_call, call);
    c->add_option("URI", call->address,
                  "unix:///PATH or tcp://HOST:PORT; with --native also shm://NAME")
        ->required();
    c->add_option("METHOD", call->method, "its name")->required();
    c->add_option("PARAMS", call->params,
                  "JSON: '[1, 2]', '{\"a\": 1}', or one value; none if left out");
    c->add_option("--timeout", call->timeout_seconds,
                  "give up after so many seconds (default: never)")
        ->check(CLI::NonNegativeNumber);
    c->add_flag("--notify", call->notify, "want no answer");
    constexpr const char* native = "as services of parley speak, which say what their methods take";
    c->add_flag("--native", call->native, native);

    tool::serve_options* serve = nullptr;
    auto* s = all.add("serve", "answer JSON-RPC 2.0: add, sum, echo, fail, to try it",
                      tool::run_serve, serve);
    add_address(*s, serve->address);
    s->add_flag("--native", serve->native, native);
}

}  // namespace

int main(int argc, char** argv) {
    commands all;
    auto& app = all.app;
    app.require_subcommand(1);
    app.footer(footer);
    app.set_version_flag("--version",
                         fmt::format("parley {}.{}.{}", PARLEY_VERSION / 10000,
                                     PARLEY_VERSION / 100 % 100, PARLEY_VERSION % 100));
    add_transfer(all);
    add_messages(all);
    add_look(all);
    add_bench(all);
    add_care(all);
    add_calls(all);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? tool::ok : tool::wrong_usage;
    }
    tool::catch_signals();
    try {
        for (const auto& [command, run] : all.all) {
            if (command->parsed()) return run();
        }
        return tool::wrong_usage;
    } catch (const std::exception& e) {  // no memory; a stdout that cannot be written
        return tool::fail(tool::file_failed, e.what());
    }
}
