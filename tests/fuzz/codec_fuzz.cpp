// SPDX-License-Identifier: MIT
// Any bytes may arrive as a message: they are refused, or they are a value that survives being
// written and read again. The first byte chooses the type.
#include <parley/base/assert.hpp>
#include <parley/codec/codec.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzzed {

enum class side : std::uint8_t { buy = 1, sell = 2 };
struct raw_one {
    std::int32_t id;
    bool open;
    side way;
    std::array<bool, 3> seen;
};
struct everything {
    bool flag;
    side way;
    std::string name;
    std::vector<std::uint16_t> numbers;
    std::vector<bool> bits;
    std::array<std::string, 2> pair;
    std::map<std::string, std::vector<std::uint8_t>> table;
    std::set<std::int8_t> keys;
    std::unordered_map<std::uint16_t, bool> lookup;
    std::multimap<bool, std::string> many;
    std::optional<std::variant<std::monostate, std::int32_t, std::string>> choice;
    std::tuple<std::uint8_t, std::optional<raw_one>> rest;
    friend bool operator==(const everything&, const everything&) = default;
};
inline bool operator==(const raw_one& l, const raw_one& r) {
    return l.id == r.id && l.open == r.open && l.way == r.way && l.seen == r.seen;
}
struct tree {
    std::uint8_t value;
    std::vector<tree> kids;
    friend bool operator==(const tree&, const tree&) = default;
};
struct letter {
    std::string_view subject;
    std::span<const std::byte> body;
    std::vector<std::string_view> to;
    friend bool operator==(const letter& l, const letter& r) {
        return l.subject == r.subject && parley::as_text(l.body) == parley::as_text(r.body) &&
               l.to == r.to;
    }
};
struct login {
    char name[8];
    std::string word;
    friend bool operator==(const login& l, const login& r) {
        return std::string_view(l.name, 8) == std::string_view(r.name, 8) && l.word == r.word;
    }
};

template <class T>
void check(parley::bytes in) {
    using C = parley::codec<T>;
    const auto value = C::decode(in);
    if (!value) return;
    const std::size_t n = C::size(*value);
    PARLEY_ASSERT(n == in.size());
    std::vector<std::byte> message(n);
    C::encode(*value, message);
    const auto again = C::decode(message);
    PARLEY_ASSERT(again.has_value() && *again == *value);
}

}  // namespace fuzzed

template <>
struct parley::enum_values<fuzzed::side> : parley::from_to<fuzzed::side::buy, fuzzed::side::sell> {
};
template <>
struct parley::codec<fuzzed::login> : parley::fields<&fuzzed::login::name, &fuzzed::login::word> {};

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    // A copy, so that the message may be aligned and a read behind its end is seen.
    const std::vector<std::uint8_t> copy(data + 1, data + size);
    const parley::bytes in = std::as_bytes(std::span(copy));
    switch (data[0] % 9) {
        case 0: fuzzed::check<fuzzed::raw_one>(in); break;
        case 1: fuzzed::check<fuzzed::everything>(in); break;
        case 2: fuzzed::check<fuzzed::tree>(in); break;
        case 3: fuzzed::check<fuzzed::letter>(in); break;
        case 4: fuzzed::check<fuzzed::login>(in); break;
        case 5: fuzzed::check<std::vector<std::optional<fuzzed::everything>>>(in); break;
        case 6: fuzzed::check<std::variant<bool, std::vector<bool>, fuzzed::tree>>(in); break;
        case 7: fuzzed::check<std::map<std::string, std::set<std::string>>>(in); break;
        case 8: (void)parley::codec<fuzzed::raw_one>::view(in); break;
    }
    return 0;
}
