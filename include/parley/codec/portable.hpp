// SPDX-License-Identifier: MIT
// The portable codec: little-endian, packed, the same on every host and width.
//
//   bool            1 byte: 0 or 1
//   integer, enum   1, 2, 4 or 8 bytes, little-endian, two's complement
//   float, double   4 or 8 bytes, little-endian, IEEE 754
//   duration        its count; a time point is the duration since the epoch of its clock
//   struct, tuple   | member | member | ...            packed, in order, nothing in between
//   array           | element | element | ...
//   text, bytes     | count u32 | that many bytes      string, string_view, vector or span of bytes
//   list, set       | count u32 | element | ...
//   map             | count u32 | key | value | key | value | ...
//   optional        | 0 u8 |   or   | 1 u8 | value |
//   variant         | index u8 | value |
//   custom          | count u32 | bytes that codec<T> wrote |
//   opaque          the bytes in memory: not portable, and refused by another ABI
//
//   struct order { std::uint32_t id; std::string symbol; std::optional<double> limit; };
//   order{7, "ACME", 2.5} is
//
//   byte   0          4          8          12  13                  21
//          +----------+----------+----------+---+-------------------+
//          | 07000000 | 04000000 | A C M E  | 1 | 0000000000000440  |
//          +----------+----------+----------+---+-------------------+
//          id         count      symbol         limit
//
// Integers travel with the width that they have here: `long` and `std::size_t` are i64 and u64 on
// one host and 32 bits wide on another, which then refuses the channel by name. Use
// std::int64_t and its like in messages. Nothing is aligned.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/base/error.hpp>
#include <parley/codec/portable_read.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// The message is the members of a T one behind another; every host reads it alike.
///
///     template <> struct parley::codec<tick> : parley::portable<tick> {};   // also for raw types
///
/// T may be made of numbers, enums, structs, std::string, vector, array, map, set, optional,
/// variant, tuple, chrono, and containers that look like them; of types with a codec of their own;
/// and of itself, through a container, up to `portable_depth_max` levels. A unique map or set
/// travels in the order of its iteration.
/// Thread safety: all functions are pure. Lifetimes: if `borrows`, the std::string_view and spans
/// inside a decoded value look into `in` and live as long as those bytes; else it owns all it has.
/// Errors: `errc::corrupt` if the bytes are none that `encode` writes: a length, count, bool, enum,
/// index or duplicate key that is wrong, too few or too many bytes, nesting too deep.
/// std::bad_alloc passes through; what is allocated never exceeds what the elements in the message
/// need. `size` returns `unencodable` for a value that cannot travel.
template <class T>
struct portable {
    using made_by_parley = void;

    static constexpr bool in_place = false;
    static constexpr bool borrows = detail::borrows_from_message<T>();
    static constexpr message_type type{detail::portable_text_of<T>.fingerprint(),
                                       detail::portable_text_of<T>.words(), 1};

    [[nodiscard]] static std::size_t size(const T& v) {
        static_assert(type.fingerprint != 0);  // what T may not contain is said where it is named
        detail::portable_meter meter;
        return meter.add(v) ? meter.bytes() : unencodable;
    }
    static void encode(const T& v, mutable_bytes out) {
        detail::portable_writer writer(out.data());
        writer.put(v);
        PARLEY_ASSERT(writer.at() == out.data() + out.size());
    }
    [[nodiscard]] static result<T> decode(bytes in) {
        static_assert(std::is_default_constructible_v<T>,
                      "parley: a received value is made first and filled then: give the type a "
                      "default constructor, or a parley::codec<T> of its own");
        detail::portable_reader reader(in);
        T value{};
        if (!reader.read(value) || !reader.done()) return errc::corrupt;
        return value;
    }
};

}  // namespace v1
}  // namespace parley
