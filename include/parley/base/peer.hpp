// SPDX-License-Identifier: MIT
// Who is at the other side, as the kernel says.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

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

/// Which peers a receiver or listener lets in, by what the kernel vouches for; empty: all whom the
/// permissions of the name let in. A peer is let in if its user is named, or a group that it is
/// in, or `when` says so. `{.users = {"robot", "1000"}}`, in a URI `?allow_users=robot,1000`;
/// `when` has no words there. Names are looked up at open: invalid_argument if there is none.
struct allow {
    std::vector<std::string> users = {};   ///< names or numbers
    std::vector<std::string> groups = {};  ///< of datagrams, only the first group of a peer counts
    bool (*when)(const peer_id&) = nullptr;

    friend bool operator==(const allow&, const allow&) = default;
};

/// "process 17 of user 1000".
[[nodiscard]] inline std::string describe(const peer_id& who) {
    return (who.pid > 0 ? "process " + std::to_string(who.pid) : std::string("a process")) +
           " of user " + std::to_string(who.uid);
}

}  // namespace v1
}  // namespace parley
