// SPDX-License-Identifier: MIT
// The calls on files that stores are written over, as one policy: the kernel's here; a model of a
// file system that crashes stands in for it in tests (testing/crash_files.hpp).
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/owner.hpp>
#include <parley/detail/posix.hpp>
#include <parley/store/record.hpp>

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {
namespace store {

/// The directory in which a path lies, and the name in it.
[[nodiscard]] inline std::string directory_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}
[[nodiscard]] inline std::string name_of(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

/// Files of the kernel. Calls give 0 or an errno.
struct real_files {
    using file = detail::unique_fd;

    int open(const std::string& path, bool writable, file& out) noexcept {
        out.reset(::open(path.c_str(),
                         (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        struct stat s {};
        if (!out || ::fstat(out.get(), &s) != 0) return errno;
        return S_ISREG(s.st_mode) ? 0 : EISDIR;
    }
    /// To a file that was made with mode 0600. The owner first: see detail/owner.hpp. Whatever the
    /// umask is, but that one which denies the owner his own files gets what it asks for.
    [[gnu::always_inline]] static int give(const file& f,
                                           const detail::known_permissions& to) noexcept {
        return to == detail::known_permissions{} ? 0 : give_by_calls(f, to);
    }
    [[gnu::noinline]] static int give_by_calls(const file& f,
                                               const detail::known_permissions& to) noexcept {
        if (to.gives_away() && ::fchown(f.get(), to.owner, to.group) != 0) return errno;
        return ::fchmod(f.get(), to.mode) == 0 ? 0 : errno;
    }
    /// EEXIST if there is such a file.
    [[gnu::always_inline]] int create(const std::string& path,
                                      const detail::known_permissions& mode, file& out) noexcept {
        out.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!out) return errno;
        const int e = give(out, mode);
        if (e != 0) (void)::unlink(path.c_str());
        return e;
    }
    /// A file without a name yet, in the directory of `path`; EOPNOTSUPP where there are none.
    int create_nameless(const std::string& path, const detail::known_permissions& mode,
                        file& out) noexcept {
        out.reset(::open(directory_of(path).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        if (!out) return errno == EISDIR ? EOPNOTSUPP : errno;
        return give(out, mode);
    }
    /// EEXIST if the name is taken.
    int give_name(file& f, const std::string& path) noexcept {
        char from[32];
        std::snprintf(from, sizeof from, "/proc/self/fd/%d", f.get());
        return ::linkat(AT_FDCWD, from, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    }
    [[gnu::always_inline]] int write_at(file& f, std::uint64_t offset, bytes b) noexcept {
        const auto n = ::pwrite(f.get(), b.data(), b.size(), static_cast<off_t>(offset));
        return n == static_cast<ssize_t>(b.size()) ? 0 : write_rest(f, offset, b, n);
    }
    /// How many bytes were there, or -1 and errno.
    [[gnu::always_inline]] ssize_t read_at(const file& f, std::uint64_t offset,
                                           mutable_bytes to) noexcept {
        return detail::retried(
            [&] { return ::pread(f.get(), to.data(), to.size(), static_cast<off_t>(offset)); });
    }
    std::uint64_t size(const file& f) noexcept {
        struct stat s {};
        return ::fstat(f.get(), &s) == 0 ? static_cast<std::uint64_t>(s.st_size) : 0;
    }
    int truncate(file& f, std::uint64_t n) noexcept {
        return ::ftruncate(f.get(), static_cast<off_t>(n)) == 0 ? 0 : errno;
    }
    /// Room for n bytes at `offset`, so that writing them cannot fail for want of it.
    int reserve(file& f, std::uint64_t offset, std::uint64_t n) noexcept {
        const int r = detail::retried([&] {
            return ::fallocate(f.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                               static_cast<off_t>(n));
        });
        return r == 0 || errno == EOPNOTSUPP ? 0 : errno;
    }
    /// The same, and the file is so long from now on: zeros.
    int allocate(file& f, std::uint64_t n) noexcept {
        return ::posix_fallocate(f.get(), 0, static_cast<off_t>(n));
    }
    /// Hands what was written from `offset` on to the device.
    int push(file& f, std::uint64_t offset) noexcept {
        constexpr unsigned how =
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
        const int r = ::sync_file_range(f.get(), static_cast<off_t>(offset), 0, how);
        return r == 0 || errno == ENOSYS ? 0 : errno;
    }
    /// Goes on after a write of n bytes, or one that failed.
    [[gnu::noinline]] static int write_rest(file& f, std::uint64_t offset, bytes b,
                                            ssize_t n) noexcept {
        for (;;) {
            if (n < 0 && errno != EINTR) return errno;
            if (n > 0) {
                offset += static_cast<std::uint64_t>(n);
                b = b.subspan(static_cast<std::size_t>(n));
            }
            if (b.empty()) return 0;
            n = ::pwrite(f.get(), b.data(), b.size(), static_cast<off_t>(offset));
        }
    }
    int sync(file& f) noexcept { return ::fdatasync(f.get()) == 0 ? 0 : errno; }
    int link(const std::string& from, const std::string& to) noexcept {
        return ::link(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }
    int rename(const std::string& from, const std::string& to) noexcept {
        return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
    }
    int unlink(const std::string& path) noexcept { return ::unlink(path.c_str()) == 0 ? 0 : errno; }
    /// Makes the names in a path's directory durable.
    int sync_names(const std::string& path) noexcept {
        const detail::unique_fd d(
            ::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!d) return errno;
        return ::fsync(d.get()) == 0 || errno == EINVAL ? 0 : errno;
    }
    /// The names in a path's directory that begin as the path does.
    std::vector<std::string> beginning_with(const std::string& path) {
        std::vector<std::string> found;
        const std::string begin = name_of(path);
        DIR* all = ::opendir(directory_of(path).c_str());
        if (all == nullptr) return found;
        while (const dirent* entry = ::readdir(all)) {
            const std::string_view name(entry->d_name);
            if (name.starts_with(begin)) found.emplace_back(name);
        }
        ::closedir(all);
        return found;
    }
};

/// Opens a file for writing, an empty one if there is none. 0 or an errno.
template <class Files>
[[nodiscard]] int open_or_create(Files& fs, const std::string& path,
                                 const detail::known_permissions& mode, typename Files::file& f) {
    for (;;) {
        int e = fs.open(path, true, f);
        if (e != ENOENT) return e;
        e = fs.create(path, mode, f);
        if (e != EEXIST) return e;
    }
}

/// Makes a file of these bytes that nobody ever sees in part, under a name that is free: EEXIST if
/// it is not. With `whole_bytes` zeros follow, whose room is reserved. Durable when this returns.
template <class Files>
[[nodiscard]] int publish(Files& fs, const std::string& path, bytes content,
                          const detail::known_permissions& mode, std::uint64_t whole_bytes = 0) {
    typename Files::file f;
    std::string temporary;
    int e = fs.create_nameless(path, mode, f);
    if (e == EOPNOTSUPP) {
        temporary = path + ".new." + std::to_string(detail::fresh_id());
        e = fs.create(temporary, mode, f);
    }
    if (e != 0) return e;
    if (whole_bytes != 0) e = fs.allocate(f, whole_bytes);
    if (e == 0) e = fs.write_at(f, 0, content);
    if (e == 0) e = fs.sync(f);
    if (e == 0) e = temporary.empty() ? fs.give_name(f, path) : fs.link(temporary, path);
    if (!temporary.empty()) (void)fs.unlink(temporary);
    return e == 0 ? fs.sync_names(path) : e;
}

/// The same under a name that may have a file: readers, and a crash, find either the old one or the
/// new one. `temporary` is the caller's alone. Durable when this returns 0, if `durable`; after an
/// errno it is the old one, or, where the directory could not be synced, the new one.
template <class Files>
[[nodiscard]] int replace(Files& fs, const std::string& path, const std::string& temporary,
                          bytes content, const detail::known_permissions& mode,
                          bool durable = true) {
    typename Files::file f;
    int e = fs.create(temporary, mode, f);
    if (e == EEXIST) {  // of one who died
        e = fs.unlink(temporary);
        if (e == 0) e = fs.create(temporary, mode, f);
    }
    if (e != 0) return e;
    e = fs.write_at(f, 0, content);
    if (e == 0 && durable) e = fs.sync(f);
    if (e == 0) e = fs.rename(temporary, path);
    if (e != 0) {
        (void)fs.unlink(temporary);
        return e;
    }
    return durable ? fs.sync_names(path) : 0;
}

}  // namespace store
}  // namespace v1
}  // namespace parley
