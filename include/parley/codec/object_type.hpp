// SPDX-License-Identifier: MIT
// What two processes say to each other of an object that both reach in shared memory.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/codec/type_text.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// The identity of an object in shared memory: `object_type<T>::type`, a message_type. Made by the
/// compiler for what the raw codec walks and for containers of such with an allocator; whoever puts
/// a class of his own there names it, and changes the words with its layout:
///
///     template <>
///     struct parley::object_type<book> : parley::named_object_type<book> {
///         static constexpr auto type = named("book of orders, version 2");
///     };
template <class T>
struct object_type;

/// What a specialisation of object_type derives from.
template <class T>
struct named_object_type {
    [[nodiscard]] static constexpr message_type named(std::string_view words) {
        return {detail::type_text().put("object ").put(words).put(sizeof(T)).fingerprint(), words,
                alignof(T)};
    }
};

namespace detail {

template <class T>
inline constexpr bool is_pair = false;
template <class A, class B>
inline constexpr bool is_pair<std::pair<A, B>> = true;

template <class T>
concept shared_container = requires {
    typename T::allocator_type::pointer;
    typename T::value_type;
};
template <class T>
concept states_object_type = requires {
    { object_type<T>::type.fingerprint } -> std::convertible_to<std::uint64_t>;
};

template <class T>
constexpr void put_object(type_text& to) {
    if constexpr (is_pair<T>) {
        to.put("(");
        put_object<std::remove_const_t<typename T::first_type>>(to);
        to.put(", ");
        put_object<typename T::second_type>(to);
        to.put(")");
    } else if constexpr (shared_container<T>) {
        static_assert(!std::is_pointer_v<typename T::allocator_type::pointer>,
                      "a container in shared memory wants an allocator whose pointers hold in "
                      "every process: parley::shared_allocator<T>");
        // What it can do tells containers apart, their size the rest.
        if constexpr (requires { typename T::mapped_type; }) {
            to.put("map");
        } else if constexpr (requires { typename T::key_type; }) {
            to.put("set");
        } else if constexpr (requires { typename T::traits_type; }) {
            to.put("text");
        } else if constexpr (requires(T & t) { t.data(); }) {
            to.put("vector");
        } else if constexpr (requires(T & t) { t[0]; }) {
            to.put("deque");
        } else {
            to.put("list");
        }
        to.put(requires(T & t) { t.bucket_count(); } ? " hashed " : " ").put(sizeof(T)).put(" of ");
        put_object<typename T::value_type>(to);
    } else {
        static_assert(states_object_type<T>);
        to.put(object_type<T>::type.description);
    }
}
template <class T>
constexpr type_text object_text() {
    type_text text;
    put_object<T>(text);
    return text.finish();
}
template <class T>
inline constexpr type_text object_words = object_text<T>();

}  // namespace detail

template <class T>
requires(std::is_trivially_copyable_v<T>) struct object_type<T> {
    static constexpr message_type type = codec<T>::type;
};
template <class T>
requires(!std::is_trivially_copyable_v<T> && detail::shared_container<T>) struct object_type<T> {
    static constexpr message_type type{detail::object_words<T>.fingerprint(),
                                       detail::object_words<T>.words(), alignof(T)};
};

}  // namespace v1
}  // namespace parley
