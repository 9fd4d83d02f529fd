// SPDX-License-Identifier: MIT
// A file that holds one value and is replaced as a whole.
//
//   byte  0        8         12      16            24         28       32
//        +--------+---------+-------+-------------+----------+--------+-------------------+-------
//        | magic  | layout  | text  | fingerprint | value at | check  | description of    | zeros
//        | u64    | u32     | bytes | u64         | u32      | u32    | the type, at most |
//        |        |         | u32   |             |          |        | 1024 bytes        |
//        +--------+---------+-------+-------------+----------+--------+-------------------+-------
//   value at - 32          - 24       - 16   - 8      value at
//        +-------+-------+----------+-------+--------+---------------------
//        | check | zero  | sequence | time  | length | the value,
//        | u32   | u32   | u64      | u64 ns| u64    | length bytes
//        +-------+-------+----------+-------+--------+---------------------
//
// The first check is the CRC-32C of the 28 bytes before it and of the description, the second one
// that of all that follows the zero. So what stays and what changes with each value have their own,
// and each lies in one stretch. The file is written under the name path.next, synced, and renamed;
// then the directory is synced. path.lock bears the sender's lock.
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
inline constexpr std::uint32_t snapshot_layout = 3;

/// What is the same for all values of a type.
struct snapshot_head {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t text_bytes;
    std::uint64_t fingerprint;
    std::uint32_t value_at;  // aligned as the type wants
    std::uint32_t check;
};
/// What lies before each value.
struct snapshot_stamp {
    std::uint32_t check;
    std::uint32_t zero;
    std::uint64_t sequence;  // grows with every value
    std::uint64_t time;      // of the wall clock, ns since 1970
    std::uint64_t length;
};
static_assert(sizeof(snapshot_head) == 32 && offsetof(snapshot_head, check) == 28);
static_assert(sizeof(snapshot_stamp) == 32 && offsetof(snapshot_stamp, sequence) == 8);
inline constexpr std::size_t snapshot_description_max = 1024;
inline constexpr std::size_t snapshot_value_at_max = 1 << 20;

/// Whether a value of this type can be found again.
[[nodiscard]] constexpr bool fits_snapshot(const message_type& type) noexcept {
    return type.alignment <= snapshot_value_at_max / 2;
}

/// A snapshot's file in memory, to be written or as it was read; its room grows, and stays.
class snapshot_image {
public:
    explicit snapshot_image(const message_type& type)
        : alignment_(std::max<std::size_t>(64, type.alignment)) {
        const auto text = type.description.substr(0, snapshot_description_max);
        usual_at_ = sizeof(snapshot_head) + text.size() + sizeof(snapshot_stamp);
        usual_at_ = (usual_at_ + alignment_ - 1) & ~(alignment_ - 1);
        usual_ = {snapshot_magic,
                  snapshot_layout,
                  static_cast<std::uint32_t>(text.size()),
                  type.fingerprint,
                  static_cast<std::uint32_t>(usual_at_),
                  0};
        usual_.check = check(usual_, text);
        text_ = text;
    }

    /// Memory for a value of n bytes that is to be written.
    [[nodiscard, gnu::always_inline]] std::byte* room_for(std::size_t n) {
        if (n >= room_) [[unlikely]]
            make_ours(n);
        return own_;
    }
    /// The file whose value lies, n bytes of it, where room_for said.
    [[nodiscard, gnu::always_inline]] bytes seal(std::uint64_t sequence, std::size_t n) noexcept {
        auto& stamp = *(reinterpret_cast<snapshot_stamp*>(own_) - 1);
        stamp.sequence = sequence;
        stamp.time = wall_time();
        stamp.length = n;
        stamp.check = check(stamp, n);
        return {at_, usual_at_ + n};
    }

