// SPDX-License-Identifier: MIT
// TLS: who is let in and who is not, in words; protocols; cut connections; foreign programs.
#include <parley/tls.hpp>

#include "support/catch.hpp"
#include "support/certificates.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <openssl/err.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::error_code;
using parley::expired;
using parley::framing;
using parley::open_receiver;
using parley::open_sender;
using parley::tls;
using parley::uri;
using parley::verification;

static_assert(parley::transport<tls>);

namespace {

const certificates& usual() { return certificates::usual(); }
tls::options desk(const std::string& who = "desk", const certificates& from = usual()) {
    return {.cert = from / (who + ".pem"), .key = from / (who + ".key")};
}

/// What both sides say of a connection over which one message is to go.
struct outcome {
    error_code sent, received;
    std::string sender_words, receiver_words, text;
};
outcome attempt(const tls::options& receiver, const tls::options& sender,
                const std::string& host = "127.0.0.1", bool persistent = false) {
    const watchdog dog("a TLS connection");
    const reserved_port port;
    outcome o;
    diagnostics why;
    auto in = open_receiver<std::string>(tls(port.text(), receiver), parley::never, &why);
    INFO(why.text());
    REQUIRE(in);
    std::thread other([&] {
        diagnostics words;
        auto out = open_sender<std::string>(tls(host + ":" + std::to_string(port.number()), sender),
                                            parley::never, &words);
        if (!out) {
            o.sent = out.error();
            o.sender_words = words.text();
            return;
        }
        auto r = out->send("hello");
        // A receiver that asks for certificates may learn only now who sends.
        while (r && persistent) r = out->send("");
        if (r) r = out->close();
        if (!r) o.sent = r.error();
        o.sender_words = out->why().text();
    });
    for (;;) {
        const auto m = in->receive();
        if (!m) {
            o.received = m.error();
            o.receiver_words = in->why().text();
            break;
        }
        o.text = *m;
    }
    other.join();
    return o;
}
/// The sender does not want this receiver.
std::string refused_by_sender(const tls::options& receiver, const tls::options& sender,
                              const std::string& host = "127.0.0.1") {
    const auto o = attempt(receiver, sender, host);
    CHECK(o.sent == errc::denied);
    CHECK(o.received == errc::denied);
    CHECK(o.text.empty());
    CHECK_THAT(o.receiver_words, contains("refuse"));
    return o.sender_words;
}

std::string words_of_open(const tls& at, error_code ec) {
    diagnostics why;
    const auto in = open_receiver<int>(at, expired, &why);
    REQUIRE(!in);
    CHECK(in.error() == ec);
    return why.text();
}

}  // namespace

