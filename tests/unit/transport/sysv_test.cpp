// SPDX-License-Identifier: MIT
// System V message queues: types and selecting, names and keys, capacity, removal, what is left.
#include <parley/transport/sysv.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/queues.hpp"

#include <parley/channel.hpp>

#include <fstream>
#include <string>
#include <vector>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::framing;
using parley::open_receiver;
using parley::open_sender;
using parley::sysv;
using parley::uri;
using own_sysv = own_queue<sysv>;

static_assert(parley::transport<sysv>);

namespace {

std::string words_of_sender(const sysv& at, parley::error_code ec) {
    diagnostics why;
    const auto out = open_sender<int>(at, expired, &why);
    REQUIRE(!out);
    CHECK(out.error() == ec);
    return why.text();
}
std::string file_of(const sysv& at) { return at.with.directory + "/parley-sysv." + at.name; }
int id_of(const sysv& at) {
    diagnostics why;
    return ::msgget(static_cast<key_t>(at.look(why).value().key), 0);
}

}  // namespace

TEST_CASE("sysv: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text : {"sysv://jobs",
                             "sysv://jobs?capacity_bytes=4096&type=7&select=-9&shared=yes"
                             "&mode=660&directory=/tmp",
                             "sysv://jobs?frame=none"}) {
        const auto at = sysv::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(sysv::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"sysv://", "sysv://x?type=0", "sysv://x?select=-2147483648",
                             "sysv://x?mode=9", "sysv://x?key=1"}) {
        CHECK(sysv::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("sysv: a receiver of everything gets messages of all types in order, and the end") {
    const own_sysv at;
    auto out = open_sender<int>(*at).value();
    for (const int i : {3, 1, 2}) {
        out.end().type(static_cast<std::uint32_t>(i));
        out.send(i).value();
    }
    out.close();
    auto in = open_receiver<int>(*at).value();
    for (const int i : {3, 1, 2}) {
        CHECK(in.try_receive().value() == i);
        CHECK(in.end().type() == static_cast<std::uint32_t>(i));
    }
    CHECK(in.try_receive().error() == errc::closed);
    CHECK(in.try_receive().error() == errc::would_block);
}

TEST_CASE("sysv: receivers that select get their types, the lowest first, and hear of no ends") {
    const own_sysv at;
    auto five = open_sender<int>(at.with({.type = 5})).value();
    auto out = open_sender<int>(*at).value();
    for (const int i : {4, 2, 3, 2, 9}) {
        out.end().type(static_cast<std::uint32_t>(i));
        out.send(i).value();
    }
    five.send(5).value();
    five.close();
    auto twos = open_receiver<int>(at.with({.select = 2})).value();
    auto low = open_receiver<int>(at.with({.select = -5})).value();
    CHECK(twos.limits().readers_max > 1);
    CHECK(twos.try_receive().value() == 2);
    for (const int i : {2, 3, 4, 5}) CHECK(low.try_receive().value() == i);
    CHECK(low.try_receive().error() == errc::would_block);
    CHECK(twos.try_receive().error() == errc::would_block);
    diagnostics why;
    CHECK(open_receiver<int>(*at, expired, &why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("?select="));
    low.close();
    twos.close();
    CHECK(open_receiver<int>(*at).value().try_receive().value() == 9);
}

TEST_CASE("sysv: there is no descriptor, and it is said so") {
    const own_sysv at;
    auto in = open_receiver<int>(*at).value();
    auto out = open_sender<int>(*at).value();
    CHECK(!in.limits().pollable);
    CHECK(in.pollable().error() == errc::unsupported);
    CHECK_THAT(in.why().text(), contains("mq://"));
    CHECK(out.pollable().error() == errc::unsupported);
}

TEST_CASE("sysv: a queue of another capacity is refused, and a small one is full soon") {
    const own_sysv at({.capacity_bytes = 100});
    auto out = open_sender<std::string>(*at).value();
    CHECK(out.limits().message_bytes_max == 84);
    CHECK_THAT(words_of_sender(at.with({.capacity_bytes = 200}), errc::incompatible),
               contains("holds 100 bytes"));
    CHECK(out.try_send(std::string(85, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("/proc/sys/kernel/msgmax"));
    out.try_send(std::string(84, 'x')).value();
    CHECK(out.try_send("").error() == errc::would_block);
    auto in = open_receiver<std::string>(at.with({})).value();
    CHECK(in.try_receive().value() == std::string(84, 'x'));
    out.try_send(std::string(30, 'y')).value();
    CHECK(in.try_receive().value() == std::string(30, 'y'));
    diagnostics why;
    const auto seen = at->look(why).value();
    CHECK(seen.bytes_max == 100);
    CHECK((seen.sender && seen.receiver));
}

TEST_CASE("sysv: a capacity that only root may have is refused with the kernel's limit") {
    if (::geteuid() != 0) return;
    const temporary_directory dir;
    std::filesystem::permissions(dir.path(), std::filesystem::perms::all);
    child c([&] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 1;
        const own_sysv at({.capacity_bytes = 1 << 30, .directory = dir.path().string()});
        diagnostics why;
        const auto out = open_sender<int>(*at, expired, &why);
        if (out || out.error() != errc::out_of_resources) return 2;
        if (why.text().find("/proc/sys/kernel/msgmnb is ") == std::string::npos) return 3;
        return dir.entries() == 0 ? 0 : 4;  // nothing is left of the attempt
    });
    CHECK(c.wait() == 0);
}

TEST_CASE("sysv: two names whose keys collide are two queues") {
    const own_sysv one;
    // Somebody else has the key that the name would have.
    auto out = open_sender<int>(*one).value();
    const int first = id_of(*one);
    REQUIRE(first >= 0);
    REQUIRE(std::filesystem::remove(file_of(*one)));  // an orphan keeps the key
    auto other = open_sender<int>(*one).value();
    const int second = id_of(*one);
    CHECK(first != second);
    out.send(1).value();
    other.send(2).value();
    CHECK(open_receiver<int>(*one).value().try_receive().value() == 2);
    CHECK(::msgctl(first, IPC_RMID, nullptr) == 0);
}

TEST_CASE("sysv: a queue removed behind the back is told to its ends, and made again") {
    const own_sysv at;
    auto out = open_sender<int>(*at).value();
    auto in = open_receiver<int>(*at).value();
    REQUIRE(::msgctl(id_of(*at), IPC_RMID, nullptr) == 0);
    diagnostics why;
    CHECK(at->look(why).error() == errc::not_found);
    CHECK(out.send(1).error() == errc::peer_lost);
    CHECK_THAT(out.why().text(), contains("was removed"));
    CHECK(in.receive().error() == errc::peer_lost);
    CHECK(in.receive().error() == errc::peer_lost);
    in.close();
    auto again = open_sender<int>(*at).value();
    again.send(2).value();
    CHECK(open_receiver<int>(*at).value().try_receive().value() == 2);
}

TEST_CASE("sysv: a queue whose maker died before it wrote the number down is adopted") {
    const own_sysv at;
    { auto made = open_receiver<int>(*at).value(); }
    const int id = id_of(*at);
    std::fstream file(file_of(*at), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(16);
    file.write("\xff\xff\xff\xff", 4);
    file.close();
    auto out = open_sender<int>(*at).value();
    out.send(1).value();
    CHECK(id_of(*at) == id);
}

TEST_CASE("sysv: remove takes queue and file; a file that is no name is left alone") {
    const own_sysv at;
    auto out = open_sender<int>(*at).value();
    const int id = id_of(*at);
    diagnostics why;
    REQUIRE(at->remove(why));
    CHECK(!std::filesystem::exists(file_of(*at)));
    msqid_ds gone{};
    CHECK(::msgctl(id, IPC_STAT, &gone) != 0);
    CHECK(at->remove(why).error() == errc::not_found);
    CHECK(out.send(1).error() == errc::peer_lost);
    std::ofstream(file_of(*at)) << "dear diary, today I was read by a stranger";
    CHECK_THAT(words_of_sender(*at, errc::corrupt), contains("left alone"));
    CHECK(at->remove(why).error() == errc::corrupt);
    CHECK(std::filesystem::exists(file_of(*at)));
}

TEST_CASE("sysv: foreign programs are met by key, without frames") {
    const own_sysv at({.frame = framing::none});
    auto in = open_receiver<std::string>(*at).value();
    const struct {
        long type = 8;
        char text[5] = {'h', 'e', 'l', 'l', 'o'};
    } message;
    REQUIRE(::msgsnd(id_of(*at), &message, sizeof message.text, 0) == 0);
    CHECK(in.try_receive().value() == "hello");
    CHECK(in.end().type() == 8);
    auto framed = open_sender<int>(at.with({})).value();
    framed.send(1).value();
    CHECK(in.try_receive().value().size() > 16 + sizeof(int));
}

TEST_CASE("sysv: many that open a new name at once meet in one queue") {
    for (int round = 0; round < 20; ++round) {
        const own_sysv at;
        gate start;
        std::vector<child> all;
        for (int i = 0; i < 4; ++i) {
            all.emplace_back([&] {
                start.pass();
                return open_sender<int>(*at).value().send(1) ? 0 : 1;
            });
        }
        start.open(4);
        for (auto& c : all) CHECK(c.wait() == 0);
        auto in = open_receiver<int>(*at).value();
        for (int i = 0; i < 4; ++i) CHECK(in.try_receive().value() == 1);
        CHECK(in.try_receive().error() == errc::closed);
    }
}
