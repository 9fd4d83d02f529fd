// SPDX-License-Identifier: MIT
// Who may open, who is let in, and ends that come from elsewhere: permissions, credentials,
// descriptors handed over, sockets of a service manager.
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>
#include <parley/transport/all.hpp>
#include <parley/transport/fifo.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/uds.hpp>
#include <parley/transport/uds_descriptor.hpp>

#include <grp.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <string>

namespace {

using namespace std::chrono_literals;
using parley::errc;
using parley::uds;
using parley_test::child;
using parley_test::contains;
using parley_test::gate;
using parley_test::temporary_directory;
using parley_test::watchdog;

constexpr uid_t nobody = 65534;
constexpr gid_t some_group = 54321, other_group = 54322;

/// Becomes a user with one further group.
bool become(uid_t user, gid_t further) {
    return ::setgroups(1, &further) == 0 && ::setgid(user) == 0 && ::setuid(user) == 0;
}
bool root() {
    if (::getuid() == 0) return true;
    WARN("skipped: needs root, to try other users");
    return false;
}
struct stat look(const std::string& path) {
    struct stat s {};
    REQUIRE(::stat(path.c_str(), &s) == 0);
    return s;
}

/// False once the child has ended; it is still to be waited for.
bool runs(const child& c) {
    siginfo_t gone{};
    return ::waitid(P_PID, static_cast<id_t>(c.pid()), &gone, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           gone.si_pid == 0;
}

constexpr uds::kind kinds[] = {uds::stream, uds::seqpacket, uds::datagram};

}  // namespace

TEST_CASE("permissions: every name gets mode, owner and group whatever the umask is") {
    if (!root()) return;
    const temporary_directory dir;
    const parley_test::unique_name name("access");
    const mode_t before = ::umask(0077);
    const parley::permissions to{.mode = 0640, .owner = "65534", .group = "54321"};
    const auto check = [](const struct stat& s) {
        CHECK((s.st_mode & 0777) == 0640);
        CHECK(s.st_uid == nobody);
        CHECK(s.st_gid == some_group);
    };
    {
        auto in = parley::open_receiver<int>(uds(dir / "s", {.permissions = to})).value();
        check(look(dir / "s"));
        auto pipe = parley::open_receiver<int>(parley::fifo(dir / "f", {.permissions = to}));
        REQUIRE(pipe);
        check(look(dir / "f"));
        auto shm = parley::open_receiver<int>(
            parley::shm{name, {.permissions = to, .directory = dir.path()}});
        REQUIRE(shm);
        check(look(dir / "parley." + name.text()));
    }
    const parley::sysv kept(name, {.permissions = to, .directory = dir.path()});
    auto out = parley::open_sender<int>(kept).value();
    check(look(dir / "parley-sysv." + name.text()));
    out.send(17).value();
    // The queue was given away with its file, and both are ours still: root made them.
    CHECK(parley::open_receiver<int>(kept).value().receive().value() == 17);
    parley::diagnostics why;
    CHECK(kept.remove(why));
    ::umask(before);
}

TEST_CASE("permissions: unknown names, and gifts that are not allowed, are refused in words") {
    const temporary_directory dir;
    parley::diagnostics why;
    const auto open = [&](const parley::permissions& p) {
        return parley::open_receiver<int>(uds(dir / "x", {.permissions = p}), 1s, &why).error();
    };
    CHECK(open({.owner = "no such user"}) == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("there is no user 'no such user'"));
    CHECK(open({.group = "no such group"}) == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("there is no group 'no such group'"));
    CHECK(dir.entries() == 0);
    if (!root()) return;
    REQUIRE(::chmod(dir.path().c_str(), 0777) == 0);
    child other([&] {
        if (!become(nobody, some_group)) return 1;
        if (open({.owner = "0"}) != errc::denied) return 2;
        if (why.text().find("only root gives") == std::string::npos) return 3;
        if (open({.group = "54322"}) != errc::denied) return 4;
        auto own = parley::open_receiver<int>(uds(dir / "y", {.permissions = {.group = "54321"}}));
        return own ? 0 : 5;
    });
    CHECK(other.wait() == 0);
    CHECK(dir.entries() == 0);
}

TEST_CASE("allow: the kernel says who comes, strangers are told, and others are served on") {
    if (!root()) return;
    watchdog dog("allow");
    const temporary_directory dir;
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    for (const auto kind : kinds) {
        for (const std::string& name :
             {dir / "x", "@" + parley_test::unique_name("allow").text()}) {
            const parley::allow rules[] = {
                {.users = {"0"}},
                {.groups = {"54322"}},
                {.when = [](const parley::peer_id& who) { return who.uid != nobody; }},
            };
            for (const auto& rule : rules) {
                INFO(name << " kind " << static_cast<int>(kind));
                const uds at(name, {.type = kind, .allow = rule, .permissions = {.mode = 0666}});
                auto in = parley::open_receiver<int>(at).value();
                child stranger([&] {
                    if (!become(nobody, some_group)) return 1;
                    parley::diagnostics why;
                    auto out = parley::open_sender<int>(uds(name, {.type = kind}));
                    if (!out) return 2;
                    parley::result<void> r;
                    while ((r = out->send(666, 5s))) {
                    }
                    if (r.error() != errc::denied) return 3;
                    return out->why().text().find("does not let in") != std::string::npos ? 0 : 4;
                });
                while (in.end().refused() == 0) CHECK(in.receive(1ms).error() == errc::timed_out);
                CHECK_THAT(in.why().text(), contains("of user 65534, whom `allow`"));
                while (runs(stranger)) (void)in.receive(1ms);
                CHECK(stranger.wait() == 0);
                child friendly([&] {
                    // Of datagrams the kernel tells the first group only.
                    if (kind == uds::datagram && ::setgid(other_group) != 0) return 1;
                    if (!rule.groups.empty() && kind != uds::datagram &&
                        ::setgroups(1, &other_group) != 0) {
                        return 2;
                    }
                    auto out = parley::open_sender<int>(uds(name, {.type = kind})).value();
                    return out.send(17) && out.close() ? 0 : 3;
                });
                CHECK(in.receive().value() == 17);
                CHECK(in.receive().error() == errc::closed);
                CHECK(friendly.wait() == 0);
            }
        }
    }
}

TEST_CASE("allow: a refusal is read also where the receiver left something unread") {
    const auto type = parley::codec<int>::type;
    for (const int kind : {SOCK_STREAM, SOCK_SEQPACKET}) {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, ends) == 0);
        REQUIRE(::send(ends[0], "unread", 6, MSG_NOSIGNAL) == 6);
        parley::detail::answer_with_hello(ends[1], type, parley::frame::answer::denied);
        ::close(ends[1]);  // of which the other side hears as ECONNRESET
        parley::diagnostics why;
        CHECK(parley::detail::why_hung_up(ends[0], type, why) == errc::denied);
        ::close(ends[0]);
    }
}

