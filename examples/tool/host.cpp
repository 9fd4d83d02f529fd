// SPDX-License-Identifier: MIT
// What parley doctor asks the host.
#include "doctor.hpp"

#include <linux/membarrier.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

namespace tool {
namespace {

std::optional<std::uint64_t> number_in(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_of("0123456789"), text.size()));
    std::uint64_t n = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), n).ec != std::errc()) return {};
    return n;
}
std::optional<std::uint64_t> setting(const std::string& path) { return number_in(text_of(path)); }

std::string human(std::uint64_t n) { return human_bytes(static_cast<double>(n)); }

/// The value behind `name` in a file of lines "name: value".
std::string line_of(const std::string& path, const std::string& name) {
    const std::string text = '\n' + text_of(path);
    const auto at = text.find('\n' + name);
    if (at == std::string::npos) return {};
    const auto from = at + 1 + name.size();
    return text.substr(from, text.find('\n', from) - from);
}

// --- memory ------------------------------------------------------------------------------------

/// What one lane takes by default, with the pages in front of it.
constexpr std::uint64_t lane_bytes = (4U << 20) + (64U << 10);

void examine_memory(const std::string& directory, findings& all) {
    struct statvfs s {};
    if (::statvfs(directory.c_str(), &s) != 0) {
        all.push_back({verdict::wrong, "memory", directory,
                       fmt::format("{}: no segment can be made here", strerror(errno)),
                       "mount -t tmpfs tmpfs " + quoted(directory)});
        return;
    }
    const std::uint64_t size = std::uint64_t{s.f_blocks} * s.f_frsize;
    const std::uint64_t left = std::uint64_t{s.f_bavail} * s.f_frsize;
    struct statfs kind {};
    constexpr long tmpfs = 0x01021994;
    const bool in_memory = ::statfs(directory.c_str(), &kind) == 0 && kind.f_type == tmpfs;
    const std::string what = fmt::format("{}, {} of {} left", directory, human(left), human(size));
    const std::string larger =
        directory == "/dev/shm"
            ? "mount -o remount,size=1G /dev/shm   # of a container: docker run --shm-size=1g"
            : "mount -o remount,size=1G " + quoted(directory);
    if (::access(directory.c_str(), W_OK | X_OK) != 0) {
        all.push_back({verdict::wrong, "memory", what, "this user may not make a file there",
                       "chmod 1777 " + quoted(directory)});
    } else if (s.f_files > 0 && s.f_favail == 0) {
        all.push_back({verdict::wrong, "memory", what, "no inode is left: no segment can be made",
                       "mount -o remount,nr_inodes=0 " + quoted(directory)});
    } else if (left < lane_bytes) {
        all.push_back({verdict::wrong, "memory", what,
                       "a lane takes 4 MiB unless ?capacity_bytes= says less: the next sender gets "
                       "out_of_resources",
                       larger});
    } else if (!in_memory) {
        all.push_back({verdict::note, "memory", what,
                       "this is no memory file system: segments work, the kernel writes them to "
                       "the disk now and then",
                       ""});
    } else if (size <= (64U << 20)) {
        all.push_back(
            {verdict::note, "memory", what,
             fmt::format("as small as in a container: room for {} more lanes", left / lane_bytes),
             larger});
    } else {
        all.push_back({verdict::good, "memory", what,
                       fmt::format("room for {} more lanes", left / lane_bytes), ""});
    }
}

/// The last word on RemoveIPC= in logind's files; what logind does without a word is yes.
bool logind_removes(std::string& where) {
    bool removes = true;
    where = "by default";
    std::vector<std::string> files;
    for (const auto* place : {"/usr/lib/systemd", "/run/systemd", "/etc/systemd"}) {
        files.push_back(std::string(place) + "/logind.conf");
        for (const auto& name : names_in(std::string(place) + "/logind.conf.d", "")) {
            files.push_back(std::string(place) + "/logind.conf.d/" + name);
        }
    }
    for (const auto& file : files) {
        std::string value = line_of(file, "RemoveIPC=");
        if (value.empty()) continue;
        removes = value != "no" && value != "false" && value != "0" && value != "off";
        where = "by " + file;
    }
    return removes;
}

