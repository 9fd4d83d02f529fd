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
[[nodiscard, gnu::target("sse4.2")]] inline std::uint64_t crc32c_of_word(
    std::uint64_t sum, const std::byte* at) noexcept {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return __builtin_ia32_crc32di(sum, word);
}
[[nodiscard, gnu::target("sse4.2")]] inline std::uint32_t crc32c_go_on(std::uint32_t sum,
                                                                       bytes part) noexcept {
    std::uint64_t s = sum;
    const std::byte* at = part.data();
    const std::byte* const end = at + part.size();
    for (; end - at >= 64; at += 64) {
        s = crc32c_of_word(crc32c_of_word(s, at), at + 8);
        s = crc32c_of_word(crc32c_of_word(s, at + 16), at + 24);
        s = crc32c_of_word(crc32c_of_word(s, at + 32), at + 40);
        s = crc32c_of_word(crc32c_of_word(s, at + 48), at + 56);
    }
    for (; end - at >= 8; at += 8) s = crc32c_of_word(s, at);
    auto rest = static_cast<std::uint32_t>(s);
    for (; at != end; ++at) {
        rest = __builtin_ia32_crc32qi(rest, static_cast<unsigned char>(*at));
    }
    return rest;
}
[[nodiscard, gnu::target("sse4.2")]] inline std::uint32_t crc32c_by_processor(
    bytes first, bytes second) noexcept {
    return ~crc32c_go_on(crc32c_go_on(~std::uint32_t{0}, first), second);
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