TEST_CASE("allow: a link from a stranger is refused at both sides") {
    if (!root()) return;
    watchdog dog("allow: links");
    const temporary_directory dir;
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    const auto type = parley::codec<int>::type;
    parley::diagnostics why;
    const uds at(dir / "x", {.allow = {.users = {"0"}}, .permissions = {.mode = 0666}});
    auto desk = at.open_listener({type, type, parley::never, &why}).value();
    child stranger([&] {
        if (!become(nobody, some_group)) return 1;
        auto link = at.open_link({type, type, parley::never, &why});
        if (!link) return 2;
        if (!link->in().wait(parley::clock::now() + 10s)) return 3;
        return link->in().try_receive().error() == errc::denied ? 0 : 4;
    });
    while (runs(stranger)) CHECK(desk.try_accept().error() == errc::would_block);
    CHECK(stranger.wait() == 0);
    auto own = at.open_link({type, type, parley::never, &why}).value();
    REQUIRE(desk.wait(parley::clock::now() + 10s));
    CHECK(desk.try_accept().value().peer().uid == 0);
}

TEST_CASE("descriptor desk: two processes that share one directory share a segment") {
    watchdog dog("descriptor desk");
    const temporary_directory dir;
    parley::diagnostics why;
    const uds at(dir / "cam");
    child camera([&] {
        const int fd = parley::take_descriptor(at, 10s).value();
        auto out = parley::open_sender<std::string>(parley::shm{fd}).value();
        return out.send("a frame") && out.close() ? 0 : 1;
    });
    auto in = parley::open_receiver<std::string>(parley::shm{}).value();
    auto desk = parley::open_descriptor_desk(at).value();
    const int segment = parley::shm::from(in.address(), why).value().fd;
    CHECK(desk.give(segment, 10s).value().pid == camera.pid());
    CHECK(in.receive().value() == "a frame");
    CHECK(in.receive().error() == errc::closed);
    CHECK(camera.wait() == 0);
    CHECK(desk.give(segment, 0s).error() == errc::timed_out);
    CHECK(desk.give(-1).error() == errc::invalid_argument);
    desk.close();
    CHECK(desk.give(segment).error() == errc::closed);
    CHECK(dir.entries() == 0);
}

