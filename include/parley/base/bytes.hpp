// SPDX-License-Identifier: MIT
// Spans of bytes, and numbers in little-endian order: the order of every layout of parley.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace parley {
inline namespace v1 {

/// Bytes to read. Whoever hands them out says how long they live.
using bytes = std::span<const std::byte>;
/// Bytes to write.
using mutable_bytes = std::span<std::byte>;

/// The bytes of a text; they live as long as the text.
[[nodiscard]] inline bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
/// The text in some bytes; it lives as long as they do.
[[nodiscard]] inline std::string_view as_text(bytes b) noexcept {
    return {reinterpret_cast<const char*>(b.data()), b.size()};
}

namespace detail {

template <std::unsigned_integral U>
[[nodiscard]] constexpr U byte_swapped(U v) noexcept {
    U out = 0;
    for (std::size_t i = 0; i < sizeof(U); ++i) {
        out = static_cast<U>(static_cast<U>(out << (sizeof(U) > 1 ? 8 : 0)) | (v & 0xffU));
        v = static_cast<U>(v >> (sizeof(U) > 1 ? 8 : 0));
    }
    return out;
}

/// std::has_single_bit is the call of a function where the target may lack a population count.
[[nodiscard]] constexpr bool is_power_of_two(std::uint64_t n) noexcept {
    return n != 0 && (n & (n - 1)) == 0;
}

}  // namespace detail

/// Writes `v` at `to`, little-endian, at any alignment; sizeof(U) bytes.
template <std::unsigned_integral U>
inline void store_le(std::byte* to, U v) noexcept {
    if constexpr (std::endian::native == std::endian::big) v = detail::byte_swapped(v);
    std::memcpy(to, &v, sizeof v);
}
/// Reads a little-endian number at any alignment; sizeof(U) bytes.
template <std::unsigned_integral U>
[[nodiscard]] inline U load_le(const std::byte* from) noexcept {
    U v;
    std::memcpy(&v, from, sizeof v);
    if constexpr (std::endian::native == std::endian::big) v = detail::byte_swapped(v);
    return v;
}

}  // namespace v1
}  // namespace parley
