// SPDX-License-Identifier: MIT
// The record: what one message is in a log, in a file as in mapped memory.
//
//   byte  0        4        8             16            24         32        36     37     40
//        +--------+--------+-------------+-------------+----------+---------+------+------+-----
//        | length | check  | position    | sequence    | time     | sender  | kind | zero | pay-
//        | u32    | u32    | u64         | u64, from 1 | u64      | u32     | u8   |      | load
//        +--------+--------+-------------+-------------+----------+---------+------+------+-----
//
// Zeros follow up to the next multiple of the log's alignment. `check` is the CRC-32C of header,
// with check 0, and payload. `position` counts bytes since the log began, so a record that lies in
// the wrong place, or that an earlier lap of a ring left there, is none. `sender` is the number of
// the opening: it grows from one sender of a log to the next and never falls from record to record,
// so what a crash left behind the end cannot join what is written later. `time` is nanoseconds of
// the wall clock, which never falls either. Numbers are in the machine's byte order: the magic of
// the log's header tells another one.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/ticks.hpp>
#include <parley/store/crc32c.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>

namespace parley {
inline namespace v1 {
namespace store {

enum class record_kind : std::uint8_t {
    message = 1,
    end = 2,   ///< its sender closed in good order
    turn = 3,  ///< the log goes on in the next file
};

struct record_header {
    std::uint32_t length;
    std::uint32_t check;
    std::uint64_t position;
    std::uint64_t sequence;
    std::uint64_t time;
    std::uint32_t sender;
    record_kind kind;
    std::uint8_t zero[3];
};
inline constexpr std::size_t record_header_bytes = sizeof(record_header);
static_assert(record_header_bytes == 40 && offsetof(record_header, position) == 8);
static_assert(offsetof(record_header, time) == 24 && offsetof(record_header, kind) == 36);

/// From one record to the next.
[[nodiscard]] constexpr std::size_t record_stride(std::size_t n,
                                                  std::size_t alignment = 8) noexcept {
    return (record_header_bytes + n + alignment - 1) & ~(alignment - 1);
}

/// Whether a record that says this length lies in n bytes.
[[nodiscard]] constexpr bool record_fits(std::uint32_t length, std::size_t n,
                                         std::size_t alignment = 8) noexcept {
    // Where addresses have 32 bits, what a damaged length says may wrap around.
    return (sizeof n > 4 || length <= n) && record_stride(length, alignment) <= n;
}

#if defined(__x86_64__)
[[nodiscard, gnu::always_inline]] inline std::uint64_t header_check_by_processor(
    const record_header& h) noexcept {
    const std::uint64_t begin = h.length;  // and a check of 0
    const auto* at = reinterpret_cast<const std::byte*>(&h);
    auto sum = detail::crc32c_of_word(0xffffffff, reinterpret_cast<const std::byte*>(&begin));
    for (std::size_t word = 8; word < sizeof h; word += 8) {
        sum = detail::crc32c_of_word(sum, at + word);
    }
    return sum;
}
[[nodiscard]] inline std::uint32_t record_check_by_processor(const record_header& h,
                                                             const std::byte* payload) noexcept {
    const auto sum = header_check_by_processor(h);
    return ~static_cast<std::uint32_t>(detail::crc32c_go_on(sum, {payload, h.length}));
}
[[nodiscard]] inline std::uint32_t record_copy_by_processor(const record_header& h,
                                                            const std::byte* payload,
                                                            std::byte* to) noexcept {
    const auto sum = header_check_by_processor(h);
    return ~static_cast<std::uint32_t>(detail::crc32c_go_on_copying(sum, {payload, h.length}, to));
}
#endif

[[nodiscard]] inline std::uint32_t record_check_by_table(const record_header& h,
                                                         const std::byte* payload) noexcept {
    record_header zeroed = h;
    zeroed.check = 0;
    return detail::crc32c_by_table({reinterpret_cast<const std::byte*>(&zeroed), sizeof zeroed},
                                   {payload, h.length});
}

/// The checksum of a header, whatever its check says, and the payload that goes with it.
[[nodiscard, gnu::always_inline]] inline std::uint32_t record_check(
    const record_header& h, const std::byte* payload) noexcept {
#if defined(__x86_64__)
    // Here and not behind a call: this is what every record costs twice.
    if (__builtin_cpu_supports("sse4.2")) return record_check_by_processor(h, payload);
#endif
    return record_check_by_table(h, payload);
}
/// The same, of the copy of the payload that it makes at `to`: what another process does to the
/// original meanwhile changes neither.
[[nodiscard, gnu::always_inline]] inline std::uint32_t record_copy(const record_header& h,
                                                                   const std::byte* payload,
                                                                   std::byte* to) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return record_copy_by_processor(h, payload, to);
#endif
    if (h.length != 0) std::memcpy(to, payload, h.length);
    return record_check_by_table(h, to);
}

/// Copies a header by its words: as a whole it is a `rep movs` where the compiler takes the caller
/// for one that runs once (main, say), which takes twice the instructions.
[[gnu::always_inline]] inline void copy_header(void* to, const void* from) noexcept {
    auto* const t = static_cast<std::byte*>(to);
    const auto* const f = static_cast<const std::byte*>(from);
    std::memcpy(t, f, 8);
    std::memcpy(t + 8, f + 8, 8);
    std::memcpy(t + 16, f + 16, 8);
    std::memcpy(t + 24, f + 24, 8);
    std::memcpy(t + 32, f + 32, 8);
}

/// Checks a header in place, whose payload lies behind it, and writes zeros up to `step`, the
/// stride of the record. In memory that nobody else writes: the length is read from there.
[[gnu::always_inline]] inline void seal_record(record_header& h, std::size_t step) noexcept {
    std::byte* const payload = reinterpret_cast<std::byte*>(&h + 1);
    const std::size_t odd = step - record_header_bytes - h.length;
    if (odd != 0) std::memset(payload + h.length, 0, odd);
    h.check = record_check(h, payload);
}
/// The same of a header that goes to `at`, in front of the payload that lies there.
[[gnu::always_inline]] inline void seal_record(std::byte* at, record_header& h,
                                               std::size_t step) noexcept {
    std::byte* const payload = at + record_header_bytes;
    const std::size_t odd = step - record_header_bytes - h.length;
    if (odd != 0) std::memset(payload + h.length, 0, odd);
    h.check = record_check(h, payload);
    copy_header(at, &h);
}
/// The same, where the payload comes from elsewhere.
[[gnu::always_inline]] inline void write_record(std::byte* at, record_header& h, std::size_t step,
                                                const std::byte* payload) noexcept {
    std::byte* const behind = at + record_header_bytes;
    const std::size_t odd = step - record_header_bytes - h.length;
    if (odd != 0) std::memset(behind + h.length, 0, odd);
    h.check = record_copy(h, payload, behind);
    copy_header(at, &h);
}

/// What must be true of the next record of a log.
struct expectation {
    std::uint64_t position = 0;
    std::uint64_t sequence = 0;  ///< 0: whatever it says; more, if a crash lost some before
    std::uint32_t sender = 0;    ///< at least
    std::size_t alignment = 8;

    /// What must be true of the one after `h`.
    void step_over(const record_header& h) noexcept {
        position += record_stride(h.length, alignment);
        sequence = h.sequence + 1;
        sender = h.sender;
    }
};

/// What lies where a record should begin.
enum class judged : std::uint8_t {
    nothing,  ///< no bytes, or zeros
    partial,  ///< the beginning of a record: cut off, or being written
    whole,
    bad,  ///< anything else
};

/// Judges the bytes at a place, but for the checksum. `out` is the header if it could be one.
[[nodiscard, gnu::always_inline]] inline judged judge_header(bytes at, const expectation& e,
                                                             record_header& out) noexcept {
    const auto is_nothing = [&](std::size_t n) {
        static constexpr std::byte zeros[record_header_bytes]{};
        return std::memcmp(at.data(), zeros, n) == 0;
    };
    if (at.size() < record_header_bytes) [[unlikely]] {
        return at.empty() || is_nothing(at.size()) ? judged::nothing : judged::partial;
    }
    copy_header(&out, at.data());
    // A sender that mended the end of a log may go on with a later number: some were lost.
    const bool in_turn = e.sequence == 0 || out.sequence == e.sequence ||
                         (out.sender > e.sender && out.sequence > e.sequence);
    const bool plausible = out.position == e.position && in_turn && out.sender >= e.sender &&
                           out.kind >= record_kind::message && out.kind <= record_kind::turn;
    if (!plausible) [[unlikely]]
        return is_nothing(record_header_bytes) ? judged::nothing : judged::bad;
    return record_fits(out.length, at.size(), e.alignment) ? judged::whole : judged::partial;
}
[[nodiscard, gnu::always_inline]] inline judged judge_record(bytes at, const expectation& e,
                                                             record_header& out) noexcept {
    const judged j = judge_header(at, e, out);
    if (j != judged::whole) return j;
    return record_check(out, at.data() + record_header_bytes) == out.check ? j : judged::bad;
}

/// Nanoseconds since 1970 by the wall clock: what a record's time says.
[[nodiscard]] inline std::uint64_t wall_time() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

/// The same for who asks at every message, by a cheaper clock: behind by up to 200 microseconds
/// where the process was interrupted, and by a millisecond when somebody sets the clock.
class wall_clock {
public:
    [[nodiscard]] std::uint64_t now() noexcept {
        const auto t = ticks_.now();
        if (t - compared_at_ > std::chrono::milliseconds(1)) [[unlikely]]
            compare(t);
        return static_cast<std::uint64_t>(t.time_since_epoch().count()) + ahead_;
    }

private:
    [[gnu::noinline]] void compare(time_point t) noexcept {
        compared_at_ = t;
        ahead_ = wall_time() - static_cast<std::uint64_t>(t.time_since_epoch().count());
    }

    detail::tick_clock ticks_;
    time_point compared_at_{};
    std::uint64_t ahead_ = 0;  // of the monotonic clock; it wraps where it is behind
};

/// How far a message has got.
enum class level : std::uint8_t {
    visible,  ///< readers see it; it survives the death of every process
    written,  ///< it was handed to the device, whose cache may still lose it
    synced,   ///< it is on stable storage, with all that is needed to find it
};

}  // namespace store
}  // namespace v1
}  // namespace parley
