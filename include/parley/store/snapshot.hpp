// SPDX-License-Identifier: MIT
// A file that holds one value and is replaced as a whole.
//
//   byte  0        8         12      16            24         32       40       48        52
//        +--------+---------+-------+-------------+----------+--------+--------+---------+------+
//        | magic  | layout  | check | fingerprint | sequence | time   | length | text    | zero |
//        | u64    | u32     | u32   | u64         | u64      | u64 ns | u64    | bytes   |      |
//        +--------+---------+-------+-------------+----------+--------+--------+---------+------+
//   56   | description of the type, 1024 bytes | zero u64 | 1088: the value, length bytes         |
//        +-------------------------------------+----------+---------------------------------------+
//
// `check` is the CRC-32C of header, with check 0, and value. The value is written under the name
// path.next, synced, and renamed; then the directory is synced. path.lock bears the sender's lock.
#pragma once

#include <parley/store/log_format.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace store {

inline constexpr std::uint64_t snapshot_magic = 0x31504e53'59505250;  // "PRPYSNP1"
inline constexpr std::uint32_t snapshot_layout = 1;

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
    char description[1024];
    std::uint64_t zero_too;
};
inline constexpr std::size_t snapshot_header_bytes = sizeof(snapshot_header);
static_assert(snapshot_header_bytes == 1088 && snapshot_header_bytes % 64 == 0);
static_assert(offsetof(snapshot_header, check) == 12 && offsetof(snapshot_header, length) == 40);
static_assert(offsetof(snapshot_header, description) == 56);

/// The checksum of a header, whatever its check says, and its value.
[[nodiscard]] inline std::uint32_t snapshot_check(snapshot_header& h, bytes value) noexcept {
    const std::uint32_t says = std::exchange(h.check, 0);
    const std::uint32_t is = detail::crc32c(bytes_of(h), value);
    h.check = says;
    return is;
}

[[nodiscard]] inline snapshot_header make_snapshot_header(const message_type& type,
                                                          std::uint64_t sequence,
                                                          bytes value) noexcept {
    snapshot_header h{};
    h.magic = snapshot_magic;
    h.layout = snapshot_layout;
    h.fingerprint = type.fingerprint;
    h.sequence = sequence;
    h.time = wall_time();
    h.length = value.size();
    const auto text = type.description.substr(0, sizeof h.description);
    h.description_bytes = static_cast<std::uint32_t>(text.size());
    std::memcpy(h.description, text.data(), text.size());
    h.check = snapshot_check(h, value);
    return h;
}

/// Replaces the value at `path` by one that is written to `next`, `path` and ".next": readers, and
/// a crash, leave the old one or the new one. 0 or an errno: then it is the old one.
template <class Files>
[[nodiscard]] int write_snapshot(Files& fs, const std::string& path, const std::string& next,
                                 const message_type& type, std::uint64_t sequence, bytes value,
                                 const detail::known_permissions& mode, bool durable) {
    const snapshot_header h = make_snapshot_header(type, sequence, value);
    return replace(fs, path, next, bytes_of(h), value, mode, durable);
}

/// Reads header and value from an open file; `room(n)` gives n bytes for the value, or nullptr if
/// they are too many. Errors: corrupt, incompatible (layout), those of the file.
template <class Files, class Room>
[[nodiscard]] result<bytes> read_snapshot(Files& fs, typename Files::file& f,
                                          const std::string& path, snapshot_header& h, Room room,
                                          diagnostics& why) {
    // A short value comes with its header.
    constexpr std::size_t short_bytes = 4096;
    h = {};
    std::byte* to = room(short_bytes);
    const auto n = fs.read_at(f, 0, {reinterpret_cast<std::byte*>(&h), sizeof h},
                              {to, to == nullptr ? 0 : short_bytes});
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
    if (h.description_bytes > sizeof h.description) return damaged("its header means nothing");
    const auto length = static_cast<std::size_t>(h.length);
    if (h.length > static_cast<std::size_t>(n) - sizeof h) {
        if (h.length > fs.size(f) - sizeof h) return damaged("it was cut off");
        to = room(length);
        if (to == nullptr) {
            return why.fail(errc::message_too_large, path + " holds a value of " +
                                                         std::to_string(h.length) +
                                                         " bytes; ?message_bytes_max= allows less");
        }
        const auto got = fs.read_at(f, sizeof h, {to, length});
        if (got < 0)
            return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
        if (static_cast<std::size_t>(got) != length) return damaged("it was cut off");
    }
    const bytes value(to, length);
    if (snapshot_check(h, value) != h.check) return damaged("its checksum is wrong");
    return value;
}

}  // namespace store
}  // namespace v1
}  // namespace parley
