// SPDX-License-Identifier: MIT
// Snapshots: the last value, for whoever looks.
#include <parley/transport/snapshot.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <poll.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::open_receiver;
using parley::open_sender;
using parley::snapshot;
using parley::uri;

static_assert(parley::transport<snapshot>);

TEST_CASE("snapshot: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"snapshot:///var/state", "snapshot://x?message_bytes_max=100&await=visible&mode=640"}) {
        const auto at = snapshot::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
    }
    for (const char* text : {"snapshot://", "snapshot://x?await=written", "snapshot://x?mode=9"}) {
        CHECK(snapshot::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("snapshot: a receiver gets the value that is there, then the newest, and counts") {
    const temporary_directory dir;
    const snapshot at(dir / "value");
    auto early = open_receiver<std::string>(at).value();
    CHECK(early.try_receive().error() == errc::would_block);
    auto out = open_sender<std::string>(at).value();
    CHECK(out.limits().lossy);
    out.send("one").value();
    auto in = open_receiver<std::string>(at).value();
    CHECK(in.receive().value() == "one");
    CHECK(in.try_receive().error() == errc::would_block);
    for (const char* value : {"two", "three", "four"}) out.send(value).value();
    CHECK(in.receive().value() == "four");
    CHECK(in.end().skipped() == 2);
    CHECK(in.end().sequence() == 4);
    CHECK(early.receive().value() == "four");
    out.close().value();
    CHECK(in.try_receive().error() == errc::would_block);  // the value stays
    auto next = open_sender<std::string>(at).value();
    next.send(std::string(100'000, 'x')).value();
    CHECK(in.receive().value() == std::string(100'000, 'x'));
    CHECK(next.send(std::string(100 << 20, 'x')).error() == errc::message_too_large);
}

TEST_CASE("snapshot: a receiver sleeps until the value is replaced, and its descriptor tells") {
    const watchdog dog("snapshot");
    const temporary_directory dir;
    const snapshot at(dir / "value", {.await = parley::level::visible});
    auto in = open_receiver<int>(at).value();
    child sender([&] {
        auto out = open_sender<int>(at).value();
        for (int i = 0; i < 2000; ++i) out.send(i).value();
        return 0;
    });
    for (int last = -1; last != 1999;) {
        const int value = in.receive().value();
        CHECK(value > last);
        last = value;
    }
    CHECK(sender.wait() == 0);
    pollfd p{in.pollable().value(), POLLIN, 0};
    CHECK(in.try_receive().error() == errc::would_block);
    CHECK(::poll(&p, 1, 0) == 0);
    std::ofstream(dir / "beside") << "another file in the directory";
    auto out = open_sender<int>(at).value();
    out.send(7).value();
    CHECK(::poll(&p, 1, -1) == 1);
    CHECK(in.try_receive().value() == 7);
    pollfd always{out.pollable().value(), POLLIN, 0};
    CHECK(::poll(&always, 1, 0) == 1);
}

TEST_CASE("snapshot: values of an alignment larger than what is read first come whole") {
    struct alignas(16384) page {
        std::array<std::byte, 16384> content;
    };
    const temporary_directory dir;
    const snapshot at(dir / "value");
    auto out = open_sender<page>(at).value();
    auto in = open_receiver<page>(at).value();
    auto p = std::make_unique<page>();
    for (int i = 1; i <= 3; ++i) {
        p->content.fill(std::byte(i));
        out.send(*p).value();
        const auto seen = in.borrow().value();
        CHECK(reinterpret_cast<std::uintptr_t>(&*seen) % alignof(page) == 0);
        CHECK(seen->content == p->content);
    }
}

TEST_CASE("snapshot: other types, second senders, damage and other people's files are told") {
    const temporary_directory dir;
    const snapshot at(dir / "value");
    diagnostics why;
    auto out = open_sender<int>(at).value();
    CHECK(open_sender<int>(at, expired, &why).error() == errc::out_of_resources);
    CHECK_THAT(why.text(), contains("has a live sender"));
    out.send(5).value();
    out.close().value();
    const std::string ours(parley::codec<float>::type.description);
    const std::string theirs(parley::codec<int>::type.description);
    CHECK(open_sender<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));
    CHECK(open_receiver<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));

    auto in = open_receiver<int>(at).value();
    std::fstream f(at.path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(-1, std::ios::end);
    f << 'x' << std::flush;
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("its checksum is wrong"));
    f.seekp(sizeof(parley::store::snapshot_head));  // the description of the type
    f << 'x' << std::flush;
    CHECK(open_receiver<float>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("its type is unreadable"));
    std::filesystem::resize_file(at.path, sizeof(parley::store::snapshot_head) + 5);
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("cut off"));
    open_sender<int>(at).value().send(6).value();  // mends it
    CHECK(open_receiver<int>(at).value().receive().value() == 6);

    std::filesystem::resize_file(at.path, 20);
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("cut off"));
    auto mending = open_sender<int>(at).value();
    mending.send(7).value();
    CHECK(mending.end().sequence() == 1);
    mending.close().value();

    REQUIRE(at.remove(why));
    CHECK(dir.entries() == 0);
    std::ofstream(at.path) << "dear diary, today was a day";
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("no snapshot of parley"));
    CHECK(at.remove(why).error() == errc::corrupt);
    CHECK(open_receiver<int>(snapshot(dir / "gone/x"), expired, &why).error() == errc::not_found);
}
