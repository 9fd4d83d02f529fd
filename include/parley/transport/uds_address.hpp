// SPDX-License-Identifier: MIT
// Names of Unix domain sockets: what fits into the kernel's address, what stands behind a name,
// and the message type that a receiver's name tells to whoever connects.
//
// A receiver binds its socket to a temporary name beside the final one and renames it when it is
// ready. The kernel goes on to call the socket by the name it was bound to, so a connected sender
// reads with getpeername(2), before it sent a byte and while the receiver sleeps:
//
//     /proc/self/fd/5/.parley-00c0ffee00c0ffee-1a2b3c4d raw {u32 @0, f64 @8} 16|8
//                             fingerprint      random   description, shortened, '/' as '|'
#pragma once

#include <parley/base/peer.hpp>
#include <parley/base/type.hpp>
#include <parley/detail/posix.hpp>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace detail {

/// The three kinds of Unix domain sockets.
enum class socket_kind : std::uint8_t {
    stream,     ///< bytes in order; messages of any length
    seqpacket,  ///< one packet per message, a connection per sender
    datagram,   ///< one packet per message, one socket for all senders
};

[[nodiscard]] constexpr int kernel_type(socket_kind k) noexcept {
    return k == socket_kind::stream      ? SOCK_STREAM
           : k == socket_kind::seqpacket ? SOCK_SEQPACKET
                                         : SOCK_DGRAM;
}
[[nodiscard]] constexpr std::string_view to_text(socket_kind k) noexcept {
    return k == socket_kind::stream      ? "stream"
           : k == socket_kind::seqpacket ? "seqpacket"
                                         : "datagram";
}

/// A name in the kernel's form: "@x" is the abstract name x.
struct socket_name {
    static constexpr std::size_t bytes_max = sizeof(sockaddr_un::sun_path) - 1;

    sockaddr_un at{};
    socklen_t length = 0;

    /// False if it is too long.
    [[nodiscard]] bool assign(std::string_view name) noexcept {
        if (name.empty() || name.size() > bytes_max) return false;
        at.sun_family = AF_UNIX;
        std::memcpy(at.sun_path, name.data(), name.size());
        at.sun_path[name.size()] = '\0';
        const bool abstract = name.front() == '@';
        if (abstract) at.sun_path[0] = '\0';
        length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() +
                                        (abstract ? 0 : 1));
        return true;
    }
    [[nodiscard]] const sockaddr* get() const noexcept {
        return reinterpret_cast<const sockaddr*>(&at);
    }
};

/// A path, split where the directory ends.
struct socket_path {
    std::string whole, directory, file;

    explicit socket_path(std::string path) : whole(std::move(path)) {
        const auto slash = whole.rfind('/');
        if (slash == std::string::npos) {
            directory = ".";
            file = whole;
        } else {
            directory = slash == 0 ? "/" : whole.substr(0, slash);
            file = whole.substr(slash + 1);
        }
    }

    /// The longest last component; the directory may be as long as the system allows.
    static constexpr std::size_t file_bytes_max = 80;

    [[nodiscard]] result<void> check(diagnostics& why) const {
        if (file.empty() || file == "." || file == "..") {
            return why.fail(errc::invalid_argument,
                            "'" + whole + "' names no file; wants a path as in /run/app/socket");
        }
        if (file.size() > file_bytes_max && whole.size() > socket_name::bytes_max) {
            return why.fail(errc::invalid_argument,
                            "the name '" + file + "' has " + std::to_string(file.size()) +
                                " bytes; the kernel's limit leaves " +
                                std::to_string(file_bytes_max) +
                                " for the last part of a path (the directory may be long), or " +
                                std::to_string(socket_name::bytes_max) + " for the whole path");
        }
        return {};
    }

    /// The kernel's form: the path itself if it fits, else its way through the open directory.
    [[nodiscard]] socket_name name(int directory_fd) const noexcept {
        socket_name n;
        if (!n.assign(whole)) (void)n.assign(through(directory_fd, file));
        return n;
    }
    [[nodiscard]] static std::string through(int directory_fd, std::string_view file) {
        return "/proc/self/fd/" + std::to_string(directory_fd) + "/" + std::string(file);
    }

