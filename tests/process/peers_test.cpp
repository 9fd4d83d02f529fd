// SPDX-License-Identifier: MIT
// A receiver is told which of its senders died, also while others live, and who came after.
#include <parley/pubsub.hpp>
#include <parley/transport/all.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;

namespace {

/// Three senders, each in a process of its own; one dies, one closes, then one more comes.
template <class Receiver, class Send>
void lose_one(Receiver& in, Send send) {
    std::vector<pid_t> lost, back;
    in.on_peer_lost([&](pid_t pid) { lost.push_back(pid); });
    in.on_peer_back([&](pid_t pid) { back.push_back(pid); });
    gate done;
    const auto body = [&](bool closes) {
        return [&, closes] {
            auto out = send(1);
            closes ? done.pass() : void(::pause());
            return out.close() ? 0 : 1;
        };
    };
    const auto receive_one = [&] {
        const auto got = in.receive(20s);
        INFO(in.why().text());
        CHECK(got.value() == 1);
    };
    child stays(body(false)), dies(body(false)), leaves(body(true));
    for (int i = 0; i < 3; ++i) receive_one();
    CHECK((lost.empty() && back.empty()));
    done.open();
    CHECK(leaves.wait() == 0);
    const pid_t dead = dies.pid();
    dies.kill();
    while (lost.empty()) CHECK(in.receive(60ms).error() == parley::errc::timed_out);
    CHECK(lost == std::vector{dead});
    CHECK(back.empty());

    child comes(body(false));
    receive_one();
    CHECK(in.try_receive().error() == parley::errc::would_block);  // it may be told after a message
    CHECK(back == std::vector{comes.pid()});
    child another(body(false));  // nobody is missing any more
    receive_one();
    CHECK(in.try_receive().error() == parley::errc::would_block);
    CHECK(back.size() == 1);
    another.kill(), comes.kill(), stays.kill();
    while (lost.size() < 4) {
        const auto e = in.receive(60ms).error();
        CHECK((e == parley::errc::timed_out || e == parley::errc::peer_lost));
    }
    CHECK(in.peers_lost() == 4);
}

}  // namespace

TEST_CASE("peers: a channel's receiver is told of each death, and of who comes after") {
    const watchdog dog("peers: channels");
    const unique_name name("peers");
    const temporary_directory dir;
    const std::string at = dir / "at";
    for (const std::string& text :
         {"shm://" + name.text(), "unix://" + at, "unix://" + at + "?type=seqpacket",
          "unix://" + at + "?type=datagram", "fifo://" + at, std::string("tcp://127.0.0.1:0"),
          "signals://" + name.text()}) {
        INFO(text);
        auto in = parley::open_receiver<int>(parley::uri(text)).value();
        const auto address = in.address();
        lose_one(in, [&](int n) {
            auto out = parley::open_sender<int>(address).value();
            out.send(n).value();
            return out;
        });
        REQUIRE(in.close());
    }
}

TEST_CASE("peers: a subscriber is told of each publisher's death, and of who comes after") {
    const watchdog dog("peers: topics");
    const unique_name name("peers");
    const parley::shm at(name, {.capacity_bytes = 8192, .writers_max = 8});
    const auto publish = [&](int n) {
        auto out = parley::open_publisher<int>(at, parley::when_full::block{}).value();
        out.publish(n).value();
        return out;
    };
    // Who comes late does not get what was published before.
    auto first = parley::open_publisher<int>(at, parley::when_full::block{}).value();
    auto in = parley::open_subscriber<int>(at).value();
    lose_one(in, publish);
}