TEST_CASE("tls: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"tls://desk:7000", "tls://[::1]:7000?ca=/a&cert=b&key=c&verify=peer&name=d&alpn=e,f",
          "tls://:7000?cert=b&key=c&verify=none&message_bytes_max=9&frame=none&no_delay=off"}) {
        const auto at = tls::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(tls::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"tls://desk", "tls://desk:1?verify=perhaps", "tls://desk:1?keys=a"}) {
        CHECK(tls::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("tls: a sender that knows the authority and names the host is heard") {
    for (const char* host : {"127.0.0.1", "localhost"}) {
        const auto o = attempt(desk(), {.ca = usual() / "ca.pem"}, host);
        INFO(o.sender_words << " / " << o.receiver_words);
        CHECK(!o.sent);
        CHECK(o.received == errc::closed);
        CHECK(o.text == "hello");
    }
    CHECK(attempt(desk(), {.verify = verification::none}).text == "hello");
}

TEST_CASE("tls: both sides know each other if the receiver has an authority too") {
    auto strict = desk();
    strict.ca = usual() / "ca.pem";
    auto me = desk("sender");
    me.ca = usual() / "ca.pem";
    const auto o = attempt(strict, me);
    CHECK(o.text == "hello");
    CHECK(o.received == errc::closed);
}

TEST_CASE("tls: the sender's reasons to refuse a receiver are told with the remedy") {
    certificates other;
    other.authority("stranger", "IP:127.0.0.1");
    other.issue("old", "stranger", "IP:127.0.0.1", "20200101000000Z", "20200201000000Z");
    other.issue("young", "stranger", "IP:127.0.0.1", "20980101000000Z");
    other.issue("fine", "stranger", "IP:127.0.0.1,DNS:fine.example");
    const tls::options knows{.ca = usual() / "ca.pem"};
    const tls::options knows_other{.ca = other / "stranger.pem"};

    auto words = refused_by_sender(desk("fine", other), knows);
    CHECK_THAT(words, contains("issued by an authority that is not known here"));
    CHECK_THAT(words, contains("CN = stranger"));
    CHECK_THAT(words, contains("?ca="));
    words = refused_by_sender(desk("fine", other), {});  // the system's
    CHECK_THAT(words, contains("not known here"));
    words = refused_by_sender(desk("stranger", other), knows);
    CHECK_THAT(words, contains("is self-signed"));
    words = refused_by_sender(desk("old", other), knows_other);
    CHECK_THAT(words, contains("has expired (Feb  1 00:00:00 2020 GMT)"));
    CHECK_THAT(words, contains("renewed"));
    words = refused_by_sender(desk("young", other), knows_other);
    CHECK_THAT(words, contains("is not valid before Jan  1 00:00:00 2098"));
    words = refused_by_sender(desk("fine", other), knows_other, "localhost");
    CHECK_THAT(words, contains("is for 127.0.0.1, fine.example, not for 'localhost'"));
    CHECK_THAT(words, contains("?name="));
    auto named = knows_other;
    named.name = "fine.example";
    CHECK(attempt(desk("fine", other), named, "localhost").text == "hello");
    named.name = "other.example";
    CHECK_THAT(refused_by_sender(desk("fine", other), named), contains("not for 'other.example'"));
}

TEST_CASE("tls: the receiver's reasons to refuse a sender are told to both") {
    certificates other;
    other.authority("stranger");
    other.issue("sender", "stranger", "DNS:sender.example");
    auto strict = desk();
    strict.ca = usual() / "ca.pem";
    const tls::options nobody{.ca = usual() / "ca.pem"};
    auto stranger = desk("sender", other);
    stranger.ca = usual() / "ca.pem";

    auto o = attempt(strict, nobody, "127.0.0.1", true);
    CHECK(o.sent == errc::denied);
    CHECK_THAT(o.sender_words, contains("wants a certificate of this one, which has none"));
    CHECK(o.received == errc::denied);
    CHECK_THAT(o.receiver_words, contains("it shows no certificate: give it one with ?cert="));
    o = attempt(strict, stranger, "127.0.0.1", true);
    CHECK(o.sent == errc::denied);
    CHECK_THAT(o.sender_words, contains("its authority is not known there"));
    CHECK(o.received == errc::denied);
    CHECK_THAT(o.receiver_words, contains("issued by an authority that is not known here"));
    strict.verify = verification::none;
    CHECK(attempt(strict, nobody).text == "hello");
}

TEST_CASE("tls: a sender that is refused does not disturb the others") {
    const watchdog dog("a refused sender among others");
    const reserved_port port;
    auto strict = desk();
    strict.ca = usual() / "ca.pem";
    auto me = desk("sender");
    me.ca = usual() / "ca.pem";
    auto in = open_receiver<int>(tls(port.text(), strict)).value();
    std::thread others([&] {
        auto good = open_sender<int>(tls(port.text(), me)).value();
        good.send(1).value();
        auto bad = open_sender<int>(tls(port.text(), {.ca = usual() / "ca.pem"})).value();
        error_code told;
        for (int i = 0; !told; ++i) {
            if (auto r = bad.send(i); !r) told = r.error();
        }
        if (told != errc::denied) std::abort();
        good.send(2).value();
    });
    CHECK(in.receive().value() == 1);
    CHECK(in.receive().value() == 2);
    CHECK(in.receive().error() == errc::closed);
    others.join();
    CHECK(in.end().refused() == 1);
}

TEST_CASE("tls: files that are missing, unreadable, or no certificates are named at open") {
    certificates other;
    other.authority("stranger");
    std::ofstream(other / "diary") << "dear diary";
    const auto with = [](tls::options o) { return tls("127.0.0.1:0", std::move(o)); };

    auto o = desk();
    o.cert = "/nowhere/desk.pem";
    CHECK_THAT(words_of_open(with(o), errc::not_found), contains("/nowhere/desk.pem"));
    o = desk();
    o.key = other / "stranger.key";
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("does not match"));
    o = desk();
    o.key = other / "diary";
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("holds no key in PEM"));
    o = desk();
    o.cert = other / "diary";
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("holds no certificate"));
    o = desk();
    o.ca = other / "diary";
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("of authorities"));
    o = desk();
    o.ca = "/nowhere/ca.pem";
    CHECK_THAT(words_of_open(with(o), errc::not_found), contains("authorities /nowhere/ca.pem"));
    o = desk();
    o.verify = verification::peer;
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("needs ?ca="));
    CHECK_THAT(words_of_open(with({}), errc::invalid_argument), contains("?cert="));
    o = desk();
    o.alpn = "a,,b";
    CHECK_THAT(words_of_open(with(o), errc::invalid_argument), contains("alpn wants"));

    if (::geteuid() != 0) return;
    REQUIRE(::chmod((other / "stranger.key").c_str(), 0600) == 0);
    child c([&] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
        diagnostics why;
        const auto in = open_receiver<int>(with(desk("stranger", other)), expired, &why);
        return !in && in.error() == errc::denied ? 0 : 2;
    });
    CHECK(c.wait() == 0);
}

