// SPDX-License-Identifier: MIT
// Where a process that takes signals is found by name: a small file, a post, which its owner holds
// a lock on. The lock says that the owner lives, so the PID in the file means that process and no
// later one: who opens a pidfd and then still finds the lock held has the owner's pidfd.
//
//   byte  0           8            12         16        20        24              32       40
//        +-----------+------------+----------+---------+---------+---------------+--------+- - - -+
//        | magic u64 | layout u32 | kind u32 | pid u32 | uid u32 | pid namespace | id u64 | content
//        +-----------+------------+----------+---------+---------+---------------+--------+- - - -+
//
// Locks (of open file descriptions, as in shm/segment.hpp): byte 0 the owner; others as the kind of
// post says.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/detail/posix.hpp>
#include <parley/shm/segment.hpp>

#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A pidfd of a process of this PID namespace, if `lives()` still vouches for its PID after that.
template <class Lives>
[[nodiscard]] unique_fd pidfd_vouched_for(std::uint32_t pid, Lives lives) {
    unique_fd fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
    if (fd && !lives()) fd.reset();
    return fd;
}
[[nodiscard]] inline bool has_exited(int pidfd) noexcept {
    return wait_for(pidfd, POLLIN, expired).has_value();
}

/// The first bytes of a post: who owns it, and what for.
struct post_page {
    static constexpr std::uint64_t magic = 0x5453'4f50'594c'5250;  // "PRLYPOST"
    static constexpr std::uint32_t layout = 1;
    static constexpr std::size_t bytes = 2048;
    static constexpr std::size_t content_at = 40;
    enum class kind : std::uint32_t { channel = 1, ast = 2 };

    std::array<std::byte, bytes> memory{};

    [[nodiscard]] std::byte* content() noexcept { return memory.data() + content_at; }
    [[nodiscard]] const std::byte* content() const noexcept { return memory.data() + content_at; }
    [[nodiscard]] std::uint32_t pid() const noexcept { return number(16); }
    [[nodiscard]] std::uint32_t uid() const noexcept { return number(20); }
    [[nodiscard]] std::uint64_t id() const noexcept {
        return load_le<std::uint64_t>(memory.data() + 32);
    }

    /// This process is the owner.
    void sign(kind what) noexcept {
        store_le(memory.data(), magic);
        store_le(memory.data() + 8, layout);
        store_le(memory.data() + 12, static_cast<std::uint32_t>(what));
        store_le(memory.data() + 16, static_cast<std::uint32_t>(::getpid()));
        store_le(memory.data() + 20, static_cast<std::uint32_t>(::getuid()));
        store_le(memory.data() + 24, namespace_id("pid"));
        store_le(memory.data() + 32, fresh_id());
    }
    /// Errors: corrupt (no post), incompatible (another kind or layout), unsupported (its owner
    /// cannot be reached from this PID namespace).
    [[nodiscard]] result<void> check(kind wanted, const std::string& path, diagnostics& why) const {
        if (load_le<std::uint64_t>(memory.data()) != magic) {
            return why.fail(errc::corrupt, path +
                                               " is no post of parley; it is left alone: "
                                               "remove it or choose another name");
        }
        if (number(8) != layout || number(12) != static_cast<std::uint32_t>(wanted)) {
            return why.fail(errc::incompatible,
                            path + " is a post of layout " + std::to_string(number(8)) + ", kind " +
                                std::to_string(number(12)) + ", not the wanted " +
                                std::to_string(layout) + ", kind " +
                                std::to_string(static_cast<std::uint32_t>(wanted)) +
                                " (1: signals://, 2: ast); choose another name");
        }
        if (load_le<std::uint64_t>(memory.data() + 24) != namespace_id("pid")) {
            return why.fail(errc::unsupported,
                            "the owner of " + path +
                                " lives in another PID namespace, where signals cannot go both "
                                "ways; share the namespace, or use shm:// or unix:///");
        }
        return {};
    }

private:
    [[nodiscard]] std::uint32_t number(std::size_t at) const noexcept {
        return load_le<std::uint32_t>(memory.data() + at);
    }
};

/// A post's name. Its file is its user's alone: whoever could write it would say which process is
/// signalled.
struct post_name {
    std::string directory;
    std::string prefix;  ///< "parley-signals."
    std::string name;

    [[nodiscard]] std::string path() const { return directory + '/' + prefix + name; }
    [[nodiscard]] result<void> check(diagnostics& why) const {
        if (!name.empty() && name.size() <= 200 && name.find('/') == std::string::npos) return {};
        return why.fail(errc::invalid_argument,
                        "the name '" + name + "': wants 1 to 200 characters and no '/'");
    }
};

