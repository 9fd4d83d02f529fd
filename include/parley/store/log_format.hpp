// SPDX-License-Identifier: MIT
// What a log is in the file system.
//
//   path                         the file that is written; it begins with a header, records follow
//   path.00000000000000065536    older files, by the position at which they begin (rotation)
//   path.ends                    who is there and how far the reader is (ends.hpp)
//   path.cut.<position>          what a sender cut off behind the last good record, if anything
//
//   byte  0        8         12       16            24         32         40       48      52
//        +--------+---------+--------+-------------+----------+----------+--------+-------+-------+
//        | magic  | layout  | header | fingerprint | first    | first    | made   | check | text  |
//        | u64    | u32     | bytes  | u64         | position | sequence | u64 ns | u32   | bytes |
//        +--------+---------+--------+-------------+----------+----------+--------+-------+-------+
//   56   | sender | zero | 64: description of the message type, up to 1024 bytes, zeros    | 1088
//        | u32    | u32  |                                                                 |
//        +--------+------+-----------------------------------------------------------------+
//
// `sender` is the number of the opening that made the file: no record in it has a lesser one.
// A file is complete before it has its name. The last record of an older file is a turn; the next
// file begins at the position behind it. A turn is written and synced, then the file gets its old
// name, then the new file its name in one step: whatever is lost in between, an opener finishes it.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/store/files.hpp>
#include <parley/store/record.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {
namespace store {

inline constexpr std::uint64_t log_magic = 0x31474f4c'59505250;  // "PRPYLOG1" in its own order
inline constexpr std::uint32_t log_layout = 1;

struct log_header {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t header_bytes;
    std::uint64_t fingerprint;  // 0: a receiver of any type made the log, no sender came yet
    std::uint64_t first_position;
    std::uint64_t first_sequence;
    std::uint64_t time;
    std::uint32_t check;  // of all of it, with check 0
    std::uint32_t description_bytes;
    std::uint32_t sender;
    std::uint32_t zero;
    char description[1024];
};
inline constexpr std::size_t log_header_bytes = sizeof(log_header);
static_assert(log_header_bytes == 1088 && offsetof(log_header, first_position) == 24);
static_assert(offsetof(log_header, check) == 48 && offsetof(log_header, description) == 64);

[[nodiscard]] inline std::uint32_t log_header_check(log_header h) noexcept {
    h.check = 0;
    return detail::crc32c({reinterpret_cast<const std::byte*>(&h), sizeof h});
}

[[nodiscard]] inline log_header make_log_header(const message_type& type, std::uint64_t position,
                                                std::uint64_t sequence,
                                                std::uint32_t sender = 0) noexcept {
    log_header h{};
    h.sender = sender;
    h.magic = log_magic;
    h.layout = log_layout;
    h.header_bytes = log_header_bytes;
    h.fingerprint = type.fingerprint;
    h.first_position = position;
    h.first_sequence = sequence;
    h.time = wall_time();
    const auto text = type.description.substr(0, sizeof h.description);
    h.description_bytes = static_cast<std::uint32_t>(text.size());
    std::memcpy(h.description, text.data(), text.size());
    h.check = log_header_check(h);
    return h;
}

/// The bytes of a header or another plain struct.
template <class Plain>
[[nodiscard]] bytes bytes_of(const Plain& p) noexcept {
    return {reinterpret_cast<const std::byte*>(&p), sizeof p};
}

/// Checks a header that somebody else wrote. Errors: corrupt, incompatible (another layout).
[[nodiscard]] inline result<void> check_log_header(const log_header& h, std::size_t bytes_read,
                                                   const std::string& where, diagnostics& why) {
    if (bytes_read < 16 || h.magic != log_magic) {
        return why.fail(errc::corrupt, where +
                                           " is no log of parley (or of a machine with another "
                                           "byte order); it is left alone");
    }
    if (h.layout != log_layout) {
        return why.fail(errc::incompatible, where + " has layout " + std::to_string(h.layout) +
                                                ", this program speaks layout " +
                                                std::to_string(log_layout) +
                                                ": build both with the same parley");
    }
    if (bytes_read < log_header_bytes || h.header_bytes != log_header_bytes ||
        h.description_bytes > sizeof h.description || h.check != log_header_check(h)) {
        return why.fail(errc::corrupt,
                        where +
                            " is damaged: the checksum of its header is wrong; restore it, or "
                            "move it away and begin a new one");
    }
    return {};
}

/// The names of a log.
struct log_names {
    std::string path;

    [[nodiscard]] std::string older(std::uint64_t position) const {
        char digits[24];
        std::snprintf(digits, sizeof digits, ".%020llu", static_cast<unsigned long long>(position));
        return path + digits;
    }
    [[nodiscard]] std::string ends() const { return path + ".ends"; }
    [[nodiscard]] std::string fresh() const { return path + ".next"; }
    [[nodiscard]] std::string cut(std::uint64_t position) const {
        return path + ".cut." + std::to_string(position);
    }
    /// The positions at which the older files begin, in order.
    template <class Files>
    [[nodiscard]] std::vector<std::uint64_t> all_older(Files& fs) const {
        std::vector<std::uint64_t> found;
        const std::size_t before = name_of(path).size() + 1;
        for (const auto& name : fs.beginning_with(path + '.')) {
            const auto digits = std::string_view(name).substr(before);
            const bool number = digits.size() == 20 &&
                                digits.find_first_not_of("0123456789") == std::string_view::npos;
            if (number) found.push_back(std::strtoull(digits.data(), nullptr, 10));
        }
        std::sort(found.begin(), found.end());
        return found;
    }
};

/// Reads the header of an open file of a log.
template <class Files>
[[nodiscard]] result<void> read_log_header(Files& fs, const typename Files::file& f,
                                           const std::string& where, log_header& out,
                                           diagnostics& why) {
    out = {};
    const auto n = fs.read_at(f, 0, {reinterpret_cast<std::byte*>(&out), sizeof out});
    if (n < 0) return why.fail(detail::last_error(), detail::explain("reading " + where, errno));
    return check_log_header(out, static_cast<std::size_t>(n), where, why);
}

}  // namespace store
}  // namespace v1
}  // namespace parley
