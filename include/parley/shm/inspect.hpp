// SPDX-License-Identifier: MIT
// Looking at segments without taking part: who owns them, who writes, what was left behind.
#pragma once

#include <parley/shm/creator.hpp>
#include <parley/shm/segment.hpp>

#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {

/// A lane of a segment, as an onlooker sees it. Positions are bytes since the segment began, with
/// the headers of messages.
struct lane_report {
    std::uint32_t number = 0;
    std::uint32_t pid = 0;           ///< of the writer that took it last
    bool alive = false;              ///< that writer lives and has not closed
    std::uint64_t head = 0;          ///< everything before was received and let go
    std::uint64_t written = 0;       ///< everything before was sent
    std::uint64_t waiting = 0;       ///< messages in between
    std::uint64_t passed = 0;        ///< messages received since the earlier look; 0 without one
    std::uint64_t passed_bytes = 0;  ///< their payload
    bool estimated = false;  ///< so many that only the first were counted, the rest by their length

    /// Fills what follows from the positions. `told` is the writer's hint, a little behind.
    void count(const detail::segment& seg, std::uint64_t received, std::uint64_t told,
               const lane_report* before);
};

/// What can be read of a segment by looking on. Takes no lane, rings no bell, holds no lock.
///
///     auto seen = parley::segment_report::of("/dev/shm/parley.ticks", why).value();
///     auto then = parley::segment_report::of("/dev/shm/parley.ticks", why, &seen).value();
///     if (!then.lanes.empty()) rate = then.lanes[0].passed;  // messages between both looks
///
/// The file is opened for reading only; the first words of at most `count_max` messages of a lane
/// are read, and the cursors. Nobody can tell that somebody looked, but for the cache lines that
/// this costs.
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
    std::uint32_t chunks = 0;          ///< of a topic: into how many these bytes are divided
    std::uint64_t memory_bytes = 0;    ///< that the file really takes
    std::uint32_t writers_max = 0;
    std::uint32_t owner_pid = 0;  ///< as the owner's PID namespace counts
    std::uint32_t owner_uid = 0;
    std::uint32_t mode = 0;
    bool alive = false;                  ///< its receiver lives; of the others, anybody
    bool same_namespace = false;         ///< owner_pid means the same here
    bool same_network = false;           ///< so do the bells of pollable ends
    std::vector<std::uint32_t> writers;  ///< process of each live writer
    std::vector<std::uint32_t> readers;  ///< of a topic: process of each live subscriber
    std::vector<lane_report> lanes;      ///< of a channel: each that was ever taken
    std::uint64_t id = 0;                ///< another one under the same name has another

    static constexpr std::uint64_t count_max = 256;

    /// With the report of an earlier look, what went through each lane since is counted.
    [[nodiscard]] static result<segment_report> of(const std::string& path, diagnostics& why,
                                                   const segment_report* before = nullptr);

private:
    void look_at_lanes(const detail::segment& seg, const segment_report* before);
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

namespace detail {

/// Messages along a stretch of a lane. What lies there may be changed at any time by its writer: a
/// walk over what is overwritten ends early.
struct lane_walk {
    const segment& seg;
    std::size_t lane;
    std::uint64_t from;
    std::uint64_t at = from;  ///< how far it came
    std::uint64_t steps = 0;
    std::uint64_t messages = 0;
    std::uint64_t payload_bytes = 0;

    /// Goes on to `until`, to a place where no message is, or over `at_most` of them.
    void go(std::uint64_t until, std::uint64_t at_most) {
        for (std::uint64_t word = 0; at < until && steps < at_most; ++steps) {
            if (!read(at, {reinterpret_cast<std::byte*>(&word), sizeof word})) return;
            if (!step(word)) return;
        }
    }
    /// Goes over the one message that ends at `end`: a commit word before it whose length leads
    /// there. Longer ones than `search_max` are not found.
    void find_last(std::uint64_t end) {
        static constexpr std::size_t window = std::size_t{64} << 10;
        const auto room = std::make_unique<std::byte[]>(window);
        const std::uint64_t least =
            end - std::min<std::uint64_t>({end, seg.shape.capacity, search_max});
        for (std::uint64_t low = end; low > least;) {
            const std::uint64_t high = low;
            low -= std::min<std::uint64_t>(window, low - least);
            if (!read(low, {room.get(), static_cast<std::size_t>(high - low)})) break;
            for (from = high - 8; from >= low && from < high; from -= 8) {
                std::uint64_t word = 0;
                std::memcpy(&word, room.get() + (from - low), sizeof word);
                at = from;
                if (step(word) && at == end) return;
                messages = payload_bytes = 0;
            }
        }
        from = at = end;
    }
    static constexpr std::uint64_t search_max = std::uint64_t{4} << 20;

private:
    bool step(std::uint64_t word) noexcept {
        const auto length = static_cast<std::size_t>(word & 0xffffffffU);
        const bool end = word == shm_layout::commit_word(shm_layout::record::end, 0);
        if (!end && word != shm_layout::commit_word(shm_layout::record::message, length)) {
            return false;
        }
        if (length > seg.shape.message_bytes_max()) return false;
        at += seg.shape.stride(length);
        messages += end ? 0 : 1;
        payload_bytes += length;
        return true;
    }
    /// The ring begins anew at its end, which a file does not.
    [[nodiscard]] bool read(std::uint64_t position, mutable_bytes into) const {
        while (!into.empty()) {
            const auto in_ring = static_cast<std::size_t>(position & (seg.shape.capacity - 1));
            const auto n = std::min(into.size(), seg.shape.capacity - in_ring);
            const auto got = ::pread(seg.file.get(), into.data(), n,
                                     static_cast<off_t>(seg.shape.ring_offset(lane) + in_ring));
            if (got != static_cast<ssize_t>(n)) return false;
            into = into.subspan(n);
            position += n;
        }
        return true;
    }
};
[[nodiscard]] inline std::uint64_t scaled(std::uint64_t n, double times) noexcept {
    return static_cast<std::uint64_t>(static_cast<double>(n) * times + 0.5);
}

}  // namespace detail

