// SPDX-License-Identifier: MIT
// Which values of an enum may arrive from outside.
#pragma once

#include <type_traits>

namespace parley {
inline namespace v1 {

/// States which values of an enum are valid; a message with another one is refused as
/// `errc::corrupt` before a value of the enum exists.
///
///     enum class side : std::uint8_t { buy = 1, sell = 2 };
///     template <> struct parley::enum_values<side> : parley::from_to<side::buy, side::sell> {};
///     template <> struct parley::enum_values<flag> : parley::one_of<flag::a, flag::c> {};
///
/// Without a statement every value of the underlying type is taken, as C++ does: a switch over a
/// received enum wants a default. An enum without a fixed underlying type must be stated, because
/// there a value outside its bits is undefined behaviour. The statement is no part of the
/// fingerprint: an older end refuses messages with a newer enumerator, not the whole channel.
template <class E>
struct enum_values {
    static constexpr bool unstated = true;
};

/// Valid from First to Last, with all values between.
template <auto First, auto Last>
struct from_to {
    using value_type = std::underlying_type_t<decltype(First)>;
    static_assert(First <= Last, "parley: from_to wants the smaller value first");
    [[nodiscard]] static constexpr bool contains(value_type v) noexcept {
        return v >= static_cast<value_type>(First) && v <= static_cast<value_type>(Last);
    }
};

/// Valid are these values.
template <auto First, auto... More>
struct one_of {
    using value_type = std::underlying_type_t<decltype(First)>;
    [[nodiscard]] static constexpr bool contains(value_type v) noexcept {
        return v == static_cast<value_type>(First) || ((v == static_cast<value_type>(More)) || ...);
    }
};

namespace detail {

/// True if E has values that must be refused.
template <class E>
inline constexpr bool limits_values = !requires {
    enum_values<E>::unstated;
};

// Only an enum with a fixed underlying type is initialised from a number in braces.
template <class E>
inline constexpr bool fixed_underlying = requires {
    E{std::underlying_type_t<E>{}};
};

template <class E>
[[nodiscard]] constexpr bool enum_holds(std::underlying_type_t<E> v) noexcept {
    static_assert(limits_values<E> || fixed_underlying<E>,
                  "parley: an enum without a fixed underlying type: write `enum e : int`, or state "
                  "its values with parley::enum_values");
    if constexpr (limits_values<E>) {
        return enum_values<E>::contains(v);
    } else {
        return true;
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
