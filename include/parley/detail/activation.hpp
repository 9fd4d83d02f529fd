// SPDX-License-Identifier: MIT
// Sockets that a service manager opened for this process before it started it.
#pragma once

#include <parley/detail/posix.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace parley {
inline namespace v1 {
namespace detail {

/// The socket of this kind that is bound to an address for which `is_ours(sockaddr)` is true, among
/// those that came with LISTEN_FDS and LISTEN_PID in the environment, as systemd passes them
/// (sd_listen_fds(3)); each once. Empty if there is none: then one binds as usual.
template <class IsOurs>
[[nodiscard]] unique_fd activated_socket(int type, IsOurs is_ours) {
    constexpr int first = 3, most = 64;
    static std::atomic<std::uint64_t> given{0};  // bit n: descriptor first + n has an owner here
    const char* const pid = std::getenv("LISTEN_PID");
    const char* const count = std::getenv("LISTEN_FDS");
    if (pid == nullptr || count == nullptr || std::atol(pid) != ::getpid()) return {};
    for (int i = 0; i < std::min(std::atoi(count), most); ++i) {
        const int fd = first + i;
        int kind = 0, listens = 0;
        socklen_t n = sizeof kind;
        if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &n) != 0 || kind != type) continue;
        n = sizeof listens;
        ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n);
        if (type != SOCK_DGRAM && listens == 0) continue;
        sockaddr_storage at{};
        n = sizeof at;
        if (::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &n) != 0) continue;
        if (!is_ours(reinterpret_cast<const sockaddr&>(at), n)) continue;
        const auto bit = std::uint64_t{1} << i;
        if ((given.fetch_or(bit) & bit) != 0) continue;
        ::fcntl(fd, F_SETFD, FD_CLOEXEC);
        ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
        return unique_fd(fd);
    }
    return {};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