void examine_logout(const survey& all, findings& out) {
    constexpr std::uint32_t first_user = 1000;
    if (::access("/run/systemd/system", F_OK) != 0) {
        out.push_back({verdict::good, "remove_ipc", "systemd", "it does not run here", ""});
        return;
    }
    std::string where;
    if (!logind_removes(where)) {
        out.push_back({verdict::good, "remove_ipc", "systemd", "RemoveIPC=no " + where, ""});
        return;
    }
    // Only what a person owns goes; a system user's stays.
    const bool person = std::any_of(all.begin(), all.end(), [](const channel_seen& row) {
        return row.owner_uid >= first_user && row.owner_uid != 65534 && row.state == "live" &&
               (row.path.starts_with("/dev/shm/") || row.address.starts_with("mq:") ||
                row.address.starts_with("sysv:"));
    });
    out.push_back(
        {person ? verdict::wrong : verdict::note, "remove_ipc", "systemd",
         fmt::format("RemoveIPC=yes {}: at the logout of a user with a number from {} on, its "
                     "segments and queues are deleted under its running programs{}",
                     where, first_user, person ? ", and there are such" : ""),
         "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' > "
         "/etc/systemd/logind.conf.d/parley.conf && systemctl restart systemd-logind"});
}

// --- limits ------------------------------------------------------------------------------------

void examine_limits(findings& all) {
    rlimit r{};
    if (::getrlimit(RLIMIT_NOFILE, &r) == 0) {
        const bool few = r.rlim_cur < 256;
        all.push_back({few ? verdict::wrong : verdict::good, "descriptors",
                       fmt::format("ulimit -n: {}", r.rlim_cur),
                       few ? "a receiver on sockets takes one for each sender, a pollable end five"
                           : "descriptors for each process",
                       few ? "ulimit -n 4096" : ""});
    }
    if (::getrlimit(RLIMIT_MEMLOCK, &r) == 0) {
        const bool any = r.rlim_cur == RLIM_INFINITY;
        const bool few = !any && r.rlim_cur < lane_bytes;
        all.push_back({few ? verdict::note : verdict::good, "memlock",
                       "ulimit -l: " + (any ? std::string("unlimited") : human(r.rlim_cur)),
                       few ? "less than a lane: a program that locks its memory (mlockall) fails"
                           : "memory that may be locked",
                       few ? "ulimit -l unlimited" : ""});
    }
    // "used/limit", of all processes of this user.
    const std::string queued = line_of("/proc/self/status", "SigQ:");
    const auto used = number_in(queued);
    const auto slash = std::min(queued.find('/'), queued.size());
    const auto most = number_in(queued.substr(slash));
    if (!used || !most) return;
    const bool full = *used * 10 >= *most * 9;
    all.push_back({full ? verdict::wrong : verdict::good, "signals",
                   fmt::format("ulimit -i: {} of {} signals wait", *used, *most),
                   full ? "signals:// and ?bell=signal find no room: senders wait"
                        : "signals that may wait for all processes of a user",
                   full ? "ulimit -i 65536" : ""});
}

void examine_queues(findings& all) {
    const std::string place = "/proc/sys/fs/mqueue/";
    const auto queues = setting(place + "queues_max"), messages = setting(place + "msg_max");
    if (!queues || !messages) {
        all.push_back(
            {verdict::note, "mq", "POSIX queues", "this kernel has none: mq:// fails", ""});
    } else {
        constexpr long mqueue = 0x19800202;  // without it nobody can count them
        struct statfs mounted {};
        const bool seen = ::statfs("/dev/mqueue", &mounted) == 0 && mounted.f_type == mqueue;
        const auto there = names_in("/dev/mqueue", "").size();
        const bool full = seen && there >= *queues;
        all.push_back(
            {full ? verdict::wrong : verdict::good, "mq",
             fmt::format("{} of {} POSIX queues, of at most {} messages",
                         seen ? std::to_string(there) : "unknown", *queues, *messages),
             full ? "no further mq:// can be made"
                  : "root may make more and longer ones (sysctl fs.mqueue)",
             full ? fmt::format("sysctl -w fs.mqueue.queues_max={}", *queues * 2 + 256) : ""});
    }
    const auto most = setting("/proc/sys/kernel/msgmni"),
               bytes = setting("/proc/sys/kernel/msgmnb");
    if (!most || !bytes) {
        all.push_back({verdict::note, "sysv", "System V queues", "this kernel has none", ""});
        return;
    }
    const std::string table = text_of("/proc/sysvipc/msg");  // with a line of titles
    const auto there = static_cast<std::uint64_t>(std::count(table.begin(), table.end(), '\n'));
    const bool full = there >= *most;
    all.push_back({full ? verdict::wrong : verdict::good, "sysv",
                   fmt::format("{} of {} System V queues, of {} each", there, *most, human(*bytes)),
                   full ? "no further sysv:// can be made" : "queues and their bytes",
                   full ? fmt::format("sysctl -w kernel.msgmni={}", *most * 2 + 32) : ""});
}

// --- what can be seen from here ----------------------------------------------------------------

/// Which processes live in another namespace of this kind than this one.
std::size_t elsewhere(const char* kind) {
    const auto own = parley::detail::namespace_id(kind);
    std::size_t n = 0;
    for (const auto& pid : names_in("/proc", "")) {
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        struct stat s {};
        if (::stat(fmt::format("/proc/{}/ns/{}", pid, kind).c_str(), &s) == 0 && s.st_ino != own) {
            ++n;
        }
    }
    return n;
}

