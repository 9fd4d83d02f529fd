// SPDX-License-Identifier: MIT
#include <parley/base/error.hpp>

#include "support/catch.hpp"

#include <cerrno>
#include <set>
#include <string>
#include <string_view>

namespace {

using parley::condition;
using parley::errc;

struct row {
    errc code;
    int family;  // of enum condition; 0 for none
};
/// Every enumerator once: the compiler warns in describe() if one is missing there.
constexpr row rows[] = {
    {errc::would_block, 1},      {errc::timed_out, 1},  {errc::closed, 2},
    {errc::peer_lost, 2},        {errc::in_use, 3},     {errc::denied, 3},
    {errc::incompatible, 3},     {errc::corrupt, 4},    {errc::message_too_large, 4},
    {errc::invalid_argument, 4}, {errc::not_found, 4},  {errc::out_of_resources, 5},
    {errc::lagged, 0},           {errc::not_member, 0}, {errc::unsupported, 0},
};

parley::result<int> number_or(parley::error_code ec) {
    if (ec) return ec;
    return 7;
}

static_assert(std::string_view(parley::describe(errc::closed)) == "closed by the other side");

}  // namespace

TEST_CASE("errc: every enumerator has words of its own and the category's name", "[base]") {
    std::set<std::string> words;
    for (const auto& r : rows) {
        const parley::error_code ec = r.code;
        CHECK(std::string_view(ec.category().name()) == "parley");
        CHECK(ec.message() == parley::describe(r.code));
        CHECK(ec.failed());
        words.insert(ec.message());
    }
    CHECK(words.size() == std::size(rows));
    CHECK(words.count("unknown error of parley") == 0);
}

TEST_CASE("errc: a number that is no enumerator is called unknown", "[base]") {
    const parley::error_code ec(999, parley::make_error_code(errc::closed).category());
    CHECK(ec.message() == "unknown error of parley");
    CHECK(ec != condition::gone);
}

TEST_CASE("condition: each error belongs to its family and to no other", "[base]") {
    for (const auto& r : rows) {
        const parley::error_code ec = r.code;
        INFO(ec.message());
        for (int family = 1; family <= 5; ++family) {
            CHECK((ec == static_cast<condition>(family)) == (family == r.family));
        }
    }
}

TEST_CASE("condition: an error of the system belongs to no family", "[base]") {
    for (int family = 1; family <= 5; ++family) {
        CHECK(parley::from_errno(EIO) != static_cast<condition>(family));
    }
}

TEST_CASE("condition: each family has words of its own", "[base]") {
    std::set<std::string> words;
    for (int family = 1; family <= 5; ++family) {
        words.insert(parley::make_error_condition(static_cast<condition>(family)).message());
    }
    CHECK(words.size() == 5);
    CHECK(parley::make_error_condition(static_cast<condition>(9)).message() ==
          "unknown condition of parley");
}

TEST_CASE("errno: the values that users branch on become errc", "[base]") {
    CHECK(parley::from_errno(EAGAIN) == errc::would_block);
    CHECK(parley::from_errno(ETIMEDOUT) == errc::timed_out);
    CHECK(parley::from_errno(EPIPE) == errc::peer_lost);
    CHECK(parley::from_errno(ECONNRESET) == errc::peer_lost);
    CHECK(parley::from_errno(EMSGSIZE) == errc::message_too_large);
    CHECK(parley::from_errno(ENAMETOOLONG) == errc::invalid_argument);
    CHECK(parley::from_errno(ENOENT) == errc::not_found);
    CHECK(parley::from_errno(ECONNREFUSED) == errc::not_found);
    CHECK(parley::from_errno(EADDRINUSE) == errc::in_use);
    CHECK(parley::from_errno(EACCES) == errc::denied);
    CHECK(parley::from_errno(ENOSPC) == errc::out_of_resources);
    CHECK(parley::from_errno(EMFILE) == errc::out_of_resources);
    CHECK(parley::from_errno(ENOSYS) == errc::unsupported);
}

TEST_CASE("errno: other values pass through with the words of the system", "[base]") {
    const auto ec = parley::from_errno(EIO);
    CHECK(ec.category() == boost::system::system_category());
    CHECK(ec.value() == EIO);
}

TEST_CASE("result: it holds a value, or an error that value() throws", "[base]") {
    CHECK(number_or({}).value() == 7);
    const auto bad = number_or(errc::in_use);
    CHECK_FALSE(bad);
    CHECK(bad.error() == errc::in_use);
    CHECK(bad.error() == condition::refused);
    try {
        (void)bad.value();
        FAIL("value() of an error returned");
    } catch (const boost::system::system_error& e) {
        CHECK(e.code() == errc::in_use);
        CHECK_THAT(e.what(), parley_test::contains("in use by another live process"));
    }
}

TEST_CASE("diagnostics: it keeps the words of the last failure and hands the error on", "[base]") {
    parley::diagnostics diag;
    CHECK(diag.empty());
    CHECK(diag.fail(errc::denied, "the directory belongs to root") == errc::denied);
    CHECK(diag.text() == "the directory belongs to root");
    const auto ec = diag.fail(parley::from_errno(EIO), "the disk is broken");
    CHECK(ec.value() == EIO);
    CHECK(diag.text() == "the disk is broken");
    diag.clear();
    CHECK(diag.empty());
}
