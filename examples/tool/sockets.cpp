// SPDX-License-Identifier: MIT
#include "sockets.hpp"

#include <parley/transport/uds_name.hpp>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <system_error>

namespace tool {
namespace {

namespace fs = std::filesystem;

/// A listening (or datagram) socket as sock_diag(7) shows it; `bound` is the name it was bound to,
/// see transport/uds_address.hpp: it tells the type.
struct raw_socket {
    int type = 0;
    std::uint32_t inode = 0, vfs_inode = 0, vfs_device = 0, uid = 0;
    std::string bound;
};

raw_socket read_attributes(const nlmsghdr& h) {
    raw_socket out;
    const auto* body = static_cast<const unix_diag_msg*>(NLMSG_DATA(&h));
    out.type = body->udiag_type;
    out.inode = body->udiag_ino;
    const auto* a = reinterpret_cast<const rtattr*>(body + 1);
    auto left = static_cast<std::uint32_t>(h.nlmsg_len - NLMSG_LENGTH(sizeof *body));
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
        const auto* data = static_cast<const char*>(RTA_DATA(a));
        if (a->rta_type == UNIX_DIAG_NAME) {
            out.bound.assign(data, ::strnlen(data, RTA_PAYLOAD(a)));
        } else if (a->rta_type == UNIX_DIAG_VFS) {
            unix_diag_vfs vfs{};
            std::memcpy(&vfs, data, std::min<std::size_t>(sizeof vfs, RTA_PAYLOAD(a)));
            out.vfs_inode = vfs.udiag_vfs_ino;
            out.vfs_device = vfs.udiag_vfs_dev;
        } else if (a->rta_type == UNIX_DIAG_UID) {
            std::memcpy(&out.uid, data, std::min<std::size_t>(sizeof out.uid, RTA_PAYLOAD(a)));
        }
    }
    return out;
}

/// False at the end of the answer, or on an error.
bool read_answer(int fd, std::vector<raw_socket>& all) {
    alignas(nlmsghdr) char buffer[32768];
    const auto n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n <= 0) return false;
    auto left = static_cast<std::uint32_t>(n);
    for (const auto* h = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(h, left);
         h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY) return false;
        all.push_back(read_attributes(*h));
    }
    return true;
}

std::vector<raw_socket> ask_the_kernel() {
    std::vector<raw_socket> all;
    const parley::detail::unique_fd fd(
        ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!fd) return all;
    struct {
        nlmsghdr header;
        unix_diag_req body;
    } question{};
    question.header.nlmsg_len = sizeof question;
    question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    question.body.sdiag_family = AF_UNIX;
    question.body.udiag_states = ~0U;
    question.body.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_UID;
    if (::send(fd.get(), &question, sizeof question, 0) != sizeof question) return all;
    while (read_answer(fd.get(), all)) {
    }
    return all;
}

/// Which process holds which of these sockets, and the directory that it holds open as descriptor
/// `n` (a receiver keeps the directory of its name open).
std::uint32_t holder_of(std::uint32_t inode) {
    const std::string wanted = "socket:[" + std::to_string(inode) + "]";
    std::error_code ec;
    for (fs::directory_iterator p("/proc", ec), end; !ec && p != end; p.increment(ec)) {
        const std::string name = p->path().filename().string();
        std::uint32_t pid = 0;
        if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr !=
            name.data() + name.size()) {
            continue;
        }
        std::error_code ignored;
        for (fs::directory_iterator f(p->path() / "fd", ignored), last; !ignored && f != last;
             f.increment(ignored)) {
            std::error_code unreadable;
            if (fs::read_symlink(f->path(), unreadable).string() == wanted) return pid;
        }
    }
    return 0;
}

/// The directory in which the socket was bound, from "/proc/self/fd/5/.parley-…" and its holder.
std::string directory_of(const std::string& bound, std::uint32_t pid) {
    constexpr std::string_view own = "/proc/self/";
    const std::string directory = bound.substr(0, bound.rfind('/'));
    if (!directory.starts_with(own)) return directory;
    std::error_code ec;
    const auto target =
        fs::read_symlink("/proc/" + std::to_string(pid) + '/' + directory.substr(own.size()), ec);
    return ec ? std::string() : target.string();
}

/// The name in a directory that means this inode.
std::string name_of(const std::string& directory, std::uint64_t inode) {
    std::error_code ec;
    for (fs::directory_iterator e(directory, ec), end; !ec && e != end; e.increment(ec)) {
        struct stat s {};
        if (::lstat(e->path().c_str(), &s) == 0 && S_ISSOCK(s.st_mode) && s.st_ino == inode) {
            return e->path().string();
        }
    }
    return {};
}

/// What stands behind the mark in the name, or nothing if it is no name of ours.
std::string type_from(const std::string& bound) {
    const auto at = bound.rfind(parley::detail::temporary_prefix);
    if (at == std::string::npos) return {};
    const std::string_view rest =
        std::string_view(bound).substr(at + parley::detail::temporary_prefix.size());
    if (rest.starts_with(parley::detail::typeless)) return "bare bytes (frame=none)";
    std::string type(rest.size() > 26 ? rest.substr(26) : std::string_view("?"));
    std::replace(type.begin(), type.end(), '|', '/');
    return type;
}

}  // namespace

std::vector<socket_report> live_sockets() {
    std::vector<socket_report> found;
    for (const raw_socket& s : ask_the_kernel()) {
        socket_report r;
        r.type = type_from(s.bound);
        if (r.type.empty() || s.vfs_inode == 0) continue;
        r.kind = s.type == SOCK_STREAM ? "stream" : s.type == SOCK_DGRAM ? "datagram" : "seqpacket";
        r.inode = s.vfs_inode;
        r.device = s.vfs_device;
        r.socket_inode = s.inode;
        r.owner_uid = s.uid;
        // Accepted connections share the listener's name; only the one that was bound counts.
        const auto same = [&](const socket_report& o) {
            return o.inode == r.inode && o.device == r.device;
        };
        if (std::any_of(found.begin(), found.end(), same)) continue;
        r.owner_pid = holder_of(s.inode);
        const std::string directory = directory_of(s.bound, r.owner_pid);
        if (!directory.empty()) r.path = name_of(directory, r.inode);
        found.push_back(std::move(r));
    }
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.path < b.path; });
    return found;
}

std::vector<std::string> dead_sockets(const std::string& directory) {
    std::vector<std::string> found;
    const parley::detail::unique_fd d(
        ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::error_code ec;
    for (fs::directory_iterator e(directory, ec), end; d && !ec && e != end; e.increment(ec)) {
        std::error_code unreadable;
        if (fs::symlink_status(e->path(), unreadable).type() != fs::file_type::socket) continue;
        const std::string file = e->path().filename().string();
        parley::detail::socket_name name;
        if (name.assign(parley::detail::socket_path::through(d.get(), file)) &&
            parley::detail::who_is_at(d.get(), file.c_str(), name) ==
                parley::detail::occupant::dead) {
            found.push_back(e->path().string());
        }
    }
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace tool