    /// Where the beginning of a file can be read to, for usual().
    [[nodiscard]] mutable_bytes room() const noexcept { return {at_, bytes_}; }
    /// The value of our type in a file of which `got` bytes were read into room(), if it is n bytes
    /// long, all of it is there and as usual; else null, and read() knows more.
    [[nodiscard, gnu::always_inline]] const snapshot_stamp* usual(ssize_t got,
                                                                  std::size_t n) noexcept {
        room_ = 0;
        if (got < static_cast<ssize_t>(usual_at_ + n) ||
            std::memcmp(at_, &usual_, sizeof usual_) != 0) {
            return nullptr;
        }
        const snapshot_stamp* const stamp = stamp_at(usual_at_);
        return stamp->length == n && check(*stamp, n) == stamp->check ? stamp : nullptr;
    }
    /// Reads the value of an open file. Errors: corrupt, incompatible (layout), message_too_large
    /// (more than `most` bytes), those of the file.
    template <class Files>
    [[nodiscard]] result<bytes> read(Files& fs, typename Files::file& f, const std::string& path,
                                     std::uint64_t most, diagnostics& why) {
        room_ = 0;
        stamp_ = nullptr;
        if (bytes_ == 0) grow(usual_bytes);
        // Twice if there is more of it than room. Only who means harm writes in place, and more.
        for (int attempt = 0; attempt < 4; ++attempt) {
            const auto got = fs.read_at(f, 0, {at_, bytes_});
            if (got < 0) {
                return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
            }
            const auto n = static_cast<std::size_t>(got);
            if (const char* how = judge(n)) return refuse(how, path, why);
            const std::size_t at = head().value_at;
            if (at > n) {
                if (fs.size(f) < at) return refuse(cut_off, path, why);
                grow(at + usual_bytes);
                continue;
            }
            stamp_ = stamp_at(at);
            const std::uint64_t length = stamp_->length;
            const bool whole = length <= n - at;
            if (!whole && length > fs.size(f) - at) return refuse(cut_off, path, why);
            if (length > most) {
                return why.fail(errc::message_too_large,
                                path + " holds a value of " + std::to_string(length) +
                                    " bytes; ?message_bytes_max= allows " + std::to_string(most));
            }
            const bytes value(at_ + at, static_cast<std::size_t>(length));
            if (!whole) {
                grow(at + value.size());
            } else if (check(*stamp_, value.size()) != stamp_->check) {
                return refuse("its checksum is wrong", path, why);
            } else {
                return value;
            }
        }
        return refuse(cut_off, path, why);
    }
    /// Of what was read or is to be written.
    [[nodiscard]] const snapshot_head& head() const noexcept {
        return *reinterpret_cast<const snapshot_head*>(at_);
    }
    /// That of what read() read, also of a damaged value; null if it could not be found.
    [[nodiscard]] const snapshot_stamp* stamp() const noexcept { return stamp_; }
    /// The type of the value that was read, in words.
    [[nodiscard]] std::string_view description() const noexcept {
        return {reinterpret_cast<const char*>(at_ + sizeof(snapshot_head)), head().text_bytes};
    }

private:
    static constexpr std::size_t usual_bytes = 4096;

