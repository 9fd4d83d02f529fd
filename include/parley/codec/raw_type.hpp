// SPDX-License-Identifier: MIT
// Which types travel raw, and the words that tell their layouts apart.
#pragma once

#include <parley/codec/enum_values.hpp>
#include <parley/codec/kind.hpp>
#include <parley/codec/members.hpp>
#include <parley/codec/raw_layout.hpp>
#include <parley/codec/type_text.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

// -- the canonical words of scalars, shared with the portable codec -------------------------------

template <class T>
constexpr void describe_integer(type_text& out) {
    if constexpr (std::is_same_v<T, bool>) {
        out.put("bool");
    } else if constexpr (std::is_same_v<T, char>) {
        out.put("char");
    } else if constexpr (std::is_same_v<T, wchar_t>) {
        out.put("wchar").put(sizeof(T) * 8);
    } else {
        out.put(std::is_signed_v<T> ? "i" : "u").put(sizeof(T) * 8);
    }
}
template <class T>
constexpr void describe_real(type_text& out) {
    constexpr int digits = std::numeric_limits<T>::digits;
    out.put("f").put(digits == 64 ? 80 : digits == 106 ? 106 : sizeof(T) * 8);
}
template <class E>
constexpr void describe_enum(type_text& out) {
    out.put("enum:");
    describe_integer<std::underlying_type_t<E>>(out);
}
template <class Period>
constexpr void describe_period(type_text& out) {
    out.put(" ").put(static_cast<std::uint64_t>(Period::num));
    out.put("/").put(static_cast<std::uint64_t>(Period::den)).put(">");
}
constexpr std::string_view native_order() {
    return std::endian::native == std::endian::little ? " little-endian" : " big-endian";
}

// -- which types travel raw -----------------------------------------------------------------------

template <class T>
consteval bool goes_raw();

template <class T>
consteval bool member_goes_raw() {
    if constexpr (array_traits<T>::value) {
        return member_goes_raw<typename array_traits<T>::element>();
    } else if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
        return codec<T>::in_place;
    } else {
        return goes_raw<T>();
    }
}
template <class... Ts>
consteval bool all_go_raw(types<Ts...>) {
    return (member_goes_raw<Ts>() && ...);
}

/// True if the bytes of T are its message. Pointers and types that nobody can look into are true
/// as well, since the raw codec refuses them in words.
template <class T>
consteval bool goes_raw() {
    constexpr kind k = plain_kind<T>;
    if constexpr (!std::is_trivially_copyable_v<T>) {
        return false;
    } else if constexpr (k == kind::array) {
        return member_goes_raw<typename array_traits<T>::element>();
    } else if constexpr (k == kind::duration) {
        return member_goes_raw<typename T::rep>();
    } else if constexpr (k == kind::time) {
        return member_goes_raw<typename T::duration>();
    } else if constexpr (k == kind::aggregate) {
        return all_go_raw(found_member_types<T>{});
    } else {
        return k <= kind::pointer || k == kind::unknown;
    }
}

// -- description ----------------------------------------------------------------------------------

template <class T>
constexpr void describe_raw(type_text& out);

template <class M>
constexpr void describe_raw_member(type_text& out, const std::size_t*& offset, bool& first) {
    if (!first) out.put(", ");
    first = false;
    describe_raw<M>(out);
    out.put(" @").put(*offset++);
}

template <class T, class... Ms>
constexpr void describe_raw_members(type_text& out, types<Ms...> members) {
    constexpr auto offsets = member_offsets<T>(members);
    [[maybe_unused]] const std::size_t* next = offsets.data();
    [[maybe_unused]] bool first = true;
    out.put("{");
    (describe_raw_member<Ms>(out, next, first), ...);
    out.put("}");
}

template <class T>
constexpr void describe_raw_aggregate(type_text& out) {
    if constexpr (require_walkable<T>::value) {
        static_assert(layout_known<T>(),
                      "parley: the members do not explain the size of this struct: one is left "
                      "out of parley::fields<>, is a bit-field, or has an alignas of its own in "
                      "a struct too large to look into: use parley::opaque<T>");
        if constexpr (layout_known<T>()) describe_raw_members<T>(out, member_types<T>{});
    }
}

/// Text of T as it lies in memory.
template <class T>
constexpr void describe_raw(type_text& out) {
    constexpr kind k = kind_of<T>;
    static_assert(k != kind::pointer,
                  "parley: a pointer, reference or member pointer means nothing in another "
                  "process: send what it points to");
    if constexpr (k == kind::boolean || k == kind::integer) {
        if constexpr (std::is_same_v<T, std::byte>) {
            out.put("u8");
        } else {
            describe_integer<T>(out);
        }
    } else if constexpr (k == kind::real) {
        describe_real<T>(out);
    } else if constexpr (k == kind::enumeration) {
        describe_enum<T>(out);
    } else if constexpr (k == kind::array) {
        describe_raw<typename array_traits<T>::element>(out);
        out.put("[").put(array_traits<T>::size).put("]");
    } else if constexpr (k == kind::duration) {
        out.put("duration<");
        describe_raw<typename T::rep>(out);
        describe_period<typename T::period>(out);
    } else if constexpr (k == kind::time) {
        out.put("time<");
        describe_raw<typename T::duration>(out);
        out.put(">");
    } else if constexpr (k == kind::opaque) {
        out.put("opaque ").put(sizeof(T)).put("/").put(alignof(T));
    } else if constexpr (k == kind::custom) {
        out.put("custom #").put_hex(codec<T>::type.fingerprint);
    } else if constexpr (k != kind::pointer) {
        describe_raw_aggregate<T>(out);
    }
}

template <class T>
constexpr type_text raw_text() {
    type_text out;
    describe_raw<T>(out.put("raw "));
    out.put(" size ").put(sizeof(T)).put(" align ").put(alignof(T)).put(native_order());
    return out.finish();
}
template <class T>
inline constexpr type_text raw_text_of = raw_text<T>();

}  // namespace detail
}  // namespace v1
}  // namespace parley
