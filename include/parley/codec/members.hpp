// SPDX-License-Identifier: MIT
// The members of a struct: stated by fields<>, or found with Boost.PFR, which can take apart only
// some.
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

/// Initialises a member of any type, in expressions that are never evaluated: by copy, or by move
/// for structs that cannot be copied.
template <bool Copies>
struct any_member {
    template <class T>
    operator T&() const;
};
template <>
struct any_member<false> {
    template <class T>
    operator T() const;
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

template <class T, std::size_t>
using any_for = any_member<std::is_copy_constructible_v<T>>;

/// True if so many members initialise a T.
template <class T, std::size_t... I>
consteval bool takes(std::index_sequence<I...>) {
    return requires { T{any_for<T, I>{}...}; };
}
/// True if `First` members, then two in braces, then `Rest` members initialise a T.
template <class T, std::size_t... First, std::size_t... Rest>
consteval bool takes_pair(std::index_sequence<First...>, std::index_sequence<Rest...>) {
    return requires {
        T{any_for<T, First>{}..., {any_but_tag{}, any_but_tag{}}, any_for<T, Rest>{}...};
    };
}

inline constexpr std::size_t walkable_members = 100;

/// How many members an aggregate has: the last number of initialisers that it takes, of a run that
/// begins where every member without a default constructor has its own. Beyond the limit it is the
/// limit and one.
template <class T, std::size_t N = 0, bool Began = false>
consteval std::size_t count_members() {
    if constexpr (N > walkable_members) {
        return Began ? N : 0;
    } else if constexpr (takes<T>(std::make_index_sequence<N>{})) {
        return count_members<T, N + 1, true>();
    } else {
        return Began ? N - 1 : count_members<T, N + 1, false>();
    }
}
template <class T>
inline constexpr std::size_t member_count = count_members<T>();

/// A C array takes as many initialisers as it has elements, so that they are counted as members;
/// but in braces of its own it leaves fewer places than were counted.
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

enum class obstacle { none, has_virtual, no_aggregate, base, fixed, c_array, too_many };

template <class T>
consteval obstacle obstacle_of() {
    if constexpr (std::is_polymorphic_v<T>) {
        return obstacle::has_virtual;
    } else if constexpr (!std::is_aggregate_v<T> || std::is_union_v<T>) {
        return obstacle::no_aggregate;
    } else if constexpr (requires { T{any_base<T>{}}; }) {
        return obstacle::base;
    } else if constexpr (!std::is_move_assignable_v<T>) {
        return obstacle::fixed;
    } else if constexpr (has_c_array<T, member_count<T>>()) {
        return obstacle::c_array;
    } else {
        return member_count<T> > walkable_members ? obstacle::too_many : obstacle::none;
    }
}

template <class T>
inline constexpr obstacle obstacle_to_walking = obstacle_of<T>();

template <class T>
concept has_fields = requires {
    typename codec<T>::field_list;
};

template <class T>
inline constexpr bool walkable = has_fields<T> || obstacle_to_walking<T> == obstacle::none;

/// Says in words why the members of T cannot be walked, once.
template <class T>
struct require_walkable {
    static constexpr obstacle in_the_way = walkable<T> ? obstacle::none : obstacle_to_walking<T>;
    static_assert(in_the_way != obstacle::has_virtual,
                  "parley: a virtual function means nothing in another process: send a plain "
                  "struct, or give the type a parley::codec<T> of its own");
    static_assert(in_the_way != obstacle::no_aggregate,
                  "parley: this type is neither an aggregate nor a known container, so nobody sees "
                  "its members: state it with parley::fields<&T::a, ...> or parley::opaque<T>, or "
                  "give it a parley::codec<T> of its own");
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

/// References to the members of T. Boost.PFR takes the struct apart, but does not count: its way of
/// counting ends in an internal error of g++ 12 if a member is an array of strings, and takes time
/// in proportion to sizeof(T).
template <class T>
constexpr auto tie_members(T& of) noexcept {
    constexpr std::size_t count = member_count<std::remove_const_t<T>>;
    return boost::pfr::detail::tie_as_tuple(of, boost::pfr::detail::size_t_<count>{});
}

template <class T, auto... Members>
auto stated_types(member_list<Members...>)
    -> types<std::remove_cvref_t<decltype(std::declval<T&>().*Members)>...>;
template <class... Ts>
auto tied_types(const boost::pfr::detail::sequence_tuple::tuple<Ts...>&)
    -> types<std::remove_cvref_t<Ts>...>;

template <class T>
consteval auto find_member_types() {
    if constexpr (obstacle_to_walking<T> == obstacle::none) {
        return decltype(tied_types(tie_members(std::declval<T&>()))){};
    } else {
        return types<>{};
    }
}
template <class T>
consteval auto list_member_types() {
    if constexpr (has_fields<T>) {
        return decltype(stated_types<T>(typename codec<T>::field_list{})){};
    } else {
        return find_member_types<T>();
    }
}

/// The types of the members of T in order, as types<...>; none if T is not walkable.
template <class T>
using member_types = decltype(list_member_types<T>());
/// The same by the shape of T alone.
template <class T>
using found_member_types = decltype(find_member_types<T>());

template <auto... Members, class T, class F>
constexpr bool each_stated_member(member_list<Members...>, T& of, F& visit) {
    return (visit(of.*Members) && ...);
}

template <class Tied, class F, std::size_t... I>
constexpr bool each_tied_member(const Tied& tied, F& visit, std::index_sequence<I...>) {
    return (visit(boost::pfr::detail::sequence_tuple::get<I>(tied)) && ...);
}

/// Calls `visit(member)` for every member in order, until one returns false; false then.
template <class T, class F>
constexpr bool each_member(T& of, F visit) {
    using plain = std::remove_const_t<T>;
    if constexpr (!walkable<plain>) {
        return false;
    } else if constexpr (has_fields<plain>) {
        return each_stated_member(typename codec<plain>::field_list{}, of, visit);
    } else {
        return each_tied_member(tie_members(of), visit,
                                std::make_index_sequence<member_count<plain>>{});
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
