// SPDX-License-Identifier: MIT
#include <parley/base/uri.hpp>

#include "support/catch.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace {

using parley_test::contains;

/// Reads an address without options and returns what finish() says.
parley::result<void> read(const std::string& text, parley::diagnostics& diag) {
    const parley::uri address(text);
    parley::uri_reader reader(address, diag);
    return reader.finish();
}

enum class kind { stream, datagram };
constexpr std::pair<std::string_view, kind> kinds[] = {{"stream", kind::stream},
                                                       {"datagram", kind::datagram}};

}  // namespace

TEST_CASE("uri: it is a regular value that holds any text and never fails", "[base]") {
    const parley::uri a("shm://ticks");
    parley::uri b(std::string_view("no address at all"));
    CHECK(b.text() == "no address at all");
    CHECK(a != b);
    b = a;
    CHECK(a == b);
    CHECK(parley::uri().text().empty());
}

TEST_CASE("uri: the scheme is what stands before the first colon", "[base]") {
    CHECK(parley::uri("tcp://[::1]:80").scheme() == "tcp");
    CHECK(parley::uri("pipe:?fd=3").scheme() == "pipe");
    CHECK(parley::uri("plain").scheme().empty());
    CHECK(parley::uri().scheme().empty());
}

TEST_CASE("uri writer: an address prints back to the text it comes from", "[base]") {
    using parley::uri_writer;
    CHECK(uri_writer("shm", "ticks").option("slots", 1024).done().text() ==
          "shm://ticks?slots=1024");
    CHECK(uri_writer("pipe").option("fd", 3).done().text() == "pipe:?fd=3");
    CHECK(uri_writer("unix", "@name").option("type", "stream").option("n", 2).done().text() ==
          "unix://@name?type=stream&n=2");
}

TEST_CASE("uri writer: every byte of a body or a value survives the way through text", "[base]") {
    std::string all;
    for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
    const auto address = parley::uri_writer("file", all).option("key", all).done();
    for (const char c : address.text()) CHECK((c > 0x20 && c < 0x7f));
    parley::diagnostics diag;
    parley::uri_reader reader(address, diag);
    CHECK(reader.scheme() == "file");
    CHECK(reader.body() == all);
    REQUIRE(reader.option("key") != nullptr);
    CHECK(*reader.option("key") == all);
    CHECK(reader.finish().has_value());
    CHECK(diag.empty());
}

TEST_CASE("uri reader: scheme, body and options are read", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("unix:///run/a%20b?slots=7&type=datagram&name=x");
    parley::uri_reader reader(address, diag);
    std::uint32_t slots = 1;
    kind k = kind::stream;
    reader.number("slots", slots, 1, 4096);
    reader.choice("type", k, kinds);
    CHECK(reader.scheme() == "unix");
    CHECK(reader.body() == "/run/a b");
    CHECK(slots == 7);
    CHECK(k == kind::datagram);
    REQUIRE(reader.option("name") != nullptr);
    CHECK(*reader.option("name") == "x");
    CHECK(reader.finish().has_value());
}

TEST_CASE("uri reader: an option that is absent leaves the value alone", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("shm://a");
    parley::uri_reader reader(address, diag);
    int n = 5;
    kind k = kind::datagram;
    reader.number("n", n, 0, 9);
    reader.choice("type", k, kinds);
    CHECK(n == 5);
    CHECK(k == kind::datagram);
    CHECK(reader.option("other") == nullptr);
    CHECK(reader.finish().has_value());
}

TEST_CASE("uri: an unknown option is refused with its position", "[base]") {
    parley::diagnostics diag;
    const auto r = read("shm://ticks?slotz=4", diag);
    REQUIRE(r.has_error());
    CHECK(r.error() == parley::errc::invalid_argument);
    CHECK_THAT(diag.text(), contains("'shm://ticks?slotz=4'"));
    CHECK_THAT(diag.text(), contains("position 12"));
    CHECK_THAT(diag.text(), contains("unknown option 'slotz'"));
}

