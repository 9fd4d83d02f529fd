// SPDX-License-Identifier: MIT
// Unix domain sockets of parley, found by asking the kernel: nobody is connected to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A socket that has a name in the file system and a receiver of parley behind it.
struct socket_report {
    std::string path;
    std::string kind;  // stream, seqpacket, datagram
    std::string type;  // of its messages, as far as the kernel's name of it has room
    std::uint64_t device = 0, inode = 0;  // of the name
    std::uint32_t socket_inode = 0;
    std::uint32_t owner_pid = 0;  // 0: a process that this user may not look into
    std::uint32_t owner_uid = 0;
};

/// All that this network namespace shows, sorted by path.
[[nodiscard]] std::vector<socket_report> live_sockets();

/// Names of sockets in a directory behind which nobody listens any more.
[[nodiscard]] std::vector<std::string> dead_sockets(const std::string& directory);

}  // namespace tool