TEST_CASE("tls: an encrypted key is refused, and nobody is asked at the terminal") {
    const watchdog dog("an encrypted key");
    const certificates c;
    const auto& from = usual();
    REQUIRE(std::system(("openssl pkey -in " + from / "desk.key" +
                         " -aes128 -passout pass:x -out " + c / "locked.key")
                            .c_str()) == 0);
    auto o = desk();
    o.key = c / "locked.key";
    CHECK_THAT(words_of_open(tls("127.0.0.1:0", o), errc::invalid_argument),
               contains("without a passphrase"));
}

TEST_CASE("tls: both sides share a protocol, or say that there is none") {
    auto in = desk();
    tls::options out{.ca = usual() / "ca.pem"};
    in.alpn = "ticks/2,ticks/1";
    out.alpn = "other,ticks/1";
    CHECK(attempt(in, out).text == "hello");
    out.alpn = "other";
    auto o = attempt(in, out);
    CHECK(o.sent == errc::incompatible);
    CHECK_THAT(o.sender_words, contains("?alpn="));
    CHECK(o.received == errc::incompatible);
    CHECK(o.text.empty());
    out.alpn = "";  // who names none gets nowhere either
    o = attempt(in, out);
    CHECK(o.received == errc::incompatible);
    CHECK(o.text.empty());
    const watchdog dog("a receiver without a protocol");
    const reserved_port port;
    auto none = open_receiver<int>(tls(port.text(), desk())).value();
    auto one = open_sender<int>(tls(port.text(), {.ca = usual() / "ca.pem", .alpn = "a"})).value();
    parley::result<void> told;
    while (told = one.try_send(1), told || told.error() == errc::would_block) {
        CHECK(none.receive(1ms).error() == errc::timed_out);  // it never was a sender
    }
    CHECK(told.error() == errc::incompatible);
    CHECK_THAT(one.why().text(), contains("agrees on none"));
}

TEST_CASE("tls: senders and receivers that speak no TLS are told apart") {
    const watchdog dog("no TLS");
    const reserved_port port;
    {
        auto in = open_receiver<int>(tls(port.text(), desk())).value();
        auto out = open_sender<int>(parley::tcp(port.text())).value();
        out.try_send(1).value();
        CHECK(in.receive().error() == errc::corrupt);
        CHECK_THAT(in.why().text(), contains("is it tcp:// there?"));
    }
    auto in = open_receiver<int>(parley::tcp(port.text())).value();
    std::thread other([&] {
        auto out = open_sender<int>(tls(port.text(), {.ca = usual() / "ca.pem"})).value();
        const auto told = out.send(1);
        if (told || told.error() != errc::corrupt) std::abort();
    });
    CHECK(in.receive().error() == errc::corrupt);
    other.join();
}

TEST_CASE("tls: what is cut off without TLS's goodbye is peer_lost, also without frames") {
    const watchdog dog("a cut connection");
    for (const auto frame : {framing::none, framing::parley}) {
        for (const bool cut : {true, false}) {
            const reserved_port port;
            auto o = desk();
            o.ca = usual() / "ca.pem";
            o.tcp.frame = frame;
            const tls at(port.text(), o);
            auto in = open_receiver<std::string>(at).value();
            gate got;
            child c([&] {
                auto out = open_sender<std::string>(at).value();
                if (!out.send("hello")) return 1;
                got.pass();
                // Somebody on the way ends the bytes in good order, as TCP knows it.
                if (cut) ::shutdown(out.end().io().descriptor(), SHUT_WR);
                if (cut) ::pause();
                return out.close() ? 0 : 2;
            });
            CHECK(in.receive().value() == "hello");
            got.open();
            CHECK(in.receive().error() == (cut ? errc::peer_lost : errc::closed));
            CHECK(in.peers_lost() == (cut ? 1 : 0));
        }
    }
}