TEST_CASE("descriptor desk: takers hear why they get nothing") {
    watchdog dog("descriptor desk: errors");
    const temporary_directory dir;
    parley::diagnostics why;
    const uds at(dir / "x");
    CHECK(parley::take_descriptor(at, 1ms, &why).error() == errc::timed_out);
    CHECK(parley::open_descriptor_desk(uds(dir / "d", {.type = uds::datagram}), 1s, &why).error() ==
          errc::unsupported);
    {
        auto other = parley::open_receiver<int>(at).value();
        CHECK(parley::take_descriptor(at, 1s, &why).error() == errc::incompatible);
        CHECK_THAT(why.text(), contains("an open descriptor"));
    }
    {
        auto desk = parley::open_descriptor_desk(at).value();
        CHECK(parley::take_descriptor(at, 1ms, &why).error() == errc::timed_out);
        CHECK(parley::open_sender<int>(at, 1s, &why).error() == errc::incompatible);
    }
    if (!root()) return;
    auto desk =
        parley::open_descriptor_desk(uds(dir / "root", {.allow = {.users = {"1"}}})).value();
    child c([&] {
        return parley::take_descriptor(uds(dir / "root"), 10s).error() == errc::denied ? 0 : 1;
    });
    CHECK(desk.give(0, 200ms).error() == errc::timed_out);
    CHECK(c.wait() == 0);
}

TEST_CASE("activation: a receiver takes the socket that a service manager made, once") {
    watchdog dog("activation");
    const temporary_directory dir;
    const std::string path = dir / "unit.sock";
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
    child service([&] {
        // What a manager does between fork and exec.
        const int listening = ::socket(AF_UNIX, SOCK_STREAM, 0);
        if (::bind(listening, reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) return 1;
        if (::listen(listening, 8) != 0 || ::dup2(listening, 3) != 3) return 2;
        ::setenv("LISTEN_FDS", "1", 1);
        ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
        auto in = parley::open_receiver<std::string>(uds(path)).value();
        if (in.receive(10s).value() != "to a service") return 3;
        if (in.receive(10s).error() != errc::closed) return 4;
        if (!in.close()) return 5;
        struct stat s {};
        return ::stat(path.c_str(), &s) == 0 ? 0 : 6;  // the manager's name stays
    });
    auto out = parley::open_sender<std::string>(uds(path, {.frame = parley::framing::parley}), 10s);
    REQUIRE(out);
    CHECK(out->send("to a service"));
    CHECK(out->close());
    CHECK(service.wait() == 0);
}