/// Removes the name if nobody owns its post. Errors: in_use, corrupt (no post), denied.
[[nodiscard]] inline result<void> remove_stale_post(const std::string& path, diagnostics& why) {
    const unique_fd old(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!old) {
        if (errno == ENOENT) return {};
        return why.fail(last_error(),
                        explain(path + " exists and belongs to somebody else", errno));
    }
    post_page there;
    if (::pread(old.get(), there.memory.data(), post_page::content_at, 0) !=
            static_cast<ssize_t>(post_page::content_at) ||
        load_le<std::uint64_t>(there.memory.data()) != post_page::magic) {
        return why.fail(errc::corrupt, path +
                                           " exists and is no post of parley; it is left "
                                           "alone: remove it or choose another name");
    }
    if (auto mine = try_lock(old.get(), 0); !mine) {
        if (mine.error() != errc::would_block) return why.fail(mine.error(), "locking " + path);
        return why.fail(errc::in_use,
                        path + " has a live receiver, process " + std::to_string(there.pid()));
    }
    remove_name(path, old.get());
    return {};
}

/// Makes a signed post under its name, as its only owner, taking the name from a dead one. The file
/// is complete and locked before anybody can find it.
[[nodiscard]] inline result<unique_fd> make_post(const post_name& at, const post_page& page,
                                                 std::size_t bytes, diagnostics& why) {
    if (auto ok = at.check(why); !ok) return ok.error();
    const std::string path = at.path();
    unique_fd fresh(::open(at.directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fresh) {
        const int number = errno;
        return why.fail(from_errno(number),
                        explain("making a post in " + at.directory +
                                    (number == ENOENT ? " (no such directory)" : ""),
                                number));
    }
    if (::ftruncate(fresh.get(), static_cast<off_t>(bytes)) != 0 ||
        ::pwrite(fresh.get(), page.memory.data(), post_page::bytes, 0) !=
            static_cast<ssize_t>(post_page::bytes)) {
        return why.fail(last_error(), explain("writing " + path, errno));
    }
    if (auto r = try_lock(fresh.get(), 0); !r) return why.fail(r.error(), "locking " + path);
    char self[32];
    std::snprintf(self, sizeof self, "/proc/self/fd/%d", fresh.get());
    while (::linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
        if (errno != EEXIST) return why.fail(last_error(), explain("creating " + path, errno));
        if (auto r = remove_stale_post(path, why); !r) return r.error();
    }
    return fresh;
}

/// A post that was found.
struct found_post {
    unique_fd file, pidfd;
    post_page page;

    [[nodiscard]] bool owned() const noexcept { return is_locked(file.get(), 0); }

    /// Reads it. would_block: there is none; denied (another user's); else as post_page::check.
    [[nodiscard]] result<void> open(const std::string& path, post_page::kind kind,
                                    diagnostics& why) {
        file.reset(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!file && errno == ENOENT) {
            return why.fail(errc::would_block,
                            "nobody receives at " + path + ": start the receiver, or wait longer");
        }
        struct stat s {};
        if (!file && errno != EACCES) {
            return why.fail(last_error(), explain("opening " + path, errno));
        }
        if (!file || ::fstat(file.get(), &s) != 0 || s.st_uid != ::geteuid()) {
            return why.fail(errc::denied, path +
                                              " is of another user; signals go both ways "
                                              "between processes of one user only");
        }
        const auto n =
            retried([&] { return ::pread(file.get(), page.memory.data(), post_page::bytes, 0); });
        if (n < 0) return why.fail(last_error(), explain("reading " + path, errno));
        if (n < static_cast<ssize_t>(post_page::bytes)) page.memory.fill({});
        return page.check(kind, path, why);
    }
    /// Opens the pidfd of its owner. would_block: the owner is gone.
    [[nodiscard]] result<void> reach_owner(const std::string& path, diagnostics& why) {
        pidfd = pidfd_vouched_for(page.pid(), [&] { return owned(); });
        if (pidfd) return {};
        return why.fail(errc::would_block, "the owner of " + path + ", process " +
                                               std::to_string(page.pid()) +
                                               ", is gone and nobody took its place");
    }
};

/// Looks once for a post with a live owner. Errors: would_block, and as post_page::check.
[[nodiscard]] inline result<found_post> find_post(const post_name& at, post_page::kind kind,
                                                  diagnostics& why) {
    found_post found;
    if (auto r = found.open(at.path(), kind, why); !r) return r.error();
    if (auto r = found.reach_owner(at.path(), why); !r) return r.error();
    return found;
}

/// Calls `open` until it says something else than would_block, or the deadline passes.
template <class Open>
[[nodiscard]] auto opened_in_time(time_point until, Open open) -> decltype(open()) {
    for (backoff pause;;) {
        auto r = open();
        if (r || r.error() != errc::would_block || until == expired) return r;
        if (auto p = pause.sleep(until); !p) return p.error();
    }
}

/// The last one to know removes the name that a dead owner left.
inline void remove_post_if_dead(const std::string& path, int file) noexcept {
    if (try_lock(file, 0)) {
        remove_name(path, file);
        unlock(file, 0);
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
