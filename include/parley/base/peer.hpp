// SPDX-License-Identifier: MIT
// Who is at the other side, as the kernel says.
#pragma once

#include <sys/types.h>

#include <string>

namespace parley {
inline namespace v1 {

/// The process at the other side when it connected, or listened, as seen in this PID namespace.
/// pid 0: in a namespace that this one cannot see. A pid may be used again after a death, so it
/// is for people and for logs; the ids may be checked.
struct peer_id {
    pid_t pid = 0;
    uid_t uid = 0;
    gid_t gid = 0;

    friend bool operator==(const peer_id&, const peer_id&) = default;
};

/// "process 17 of user 1000".
[[nodiscard]] inline std::string describe(const peer_id& who) {
    return (who.pid > 0 ? "process " + std::to_string(who.pid) : std::string("a process")) +
           " of user " + std::to_string(who.uid);
}

}  // namespace v1
}  // namespace parley