inline result<segment_report> segment_report::of(const std::string& path, diagnostics& why,
                                                 const segment_report* before) {
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
    out.chunks = static_cast<std::uint32_t>(seg.shape.chunks);
    out.message_bytes_max =
        out.chunks != 0 ? seg.shape.chunk_bytes() : seg.shape.message_bytes_max();
    out.capacity_bytes = seg.shape.capacity;
    out.memory_bytes = static_cast<std::uint64_t>(s.st_blocks) * 512;
    out.writers_max = static_cast<std::uint32_t>(seg.shape.lanes);
    out.owner_pid = seg.owner_pid;
    out.owner_uid = s.st_uid;
    out.mode = s.st_mode & 07777;
    out.alive = detail::is_locked(seg.file.get(), detail::reader_lock);
    out.same_namespace = seg.pid_namespace != 0 && seg.pid_namespace == detail::namespace_id("pid");
    out.same_network = seg.net_namespace != 0 && seg.net_namespace == detail::namespace_id("net");
    const auto signed_by = [&](std::size_t at, std::vector<std::uint32_t>& who) {
        std::uint32_t pid = 0;  // at the same place in the page of every party
        const auto field = static_cast<off_t>(at + offsetof(shm_layout::lane_page, pid));
        if (::pread(seg.file.get(), &pid, sizeof pid, field) == sizeof pid) who.push_back(pid);
    };
    for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
        if (!detail::is_locked(seg.file.get(), detail::writer_lock(i))) continue;
        signed_by(seg.shape.lane_offset(i), out.writers);
    }
    out.id = seg.id;
    if (out.kind == shm_layout::segment_kind::channel) {
        out.look_at_lanes(seg, before != nullptr && before->id == seg.id ? before : nullptr);
    }
    if (out.kind != shm_layout::segment_kind::topic) return out;
    for (std::size_t j = 0; j < shm_layout::readers_max; ++j) {
        if (!detail::is_locked(seg.file.get(), detail::subscriber_lock(j))) continue;
        signed_by(seg.shape.cursors_offset(j), out.readers);
    }
    return out;
}

inline void lane_report::count(const detail::segment& seg, std::uint64_t received,
                               std::uint64_t told, const lane_report* before) {
    const std::uint64_t room = seg.shape.capacity, most = segment_report::count_max;
    head = received;
    detail::lane_walk ahead{seg, number, head};
    ahead.go(head + room, most);
    estimated = ahead.steps == most;
    written = estimated && told - head <= room ? std::max(told, ahead.at) : ahead.at;
    waiting = ahead.messages;
    if (estimated && waiting > 0) {
        waiting = detail::scaled(
            waiting, static_cast<double>(written - head) / static_cast<double>(ahead.at - head));
    }
    if (before == nullptr || before->head >= head) return;
    // What passed lies there until it is overwritten; then other messages stand for it.
    detail::lane_walk behind{seg, number, before->head};
    if (head - before->head <= room) behind.go(head, most);
    detail::lane_walk last{seg, number, head};
    if (behind.messages == 0 && ahead.messages == 0) last.find_last(head);
    const auto& sample = behind.steps > 0 ? behind : ahead.messages > 0 ? ahead : last;
    const bool all = &sample == &behind && behind.at == head;
    const double times = all || sample.at == sample.from
                             ? 1
                             : static_cast<double>(head - before->head) /
                                   static_cast<double>(sample.at - sample.from);
    passed = detail::scaled(sample.messages, times);
    passed_bytes = detail::scaled(sample.payload_bytes, times);
    estimated = estimated || !all;
}

inline void segment_report::look_at_lanes(const detail::segment& seg,
                                          const segment_report* before) {
    const auto read = [&](auto& page, std::size_t at) {
        return ::pread(seg.file.get(), &page, sizeof page, static_cast<off_t>(at)) == sizeof page;
    };
    for (std::size_t i = 0; i < seg.shape.lanes; ++i) {
        shm_layout::lane_page page{};
        shm_layout::lane_cursor cursor{};
        if (!read(page, seg.shape.lane_offset(i)) ||
            !read(cursor, shm_layout::reader_offset + offsetof(shm_layout::reader_page, lanes) +
                              i * sizeof cursor)) {
            continue;
        }
        if (page.claims == 0) continue;
        const lane_report* earlier = nullptr;
        for (std::size_t n = 0; before != nullptr && n < before->lanes.size(); ++n) {
            if (before->lanes[n].number == i) earlier = &before->lanes[n];
        }
        lane_report lane;
        lane.number = static_cast<std::uint32_t>(i);
        lane.pid = page.pid;
        lane.alive = detail::is_locked(seg.file.get(), detail::writer_lock(i));
        lane.count(seg, cursor.head, page.progress.written, earlier);
        lanes.push_back(lane);
    }
}

}  // namespace v1
}  // namespace parley