void examine_namespaces(findings& all) {
    struct kind {
        const char* name;
        const char* words;
        const char* unseen;
    };
    for (const auto& [name, words, unseen] :
         {kind{"pid", "PID", "pidfds and process numbers mean nothing between them and us"},
          kind{"net", "network",
               "unix://@abstract, loopback and pollable shm ends do not reach them; unix:///path "
               "does, in a shared directory"},
          kind{"ipc", "IPC",
               "sysv:// and mq:// do not reach them; shm:// does, in a shared directory"},
          kind{"mnt", "mount", "paths may mean other files to them"}}) {
        const auto id = parley::detail::namespace_id(name);
        const auto n = elsewhere(name);
        all.push_back({n > 0 ? verdict::note : verdict::good, fmt::format("{}_namespace", name),
                       fmt::format("{} namespace {}", words, id),
                       n > 0 ? fmt::format("{} processes live in others: {}", n, unseen)
                             : std::string("every process that is seen from here shares it"),
                       n > 0 ? "share one directory: shm://x?directory=/run/parley, "
                               "unix:///run/parley/x"
                             : ""});
    }
}

void examine_kernel(findings& all) {
    const auto barriers = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0U, 0);
    const bool fast = barriers > 0 && (barriers & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
    all.push_back(
        {fast ? verdict::good : verdict::note, "membarrier", "membarrier(2)",
         fast ? "the sending side of shared memory needs no fence"
              : "not here, or forbidden by a filter: each message over shm costs a fence",
         fast ? "" : "let the filter pass membarrier: docker run --security-opt seccomp=…"});
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U));
    if (fd >= 0) ::close(fd);
    all.push_back({fd >= 0 ? verdict::good : verdict::note, "pidfd", "pidfd_open(2)",
                   fd >= 0 ? "the death of a peer is told at once"
                           : "not here: the death of a peer is seen within 50 ms, by its lock",
                   ""});
    const auto yama = setting("/proc/sys/kernel/yama/ptrace_scope").value_or(0);
    all.push_back({yama >= 2 ? verdict::note : verdict::good, "yama",
                   fmt::format("kernel.yama.ptrace_scope={}", yama),
                   yama >= 2 ? "pidfd_getfd is root's: descriptors travel over sockets only"
                             : "descriptors may be taken by pidfd_getfd as ptrace permits",
                   yama >= 2 ? "sysctl -w kernel.yama.ptrace_scope=1" : ""});
}

void examine_network(findings& all) {
    const std::string range = text_of("/proc/sys/net/ipv4/ip_local_port_range");
    const auto first = number_in(range);
    const auto tab = range.find_first_of(" \t");
    const auto last = number_in(range.substr(std::min(tab, range.size())));
    if (first && last) {
        const bool few = *last < *first + 1000;
        all.push_back({few ? verdict::wrong : verdict::good, "ports",
                       fmt::format("net.ipv4.ip_local_port_range={}-{}", *first, *last),
                       few ? "few ports for tcp:// and udp:// senders and for receivers at port 0"
                           : "ports that the kernel chooses from",
                       few ? "sysctl -w net.ipv4.ip_local_port_range='32768 60999'" : ""});
    }
    const parley::detail::unique_fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq ask{};
    std::strcpy(ask.ifr_name, "lo");
    const bool up = s && ::ioctl(s.get(), SIOCGIFFLAGS, &ask) == 0 && (ask.ifr_flags & IFF_UP) != 0;
    all.push_back({up ? verdict::good : verdict::wrong, "loopback", "the interface lo",
                   up ? "it is up" : "it is down: tcp:// and udp:// to this host fail",
                   up ? "" : "ip link set lo up"});
    const auto room = setting("/proc/sys/net/core/wmem_max");
    if (!room) return;
    const bool small = *room < (208U << 10);
    all.push_back({small ? verdict::note : verdict::good, "socket_buffers",
                   "net.core.wmem_max=" + std::to_string(*room),
                   small ? "packets of unix sockets are limited to it" : "what packets may be long",
                   small ? "sysctl -w net.core.wmem_max=212992" : ""});
}

}  // namespace

void examine_host(const survey& all, const std::vector<std::string>& directories, findings& out) {
    std::set<std::string> where{"/dev/shm"};
    where.insert(directories.begin(), directories.end());
    for (const auto& directory : where) examine_memory(directory, out);
    examine_logout(all, out);
    examine_limits(out);
    examine_queues(out);
    examine_namespaces(out);
    examine_kernel(out);
    examine_network(out);
}

}  // namespace tool
