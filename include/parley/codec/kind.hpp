// SPDX-License-Identifier: MIT
// What kind of thing a type is to the codecs. Containers are known by what they can do, so that
// no container's header is included here and those of other libraries work as well.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

template <class T>
struct codec;

namespace detail {

enum class kind {
    boolean,
    integer,
    real,
    enumeration,
    pointer,
    array,     // std::array and C arrays
    text,      // contiguous char: std::string, std::string_view
    bytes,     // contiguous std::byte or unsigned char: std::vector, std::span<const …>
    view,      // looks at memory of somebody else, and is neither text nor bytes
    duration,  // std::chrono
    time,      // a std::chrono::time_point
    list,      // vector, deque, list
    set,       // one of each key
    multiset,
    map,  // one value for each key
    multimap,
    optional,
    variant,
    tuple,      // tuple, pair
    aggregate,  // a struct whose members are walked, or stated with fields<>
    opaque,     // stated with opaque<T>
    custom,     // has a codec written by hand
    unknown,
};

// -- what a type can do ---------------------------------------------------------------------------

template <class T>
struct array_traits : std::false_type {};
template <class T, std::size_t N>
struct array_traits<T[N]> : std::true_type {
    using element = T;
    static constexpr std::size_t size = N;
};
template <class T, std::size_t N>
struct array_traits<std::array<T, N>> : std::true_type {
    using element = T;
    static constexpr std::size_t size = N;
};

template <class T>
struct variant_traits : std::false_type {};
template <template <class...> class V, class... Ts>
requires requires(const V<Ts...>& v) {
    v.index();
    v.valueless_by_exception();
}
struct variant_traits<V<Ts...>> : std::true_type {
    static constexpr std::size_t size = sizeof...(Ts);
};

template <class T>
inline constexpr bool is_span = false;
template <class T, std::size_t N>
inline constexpr bool is_span<std::span<T, N>> = true;

template <class T>
concept range_like = requires(const T& t) {
    typename T::value_type;
    t.begin();
    t.end();
    { t.size() } -> std::convertible_to<std::size_t>;
};
template <class T>
concept contiguous = range_like<T> && requires(const T& t) {
    { t.data() } -> std::convertible_to<const typename T::value_type*>;
};
template <class T>
concept resizable = requires(T& t, std::size_t n) {
    t.resize(n);
};
template <class T>
concept associative = range_like<T> && requires(T& t) {
    typename T::key_type;
    t.emplace_hint(t.end(), std::declval<typename T::value_type>());
};
template <class T>
concept unique_keys = requires(T& t) {
    t.insert(std::declval<typename T::value_type>()).second;
};
template <class T>
concept duration_like = requires(const T& t) {
    typename T::rep;
    T::period::num;
    T::period::den;
    t.count();
};
template <class T>
concept time_point_like = requires(const T& t) {
    typename T::clock;
    typename T::duration;
    t.time_since_epoch();
};
template <class T>
concept optional_like = requires(T& t) {
    typename T::value_type;
    { t.has_value() } -> std::same_as<bool>;
    *t;
    t.reset();
};
template <class T>
concept tuple_like = requires {
    std::tuple_size<T>::value;
};

template <class T>
inline constexpr bool is_pointing = std::is_pointer_v<T> || std::is_member_pointer_v<T> ||
                                    std::is_null_pointer_v<T> || std::is_reference_v<T>;

// -- the kind -------------------------------------------------------------------------------------

template <class T>
[[nodiscard]] consteval kind kind_of_contiguous() {
    using element = std::remove_cv_t<typename T::value_type>;
    // A span of fixed length, or one through which the reader could write, borrows nothing.
    constexpr bool borrows =
        !is_span<T> || std::is_same_v<T, std::span<const element, std::dynamic_extent>>;
    constexpr bool usable =
        resizable<T> || (borrows && std::constructible_from<T, const element*, std::size_t>);
    if (usable && std::is_same_v<element, char>) return kind::text;
    if (usable && (std::is_same_v<element, std::byte> || std::is_same_v<element, unsigned char>)) {
        return kind::bytes;
    }
    return resizable<T> ? kind::list : kind::view;
}

/// The kind of a class by what it can do, whatever codec it may have.
template <class T>
[[nodiscard]] consteval kind kind_of_class() {
    if constexpr (array_traits<T>::value) {
        return kind::array;
    } else if constexpr (variant_traits<T>::value) {
        return kind::variant;
    } else if constexpr (duration_like<T>) {
        return kind::duration;
    } else if constexpr (time_point_like<T>) {
        return kind::time;
    } else if constexpr (contiguous<T>) {
        return kind_of_contiguous<T>();
    } else if constexpr (associative<T>) {
        if constexpr (requires { typename T::mapped_type; }) {
            return unique_keys<T> ? kind::map : kind::multimap;
        } else {
            return unique_keys<T> ? kind::set : kind::multiset;
        }
    } else if constexpr (range_like<T> &&
                         requires(T & t) { t.push_back(std::declval<typename T::value_type>()); }) {
        return kind::list;
    } else if constexpr (optional_like<T>) {
        return kind::optional;
    } else if constexpr (tuple_like<T>) {
        return kind::tuple;
    } else if constexpr (std::is_aggregate_v<T> && !std::is_union_v<T>) {
        return kind::aggregate;
    } else {
        return kind::unknown;
    }
}

template <class T>
[[nodiscard]] consteval kind kind_of_plain() {
    if constexpr (std::is_same_v<T, bool>) {
        return kind::boolean;
    } else if constexpr (std::is_same_v<T, std::byte> || std::is_integral_v<T>) {
        return kind::integer;
    } else if constexpr (std::is_floating_point_v<T>) {
        return kind::real;
    } else if constexpr (std::is_enum_v<T>) {
        return kind::enumeration;
    } else if constexpr (is_pointing<T>) {
        return kind::pointer;
    } else if constexpr (array_traits<T>::value) {
        return kind::array;
    } else if constexpr (std::is_class_v<T>) {
        return kind_of_class<T>();
    } else {
        return kind::unknown;
    }
}

/// What T is by its shape alone. The choice of a codec may ask this, since it asks no codec.
template <class T>
inline constexpr kind plain_kind = kind_of_plain<T>();

template <class T>
[[nodiscard]] consteval kind kind_of_member() {
    if constexpr (std::is_class_v<T> || std::is_union_v<T>) {
        if constexpr (requires { typename codec<T>::field_list; }) {
            return kind::aggregate;
        } else if constexpr (requires { typename codec<T>::opaque_bytes; }) {
            return kind::opaque;
        } else if constexpr (!requires { typename codec<T>::made_by_parley; }) {
            return kind::custom;
        } else {
            return plain_kind<T>;
        }
    } else {
        return plain_kind<T>;
    }
}

/// What T is in a message: there its own codec has a say.
template <class T>
inline constexpr kind kind_of = kind_of_member<T>();

}  // namespace detail
}  // namespace v1
}  // namespace parley
