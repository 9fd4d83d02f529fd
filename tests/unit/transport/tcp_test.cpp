// SPDX-License-Identifier: MIT
// TCP in one process: addresses, splits, refusals, what goes wrong at open, half-open peers.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <iostream>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::tcp;
using parley::detail::unique_fd;

static_assert(parley::transport<tcp>);

namespace {

constexpr const char* any_port = "127.0.0.1:0";

/// The address of a receiver as a sender needs it.
tcp address_of(const tcp::source& in) {
    diagnostics why;
    return tcp::from(in.address(), why).value();
}
/// A client that knows nothing of parley.
unique_fd foreigner(const tcp::source& in) {
    diagnostics why;
    parley::detail::host_port where;
    REQUIRE(where.assign(address_of(in).at).empty());
    const auto all = parley::detail::resolve(where, false, why).value();
    unique_fd fd(::socket(all[0].family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fd.get(), all[0].get(), all[0].length) == 0);
    return fd;
}
void put(const unique_fd& fd, std::string_view bytes) {
    REQUIRE(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
}
int option(int fd, int level, int name) {
    int v = -1;
    socklen_t n = sizeof v;
    ::getsockopt(fd, level, name, &v, &n);
    return v;
}
/// What a sender puts on the wire: its hello, these messages, its end.
std::string wire(const std::vector<std::string>& messages) {
    namespace frame = parley::frame;
    std::string all(frame::hello_bytes_max, '\0');
    all.resize(frame::write_hello(reinterpret_cast<std::byte*>(all.data()), text_type, 1, 2));
    const auto header = [&](frame::kind k, std::size_t n) {
        char h[frame::header_bytes];
        frame::write_header(reinterpret_cast<std::byte*>(h), k, n);
        all.append(h, sizeof h);
    };
    for (const auto& m : messages) {
        header(frame::kind::message, m.size());
        all += m;
    }
    header(frame::kind::end, 0);
    return all;
}

}  // namespace

TEST_CASE("tcp: an address and its uri are the same") {
    diagnostics why;
    for (const char* text :
         {"tcp://127.0.0.1:7000", "tcp://[::1]:7000", "tcp://:0", "tcp://example.org:65535",
          "tcp://[fe80::1%25eth0]:7",
          "tcp://h:1?message_bytes_max=100&send_buffer_bytes=9000&receive_buffer_bytes=9001"
          "&frame=none&no_delay=off&keep_alive_idle_s=0&keep_alive_interval_s=2"
          "&keep_alive_count=4&user_timeout_ms=700"}) {
        const auto at = tcp::from(parley::uri(text), why);
        INFO(why.text());
        REQUIRE(at.has_value());
        CHECK(at->to_uri().text() == text);
        CHECK(tcp::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"tcp:", "tcp://", "tcp://host", "tcp://host:", "tcp://host:http",
                             "tcp://host:65536", "tcp://host:-1", "tcp://::1:7000", "tcp://[h]:7",
                             "tcp://[::1]", "tcp://h:7?no_delay=maybe", "tcp://h:7?slots=1"}) {
        INFO(text);
        CHECK(tcp::from(parley::uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
    CHECK(open_source(tcp("nonsense"), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("wants host:port"));
}

TEST_CASE("tcp: with port 0 the receiver's address tells the port, which is a sender's address") {
    watchdog dog("tcp: port 0");
    std::vector<std::string> places{any_port, "localhost:0", ":0"};
    if (has_ipv6()) places.emplace_back("[::1]:0");
    for (const auto& place : places) {
        INFO(place);
        auto in = source_at(tcp(place));
        CHECK(address_of(in).at != place);
        CHECK(address_of(in).at.substr(0, place.size() - 1) == place.substr(0, place.size() - 1));
        auto out = sink_at(address_of(in));
        REQUIRE(send(out, "hello"));
        CHECK(receive(in).value() == "hello");
    }
    diagnostics why;
    CHECK(open_sink(tcp(any_port), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("its address() tells"));
}

TEST_CASE("tcp: a receiver at every address takes IPv4 and IPv6") {
    watchdog dog("tcp: every address");
    auto in = source_at(tcp(":0"));
    const std::string port = address_of(in).at;
    auto four = sink_at(tcp("127.0.0.1" + port));
    REQUIRE(send(four, "4"));
    CHECK(receive(in).value() == "4");
    if (!has_ipv6()) return;
    auto six = sink_at(tcp("[::1]" + port));
    REQUIRE(send(six, "6"));
    CHECK(receive(in).value() == "6");
}

TEST_CASE("tcp: frames survive any split") {
    watchdog dog("tcp: any split");
    auto in = source_at(tcp(any_port));
    const std::vector<std::string> messages{"", "one", std::string(5000, 'x'), "y"};
    const auto bytes = wire(messages);
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{8}, bytes.size()}) {
        auto fd = foreigner(in);
        const int on = 1;
        ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        std::vector<std::string> got;
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            put(fd, std::string_view(bytes).substr(at, piece));
            while (auto m = in.try_receive()) got.emplace_back(parley::as_text(m->bytes()));
        }
        while (got.size() < messages.size()) got.push_back(receive(in).value());
        CHECK(got == messages);
        fd.reset();
        CHECK(receive(in).error() == errc::closed);
    }
}

TEST_CASE("tcp: the kernel is told about delay, keep-alive and the user timeout") {
    watchdog dog("tcp: kernel options");
    diagnostics why;
    const auto checked = [&](const tcp& at, int no_delay, int idle, int timeout) {
        auto door = at.open_listener({text_type, text_type, parley::never, &why}).value();
        const auto actual = tcp::from(door.address(), why).value();
        auto client = actual.open_link({text_type, text_type, parley::never, &why}).value();
        REQUIRE(door.wait(parley::never));
        auto server = door.try_accept().value();
        for (const int fd : {client.out().io().descriptor(), server.out().io().descriptor()}) {
            CHECK((option(fd, IPPROTO_TCP, TCP_NODELAY) != 0) == (no_delay != 0));
            CHECK((option(fd, SOL_SOCKET, SO_KEEPALIVE) != 0) == (idle != 0));
            if (idle != 0) CHECK(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) == idle);
            CHECK(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == timeout);
        }
    };
    checked(tcp(any_port), 1, 10, 0);
    checked(tcp(any_port, {.no_delay = false, .keep_alive_idle_s = 3, .user_timeout_ms = 900}), 0,
            3, 900);
    checked(tcp(any_port, {.keep_alive_idle_s = 0}), 1, 0, 0);
}

TEST_CASE("tcp: a sender of another type is refused alone, and both are told") {
    watchdog dog("tcp: another type");
    auto in = source_at(tcp(any_port));
    const tcp at = address_of(in);
    auto good = sink_at(at);
    REQUIRE(send(good, "before"));
    CHECK(receive(in).value() == "before");
    diagnostics why;
    auto bad = open_sink(at, why, parley::never, other_type).value();
    while (in.refused() == 0) {
        REQUIRE(send(good, "meanwhile"));
        CHECK(receive(in).value() == "meanwhile");
    }
    CHECK_THAT(in.why().text(), contains("from 127.0.0.1:"));
    SECTION("at its close") { CHECK(bad.close(parley::never).error() == errc::incompatible); }
    SECTION("at a later send") {
        parley::error_code ec;
        while (!ec) {
            if (const auto r = send(bad, "again"); !r) ec = r.error();
        }
        CHECK(ec == errc::incompatible);
    }
    CHECK_THAT(bad.why().text(), contains(std::string(text_type.description)));
    CHECK_THAT(bad.why().text(), contains(std::string(other_type.description)));
    REQUIRE(send(good, "on"));
    CHECK(receive(in).value() == "on");
}

TEST_CASE("tcp: a program that speaks something else is refused alone, a silent one is nobody") {
    watchdog dog("tcp: strangers");
    auto in = source_at(tcp(any_port));
    { const auto silent = foreigner(in); }
    auto good = sink_at(address_of(in));
    const auto browser = foreigner(in);
    put(browser, "GET / HTTP/1.1\r\n\r\n");
    while (in.refused() == 0) {
        REQUIRE(send(good, "fine"));
        CHECK(receive(in).value() == "fine");
    }
    CHECK_THAT(in.why().text(), contains("?frame=none"));
    CHECK(in.peers_lost() == 0);
    REQUIRE(good.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
}

TEST_CASE("tcp: a message longer than the receiver takes costs the sender its connection") {
    watchdog dog("tcp: longer than the receiver takes");
    auto in = source_at(tcp(any_port, {.message_bytes_max = 100}));
    auto large = sink_at(tcp(address_of(in).at));
    CHECK(large.try_loan((64 << 20) + 1).error() == errc::message_too_large);
    REQUIRE(send(large, std::string(101, 'x')));
    CHECK(receive(in).error() == errc::corrupt);
    CHECK_THAT(in.why().text(), contains("limit 100"));
    parley::error_code ec;
    while (!ec) {
        if (const auto r = send(large, "y"); !r) ec = r.error();
    }
    CHECK(ec == errc::peer_lost);
    CHECK_THAT(large.why().text(), contains("message_bytes_max"));
}

TEST_CASE("tcp: without frames bytes go to and come from programs that know nothing of parley") {
    watchdog dog("tcp: frame=none");
    auto in = source_at(tcp(any_port, {.frame = parley::framing::none}));
    {
        const auto fd = foreigner(in);
        put(fd, "bare bytes");
        CHECK(receive(in).value() == "bare bytes");
    }
    CHECK(receive(in).error() == errc::closed);
    auto out = sink_at(address_of(in));
    REQUIRE(send(out, "12345678"));
    CHECK(receive(in).value() == "12345678");
    REQUIRE(out.close(parley::never));
    CHECK(receive(in).error() == errc::closed);
    CHECK(in.peers_lost() == 0);
    {
        const auto fd = foreigner(in);
        put(fd, "cut off");
        CHECK(receive(in).value() == "cut off");
        const linger at_once{1, 0};  // the connection ends with a reset
        ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    CHECK(receive(in).error() == errc::peer_lost);
    CHECK(in.peers_lost() == 1);
}

TEST_CASE("tcp: what goes wrong at open is told with the fix") {
    watchdog dog("tcp: errors of open");
    diagnostics why;
    auto in = source_at(tcp(any_port));
    CHECK(open_source(address_of(in), why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("ss -ltnp"));

    // A label may have 63 bytes, so nobody is asked for this one.
    const tcp unknown(std::string(70, 'x') + ":7000");
    CHECK(open_sink(unknown, why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains(std::string(70, 'x')));
    CHECK(open_source(unknown, why).error() == errc::not_found);

    CHECK(open_source(tcp("192.0.2.1:0"), why).error() == errc::invalid_argument);  // RFC 5737
    CHECK_THAT(why.text(), contains("no address of this host"));

    const reserved_port nobody;
    CHECK(open_sink(tcp(nobody.text()), why, expired).error() == errc::timed_out);
    CHECK_THAT(why.text(), contains("start the receiver"));
    CHECK_THAT(why.text(), contains(nobody.text()));
}

TEST_CASE("tcp: a port that was left is free at once, connections that fade away or not") {
    watchdog dog("tcp: a port that was left");
    const reserved_port port;
    const tcp at(port.text());
    for (int i = 0; i < 5; ++i) {
        auto in = source_at(at);
        auto out = sink_at(at);
        REQUIRE(send(out, "x"));
        CHECK(receive(in).value() == "x");
        REQUIRE(in.close(parley::never));  // first: its side of the connection lingers
    }
}

TEST_CASE("tcp: a receiver that lives and reads nothing is not given up") {
    watchdog dog("tcp: a slow receiver");
    const tcp at(any_port, {.send_buffer_bytes = 65536,
                            .receive_buffer_bytes = 65536,
                            .keep_alive_idle_s = 1,
                            .keep_alive_interval_s = 1,
                            .keep_alive_count = 1});
    auto in = source_at(at);
    auto to = at;
    to.at = address_of(in).at;
    auto out = sink_at(to);
    std::uint64_t committed = 0;
    for (int stalls = 0; stalls < 4;) {
        const auto r = send(out, std::string(1000, 'x'), parley::clock::now() + 1s);
        if (!r && r.error() == errc::timed_out) {
            ++stalls;
        } else {
            REQUIRE((r || r.error() == errc::would_block));
            ++committed;
        }
    }
    REQUIRE(out.flush(expired).error() == errc::would_block);
    for (; committed > 0; --committed) {
        (void)out.flush(expired);
        CHECK(receive(in).value().size() == 1000);
    }
}

TEST_CASE("tcp: a host that falls silent is noticed by both ends") {
    watchdog dog("tcp: a silent host");
    child c([] {
        // A network of its own, with a loopback that can be cut.
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWNET) != 0) return 77;
        const unique_fd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const auto loopback = [&](bool up) {
            ifreq r{};
            std::strcpy(r.ifr_name, "lo");
            r.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
            return ::ioctl(control.get(), SIOCSIFFLAGS, &r) == 0;
        };
        if (!loopback(true)) return 77;
        tcp at(any_port, {.send_buffer_bytes = 65536,
                          .receive_buffer_bytes = 65536,
                          .keep_alive_idle_s = 1,
                          .keep_alive_interval_s = 1,
                          .keep_alive_count = 1});
        auto in = source_at(at);
        at.at = address_of(in).at;
        auto idle = sink_at(at);
        if (!send(idle, "here") || receive(in).value() != "here") return 1;
        auto busy_in = source_at(tcp(any_port, at.with));
        at.at = address_of(busy_in).at;
        auto busy = sink_at(at);
        if (!send(busy, "here") || receive(busy_in).value() != "here") return 2;
        if (!loopback(false)) return 77;
        // At once, so that there is something under way and the keep-alive holds its tongue.
        parley::error_code ec;
        while (!ec) {
            if (const auto r = send(busy, std::string(1000, 'x')); !r) ec = r.error();
        }
        if (ec != errc::peer_lost) return 4;
        if (receive(in).error() != errc::peer_lost || in.peers_lost() != 1) return 3;
        return busy.why().text().find("answers no more") != std::string::npos ? 0 : 5;
    });
    const int status = c.wait();
    if (status == 77) {
        std::cout << "skipped: no right to make a network here\n";
        return;
    }
    CHECK(status == 0);
}
