// SPDX-License-Identifier: MIT
// What the portable codec knows of a type at compile time: its words, its least size, what it
// borrows.
#pragma once

#include <parley/codec/kind.hpp>
#include <parley/codec/members.hpp>
#include <parley/codec/raw_type.hpp>
#include <parley/codec/type_text.hpp>

#include <bit>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// How deeply structs may nest in a portable message: only types that contain themselves can nest
/// without end, and a receiver must not be talked into that.
inline constexpr unsigned portable_depth_max = 128;

namespace detail {

template <class T, std::size_t... I>
auto tuple_types_of(std::index_sequence<I...>)
    -> types<std::remove_cv_t<std::tuple_element_t<I, T>>...>;
template <class T>
using tuple_types =
    decltype(tuple_types_of<T>(std::make_index_sequence<std::tuple_size<T>::value>{}));

template <template <class...> class V, class... Ts>
auto variant_types_of(const V<Ts...>&) -> types<Ts...>;
template <class T>
using variant_types = decltype(variant_types_of(std::declval<const T&>()));

/// Says in words why T cannot travel in a portable message.
template <class T>
struct require_portable {
    static constexpr kind is = kind_of<T>;
    static_assert(is != kind::pointer,
                  "parley: a pointer, reference or member pointer means nothing in another "
                  "process: send what it points to");
    static_assert(!std::is_same_v<T, long double> && !std::is_same_v<T, wchar_t>,
                  "parley: long double and wchar_t differ between hosts: use double, char or "
                  "char32_t");
    static_assert(is != kind::view,
                  "parley: a portable message has no alignment and nothing to write through, so "
                  "only std::string_view and a span of const bytes can look into it: use "
                  "std::vector or std::array");
    static_assert(is != kind::integer || sizeof(T) <= 8, "parley: no integers beyond 64 bits");
    static constexpr bool value = is != kind::pointer && is != kind::view;
};

// -- size -----------------------------------------------------------------------------------------

/// The fewest bytes that a T takes, and whether every T takes as many.
struct extent {
    std::size_t least = 0;
    bool fixed = true;
};
constexpr extent operator+(extent a, extent b) { return {a.least + b.least, a.fixed && b.fixed}; }

template <class T>
consteval extent extent_of();

template <class... Ts>
consteval extent extent_of_all(types<Ts...>) {
    return (extent{} + ... + extent_of<Ts>());
}

template <class T>
consteval extent extent_of() {
    constexpr kind k = kind_of<T>;
    if constexpr (k <= kind::enumeration || k == kind::opaque) {
        return {sizeof(T), true};
    } else if constexpr (k == kind::array) {
        constexpr extent each = extent_of<typename array_traits<T>::element>();
        return {each.least * array_traits<T>::size, each.fixed};
    } else if constexpr (k == kind::duration) {
        return extent_of<typename T::rep>();
    } else if constexpr (k == kind::time) {
        return extent_of<typename T::duration>();
    } else if constexpr (k == kind::tuple) {
        return extent_of_all(tuple_types<T>{});
    } else if constexpr (k == kind::aggregate) {
        return extent_of_all(member_types<T>{});
    } else {
        return {k == kind::optional || k == kind::variant ? 1U : 4U, false};
    }
}

/// True if the elements of a T lie in memory as they do in a message.
template <class T>
inline constexpr bool as_in_memory = (plain_kind<T> == kind::integer ||
                                      plain_kind<T> == kind::real) &&
                                     (std::endian::native == std::endian::little || sizeof(T) == 1);

// -- types that contain themselves ----------------------------------------------------------------

/// How many levels out T stands among the types around the one being described, innermost first, or
/// 0: a type that contains itself is described by how far out it stands.
template <class T, class... Outer>
[[nodiscard]] consteval std::size_t levels_out(types<Outer...>) {
    std::size_t level = 0, found = 0;
    ((++level, found = found == 0 && std::is_same_v<T, Outer> ? level : found), ...);
    return found;
}

template <class T, class Outer>
struct within;
/// The types around the members of T.
template <class T, class... Outer>
struct within<T, types<Outer...>> {
    using type = types<T, Outer...>;
};

// -- borrowing ------------------------------------------------------------------------------------

template <class T, class Outer = types<>>
consteval bool borrows_from_message();

template <class Outer, class... Ts>
consteval bool any_borrows(types<Ts...>) {
    return (borrows_from_message<Ts, Outer>() || ...);
}

template <class T, class Outer>
consteval bool borrows_from_message() {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::text || k == kind::bytes) {
        return !resizable<T>;
    } else if constexpr (k == kind::array) {
        return borrows_from_message<typename array_traits<T>::element, Outer>();
    } else if constexpr (k == kind::map || k == kind::multimap) {
        return any_borrows<Outer>(types<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (k == kind::list || k == kind::set || k == kind::multiset ||
                         k == kind::optional) {
        return borrows_from_message<typename T::value_type, Outer>();
    } else if constexpr (k == kind::variant) {
        return any_borrows<Outer>(variant_types<T>{});
    } else if constexpr (k == kind::tuple) {
        return any_borrows<Outer>(tuple_types<T>{});
    } else if constexpr (k == kind::aggregate) {
        if constexpr (levels_out<T>(Outer{}) != 0) {
            return false;  // its other members decide
        } else {
            return any_borrows<typename within<T, Outer>::type>(member_types<T>{});
        }
    } else if constexpr (k == kind::custom) {
        return codec<T>::borrows;
    } else {
        return false;
    }
}

// -- description ----------------------------------------------------------------------------------

template <class T, class Outer = types<>>
constexpr void describe_portable(type_text& out);

template <class T, class Outer>
constexpr void describe_next(type_text& out, bool& first) {
    if (!first) out.put(", ");
    first = false;
    describe_portable<T, Outer>(out);
}
template <class Outer, class... Ts>
constexpr void describe_all(type_text& out, const char* open, const char* close, types<Ts...>) {
    [[maybe_unused]] bool first = true;
    out.put(open);
    (describe_next<Ts, Outer>(out, first), ...);
    out.put(close);
}

template <class T, class Outer>
constexpr void describe_container(type_text& out) {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::map || k == kind::multimap) {
        describe_all<Outer>(out, k == kind::map ? "map<" : "multimap<", ">",
                            types<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (k == kind::variant) {
        static_assert(variant_traits<T>::size < 256, "parley: a variant of at most 255 types");
        describe_all<Outer>(out, "variant<", ">", variant_types<T>{});
    } else {
        static_assert(k == kind::optional || extent_of<typename T::value_type>().least > 0,
                      "parley: elements that take no bytes cannot be counted safely: send their "
                      "number instead");
        const char* open = k == kind::list       ? "list<"
                           : k == kind::set      ? "set<"
                           : k == kind::multiset ? "multiset<"
                                                 : "optional<";
        describe_all<Outer>(out, open, ">", types<typename T::value_type>{});
    }
}

template <class T, class Outer>
constexpr void describe_struct(type_text& out) {
    if constexpr (require_walkable<T>::value) {
        if constexpr (levels_out<T>(Outer{}) != 0) {
            out.put("^").put(levels_out<T>(Outer{}));
        } else {
            describe_all<typename within<T, Outer>::type>(out, "{", "}", member_types<T>{});
        }
    }
}

/// Text of T as it lies in a portable message. Equal text means equal bytes and equal meaning:
/// vector and deque are both a list, a pair is a struct of two, and so on.
template <class T, class Outer>
constexpr void describe_portable(type_text& out) {
    constexpr kind k = kind_of<T>;
    if constexpr (!require_portable<T>::value) {
        return;
    } else if constexpr (k <= kind::enumeration) {
        describe_raw<T>(out);
    } else if constexpr (k == kind::text) {
        out.put("text");
    } else if constexpr (k == kind::bytes) {
        out.put("bytes");
    } else if constexpr (k == kind::array) {
        describe_portable<typename array_traits<T>::element, Outer>(out);
        out.put("[").put(array_traits<T>::size).put("]");
    } else if constexpr (k == kind::duration) {
        out.put("duration<");
        describe_portable<typename T::rep, Outer>(out);
        describe_period<typename T::period>(out);
    } else if constexpr (k == kind::time) {
        describe_all<Outer>(out, "time<", ">", types<typename T::duration>{});
    } else if constexpr (k == kind::tuple) {
        describe_all<Outer>(out, "{", "}", tuple_types<T>{});
    } else if constexpr (k == kind::opaque) {
        describe_raw<T>(out);
        out.put(native_order());
    } else if constexpr (k == kind::custom) {
        out.put("custom #").put_hex(codec<T>::type.fingerprint);
    } else if constexpr (k == kind::aggregate || k == kind::unknown) {
        describe_struct<T, Outer>(out);
    } else {
        describe_container<T, Outer>(out);
    }
}

template <class T>
constexpr type_text portable_text() {
    type_text out;
    describe_portable<T>(out.put("portable "));
    return out.finish();
}
template <class T>
inline constexpr type_text portable_text_of = portable_text<T>();

}  // namespace detail
}  // namespace v1
}  // namespace parley
