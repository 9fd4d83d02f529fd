// SPDX-License-Identifier: MIT
// The raw codec: a trivially copyable type travels as the bytes it has in memory.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/codec/enum_values.hpp>
#include <parley/codec/kind.hpp>
#include <parley/codec/members.hpp>
#include <parley/codec/raw_type.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

template <class T>
consteval bool has_invalid_bytes();

template <class... Ms>
consteval bool any_has_invalid_bytes(types<Ms...>) {
    return (has_invalid_bytes<Ms>() || ...);
}

/// True if some bytes are no T: it holds a bool, or an enum whose values are limited.
template <class T>
consteval bool has_invalid_bytes() {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::enumeration) {
        return !fixed_underlying<T> || limits_values<T> ||
               std::is_same_v<std::underlying_type_t<T>, bool>;
    } else if constexpr (k == kind::array) {
        return has_invalid_bytes<typename array_traits<T>::element>();
    } else if constexpr (k == kind::aggregate) {
        return any_has_invalid_bytes(member_types<T>{});
    } else {
        return k == kind::boolean || k == kind::custom;
    }
}

[[nodiscard]] inline bool is_bool(const void* at) noexcept {
    return *static_cast<const unsigned char*>(at) <= 1;
}

/// Looks at the bytes behind a reference without ever reading a T from them.
template <class T>
[[nodiscard]] bool bytes_valid(const T& v) noexcept {
    constexpr kind k = kind_of<T>;
    if constexpr (!has_invalid_bytes<T>()) {
        return true;
    } else if constexpr (k == kind::boolean) {
        return is_bool(&v);
    } else if constexpr (k == kind::enumeration) {
        if constexpr (std::is_same_v<std::underlying_type_t<T>, bool>) {
            if (!is_bool(&v)) return false;
        }
        std::underlying_type_t<T> number;
        std::memcpy(&number, &v, sizeof number);
        return enum_holds<T>(number);
    } else if constexpr (k == kind::array) {
        for (const auto& element : v) {
            if (!bytes_valid(element)) return false;
        }
        return true;
    } else if constexpr (k == kind::custom) {
        return codec<T>::view({reinterpret_cast<const std::byte*>(&v), sizeof v}).has_value();
    } else {
        return each_member(v, [](const auto& member) { return bytes_valid(member); });
    }
}

template <class T>
[[nodiscard]] result<T> copy_raw(bytes in) {
    union place {
        T value;
        place() noexcept {}
    } copy;
    if (in.size() != sizeof(T)) return errc::corrupt;
    // Copied before it is looked at: whoever sent the bytes may still be able to change them.
    std::memcpy(static_cast<void*>(&copy), in.data(), sizeof(T));
    if (!bytes_valid(copy.value)) return errc::corrupt;
    return copy.value;
}

template <class T>
[[nodiscard]] result<const T*> view_raw(bytes in) noexcept {
    if (in.size() != sizeof(T)) return errc::corrupt;
    if (reinterpret_cast<std::uintptr_t>(in.data()) % alignof(T) != 0) {
        return errc::invalid_argument;
    }
    const T* at = reinterpret_cast<const T*>(in.data());
    if (!bytes_valid(*at)) return errc::corrupt;
    return at;
}

}  // namespace detail

/// The message is the bytes of a T, on every transport; another ABI is refused, never converted.
///
///     template <> struct parley::codec<tick> : parley::raw<tick> {};   // the default, if it can
///
/// The fingerprint covers size, alignment, byte order, and kind, size and place of every member;
/// names are no part of it. What lies between members (padding) travels as it is in memory: it may
/// hold old bytes of this process, and a memory checker may say so; types that must not, or that
/// want fewer bytes, choose portable<T>.
/// Thread safety: all functions are pure. Lifetimes: `view` looks into `in` and lives as long as
/// those bytes; where another process can still write them, what was validated may change.
/// Errors: `errc::corrupt` if the size is not that of T, or if the bytes of a bool or of an enum
/// with stated values hold none of its values; `errc::invalid_argument` from `view` if `in` is not
/// aligned for a T.
template <class T>
struct raw {
    using made_by_parley = void;
    static_assert(std::is_trivially_copyable_v<T>,
                  "parley: raw<T> wants a trivially copyable type: use portable<T>");

    static constexpr bool in_place = true;
    static constexpr bool any_bytes = !detail::has_invalid_bytes<T>();
    static constexpr bool borrows = false;
    static constexpr message_type type{detail::raw_text_of<T>.fingerprint(),
                                       detail::raw_text_of<T>.words(), alignof(T)};

    [[nodiscard]] static constexpr std::size_t size(const T&) noexcept {
        static_assert(type.fingerprint != 0);  // what T may not contain is said where it is named
        return sizeof(T);
    }

    static void encode(const T& v, mutable_bytes out) noexcept {
        PARLEY_ASSERT(out.size() == sizeof(T));
        std::memcpy(out.data(), &v, sizeof(T));
    }
    [[nodiscard]] static bytes bytes_of(const T& v) noexcept {
        return {reinterpret_cast<const std::byte*>(&v), sizeof v};
    }
    [[nodiscard]] static result<T> decode(bytes in) { return detail::copy_raw<T>(in); }
    [[nodiscard]] static result<const T*> view(bytes in) noexcept {
        return detail::view_raw<T>(in);
    }
};

}  // namespace v1
}  // namespace parley
