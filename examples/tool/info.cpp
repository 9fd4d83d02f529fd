// SPDX-License-Identifier: MIT
// parley info: what an address means and who is there, without taking part.
#include "sockets.hpp"
#include "tool.hpp"
#include "transports_list.hpp"

#include <parley/channel.hpp>
#include <parley/shm/inspect.hpp>
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
#include <parley/transport/snapshot.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>
#include <parley/transport/uds.hpp>

#include <limits>

namespace tool {
namespace {

void line(std::string_view what, std::string_view words) { fmt::print("{:<12} {}\n", what, words); }

std::string many(std::size_t n) {
    return n >= std::numeric_limits<std::uint32_t>::max() ? "any number" : fmt::format("{}", n);
}

void print_limits(const parley::limits& l) {
    line("message", fmt::format("up to {} bytes ({})", l.message_bytes_max,
                                human_bytes(static_cast<double>(l.message_bytes_max))));
    line("senders", fmt::format("{} at once{}", many(l.writers_max),
                                l.successors ? "; others may come after an end" : ""));
    line("in place", l.in_place ? "yes: a loan is the memory that the receiver sees"
                                : "no: messages are copied by the kernel");
    line("lossy", l.lossy ? "yes: what was lost or replaced is counted" : "no");
    if (l.persistent) line("persistent", "yes: messages wait when both ends are gone");
    if (l.spoilable)
        line("spoilable", "yes: a process killed in the middle of a change ends it for all");
    line("peer loss", l.reports_peer_loss ? "reported" : "not noticed");
}

/// What limits() says at a receiver with these options: one is made under another name, or none.
template <class Address>
int print_limits_of(const Address& nameless) {
    parley::diagnostics why;
    if constexpr (parley::pairing_transport<Address>) {
        if (auto both = parley::make_channel<std::vector<std::byte>>(nameless, &why)) {
            print_limits(both->rx.limits());
            return ok;
        }
    }
    return fail(cannot_open, why.text());
}

int about(const parley::shm& at) {
    if (at.name.empty()) {
        line("owner", "none: a sealed memfd, made by make_channel");
        return print_limits_of(at);
    }
    const parley::detail::segment_name file{at.with.directory, at.name, {}};
    parley::diagnostics why;
    if (auto good = file.check(why); !good) return fail_to_open(good.error(), why);
    line("file", file.path());
    const auto seen = parley::segment_report::of(file.path(), why);
    if (!seen && seen.error() == parley::errc::not_found) {
        line("state", "nobody: no receiver was opened here, or it closed");
        parley::shm other = at;
        other.name.clear();
        return print_limits_of(other);
    }
    if (!seen) return fail_to_open(seen.error(), why);
    line("state", seen->alive ? "live"
                              : "stale: its owner is dead; the next receiver takes it "
                                "over, or `parley clean` removes it");
    line("owner", fmt::format("process {}{} of user {}, mode {:04o}", seen->owner_pid,
                              seen->same_namespace ? "" : " (of another PID namespace)",
                              seen->owner_uid, seen->mode));
    line("type", fmt::format("{}  (fingerprint {:016x})", seen->type, seen->fingerprint));
    std::string who;
    for (const auto pid : seen->writers) who += fmt::format("{}{}", who.empty() ? ": " : ", ", pid);
    line("lanes", fmt::format("{} of {} in use{}", seen->writers.size(), seen->writers_max, who));
    line("memory", fmt::format("{} for each lane, {} taken now",
                               human_bytes(static_cast<double>(seen->capacity_bytes)),
                               human_bytes(static_cast<double>(seen->memory_bytes))));
    if (seen->chunks != 0) {
        line("chunks", fmt::format("{} for each publisher, of {}", seen->chunks,
                                   human_bytes(static_cast<double>(seen->message_bytes_max))));
    }
    parley::limits l{.message_bytes_max = seen->message_bytes_max,
                     .writers_max = seen->writers_max,
                     .in_place = true,
                     .successors = true};
    print_limits(l);
    return ok;
}

std::string state_of(const std::string& path, const socket_report*& owner,
                     const std::vector<socket_report>& all) {
    struct stat s {};
    if (::lstat(path.c_str(), &s) != 0) return "nobody: no receiver was opened here, or it closed";
    if (!S_ISSOCK(s.st_mode)) return "a file that is no socket stands here; it is left alone";
    for (const auto& one : all) {
        if (one.inode == s.st_ino) owner = &one;
    }
    if (owner != nullptr) return "live";
    parley::diagnostics ignored;
    const parley::detail::socket_path split(path);
    const auto d = split.open_directory(O_PATH, ignored);
    if (!d) return ignored.text();
    switch (parley::detail::who_is_at(d->get(), split.file.c_str(), split.name(d->get()))) {
        case parley::detail::occupant::dead:
            return "stale: its owner is dead; the next receiver takes it over";
        case parley::detail::occupant::forbidden: return "a socket that this user may not use";
        default: return "live, and not of parley (or of another network namespace)";
    }
}

int about(const parley::uds& at) {
    if (at.name.empty()) {
        line("owner", "none: a pair of sockets, made by make_channel");
    } else if (at.name.front() == '@') {
        line("state", "an abstract name: it lives exactly as long as its receiver");
    } else {
        const auto all = live_sockets();
        const socket_report* owner = nullptr;
        line("file", at.name);
        line("state", state_of(at.name, owner, all));
        if (owner != nullptr) {
            line("owner",
                 fmt::format("process {} of user {}",
                             owner->owner_pid == 0 ? "?" : std::to_string(owner->owner_pid),
                             owner->owner_uid));
            line("kind", owner->kind);
            line("type", owner->type);
        }
    }
    parley::uds other = at;
    other.name = fmt::format("@parley-info-{}", ::getpid());
    other.fd = -1;
    parley::diagnostics why;
    auto in = parley::open_receiver<parley::any_message>(other, parley::expired, &why);
    if (!in) return fail_to_open(in.error(), why);
    print_limits(in->limits());
    return ok;
}

int about(const parley::tcp& at) {
    using namespace std::chrono_literals;
    parley::diagnostics why;
    parley::detail::host_port where;
    (void)where.assign(at.at);  // it was parsed
    if (where.port == 0) {
        line("state", "a free port, which the receiver chooses and its address() tells");
    } else {
        const auto all = parley::detail::resolve(where, false, why);
        if (!all) return fail_to_open(all.error(), why);
        // A connection that says nothing is nobody to a receiver.
        const auto met = parley::detail::reach(*all, at.at, {}, parley::clock::now() + 500ms, why);
        line("state", met ? "somebody listens there" : why.text());
    }
    parley::tcp other = at;
    other.at = "127.0.0.1:0";
    auto in = parley::open_receiver<parley::any_message>(other, parley::expired, &why);
    if (!in) return fail_to_open(in.error(), why);
    print_limits(in->limits());
    return ok;
}

int about(const parley::udp& at) {
    parley::diagnostics why;
    const parley::udp named = at.delivered({});
    auto seen = parley::open_receiver<parley::any_message>(named, parley::expired, &why);
    if (seen) {
        line("state", "nobody receives there, as far as this host can tell");
    } else {
        line("state",
             seen.error() == parley::errc::in_use ? "somebody receives there" : why.text());
    }
    if (!at.delivery) line("guarantee", "none: an end opens only with ?delivery=at_most_once");
    if (!seen) {
        parley::udp other = named;
        other.at = "127.0.0.1:0";
        seen = parley::open_receiver<parley::any_message>(other, parley::expired, &why);
        if (!seen) return fail_to_open(seen.error(), why);
    }
    print_limits(seen->limits());
    return ok;
}

int about(const parley::udp_multicast& at) {
    parley::diagnostics why;
    const auto member =
        parley::open_receiver<parley::any_message>(at.delivered({}), parley::expired, &why);
    if (!member) return fail_to_open(member.error(), why);
    line("state", "this host can be a member; who else is, nobody knows");
    if (!at.delivery) line("guarantee", "none: an end opens only with ?delivery=at_most_once");
    print_limits(member->limits());
    return ok;
}

/// TLS lies over tcp, and what can be seen without a certificate is that.
template <class Tls>
requires requires(const Tls& at) { at.with.tcp; }
int about(const Tls& at) { return about(parley::tcp(at.at, at.with.tcp)); }

int about(const parley::pipe& at) {
    line("owner", "none: a pipe of the kernel, inherited or made by make_channel");
    parley::pipe other = at;
    other.fd = -1;
    return print_limits_of(other);
}

int about(const parley::fifo& at) {
    using parley::detail::occupant;
    parley::diagnostics why;
    const parley::detail::socket_path split(at.path);
    const auto d = split.open_directory(O_PATH, why);
    if (!d) return fail(cannot_open, why.text());
    const auto there = parley::detail::who_reads_at(d->get(), split.file.c_str());
    line("file", at.path);
    line("state", there == occupant::live        ? "live: somebody reads the pipe"
                  : there == occupant::dead      ? "stale: nobody reads the pipe; the next "
                                                   "receiver replaces it"
                  : there == occupant::nobody    ? "nobody: no receiver was opened here, or it "
                                                   "closed"
                  : there == occupant::no_socket ? "a file that is no pipe stands here; it is left "
                                                   "alone"
                                                 : "a pipe that this user may not use");
    print_limits({.message_bytes_max = at.with.message_bytes_max,
                  .writers_max = at.with.writers_max,
                  .successors = true});
    return ok;
}

int about(const parley::inproc& at) {
    line("owner", "this name is known to its own process only; nothing can be seen from here");
    return print_limits_of(at);
}

int about(const parley::signals& at) {
    parley::diagnostics why;
    const auto seen = at.look(why);
    if (!seen && seen.error() == parley::errc::not_found) {
        line("state", "nobody: no receiver was opened here, or it closed");
        print_limits({.message_bytes_max = at.with.message_bytes_max,
                      .writers_max = at.with.writers_max,
                      .successors = true});
        return ok;
    }
    if (!seen) return fail_to_open(seen.error(), why);
    line("state",
         seen->alive ? "live" : "stale: its owner is dead; the next receiver takes it over");
    line("owner", fmt::format("process {} of user {}", seen->owner_pid, seen->owner_uid));
    line("type", seen->type);
    line("numbers", fmt::format("{}, {} bytes of payload each", fmt::join(seen->numbers, ", "),
                                seen->payload_bytes));
    line("lanes", fmt::format("{} of {} senders: {}", seen->writers.size(),
                              seen->limits.writers_max, fmt::join(seen->writers, ", ")));
    print_limits(seen->limits);
    return ok;
}

/// A queue of the kernel. One that is not there is not made.
template <class Address>
requires requires(const Address& at, parley::diagnostics& why) { at.look(why); }
int about(const Address& at) {
    parley::diagnostics why;
    const auto seen = at.look(why);
    if (!seen && seen.error() == parley::errc::not_found) {
        line("state", "no queue: whoever opens it first makes it");
        return ok;
    }
    if (!seen) return fail_to_open(seen.error(), why);
    if (seen->spoiled) line("spoiled", why.text());
    line("state", fmt::format("{}, {}", seen->receiver ? "a receiver is there" : "no receiver",
                              seen->sender ? "senders are there" : "no sender"));
    line("owner", fmt::format("user {}, mode {:04o}", seen->owner_uid, seen->mode));
    if (seen->key != 0) line("key", fmt::format("0x{:08x}, for msgget and ipcs", seen->key));
    line("waiting", seen->messages_max > 0
                        ? fmt::format("{} of {} messages", seen->messages, seen->messages_max)
                        : fmt::format("{} messages, {} of {} bytes", seen->messages, seen->bytes,
                                      seen->bytes_max));
    line("shape",
         fmt::format("messages of up to {} bytes, headers included", seen->message_bytes_max));
    line("removal", fmt::format("parley clean {}", at.to_uri().text()));
    print_limits(seen->limits);
    return ok;
}

/// What is stored in files. It is looked at, never made, and not taken part in.
template <class Address>
requires requires(const Address& at, parley::diagnostics& why) { at.report(why); }
int about(const Address& at) {
    parley::diagnostics why;
    const auto seen = at.report(why);
    if (!seen && seen.error() == parley::errc::not_found) {
        line("state", "nothing: whoever opens it first makes it");
        return ok;
    }
    if (!seen) return fail_to_open(seen.error(), why);
    line("state", fmt::format("{}, {}", seen->receiver ? "a receiver is there" : "no receiver",
                              seen->sender ? "a sender is there" : "no sender"));
    if (!seen->type.empty()) line("type", seen->type);
    line("owner", fmt::format("user {}, mode {:04o}", seen->owner_uid, seen->mode));
    line("holds", seen->holds);
    line("removal", fmt::format("parley clean {}", at.to_uri().text()));
    print_limits(seen->limits);
    return ok;
}

template <class Address>
int info(const std::string& address) {
    parley::diagnostics why;
    const auto at = Address::from(parley::uri{address}, why);
    if (!at) return fail_to_open(at.error(), why);
    line("address", at->to_uri().text());
    return about(*at);
}

}  // namespace

int run_info(const info_options& o) {
    const std::string& address = o.address;
    const parley::uri at{address};
    const auto scheme = at.scheme();
    if (scheme == parley::shm::scheme) return info<parley::shm>(address);
    if (scheme == parley::uds::scheme) return info<parley::uds>(address);
    if (scheme == parley::tcp::scheme) return info<parley::tcp>(address);
    if constexpr (!std::is_void_v<tls>) {
        if (scheme == "tls") return info<tls>(address);
    }
    if (scheme == parley::udp::scheme) return info<parley::udp>(address);
    if (scheme == parley::udp_multicast::scheme) return info<parley::udp_multicast>(address);
    if (scheme == parley::pipe::scheme) return info<parley::pipe>(address);
    if (scheme == parley::fifo::scheme) return info<parley::fifo>(address);
    if (scheme == parley::inproc::scheme) return info<parley::inproc>(address);
    if (scheme == parley::mq::scheme) return info<parley::mq>(address);
    if (scheme == parley::sysv::scheme) return info<parley::sysv>(address);
    if (scheme == parley::boost_mq::scheme) return info<parley::boost_mq>(address);
    if (scheme == parley::signals::scheme) return info<parley::signals>(address);
    if (scheme == parley::file::scheme) return info<parley::file>(address);
    if (scheme == parley::mmap::scheme) return info<parley::mmap>(address);
    if (scheme == parley::snapshot::scheme) return info<parley::snapshot>(address);
    if (scheme == parley::maildir::scheme) return info<parley::maildir>(address);
    return fail(
        wrong_usage,
        fmt::format("address '{}', position 0: wants shm:, unix:, tcp:, tls:, udp:, "
                    "udp_multicast:, pipe:, fifo:, inproc:, mq:, sysv:, boost_mq:, signals:, "
                    "file:, mmap:, snapshot: or maildir:",
                    address));
}

}  // namespace tool
