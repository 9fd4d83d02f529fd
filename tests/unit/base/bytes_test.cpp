// SPDX-License-Identifier: MIT
#include <parley/base/bytes.hpp>

#include "support/catch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace {

template <class U>
void check_round_trip_at_every_alignment() {
    for (std::size_t at = 0; at < 8; ++at) {
        for (const U v :
             {U{0}, U{1}, static_cast<U>(0x0102030405060708ULL), std::numeric_limits<U>::max()}) {
            std::array<std::byte, 24> memory{};
            parley::store_le(memory.data() + at, v);
            CHECK(parley::load_le<U>(memory.data() + at) == v);
            for (std::size_t i = 0; i < memory.size(); ++i) {
                if (i < at || i >= at + sizeof(U)) CHECK(memory[i] == std::byte{0});
            }
        }
    }
}

static_assert(parley::detail::byte_swapped(std::uint8_t{0x12}) == 0x12);
static_assert(parley::detail::byte_swapped(std::uint16_t{0x1234}) == 0x3412);
static_assert(parley::detail::byte_swapped(std::uint32_t{0x12345678}) == 0x78563412U);
static_assert(parley::detail::byte_swapped(std::uint64_t{0x0102030405060708}) ==
              0x0807060504030201U);

}  // namespace

TEST_CASE("bytes: text goes to bytes and back without a copy", "[base]") {
    const std::string text("a\0b", 3);
    const parley::bytes b = parley::as_bytes(text);
    REQUIRE(b.size() == 3);
    CHECK(b[1] == std::byte{0});
    CHECK(parley::as_text(b) == text);
    CHECK(static_cast<const void*>(b.data()) == text.data());
    CHECK(parley::as_bytes("").empty());
    CHECK(parley::as_text({}).empty());
}

TEST_CASE("bytes: numbers lie in memory with the lowest byte first", "[base]") {
    std::array<std::byte, 8> memory{};
    parley::store_le(memory.data(), std::uint64_t{0x0102030405060708});
    for (std::size_t i = 0; i < 8; ++i) CHECK(std::to_integer<unsigned>(memory[i]) == 8 - i);
    CHECK(parley::load_le<std::uint16_t>(memory.data() + 1) == 0x0607);
}

TEST_CASE("bytes: every width comes back from every alignment and touches nothing else", "[base]") {
    check_round_trip_at_every_alignment<std::uint8_t>();
    check_round_trip_at_every_alignment<std::uint16_t>();
    check_round_trip_at_every_alignment<std::uint32_t>();
    check_round_trip_at_every_alignment<std::uint64_t>();
}