    [[nodiscard]] snapshot_stamp* stamp_at(std::size_t value_at) const noexcept {
        return reinterpret_cast<snapshot_stamp*>(at_ + value_at - sizeof(snapshot_stamp));
    }
    /// What was there is gone.
    void grow(std::size_t n) {
        bytes_ = 0;
        stamp_ = nullptr;
        n = std::max(n, usual_bytes);
        memory_ = std::make_unique_for_overwrite<std::byte[]>(n + alignment_);
        bytes_ = n;
        const auto first = reinterpret_cast<std::uintptr_t>(memory_.get());
        at_ = memory_.get() + (alignment_ - first % alignment_) % alignment_;
        std::memset(at_, 0, sizeof(snapshot_head));
    }
    [[gnu::noinline]] void make_ours(std::size_t n) {
        if (usual_at_ + n > bytes_) grow(std::max(usual_at_ + n, 2 * bytes_));
        std::memset(at_, 0, usual_at_);
        std::memcpy(at_, &usual_, sizeof usual_);
        std::memcpy(at_ + sizeof usual_, text_.data(), text_.size());
        own_ = at_ + usual_at_;
        room_ = bytes_ - usual_at_ + 1;
    }
    [[nodiscard]] static std::uint32_t check(const snapshot_head& h,
                                             std::string_view text) noexcept {
        return detail::crc32c(bytes_of(h).first(offsetof(snapshot_head, check)),
                              {reinterpret_cast<const std::byte*>(text.data()), text.size()});
    }
    /// Of a stamp and the n bytes behind it.
    [[nodiscard, gnu::always_inline]] static std::uint32_t check(const snapshot_stamp& s,
                                                                 std::size_t n) noexcept {
        constexpr std::size_t from = offsetof(snapshot_stamp, sequence);
#if defined(__x86_64__)
        // Here and not behind a call: this is what every value costs twice.
        if (__builtin_cpu_supports("sse4.2")) return check_by_processor(s, n);
#endif
        return detail::crc32c({reinterpret_cast<const std::byte*>(&s) + from, sizeof s - from + n});
    }

#if defined(__x86_64__)
    [[nodiscard, gnu::always_inline]] static std::uint32_t check_by_processor(
        const snapshot_stamp& s, std::size_t n) noexcept {
        std::uint64_t sum = 0xffffffff;
        for (const auto* at : {&s.sequence, &s.time, &s.length}) {
            sum = detail::crc32c_of_word(sum, reinterpret_cast<const std::byte*>(at));
        }
        return ~static_cast<std::uint32_t>(
            detail::crc32c_go_on(sum, {reinterpret_cast<const std::byte*>(&s + 1), n}));
    }
#endif

    // What is wrong with the beginning of a file, of which n bytes were read.
    static constexpr const char* foreign = "foreign";
    static constexpr const char* other_layout = "other layout";
    static constexpr const char* cut_off = "it was cut off";
    [[nodiscard]] const char* judge(std::size_t n) const noexcept {
        if (n < sizeof(snapshot_head)) std::memset(at_ + n, 0, sizeof(snapshot_head) - n);
        const auto& h = head();
        if (n < 16 || h.magic != snapshot_magic) return foreign;
        if (h.layout != snapshot_layout) return other_layout;
        if (n < sizeof h) return cut_off;
        const std::size_t least = sizeof h + h.text_bytes + sizeof(snapshot_stamp);
        if (h.text_bytes > snapshot_description_max || h.value_at > snapshot_value_at_max ||
            h.value_at < least || h.value_at % 64 != 0) {
            return "its header means nothing";
        }
        if (n < sizeof h + h.text_bytes) return cut_off;
        if (check(h, description()) != h.check) return "its type is unreadable";
        if (h.fingerprint == usual_.fingerprint && h.value_at % alignment_ != 0) {
            return "its value lies where no such value can";
        }
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
                            path + " has layout " + std::to_string(head().layout) +
                                ", this program speaks layout " + std::to_string(snapshot_layout));
        }
        return why.fail(errc::corrupt, path + " is damaged: " + how +
                                           "; restore it, or let a sender write it anew");
    }

    snapshot_head usual_{};  // of our type
    std::string_view text_;
    std::size_t alignment_;
    std::size_t usual_at_;  // where the value lies in what we write
    std::unique_ptr<std::byte[]> memory_;
    std::byte* at_ = nullptr;          // the file
    std::size_t bytes_ = 0;            // room for it
    snapshot_stamp* stamp_ = nullptr;  // in it
    std::byte* own_ = nullptr;         // the value, where the file is one of ours, and
    std::size_t room_ = 0;             // more than fits there; 0 where it is not
};

}  // namespace store
}  // namespace v1
}  // namespace parley
