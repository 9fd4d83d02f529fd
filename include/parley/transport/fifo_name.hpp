// SPDX-License-Identifier: MIT
// Named pipes: how a receiver takes a name and gives it back, how a sender reaches it, and what
// both tell each other by locks.
//
// Whoever opens a pipe shares it with all who do, so the kernel tells only that the last writer is
// gone. Each writer therefore has a number, and holds a write lock (OFD, fcntl(2)) on the byte of
// that number of the pipe itself, which falls when it dies; the receiver marks a writer that it
// refuses by a read lock on the byte `marks` further on.
//
//     byte of the pipe's lock space:  1 … 2^61-1          2^61 + 1 … 2^62-1
//                                     writer n lives      writer n is refused
#pragma once

#include <parley/detail/owner.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/uds_name.hpp>

#include <sys/stat.h>

#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {
namespace fifo_lock {

inline constexpr std::uint64_t marks = std::uint64_t{1} << 61;

[[nodiscard]] inline bool call(int fd, int command, short type, std::uint64_t at,
                               struct flock& l) noexcept {
    l = {};
    l.l_type = type;
    l.l_whence = SEEK_SET;
    l.l_start = static_cast<off_t>(at);
    l.l_len = 1;
    return ::fcntl(fd, command, &l) == 0;
}
[[nodiscard]] inline bool take(int fd, short type, std::uint64_t at) noexcept {
    struct flock l;
    return call(fd, F_OFD_SETLK, type, at, l);
}
/// Whether another description holds a lock there.
[[nodiscard]] inline bool held(int fd, std::uint64_t at) noexcept {
    struct flock l;
    return call(fd, F_OFD_GETLK, F_WRLCK, at, l) && l.l_type != F_UNLCK;
}
[[nodiscard]] inline std::uint64_t fresh_number() noexcept {
    const auto n = fresh_id() % marks;
    return n == 0 ? 1 : n;
}

}  // namespace fifo_lock

