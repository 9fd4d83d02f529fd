// SPDX-License-Identifier: MIT
#include <parley/codec/whole.hpp>

#include "support/catch.hpp"
#include "support/codec.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using parley::codec;
using parley_test::encoded;
using parley_test::encoded_hex;

using owned_bytes = std::vector<std::byte>;
using owned_numbers = std::vector<unsigned char>;
using seen_bytes = std::span<const std::byte>;
using seen_numbers = std::span<const unsigned char>;

static_assert(!codec<std::string>::borrows && codec<std::string_view>::borrows);
static_assert(!codec<owned_bytes>::borrows && codec<seen_bytes>::borrows);
static_assert(!codec<std::string>::in_place && !codec<seen_bytes>::in_place);
static_assert(codec<std::string>::type.fingerprint == codec<std::string_view>::type.fingerprint);
static_assert(codec<owned_bytes>::type.fingerprint == codec<seen_bytes>::type.fingerprint);
static_assert(codec<owned_bytes>::type.fingerprint == codec<seen_numbers>::type.fingerprint);
static_assert(codec<std::string>::type.fingerprint != codec<owned_bytes>::type.fingerprint);
static_assert(codec<std::string>::type.description == "text");
static_assert(codec<owned_numbers>::type.description == "bytes");

}  // namespace

TEST_CASE("text and bytes: the message is the content, without a count") {
    CHECK(encoded_hex(std::string("ab")) == "6162");
    CHECK(encoded_hex(std::string_view("ab")) == "6162");
    CHECK(encoded_hex(owned_numbers{1, 2}) == "0102");
    CHECK(encoded(std::string()).empty());
}

TEST_CASE("text and bytes: an owner copies, a view looks into the message") {
    const auto message = encoded(std::string("hello"));
    CHECK(codec<std::string>::decode(message).value() == "hello");
    const auto seen = codec<std::string_view>::decode(message).value();
    CHECK(seen == "hello");
    CHECK(static_cast<const void*>(seen.data()) == message.data());
    CHECK(codec<seen_bytes>::decode(message).value().data() == message.data());
    CHECK(codec<owned_bytes>::decode(message).value() == message);
}

TEST_CASE("text and bytes: the empty message is an empty text") {
    CHECK(codec<std::string>::decode({}).value().empty());
    CHECK(codec<std::string_view>::decode({}).value().empty());
    CHECK(codec<owned_bytes>::decode({}).value().empty());
    CHECK(codec<seen_numbers>::decode({}).value().empty());
}
