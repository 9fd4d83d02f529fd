// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include <sys/mman.h>
#include <sys/socket.h>

#include <cstring>
#include <string>

namespace {

using namespace std::chrono_literals;

/// Sends a descriptor over a socket, as a supervisor of two containers would.
void pass_descriptor(int socket, int fd) {
    char byte = 'x';
    iovec data{&byte, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
    REQUIRE(::sendmsg(socket, &m, 0) == 1);
}
int take_descriptor(int socket) {
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
    msghdr m{};
    m.msg_iov = &data;
    m.msg_iovlen = 1;
    m.msg_control = room;
    m.msg_controllen = sizeof room;
    if (::recvmsg(socket, &m, MSG_CMSG_CLOEXEC) != 1) return -1;
    int fd = -1;
    if (cmsghdr* c = CMSG_FIRSTHDR(&m)) std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

int descriptor_of(const parley::uri& at) {
    parley::diagnostics why;
    return parley::shm::from(at, why).value().fd;
}

}  // namespace

TEST_CASE("shm: a memfd handed over a socket carries messages, an end and a death", "[shm]") {
    parley_test::watchdog guard("shm: a memfd handed over a socket");
    int line[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) == 0);
    // Forked before the segment exists: only the socket brings it over.
    parley_test::child sender([&] {
        const int fd = take_descriptor(line[1]);
        auto first = parley::open_sender<std::string>(parley::shm{fd}).value();
        first.send("over a socket").value();
        (void)first.close();
        char ack = 0;
        if (::read(line[1], &ack, 1) != 1) return 1;  // two senders have no order between them
        auto second = parley::open_sender<std::string>(parley::shm{fd}).value();
        second.send("last words").value();
        ::kill(::getpid(), SIGKILL);
        return 0;
    });
    auto in = parley::open_receiver<std::string>(parley::shm{}).value();
    pass_descriptor(line[0], descriptor_of(in.address()));
    CHECK(in.receive().value() == "over a socket");
    CHECK(in.receive().error() == parley::errc::closed);
    REQUIRE(::write(line[0], "a", 1) == 1);
    CHECK(in.receive().value() == "last words");
    CHECK(in.receive().error() == parley::errc::peer_lost);
    CHECK(in.peers_lost() == 1);
    CHECK(sender.wait() == 128 + SIGKILL);
    ::close(line[0]);
    ::close(line[1]);
}

TEST_CASE("shm: a memfd is sealed, so whoever holds it cannot truncate it", "[shm]") {
    auto in = parley::open_receiver<std::string>(parley::shm{}).value();
    const int fd = descriptor_of(in.address());
    CHECK(::ftruncate(fd, 0) == -1);
    CHECK(errno == EPERM);
    CHECK(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1);
}

TEST_CASE("shm: the holder of a handed memfd does not keep a dead receiver alive", "[shm]") {
    parley_test::watchdog guard("shm: a memfd handed over a socket");
    int line[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) == 0);
    parley_test::child receiver([&] {
        auto in = parley::open_receiver<std::string>(parley::shm{}).value();
        pass_descriptor(line[1], descriptor_of(in.address()));
        (void)in.receive();
        ::kill(::getpid(), SIGKILL);
        return 0;
    });
    const int fd = take_descriptor(line[0]);
    REQUIRE(fd >= 0);
    auto out = parley::open_sender<std::string>(parley::shm{fd}).value();
    // The receiver may be dead before this call returns, which then says so.
    auto r = out.send("go");
    CHECK(receiver.wait() == 128 + SIGKILL);
    while (r) r = out.send("more", 10s);
    CHECK(r.error() == parley::errc::peer_lost);
    ::close(fd);
    ::close(line[0]);
    ::close(line[1]);
}