/// What stands at a name. Looks as a writer would, which disturbs nobody.
[[nodiscard]] inline occupant who_reads_at(int directory_fd, const char* file) noexcept {
    struct stat s {};
    if (::fstatat(directory_fd, file, &s, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? occupant::nobody : occupant::forbidden;
    }
    if (!S_ISFIFO(s.st_mode)) return occupant::no_socket;
    const unique_fd probe(
        ::openat(directory_fd, file, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    if (probe) return occupant::live;
    return errno == ENXIO    ? occupant::dead
           : errno == ENOENT ? occupant::nobody
                             : occupant::forbidden;
}

/// The reading end of a named pipe, and its name.
struct owned_fifo {
    unique_fd fd;
    owned_name name;
};

/// Removes temporary pipes whose opener was killed. To be called under the directory's lock.
inline void sweep_fifos(const directory_lock& lock) {
    DIR* all = ::fdopendir(::openat(lock.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (all == nullptr) return;
    while (const dirent* entry = ::readdir(all)) {
        if (std::string_view(entry->d_name).starts_with(temporary_prefix) &&
            who_reads_at(lock.get(), entry->d_name) == occupant::dead) {
            ::unlinkat(lock.get(), entry->d_name, 0);
        }
    }
    ::closedir(all);
}

/// Makes the pipe at a name, in place of one that nobody reads. Errors: in_use (a live receiver,
/// or a file that is no pipe), not_found (the directory), denied, invalid_argument, timed_out.
[[nodiscard]] inline result<owned_fifo> take_fifo(const socket_path& path, const permissions& p,
                                                  time_point until, diagnostics& why) {
    if (auto ok = path.check(why); !ok) return ok.error();
    const auto to = known_permissions::of(p, why);
    if (!to) return to.error();
    auto directory = path.open_directory(O_RDONLY, why);
    if (!directory) return directory.error();
    const int d = directory->get();
    directory_lock lock;
    if (auto r = lock.take(d, until); !r) {
        return why.fail(r.error(), "another process keeps the lock (flock) of the directory '" +
                                       path.directory + "', which openers hold for an instant");
    }
    const occupant there = who_reads_at(d, path.file.c_str());
    switch (there) {
        case occupant::nobody:
        case occupant::dead: break;
        case occupant::live:
            return why.fail(errc::in_use, "'" + path.whole +
                                              "' has a live receiver (`fuser` tells which "
                                              "process); stop that one, or choose another name");
        case occupant::no_socket:
            return why.fail(errc::in_use, "'" + path.whole +
                                              "' exists and is no named pipe: parley does not "
                                              "delete it; remove it or choose another name");
        case occupant::forbidden:
            return why.fail(errc::denied, "'" + path.whole +
                                              "' is a pipe of another user that this one may not "
                                              "even ask who reads; choose another name");
    }
    sweep_fifos(lock);
    // Under a temporary name first: the final one shows only what may be opened.
    const std::string temporary = temporary_name(nullptr, fresh_id(), 40);
    struct stat s {};
    unique_fd fd;
    if (::mkfifoat(d, temporary.c_str(), 0600) == 0) {
        fd.reset(::openat(d, temporary.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
    }
    if (fd) {
        if (auto r = to->apply(fd.get(), "'" + path.whole + "'", why); !r) {
            ::unlinkat(d, temporary.c_str(), 0);
            return r.error();
        }
    }
    if (fd && ::fstat(fd.get(), &s) == 0 && rename_over(d, temporary, path.file, there)) {
        return owned_fifo{std::move(fd), owned_name(std::move(*directory), path.file, s)};
    }
    const int number = errno;
    ::unlinkat(d, temporary.c_str(), 0);
    return why.fail(
        from_errno(number),
        explain("making a named pipe at '" + path.whole + "'", number) +
            (number == EACCES          ? "; the receiver needs write permission in the directory"
             : there == occupant::dead ? "; a pipe of another user, which nobody reads, is there"
                                       : ""));
}

/// Removes the pipe of a receiver that died: a survivor leaves nothing behind.
inline void remove_fifo_if_dead(const std::string& path_text) {
    diagnostics ignored;
    const socket_path path(path_text);
    const auto directory = path.open_directory(O_RDONLY, ignored);
    if (!directory) return;
    directory_lock lock;
    if (!lock.take(directory->get(), clock::now() + std::chrono::milliseconds(100))) return;
    if (who_reads_at(directory->get(), path.file.c_str()) == occupant::dead) {
        ::unlinkat(directory->get(), path.file.c_str(), 0);
    }
}

/// Waits until a receiver reads at the path. Errors: timed_out (nobody came), not_found (the
/// directory), denied, invalid_argument (no named pipe).
[[nodiscard]] inline result<unique_fd> reach_fifo(const std::string& text, time_point until,
                                                  diagnostics& why) {
    const socket_path path(text);
    if (auto ok = path.check(why); !ok) return ok.error();
    const auto directory = path.open_directory(O_PATH, why);
    if (!directory) return directory.error();
    for (backoff pause;;) {
        unique_fd fd(::openat(directory->get(), path.file.c_str(),
                              O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
        const int number = fd ? 0 : errno;
        struct stat s {};
        const bool fifo =
            ::fstatat(directory->get(), path.file.c_str(), &s, 0) != 0 || S_ISFIFO(s.st_mode);
        if (!fifo) {
            return why.fail(errc::invalid_argument,
                            "'" + text + "' is no named pipe; is the address right?");
        }
        if (fd) return fd;
        if (number == EACCES || number == EPERM) {
            return why.fail(errc::denied,
                            explain("opening '" + text + "'", number) +
                                "; a sender needs write permission on the receiver's pipe: open "
                                "the receiver with ?mode=622, or 620 and a common group");
        }
        // ENXIO: a pipe that nobody reads.
        if (number != ENXIO && number != ENOENT && number != EINTR) {
            return why.fail(from_errno(number), explain("opening '" + text + "'", number));
        }
        if (auto r = pause.sleep(until); !r) {
            return why.fail(
                r.error(), "nobody receives at '" + text + "': start the receiver, or wait longer");
        }
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
