// SPDX-License-Identifier: MIT
#include <parley/codec/portable.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace {

using parley::codec;
using parley::errc;
using parley_test::decoded_hex;
using parley_test::encoded;
using parley_test::encoded_hex;
using parley_test::refuses_other_lengths;

enum class side : std::uint8_t { buy = 1, sell = 2 };

/// One value in a packed message, whatever the codec of T alone would be.
template <class T>
struct packed {
    T value{};
    friend bool operator==(const packed&, const packed&) = default;
};

struct order {
    std::uint32_t id;
    std::string symbol;
    std::optional<double> limit;
};
struct node {
    int value;
    std::vector<node> kids;
    friend bool operator==(const node&, const node&) = default;
};
struct letter {
    std::string_view subject;
    std::span<const std::byte> body;
    std::vector<std::string_view> to;
};
struct nothing {
    friend bool operator==(const nothing&, const nothing&) = default;
};

}  // namespace

template <>
struct parley::enum_values<side> : parley::from_to<side::buy, side::sell> {};
template <class T>
struct parley::codec<packed<T>> : parley::portable<packed<T>> {};

namespace {

template <class T>
errc error_of(const std::string& digits) {
    const auto r = decoded_hex<T>(digits);
    return r ? errc{} : static_cast<errc>(r.error().value());
}

/// The bytes of a value are these; they give the value back; and no other length does.
template <class T>
void check_golden(const T& value, const std::string& digits) {
    using P = packed<T>;
    const P p{value};
    INFO(codec<P>::type.description);
    const auto message = encoded(p);
    CHECK(parley_test::hex(message) == digits);
    const auto again = codec<P>::decode(message);
    REQUIRE(again.has_value());
    CHECK((*again == p));
    CHECK(refuses_other_lengths<P>(message));
}

}  // namespace

TEST_CASE("portable layout: numbers are little-endian in their own width") {
    check_golden(true, "01");
    check_golden(std::int8_t{-2}, "fe");
    check_golden('A', "41");
    check_golden(std::byte{7}, "07");
    check_golden(std::uint16_t{0x1234}, "3412");
    check_golden(std::int32_t{-2}, "feffffff");
    check_golden(std::uint64_t{0x0102030405060708}, "0807060504030201");
    check_golden(1.5F, "0000c03f");
    check_golden(-2.5, "00000000000004c0");
    check_golden(side::sell, "02");
    check_golden(char32_t{0x1f600}, "00f60100");
}

TEST_CASE("portable layout: structs and tuples are packed, arrays have no count") {
    check_golden(std::array<std::int16_t, 3>{1, 2, 3}, "010002000300");
    check_golden(std::array<bool, 2>{true, false}, "0100");
    check_golden(std::pair<std::int8_t, double>{1, -2.5}, "0100000000000004c0");
    check_golden(std::tuple<std::int8_t, std::string, std::int8_t>{1, "a", 2}, "01010000006102");
    check_golden(nothing{}, "");
    check_golden(packed<std::int16_t>{3}, "0300");
}

TEST_CASE("portable layout: text, bytes and lists begin with their count") {
    check_golden(std::string("ab"), "020000006162");
    check_golden(std::string(), "00000000");
    check_golden(std::vector<std::byte>{std::byte{9}}, "0100000009");
    check_golden(std::vector<std::uint8_t>{8, 9}, "020000000809");
    check_golden(std::vector<std::uint16_t>{1, 2}, "0200000001000200");
    check_golden(std::vector<bool>{true, false, true}, "03000000010001");
    check_golden(std::vector<std::string>{"a", ""}, "02000000010000006100000000");
    check_golden(std::deque<std::int16_t>{5}, "010000000500");
    check_golden(std::list<std::int16_t>{5, 6}, "0200000005000600");
    check_golden(std::u16string(u"hi"), "0200000068006900");
}

TEST_CASE("portable layout: maps and sets are lists in the order of their iteration") {
    check_golden(std::map<std::string, std::uint8_t>{{"a", 1}, {"b", 2}},
                 "020000000100000061010100000062"
                 "02");
    check_golden(std::multimap<std::uint8_t, std::uint8_t>{{1, 2}, {1, 3}}, "0200000001020103");
    check_golden(std::unordered_map<std::uint8_t, std::uint8_t>{{1, 2}}, "010000000102");
    check_golden(std::set<std::uint8_t>{3, 1}, "020000000103");
    check_golden(std::multiset<std::uint8_t>{1, 1}, "020000000101");
    check_golden(std::unordered_set<std::uint8_t>{7}, "0100000007");
}

TEST_CASE("portable layout: optional and variant begin with one byte") {
    check_golden(std::optional<std::uint16_t>{}, "00");
    check_golden(std::optional<std::uint16_t>{5}, "010500");
    check_golden(std::variant<std::monostate, std::uint8_t, std::string>{}, "00");
    check_golden(std::variant<std::monostate, std::uint8_t, std::string>{"x"}, "020100000078");
}

