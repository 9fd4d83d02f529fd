// SPDX-License-Identifier: MIT
// One System V queue and the file beside it. The kernel knows such queues by a number of 32 bits
// only, in which two names may meet, and has nothing to lock. So a name is a small file:
//
//   byte  0            8             12           16          20            24
//        +------------+-------------+------------+-----------+-------------+
//        | magic, u64 | layout, u32 | key, u32   | id, i32   | 0, u32      |
//        +------------+-------------+------------+-----------+-------------+
//
// The key is a hash of the file's path, or the next one if another queue has it already: what the
// file says counts, so names never collide. The id is -1 while the queue is being made. The file
// carries the locks of queue_places; byte 2^40 is locked while the file is read or written.
#pragma once

#include <parley/detail/owner.hpp>
#include <parley/transport/kernel_queue.hpp>

#include <sys/ipc.h>
#include <sys/msg.h>

#include <cstring>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The number and the places of an open System V queue. Waiting with a deadline is a sleep of at
/// most 1 ms between two looks, for the kernel has no descriptor to poll.
class sysv_queue : public kernel_queue<sysv_queue> {
public:
    static constexpr std::size_t prefix_bytes = sizeof(long);  // the type, in msgsnd's way
    static constexpr bool pollable = false;
    static constexpr const char* no_descriptor =
        "System V queues have no descriptor to poll; use mq://, or wait in receive";

    using patience = queue_patience;

    sysv_queue(unique_fd file, int id, std::size_t bytes_max, long select) noexcept
        : file_(std::move(file)), id_(id), bytes_max_(bytes_max), select_(select) {
        message_bytes_ =
            std::min(kernel_number("/proc/sys/kernel/msgmax", usual_bytes_max), bytes_max);
    }

    [[nodiscard]] int places() const noexcept { return file_.get(); }
    [[nodiscard]] int descriptor() const noexcept { return -1; }
    [[nodiscard]] std::size_t record_bytes_max() const noexcept { return message_bytes_; }
    [[nodiscard]] std::string too_large() const {
        return "the kernel takes " + std::to_string(message_bytes_) +
               " bytes, the header included: the lesser of /proc/sys/kernel/msgmax, which root may "
               "raise with sysctl kernel.msgmax=, and the queue's ?capacity_bytes=";
    }

    int send(std::byte* at, std::size_t n, std::uint32_t type, bool may_block) noexcept {
        const auto first = static_cast<long>(type);
        std::memcpy(at - prefix_bytes, &first, sizeof first);
        const int flags = may_block ? 0 : IPC_NOWAIT;
        if (retried([&] { return ::msgsnd(id_, at - prefix_bytes, n, flags); }) == 0) {
            free_bytes_ -= std::min(n, free_bytes_);
            if (free_messages_ > 0) --free_messages_;
            return 0;
        }
        free_messages_ = 0;
        return errno;
    }
    ssize_t receive(std::byte* at, std::size_t n, std::uint32_t& type, bool may_block) noexcept {
        const int flags = may_block ? 0 : IPC_NOWAIT;
        const auto got =
            retried([&] { return ::msgrcv(id_, at - prefix_bytes, n, select_, flags); });
        if (got < 0 && errno == ENOMSG) errno = EAGAIN;
        if (got < 0) return got;
        long first = 0;
        std::memcpy(&first, at - prefix_bytes, sizeof first);
        type = static_cast<std::uint32_t>(first);
        return got;
    }
    /// Asks the kernel only when what it said last is used up.
    bool has_room(std::size_t n) noexcept {
        if (n > free_bytes_ || free_messages_ == 0) {
            msqid_ds now{};
            if (::msgctl(id_, IPC_STAT, &now) != 0) return true;  // gone: the send says so
            free_bytes_ = now.msg_qbytes - std::min<std::size_t>(now.msg_qbytes, now.__msg_cbytes);
            free_messages_ = now.msg_qbytes - std::min(now.msg_qbytes, now.msg_qnum);
        }
        return n <= free_bytes_ && free_messages_ > 0;
    }
    bool has_message() noexcept {
        msqid_ds now{};
        return ::msgctl(id_, IPC_STAT, &now) != 0 || now.msg_qnum > 0;
    }
    result<void> wait_for_room(patience& p, time_point until) noexcept { return p.pause(until); }
    result<void> wait_for_message(patience& p, time_point until) noexcept { return p.pause(until); }
    static error_code failure(int number, std::string what, diagnostics& why) {
        if (number == EIDRM || number == EINVAL) {
            return why.fail(errc::peer_lost, std::move(what) + ": the queue was removed");
        }
        return why.fail(from_errno(number), explain(std::move(what), number));
    }
    void close() noexcept { file_.reset(); }

    static constexpr std::size_t usual_bytes_max = 8192;

private:
    unique_fd file_;
    int id_;
    std::size_t bytes_max_, message_bytes_;
    long select_;
    std::size_t free_bytes_ = 0, free_messages_ = 0;  // as last heard; others may have used them
};

