// SPDX-License-Identifier: MIT
// Segments: what they are made of, and knowing who lives. creator.hpp makes them under a name.
//
// Who lives: every party holds a byte-range lock of an open file description that it opened itself
// (F_OFD_SETLK); the kernel drops it when the process dies, however it dies, and a lock needs no
// PID namespace. Byte 0 is the reader's; 16 + 2i is the writer's of lane i. The byte after each is
// held, on a description that a fork shares, by an end of make_channel that was not used yet. Byte
// 2 is the door: who takes over from a dead reader, and a writer who gives one up. Of a topic all
// parties share byte 0 (topic.hpp), 16 + 2i is a publisher's, 256 + 4j a subscriber's, and the byte
// two behind it once it has a cursor in each ring.
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/owner.hpp>
#include <parley/detail/posix.hpp>
#include <parley/shm/broadcast_layout.hpp>
#include <parley/shm/layout.hpp>
#include <parley/shm/memory.hpp>

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

inline constexpr off_t reader_lock = 0;
inline constexpr off_t door_lock = 2;
[[nodiscard]] constexpr off_t writer_lock(std::size_t lane) noexcept {
    return static_cast<off_t>(16 + 2 * lane);
}

[[nodiscard]] constexpr off_t subscriber_lock(std::size_t slot) noexcept {
    return static_cast<off_t>(256 + 4 * slot);
}

/// Takes the lock byte `at` for this open file description, alone or (F_RDLCK) with others;
/// would_block: somebody else has it.
[[nodiscard]] inline result<void> try_lock(int fd, off_t at, short how = F_WRLCK) noexcept {
    struct flock l {};
    l.l_type = how;
    l.l_whence = SEEK_SET;
    l.l_start = at;
    l.l_len = 1;
    if (::fcntl(fd, F_OFD_SETLK, &l) == 0) return {};
    return errno == EACCES ? make_error_code(errc::would_block) : last_error();
}
/// True if another description holds the lock byte `at` or the one after it: that party lives.
[[nodiscard]] inline bool is_locked(int fd, off_t at) noexcept {
    struct flock l {};
    l.l_type = F_WRLCK;
    l.l_whence = SEEK_SET;
    l.l_start = at;
    l.l_len = 2;
    return ::fcntl(fd, F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
}
inline void unlock(int fd, off_t at) noexcept {
    struct flock l {};
    l.l_type = F_UNLCK;
    l.l_whence = SEEK_SET;
    l.l_start = at;
    l.l_len = 1;
    ::fcntl(fd, F_OFD_SETLK, &l);
}
/// Passes the door of a segment; unlock it soon. would_block: somebody has stood there for 50 ms.
[[nodiscard]] inline result<void> pass_door(int fd) noexcept {
    for (int i = 0;; ++i) {
        auto r = try_lock(fd, door_lock);
        if (r || r.error() != errc::would_block || i == 50) return r;
        (void)poll_until(nullptr, 0, clock::now() + std::chrono::milliseconds(1));
    }
}
/// The inode number of one of this process's namespaces ("pid", "net"); 0 if there is no telling.
[[nodiscard]] inline std::uint64_t namespace_id(const char* kind) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
    struct stat s {};
    return ::stat(path, &s) == 0 ? s.st_ino : 0;
}

/// What a new segment is to be.
struct segment_plan {
    shm_layout::shape shape;
    message_type type;
    bool rung_by_signals = false;
    std::uint32_t rule = 0;
    bool resumes = true;  ///< may go on with what a killed reader left
};

/// An open segment: its file and its shape. Mapped by the ends, each with its own rights.
struct segment {
    unique_fd file;
    shm_layout::shape shape;
    std::uint64_t id = 0;
    std::uint64_t net_namespace = 0;
    std::uint32_t owner_pid = 0;
    std::uint64_t pid_namespace = 0;
    bool rung_by_signals = false;
    std::uint32_t rule = 0;
    bool inherited = false;      // from an owner that died
    message_type type = {};      // of this end
    memory_options memory = {};  // what this end asks of its rings
    parley::copy copy = parley::copy::plain;

    /// Maps the ring of a lane twice, its memory reserved: the other side may be hostile, and
    /// reading a hole of a full file system would be our death.
    [[nodiscard]] result<void> map_ring(mapping& out, std::size_t lane, int protection,
                                        const std::string& where, diagnostics& why) const {
        const std::size_t offset = shape.ring_offset(lane), n = shape.rings().capacity;
        if (auto r = out.map_twice(file.get(), offset, n, protection); !r) {
            return why.fail(r.error(), explain("mapping the memory of " + where, errno));
        }
        return furnish(out, file.get(), offset, n, (protection & PROT_WRITE) != 0, memory, where,
                       why);
    }

    /// Maps the chunks of a publisher, if it has any.
    [[nodiscard]] result<void> map_chunks(mapping& out, std::size_t publisher, int protection,
                                          const std::string& where, diagnostics& why) const {
        if (shape.chunks == 0) return {};
        const std::size_t offset = shape.chunks_offset(publisher), n = shape.capacity;
        if (auto r = out.map(file.get(), offset, n, protection); !r) {
            return why.fail(r.error(), explain("mapping the memory of " + where, errno));
        }
        return furnish(out, file.get(), offset, n, (protection & PROT_WRITE) != 0, memory, where,
                       why);
    }

