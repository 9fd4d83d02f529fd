// SPDX-License-Identifier: MIT
// Services: structs of methods, what they must be, and which versions of them meet.
#pragma once

#include <parley/codec/members.hpp>
#include <parley/rpc/method.hpp>

#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace rpc {

template <class T>
inline constexpr bool is_method = false;
template <fixed_text Spelling, class Signature, class Manner>
inline constexpr bool is_method<method<Spelling, Signature, Manner>> = true;

template <class... Methods>
consteval bool all_methods(parley::detail::types<Methods...>) {
    return sizeof...(Methods) > 0 && (is_method<Methods> && ...);
}
template <class... Methods>
consteval bool names_differ(parley::detail::types<Methods...>) {
    const std::uint64_t numbers[] = {Methods::number...};
    for (std::size_t i = 0; i < sizeof...(Methods); ++i) {
        for (std::size_t k = 0; k < i; ++k) {
            if (numbers[i] == numbers[k]) return false;
        }
    }
    return true;
}

/// Says in words why S is no service, once.
template <class S>
struct require_service {
    static_assert(all_methods(parley::detail::member_types<S>{}),
                  "parley: a service is a struct of parley::method<\"name\", R(Args...)> members "
                  "and nothing else");
    static_assert(names_differ(parley::detail::member_types<S>{}),
                  "parley: two methods of a service have the same name");
    static constexpr bool value = true;
};

template <class Old, class New>
consteval bool serves_method() {
    if constexpr (Old::number != New::number) {
        return false;
    } else if constexpr (New::arguments::least > Old::arguments::least ||
                         New::arguments::most < Old::arguments::most) {
        return false;
    } else {
        for (std::size_t k = Old::arguments::least; k <= Old::arguments::most; ++k) {
            if (Old::description.prints[k] != New::description.prints[k]) return false;
        }
        return true;
    }
}
template <class Old, class... News>
consteval bool serves_one(parley::detail::types<News...>) {
    return (serves_method<Old, News>() || ...);
}
template <class News, class... Olds>
consteval bool serves_all(parley::detail::types<Olds...>) {
    return (serves_one<Olds>(News{}) && ...);
}

/// Whether a server of `Server` answers every call that callers of `Caller` can make:
///
///     static_assert(parley::rpc::compatible<calculator_v1, calculator_v2>);
///
/// The other way round, a new caller of an old server, holds too as long as the optional arguments
/// that were added stay empty.
template <class Caller, class Server>
inline constexpr bool compatible =
    serves_all<parley::detail::member_types<Server>>(parley::detail::member_types<Caller>{});

}  // namespace rpc
}  // namespace v1
}  // namespace parley
