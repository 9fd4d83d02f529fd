// SPDX-License-Identifier: MIT
// The checksum of everything that is stored: CRC-32C (Castagnoli), by the processor's instruction
// where it has one, else by Boost.CRC. Both give the same number; a test compares them.
#pragma once

#include <parley/base/bytes.hpp>

#include <boost/crc.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

[[nodiscard]] inline std::uint32_t crc32c_by_table(bytes first, bytes second) noexcept {
    boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> sum;
    sum.process_bytes(first.data(), first.size());
    sum.process_bytes(second.data(), second.size());
    return sum.checksum();
}

#if defined(__x86_64__)
// The instruction by its name: as a builtin it needs functions of another target, which are never
// inlined, and where the length is known the loop below is nothing but these instructions.
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32c_of_word(
    std::uint64_t sum, const std::byte* at) noexcept {
    using word = std::uint64_t __attribute__((aligned(1), may_alias));
    asm("crc32q %1, %0" : "+r"(sum) : "m"(*reinterpret_cast<const word*>(at)));
    return sum;
}
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32c_of_byte(
    std::uint64_t sum, const std::byte* at) noexcept {
    asm("crc32b %1, %0" : "+r"(sum) : "m"(*at));
    return sum;
}
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32c_go_on(std::uint64_t sum,
                                                                    bytes part) noexcept {
    const std::byte* at = part.data();
    const std::byte* const end = at + part.size();
    for (; end - at >= 64; at += 64) {
        sum = crc32c_of_word(crc32c_of_word(sum, at), at + 8);
        sum = crc32c_of_word(crc32c_of_word(sum, at + 16), at + 24);
        sum = crc32c_of_word(crc32c_of_word(sum, at + 32), at + 40);
        sum = crc32c_of_word(crc32c_of_word(sum, at + 48), at + 56);
    }
    for (; end - at >= 8; at += 8) sum = crc32c_of_word(sum, at);
    for (; at != end; ++at) sum = crc32c_of_byte(sum, at);
    return sum;
}
/// The same of what is copied to `to` on the way: each byte is read once, and the copy costs next
/// to nothing, since a step of the sum takes as long as several of those.
[[nodiscard, gnu::always_inline]] inline std::uint64_t crc32c_go_on_copying(
    std::uint64_t sum, bytes part, std::byte* to) noexcept {
    const std::byte* at = part.data();
    const std::byte* const end = at + part.size();
    const auto word = [&](std::ptrdiff_t offset) {
        std::uint64_t w;
        std::memcpy(&w, at + offset, sizeof w);
        asm("crc32q %1, %0" : "+r"(sum) : "r"(w));
        std::memcpy(to + offset, &w, sizeof w);
    };
    for (; end - at >= 64; at += 64, to += 64) {
        word(0), word(8), word(16), word(24);
        word(32), word(40), word(48), word(56);
    }
    for (; end - at >= 8; at += 8, to += 8) word(0);
    for (; at != end; ++at, ++to) {
        *to = *at;
        sum = crc32c_of_byte(sum, to);
    }
    return sum;
}
[[nodiscard]] inline std::uint32_t crc32c_by_processor(bytes first, bytes second) noexcept {
    return ~static_cast<std::uint32_t>(
        crc32c_go_on(crc32c_go_on(~std::uint32_t{0}, first), second));
}
#endif

/// The CRC-32C of two stretches, as if they were one.
[[nodiscard, gnu::always_inline]] inline std::uint32_t crc32c(bytes first,
                                                              bytes second = {}) noexcept {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return crc32c_by_processor(first, second);
#endif
    return crc32c_by_table(first, second);
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
