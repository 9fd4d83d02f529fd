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

// -- borrowing ------------------------------------------------------------------------------------

template <class T>
constexpr bool borrows_from_message(const outer_type* outer = nullptr);

template <class... Ts>
constexpr bool any_borrows(const outer_type* outer, types<Ts...>) {
    return (borrows_from_message<Ts>(outer) || ...);
}

template <class T>
constexpr bool borrows_from_message(const outer_type* outer) {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::text || k == kind::bytes) {
        return !resizable<T>;
    } else if constexpr (k == kind::array) {
        return borrows_from_message<typename array_traits<T>::element>(outer);
    } else if constexpr (k == kind::map || k == kind::multimap) {
        return any_borrows(outer, types<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (k == kind::list || k == kind::set || k == kind::multiset ||
                         k == kind::optional) {
        return borrows_from_message<typename T::value_type>(outer);
    } else if constexpr (k == kind::variant) {
        return any_borrows(outer, variant_types<T>{});
    } else if constexpr (k == kind::tuple) {
        return any_borrows(outer, tuple_types<T>{});
    } else if constexpr (k == kind::aggregate) {
        if (levels_out<T>(outer) != 0) return false;  // its other members decide
        const outer_type here{&type_id<T>, outer};
        return any_borrows(&here, member_types<T>{});
    } else if constexpr (k == kind::custom) {
        return codec<T>::borrows;
    } else {
        return false;
    }
}

// -- description ----------------------------------------------------------------------------------

template <class T>
constexpr void describe_portable(type_text& out, const outer_type* outer = nullptr);

template <class T>
constexpr void describe_next(type_text& out, const outer_type* outer, bool& first) {
    if (!first) out.put(", ");
    first = false;
    describe_portable<T>(out, outer);
}
template <class... Ts>
constexpr void describe_all(type_text& out, [[maybe_unused]] const outer_type* outer,
                            const char* open, const char* close, types<Ts...>) {
    [[maybe_unused]] bool first = true;
    out.put(open);
    (describe_next<Ts>(out, outer, first), ...);
    out.put(close);
}

template <class T>
constexpr void describe_container(type_text& out, const outer_type* outer) {
    constexpr kind k = kind_of<T>;
    if constexpr (k == kind::map || k == kind::multimap) {
        describe_all(out, outer, k == kind::map ? "map<" : "multimap<", ">",
                     types<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (k == kind::variant) {
        static_assert(variant_traits<T>::size < 256, "parley: a variant of at most 255 types");
        describe_all(out, outer, "variant<", ">", variant_types<T>{});
    } else {
        static_assert(k == kind::optional || extent_of<typename T::value_type>().least > 0,
                      "parley: elements that take no bytes cannot be counted safely: send their "
                      "number instead");
        const char* open = k == kind::list       ? "list<"
                           : k == kind::set      ? "set<"
                           : k == kind::multiset ? "multiset<"
                                                 : "optional<";
        describe_all(out, outer, open, ">", types<typename T::value_type>{});
    }
}

template <class T>
constexpr void describe_struct(type_text& out, const outer_type* outer) {
    if constexpr (require_walkable<T>::value) {
        if (const auto levels = levels_out<T>(outer); levels != 0) {
            out.put("^").put(levels);
            return;
        }
        const outer_type here{&type_id<T>, outer};
        describe_all(out, &here, "{", "}", member_types<T>{});
    }
}

/// Text of T as it lies in a portable message. Equal text means equal bytes and equal meaning:
/// vector and deque are both a list, a pair is a struct of two, and so on.
template <class T>
constexpr void describe_portable(type_text& out, const outer_type* outer) {
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
        describe_portable<typename array_traits<T>::element>(out, outer);
        out.put("[").put(array_traits<T>::size).put("]");
    } else if constexpr (k == kind::duration) {
        out.put("duration<");
        describe_portable<typename T::rep>(out, outer);
        describe_period<typename T::period>(out);
    } else if constexpr (k == kind::time) {
        describe_all(out, outer, "time<", ">", types<typename T::duration>{});
    } else if constexpr (k == kind::tuple) {
        describe_all(out, outer, "{", "}", tuple_types<T>{});
    } else if constexpr (k == kind::opaque) {
        describe_raw<T>(out);
        out.put(native_order());
    } else if constexpr (k == kind::custom) {
        out.put("custom #").put_hex(codec<T>::type.fingerprint);
    } else if constexpr (k == kind::aggregate || k == kind::unknown) {
        describe_struct<T>(out, outer);
    } else {
        describe_container<T>(out, outer);
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
