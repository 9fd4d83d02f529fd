// SPDX-License-Identifier: MIT
// What can be told of something stored by looking on.
#pragma once

#include <parley/base/limits.hpp>
#include <parley/store/ends.hpp>

#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {

/// What `report` of an address in the file system says; looking changes nothing and takes no part.
struct store_report {
    bool receiver = false;  ///< a receiver is there
    bool sender = false;    ///< a sender is there
    std::string type;       ///< description of the message type; empty: not known
    std::string holds;      ///< for people: how much is there
    std::uint32_t owner_uid = 0;
    std::uint32_t mode = 0;
    parley::limits limits;  ///< of ends that are opened by this address

    /// Owner and mode of the file at `path`.
    [[nodiscard]] result<void> look_at_file(const std::string& path, diagnostics& why) {
        struct stat s {};
        if (::stat(path.c_str(), &s) != 0) {
            return why.fail(from_errno(errno), detail::explain("looking at " + path, errno));
        }
        owner_uid = s.st_uid;
        mode = s.st_mode & 07777;
        return {};
    }
    /// Who holds the roles whose locks lie on the file at `path`.
    void look_at_roles(const std::string& path) {
        const detail::unique_fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
        if (!fd) return;
        receiver = detail::is_locked(fd.get(), detail::reader_lock);
        sender = detail::is_locked(fd.get(), store::sender_lock);
    }
};

}  // namespace v1
}  // namespace parley
