// SPDX-License-Identifier: MIT
// Random values of a type that has everything: they come back, and no shorter or longer message is
// taken for one.
#include <parley/codec/codec.hpp>

#include <parley/base/random.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace {

enum class color : std::int16_t { red = -1, green = 300 };
struct point {
    std::int32_t x;
    float y;
    bool on;
    friend bool operator==(const point&, const point&) = default;
};
struct tree {
    std::int8_t value;
    std::vector<tree> kids;
    friend bool operator==(const tree&, const tree&) = default;
};
struct everything {
    bool flag;
    char letter;
    color paint;
    double ratio;
    std::string name;
    std::array<std::string, 2> names;
    std::vector<std::uint64_t> numbers;
    std::vector<bool> bits;
    std::vector<point> points;
    std::map<std::string, std::optional<point>> by_name;
    std::unordered_map<std::uint16_t, std::vector<std::uint8_t>> by_number;
    std::multimap<std::int8_t, color> many;
    std::set<std::string> words;
    std::variant<std::monostate, std::int64_t, std::string, point> choice;
    std::tuple<std::uint8_t, std::pair<std::string, bool>> rest;
    std::chrono::microseconds pause;
    tree grown;
    friend bool operator==(const everything&, const everything&) = default;
};

struct generator {
    parley::random r;

    std::size_t few() { return r.below(4); }
    bool coin() { return r.below(2) == 1; }
    std::string text() {
        std::string out(r.below(6), ' ');
        for (char& c : out) c = static_cast<char>(r());
        return out;
    }
    color paint() { return coin() ? color::red : color::green; }
    point place() {
        return {static_cast<std::int32_t>(r()), static_cast<float>(r.below(1000)) / 8, coin()};
    }
    tree grow(int levels) {
        tree t{static_cast<std::int8_t>(r()), {}};
        if (levels == 0) return t;
        for (auto n = few(); n > 0; --n) t.kids.push_back(grow(levels - 1));
        return t;
    }
    everything make() {
        everything e{};
        e.flag = coin();
        e.letter = static_cast<char>(r());
        e.paint = paint();
        e.ratio = static_cast<double>(r.below(1'000'000)) / 64;
        e.name = text();
        e.names = {text(), text()};
        for (auto n = few(); n > 0; --n) e.numbers.push_back(r());
        for (auto n = few(); n > 0; --n) e.bits.push_back(coin());
        for (auto n = few(); n > 0; --n) e.points.push_back(place());
        for (auto n = few(); n > 0; --n) {
            e.by_name[text()] = coin() ? std::optional(place()) : std::nullopt;
        }
        for (auto n = few(); n > 0; --n) {
            e.by_number[static_cast<std::uint16_t>(r())].resize(few(), 7);
        }
        for (auto n = few(); n > 0; --n) {
            e.many.emplace(static_cast<std::int8_t>(r.below(3)), paint());
        }
        for (auto n = few(); n > 0; --n) e.words.insert(text());
        switch (r.below(4)) {
            case 0: break;
            case 1: e.choice = static_cast<std::int64_t>(r()); break;
            case 2: e.choice = text(); break;
            case 3: e.choice = place(); break;
        }
        e.rest = {static_cast<std::uint8_t>(r()), {text(), coin()}};
        e.pause = std::chrono::microseconds(static_cast<std::int64_t>(r()));
        e.grown = grow(3);
        return e;
    }
};

}  // namespace

template <>
struct parley::enum_values<color> : parley::one_of<color::red, color::green> {};

TEST_CASE("portable codec: random values come back equal") {
    generator g{parley::random(2)};
    for (int i = 0; i < 2000; ++i) {
        const auto value = g.make();
        const auto message = parley_test::encoded(value);
        const auto again = parley::codec<everything>::decode(message);
        REQUIRE(again.has_value());
        REQUIRE((*again == value));
    }
}

TEST_CASE("portable codec: every shorter or longer message of random values is refused") {
    generator g{parley::random(3)};
    for (int i = 0; i < 60; ++i) {
        const auto value = g.make();
        REQUIRE(parley_test::refuses_other_lengths<everything>(parley_test::encoded(value)));
    }
}

TEST_CASE("portable codec: a message with one bit changed is refused or is a value") {
    generator g{parley::random(4)};
    for (int i = 0; i < 60; ++i) {
        auto message = parley_test::encoded(g.make());
        for (std::size_t bit = 0; bit < message.size() * 8; ++bit) {
            const auto flip = std::byte(1U << (bit % 8));
            message[bit / 8] ^= flip;
            const auto value = parley::codec<everything>::decode(message);
            if (value) REQUIRE(parley::codec<everything>::size(*value) == message.size());
            message[bit / 8] ^= flip;
        }
    }
}
