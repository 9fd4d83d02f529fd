// SPDX-License-Identifier: MIT
// Unix domain sockets in one process: ends, refusals, fairness, limits, readiness.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/transport/uds.hpp>

#include <sys/resource.h>

#include <deque>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::condition;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::uds;

static_assert(parley::pairing_transport<uds>);

namespace {

constexpr uds::kind kinds[] = {uds::stream, uds::seqpacket, uds::datagram};

std::string word(uds::kind k) { return std::string(parley::detail::to_text(k)); }

/// A client that knows nothing of parley.
parley::detail::unique_fd foreigner(const std::string& name, uds::kind k) {
    parley::detail::unique_fd fd(
        ::socket(AF_UNIX, parley::detail::kernel_type(k) | SOCK_CLOEXEC, 0));
    parley::detail::socket_name at;
    REQUIRE(at.assign(name));
    REQUIRE(::connect(fd.get(), at.get(), at.length) == 0);
    return fd;
}

bool polls(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

/// The sizes of all messages that are there, sorted.
std::vector<std::string::size_type> drained(uds::source& in) {
    std::vector<std::string::size_type> sizes;
    while (auto m = in.try_receive()) sizes.push_back(m->bytes().size());
    std::sort(sizes.begin(), sizes.end());
    return sizes;
}

std::string abstract_name() {
    const unique_name n("uds");
    return "@" + n.text();
}

}  // namespace

TEST_CASE("uds: an address and its uri are the same") {
    diagnostics why;
    for (const char* text :
         {"unix:", "unix:?type=seqpacket", "unix:///run/x", "unix://@abstract?type=datagram",
          "unix:?fd=7&frame=none",
          "unix:///a%20b?type=seqpacket&message_bytes_max=100&send_buffer_bytes=9000&mode=660"}) {
        const auto at = uds::from(parley::uri(text), why);
        INFO(why.text());
        REQUIRE(at.has_value());
        CHECK(at->to_uri().text() == text);
        CHECK(uds::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"unix:///x?fd=3", "unix:///x?type=raw", "unix:///x?mode=9",
                             "unix:///x?mode=1777", "unix:///x?slots=1"}) {
        CHECK(uds::from(parley::uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("uds: each kind moves messages of many senders, each one's in order") {
    watchdog dog("uds: each kind moves messages");
    const temporary_directory dir;
    for (const auto k : kinds) {
        for (const std::string& name : {dir / word(k), abstract_name()}) {
            INFO(name << " " << word(k));
            const uds at(name, {.type = k});
            auto in = source_at(at);
            std::vector<uds::sink> out;
            for (int i = 0; i < 5; ++i) out.push_back(sink_at(at));
            std::array<int, 5> next{};
            for (int n = 0; n < 50; ++n) {
                for (std::size_t i = 0; i < out.size(); ++i) {
                    REQUIRE(send(out[i], std::to_string(i) + ":" + std::to_string(n)));
                    if (k == uds::datagram) {
                        auto m = receive(in).value();
                        CHECK(m == std::to_string(i) + ":" + std::to_string(next[i]++));
                    }
                }
            }
            for (int n = 0; k != uds::datagram && n < 250; ++n) {
                auto m = receive(in).value();
                const auto i = static_cast<std::size_t>(m[0] - '0');
                CHECK(m == std::to_string(i) + ":" + std::to_string(next[i]++));
            }
            CHECK(in.try_receive().error() == errc::would_block);
        }
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("uds: the last of the senders to close is the end, and successors may come") {
    watchdog dog("uds: the last of the senders");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        CHECK(in.try_receive().error() == errc::would_block);
        for (int round = 0; round < 3; ++round) {
            auto a = sink_at(at);
            auto b = sink_at(at);
            REQUIRE(send(a, "a"));
            REQUIRE(send(b, "b"));
            CHECK(receive(in).value().size() == 1);
            CHECK(receive(in).value().size() == 1);
            REQUIRE(a.close(parley::never));
            CHECK(in.try_receive().error() == errc::would_block);
            REQUIRE(send(b, "last"));
            REQUIRE(b.close(parley::never));
            CHECK(receive(in).value() == "last");
            CHECK(receive(in).error() == errc::closed);
            CHECK(in.try_receive().error() == errc::would_block);
        }
        CHECK(in.peers_lost() == 0);
    }
}

TEST_CASE("uds: messages of every length up to the limit arrive whole, longer ones are refused") {
    watchdog dog("uds: messages of every length");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto out = sink_at(at);
        const std::size_t most = out.limits().message_bytes_max;
        CHECK(most >= 200'000);
        CHECK(in.limits().message_bytes_max >= most);
        std::vector<std::size_t> sizes{0, 1, 7, 8, 63, 64, 4095, 4096, 4097, 65536, 200'000};
        if (k != uds::stream) sizes.push_back(most);
        for (const auto n : sizes) {
            const std::string text(n, static_cast<char>('a' + n % 26));
            std::string got;
            // Streams may take a message in pieces, so both sides work in turns.
            auto l = out.try_loan(n);
            REQUIRE(l.has_value());
            std::fill(l->bytes().begin(), l->bytes().end(), std::byte(text.empty() ? 0 : text[0]));
            REQUIRE(out.try_commit(std::move(*l)));
            for (;;) {
                const auto flushed = out.flush(expired);
                auto v = in.try_receive();
                if (v) {
                    const auto at_byte = reinterpret_cast<std::uintptr_t>(v->bytes().data());
                    if (k != uds::stream) CHECK(at_byte % 64 == 0);
                    got = parley::as_text(v->bytes());
                    REQUIRE(flushed);
                    break;
                }
                REQUIRE(v.error() == errc::would_block);
            }
            CHECK(got == text);
        }
        CHECK(out.try_loan(most + 1).error() == errc::message_too_large);
        CHECK_THAT(out.why().text(), contains("takes at most " + std::to_string(most)));
        REQUIRE(send(out, "still fine"));
        CHECK(receive(in).value() == "still fine");
    }
}

TEST_CASE("uds: a message longer than the receiver takes costs the sender its connection") {
    watchdog dog("uds: longer than the receiver takes");
    const temporary_directory dir;
    const uds small(dir / "x", {.message_bytes_max = 100});
    auto in = source_at(small);
    auto good = sink_at(small);
    auto large = sink_at(uds(dir / "x"));
    REQUIRE(send(good, std::string(100, 'g')));
    CHECK(receive(in).value().size() == 100);
    REQUIRE(send(large, std::string(101, 'x')));
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK_THAT(in.why().text(), contains("limit 100"));
    CHECK(send(large, "y").error() == errc::peer_lost);
    CHECK_THAT(large.why().text(), contains("message_bytes_max"));
    REQUIRE(send(good, "on"));
    CHECK(receive(in).value() == "on");
}

TEST_CASE("uds: packets may be made longer, as far as the kernel allows and limits() says") {
    const temporary_directory dir;
    for (const auto k : {uds::seqpacket, uds::datagram}) {
        const uds at(dir / "x", {.type = k, .message_bytes_max = 1 << 20});
        auto in = source_at(at);
        auto out = sink_at(at);
        const std::size_t most = out.limits().message_bytes_max;
        CHECK(most > 300'000);
        CHECK(most <= std::size_t{1} << 20);
        REQUIRE(send(out, std::string(most, 'x')));
        CHECK(receive(in).value().size() == most);
    }
}

TEST_CASE("uds: a chatty sender starves nobody") {
    watchdog dog("uds: a chatty sender");
    const temporary_directory dir;
    for (const auto k : {uds::stream, uds::seqpacket}) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto chatty = sink_at(at);
        auto quiet = sink_at(at);
        const auto fill = [&] {
            while (send(chatty, std::string(64, 'c'), expired)) {
            }
        };
        REQUIRE(send(quiet, "q"));
        CHECK(receive(in).value() == "q");
        for (int round = 0; round < 20; ++round) {
            fill();
            for (int i = 0; i < 100; ++i) {
                CHECK(receive(in).value()[0] == 'c');
                fill();
            }
            REQUIRE(send(quiet, "q"));
            int before = 0;
            while (receive(in).value() != "q") {
                ++before;
                fill();
            }
            // What may be read before the kernel is asked again, and what lay there already.
            CHECK(before < 8000);
        }
    }
}

TEST_CASE("uds: a sender of another type is told at open when the receiver has a path") {
    watchdog dog("uds: another type, path");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        diagnostics why;
        const auto out = open_sink(at, why, parley::never, other_type);
        REQUIRE(out.error() == errc::incompatible);
        CHECK_THAT(why.text(), contains(std::string(text_type.description)));
        CHECK_THAT(why.text(), contains(std::string(other_type.description)));
        CHECK(in.try_receive().error() == errc::would_block);

        const uds bare(dir / "x", {.type = k, .frame = parley::framing::none});
        CHECK(open_sink(bare, why).error() == errc::incompatible);
        CHECK_THAT(why.text(), contains("frame=none"));
    }
}

TEST_CASE("uds: a receiver of any type takes every sender") {
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds at(dir / "x", {.type = k});
        diagnostics why;
        auto in = open_source(at, why, parley::any_type).value();
        auto out = open_sink(at, why, parley::never, other_type).value();
        REQUIRE(send(out, "x"));
        CHECK(receive(in).value() == "x");
    }
}

TEST_CASE("uds: a sender of another type is refused alone at an abstract name, and both are told") {
    watchdog dog("uds: another type, abstract");
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(abstract_name(), {.type = k});
        auto in = source_at(at);
        auto good = sink_at(at);
        REQUIRE(send(good, "before"));
        CHECK(receive(in).value() == "before");
        diagnostics why;
        auto bad = open_sink(at, why, parley::never, other_type).value();
        REQUIRE(send(bad, "wrong"));
        REQUIRE(send(good, "after"));
        CHECK(receive(in).value() == "after");
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.refused() >= 1);
        CHECK_THAT(in.why().text(), contains(k == uds::datagram ? "refused" : "process"));
        parley::error_code ec;
        for (int i = 0; i < 9 && !ec; ++i) {
            const auto r = send(bad, "again");
            if (!r) ec = r.error();
            CHECK(in.try_receive().error() == errc::would_block);
        }
        CHECK(ec == errc::incompatible);
        CHECK_THAT(bad.why().text(), contains(std::string(text_type.description)));
        CHECK_THAT(bad.why().text(), contains(std::string(other_type.description)));
        REQUIRE(send(good, "on"));
        CHECK(receive(in).value() == "on");
    }
}

TEST_CASE("uds: a refused sender that is alone is an error of the receiver, once") {
    watchdog dog("uds: refused, alone");
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(abstract_name(), {.type = k});
        auto in = source_at(at);
        diagnostics why;
        auto bad = open_sink(at, why, parley::never, other_type).value();
        CHECK(receive(in).error() == errc::incompatible);
        CHECK_THAT(in.why().text(), contains(std::string(other_type.description)));
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(bad.close(parley::never).error() == errc::incompatible);
        auto good = sink_at(at);
        REQUIRE(send(good, "fine"));
        CHECK(receive(in).value() == "fine");
    }
}

TEST_CASE("uds: garbage is refused and counted, silence is nobody") {
    watchdog dog("uds: garbage");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const std::string name = dir / "x";
        auto in = source_at(uds(name, {.type = k}));
        { const auto scan = foreigner(name, k); }
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.peers_lost() == 0);

        const auto noise = foreigner(name, k);
        REQUIRE(::send(noise.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
        CHECK(receive(in).error() == errc::corrupt);
        CHECK(in.refused() == 1);
        CHECK(in.try_receive().error() == errc::would_block);

        auto good = sink_at(uds(name, {.type = k}));
        REQUIRE(send(good, "one"));
        CHECK(receive(in).value() == "one");
        const auto more = foreigner(name, k);
        REQUIRE(::send(more.get(), "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL) == 18);
        REQUIRE(send(good, "two"));
        CHECK(receive(in).value() == "two");
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(in.refused() == 2);
        CHECK(in.peers_lost() == 0);
    }
}

TEST_CASE("uds: whatever strangers send, a good sender's messages arrive") {
    watchdog dog("uds: strangers");
    const temporary_directory dir;
    parley::random lot(20240517);
    for (const auto k : kinds) {
        INFO(word(k));
        const std::string name = dir / "x";
        const uds at(name, {.type = k, .message_bytes_max = 4000});
        auto in = source_at(at);
        auto good = sink_at(at);
        for (int round = 0; round < 300; ++round) {
            // What a sender would write, with some bytes changed, cut in pieces anywhere.
            std::byte text[2048] = {};
            std::size_t n = 0;
            const auto tag = [&] {
                if (k == uds::datagram) parley::store_le(text + n, text_type.fingerprint), n += 8;
            };
            if (lot.below(4) != 0) {
                tag();
                n += parley::frame::write_hello(text + n, text_type, 1, 1);
            }
            for (auto more = lot.below(4); more > 0; --more) {
                tag();
                parley::frame::write_header(text + n, parley::frame::kind::message, 5);
                n += parley::frame::header_bytes + 5;
            }
            for (auto changes = lot.below(3); changes > 0; --changes) {
                text[lot.below(n + 1)] = static_cast<std::byte>(lot());
            }
            {
                const auto stranger = foreigner(name, k);
                for (std::size_t from = 0; from < n;) {
                    const auto piece = std::min<std::size_t>(1 + lot.below(n), n - from);
                    ::send(stranger.get(), text + from, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
                    from += piece;
                    if (lot.below(3) == 0) (void)in.wait(expired);
                }
            }
            std::string got;
            while (in.try_receive().has_value()) {
            }
            REQUIRE(send(good, "good " + std::to_string(round), expired));
            while (got != "good " + std::to_string(round)) {
                const auto m = receive(in);
                REQUIRE(m.has_value());
                got = *m;
            }
        }
        CHECK(in.refused() > 50);
    }
}

TEST_CASE("uds: packets that are no single frame, or too long, spoil no other connection") {
    watchdog dog("uds: odd packets");
    const temporary_directory dir;
    const std::string name = dir / "x";
    const uds at(name, {.type = uds::seqpacket, .message_bytes_max = 5000});
    auto in = source_at(at);
    auto good = sink_at(at);
    REQUIRE(send(good, "one"));
    CHECK(receive(in).value() == "one");
    std::byte packet[9000] = {};
    const auto hello = parley::frame::write_hello(packet, text_type, 1, 1);
    SECTION("two frames in one packet") {
        parley::frame::write_header(packet + hello, parley::frame::kind::message, 4);
        const auto odd = foreigner(name, uds::seqpacket);
        ::send(odd.get(), packet, hello + 12, MSG_NOSIGNAL);
        parley::frame::write_header(packet, parley::frame::kind::message, 4);
        parley::frame::write_header(packet + 12, parley::frame::kind::message, 4);
        ::send(odd.get(), packet, 24, MSG_NOSIGNAL);
        REQUIRE(send(good, "two"));
        CHECK(drained(in) == std::vector<std::string::size_type>{3, 4});
    }
    SECTION("a part of a frame") {
        const auto odd = foreigner(name, uds::seqpacket);
        ::send(odd.get(), packet, hello - 1, MSG_NOSIGNAL);
        REQUIRE(send(good, "two"));
        CHECK(receive(in).value() == "two");
        CHECK(in.try_receive().error() == errc::would_block);
    }
    SECTION("too long") {
        const auto odd = foreigner(name, uds::seqpacket);
        ::send(odd.get(), packet, sizeof packet, MSG_NOSIGNAL);
        REQUIRE(send(good, "two"));
        CHECK(receive(in).value() == "two");
        CHECK(in.try_receive().error() == errc::would_block);
    }
    CHECK(in.refused() == 1);
    REQUIRE(send(good, "three"));
    CHECK(receive(in).value() == "three");
}

TEST_CASE("uds: a descriptor is readable until try_receive has said would_block") {
    watchdog dog("uds: pollable");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        const int fd = in.pollable().value();
        CHECK_FALSE(polls(fd));
        auto a = sink_at(at);
        auto b = sink_at(at);
        REQUIRE(send(a, "1"));
        REQUIRE(send(a, "2"));
        REQUIRE(send(b, "3"));
        for (int i = 0; i < 3; ++i) {
            CHECK(polls(fd));
            REQUIRE(in.try_receive().has_value());
        }
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK_FALSE(polls(fd));
        REQUIRE(send(a, "4"));
        REQUIRE(in.wait(parley::never));  // reads ahead
        CHECK(polls(fd));
        CHECK(in.try_receive().has_value());
        REQUIRE(a.close(parley::never));
        REQUIRE(b.close(parley::never));
        CHECK(polls(fd));
        CHECK(receive(in).error() == errc::closed);
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK_FALSE(polls(fd));
    }
}

TEST_CASE("uds: wait ends at its deadline, and a lone borrow keeps its bytes") {
    watchdog dog("uds: deadlines");
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto out = sink_at(at);
        const auto before = parley::clock::now();
        CHECK(in.wait(before + 20ms).error() == errc::timed_out);
        CHECK(parley::clock::now() - before >= 20ms);
        REQUIRE(send(out, "held"));
        REQUIRE(send(out, "next"));
        REQUIRE(in.wait(parley::never));
        auto v = in.try_receive();
        REQUIRE(v.has_value());
        CHECK(in.try_receive().error() == errc::out_of_resources);
        REQUIRE(in.wait(parley::clock::now() + 10s));
        CHECK(parley::as_text(v->bytes()) == "held");
        { auto gone = std::move(*v); }
        CHECK(receive(in).value() == "next");
    }
}

TEST_CASE("uds: a full receiver makes a send wait until its deadline, and loses nothing") {
    watchdog dog("uds: a full receiver");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto out = sink_at(at);
        int sent = 0;
        for (;;) {
            auto l = out.try_loan(8000);
            if (!l) {
                CHECK(l.error() == errc::would_block);
                break;
            }
            l->bytes()[0] = static_cast<std::byte>(sent++ % 100);
            REQUIRE(out.try_commit(std::move(*l)));
            (void)out.flush(expired);
        }
        const auto before = parley::clock::now();
        CHECK(out.wait(before + 20ms).error() == errc::timed_out);
        CHECK(parley::clock::now() - before >= 20ms);
        CHECK_FALSE(polls(out.pollable().value()));
        for (int i = 0; i < sent; ++i) {
            CHECK(receive(in).value()[0] == static_cast<char>(i % 100));
            (void)out.flush(expired);
        }
        CHECK(in.try_receive().error() == errc::would_block);
        CHECK(polls(out.pollable().value()));
        REQUIRE(send(out, "on"));
        CHECK(receive(in).value() == "on");
    }
}

TEST_CASE("uds: descriptors running out are told once, and nobody inside is cut off") {
    watchdog dog("uds: descriptors running out");
    const temporary_directory dir;
    for (const auto k : {uds::stream, uds::seqpacket}) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto inside = sink_at(at);
        REQUIRE(send(inside, "one"));
        CHECK(receive(in).value() == "one");
        auto outside = sink_at(at);
        REQUIRE(send(outside, "from outside"));
        std::vector<parley::detail::unique_fd> hoard;
        rlimit old{};
        ::getrlimit(RLIMIT_NOFILE, &old);
        rlimit tight = old;
        tight.rlim_cur = 256;
        ::setrlimit(RLIMIT_NOFILE, &tight);
        for (int fd; (fd = ::dup(0)) >= 0;) hoard.emplace_back(fd);
        const auto told = receive(in, parley::clock::now() + 5s);
        REQUIRE(send(inside, "two"));
        const auto two = receive(in, parley::clock::now() + 5s);
        const auto silent = in.wait(parley::clock::now() + 250ms);  // two more attempts
        hoard.clear();
        ::setrlimit(RLIMIT_NOFILE, &old);
        CHECK(told.error() == errc::out_of_resources);
        CHECK_THAT(in.why().text(), contains("ulimit -n"));
        CHECK(two.value() == "two");
        CHECK(silent.error() == errc::timed_out);
        CHECK(receive(in).value() == "from outside");
    }
}

TEST_CASE("uds: bare bytes go to and from programs that know nothing of parley") {
    watchdog dog("uds: frame=none");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const std::string name = dir / "x";
        const uds at(name, {.type = k, .frame = parley::framing::none});
        auto in = source_at(at);
        auto out = sink_at(at);
        REQUIRE(send(out, "hello"));
        CHECK(receive(in).value() == "hello");
        const auto peer = foreigner(name, k);
        REQUIRE(::send(peer.get(), "abc", 3, MSG_NOSIGNAL) == 3);
        CHECK(receive(in).value() == "abc");
    }
}

