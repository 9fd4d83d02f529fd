// SPDX-License-Identifier: MIT
// A file that holds one value and is replaced as a whole.
//
//   byte  0        8         12      16            24         32       40       48      52     56
//        +--------+---------+-------+-------------+----------+--------+--------+-------+------+----
//        | magic  | layout  | check | fingerprint | sequence | time   | length | text  | text | at
//        | u64    | u32     | u32   | u64         | u64      | u64 ns | u64    | bytes | check| u32
//        +--------+---------+-------+-------------+----------+--------+--------+-------+------+----
//   60   | zero | 64: description of the type, at most 1024 bytes, zeros | at: the value,
//        | u32  |                                                        | length bytes
//        +------+--------------------------------------------------------+-----------------
//
// `check` is the CRC-32C of the 64 bytes before the description, with check 0, and of the value;
// `text check` that of the description, which is looked at when types differ. The file is written
// under the name path.next, synced, and renamed; then the directory is synced. path.lock bears the
// sender's lock.
#pragma once

#include <parley/store/log_format.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
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
    std::uint32_t description_check;
    std::uint32_t value_at;  // aligned as the type wants
    std::uint32_t zero;
};
inline constexpr std::size_t snapshot_header_bytes = sizeof(snapshot_header);
inline constexpr std::size_t snapshot_description_max = 1024;
inline constexpr std::size_t snapshot_value_at_max = 1 << 20;
static_assert(snapshot_header_bytes == 64);

/// Whether a value of this type can be found again.
[[nodiscard]] constexpr bool fits_snapshot(const message_type& type) noexcept {
    return type.alignment <= snapshot_value_at_max / 2;
}
static_assert(offsetof(snapshot_header, check) == 12 && offsetof(snapshot_header, length) == 40);

/// A snapshot's file in memory, to be written or as it was read; its room grows, and stays.
class snapshot_image {
public:
    explicit snapshot_image(const message_type& type)
        : type_(type),
          text_(type.description.substr(0, snapshot_description_max)),
          alignment_(std::max<std::size_t>(64, type.alignment)),
          usual_at_((snapshot_header_bytes + text_.size() + alignment_ - 1) & ~(alignment_ - 1)) {}

    /// Memory for a value of n bytes that is to be written.
    [[nodiscard]] std::byte* room_for(std::size_t n) {
        if (usual_at_ + n > bytes_ || !is_ours_) [[unlikely]]
            make_ours(n);
        return at_ + usual_at_;
    }
    /// The file whose value lies, n bytes of it, where room_for said.
    [[nodiscard]] bytes seal(std::uint64_t sequence, std::size_t n) noexcept {
        auto& h = header();
        h.sequence = sequence;
        h.time = wall_time();
        h.length = n;
        h.check = check({at_ + usual_at_, n});
        return {at_, usual_at_ + n};
    }

    /// Reads the value of an open file, with its header. Errors: corrupt, incompatible (layout),
    /// message_too_large (more than `most` bytes), those of the file.
    template <class Files>
    [[nodiscard]] result<bytes> read(Files& fs, typename Files::file& f, const std::string& path,
                                     std::uint64_t most, diagnostics& why) {
        is_ours_ = false;
        if (bytes_ == 0) grow(usual_bytes);
        // Twice if there is more of it than room. Only who means harm writes in place, and more.
        for (int attempt = 0; attempt < 3; ++attempt) {
            const auto got = fs.read_at(f, 0, {at_, bytes_});
            if (got < 0) {
                return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
            }
            const auto n = static_cast<std::size_t>(got);
            if (const char* how = judge(n)) [[unlikely]]
                return refuse(how, path, why);
            const auto& h = header();
            const auto is_in = [&](std::uint64_t file) {
                return h.value_at <= file && h.length <= file - h.value_at;
            };
            const bool whole = is_in(n);
            if (!whole && !is_in(fs.size(f))) return refuse(cut_off, path, why);
            if (h.length > most) [[unlikely]] {
                return why.fail(errc::message_too_large,
                                path + " holds a value of " + std::to_string(h.length) +
                                    " bytes; ?message_bytes_max= allows " + std::to_string(most));
            }
            if (!whole) {
                grow(h.value_at + static_cast<std::size_t>(h.length));
                continue;
            }
            const bytes value(at_ + h.value_at, static_cast<std::size_t>(h.length));
            if (check(value) != h.check) return refuse("its checksum is wrong", path, why);
            return value;
        }
        return refuse(cut_off, path, why);
    }
    /// Of what was read or is to be written.
    [[nodiscard]] snapshot_header& header() const noexcept {
        return *reinterpret_cast<snapshot_header*>(at_);
    }
    /// The type of the value that was read, in words.
    [[nodiscard]] std::string_view description() const noexcept {
        return {reinterpret_cast<const char*>(at_ + snapshot_header_bytes),
                header().description_bytes};
    }

private:
    static constexpr std::size_t usual_bytes = 4096;

