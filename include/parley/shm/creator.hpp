// SPDX-License-Identifier: MIT
// Who owns a name: segments are made under it, and what a dead owner left is taken over or removed.
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/owner.hpp>
#include <parley/shm/segment.hpp>

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Opens what a dead owner left at `path`, past the door and with the owner's lock held; `old`
/// stays empty if the name is free by now. As long as the lock is held the name means this file or
/// nothing: of any number of racing callers one gets it, and nobody removes what another one has
/// just made. Errors: in_use (its owner lives), corrupt (no segment: left alone), denied.
[[nodiscard]] inline result<void> open_stale_segment(const std::string& path, unique_fd& old,
                                                     diagnostics& why) {
    unique_fd file(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
        if (errno == ENOENT) return {};
        return why.fail(last_error(),
                        explain(path + " exists and belongs to somebody else", errno));
    }
    std::uint64_t first = 0;
    std::uint32_t pid = 0;
    if (::pread(file.get(), &first, sizeof first, 0) != sizeof first ||
        first != shm_layout::magic) {
        return why.fail(errc::corrupt, path +
                                           " exists but is no segment of parley; it is left alone: "
                                           "remove it or choose another name");
    }
    (void)!::pread(file.get(), &pid, sizeof pid, offsetof(shm_layout::segment_header, owner_pid));
    auto kind = shm_layout::segment_kind::channel;
    (void)!::pread(file.get(), &kind, sizeof kind, offsetof(shm_layout::segment_header, kind));
    auto mine = pass_door(file.get());
    if (mine) mine = try_lock(file.get(), reader_lock);
    if (!mine && mine.error() != errc::would_block) {
        return why.fail(mine.error(), explain("locking " + path, errno));
    }
    if (!mine || is_locked(file.get(), reader_lock)) {
        return why.fail(errc::in_use, path +
                                          (kind == shm_layout::segment_kind::channel
                                               ? " has a live receiver, process "
                                               : " is in use; it was made by process ") +
                                          std::to_string(pid));
    }
    struct stat ours {
    }, named{};
    if (::fstat(file.get(), &ours) != 0 || ::lstat(path.c_str(), &named) != 0) return {};
    if (ours.st_ino != named.st_ino || ours.st_dev != named.st_dev) return {};
    old = std::move(file);
    return {};
}
/// Removes what a dead owner left at `path`; also success if the name is free by now. Errors as
/// open_stale_segment.
[[nodiscard]] inline result<void> remove_stale_segment(const std::string& path, diagnostics& why) {
    unique_fd old;
    if (auto r = open_stale_segment(path, old, why); !r || !old) return r;
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return why.fail(last_error(), explain("removing the stale " + path, errno));
}

/// Makes a segment under its name, as its only owner, or takes over one whose owner is dead. A
/// channel of the same type and options goes on where that one stopped; any other is replaced. A
/// new file is complete and locked before anybody can find it, and an old one is locked as
/// open_stale_segment says: of any number of racing openers exactly one succeeds. The owner's lock
/// is held alone.
class segment_creator {
public:
    segment_creator(segment_name at, const segment_plan& plan, diagnostics& why)
        : at_(std::move(at)), path_(at_.path()), plan_(plan), why_(why) {}

    /// Into `fresh`, which is empty.
    [[nodiscard]] result<void> create(segment& fresh, std::uint64_t fresh_id) {
        if (auto r = at_.check(why_); !r) return r;
        const auto to = known_permissions::of(at_.permissions, why_);
        if (!to) return to.error();
        for (;;) {
            unique_fd old;
            if (auto r = open_stale_segment(path_, old, why_); !r) return discard(r.error());
            if (old && inherit(fresh, old, *to)) {
                (void)discard({});  // it was made in vain
                return {};
            }
            if (old && ::unlink(path_.c_str()) != 0 && errno != ENOENT) {
                return discard(
                    why_.fail(last_error(), explain("removing the stale " + path_, errno)));
            }
            if (!made_.file) {
                made_.memory = fresh.memory;
                if (auto r = make(*to, fresh_id); !r) return discard(r.error());
            }
            if (publish(made_)) {
                fresh = std::move(made_);
                return {};
            }
            if (errno != EEXIST) {
                return discard(why_.fail(last_error(), explain("creating " + path_, errno)));
            }
        }
    }

private:
    error_code discard(error_code ec) {
        if (!temporary_.empty()) ::unlink(temporary_.c_str());
        return ec;
    }

    result<void> make(const known_permissions& to, std::uint64_t fresh_id) {
        const std::string dir = at_.directory.empty() ? "." : at_.directory;
        unique_fd& file = made_.file;
        file.reset(::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        if (!file && (errno == EOPNOTSUPP || errno == EISDIR)) {
            temporary_ = path_ + ".new." + std::to_string(fresh_id);
            file.reset(::open(temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
        }
        if (!file) {
            const error_code ec = last_error();
            return why_.fail(ec, explain("making a segment in " + dir +
                                             (ec == errc::not_found ? " (no such directory)" : ""),
                                         errno));
        }
        if (auto r = to.apply(file.get(), path_, why_); !r) return r;
        if (auto r = made_.initialise(plan_, fresh_id, path_, why_); !r) return r;
        return try_lock(file.get(), reader_lock);
    }

    /// False: it is none that this owner would have made, or its receiver closed it.
    bool inherit(segment& out, unique_fd& old, const known_permissions& to) {
        segment s;
        s.memory = out.memory;
        struct stat file {};
        shm_layout::segment_header h;
        shm_layout::reader_state reader{};
        diagnostics unsaid;
        const auto& wanted = plan_.shape;
        const int fd = old.get();
        // Only what our own user made: in a directory for all, a stranger may have laid it there.
        if (!plan_.resumes || wanted.kind != shm_layout::segment_kind::channel ||
            ::fstat(fd, &file) != 0 ||
            file.st_uid != (to.owner == static_cast<uid_t>(-1) ? ::geteuid() : to.owner) ||
            ::pread(fd, &h, sizeof h, 0) != sizeof h ||
            ::pread(fd, &reader, sizeof reader, shm_layout::reader_offset) != sizeof reader) {
            return false;
        }
        s.file = std::move(old);
        const bool same = s.adopt(plan_.type, path_, unsaid) &&
                          h.fingerprint == plan_.type.fingerprint && s.shape.same_as(wanted) &&
                          s.rung_by_signals == plan_.rung_by_signals && reader.closed == 0 &&
                          to.apply(fd, path_, unsaid) &&
                          reserve(fd, 0, s.shape.control_bytes(), path_, unsaid);
        if (!same) {
            old = std::move(s.file);
            return false;
        }
        s.inherited = true;
        out = std::move(s);
        return true;
    }

    /// False, with errno, if the name is taken or cannot be made.
    bool publish(const segment& fresh) {
        if (!temporary_.empty()) {
            if (::link(temporary_.c_str(), path_.c_str()) != 0) return false;
            ::unlink(temporary_.c_str());
            return true;
        }
        char from[32];
        std::snprintf(from, sizeof from, "/proc/self/fd/%d", fresh.file.get());
        return ::linkat(AT_FDCWD, from, AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW) == 0;
    }

    segment_name at_;
    std::string path_;
    const segment_plan& plan_;
    diagnostics& why_;
    segment made_;
    std::string temporary_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
