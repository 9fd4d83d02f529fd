// SPDX-License-Identifier: MIT
// Where the members of a struct lie, known at compile time.
#pragma once

#include <parley/codec/enum_values.hpp>
#include <parley/codec/kind.hpp>
#include <parley/codec/members.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

template <class T>
consteval bool made_of_bytes();

template <class... Ms>
consteval bool all_made_of_bytes(types<Ms...>) {
    return sizeof...(Ms) != 0 && (made_of_bytes<Ms>() && ...);
}

/// True if both compilers can make a T of given bytes at compile time.
template <class T>
consteval bool made_of_bytes() {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::array) {
        return array_traits<T>::size != 0 && made_of_bytes<typename array_traits<T>::element>();
    } else if constexpr (k == kind::duration) {
        return made_of_bytes<typename T::rep>();
    } else if constexpr (k == kind::time) {
        return made_of_bytes<typename T::duration>();
    } else if constexpr (k == kind::aggregate) {
        return all_made_of_bytes(member_types<T>{});
    } else if constexpr (k == kind::enumeration) {
        return fixed_underlying<T> && !std::is_same_v<std::underlying_type_t<T>, bool>;
    } else {
        return k <= kind::real && !std::is_same_v<T, long double>;
    }
}

template <class T>
constexpr std::size_t first_byte(const T& v) {
    if constexpr (array_traits<T>::value) {
        return first_byte(v[0]);
    } else {
        return std::bit_cast<std::array<unsigned char, sizeof(T)>>(v)[0];
    }
}

/// Structs beyond this size would take the compiler's time; there the rules of the ABI are asked.
inline constexpr std::size_t probed_bytes = 512;

template <class T>
consteval bool can_probe_layout() {
    if constexpr (sizeof(T) <= probed_bytes) {
        return made_of_bytes<T>();
    } else {
        return false;
    }
}

/// Asks the compiler itself: a T is made of bytes that each tell one bit of their own place, once
/// for every bit of an offset, and its members are asked what they got. All bytes are 0 or 1, so
/// that a bool is never made of anything else.
template <class T, std::size_t Count>
consteval std::array<std::size_t, Count> probe_layout() {
    std::array<std::size_t, Count> offsets{};
    for (std::size_t bit = 1; bit < sizeof(T); bit *= 2) {
        std::array<unsigned char, sizeof(T)> marks{};
        for (std::size_t i = 0; i < sizeof(T); ++i) marks[i] = (i & bit) != 0 ? 1 : 0;
        const T probe = std::bit_cast<T>(marks);
        std::size_t* next = offsets.data();
        each_member(probe, [&](const auto& member) {
            *next++ += first_byte(member) * bit;
            return true;
        });
    }
    return offsets;
}

/// The offsets as the rules of the ABI have them, if no member has an alignment of its own.
template <class... Ms>
consteval std::array<std::size_t, sizeof...(Ms)> layout_by_rule(types<Ms...>) {
    std::array<std::size_t, sizeof...(Ms)> offsets{};
    [[maybe_unused]] std::size_t* next = offsets.data();
    [[maybe_unused]] std::size_t end = 0;
    ((end = (end + alignof(Ms) - 1) / alignof(Ms) * alignof(Ms), *next++ = end, end += sizeof(Ms)),
     ...);
    return offsets;
}

/// True if the rules lead to the size of T: then no member is left out, and none lies elsewhere
/// without making T larger.
template <class T, class... Ms>
consteval bool rule_explains_size(types<Ms...>) {
    std::size_t end = 0;
    ((end = (end + alignof(Ms) - 1) / alignof(Ms) * alignof(Ms) + sizeof(Ms)), ...);
    end = end == 0 ? 1 : end;
    return (end + alignof(T) - 1) / alignof(T) * alignof(T) == sizeof(T);
}

template <class T, class... Ms>
consteval std::array<std::size_t, sizeof...(Ms)> member_offsets(types<Ms...> members) {
    if constexpr (can_probe_layout<T>()) {
        return probe_layout<T, sizeof...(Ms)>();
    } else {
        return layout_by_rule(members);
    }
}

/// True if the offsets are known to be true, and to be those of all members.
template <class T>
consteval bool layout_known() {
    return (can_probe_layout<T>() && !has_fields<T>) || rule_explains_size<T>(member_types<T>{});
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
