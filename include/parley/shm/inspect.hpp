// SPDX-License-Identifier: MIT
// Looking at segments without taking part: who owns them, who writes, what was left behind.
#pragma once

#include <parley/shm/segment.hpp>

#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {

/// What can be read of a segment by looking on. Takes no lane, rings no bell, holds no lock.
///
///     auto seen = parley::segment_report::of("/dev/shm/parley.ticks", why).value();
///
/// Thread safety: a regular value. Blocking: never. Errors of `of`: not_found, denied (the file of
/// another user), corrupt (no segment, or a damaged one), incompatible (another layout version).
struct segment_report {
    std::string path;
    shm_layout::segment_kind kind{};  ///< a channel, a topic or a latest value
    std::string type;                 ///< the receiver's, or creator's, description of its messages
    std::uint64_t fingerprint = 0;
    std::uint64_t message_bytes_max = 0;
    std::uint64_t capacity_bytes = 0;  ///< of each lane
    std::uint64_t memory_bytes = 0;    ///< that the file really takes
    std::uint32_t writers_max = 0;
    std::uint32_t owner_pid = 0;  ///< as the owner's PID namespace counts
    std::uint32_t owner_uid = 0;
    std::uint32_t mode = 0;
    bool alive = false;                  ///< its receiver lives; of the others, anybody
    bool same_namespace = false;         ///< owner_pid means the same here
    std::vector<std::uint32_t> writers;  ///< process of each live writer
    std::vector<std::uint32_t> readers;  ///< of a topic: process of each live subscriber

    [[nodiscard]] static result<segment_report> of(const std::string& path, diagnostics& why);
};

using detail::remove_stale_segment;

/// The files in `directory` that are named like segments, sorted. Empty if it cannot be read.
[[nodiscard]] inline std::vector<std::string> segment_files(const std::string& directory) {
    std::vector<std::string> found;
    DIR* all = ::opendir(directory.c_str());
    if (all == nullptr) return found;
    while (const dirent* entry = ::readdir(all)) {
        if (std::string_view(entry->d_name).starts_with(detail::segment_name::prefix)) {
            found.push_back(directory + '/' + entry->d_name);
        }
    }
    ::closedir(all);
    std::sort(found.begin(), found.end());
    return found;
}

inline result<segment_report> segment_report::of(const std::string& path, diagnostics& why) {
    detail::segment seg;
    seg.file.reset(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat s {};
    if (!seg.file || ::fstat(seg.file.get(), &s) != 0) {
        return why.fail(detail::last_error(), detail::explain("looking at " + path, errno));
    }
    detail::mapping map;
    if (!S_ISREG(s.st_mode) || s.st_size < off_t{shm_layout::page_bytes} ||
        !map.map(seg.file.get(), 0, shm_layout::page_bytes, PROT_READ)) {
        return why.fail(errc::corrupt, path + " is no segment of parley");
    }
    const auto& header = map.as<const shm_layout::segment_header>();
    const message_type same{header.fingerprint, {}, 8};
    if (auto r = seg.adopt(same, path, why, shm_layout::segment_kind::any); !r) return r.error();

    segment_report out;
    out.path = path;
    out.kind = seg.shape.kind;
    const auto length = std::min<std::size_t>(header.description_bytes, sizeof header.description);
    out.type.assign(header.description, length);
    out.fingerprint = same.fingerprint;
    out.message_bytes_max = seg.shape.message_bytes_max();
    out.capacity_bytes = seg.shape.capacity;
    out.memory_bytes = static_cast<std::uint64_t>(s.st_blocks) * 512;
    out.writers_max = static_cast<std::uint32_t>(seg.shape.lanes);
    out.owner_pid = seg.owner_pid;
    out.owner_uid = s.st_uid;
    out.mode = s.st_mode & 07777;
    out.alive = detail::is_locked(seg.file.get(), detail::reader_lock);
    out.same_namespace = seg.pid_namespace != 0 && seg.pid_namespace == detail::namespace_id("pid");
    const auto signed_by = [&](std::size_t at, std::vector<std::uint32_t>& who) {
        std::uint32_t pid = 0;  // at the same place in the page of every party
        const auto field = static_cast<off_t>(at + offsetof(shm_layout::lane_page, pid));
        if (::pread(seg.file.get(), &pid, sizeof pid, field) == sizeof pid) who.push_back(pid);
    };
    for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
        if (!detail::is_locked(seg.file.get(), detail::writer_lock(i))) continue;
        signed_by(seg.shape.lane_offset(i), out.writers);
    }
    if (out.kind != shm_layout::segment_kind::topic) return out;
    for (std::size_t j = 0; j < shm_layout::readers_max; ++j) {
        if (!detail::is_locked(seg.file.get(), detail::subscriber_lock(j))) continue;
        signed_by(seg.shape.cursors_offset(j), out.readers);
    }
    return out;
}

}  // namespace v1
}  // namespace parley
