// SPDX-License-Identifier: MIT
// The members of a struct: stated by fields<>, or found by Boost.PFR, which can count only some.
#pragma once

#include <parley/codec/kind.hpp>

#include <boost/pfr/core.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Members as their author stated them.
template <auto... Members>
struct member_list {};

template <class... Ts>
struct types {};

/// Initialises a member of any type, in expressions that are never evaluated.
struct any_member {
    template <class T>
    operator T&() const;
};
/// The same but for tags such as std::allocator_arg, whose constructors insist on more.
struct any_but_tag {
    template <class T>
    requires(!std::is_empty_v<T>) operator T&() const;
};
/// Initialises only a base class of T.
template <class T>
struct any_base {
    template <class B>
    requires(std::is_base_of_v<B, T> && !std::is_same_v<B, T>) operator B() const;
};

template <std::size_t>
using any_member_for = any_member;

/// True if `First` members, then {any, any}, then `Rest` members initialise a T.
template <class T, std::size_t... First, std::size_t... Rest>
consteval bool takes_pair(std::index_sequence<First...>, std::index_sequence<Rest...>) {
    return requires {
        T{any_member_for<First>{}..., {any_but_tag{}, any_but_tag{}}, any_member_for<Rest>{}...};
    };
}

/// A C array takes as many initialisers as it has elements, which makes a walker see as many
/// members; but in braces of its own it leaves fewer places than were counted.
template <class T, std::size_t Count, std::size_t I = 0>
consteval bool has_c_array() {
    if constexpr (I >= Count) {
        return false;
    } else if constexpr (takes_pair<T>(std::make_index_sequence<I>{}, std::index_sequence<>{}) &&
                         !takes_pair<T>(std::make_index_sequence<I>{},
                                        std::make_index_sequence<Count - I - 1>{})) {
        return true;
    } else {
        return has_c_array<T, Count, I + 1>();
    }
}

enum class obstacle { none, too_large, has_virtual, no_aggregate, base, fixed, c_array, too_many };

template <class T>
consteval obstacle obstacle_of() {
    constexpr std::size_t walkable_bytes = 4096;  // PFR tries counts up to eight times as many
    constexpr std::size_t walkable_members = 100;
    if constexpr (requires { typename codec<T>::field_list; }) {
        return obstacle::none;
    } else if constexpr (std::is_polymorphic_v<T>) {
        return obstacle::has_virtual;
    } else if constexpr (!std::is_aggregate_v<T> || std::is_union_v<T>) {
        return obstacle::no_aggregate;
    } else if constexpr (sizeof(T) >= walkable_bytes) {
        return obstacle::too_large;
    } else if constexpr (requires { T{any_base<T>{}}; }) {
        return obstacle::base;
    } else if constexpr (!std::is_move_assignable_v<T>) {
        return obstacle::fixed;
    } else if constexpr (constexpr auto n = boost::pfr::tuple_size_v<T>; has_c_array<T, n>()) {
        return obstacle::c_array;
    } else {
        return n > walkable_members ? obstacle::too_many : obstacle::none;
    }
}

template <class T>
inline constexpr obstacle obstacle_to_walking = obstacle_of<T>();

template <class T>
inline constexpr bool walkable = obstacle_to_walking<T> == obstacle::none;

/// Says in words why the members of T cannot be walked, once.
template <class T>
struct require_walkable {
    static constexpr obstacle in_the_way = obstacle_to_walking<T>;
    static_assert(in_the_way != obstacle::has_virtual,
                  "parley: a virtual function means nothing in another process: send a plain "
                  "struct, or give the type a parley::codec<T> of its own");
    static_assert(in_the_way != obstacle::no_aggregate,
                  "parley: this type is neither an aggregate nor a known container, so nobody sees "
                  "its members: state it with parley::fields<&T::a, ...> or parley::opaque<T>, or "
                  "give it a parley::codec<T> of its own");
    static_assert(in_the_way != obstacle::too_large,
                  "parley: the members of a struct of 4 KiB or more are not walked: state it with "
                  "parley::fields<&T::a, ...> or parley::opaque<T>");
    static_assert(in_the_way != obstacle::base,
                  "parley: a base class hides members: state the struct with "
                  "parley::fields<&T::a, ...> or parley::opaque<T>");
    static_assert(in_the_way != obstacle::fixed,
                  "parley: a reference, const or immovable member cannot be received: make it a "
                  "plain member, or give the struct a parley::codec<T> of its own");
    static_assert(in_the_way != obstacle::c_array,
                  "parley: a C array hides in this struct, and its members cannot be counted: use "
                  "std::array, or state it with parley::fields<&T::a, ...> or parley::opaque<T>");
    static_assert(in_the_way != obstacle::too_many,
                  "parley: a struct of more than 100 members is not walked: state it with "
                  "parley::fields<&T::a, ...> or parley::opaque<T>");
    static constexpr bool value = in_the_way == obstacle::none;
};

template <class T, auto... Members>
auto stated_types(member_list<Members...>)
    -> types<std::remove_cvref_t<decltype(std::declval<T&>().*Members)>...>;
template <class T, std::size_t... I>
auto found_types(std::index_sequence<I...>)
    -> types<std::remove_cvref_t<boost::pfr::tuple_element_t<I, T>>...>;

template <class T>
consteval auto list_member_types() {
    if constexpr (!walkable<T>) {
        return types<>{};
    } else if constexpr (requires { typename codec<T>::field_list; }) {
        return decltype(stated_types<T>(typename codec<T>::field_list{})){};
    } else {
        return decltype(found_types<T>(std::make_index_sequence<boost::pfr::tuple_size_v<T>>{})){};
    }
}

/// The types of the members of T in order, as types<...>; none if T is not walkable.
template <class T>
using member_types = decltype(list_member_types<T>());

template <auto... Members, class T, class F>
constexpr bool each_stated_member(member_list<Members...>, T& of, F& visit) {
    return (visit(of.*Members) && ...);
}

/// Calls `visit(member)` for every member in order, until one returns false; false then.
template <class T, class F>
constexpr bool each_member(T& of, F visit) {
    using plain = std::remove_const_t<T>;
    if constexpr (!walkable<plain>) {
        return false;
    } else if constexpr (requires { typename codec<plain>::field_list; }) {
        return each_stated_member(typename codec<plain>::field_list{}, of, visit);
    } else {
        bool ok = true;
        boost::pfr::for_each_field(of, [&](auto& member) { ok = ok && visit(member); });
        return ok;
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
