// SPDX-License-Identifier: MIT
// Codecs that users write by hand.
#include <parley/codec/codec.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace {

/// Keeps its members to itself, and no default constructor makes one.
class word {
public:
    explicit word(std::string letters) : letters_(std::move(letters)) {}
    [[nodiscard]] const std::string& letters() const { return letters_; }

private:
    std::string letters_;
};
struct percent {
    unsigned char value = 0;
};
struct phrase {
    std::vector<percent> parts;
    percent total;
};

}  // namespace

template <>
struct parley::codec<word> {
    static constexpr message_type type = named_type("word, version 1");
    static constexpr bool in_place = false;
    static constexpr bool borrows = false;
    static std::size_t size(const word& w) { return w.letters().size(); }
    static void encode(const word& w, mutable_bytes out) {
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::byte(w.letters()[i]);
    }
    static result<word> decode(bytes in) {
        if (in.empty()) return errc::corrupt;
        return word(std::string(as_text(in)));
    }
};
template <>
struct parley::codec<percent> {
    static constexpr message_type type = named_type("percent, version 1");
    static constexpr bool in_place = false;
    static constexpr bool borrows = false;
    static std::size_t size(const percent&) { return 1; }
    static void encode(const percent& p, mutable_bytes out) { out[0] = std::byte{p.value}; }
    static result<percent> decode(bytes in) {
        if (in.size() != 1 || std::to_integer<int>(in[0]) > 100) return errc::corrupt;
        return percent{std::to_integer<unsigned char>(in[0])};
    }
};

static_assert(parley::encodable<word> && parley::encodable<percent> && parley::encodable<phrase>);
static_assert(!parley::codec<phrase>::in_place);

TEST_CASE("codec by hand: it is the message") {
    CHECK(parley_test::encoded_hex(word("ab")) == "6162");
    CHECK(parley::codec<word>::decode(parley_test::encoded(word("ab"))).value().letters() == "ab");
    CHECK(parley::codec<word>::decode({}).error() == parley::errc::corrupt);
    CHECK(parley::codec<word>::type.description == "word, version 1");
}

TEST_CASE("codec by hand: inside another message it stands behind its length") {
    const phrase p{{{10}, {20}}, {100}};
    const auto message = parley_test::encoded(p);
    CHECK(parley_test::hex(message) ==
          "02000000"
          "010000000a"
          "0100000014"
          "0100000064");
    CHECK(parley::codec<phrase>::decode(message).value().parts.at(1).value == 20);
    CHECK(parley_test::refuses_other_lengths<phrase>(message));
}

TEST_CASE("codec by hand: what it refuses is refused inside another message") {
    CHECK(parley_test::decoded_hex<phrase>("00000000"
                                           "0100000064")
              .has_value());
    CHECK(parley_test::decoded_hex<phrase>("00000000"
                                           "0100000065")
              .error() == parley::errc::corrupt);
    CHECK(parley_test::decoded_hex<phrase>("00000000"
                                           "020000000101")
              .error() == parley::errc::corrupt);
}
