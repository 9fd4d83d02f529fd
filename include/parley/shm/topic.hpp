// SPDX-License-Identifier: MIT
// Segments that belong to all who take part: whoever comes first creates one, the last one to leave
// removes it, and the dead count for nothing.
//
// Each party shares lock byte 0 (F_RDLCK). Whoever gets the byte alone knows that nobody lives
// there: it is created, and removed, under that lock, and whoever joins looks, with the shared lock
// held, whether the name still means this file. To leave is to let the byte go and then to try to
// get it alone: of two who leave at once, the later one to try gets it, or finds that the other has
// it and removes the name. (Both trying to upgrade the shared lock would fail.)
#pragma once

#include <parley/base/error.hpp>
#include <parley/shm/creator.hpp>
#include <parley/shm/doorbell.hpp>
#include <parley/shm/segment.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The name at which subscriber j's descriptor is rung.
[[nodiscard]] inline socket_bell::name subscriber_bell(std::uint64_t segment, std::size_t j,
                                                       std::uint32_t claim) noexcept {
    return {segment, 1000 + static_cast<int>(j), claim};
}

/// Memory of this process for one message, made on first demand and kept.
class own_room {
public:
    /// n bytes, aligned as `alignment` says.
    void make(std::size_t n, std::size_t alignment) {
        if (at_ != nullptr) return;
        memory_ = std::make_unique_for_overwrite<std::byte[]>(n + alignment);
        const auto first = reinterpret_cast<std::uintptr_t>(memory_.get());
        at_ = memory_.get() + (alignment - first % alignment);
    }
    [[nodiscard]] std::byte* get() const noexcept { return at_; }
    explicit operator bool() const noexcept { return at_ != nullptr; }

private:
    std::unique_ptr<std::byte[]> memory_;
    std::byte* at_ = nullptr;
};

/// True if `path` still means this open file.
[[nodiscard]] inline bool is_named(const std::string& path, int file) noexcept {
    struct stat ours {
    }, named{};
    return ::fstat(file, &ours) == 0 && ::lstat(path.c_str(), &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

/// Joins those who live at `path`. Errors: not_found (nobody lives there; what the dead left may
/// lie there), would_block (somebody comes or goes this instant), those of segment::adopt.
[[nodiscard]] inline result<void> join_segment(segment& seg, const std::string& path,
                                               const message_type& own,
                                               shm_layout::segment_kind kind, diagnostics& why) {
    seg.file.reset(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (!seg.file) return why.fail(last_error(), explain("opening " + path, errno));
    const int fd = seg.file.get();
    auto r = seg.adopt(own, path, why, kind);
    // What the dead left may be of another type; who has it alone makes it or removes it.
    if (!r && r.error() == errc::corrupt) return r;
    if (!r && is_locked(fd, reader_lock)) {
        const bool of_another_kind = seg.shape.kind != kind;  // a channel's reader has it alone
        const bool is_shared = try_lock(fd, reader_lock, F_RDLCK).has_value();
        unlock(fd, reader_lock);
        return is_shared || of_another_kind ? r.error() : make_error_code(errc::would_block);
    }
    if (!r || try_lock(fd, reader_lock)) {
        unlock(fd, reader_lock);
        return why.fail(errc::not_found, "all who used " + path + " are dead");
    }
    if (!try_lock(fd, reader_lock, F_RDLCK) || !is_named(path, fd)) {
        return why.fail(errc::would_block, path + " is being made or removed");
    }
    return {};
}

/// Joins those who live at the name, or creates it. Errors: would_block, those of both.
[[nodiscard]] inline result<void> join_or_create(segment& seg, const segment_name& at,
                                                 const segment_plan& plan, diagnostics& why) {
    auto r = at.check(why);
    if (!r) return r;
    r = join_segment(seg, at.path(), plan.type, plan.shape.kind, why);
    if (r) return r;
    const bool damaged = r.error() == errc::corrupt && !is_locked(seg.file.get(), reader_lock);
    if (r.error() != errc::not_found && !damaged) return r;
    seg = segment{};
    r = segment_creator(at, plan, why).create(seg, fresh_id());
    if (!r) return r.error() == errc::in_use ? make_error_code(errc::would_block) : r.error();
    return try_lock(seg.file.get(), reader_lock, F_RDLCK);
}

/// Lets go, and removes the name if nobody else is there. Closes the file, and with it every lock.
inline void leave_segment(const std::string& path, unique_fd& file) noexcept {
    if (!file) return;
    unlock(file.get(), reader_lock);
    if (try_lock(file.get(), reader_lock)) remove_name(path, file.get());
    file.reset();
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
