// SPDX-License-Identifier: MIT
#include <parley/format.hpp>

#include "support/catch.hpp"

#include <cerrno>

TEST_CASE("format: errors and error codes print as their words", "[format]") {
    CHECK(fmt::format("{}", parley::errc::closed) == "closed by the other side");
    CHECK(fmt::format("{}", parley::make_error_code(parley::errc::denied)) == "permission denied");
    CHECK(fmt::format("{}", parley::from_errno(EIO)) == parley::from_errno(EIO).message());
}

TEST_CASE("format: addresses and diagnostics print as their text", "[format]") {
    parley::diagnostics diag;
    (void)diag.fail(parley::errc::not_found, "no such directory: /run/x");
    CHECK(fmt::format("{}: {}", parley::uri("shm://a"), diag) ==
          "shm://a: no such directory: /run/x");
    CHECK(fmt::format("[{}]", parley::diagnostics()) == "[]");
}

TEST_CASE("format: width and alignment are those of text", "[format]") {
    CHECK(fmt::format("[{:>9}]", parley::uri("shm://a")) == "[  shm://a]");
    CHECK(fmt::format("[{:.6}]", parley::errc::closed) == "[closed]");
}