/// The file that is the name of a System V queue.
struct sysv_file {
    static constexpr std::string_view prefix = "parley-sysv.";
    static constexpr std::uint64_t magic = 0x5653'5953'594c'5250;  // "PRLYSYSV"
    static constexpr std::uint32_t layout = 1;
    static constexpr std::size_t bytes = 24;

    std::string path;
    parley::permissions permissions;
    std::size_t capacity_bytes;  // 0: as it is, or the system's default

    struct entry {
        std::uint32_t key = 0;
        int id = -1;
    };
    struct opened {
        unique_fd file;
        entry at;
        msqid_ds is{};
    };

    /// Opens the queue of this name, or makes it.
    [[nodiscard]] result<opened> open_or_make(diagnostics& why) const {
        for (;;) {
            auto file = open_file(why);
            if (!file) return file.error();
            opened o{std::move(*file), {}, {}};
            struct stat s {};
            if (!lock(o.file.get()) || ::fstat(o.file.get(), &s) != 0) return cannot_open(why);
            if (s.st_nlink == 0) continue;  // removed meanwhile
            const auto known = find(o, s.st_uid, why);
            if (!known) return known.error();
            if (*known == found::nothing) {
                if (s.st_uid != ::geteuid() && ::geteuid() != 0) return not_ours(s.st_uid, why);
                if (auto made = make(o, why); !made) return made.error();
            }
            unlock(o.file.get());
            return o;
        }
    }
    /// Opens the queue of this name. not_found if there is none, or no more.
    [[nodiscard]] result<opened> open_existing(int access, diagnostics& why) const {
        opened o{unique_fd(::open(path.c_str(), access | O_CLOEXEC | O_NOFOLLOW)), {}, {}};
        struct stat s {};
        if (!o.file || ::fstat(o.file.get(), &s) != 0) return cannot_open(why);
        const auto known = find(o, s.st_uid, why);
        if (!known) return known.error();
        if (*known == found::nothing)
            return why.fail(errc::not_found, path + ": its queue was removed (ipcrm?)");
        return o;
    }
    /// Removes queue and name.
    result<void> remove(diagnostics& why) const {
        opened o{unique_fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)), {}, {}};
        struct stat s {};
        if (!o.file || !lock(o.file.get()) || ::fstat(o.file.get(), &s) != 0) {
            return cannot_open(why);
        }
        const auto known = find(o, s.st_uid, why);
        if (!known) return known.error();
        if (*known == found::queue && ::msgctl(o.at.id, IPC_RMID, nullptr) != 0) {
            return why.fail(last_error(), explain("removing the queue of " + path, errno));
        }
        if (s.st_nlink > 0 && ::unlink(path.c_str()) != 0) return cannot_open(why);
        return {};
    }