TEST_CASE("tls: programs of OpenSSL send as they are, and see the goodbye") {
    const watchdog dog("openssl s_client");
    const reserved_port port;
    auto o = desk();
    o.tcp.frame = framing::none;
    auto in = open_receiver<std::string>(tls(port.text(), o)).value();
    for (const char* version : {"-tls1_2", "-tls1_3"}) {
        std::FILE* p = ::popen(
            ("openssl s_client -quiet -no_ign_eof -verify_return_error -CAfile " +
             usual() / "ca.pem" + " " + version + " -connect " + port.text() + " >/dev/null 2>&1")
                .c_str(),
            "w");
        REQUIRE(p != nullptr);
        std::fputs("hello from afar", p);
        std::fflush(p);
        std::string all;
        while (all.size() < 15) all += in.receive().value();
        CHECK(all == "hello from afar");
        ::pclose(p);
        (void)in.receive();  // s_client leaves as it likes
    }
    // Old versions are not spoken.
    const int rc = std::system(("sh -c 'openssl s_client -tls1_1 -connect " + port.text() +
                                " </dev/null' >/dev/null 2>&1 &")
                                   .c_str());
    CHECK(rc == 0);
    const auto told = in.receive();
    CHECK(told.error() == errc::incompatible);
    CHECK_THAT(in.why().text(), contains("TLS 1.2 or later"));
}

TEST_CASE("tls: a handshake of many kilobytes passes, whatever the buffers are") {
    certificates c;
    std::string names = "IP:127.0.0.1";
    for (int i = 0; i < 1500; ++i) names += ",DNS:host-" + std::to_string(i) + ".example";
    c.authority("ca");
    c.issue("desk", "ca", names);
    auto receiver = desk("desk", c);
    receiver.tcp.send_buffer_bytes = receiver.tcp.receive_buffer_bytes = 4096;
    const auto o = attempt(receiver, {.ca = c / "ca.pem"});
    INFO(o.sender_words << " / " << o.receiver_words);
    CHECK(o.text == "hello");
}

TEST_CASE("tls: a sender's descriptor waits for what it needs, and costs nothing meanwhile") {
    const watchdog dog("pollable over TLS");
    const reserved_port port;
    auto in = open_receiver<int>(tls(port.text(), desk())).value();
    auto out = open_sender<int>(tls(port.text(), {.ca = usual() / "ca.pem"})).value();
    const int fd = out.pollable().value();
    CHECK(!parley::detail::wait_for(fd, POLLIN, expired));  // nobody answers yet
    while (!out.end().flush(expired)) {
        (void)in.receive(1ms);
        (void)parley::detail::wait_for(fd, POLLIN, parley::clock::now() + 1ms);
    }
    CHECK(parley::detail::wait_for(fd, POLLIN, expired));
    out.send(7).value();
    CHECK(in.receive().value() == 7);
}

TEST_CASE("tls: what the program left in OpenSSL's error queue is not taken for an error") {
    const watchdog dog("stale errors of OpenSSL");
    const auto left = [] { ERR_raise(ERR_LIB_USER, 1); };
    const reserved_port port;
    auto in = open_receiver<int>(tls(port.text(), desk())).value();
    left();
    CHECK(in.receive(expired).error() == errc::would_block);
    std::thread other([&] {
        left();
        auto out = open_sender<int>(tls(port.text(), {.ca = usual() / "ca.pem"})).value();
        for (int i = 0; i < 3; ++i) {
            left();
            out.send(i).value();
        }
        left();
        out.close().value();
    });
    for (int i = 0; i < 3; ++i) {
        left();
        CHECK(in.receive().value() == i);
    }
    left();
    const auto end = in.receive();
    INFO(in.why().text());
    CHECK(end.error() == errc::closed);  // and not peer_lost
    other.join();
    ERR_clear_error();
}

TEST_CASE("tls: by uri, in a list with all other transports") {
    const watchdog dog("tls by uri");
    const reserved_port port;
    const auto& c = usual();
    const uri there("tls://" + port.text() + "?cert=" + c / "desk.pem" + "&key=" + c / "desk.key");
    const uri here("tls://" + port.text() + "?ca=" + c / "ca.pem");
    auto in = open_receiver<int>(there, parley::transports_with_tls{}).value();
    std::thread other(
        [&] { open_sender<int>(here, parley::transports_with_tls{}).value().send(5).value(); });
    CHECK(in.receive().value() == 5);
    other.join();
}