TEST_CASE("portable layout: times are counts") {
    check_golden(std::chrono::milliseconds(5), "0500000000000000");
    check_golden(std::chrono::duration<float>(1.5F), "0000c03f");
    check_golden(std::chrono::sys_time<std::chrono::seconds>(std::chrono::seconds(3)),
                 "0300000000000000");
}

TEST_CASE("portable layout: the drawing in the header is true") {
    CHECK(encoded_hex(order{7, "ACME", 2.5}) ==
          "07000000"
          "04000000"
          "41434d45"
          "01"
          "0000000000000440");
}

TEST_CASE("portable codec: a type that contains itself travels") {
    const node tree{1, {{2, {}}, {3, {{4, {}}}}}};
    const auto message = encoded(tree);
    CHECK(codec<node>::decode(message).value() == tree);
    CHECK(refuses_other_lengths<node>(message));
    CHECK(codec<node>::type.description == "portable {i32, list<^1>}");
}

TEST_CASE("portable codec: nesting beyond the limit is neither sent nor received") {
    node chain{0, {}};
    for (unsigned depth = 1; depth < parley::portable_depth_max; ++depth) {
        node outer{0, {}};
        outer.kids.push_back(std::move(chain));
        chain = std::move(outer);
    }
    CHECK(codec<node>::decode(encoded(chain)).value() == chain);
    std::string deeper;
    for (unsigned depth = 0; depth < parley::portable_depth_max; ++depth) {
        deeper += "0000000001000000";
    }
    CHECK(error_of<node>(deeper + "0000000000000000") == errc::corrupt);
    node outer{0, {}};
    outer.kids.push_back(std::move(chain));
    CHECK(codec<node>::size(outer) == parley::unencodable);
}

TEST_CASE("portable codec: views look into the message") {
    const std::string body = "bytes";
    const letter l{"subject", parley::as_bytes(body), {"a", "bc"}};
    const auto message = encoded(l);
    const auto seen = codec<letter>::decode(message).value();
    CHECK(seen.subject == "subject");
    CHECK(parley::as_text(seen.body) == "bytes");
    CHECK(seen.to.at(1) == "bc");
    const auto* first = reinterpret_cast<const char*>(message.data());
    CHECK(seen.subject.data() == first + 4);
    CHECK(refuses_other_lengths<letter>(message));
    static_assert(codec<letter>::borrows && !codec<order>::borrows && !codec<node>::borrows);
}

TEST_CASE("portable codec: bytes that no value has are refused") {
    CHECK(error_of<packed<bool>>("02") == errc::corrupt);
    CHECK(error_of<packed<std::vector<bool>>>("0100000002") == errc::corrupt);
    CHECK(error_of<packed<side>>("00") == errc::corrupt);
    CHECK(error_of<packed<side>>("03") == errc::corrupt);
    CHECK(error_of<packed<std::optional<std::uint8_t>>>("0200") == errc::corrupt);
    CHECK(error_of<packed<std::variant<std::uint8_t, bool>>>("0200") == errc::corrupt);
}

TEST_CASE("portable codec: the same key twice is refused where keys are unique") {
    CHECK(error_of<packed<std::set<std::uint8_t>>>("020000000101") == errc::corrupt);
    CHECK(error_of<packed<std::unordered_set<std::uint8_t>>>("020000000101") == errc::corrupt);
    CHECK(error_of<packed<std::map<std::uint8_t, bool>>>("0200000001000101") == errc::corrupt);
    CHECK(error_of<packed<std::multiset<std::uint8_t>>>("020000000101") == errc{});
}

TEST_CASE("portable codec: a hostile count allocates nothing") {
    // Would be 4 GiB and more; the sanitizers' allocator refuses that, and the test would see it.
    CHECK(error_of<packed<std::string>>("ffffffff61") == errc::corrupt);
    CHECK(error_of<packed<std::vector<double>>>("ffffffff61") == errc::corrupt);
    CHECK(error_of<packed<std::vector<std::string>>>("ffffffff61") == errc::corrupt);
    CHECK(error_of<packed<std::vector<bool>>>("ffffffff01") == errc::corrupt);
    CHECK(error_of<packed<std::list<bool>>>("ffffffff01") == errc::corrupt);
    CHECK(error_of<packed<std::map<int, int>>>("ffffffff01") == errc::corrupt);
    CHECK(error_of<packed<std::string_view>>("ffffffff01") == errc::corrupt);
}

TEST_CASE("portable codec: a variant without a value is not sent") {
    std::variant<std::string, std::map<int, int>> v;
    struct throws_on_conversion {
        operator std::map<int, int>() const { throw 1; }
    };
    CHECK_THROWS(v.emplace<1>(throws_on_conversion{}));
    REQUIRE(v.valueless_by_exception());
    CHECK(codec<decltype(v)>::size(v) == parley::unencodable);
}
