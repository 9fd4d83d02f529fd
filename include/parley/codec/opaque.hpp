// SPDX-License-Identifier: MIT
// A type that travels as its bytes although nobody may look inside.
#pragma once

#include <parley/codec/raw.hpp>

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace parley {
inline namespace v1 {
namespace detail {

template <class T>
inline constexpr type_text opaque_text_of = type_text()
                                                .put("opaque size ")
                                                .put(sizeof(T))
                                                .put(" align ")
                                                .put(alignof(T))
                                                .put(native_order())
                                                .finish();

}  // namespace detail

/// The message is the bytes of a T; its author answers for what is in them.
///
///     template <> struct parley::codec<frame> : parley::opaque<frame> {};
///
/// Nothing is walked, so that a struct of any size compiles at once, and nothing is validated: use
/// it for types without pointers in which every pattern of bytes is harmless. The fingerprint
/// covers size, alignment and byte order only: say more with `fields<&T::a, …>` where it can.
/// Thread safety: all functions are pure. Lifetimes: `view` looks into `in`. Errors:
/// `errc::corrupt` if the size is not that of T; `errc::invalid_argument` from `view` if `in` is
/// not aligned for a T.
template <class T>
struct opaque {
    using made_by_parley = void;
    using opaque_bytes = void;
    static_assert(std::is_trivially_copyable_v<T>,
                  "parley: opaque<T> wants a trivially copyable type");

    static constexpr bool in_place = true;
    static constexpr bool any_bytes = !detail::has_invalid_bytes<T>();
    static constexpr bool borrows = false;
    static constexpr message_type type{detail::opaque_text_of<T>.fingerprint(),
                                       detail::opaque_text_of<T>.words(), alignof(T)};

    [[nodiscard]] static constexpr std::size_t size(const T&) noexcept { return sizeof(T); }
    static void encode(const T& v, mutable_bytes out) noexcept {
        PARLEY_ASSERT(out.size() == sizeof(T));
        std::memcpy(out.data(), &v, sizeof(T));
    }
    [[nodiscard]] static bytes bytes_of(const T& v) noexcept {
        return {reinterpret_cast<const std::byte*>(&v), sizeof v};
    }
    [[nodiscard]] static result<T> decode(bytes in) { return detail::copy_raw<T>(in); }
    [[nodiscard]] static result<const T*> view(bytes in) noexcept {
        return detail::view_raw<T>(in);
    }
};

}  // namespace v1
}  // namespace parley