    /// Opens the directory, `how` being O_RDONLY or O_PATH.
    [[nodiscard]] result<unique_fd> open_directory(int how, diagnostics& why) const {
        unique_fd d(::open(directory.c_str(), how | O_DIRECTORY | O_CLOEXEC));
        if (d) return d;
        const int number = errno;
        std::string text = explain("the directory '" + directory + "' of '" + whole + "'", number);
        if (number == ENOENT) text += "; create it first, parley makes no directories";
        if (number == EACCES) {
            text += how == O_RDONLY ? "; a receiver needs to read, write and search it"
                                    : "; a sender needs to search every directory of the path";
        }
        const error_code ec =
            number == ENOTDIR ? make_error_code(errc::invalid_argument) : from_errno(number);
        return why.fail(ec, std::move(text));
    }
};

/// What stands behind a name.
enum class occupant : std::uint8_t { nobody, live, dead, no_socket, forbidden };

/// Looks without disturbing: a datagram socket that connects to a listener is told that the kinds
/// differ, and leaves no connection behind.
[[nodiscard]] inline occupant who_is_at(int directory_fd, const char* file,
                                        const socket_name& name) noexcept {
    struct stat s {};
    if (::fstatat(directory_fd, file, &s, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? occupant::nobody : occupant::forbidden;
    }
    if (!S_ISSOCK(s.st_mode)) return occupant::no_socket;
    const unique_fd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe || ::connect(probe.get(), name.get(), name.length) == 0) return occupant::live;
    switch (errno) {
        case ECONNREFUSED: return occupant::dead;
        case ENOENT: return occupant::nobody;
        case EACCES:
        case EPERM: return occupant::forbidden;
        default: return occupant::live;
    }
}

/// Who connected, or listens, at the other side of a connected socket.
[[nodiscard]] inline peer_id credentials(int fd) noexcept {
    ucred c{};
    socklen_t n = sizeof c;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) != 0) return {};
    return {c.pid, c.uid, c.gid};
}

/// ", owned by process 17 of user 1000", or nothing if nobody says so.
[[nodiscard]] inline std::string owner_words(const socket_name& name) {
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
        const unique_fd s(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        if (s && ::connect(s.get(), name.get(), name.length) == 0) {
            return ", owned by " + describe(credentials(s.get()));
        }
    }
    return {};
}

inline constexpr std::string_view temporary_prefix = ".parley-";
inline constexpr std::string_view typeless = "none------------";  // in place of a fingerprint

/// The temporary name of a receiver, at most `room` bytes long (at least 40 are needed).
[[nodiscard]] inline std::string temporary_name(const message_type* type, std::uint64_t random,
                                                std::size_t room) {
    char digits[32];
    std::string text(temporary_prefix);
    std::snprintf(digits, sizeof digits, "%016llx",
                  static_cast<unsigned long long>(type != nullptr ? type->fingerprint : 0));
    text += type != nullptr ? std::string_view(digits) : typeless;
    std::snprintf(digits, sizeof digits, "-%08x", static_cast<unsigned>(random));
    text += digits;
    if (type != nullptr && room > text.size() + 1) {
        text += ' ';
        for (const char c : type->description.substr(0, room - text.size())) {
            text += c == '/' ? '|' : static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
        }
    }
    return text;
}

/// What a receiver's name says of its type.
struct told_type {
    enum : std::uint8_t { nothing, frames_none, a_type } what = nothing;
    std::uint64_t fingerprint = 0;
    std::string description;
};

/// Reads the name that the other side of a connected socket was bound to.
[[nodiscard]] inline told_type type_behind(int fd) {
    told_type told;
    sockaddr_un at{};
    socklen_t n = sizeof at;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&at), &n) != 0 ||
        n <= offsetof(sockaddr_un, sun_path) || at.sun_path[0] == '\0') {
        return told;
    }
    const std::size_t room = std::min<std::size_t>(n, sizeof at) - offsetof(sockaddr_un, sun_path);
    std::string_view text(at.sun_path, ::strnlen(at.sun_path, room));
    const auto slash = text.rfind('/');
    if (slash != std::string_view::npos) text.remove_prefix(slash + 1);
    if (!text.starts_with(temporary_prefix)) return told;
    text.remove_prefix(temporary_prefix.size());
    if (text.size() < 16 + 1 + 8) return told;
    if (text.starts_with(typeless)) {
        told.what = told_type::frames_none;
        return told;
    }
    const auto [end, ec] = std::from_chars(text.data(), text.data() + 16, told.fingerprint, 16);
    if (ec != std::errc{} || end != text.data() + 16) return told;
    told.what = told_type::a_type;
    if (text.size() > 26) told.description = text.substr(26);
    std::replace(told.description.begin(), told.description.end(), '|', '/');
    return told;
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
