// SPDX-License-Identifier: MIT
// Built with the tool's own reader of type descriptions: what a codec wrote is shown as JSON.
#include "../../examples/tool/typed.hpp"

#include <parley/codec/codec.hpp>
#include <parley/codec/fields.hpp>
#include <parley/codec/portable.hpp>
#include <parley/codec/raw.hpp>

#include "support/catch.hpp"

#include <array>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

namespace {

struct inner {
    std::uint8_t a;
    std::uint32_t b;
};
struct outer_struct {
    std::uint16_t first;
    std::array<inner, 2> two;
    std::array<std::array<std::int8_t, 3>, 2> grid;
    bool yes;
    char letter;
    float f;
    double d;
    std::int64_t below;
};
enum class side : std::uint8_t { buy, sell };
struct leg {
    std::string symbol;
    side what;
    std::int32_t lots;
};
struct order {
    std::string account;
    std::vector<leg> legs;
    std::map<std::string, double> limits;
    std::optional<std::string> note, none;
    std::variant<std::int32_t, std::string> either;
    std::vector<std::byte> blob;
    std::chrono::milliseconds wait;
    std::array<std::uint16_t, 3> three;
};
struct tree {
    std::int32_t value;
    std::vector<tree> children;
};

template <class T>
std::vector<std::byte> written(const T& v) {
    std::vector<std::byte> out(parley::codec<T>::size(v));
    parley::codec<T>::encode(v, out);
    return out;
}
template <class T>
std::string shown(const T& v) {
    std::string out = "before ";
    const auto bytes = written(v);
    if (!tool::append_value(out, parley::codec<T>::type.description, bytes)) return "no";
    return out.substr(7);
}

const order sample{"desk \"4\"",
                   {{"EURUSD", side::buy, 2}, {"USDJPY", side::sell, -1}},
                   {{"EURUSD", 1.5}},
                   "by\nnoon",
                   {},
                   std::string("x"),
                   {std::byte{0xab}, std::byte{1}},
                   std::chrono::milliseconds(250),
                   {1, 2, 3}};

}  // namespace

TEST_CASE("typed: a raw struct is shown member by member, padding left out", "[tool]") {
    const outer_struct v{1, {{{2, 3}, {4, 5}}}, {{{-1, 2, 3}, {4, 5, 6}}}, true, 'x', 1.5F, -2.25,
                         -7};
    CHECK(shown(v) ==
          "[1, [[2, 3], [4, 5]], [[-1, 2, 3], [4, 5, 6]], true, \"x\", 1.5, -2.25, -7]");
    CHECK(shown(std::uint32_t{7}) == "7");
    CHECK(shown(std::array<char, 8>{'h', 'i'}) == "\"hi\"");
}

TEST_CASE("typed: a portable message is shown with all that it contains", "[tool]") {
    CHECK(shown(sample) ==
          "[\"desk \\\"4\\\"\", [[\"EURUSD\", 0, 2], [\"USDJPY\", 1, -1]], [[\"EURUSD\", 1.5]], "
          "\"by\\u000anoon\", null, \"x\", \"ab01\", 250, [1, 2, 3]]");
    CHECK(shown(std::string("text")) == "\"text\"");
    CHECK(shown(std::vector<std::int32_t>{}) == "[]");
    CHECK(shown(tree{1, {{2, {}}, {3, {{4, {}}}}}}) == "[1, [[2, []], [3, [[4, []]]]]]");
}

TEST_CASE("typed: what the description does not tell is not guessed", "[tool]") {
    const auto bytes = written(sample);
    std::string out = "kept";
    for (const auto* text :
         {"", "any type", "bytes", "named picture", "portable custom #12", "portable {u32, ",
          "raw {u32 @0} size 9 align 4 little-endian", "raw {u32 @99} size 4 align 4 big-endian",
          "portable ^1", "portable list<{}>", "portable u8[99999999999]", "portable {}[4000000000]",
          "portable {}[4000000000][4000000000]", "raw u7 size 1 align 1 little-endian"}) {
        CHECK_FALSE(tool::append_value(out, text, bytes));
        CHECK(out == "kept");
    }
}

TEST_CASE("typed: cut and damaged messages and descriptions do no harm", "[tool]") {
    const auto bytes = written(sample);
    const std::string description(parley::codec<order>::type.description);
    std::string out;
    for (std::size_t n = 0; n < bytes.size(); ++n) {
        CHECK_FALSE(tool::append_value(out, description, parley::bytes(bytes).first(n)));
    }
    std::mt19937 random(1);
    for (int i = 0; i < 20000; ++i) {
        auto b = bytes;
        auto d = description;
        for (int k = 0; k < 3; ++k) b[random() % b.size()] = static_cast<std::byte>(random());
        if (i % 2 == 0) d[random() % d.size()] = "<>{}[]^, 0123456789utilmap@#"[random() % 28];
        (void)tool::append_value(out, d, b);
        if (out.size() > 1000) out.clear();
    }
    CHECK(out.size() < (16U << 20));
}
