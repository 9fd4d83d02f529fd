// SPDX-License-Identifier: MIT
#include <parley/codec/fields.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

using parley::codec;
using parley::errc;
using parley_test::encoded;
using parley_test::encoded_hex;
using parley_test::refuses_other_lengths;

struct login {
    char name[8];
    bool admin;
    std::int16_t codes[2][2];
};
struct mail {
    std::string from;
    char tag[4];
    std::vector<login> copies;
};
struct frame {
    std::uint32_t width;
    std::uint32_t height;
    std::array<std::uint8_t, 3 * 1024 * 1024> pixels;
};
struct blob {
    std::uint64_t stamp;
    std::array<std::uint8_t, 3 * 1024 * 1024> pixels;
};
struct base {
    int a;
};
struct derived : base {
    int b;
};
class closed {
public:
    closed() = default;
    explicit closed(int v) : v_(v) {}
    int value() const { return v_; }

private:
    int v_ = 0;
};
struct holder {
    closed c;
    std::string s;
};
struct raw_holder {
    closed c;
    login l;
};
struct packed_tick {
    std::uint32_t id;
    double price;
};
struct packed_by_fields {
    std::uint32_t id;
    double price;
};

}  // namespace

template <>
struct parley::codec<login> : parley::fields<&login::name, &login::admin, &login::codes> {};
template <>
struct parley::codec<mail> : parley::fields<&mail::from, &mail::tag, &mail::copies> {};
template <>
struct parley::codec<frame> : parley::fields<&frame::width, &frame::height, &frame::pixels> {};
template <>
struct parley::codec<blob> : parley::opaque<blob> {};
template <>
struct parley::codec<derived> : parley::opaque<derived> {};
template <>
struct parley::codec<closed> : parley::opaque<closed> {};
template <>
struct parley::codec<packed_tick> : parley::portable<packed_tick> {};
template <>
struct parley::codec<packed_by_fields>
    : parley::portable_fields<&packed_by_fields::id, &packed_by_fields::price> {};

static_assert(codec<login>::in_place);
static_assert(codec<frame>::in_place);
static_assert(codec<raw_holder>::in_place);
static_assert(!codec<mail>::in_place && !codec<holder>::in_place);
static_assert(!codec<packed_tick>::in_place);
static_assert(codec<packed_tick>::type.fingerprint == codec<packed_by_fields>::type.fingerprint);
static_assert(parley::encodable<mail> && parley::encodable<blob> && parley::encodable<login>);

TEST_CASE("fields: a struct with C arrays travels raw") {
    CHECK(codec<login>::type.description ==
          "raw {char[8] @0, bool @8, i16[2][2] @10} size 18 align 2 little-endian");
    login l{"root", true, {{1, 2}, {3, 4}}};
    auto message = encoded(l);
    const auto again = codec<login>::decode(message).value();
    CHECK(std::string(again.name) == "root");
    CHECK(again.codes[1][0] == 3);
    CHECK(refuses_other_lengths<login>(message));
    message[offsetof(login, admin)] = std::byte{2};
    CHECK(codec<login>::decode(message).error() == errc::corrupt);
}

TEST_CASE("fields: a struct with text and C arrays travels packed") {
    CHECK(codec<mail>::type.description ==
          "portable {text, char[4], list<{char[8], bool, i16[2][2]}>}");
    const mail m{"me", "abc", {{"you", false, {{1, 2}, {3, 4}}}}};
    CHECK(encoded_hex(m) ==
          "02000000"
          "6d65"
          "61626300"
          "01000000"
          "796f750000000000"
          "00"
          "0100020003000400");
    const auto message = encoded(m);
    const auto again = codec<mail>::decode(message).value();
    CHECK(again.from == "me");
    CHECK(std::string(again.tag) == "abc");
    CHECK(again.copies.at(0).codes[1][1] == 4);
    CHECK(refuses_other_lengths<mail>(message));
}

TEST_CASE("fields: a struct of 3 MiB is seen in place") {
    CHECK(codec<frame>::type.description ==
          "raw {u32 @0, u32 @4, u8[3145728] @8} size 3145736 align 4 little-endian");
    const auto f = std::make_unique<frame>();
    f->pixels.back() = 9;
    const parley::bytes message(reinterpret_cast<const std::byte*>(f.get()), sizeof(frame));
    CHECK(codec<frame>::view(message).value()->pixels.back() == 9);
    CHECK(codec<frame>::view(message.first(100)).error() == errc::corrupt);
}

TEST_CASE("opaque: a type travels as its bytes, alone and inside others") {
    CHECK(codec<blob>::type.description == "opaque size 3145736 align 8 little-endian");
    CHECK(codec<closed>::decode(encoded(closed(5))).value().value() == 5);
    derived d;
    d.a = 1;
    d.b = 2;
    CHECK(codec<derived>::decode(encoded(d)).value().b == 2);
    CHECK(codec<holder>::type.description == "portable {opaque 4/4 little-endian, text}");
    CHECK(encoded_hex(holder{closed(5), "x"}) ==
          "05000000"
          "01000000"
          "78");
    CHECK(codec<holder>::decode(encoded(holder{closed(5), "x"})).value().c.value() == 5);
    CHECK(codec<raw_holder>::type.description ==
          "raw {opaque 4/4 @0, {char[8] @0, bool @8, i16[2][2] @10} @4} size 24 align 4 "
          "little-endian");
}

TEST_CASE("portable: a type that could travel raw may ask to be packed") {
    CHECK(codec<packed_tick>::type.description == "portable {u32, f64}");
    CHECK(encoded_hex(packed_tick{7, 2.5}) ==
          "07000000"
          "0000000000000440");
    CHECK(encoded_hex(packed_by_fields{7, 2.5}) ==
          "07000000"
          "0000000000000440");
}
