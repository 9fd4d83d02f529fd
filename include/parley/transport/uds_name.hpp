// SPDX-License-Identifier: MIT
// How a receiver takes a name in the file system, and gives it back: no race among openers, nothing
// left behind by a killed one that the next does not clear away.
#pragma once

#include <parley/base/random.hpp>
#include <parley/detail/fork.hpp>
#include <parley/detail/owner.hpp>
#include <parley/transport/uds_address.hpp>

#include <dirent.h>
#include <sys/file.h>

#include <algorithm>
#include <memory>

namespace parley {
inline namespace v1 {
namespace detail {

/// Holds the flock of a directory while it lives. Every change of a name happens under it, so a
/// temporary name that somebody sees while holding it belongs to nobody.
class directory_lock final : public fork_sensitive {
public:
    directory_lock() = default;
    ~directory_lock() override {
        unguard();
        if (fd_) ::flock(fd_.get(), LOCK_UN);
    }

    /// Nobody who behaves holds it for long, so this waits at most `patience` for it.
    result<void> take(int directory_fd, time_point until) {
        guard_against_fork();  // first, so that no child is born with the lock
        fd_.reset(::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd_) return last_error();
        const time_point limit = std::min(until, clock::now() + patience);
        for (backoff pause;;) {
            if (::flock(fd_.get(), LOCK_EX | LOCK_NB) == 0) return {};
            if (errno != EWOULDBLOCK && errno != EINTR) return last_error();
            if (auto r = pause.sleep(limit); !r) return r.error();
        }
    }
    [[nodiscard]] int get() const noexcept { return fd_.get(); }

    static constexpr duration patience = std::chrono::seconds(5);

private:
    void in_forked_child() noexcept override { fd_.reset(); }

    unique_fd fd_;
};

/// Removes temporary names whose opener was killed. To be called under the directory's lock.
inline void sweep_temporaries(const directory_lock& lock) {
    DIR* all = ::fdopendir(::openat(lock.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (all == nullptr) return;
    while (const dirent* entry = ::readdir(all)) {
        if (!std::string_view(entry->d_name).starts_with(temporary_prefix)) continue;
        socket_name name;
        if (name.assign(socket_path::through(lock.get(), entry->d_name)) &&
            who_is_at(lock.get(), entry->d_name, name) == occupant::dead) {
            ::unlinkat(lock.get(), entry->d_name, 0);
        }
    }
    ::closedir(all);
}

/// A name in the file system that this process gave to a socket.
class owned_name {
public:
    owned_name() = default;
    owned_name(unique_fd directory, std::string file, const struct stat& s)
        : directory_(std::move(directory)),
          file_(std::move(file)),
          device_(s.st_dev),
          inode_(s.st_ino),
          opener_(::getpid()) {}

    /// Removes the name if it is still ours and this process is the one that opened it. To be
    /// called while the socket lives: nobody takes over the name of a live one.
    void remove() {
        if (!directory_ || ::getpid() != opener_) return abandon();
        {
            directory_lock lock;
            (void)lock.take(directory_.get(), clock::now() + std::chrono::seconds(1));
            struct stat s {};
            if (::fstatat(directory_.get(), file_.c_str(), &s, AT_SYMLINK_NOFOLLOW) == 0 &&
                s.st_dev == device_ && s.st_ino == inode_) {
                ::unlinkat(directory_.get(), file_.c_str(), 0);
            }
        }
        abandon();
    }
    void abandon() noexcept { directory_.reset(); }

private:
    unique_fd directory_;
    std::string file_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    pid_t opener_ = 0;
};

/// A socket, bound and, unless it is a datagram socket, listening; and its name.
struct bound_socket {
    unique_fd fd;
    owned_name name;
};

/// What taking a name needs to know.
struct claim {
    socket_kind kind = socket_kind::stream;
    permissions access = {};
    const message_type* type = nullptr;  ///< told to those who connect; null: frame=none
    std::uint64_t random = 0;
    time_point until = never;
};

/// What stands at the name, as words for a receiver that cannot have it; success if it can.
[[nodiscard]] inline result<void> may_take(const socket_path& path, occupant there,
                                           const socket_name& name, diagnostics& why) {
    switch (there) {
        case occupant::nobody:
        case occupant::dead: return {};
        case occupant::live:
            return why.fail(errc::in_use, "'" + path.whole + "' has a live receiver" +
                                              owner_words(name) +
                                              "; stop that one, or choose another name");
        case occupant::no_socket:
            return why.fail(errc::in_use, "'" + path.whole +
                                              "' exists and is no socket: parley does not delete "
                                              "it; remove it or choose another name");
        case occupant::forbidden: break;
    }
    return why.fail(errc::denied, "'" + path.whole +
                                      "' is a socket of another user that this one may not even "
                                      "ask whether it lives; choose another name");
}

/// Binds to a temporary name and listens: from then on the name may be seen.
[[nodiscard]] inline result<unique_fd> bind_temporary(const socket_path& path, int directory_fd,
                                                      const claim& c, std::string& temporary,
                                                      diagnostics& why) {
    const auto to = known_permissions::of(c.access, why);
    if (!to) return to.error();
    unique_fd fd(::socket(AF_UNIX, kernel_type(c.kind) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return why.fail(last_error(), explain("making a socket", errno));
    ::fchmod(fd.get(), 0600);  // Linux makes the name with the socket's own mode, less the umask
    socket_name name;
    auto way = socket_path::through(directory_fd, "");
    temporary = temporary_name(c.type, c.random, socket_name::bytes_max - way.size());
    (void)name.assign(way + temporary);
    int failed = ::bind(fd.get(), name.get(), name.length);
    if (failed != 0 && errno == ENOENT && name.assign(path.directory + "/" + temporary)) {
        failed = ::bind(fd.get(), name.get(), name.length);  // no /proc here
    }
    if (failed != 0) {
        const int number = errno;
        return why.fail(
            from_errno(number),
            explain("making a socket in the directory '" + path.directory + "'", number) +
                (number == EACCES ? "; the receiver needs write permission there" : ""));
    }
    if (auto r = to->apply_at(directory_fd, temporary.c_str(), "'" + path.whole + "'", why); !r) {
        ::unlinkat(directory_fd, temporary.c_str(), 0);
        return r.error();
    }
    if (c.kind != socket_kind::datagram && ::listen(fd.get(), SOMAXCONN) != 0) {
        const int number = errno;
        ::unlinkat(directory_fd, temporary.c_str(), 0);
        return why.fail(from_errno(number), explain("listening at '" + path.whole + "'", number));
    }
    return fd;
}

/// Gives the temporary name its final one. A free name is taken only if it is still free: programs
/// that know nothing of the lock may bind it too.
[[nodiscard]] inline bool rename_over(int directory_fd, const std::string& from,
                                      const std::string& to, occupant there) noexcept {
    if (there == occupant::nobody) {
        if (::renameat2(directory_fd, from.c_str(), directory_fd, to.c_str(), RENAME_NOREPLACE) ==
            0) {
            return true;
        }
        if (errno != EINVAL && errno != ENOSYS) return false;
    }
    return ::renameat(directory_fd, from.c_str(), directory_fd, to.c_str()) == 0;
}

/// Takes a name in the file system, from a dead owner too. Errors: in_use (a live receiver, or a
/// file that is no socket), not_found (the directory), denied, invalid_argument, timed_out.
[[nodiscard]] inline result<bound_socket> take_name(const socket_path& path, const claim& c,
                                                    diagnostics& why) {
    if (auto ok = path.check(why); !ok) return ok.error();
    auto directory = path.open_directory(O_RDONLY, why);
    if (!directory) return directory.error();
    const int d = directory->get();
    directory_lock lock;
    if (auto r = lock.take(d, c.until); !r) {
        return why.fail(r.error(), "another process keeps the lock (flock) of the directory '" +
                                       path.directory + "', which openers hold for an instant");
    }
    sweep_temporaries(lock);
    const socket_name name = path.name(d);
    for (;;) {
        const occupant there = who_is_at(d, path.file.c_str(), name);
        if (auto ok = may_take(path, there, name, why); !ok) return ok.error();
        std::string temporary;
        auto fd = bind_temporary(path, d, c, temporary, why);
        if (!fd) return fd.error();
        struct stat s {};
        if (::fstatat(d, temporary.c_str(), &s, AT_SYMLINK_NOFOLLOW) == 0 &&
            rename_over(d, temporary, path.file, there)) {
            return bound_socket{std::move(*fd), owned_name(std::move(*directory), path.file, s)};
        }
        const int number = errno;
        ::unlinkat(d, temporary.c_str(), 0);
        if (number == EEXIST) continue;  // somebody bound it in between, without the lock
        return why.fail(
            from_errno(number),
            explain("naming a socket '" + path.whole + "'", number) +
                (there == occupant::dead ? "; a dead socket of another user is there" : ""));
    }
}

/// Takes an abstract name; the kernel lets one have it, and frees it when that one dies.
[[nodiscard]] inline result<bound_socket> take_abstract(const std::string& text, const claim& c,
                                                        diagnostics& why) {
    socket_name name;
    if (text.size() < 2 || !name.assign(text)) {
        return why.fail(errc::invalid_argument,
                        "the abstract name '" + text + "' has " + std::to_string(text.size() - 1) +
                            " bytes; 1 to " + std::to_string(socket_name::bytes_max - 1) +
                            " are possible");
    }
    unique_fd fd(::socket(AF_UNIX, kernel_type(c.kind) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return why.fail(last_error(), explain("making a socket", errno));
    if (::bind(fd.get(), name.get(), name.length) != 0 ||
        (c.kind != socket_kind::datagram && ::listen(fd.get(), SOMAXCONN) != 0)) {
        const int number = errno;
        if (number == EADDRINUSE) {
            return why.fail(errc::in_use, "'" + text + "' has a live receiver" + owner_words(name) +
                                              "; stop that one, or choose another name");
        }
        return why.fail(from_errno(number), explain("binding '" + text + "'", number));
    }
    return bound_socket{std::move(fd), {}};
}

/// Removes the name of a receiver that died: a survivor leaves nothing behind. Does nothing if
/// somebody lives there, or may not be asked.
inline void remove_if_dead(const std::string& path_text) {
    diagnostics ignored;
    const socket_path path(path_text);
    auto directory = path.open_directory(O_RDONLY, ignored);
    if (!directory) return;
    directory_lock lock;
    if (!lock.take(directory->get(), clock::now() + std::chrono::milliseconds(100))) return;
    const auto name = path.name(directory->get());
    if (who_is_at(directory->get(), path.file.c_str(), name) == occupant::dead) {
        ::unlinkat(directory->get(), path.file.c_str(), 0);
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