TEST_CASE("uds: a pair carries messages and its end") {
    watchdog dog("uds: a pair");
    for (const auto k : kinds) {
        INFO(word(k));
        diagnostics why;
        auto both =
            uds(uds::options{.type = k}).open_both({text_type, parley::never, &why}).value();
        REQUIRE(send(both.sink, "one"));
        REQUIRE(send(both.sink, "two"));
        CHECK(receive(both.source).value() == "one");
        CHECK(receive(both.source).value() == "two");
        REQUIRE(both.sink.close(parley::never));
        CHECK(receive(both.source).error() == errc::closed);
        CHECK(both.source.try_receive().error() == errc::closed);
    }
}

TEST_CASE("uds: an inherited end must be a connected socket of packets or bytes") {
    diagnostics why;
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) == 0);
    const parley::detail::unique_fd a(ends[0]), b(ends[1]);
    CHECK(open_sink(uds(ends[0]), why).error() == errc::unsupported);
    CHECK_THAT(why.text(), contains("seqpacket"));
    CHECK(open_sink(uds(12345), why).error() == errc::invalid_argument);
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const parley::detail::unique_fd c(ends[0]), d(ends[1]);
    CHECK(open_source(uds(ends[0]), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("no Unix domain socket"));
}

TEST_CASE("uds: a receiver that closes is lost to its senders") {
    watchdog dog("uds: a receiver that closes");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        auto out = sink_at(at);
        REQUIRE(send(out, "x"));
        REQUIRE(in.close(parley::never));
        CHECK(in.try_receive().error() == errc::closed);
        CHECK(send(out, "y").error() == errc::peer_lost);
        CHECK_FALSE(out.why().empty());
        CHECK(dir.entries() == 0);
    }
}

TEST_CASE("uds: two processes that each receive and then send do not wait for each other") {
    watchdog dog("uds: open without attention");
    const temporary_directory dir;
    for (const auto k : kinds) {
        const uds left(dir / "left", {.type = k}), right(dir / "right", {.type = k});
        auto in_left = source_at(left);
        auto in_right = source_at(right);
        auto out_left = sink_at(right);
        auto out_right = sink_at(left);
        REQUIRE(send(out_left, "to the right"));
        REQUIRE(send(out_right, "to the left"));
        CHECK(receive(in_left).value() == "to the left");
        CHECK(receive(in_right).value() == "to the right");
    }
}
