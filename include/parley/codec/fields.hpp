// SPDX-License-Identifier: MIT
// Members that the author of a struct states, where nobody can find them.
#pragma once

#include <parley/codec/portable.hpp>
#include <parley/codec/raw.hpp>

#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

template <class Member>
struct member_pointer;
template <class Of, class Type>
struct member_pointer<Type Of::*> {
    using of = Of;
    using type = Type;
};
template <auto Member>
using owner_of = typename member_pointer<decltype(Member)>::of;

template <class T, auto... Members>
consteval bool fields_go_raw() {
    if constexpr (std::is_trivially_copyable_v<T>) {
        return (
            member_goes_raw<std::remove_cv_t<typename member_pointer<decltype(Members)>::type>>() &&
            ...);
    } else {
        return false;
    }
}

}  // namespace detail

/// A struct is made of these members, in this order; all of them, and all public.
///
///     struct login { char name[8]; std::array<float, 1'000'000> face; };
///     template <> struct parley::codec<login> : parley::fields<&login::name, &login::face> {};
///
/// For what Boost.PFR cannot take apart: structs with C arrays, base classes, constructors or more
/// than 100 members. Raw if the struct and its members can be, else portable.
template <auto First, auto... More>
struct fields
    : std::conditional_t<detail::fields_go_raw<detail::owner_of<First>, First, More...>(),
                         raw<detail::owner_of<First>>, portable<detail::owner_of<First>>> {
    using field_list = detail::member_list<First, More...>;
    static_assert((std::is_same_v<detail::owner_of<First>, detail::owner_of<More>> && ...),
                  "parley: fields<> wants members of one struct, none of them inherited");
};

/// The same, portable even if the struct could travel raw.
template <auto First, auto... More>
struct portable_fields : portable<detail::owner_of<First>> {
    using field_list = detail::member_list<First, More...>;
};

}  // namespace v1
}  // namespace parley
