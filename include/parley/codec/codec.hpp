// SPDX-License-Identifier: MIT
// The codec: how a value becomes the bytes of a message, and how bytes become a value again.
//
// A codec for T is `parley::codec<T>`. Nothing needs to be written for the usual types:
//
//   std::string, std::string_view                   the message is the text          (whole.hpp)
//   vector or span of bytes                         the message is the bytes         (whole.hpp)
//   trivially copyable, of numbers, enums, arrays   the message is the bytes of T    (raw.hpp)
//   everything else made of known parts             packed, alike on every host      (portable.hpp)
//
// and a specialisation says otherwise, as with fmt::formatter:
//
//   template <> struct parley::codec<a> : parley::portable<a> {};               // not raw
//   template <> struct parley::codec<b> : parley::fields<&b::x, &b::name> {};   // its members
//   template <> struct parley::codec<c> : parley::opaque<c> {};                 // just its bytes
//   template <> struct parley::codec<d> { … };                                  // by hand: below
//
// The contract of a codec C for T:
//
//   C::type        a message_type: two ends meet only if its fingerprint is the same on both, so it
//                  must change with the layout. `named_type("words")` makes one.
//   C::size(v)     the exact number of bytes that encode writes for v; `unencodable` if there is
//                  no encoding, and then the value is not sent.
//   C::encode(v, out)   writes all of `out`, which has size(v) bytes, at any alignment if
//                  C::type.alignment is 1. Cannot fail, allocates nothing.
//   C::decode(in)  the value in exactly these bytes, or an error. `in` comes from outside: nothing
//                  in it is trusted, nothing is allocated for what it only claims, and bytes left
//                  over are an error. Any alignment.
//   C::borrows     false: a decoded T owns all it has. True: it looks into `in`, and is gone with
//   it. C::in_place    true: the bytes of a message are a T, as it lies in memory. Then also
//   C::view(in)    the T in these bytes, without a copy, after the same checks and one of
//   alignment.
//   C::any_bytes   optional, true: any bytes of the right length are a T, so nothing is checked.
//   C::bytes_of(v) optional: what encode(v) would write, where it already lies in v.
//
// All of it is pure: no state, safe from any thread. The compiled exemplar of one by hand stands in
// testing/archetypes.hpp.
#pragma once

#include <parley/codec/fields.hpp>
#include <parley/codec/opaque.hpp>
#include <parley/codec/portable.hpp>
#include <parley/codec/raw.hpp>
#include <parley/codec/whole.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace parley {
inline namespace v1 {

// clang-format off
/// C turns values of T into messages and back, as the contract above says.
template <class C, class T>
concept codec_of = requires(const T& v, mutable_bytes out, bytes in) {
    { C::type } -> std::convertible_to<message_type>;
    { C::size(v) } -> std::same_as<std::size_t>;
    { C::encode(v, out) } -> std::same_as<void>;
    { C::decode(in) } -> std::same_as<result<T>>;
    { C::borrows } -> std::convertible_to<bool>;
    { C::in_place } -> std::convertible_to<bool>;
} && (!C::in_place || requires(bytes in) {
    { C::view(in) } -> std::same_as<result<const T*>>;
});
// clang-format on

namespace detail {

template <class T>
consteval auto choose_codec() {
    static_assert(std::is_same_v<T, std::remove_cvref_t<T>>,
                  "parley: a message type is neither const nor a reference");
    if constexpr (plain_kind<T> == kind::text || plain_kind<T> == kind::bytes) {
        return std::type_identity<whole<T>>{};
    } else if constexpr (goes_raw<T>()) {
        return std::type_identity<raw<T>>{};
    } else {
        return std::type_identity<portable<T>>{};
    }
}

}  // namespace detail

/// The codec of T; specialise it for types of your own.
template <class T>
struct codec : decltype(detail::choose_codec<T>())::type {};

/// T can be the type of a message.
template <class T>
concept encodable = codec_of<codec<T>, T>;

}  // namespace v1
}  // namespace parley
