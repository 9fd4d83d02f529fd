// SPDX-License-Identifier: MIT
// Users and groups by name, and giving a file to them.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/permissions.hpp>
#include <parley/base/uri.hpp>
#include <parley/detail/posix.hpp>

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The number of a user or group, given as a number or by its name, which `find` looks up.
template <class Entry, class Find, class Id>
[[nodiscard]] result<Id> id_of(const std::string& text, const char* what, Find find,
                               Id Entry::*number, diagnostics& why) {
    Id id{};
    const auto* last = text.data() + text.size();
    if (const auto [end, ec] = std::from_chars(text.data(), last, id);
        ec == std::errc{} && end == last) {
        return id;
    }
    for (std::size_t room = 4096; room <= std::size_t{1} << 20; room *= 4) {
        const auto memory = std::make_unique<char[]>(room);
        Entry entry{};
        Entry* found = nullptr;
        const int failed = find(text.c_str(), &entry, memory.get(), room, &found);
        if (failed == ERANGE) continue;
        if (found != nullptr) return entry.*number;
        break;
    }
    return why.fail(errc::invalid_argument,
                    std::string("there is no ") + what + " '" + text + "' on this system");
}
[[nodiscard]] inline result<uid_t> user_id(const std::string& text, diagnostics& why) {
    return id_of<passwd>(text, "user", ::getpwnam_r, &passwd::pw_uid, why);
}
[[nodiscard]] inline result<gid_t> group_id(const std::string& text, diagnostics& why) {
    return id_of<group>(text, "group", ::getgrnam_r, &group::gr_gid, why);
}

/// Permissions whose names were looked up; -1 leaves an id as it is.
struct known_permissions {
    unsigned mode = 0600;
    uid_t owner = static_cast<uid_t>(-1);
    gid_t group = static_cast<gid_t>(-1);

    bool operator==(const known_permissions&) const = default;
    [[nodiscard]] bool gives_away() const noexcept {
        return owner != static_cast<uid_t>(-1) || group != static_cast<gid_t>(-1);
    }
    [[nodiscard]] static result<known_permissions> of(const permissions& a, diagnostics& why) {
        known_permissions k{a.mode};
        if (!a.owner.empty()) {
            const auto id = user_id(a.owner, why);
            if (!id) return id.error();
            k.owner = *id;
        }
        if (!a.group.empty()) {
            const auto id = group_id(a.group, why);
            if (!id) return id.error();
            k.group = *id;
        }
        return k;
    }
    /// The same to an open file. The owner first: a mode that lets a group in must not let in the
    /// wrong one for an instant.
    [[nodiscard]] result<void> apply(int fd, const std::string& path, diagnostics& why) const {
        if (gives_away() && ::fchown(fd, owner, group) != 0) return refused(path, why);
        if (::fchmod(fd, mode) == 0) return {};
        return why.fail(last_error(), explain("setting the mode of " + path, errno));
    }
    /// The same to a name in a directory, for what has no descriptor of its own, as a socket's.
    [[nodiscard]] result<void> apply_at(int directory, const char* name, const std::string& path,
                                        diagnostics& why) const {
        if (gives_away() && ::fchownat(directory, name, owner, group, AT_SYMLINK_NOFOLLOW) != 0) {
            return refused(path, why);
        }
        if (::fchmodat(directory, name, mode, 0) == 0) return {};
        return why.fail(last_error(), explain("setting the mode of " + path, errno));
    }

private:
    [[nodiscard]] static error_code refused(const std::string& path, diagnostics& why) {
        const int number = errno;
        return why.fail(from_errno(number),
                        explain("giving " + path + " to another owner or group", number) +
                            (number == EPERM ? "; only root gives to another owner, others only "
                                               "to a group that they are in"
                                             : ""));
    }
};

/// Reads and writes the options of permissions in a URI.
template <class Reader>
void read_permissions(Reader& r, permissions& out) {
    if (const auto* octal = r.option("mode")) {
        const auto* last = octal->data() + octal->size();
        const auto [end, ec] = std::from_chars(octal->data(), last, out.mode, 8);
        if (ec != std::errc{} || end != last || out.mode > 0777) {
            r.fail_option("mode", "wants permissions as in chmod, octal digits up to 777");
        }
    }
    if (const auto* owner = r.option("owner")) out.owner = *owner;
    if (const auto* group = r.option("group")) out.group = *group;
}
template <class Writer>
void write_permissions(Writer& w, const permissions& a) {
    char octal[16];
    std::snprintf(octal, sizeof octal, "%o", a.mode);
    if (a.mode != permissions{}.mode) w.option("mode", octal);
    if (!a.owner.empty()) w.option("owner", a.owner);
    if (!a.group.empty()) w.option("group", a.group);
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