private:
    enum class found : std::uint8_t { nothing, queue };

    static constexpr off_t setup_byte = off_t{1} << 40;

    static bool lock(int fd) noexcept { return change(fd, F_WRLCK); }
    static void unlock(int fd) noexcept { (void)change(fd, F_UNLCK); }
    static bool change(int fd, short how) noexcept {
        struct flock l {};
        l.l_type = how;
        l.l_whence = SEEK_SET;
        l.l_start = setup_byte;
        l.l_len = 1;
        return retried([&] { return ::fcntl(fd, F_OFD_SETLKW, &l); }) == 0;
    }

    [[nodiscard]] error_code cannot_open(diagnostics& why) const {
        const int number = errno;
        return why.fail(from_errno(number), explain("the queue's file " + path, number));
    }
    /// A queue of ours behind a file of theirs would be taken for a forgery by everybody.
    [[nodiscard]] error_code not_ours(uid_t owner, diagnostics& why) const {
        return why.fail(errc::denied, path + " belongs to user " + std::to_string(owner) +
                                          " and its queue is gone: that user, or root, is to "
                                          "remove the name (parley clean sysv://…)");
    }
    [[nodiscard]] result<unique_fd> open_file(diagnostics& why) const {
        constexpr int how = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
        for (;;) {
            unique_fd fd(::open(path.c_str(), how));
            if (fd) return fd;
            if (errno != ENOENT) return cannot_open(why);
            const auto to = known_permissions::of(permissions, why);
            if (!to) return to.error();
            fd.reset(::open(path.c_str(), how | O_CREAT | O_EXCL, 0600));
            if (fd) {
                if (auto r = to->apply(fd.get(), path, why); !r) {
                    ::unlink(path.c_str());
                    return r.error();
                }
                return fd;
            }
            if (errno != EEXIST) return cannot_open(why);
        }
    }

    /// Reads the file; nothing if it has no queue, or no more. A queue that was just made by a
    /// process that died before it wrote the number down is adopted.
    [[nodiscard]] result<found> find(opened& o, uid_t owner, diagnostics& why) const {
        std::byte raw[bytes];
        const auto n = ::pread(o.file.get(), raw, bytes, 0);
        if (n == 0) return found::nothing;
        if (n != static_cast<ssize_t>(bytes) || load_le<std::uint64_t>(raw) != magic ||
            load_le<std::uint32_t>(raw + 8) != layout) {
            return why.fail(errc::corrupt,
                            path + " is no name of a queue of parley; it is left alone");
        }
        o.at = {load_le<std::uint32_t>(raw + 12),
                static_cast<int>(load_le<std::uint32_t>(raw + 16))};
        const bool unfinished = o.at.id == -1;
        if (unfinished) o.at.id = ::msgget(static_cast<key_t>(o.at.key), 0);
        if (o.at.id < 0) return found::nothing;
        if (::msgctl(o.at.id, IPC_STAT, &o.is) != 0) {
            if (errno == EINVAL || errno == EIDRM) return found::nothing;
            return why.fail(last_error(), explain("the queue of " + path, errno));
        }
        if (static_cast<std::uint32_t>(o.is.msg_perm.__key) != o.at.key) return found::nothing;
        // Root may have given file and queue away; another user's queue is a forgery.
        if (o.is.msg_perm.cuid != owner && o.is.msg_perm.cuid != 0) return found::nothing;
        if (!unfinished) return found::queue;
        if (o.is.msg_stime != 0 || o.is.msg_rtime != 0) return found::nothing;
        if (!write(o.file.get(), o.at)) return cannot_open(why);
        return found::queue;
    }

    [[nodiscard]] static bool write(int fd, entry e) noexcept {
        std::byte raw[bytes]{};
        store_le(raw, magic);
        store_le(raw + 8, layout);
        store_le(raw + 12, e.key);
        store_le(raw + 16, static_cast<std::uint32_t>(e.id));
        return ::pwrite(fd, raw, bytes, 0) == static_cast<ssize_t>(bytes);
    }

    /// FNV-1a, the same in every process.
    [[nodiscard]] std::uint32_t key(std::uint32_t attempt) const noexcept {
        std::uint32_t h = 2166136261U ^ attempt;
        for (const char c : path) h = (h ^ static_cast<unsigned char>(c)) * 16777619U;
        return h;
    }

    [[nodiscard]] result<void> make(opened& o, diagnostics& why) const {
        for (std::uint32_t attempt = 0;; ++attempt) {
            o.at = {key(attempt), -1};
            if (o.at.key == IPC_PRIVATE) continue;
            const auto k = static_cast<key_t>(o.at.key);
            if (::msgget(k, 0) >= 0) continue;  // somebody else's
            if (errno == ENOSYS) return cannot_make(errno, why);
            if (errno != ENOENT) continue;
            if (!write(o.file.get(), o.at)) return cannot_open(why);
            o.at.id = ::msgget(k, IPC_CREAT | IPC_EXCL | 0600);
            if (o.at.id >= 0) break;
            if (errno != EEXIST) return cannot_make(errno, why);
        }
        if (::msgctl(o.at.id, IPC_STAT, &o.is) != 0) return cannot_make(errno, why);
        const auto to = known_permissions::of(permissions, why);
        if (!to) return to.error();
        auto& p = o.is.msg_perm;
        p.mode = static_cast<decltype(p.mode)>(to->mode);
        if (to->owner != static_cast<uid_t>(-1)) p.uid = to->owner;
        if (to->group != static_cast<gid_t>(-1)) p.gid = to->group;
        if (capacity_bytes != 0) o.is.msg_qbytes = capacity_bytes;
        if (::msgctl(o.at.id, IPC_SET, &o.is) != 0) {
            const int number = errno;
            ::msgctl(o.at.id, IPC_RMID, nullptr);
            return cannot_make(number, why);
        }
        if (!write(o.file.get(), o.at)) return cannot_open(why);
        return {};
    }

    [[nodiscard]] error_code cannot_make(int number, diagnostics& why) const {
        (void)::unlink(path.c_str());
        const auto limit = [](const char* name) {
            const std::string file = std::string("/proc/sys/kernel/") + name;
            return file + " is " + std::to_string(kernel_number(file.c_str(), 0));
        };
        std::string words = explain("making the queue of " + path, number);
        if (number == EPERM && capacity_bytes != 0) {
            words += "; " + limit("msgmnb") +
                     ", and only root may have more than that: ask for "
                     "a smaller ?capacity_bytes=, or let root raise it with sysctl kernel.msgmnb=";
            return why.fail(errc::out_of_resources, std::move(words));
        }
        if (number == ENOSPC) {
            words += "; " + limit("msgmni") +
                     ": remove queues (parley list, ipcs -q, ipcrm -q), "
                     "or let root raise it with sysctl kernel.msgmni=";
        }
        return why.fail(from_errno(number), std::move(words));
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
