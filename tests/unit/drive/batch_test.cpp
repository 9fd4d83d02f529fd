// SPDX-License-Identifier: MIT
#include <parley/drive/batch.hpp>

#include <parley/channel.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/queues.hpp"
#include "support/watchdog.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace {

using parley::errc;
using namespace std::chrono_literals;

struct tick {
    std::uint32_t id;
    double price;
};

template <class T>
std::vector<T> numbered(std::size_t n);
template <>
std::vector<tick> numbered(std::size_t n) {
    std::vector<tick> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = {static_cast<std::uint32_t>(i), 0.5};
    return all;
}
template <>
std::vector<std::string> numbered(std::size_t n) {
    std::vector<std::string> all(n);
    for (std::size_t i = 0; i < n; ++i) all[i] = std::string(i % 50, 'x') + std::to_string(i);
    return all;
}
bool same(const tick& a, const tick& b) { return a.id == b.id && a.price == b.price; }
bool same(const std::string& a, const std::string& b) { return a == b; }

/// All of a great batch comes, whole and in order, in batches of another size; then its end, once.
template <class T, class Address>
void send_and_receive_batches(const Address& at) {
    parley_test::watchdog dog("batches");
    const auto all = numbered<T>(1000);
    auto ends = parley::make_channel<T>(at).value();
    std::jthread sender([&] {
        auto tx = std::move(ends.tx);
        if (tx.send_many(all).value() != all.size()) std::abort();
        tx.close().value();
    });
    std::vector<T> some(37);
    std::size_t next = 0;
    for (;;) {
        const auto n = ends.rx.receive_many(some);
        if (!n) {
            CHECK(n.error() == errc::closed);
            break;
        }
        REQUIRE(*n > 0);
        REQUIRE(*n <= some.size());
        for (std::size_t i = 0; i < *n; ++i) REQUIRE(same(some[i], all[next++]));
    }
    CHECK(next == all.size());
}

}  // namespace

TEST_CASE("batches: all messages come, in order, and then the end") {
    const parley::shm little({.capacity_bytes = 4096});
    send_and_receive_batches<tick>(little);
    send_and_receive_batches<std::string>(little);
    send_and_receive_batches<tick>(parley::pipe{});
    send_and_receive_batches<std::string>(parley::pipe{});
    send_and_receive_batches<tick>(parley::uds({.type = parley::uds::stream}));
    send_and_receive_batches<std::string>(parley::uds({.type = parley::uds::seqpacket}));
}

TEST_CASE("batches: what has no room is not sent, and the number says so") {
    auto ends = parley::make_channel<tick>(parley::shm({.capacity_bytes = 4096})).value();
    const auto all = numbered<tick>(1000);
    const auto n = ends.tx.send_many(all, 0ms).value();
    CHECK(n > 100);
    CHECK(n < all.size());
    CHECK(ends.tx.send_many(all, 0ms).error() == errc::would_block);
    CHECK(ends.tx.send_many(all, 1ms).error() == errc::timed_out);
    std::vector<tick> some(1000);
    std::size_t got = 0;
    while (const auto more = ends.rx.receive_many(some, 0ms)) got += *more;
    CHECK(got == n);
    CHECK(ends.rx.receive_many(some, 0ms).error() == errc::would_block);
    CHECK(ends.tx.send_many({}).value() == 0);
    CHECK(ends.rx.receive_many({}).value() == 0);
}

TEST_CASE("batches: the end of a batch that messages came before is said by the next call") {
    auto ends = parley::make_channel<std::string>(parley::shm{}).value();
    const auto all = numbered<std::string>(3);
    CHECK(ends.tx.send_many(all).value() == 3);
    CHECK(ends.tx.close());
    std::vector<std::string> some(9);
    CHECK(ends.rx.receive_many(some).value() == 3);
    CHECK(ends.rx.receive().error() == errc::closed);
}

TEST_CASE("batches: the end that a batch left over is said before the next sender's messages") {
    const parley_test::watchdog dog("left over");
    const parley_test::own_queue<parley::mq> at;
    auto rx = parley::open_receiver<tick>(*at).value();
    const auto send_one = [&](std::uint32_t id) {
        auto tx = parley::open_sender<tick>(*at).value();
        tx.send({id, 0.5}).value();
        tx.close().value();
    };
    send_one(1);
    std::array<tick, 4> some{};
    CHECK(rx.receive_many(some).value() == 1);
    send_one(2);
    tick t{};
    CHECK(rx.receive(t, 0ms).error() == errc::closed);
    rx.receive(t, 0ms).value();
    CHECK(t.id == 2);
    CHECK(rx.receive(t, 0ms).error() == errc::closed);
}

TEST_CASE("batches: a message that is too long ends the batch before it") {
    auto ends = parley::make_channel<std::string>(parley::shm({.capacity_bytes = 4096})).value();
    const std::vector<std::string> all{"one", std::string(5000, 'x'), "three"};
    CHECK(ends.tx.send_many(all).value() == 1);
    CHECK(ends.tx.send_many(std::span(all).subspan(1)).error() == errc::message_too_large);
}