    /// Fills a fresh, empty file.
    [[nodiscard]] result<void> initialise(const segment_plan& plan, std::uint64_t fresh_id,
                                          const std::string& where, diagnostics& why) {
        shape = plan.shape;
        type = plan.type;
        if (::ftruncate(file.get(), static_cast<off_t>(shape.segment_bytes())) != 0) {
            return why.fail(last_error(), explain("sizing " + where, errno));
        }
        const std::size_t control = shape.control_bytes();
        if (auto r = reserve(file.get(), 0, control, where, why); !r) return r;
        mapping map;
        if (auto r = map.map(file.get(), 0, control, PROT_READ | PROT_WRITE); !r) {
            return why.fail(r.error(), explain("mapping " + where, errno));
        }
        auto& header = map.as<shm_layout::segment_header>();
        shm_layout::write_header(header, shape, plan.type);
        header.owner_pid = owner_pid = static_cast<std::uint32_t>(::getpid());
        header.pid_namespace = pid_namespace = namespace_id("pid");
        header.net_namespace = net_namespace = namespace_id("net");
        header.segment = id = fresh_id;
        rung_by_signals = plan.rung_by_signals;
        header.rung_by_signals = rung_by_signals ? 1 : 0;
        header.rule = rule = plan.rule;
        if (shape.kind == shm_layout::segment_kind::channel) {
            auto& reader = map.as<shm_layout::reader_page>(shm_layout::reader_offset);
            for (auto& lane : reader.lanes) lane.head = lane.taken = shape.first();
        } else if (shape.kind == shm_layout::segment_kind::topic) {
            for (std::size_t i = 0; i < shape.lanes; ++i) {
                map.as<shm_layout::publisher_page>(shape.lane_offset(i)).start(shape.rings());
            }
        }
        return {};
    }

    /// Reads and checks the header of an existing file.
    [[nodiscard]] result<void> adopt(
        const message_type& own, const std::string& where, diagnostics& why,
        shm_layout::segment_kind kind = shm_layout::segment_kind::channel) {
        struct stat s {};
        if (::fstat(file.get(), &s) != 0) return why.fail(last_error(), explain(where, errno));
        const auto size = static_cast<std::size_t>(s.st_size);
        if (!S_ISREG(s.st_mode) || size < shm_layout::page_bytes) {
            return why.fail(errc::corrupt, where + " is no segment of parley: it has " +
                                               std::to_string(size) + " bytes; it is left alone");
        }
        mapping map;
        if (auto r = map.map(file.get(), 0, shm_layout::page_bytes, PROT_READ); !r) {
            return why.fail(r.error(), explain("mapping " + where, errno));
        }
        const auto& header = map.as<const shm_layout::segment_header>();
        if (auto r = shm_layout::check_header(header, size, own, where, shape, why, kind); !r) {
            return r;
        }
        type = own;
        id = header.segment;
        net_namespace = header.net_namespace;
        owner_pid = header.owner_pid;
        pid_namespace = header.pid_namespace;
        rung_by_signals = header.rung_by_signals != 0;
        rule = header.rule;
        return {};
    }

    /// Who owns it by now, if the owner has had a successor.
    void look_who_owns() noexcept {
        shm_layout::segment_header h;
        if (::pread(file.get(), &h, sizeof h, 0) != sizeof h) return;
        owner_pid = h.owner_pid;
        pid_namespace = h.pid_namespace;
        net_namespace = h.net_namespace;
    }
    /// From now on the owner is this process, which holds the owner's lock.
    [[nodiscard]] result<void> sign() noexcept {
        shm_layout::segment_header h;
        if (::pread(file.get(), &h, sizeof h, 0) != sizeof h) return last_error();
        h.owner_pid = owner_pid = static_cast<std::uint32_t>(::getpid());
        h.pid_namespace = pid_namespace = namespace_id("pid");
        h.net_namespace = net_namespace = namespace_id("net");
        if (::pwrite(file.get(), &h, sizeof h, 0) != sizeof h) return last_error();
        return {};
    }
};

/// The file of a named segment.
struct segment_name {
    std::string directory;
    std::string name;
    parley::permissions permissions = {};

    static constexpr std::string_view prefix = "parley.";

    [[nodiscard]] std::string path() const {
        std::string p = directory;
        if (p.empty() || p.back() != '/') p += '/';
        return (p += prefix) += name;
    }
    [[nodiscard]] result<void> check(diagnostics& why) const {
        if (!name.empty() && name.size() <= 200 && name.find('/') == std::string::npos) return {};
        return why.fail(errc::invalid_argument,
                        "shm name '" + name + "': wants 1 to 200 characters and no '/'");
    }
};

/// Removes the name if it still means `file`; to be called with the owner's lock held.
inline void remove_name(const std::string& path, int file) noexcept {
    struct stat ours {
    }, named{};
    if (::fstat(file, &ours) == 0 && ::lstat(path.c_str(), &named) == 0 &&
        ours.st_ino == named.st_ino && ours.st_dev == named.st_dev) {
        ::unlink(path.c_str());
    }
}

/// A segment without a name, sealed against any change of its size: a peer cannot truncate it.
[[nodiscard]] inline result<void> anonymous_segment(segment& fresh, const segment_plan& plan,
                                                    std::uint64_t fresh_id, diagnostics& why) {
    fresh.file.reset(::memfd_create("parley", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fresh.file) return why.fail(last_error(), explain("making a memfd", errno));
    if (auto r = fresh.initialise(plan, fresh_id, "a memfd", why); !r) return r;
    if (::fcntl(fresh.file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return why.fail(last_error(), explain("sealing a memfd", errno));
    }
    return {};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