    /// What was there is gone.
    void grow(std::size_t n) {
        bytes_ = 0;
        n = std::max(n, usual_bytes);
        memory_ = std::make_unique_for_overwrite<std::byte[]>(n + alignment_);
        bytes_ = n;
        const auto first = reinterpret_cast<std::uintptr_t>(memory_.get());
        at_ = memory_.get() + (alignment_ - first % alignment_) % alignment_;
        std::memset(at_, 0, sizeof(snapshot_header));
    }
    [[gnu::noinline]] void make_ours(std::size_t n) {
        if (usual_at_ + n > bytes_) grow(std::max(usual_at_ + n, 2 * bytes_));
        std::memset(at_, 0, usual_at_);
        std::memcpy(at_ + snapshot_header_bytes, text_.data(), text_.size());
        auto& h = header();
        h.magic = snapshot_magic;
        h.layout = snapshot_layout;
        h.fingerprint = type_.fingerprint;
        h.description_bytes = static_cast<std::uint32_t>(text_.size());
        h.description_check = check_of_description();
        h.value_at = static_cast<std::uint32_t>(usual_at_);
        is_ours_ = true;
    }
    /// The checksum of header and value, whatever the header says.
    [[nodiscard]] std::uint32_t check(bytes value) const noexcept {
        auto& h = header();
        const std::uint32_t says = std::exchange(h.check, 0);
        const std::uint32_t is = detail::crc32c(bytes_of(h), value);
        h.check = says;
        return is;
    }
    [[nodiscard]] std::uint32_t check_of_description() const noexcept {
        const auto text = description();
        return detail::crc32c({reinterpret_cast<const std::byte*>(text.data()), text.size()});
    }

    // What is wrong with the beginning of a file, of which n bytes were read.
    static constexpr const char* foreign = "foreign";
    static constexpr const char* other_layout = "other layout";
    static constexpr const char* cut_off = "it was cut off";
    [[nodiscard]] const char* judge(std::size_t n) const noexcept {
        const auto& h = header();
        if (n < sizeof h) std::memset(at_ + n, 0, sizeof h - n);  // of a file before
        if (n < 16 || h.magic != snapshot_magic) return foreign;
        if (h.layout != snapshot_layout) return other_layout;
        if (n < sizeof h) return cut_off;
        if (h.description_bytes > snapshot_description_max || h.value_at > snapshot_value_at_max ||
            h.value_at < sizeof h + h.description_bytes) {
            return "its header means nothing";
        }
        if (n < sizeof h + h.description_bytes) return cut_off;
        const bool ours = h.fingerprint == type_.fingerprint;
        if (!ours && check_of_description() != h.description_check) return "its type is unreadable";
        return nullptr;
    }
    [[gnu::noinline]] error_code refuse(const char* how, const std::string& path,
                                        diagnostics& why) const {
        if (how == foreign) {
            return why.fail(errc::corrupt, path +
                                               " is no snapshot of parley (or of a machine with "
                                               "another byte order); it is left alone");
        }
        if (how == other_layout) {
            return why.fail(errc::incompatible,
                            path + " has layout " + std::to_string(header().layout) +
                                ", this program speaks layout " + std::to_string(snapshot_layout));
        }
        return why.fail(errc::corrupt, path + " is damaged: " + how +
                                           "; restore it, or let a sender write it anew");
    }

    message_type type_;
    std::string_view text_;
    std::size_t alignment_;
    std::size_t usual_at_;  // where the value lies in what we write
    std::unique_ptr<std::byte[]> memory_;
    std::byte* at_ = nullptr;  // the file
    std::size_t bytes_ = 0;    // room for it
    bool is_ours_ = false;     // header and description are those of our type
};

}  // namespace store
}  // namespace v1
}  // namespace parley
