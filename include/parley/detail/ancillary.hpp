// SPDX-License-Identifier: MIT
// What travels beside the bytes of a Unix domain socket: descriptors and credentials.
#pragma once

#include <parley/base/peer.hpp>
#include <parley/detail/posix.hpp>

#include <sys/socket.h>

#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

/// Sends bytes and a descriptor with them, in one call.
inline ssize_t send_with_descriptor(int socket, const std::byte* from, std::size_t n, int fd,
                                    int flags) noexcept {
    iovec part{const_cast<std::byte*>(from), n};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return ::sendmsg(socket, &m, flags);
}

/// Closes all but the first descriptor that came with a packet, and returns that one.
[[nodiscard]] inline unique_fd descriptor_of(msghdr& m) noexcept {
    unique_fd first;
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            unique_fd one(fd);
            if (!first) first = std::move(one);
        }
    }
    return first;
}

/// Who sent a packet, as the kernel says; user -1 if it does not (SO_PASSCRED is off).
[[nodiscard]] inline peer_id credentials_of(msghdr& m) noexcept {
    for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS) continue;
        ucred from{};
        std::memcpy(&from, CMSG_DATA(c), sizeof from);
        return {from.pid, from.uid, from.gid};
    }
    return {0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
