// SPDX-License-Identifier: MIT
// What users and systems get wrong: each case gives an error, and words that help.
#include <parley/channel.hpp>
#include <parley/transport/all.hpp>
#include <parley/transport/fifo.hpp>
#include <parley/transport/file.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/signals.hpp>
#include <parley/transport/snapshot.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>
#include <iostream>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::shm;
using parley::uri;

namespace {

using number = std::uint64_t;

/// Opening either end at `at` fails like this.
template <class Address>
void refuses(const Address& at, parley::error_code ec, const std::string& words) {
    diagnostics why;
    const auto in = parley::open_receiver<number>(at, parley::expired, &why);
    REQUIRE(!in);
    CHECK(in.error() == ec);
    CHECK_THAT(why.text(), contains(words));
}
template <class Address>
void refuses_sender(const Address& at, parley::error_code ec, const std::string& words) {
    diagnostics why;
    const auto out = parley::open_sender<number>(at, parley::expired, &why);
    REQUIRE(!out);
    CHECK(out.error() == ec);
    CHECK_THAT(why.text(), contains(words));
}

shm in_directory(const std::string& name, const std::string& directory) {
    shm::options o;
    o.directory = directory;
    return shm(name, o);
}

/// Runs `body` as another user, who owns nothing; false, with a reason printed, if it cannot.
template <class Body>
bool as_nobody(Body body) {
    if (::geteuid() != 0) {
        std::cout << "skipped: only root can be another user\n";
        return false;
    }
    child c([&] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 78;
        return body();
    });
    const int status = c.wait();
    INFO("case " << status << " failed as another user");
    CHECK(status == 0);
    return true;
}
bool fails(const diagnostics& why, bool failed, const std::string& words) {
    return failed && why.text().find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("bad input: a uri that means nothing is refused with the position of the mistake") {
    refuses(uri("ticks"), errc::unsupported, "position 0");
    refuses(uri("carrier://pigeon"), errc::unsupported, "no transport for scheme 'carrier'");
    refuses(uri("shm:ticks"), errc::invalid_argument, "position 4");
    refuses(uri("shm://ticks?slots=4"), errc::invalid_argument, "unknown option 'slots'");
    refuses(uri("shm://ticks?writers_max=65"), errc::invalid_argument, "from 1 to 64, not '65'");
    refuses(uri("shm://ticks?wait=nap"), errc::invalid_argument, "wants one of: park");
    refuses(uri("shm://ticks?mode=999"), errc::invalid_argument, "permissions as in chmod");
    refuses(uri("shm://a%zz"), errc::invalid_argument, "position 7");
    refuses(uri("unix://@x?type=pigeon"), errc::invalid_argument, "stream, seqpacket, datagram");
    refuses(uri("tcp://::1:7000"), errc::invalid_argument, "position 6");
    refuses(uri("tcp://localhost:http"), errc::invalid_argument, "a port from 0 to 65535");
    refuses(uri("udp://127.0.0.1:7001"), errc::invalid_argument, "?delivery=at_most_once");
    refuses(uri("udp://h:7001?delivery=surely"), errc::invalid_argument, "wants one of: at_most_");
    refuses(uri("udp_multicast://10.0.0.1:7?delivery=at_most_once"), errc::invalid_argument,
            "no multicast group");
    refuses(uri("pipe:?fd=-1"), errc::invalid_argument, "wants a whole number");
    refuses(uri("pipe://name"), errc::invalid_argument, "a pipe has no name");
    refuses(uri("inproc://"), errc::invalid_argument, "wants a name");
    refuses(uri("mq://"), errc::invalid_argument, "position 5: wants a name");
    refuses(uri("mq://x?messages=0"), errc::invalid_argument, "from 1 to 65536, not '0'");
    refuses(uri("mq://x?priority=32768"), errc::invalid_argument, "from 0 to 32767");
    refuses(uri("sysv://x?select=two"), errc::invalid_argument, "wants a type, or minus");
    refuses(uri("sysv://x?type=0"), errc::invalid_argument, "from 1 to 2147483647, not '0'");
    refuses(uri("signals://"), errc::invalid_argument, "position 10: wants a name");
    refuses(uri("signals://x?lanes=17"), errc::invalid_argument, "from 1 to 16, not '17'");
    refuses(uri("signals://x?mode=600"), errc::invalid_argument, "unknown option 'mode'");
    refuses(parley::signals("a/b"), errc::invalid_argument, "no '/'");
    refuses(parley::signals("x", {.directory = "/nowhere"}), errc::not_found, "/nowhere");
    refuses(uri("shm://x?bell=gong"), errc::invalid_argument, "wants one of: socket, signal");
    refuses(uri("boost_mq://"), errc::invalid_argument, "position 11: wants a name");
    refuses(uri("boost_mq://x?messages=0"), errc::invalid_argument, "from 1 to 1048576, not '0'");
    refuses(uri("mq://x?shared=maybe"), errc::invalid_argument, "wants one of: no, yes");
    refuses(uri("file://"), errc::invalid_argument, "position 7: wants a path");
    refuses(uri("file://x?from=last"), errc::invalid_argument, "receiver, first, next");
    refuses(uri("mmap://x?capacity_bytes=5000"), errc::invalid_argument, "a power of two");
    refuses(uri("snapshot://x?await=written"), errc::invalid_argument, "visible, synced");
    refuses(uri("maildir://x?shared=maybe"), errc::invalid_argument, "wants one of: no, yes");
    refuses(shm("x", {.capacity_bytes = 5000}), errc::invalid_argument, "a power of two");
    refuses(shm("x", {.writers_max = 0}), errc::invalid_argument, "1 to 64 lanes");
}

TEST_CASE("bad input: names that are too long, empty or of several parts are refused") {
    for (const auto& name : {std::string(201, 'x'), std::string(), std::string("a/b")}) {
        // Without a name a receiver makes a memfd; a sender finds none.
        if (!name.empty()) {
            refuses(shm(name), errc::invalid_argument, "wants 1 to 200 characters and no '/'");
        }
        refuses_sender(shm(name), errc::invalid_argument, "wants 1 to 200 characters");
    }
    refuses(parley::uds("@" + std::string(200, 'x')), errc::invalid_argument, "");
    refuses(parley::pipe(), errc::invalid_argument, "make_channel");
    refuses(parley::pipe(987), errc::invalid_argument, "not open here");
}

TEST_CASE("bad input: a directory that is not there is named") {
    const temporary_directory dir;
    refuses(in_directory("x", dir / "gone"), errc::not_found, "no such directory");
    refuses(in_directory("x", dir / "gone"), errc::not_found, dir / "gone");
    refuses(parley::uds(dir / "gone/x"), errc::not_found, "gone");
}

TEST_CASE("bad input: without permission the error is denied and names the path") {
    const temporary_directory dir;
    as_nobody([&] {
        diagnostics why;
        const shm at = in_directory("x", dir.path().string());
        const auto in = parley::open_receiver<number>(at, parley::expired, &why);
        if (!fails(why, !in && in.error() == errc::denied, dir.path().string())) return 1;
        const auto out = parley::open_sender<number>(at, parley::expired, &why);
        if (!fails(why, !out && out.error() == errc::denied, dir.path().string())) return 2;
        const auto socket = parley::open_receiver<number>(parley::uds(dir / "s"), 0s, &why);
        if (!fails(why, !socket && socket.error() == errc::denied, dir / "s")) return 3;
        const auto pipe = parley::open_receiver<number>(parley::fifo(dir / "f"), 0s, &why);
        return fails(why, !pipe && pipe.error() == errc::denied, dir / "f") ? 0 : 4;
    });
}

TEST_CASE("bad input: a named pipe of another user is denied, with the mode that helps") {
    const temporary_directory dir;
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    auto in = parley::open_receiver<number>(parley::fifo(dir / "f")).value();
    as_nobody([&] {
        diagnostics why;
        const auto out = parley::open_sender<number>(parley::fifo(dir / "f"), 0s, &why);
        return fails(why, !out && out.error() == errc::denied, "?mode=622") ? 0 : 1;
    });
    refuses(parley::fifo(dir / "gone/x"), errc::not_found, "gone");
    refuses(uri("fifo://"), errc::invalid_argument, "wants a path");
}

TEST_CASE("bad input: a privileged port is denied, in words") {
    int first = 0;
    std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
    if (first < 2) {
        std::cout << "skipped: every port is free for all here\n";
        return;
    }
    as_nobody([] {
        diagnostics why;
        const auto in = parley::open_receiver<number>(parley::tcp("127.0.0.1:1"), 0s, &why);
        return fails(why, !in && in.error() == errc::denied, "CAP_NET_BIND_SERVICE") ? 0 : 1;
    });
}

TEST_CASE("bad input: a tcp port of another program is in_use, and a silent one no receiver") {
    const watchdog dog("a port in use");
    diagnostics why;
    auto in = parley::open_receiver<number>(parley::tcp("127.0.0.1:0"), 0s, &why).value();
    refuses(in.address(), errc::in_use, "choose another port");
    auto out = parley::open_sender<number>(in.address()).value();
    out.send(7).value();
    CHECK(in.receive().value() == 7);
    in.close().value();
    for (;;) {
        const auto told = out.send(8);
        if (told) continue;
        CHECK(told.error() == errc::peer_lost);
        break;
    }
    CHECK_THAT(out.why().text(), contains("the receiver is gone"));
}

TEST_CASE("bad input: a udp port of another program is in_use, a privileged one is denied") {
    const watchdog dog("a udp port in use");
    using parley::at_most_once;
    auto in = parley::open_receiver<number>(parley::udp("127.0.0.1:0"), at_most_once{}).value();
    refuses(in.address(), errc::in_use, "choose another port");
    refuses(uri("udp://192.0.2.1:7001?delivery=at_most_once"), errc::invalid_argument,
            "no address of this host");
    int first = 0;
    std::ifstream("/proc/sys/net/ipv4/ip_unprivileged_port_start") >> first;
    if (first < 2) return;
    as_nobody([] {
        diagnostics why;
        const parley::udp low("127.0.0.1:1", at_most_once{});
        const auto refused = parley::open_receiver<number>(low, 0s, &why);
        return fails(why, !refused && refused.error() == errc::denied, "CAP_NET_BIND_SERVICE") ? 0
                                                                                               : 1;
    });
}

TEST_CASE("bad input: another user's segment can be neither used nor replaced") {
    const unique_name name("owned");
    auto in = parley::open_receiver<number>(shm(name)).value();
    for (const bool alive : {true, false}) {
        INFO((alive ? "a live receiver" : "a dead receiver"));
        if (!alive) {  // as if killed: the lock falls, the name stays
            const std::string path = "/dev/shm/parley." + name.text();
            REQUIRE(::rename(path.c_str(), (path + ".kept").c_str()) == 0);
            in.close().value();
            REQUIRE(::rename((path + ".kept").c_str(), path.c_str()) == 0);
        }
        as_nobody([&] {
            diagnostics why;
            const auto out = parley::open_sender<number>(shm(name), parley::expired, &why);
            if (!fails(why, !out && out.error() == errc::denied, name.text())) return 1;
            const auto own = parley::open_receiver<number>(shm(name), parley::expired, &why);
            return fails(why, !own && own.error() == errc::denied, "somebody else") ? 0 : 2;
        });
    }
}

TEST_CASE("bad input: a full file system is out_of_resources at open, never a SIGBUS") {
    const watchdog dog("a 1 MiB tmpfs");
    const temporary_directory dir;
    child c([&] {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
            return 77;
        }
        diagnostics why;
        shm at = in_directory("big", dir.path().string());  // lanes of 4 MiB
        auto in = parley::open_receiver<number>(at, 0s, &why);
        if (!in) return 1;
        auto out = parley::open_sender<number>(at, 0s, &why);
        const bool full = !out && out.error() == errc::out_of_resources;
        if (!fails(why, full, "a smaller ?capacity_bytes=") ||
            !fails(why, full, "reserving 4194304 bytes")) {
            return 2;
        }
        at = in_directory("small", dir.path().string());
        at.with.capacity_bytes = 256 << 10;
        auto small = parley::open_receiver<std::vector<std::byte>>(at, 0s, &why);
        std::vector<parley::sender<std::vector<std::byte>, shm>> senders;
        for (int i = 0; i < 16; ++i) {
            auto s = parley::open_sender<std::vector<std::byte>>(at, 0s, &why);
            if (!s && s.error() != errc::out_of_resources) return 3;
            if (s) senders.push_back(std::move(*s));
        }
        if (senders.empty() || senders.size() > 3) return 4;
        // Those who got in have all that they were promised.
        const std::vector<std::byte> large(200'000, std::byte{7});
        for (auto& s : senders) {
            for (int i = 0; i < 5; ++i) {
                if (!s.send(large) || small->receive().value() != large) return 5;
            }
        }
        const std::ofstream filler(dir / "filler");
        shm more = in_directory("more", dir.path().string());
        std::vector<parley::receiver<number, shm>> all;
        for (int i = 0; i < 300; ++i) {
            more.name = "more" + std::to_string(i);
            auto r = parley::open_receiver<number>(more, 0s, &why);
            if (!r) return fails(why, r.error() == errc::out_of_resources, "more") ? 0 : 6;
            all.push_back(std::move(*r));
        }
        return 7;
    });
    const int status = c.wait();
    if (status == 77) {
        std::cout << "skipped: no right to mount a tmpfs here\n";
        return;
    }
    CHECK(status == 0);
}

TEST_CASE(
    "bad input: what is stored on a full disk is out_of_resources, and what was sent is there") {
    const watchdog dog("a full disk");
    const temporary_directory dir;
    using text = std::string;
    child c([&] {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
            return 77;
        }
        diagnostics why;
        const auto ring = parley::open_sender<text>(parley::mmap(dir / "ring"), 0s, &why);
        const bool full = !ring && ring.error() == errc::out_of_resources;
        if (!fails(why, full, "a smaller ?capacity_bytes=") ||
            std::filesystem::exists(dir / "ring")) {
            return 1;
        }
        auto value = parley::open_sender<text>(parley::snapshot(dir / "value"), 0s, &why).value();
        if (!value.send("old")) return 2;
        auto mail = parley::open_sender<text>(parley::maildir(dir / "mail"), 0s, &why).value();
        auto log = parley::open_sender<text>(parley::file(dir / "log"), 0s, &why).value();
        int sent = 0;
        const text line(30'000, 'x');
        for (;; ++sent) {
            const auto r = log.send(line);
            if (r) continue;
            if (!fails(log.why(), r.error() == errc::out_of_resources, "nothing of the message")) {
                return 3;
            }
            break;
        }
        const auto replaced = value.send(text(200'000, 'y'));
        if (!fails(value.why(), replaced.error() == errc::out_of_resources, "old value stays")) {
            return 4;
        }
        const auto posted = mail.send(text(200'000, 'z'));
        if (posted || posted.error() != errc::out_of_resources) return 5;
        auto in = parley::open_receiver<text>(parley::file(dir / "log"), 0s, &why).value();
        for (int i = 0; i < sent; ++i) {
            if (in.try_receive().value() != line) return 6;
        }
        if (in.try_receive().error() != errc::would_block) return 7;
        auto last = parley::open_receiver<text>(parley::snapshot(dir / "value"), 0s, &why).value();
        if (last.try_receive().value() != "old") return 8;
        // Room helps at once.
        if (::mount("none", dir.path().c_str(), "tmpfs", MS_REMOUNT, "size=2m") != 0) return 9;
        if (!log.send(line) || in.receive().value() != line) return 10;
        return sent > 20 ? 0 : 11;
    });
    const int status = c.wait();
    if (status == 77) {
        std::cout << "skipped: no right to mount a tmpfs here\n";
        return;
    }
    CHECK(status == 0);
}

TEST_CASE("bad input: a directory that may only be read stores nothing, and says so") {
    const temporary_directory dir;
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    parley::open_sender<number>(parley::file(dir / "log", {.permissions = {.mode = 0644}}))
        .value()
        .send(7)
        .value();
    as_nobody([&] {
        diagnostics why;
        const auto denied = [&](const auto& at, const std::string& path) {
            const auto out = parley::open_sender<number>(at, parley::expired, &why);
            return fails(why, !out && out.error() == errc::denied, path);
        };
        if (!denied(parley::file(dir / "other"), dir / "other")) return 1;
        if (!denied(parley::mmap(dir / "ring"), dir / "ring")) return 2;
        if (!denied(parley::snapshot(dir / "value"), dir / "value")) return 3;
        if (!denied(parley::maildir(dir / "mail"), dir / "mail")) return 4;
        if (!denied(parley::file(dir / "log"), dir / "log")) return 5;
        // Who may read follows.
        auto in = parley::open_receiver<number>(
            parley::file(dir / "log", {.from = parley::log_start::first}), parley::expired, &why);
        return in && in->try_receive().value() == 7 ? 0 : 6;
    });
}

TEST_CASE("bad input: a file that is no segment is refused and left alone") {
    const unique_name name("stranger");
    const std::string path = "/dev/shm/parley." + name.text();
    for (const std::string& text : {std::string("dear diary"), std::string(100'000, 'x')}) {
        std::ofstream(path) << text;
        refuses(shm(name), errc::corrupt, "no segment of parley; it is left alone");
        refuses_sender(shm(name), errc::corrupt, "no segment of parley");
        CHECK(std::filesystem::file_size(path) == text.size());
    }
    REQUIRE(::unlink(path.c_str()) == 0);
    REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    diagnostics why;
    CHECK(!parley::open_receiver<number>(shm(name), 0s, &why));
    CHECK(!why.empty());
    REQUIRE(::rmdir(path.c_str()) == 0);
    REQUIRE(::symlink("/etc/passwd", path.c_str()) == 0);
    CHECK(!parley::open_receiver<number>(shm(name), 0s, &why));
    CHECK(!parley::open_sender<number>(shm(name), 0s, &why));
    CHECK(!why.empty());
    CHECK(std::filesystem::is_symlink(path));
}

TEST_CASE("bad input: a segment of another layout is refused by number") {
    const unique_name name("layout");
    auto in = parley::open_receiver<number>(shm(name)).value();
    const int fd = ::open(("/dev/shm/parley." + name.text()).c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    const std::uint32_t other = parley::shm_layout::version + 1;
    REQUIRE(::pwrite(fd, &other, sizeof other, 8) == sizeof other);
    ::close(fd);
    refuses_sender(shm(name), errc::incompatible, "has layout " + std::to_string(other));
    refuses(shm(name), errc::in_use, "has a live receiver");
}

TEST_CASE("bad input: a segment's type is refused with both descriptions") {
    const unique_name name("type");
    auto in = parley::open_receiver<float>(shm(name)).value();
    refuses_sender(shm(name), errc::incompatible, std::string(in.type().description));
    refuses_sender(shm(name), errc::incompatible,
                   std::string(parley::codec<number>::type.description));
}

TEST_CASE("bad input: random bytes in a segment's header are refused, by whatever they break") {
    const unique_name name("random");
    auto in = parley::open_receiver<number>(shm(name)).value();
    const int fd = ::open(("/dev/shm/parley." + name.text()).c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(fd >= 0);
    std::array<std::byte, 128> good{}, bad{};
    REQUIRE(::pread(fd, good.data(), good.size(), 0) == 128);
    parley::random r(21);
    for (int i = 0; i < 2000; ++i) {
        bad = good;
        // Some bytes behind the magic, or all.
        const auto first = r.below(4) == 0 ? 0 : 8 + r.below(36);
        for (auto k = 1 + r.below(16); k > 0; --k) {
            bad[std::min<std::size_t>(first + k, 67)] = static_cast<std::byte>(r());
        }
        REQUIRE(::pwrite(fd, bad.data(), bad.size(), 0) == 128);
        diagnostics why;
        const auto out = parley::open_sender<number>(shm(name), parley::expired, &why);
        if (out) continue;  // only what nobody needs was changed
        const bool known = out.error() == errc::corrupt || out.error() == errc::incompatible ||
                           out.error() == errc::would_block ||
                           out.error() == errc::out_of_resources;
        INFO(out.error().message() << ": " << why.text());
        REQUIRE(known);
        REQUIRE(!why.empty());
    }
    REQUIRE(::pwrite(fd, good.data(), good.size(), 0) == 128);
    ::close(fd);
}

TEST_CASE("bad input: a message that is too large is refused with both numbers") {
    const unique_name name("large");
    const shm at(name, {.capacity_bytes = 4096});
    auto in = parley::open_receiver<std::string>(at).value();
    auto out = parley::open_sender<std::string>(at).value();
    CHECK(out.send(std::string(5000, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains(std::to_string(out.limits().message_bytes_max)));
    CHECK_THAT(out.why().text(), contains("capacity_bytes"));
    out.send("still here").value();
    CHECK(in.receive().value() == "still here");
}

TEST_CASE("bad input: a stream that ends in a frame is peer_lost in mid-message") {
    for (const std::size_t cut : {1U, 7U, 8U, 20U}) {
        int fds[2];
        REQUIRE(::pipe(fds) == 0);
        auto in = parley::open_receiver<number>(parley::pipe(fds[0])).value();
        std::array<std::byte, parley::frame::hello_bytes_max> hello;
        const auto n = parley::frame::write_hello(hello.data(), parley::codec<number>::type, 1, 2);
        REQUIRE(::write(fds[1], hello.data(), n) == static_cast<ssize_t>(n));
        std::array<std::byte, 32> frame{};
        parley::frame::write_header(frame.data(), parley::frame::kind::message, 24);
        REQUIRE(::write(fds[1], frame.data(), cut) == static_cast<ssize_t>(cut));
        ::close(fds[1]);
        CHECK(in.receive().error() == errc::peer_lost);
        CHECK_THAT(in.why().text(), contains("in mid-message"));
        CHECK(in.peers_lost() == 1);
    }
}

TEST_CASE("bad input: bytes of a program that knows nothing of parley are corrupt, in words") {
    int fds[2];
    REQUIRE(::pipe(fds) == 0);
    auto in = parley::open_receiver<number>(parley::pipe(fds[0])).value();
    REQUIRE(::write(fds[1], "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    CHECK(in.receive().error() == errc::corrupt);
    CHECK_THAT(in.why().text(), contains("?frame=none"));
    ::close(fds[1]);
}

TEST_CASE("bad input: a dead reader is an error, not a SIGPIPE, whatever was the disposition") {
    const watchdog dog("SIGPIPE");
    const auto check = [](auto address) {
        child c([&] {
            ::signal(SIGPIPE, SIG_DFL);
            auto both = parley::make_channel<number>(address).value();
            gate sent;
            child reader([&] {
                (void)both.tx.close();
                const bool right = both.rx.receive().value() == 7;
                sent.pass();  // a reader that dies at once may be noticed by that very send
                return right ? 0 : 1;
            });
            (void)both.rx.close();
            if (!both.tx.send(7)) return 1;
            sent.open();
            if (reader.wait() != 0) return 2;
            for (;;) {
                const auto told = both.tx.send(8);
                if (told) continue;
                return told.error() == errc::peer_lost && !both.tx.why().empty() ? 0 : 3;
            }
        });
        INFO(address.to_uri().text());
        CHECK(c.wait() == 0);
    };
    check(parley::pipe());
    check(parley::uds());
    check(shm());
}
