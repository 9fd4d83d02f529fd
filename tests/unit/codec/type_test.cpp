// SPDX-License-Identifier: MIT
// Fingerprints and descriptions. The golden values hold for both compilers, and for all time: a
// change here means that old and new programs refuse each other.
#include <parley/codec/type_text.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace {

using parley::codec;

template <class T>
inline constexpr auto fingerprint = codec<T>::type.fingerprint;
template <class A, class B>
inline constexpr bool meet = fingerprint<A> == fingerprint<B>;

enum class small : std::uint8_t {};
enum class large : std::uint32_t {};
struct tick {
    std::uint32_t id;
    double price;
};
struct same_as_tick {
    std::uint32_t number;
    double other_name;
};
struct swapped {
    double price;
    std::uint32_t id;
};
struct signed_id {
    std::int32_t id;
    double price;
};
struct nested {
    tick first;
    small s;
    std::array<tick, 2> more;
    std::chrono::milliseconds at;
};
struct order {
    std::uint32_t id;
    std::string symbol;
    std::map<std::string, double> limits;
};
struct order_elsewhere {
    std::uint32_t id;
    std::string_view symbol;
    std::unordered_map<std::string_view, double> limits;
};
struct left;
struct right {
    std::vector<left> lefts;
};
struct left {
    std::vector<right> rights;
    std::vector<left> lefts;
};
struct tail {
    std::uint8_t a;
    std::uint64_t b;
};
struct spaced {
    double d;
    char a;
    alignas(4) char b;
};
struct not_spaced {
    double d;
    char a;
    char b;
};
struct lines {
    alignas(64) std::uint64_t head;
    alignas(64) std::array<bool, 2> tail;
};
struct long_one {
    std::array<order, 3> a;
    std::tuple<order, order, order, order> b;
    std::tuple<order, order, order, order> c;
};
struct long_two {
    std::array<order, 3> a;
    std::tuple<order, order, order, order> b;
    std::tuple<order, order, order, tick> c;
};

// Golden: FNV-1a of the text, as any other implementation computes it.
static_assert(parley::detail::type_text().fingerprint() == 0xcbf29ce484222325ULL);
static_assert(parley::detail::type_text().put("foobar").fingerprint() == 0x85944171f73967e8ULL);
static_assert(fingerprint<tick> == 0x07e22b6f2efb653cULL);
static_assert(fingerprint<std::string> == 0xfa04f4ef1995407eULL);
static_assert(fingerprint<std::vector<std::byte>> == 0x2f2ec0474f1c4fe4ULL);
static_assert(fingerprint<std::vector<std::string>> == 0xa1041d148847ee55ULL);

static_assert(meet<tick, same_as_tick>);
static_assert(!meet<tick, swapped>);
static_assert(!meet<tick, signed_id>);
static_assert(!meet<small, large> && !meet<small, std::uint8_t>);
static_assert(!meet<int, unsigned> && !meet<int, float> && !meet<char, std::uint8_t>);
static_assert(meet<long, std::int64_t> && meet<long long, std::int64_t>);
static_assert(meet<order, order_elsewhere>);
static_assert(meet<std::vector<int>, std::deque<int>>);
static_assert(meet<std::pair<int, std::string>, std::tuple<int, std::string>>);
static_assert(!meet<std::vector<int>, std::vector<unsigned>>);
static_assert(!meet<std::optional<int>, std::vector<int>>);
static_assert(!meet<std::chrono::seconds, std::chrono::milliseconds>);
static_assert(!meet<std::map<int, int>, std::multimap<int, int>>);
static_assert(!meet<std::array<int, 2>, std::array<int, 3>>);
static_assert(!meet<long_one, long_two>);
static_assert(sizeof(spaced) == sizeof(not_spaced) && !meet<spaced, not_spaced>);

static_assert(parley::named_type("a").fingerprint != parley::named_type("b").fingerprint);

}  // namespace

TEST_CASE("type descriptions: raw types tell kind, size and place of every member") {
    CHECK(codec<tick>::type.description == "raw {u32 @0, f64 @8} size 16 align 8 little-endian");
    CHECK(codec<tail>::type.description == "raw {u8 @0, u64 @8} size 16 align 8 little-endian");
    CHECK(codec<nested>::type.description ==
          "raw {{u32 @0, f64 @8} @0, enum:u8 @16, {u32 @0, f64 @8}[2] @24, duration<i64 1/1000> "
          "@56} size 64 align 8 little-endian");
    CHECK(codec<int>::type.description == "raw i32 size 4 align 4 little-endian");
    CHECK(codec<tick>::type.alignment == 8);
}

TEST_CASE("type descriptions: the places of members are those of the compiler") {
    CHECK(codec<spaced>::type.description ==
          "raw {f64 @0, char @8, char @12} size 16 align 8 little-endian");
    CHECK(codec<lines>::type.description ==
          "raw {u64 @0, bool[2] @64} size 128 align 64 little-endian");
}

TEST_CASE("type descriptions: portable types tell what they mean") {
    CHECK(codec<order>::type.description == "portable {u32, text, map<text, f64>}");
    CHECK(codec<std::variant<std::monostate, std::string>>::type.description ==
          "portable variant<{}, text>");
    CHECK(codec<std::optional<std::vector<bool>>>::type.description ==
          "portable optional<list<bool>>");
    CHECK(codec<order>::type.alignment == 1);
}

TEST_CASE("type descriptions: types that contain each other come to an end") {
    CHECK(codec<left>::type.description == "portable {list<{list<^2>}>, list<^1>}");
    CHECK(codec<right>::type.description == "portable {list<{list<^2>, list<^1>}>}");
}

TEST_CASE("type descriptions: a long one ends in an ellipsis, its fingerprint covers all of it") {
    const auto one = codec<long_one>::type.description;
    const auto two = codec<long_two>::type.description;
    CHECK(one == two);
    CHECK(one.size() == 240);
    CHECK(one.ends_with("\xe2\x80\xa6"));
}