TEST_CASE("uri: what cannot be parsed is refused with the place and the reason", "[base]") {
    struct row {
        const char* text;
        int position;
        const char* words;
    };
    constexpr row rows[] = {
        {"", 0, "wants a scheme first"},
        {"ticks", 0, "wants a scheme first"},
        {"://ticks", 0, "wants a scheme first"},
        {"Shm://ticks", 0, "lower-case"},
        {"s hm://ticks", 1, "lower-case"},
        {"9shm://ticks", 0, "lower-case"},
        {"shm:ticks", 4, "wants '//' or '?'"},
        {"shm:/ticks", 4, "wants '//' or '?'"},
        {"shm://a?", 8, "key=value"},
        {"shm://a?b", 8, "key=value"},
        {"shm://a?=b", 8, "key=value"},
        {"shm://a?b=1&", 12, "key=value"},
        {"shm://a?b=1&&c=2", 12, "key=value"},
        {"shm://a?b&c=2", 8, "key=value"},
        {"shm://a?b=1&b=2", 12, "stands twice"},
        {"shm://a%", 7, "two hexadecimal digits"},
        {"shm://a%4", 7, "two hexadecimal digits"},
        {"shm://a%4?b=1", 7, "two hexadecimal digits"},
        {"shm://a%zz", 7, "two hexadecimal digits"},
        {"shm://a%00", 6, "zero byte"},
        {"shm://a?b=%0", 10, "two hexadecimal digits"},
    };
    for (const auto& r : rows) {
        INFO("address: " << r.text);
        parley::diagnostics diag;
        const auto outcome = read(r.text, diag);
        REQUIRE(outcome.has_error());
        CHECK(outcome.error() == parley::errc::invalid_argument);
        CHECK_THAT(diag.text(), contains("position " + std::to_string(r.position) + ": "));
        CHECK_THAT(diag.text(), contains(r.words));
    }
}

TEST_CASE("uri: a number outside its range or with other letters is refused", "[base]") {
    for (const char* value : {"0", "4097", "-1", "+4", "4x", "", "0x10", " 4", "4.0",
                              "18446744073709551616", "99999999999999999999999"}) {
        INFO("value: '" << value << "'");
        parley::diagnostics diag;
        const parley::uri address("shm://a?slots=" + std::string(value));
        parley::uri_reader reader(address, diag);
        int slots = 5;
        reader.number("slots", slots, 1, 4096);
        CHECK(slots == 5);
        REQUIRE(reader.finish().has_error());
        CHECK_THAT(diag.text(), contains("position 8"));
        CHECK_THAT(diag.text(), contains("option 'slots' wants a whole number from 1 to 4096"));
    }
}

TEST_CASE("uri: a number may be as large as its type", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("shm://a?n=18446744073709551615");
    parley::uri_reader reader(address, diag);
    std::uint64_t n = 0;
    reader.number("n", n, 0, ~std::uint64_t{0});
    CHECK(n == ~std::uint64_t{0});
    CHECK(reader.finish().has_value());
}

TEST_CASE("uri: a word that is no choice is refused with the list of words", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("unix:///a?type=Stream");
    parley::uri_reader reader(address, diag);
    kind k = kind::datagram;
    reader.choice("type", k, kinds);
    CHECK(k == kind::datagram);
    REQUIRE(reader.finish().has_error());
    CHECK_THAT(diag.text(), contains("wants one of: stream, datagram, not 'Stream'"));
}

TEST_CASE("uri: of two mistakes the first one is told", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("shm://a?n=x");
    parley::uri_reader reader(address, diag);
    int n = 0;
    reader.number("n", n, 0, 9);
    reader.fail_body("wants a longer name");
    REQUIRE(reader.finish().has_error());
    CHECK_THAT(diag.text(), contains("position 8"));
    CHECK_THAT(diag.text(), !contains("longer name"));
}

TEST_CASE("uri: a mistake in the body stands at the body's position", "[base]") {
    parley::diagnostics diag;
    const parley::uri address("shm://a/b");
    parley::uri_reader reader(address, diag);
    reader.fail_body("a name has no '/'");
    REQUIRE(reader.finish().has_error());
    CHECK_THAT(diag.text(), contains("position 6: a name has no '/'"));
}
