// SPDX-License-Identifier: MIT
// Who may open what a program creates.
#pragma once

#include <string>

namespace parley {
inline namespace v1 {

/// Permissions of a name, for every backend that has one in the file system or in the kernel:
/// `{.mode = 0660, .group = "video"}`, in a URI `?mode=660&group=video`. Set before anybody can see
/// the name, whatever the umask is. Regular; distinct objects are independent.
/// Errors of the open that applies them: invalid_argument (no such user or group here), denied
/// (only root may give to another owner, and others only to a group that they are in).
struct permissions {
    unsigned mode = 0600;    ///< as in chmod, up to 0777
    std::string owner = {};  ///< a user's name or number; empty: who creates it
    std::string group = {};  ///< a group's name or number; empty: the creator's

    friend bool operator==(const permissions&, const permissions&) = default;
};

}  // namespace v1
}  // namespace parley
