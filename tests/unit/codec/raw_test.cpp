// SPDX-License-Identifier: MIT
#include <parley/codec/raw.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace {

using parley::errc;
using parley_test::encoded;
using parley_test::refuses_other_lengths;

enum class side : std::uint8_t { buy = 1, sell = 2 };
enum class any_color : std::uint8_t { red };
enum class flag : std::uint16_t { a = 1, b = 4 };
enum class truth : bool { no, yes };
enum plain { first, second, third };

struct tick {
    std::uint32_t id;
    double price;
};
struct deal {
    tick at;
    bool open;
    side way;
    std::array<bool, 2> seen;
    any_color color;
    std::array<flag, 1> marks = {flag::a};
};
struct guarded {
    truth t;
    plain p;
};
struct alignas(32) wide {
    std::uint8_t a;
};
struct picture {
    std::uint32_t width;
    std::array<std::uint8_t, 3 * 1024 * 1024> pixels;
};
struct with_optional {
    std::optional<int> value;
};
struct with_view {
    std::string_view text;
};

template <class T>
errc error_with_byte(const T& v, std::size_t at, int value) {
    auto message = encoded(v);
    message.at(at) = static_cast<std::byte>(value);
    const auto copy = parley::codec<T>::decode(message);
    const T* aligned = new T(v);
    std::memcpy(const_cast<T*>(aligned), message.data(), sizeof(T));
    const auto view =
        parley::codec<T>::view({reinterpret_cast<const std::byte*>(aligned), sizeof(T)});
    CHECK(copy.has_value() == view.has_value());
    delete aligned;
    return copy ? errc{} : static_cast<errc>(copy.error().value());
}

}  // namespace

template <>
struct parley::enum_values<side> : parley::from_to<side::buy, side::sell> {};
template <>
struct parley::enum_values<flag> : parley::one_of<flag::a, flag::b> {};
template <>
struct parley::enum_values<plain> : parley::from_to<first, third> {};

static_assert(parley::codec<tick>::in_place && !parley::codec<tick>::borrows);
static_assert(parley::codec<deal>::in_place);
static_assert(parley::codec<int>::in_place);
static_assert(parley::codec<std::array<double, 1000000>>::in_place);
static_assert(parley::codec<std::chrono::milliseconds>::in_place);
static_assert(parley::codec<wide>::type.alignment == 32);
// Trivially copyable, but their bytes are nobody else's business.
static_assert(!parley::codec<with_optional>::in_place);
static_assert(!parley::codec<with_view>::in_place);
static_assert(parley::codec_of<parley::codec<tick>, tick>);

TEST_CASE("raw codec: the message is the bytes of the object") {
    const tick t{7, 99.5};
    const auto message = encoded(t);
    CHECK(message.size() == sizeof(tick));
    CHECK(std::memcmp(message.data(), &t, sizeof t) == 0);
    const auto again = parley::codec<tick>::decode(message).value();
    CHECK(again.id == 7);
    CHECK(again.price == 99.5);
}

TEST_CASE("raw codec: scalars, arrays and times travel by themselves") {
    CHECK(parley::codec<int>::decode(encoded(-5)).value() == -5);
    CHECK(parley::codec<bool>::decode(encoded(true)).value());
    CHECK(parley::codec<side>::decode(encoded(side::sell)).value() == side::sell);
    const std::array<short, 3> a{1, 2, 3};
    CHECK(parley::codec<std::array<short, 3>>::decode(encoded(a)).value() == a);
    const std::chrono::milliseconds pause(12);
    CHECK(parley::codec<std::chrono::milliseconds>::decode(encoded(pause)).value() == pause);
}

TEST_CASE("raw codec: a message of another length is refused") {
    const deal d{{7, 1.5}, true, side::buy, {false, true}, any_color::red};
    CHECK(refuses_other_lengths<deal>(encoded(d)));
    CHECK(parley::codec<deal>::view({}).error() == errc::corrupt);
}

TEST_CASE("raw codec: a received bool of 2 is refused") {
    const deal d{{7, 1.5}, true, side::buy, {false, true}, any_color::red};
    CHECK(error_with_byte(d, offsetof(deal, open), 1) == errc{});
    CHECK(error_with_byte(d, offsetof(deal, open), 2) == errc::corrupt);
    CHECK(error_with_byte(d, offsetof(deal, seen) + 1, 255) == errc::corrupt);
    CHECK(error_with_byte(true, 0, 2) == errc::corrupt);
}

TEST_CASE("raw codec: an enum outside its stated values is refused") {
    const deal d{{7, 1.5}, true, side::buy, {false, true}, any_color::red};
    CHECK(error_with_byte(d, offsetof(deal, way), 2) == errc{});
    CHECK(error_with_byte(d, offsetof(deal, way), 0) == errc::corrupt);
    CHECK(error_with_byte(d, offsetof(deal, way), 3) == errc::corrupt);
    CHECK(error_with_byte(d, offsetof(deal, marks), 4) == errc{});
    CHECK(error_with_byte(d, offsetof(deal, marks), 2) == errc::corrupt);
    const guarded g{truth::yes, second};
    CHECK(error_with_byte(g, 0, 2) == errc::corrupt);
    CHECK(error_with_byte(g, offsetof(guarded, p), 2) == errc{});
    CHECK(error_with_byte(g, offsetof(guarded, p), 3) == errc::corrupt);
}

TEST_CASE("raw codec: an enum that states nothing takes every value of its type") {
    const deal d{{7, 1.5}, true, side::buy, {false, true}, any_color::red};
    CHECK(error_with_byte(d, offsetof(deal, color), 200) == errc{});
}

TEST_CASE("raw codec: a view is the message itself") {
    const tick t{7, 99.5};
    const auto seen = parley::codec<tick>::view({reinterpret_cast<const std::byte*>(&t), sizeof t});
    CHECK(seen.value() == &t);
}

TEST_CASE("raw codec: a view of misaligned bytes is refused, a copy is made from any") {
    alignas(tick) std::byte memory[sizeof(tick) + 1] = {};
    const parley::bytes misaligned(memory + 1, sizeof(tick));
    CHECK(parley::codec<tick>::view(misaligned).error() == errc::invalid_argument);
    CHECK(parley::codec<tick>::decode(misaligned).has_value());
}

TEST_CASE("raw codec: a large struct needs no statement") {
    const auto large = std::make_unique<picture>();
    large->pixels.back() = 9;
    const parley::bytes message(reinterpret_cast<const std::byte*>(large.get()), sizeof(picture));
    CHECK(parley::codec<picture>::view(message).value()->pixels.back() == 9);
    CHECK(parley::codec<picture>::type.description ==
          "raw {u32 @0, u8[3145728] @4} size 3145732 align 4 little-endian");
}
