// SPDX-License-Identifier: MIT
// Named pipes: chunks of many writers, deaths among several, what stands at a name.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/transport/fifo.hpp>

#include <sys/stat.h>

#include <fstream>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::fifo;
using parley::detail::unique_fd;

static_assert(parley::transport<fifo>);

namespace {

/// A writer that knows the name and nothing of parley.
unique_fd foreigner(const std::string& path) {
    unique_fd fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(fd);
    return fd;
}
void put(const unique_fd& fd, std::string_view bytes) {
    REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}
/// A chunk as in fifo_source.hpp.
std::string chunk(std::uint64_t number, std::string_view payload) {
    std::string all(parley::detail::fifo_chunk::header_bytes, '\0');
    auto* at = reinterpret_cast<std::byte*>(all.data());
    parley::store_le(at, parley::detail::fifo_chunk::magic);
    parley::store_le(at + 4, static_cast<std::uint32_t>(payload.size()));
    parley::store_le(at + 8, number);
    return all.append(payload);
}

}  // namespace

TEST_CASE("fifo: an address and its uri are the same") {
    diagnostics why;
    for (const char* text : {"fifo:///run/x",
                             "fifo:///a%20b?message_bytes_max=100&writers_max=3"
                             "&mode=620"}) {
        const auto at = fifo::from(parley::uri(text), why);
        INFO(why.text());
        REQUIRE(at.has_value());
        CHECK(at->to_uri().text() == text);
        CHECK(fifo::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"fifo:", "fifo:///x?mode=9", "fifo:///x?slots=1"}) {
        CHECK(fifo::from(parley::uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("fifo: messages of several writers, longer than a chunk, are not mixed") {
    watchdog dog("fifo: several writers");
    const temporary_directory dir;
    const fifo at(dir / "x");
    auto in = source_at(at);
    constexpr std::size_t writers = 4, count = 60;
    std::vector<child> all;
    for (std::size_t w = 0; w < writers; ++w) {
        all.emplace_back([&, w] {
            auto out = sink_at(at);
            for (std::size_t i = 0; i < count; ++i) {
                const std::string text(1 + i * 900, static_cast<char>('a' + w));
                if (!send(out, text)) return 1;
            }
            return out.close(parley::never) ? 0 : 2;
        });
    }
    std::vector<std::size_t> next(writers);
    for (std::size_t got = 0; got < writers * count;) {
        const auto m = receive(in);
        if (!m && m.error() == errc::closed) continue;  // one was done before another came
        REQUIRE(m);
        const auto w = static_cast<std::size_t>(m->front() - 'a');
        REQUIRE(w < writers);
        CHECK(*m == std::string(1 + next[w]++ * 900, m->front()));
        ++got;
    }
    for (auto& c : all) CHECK(c.wait() == 0);
    CHECK(in.peers_lost() == 0);
}

TEST_CASE("fifo: the death of one among several is counted, that of the last is told") {
    watchdog dog("fifo: the death of one");
    const temporary_directory dir;
    const fifo at(dir / "x");
    auto in = source_at(at);
    auto other = sink_at(at);
    REQUIRE(send(other, "other"));
    CHECK(receive(in).value() == "other");
    child c([&] {
        auto out = sink_at(at);
        if (!send(out, "last words")) return 1;
        ::pause();
        return 0;
    });
    CHECK(receive(in).value() == "last words");
    c.kill();
    while (in.peers_lost() == 0) {
        CHECK(in.wait(parley::clock::now() + 60ms).error() == errc::timed_out);
    }
    CHECK_THAT(in.why().text(), contains("died"));
    REQUIRE(send(other, "still here"));
    CHECK(receive(in).value() == "still here");
    REQUIRE(other.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
    CHECK(in.peers_lost() == 1);
}

TEST_CASE("fifo: a sender of another type is refused alone, and both are told") {
    watchdog dog("fifo: another type");
    const temporary_directory dir;
    const fifo at(dir / "x");
    auto in = source_at(at);
    auto good = sink_at(at);
    REQUIRE(send(good, "before"));
    CHECK(receive(in).value() == "before");
    diagnostics why;
    auto bad = open_sink(at, why, parley::never, other_type).value();
    REQUIRE(send(good, "after"));
    CHECK(receive(in).value() == "after");
    CHECK(in.refused() == 1);
    CHECK_THAT(in.why().text(), contains(std::string(other_type.description)));
    CHECK(bad.close(parley::never).error() == errc::peer_lost);
    CHECK_THAT(bad.why().text(), contains("another type"));
    REQUIRE(send(good, "on"));
    CHECK(receive(in).value() == "on");
}

TEST_CASE("fifo: more senders than writers_max are refused, those inside are served") {
    watchdog dog("fifo: too many");
    const temporary_directory dir;
    const fifo at(dir / "x", {.writers_max = 1});
    auto in = source_at(at);
    auto first = sink_at(at);
    auto second = sink_at(at);
    REQUIRE(send(first, "first"));
    CHECK(receive(in).value() == "first");
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(in.refused() == 1);
    CHECK(second.close(parley::never).error() == errc::peer_lost);
    REQUIRE(first.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
}

TEST_CASE("fifo: a writer that only opens the pipe, or has no lock, does no harm") {
    watchdog dog("fifo: strangers");
    const temporary_directory dir;
    const fifo at(dir / "x");
    auto in = source_at(at);
    for (int i = 0; i < 3; ++i) {
        { const auto silent = foreigner(dir / "x"); }
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.wait(expired).error() == errc::timed_out);
    }
    {
        const auto fd = foreigner(dir / "x");
        put(fd, chunk(7, "no frame at all"));
        CHECK(receive(in).error() == errc::corrupt);
        put(fd, chunk(8, std::string_view("\x10\0\0", 3)));  // a part of a header, then nothing
    }
    CHECK(in.try_receive().error() == errc::would_block);
    auto out = sink_at(at);
    REQUIRE(send(out, "fine"));
    CHECK(receive(in).value() == "fine");
}

TEST_CASE("fifo: bytes between the chunks spoil the pipe, which its senders see") {
    watchdog dog("fifo: garbage");
    const temporary_directory dir;
    const fifo at(dir / "x");
    for (const auto& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), chunk(0, "x"), chunk(9, ""),
                              chunk(~std::uint64_t{0}, "x"), std::string(5000, '\xff')}) {
        auto in = source_at(at);
        auto out = sink_at(at);
        put(foreigner(dir / "x"), bytes);
        CHECK(receive(in).error() == errc::corrupt);
        CHECK_THAT(in.why().text(), contains("knows nothing of parley"));
        CHECK(send(out, "x").error() == errc::peer_lost);
        CHECK(dir.entries() == 0);
    }
}

TEST_CASE("fifo: whatever stands in chunks is refused or taken, and the next receiver works") {
    watchdog dog("fifo: random chunks");
    namespace frame = parley::frame;
    const temporary_directory dir;
    const fifo at(dir / "x", {.message_bytes_max = 1000, .writers_max = 3});
    std::string good(frame::hello_bytes_max, '\0');
    good.resize(frame::write_hello(reinterpret_cast<std::byte*>(good.data()), text_type, 1, 2));
    for (const std::size_t n : {0U, 5U, 300U}) {
        char header[frame::header_bytes];
        frame::write_header(reinterpret_cast<std::byte*>(header), frame::kind::message, n);
        good.append(header, sizeof header).append(n, 'm');
    }
    parley::random r(7);
    for (int round = 0; round < 500; ++round) {
        INFO("round " << round);
        {
            auto in = source_at(at);
            const auto fd = foreigner(at.path);
            auto bytes = good;
            for (auto k = r.below(4); k > 0; --k) {
                bytes[r.below(bytes.size())] = static_cast<char>(r());
            }
            for (std::size_t from = 0; from < bytes.size();) {
                const auto n = std::min<std::size_t>(1 + r.below(200), bytes.size() - from);
                auto one = chunk(1 + r.below(r.below(3) == 0 ? 5 : 1), bytes.substr(from, n));
                if (r.below(30) == 0) one[r.below(16)] = static_cast<char>(r());
                put(fd, one);
                from += n;
            }
            for (int calls = 0; calls < 50; ++calls) {
                const auto m = in.try_receive();
                if (m) {
                    REQUIRE(m->bytes().size() <= 1000);
                } else if (m.error() == errc::would_block) {
                    break;
                } else {
                    const auto e = m.error();
                    REQUIRE((e == errc::corrupt || e == errc::incompatible ||
                             e == errc::out_of_resources || e == parley::condition::gone));
                    REQUIRE(!in.why().empty());
                }
            }
        }
        REQUIRE(dir.entries() == 0);
    }
    auto in = source_at(at);
    auto out = sink_at(at);
    REQUIRE(send(out, "fine"));
    CHECK(receive(in).value() == "fine");
}

TEST_CASE("fifo: what stands at a name is respected or replaced, in words") {
    watchdog dog("fifo: names");
    const temporary_directory dir;
    diagnostics why;
    const fifo at(dir / "x", {.permissions = {.mode = 0620}});
    {
        auto in = source_at(at);
        struct stat s {};
        REQUIRE(::stat(at.path.c_str(), &s) == 0);
        CHECK(S_ISFIFO(s.st_mode));
        CHECK((s.st_mode & 0777) == 0620);
        CHECK(open_source(at, why).error() == errc::in_use);
        CHECK_THAT(why.text(), contains("live receiver"));
        auto out = sink_at(at);
        REQUIRE(send(out, "x"));
        CHECK(receive(in).value() == "x");
    }
    CHECK(dir.entries() == 0);
    REQUIRE(::mkfifo(at.path.c_str(), 0600) == 0);                      // nobody reads it
    REQUIRE(::mkfifo((dir / ".parley-none-left").c_str(), 0600) == 0);  // by one that was killed
    CHECK(open_sink(at, why, expired).error() == errc::timed_out);
    CHECK_THAT(why.text(), contains("start the receiver"));
    { auto in = source_at(at); }
    CHECK(dir.entries() == 0);

    std::ofstream(at.path) << "dear diary";
    CHECK(open_source(at, why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("is no named pipe"));
    CHECK(open_sink(at, why, expired).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("is no named pipe"));
    CHECK(open_source(fifo(dir / "gone/x"), why).error() == errc::not_found);
    CHECK(open_sink(fifo(dir / "gone/x"), why, expired).error() == errc::not_found);
}
