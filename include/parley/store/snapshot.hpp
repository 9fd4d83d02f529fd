// SPDX-License-Identifier: MIT
// A file that holds one value and is replaced as a whole.
//
//   byte  0        8         12      16            24         32       40       48        52
//        +--------+---------+-------+-------------+----------+--------+--------+---------+------+
//        | magic  | layout  | check | fingerprint | sequence | time   | length | text    | zero |
//        | u64    | u32     | u32   | u64         | u64      | u64 ns | u64    | bytes   | u32  |
//        +--------+---------+-------+-------------+----------+--------+--------+---------+------+
//   56   | zero   | 64: the value, length bytes | description of its type, at most 1024 bytes     |
//        +--------+-----------------------------+------------------------------------------------+
//
// `check` is the CRC-32C of all of it, with check 0. The file is written under the name path.next,
// synced, and renamed; then the directory is synced. path.lock bears the sender's lock.
#pragma once

#include <parley/store/log_format.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace parley {
inline namespace v1 {
namespace store {

inline constexpr std::uint64_t snapshot_magic = 0x31504e53'59505250;  // "PRPYSNP1"
inline constexpr std::uint32_t snapshot_layout = 2;

struct snapshot_header {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t check;
    std::uint64_t fingerprint;
    std::uint64_t sequence;  // grows with every value
    std::uint64_t time;      // of the wall clock, ns since 1970
    std::uint64_t length;
    std::uint32_t description_bytes;
    std::uint32_t zero;
    std::uint64_t zero_too;
};
inline constexpr std::size_t snapshot_header_bytes = sizeof(snapshot_header);
inline constexpr std::size_t snapshot_description_max = 1024;
static_assert(snapshot_header_bytes == 64);
static_assert(offsetof(snapshot_header, check) == 12 && offsetof(snapshot_header, length) == 40);

/// The checksum of a header, whatever its check says, and of what follows it.
[[nodiscard]] inline std::uint32_t snapshot_check(snapshot_header& h, bytes rest) noexcept {
    const std::uint32_t says = std::exchange(h.check, 0);
    const std::uint32_t is = detail::crc32c(bytes_of(h), rest);
    h.check = says;
    return is;
}

/// How a type is described in a snapshot.
[[nodiscard]] inline std::string_view snapshot_description(const message_type& type) noexcept {
    return type.description.substr(0, snapshot_description_max);
}

/// Replaces the value at `path` by one that is written to `next`, `path` and ".next": readers, and
/// a crash, leave the old one or the new one. Behind the `length` bytes of the value there is room
/// for the type's description, which is put there. 0 or an errno: then it is the old one.
template <class Files>
[[nodiscard]] int write_snapshot(Files& fs, const std::string& path, const std::string& next,
                                 const message_type& type, std::uint64_t sequence, std::byte* value,
                                 std::size_t length, const detail::known_permissions& mode,
                                 bool durable) {
    const auto text = snapshot_description(type);
    std::memcpy(value + length, text.data(), text.size());
    const bytes rest(value, length + text.size());
    snapshot_header h{};
    h.magic = snapshot_magic;
    h.layout = snapshot_layout;
    h.fingerprint = type.fingerprint;
    h.sequence = sequence;
    h.time = wall_time();
    h.length = length;
    h.description_bytes = static_cast<std::uint32_t>(text.size());
    h.check = snapshot_check(h, rest);
    return replace(fs, path, next, bytes_of(h), rest, mode, durable);
}

/// What is in a snapshot; both lie in the room that its reader gave.
struct snapshot_content {
    bytes value;
    std::string_view description;
};

/// Reads header and content from an open file; `room(n)` gives n bytes. Errors: corrupt,
/// incompatible (layout), message_too_large (a value of more than `most` bytes), the file's.
template <class Files, class Room>
[[nodiscard]] result<snapshot_content> read_snapshot(Files& fs, typename Files::file& f,
                                                     const std::string& path, snapshot_header& h,
                                                     std::uint64_t most, Room room,
                                                     diagnostics& why) {
    // A short value comes with its header.
    constexpr std::size_t short_bytes = 4096;
    h = {};
    std::byte* to = room(short_bytes);
    const auto n =
        fs.read_at(f, 0, {reinterpret_cast<std::byte*>(&h), sizeof h}, {to, short_bytes});
    if (n < 0) return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
    if (n < 16 || h.magic != snapshot_magic) {
        return why.fail(errc::corrupt, path +
                                           " is no snapshot of parley (or of a machine with "
                                           "another byte order); it is left alone");
    }
    if (h.layout != snapshot_layout) {
        return why.fail(errc::incompatible, path + " has layout " + std::to_string(h.layout) +
                                                ", this program speaks layout " +
                                                std::to_string(snapshot_layout));
    }
    const auto damaged = [&](const char* how) {
        return why.fail(errc::corrupt, path + " is damaged: " + how +
                                           "; restore it, or let a sender write it anew");
    };
    if (static_cast<std::size_t>(n) < sizeof h) return damaged("it was cut off");
    if (h.description_bytes > snapshot_description_max) {
        return damaged("its header means nothing");
    }
    const auto there = [&](std::uint64_t rest) {
        return h.length <= rest && h.description_bytes <= rest - h.length;
    };
    const bool whole = there(static_cast<std::size_t>(n) - sizeof h);
    if (!whole && !there(fs.size(f) - sizeof h)) return damaged("it was cut off");
    if (h.length > most) {
        return why.fail(errc::message_too_large,
                        path + " holds a value of " + std::to_string(h.length) +
                            " bytes; ?message_bytes_max= allows " + std::to_string(most));
    }
    const auto length = static_cast<std::size_t>(h.length);
    const std::size_t rest = length + h.description_bytes;
    if (!whole) {
        to = room(rest);
        const auto got = fs.read_at(f, sizeof h, {to, rest});
        if (got < 0)
            return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
        if (static_cast<std::size_t>(got) != rest) return damaged("it was cut off");
    }
    if (snapshot_check(h, {to, rest}) != h.check) return damaged("its checksum is wrong");
    return snapshot_content{{to, length},
                            {reinterpret_cast<const char*>(to + length), h.description_bytes}};
}

}  // namespace store
}  // namespace v1
}  // namespace parley
