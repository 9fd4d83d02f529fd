// SPDX-License-Identifier: MIT
// Logs in files: places, followers, seeking, rotation, levels, damage.
#include <parley/transport/file.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <poll.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::file;
using parley::level;
using parley::log_start;
using parley::open_receiver;
using parley::open_sender;
using parley::uri;

static_assert(parley::transport<file>);

namespace {

void send_all(const file& at, int first, int last) {
    auto out = open_sender<int>(at).value();
    for (int i = first; i < last; ++i) out.send(i).value();
}
/// Everything that can be received now, without the ends.
template <class Receiver>
std::vector<int> drain(Receiver&& in) {
    std::vector<int> all;
    for (;;) {
        const auto v = in.try_receive();
        if (v) {
            all.push_back(*v);
        } else if (v.error() != errc::closed) {
            CHECK(v.error() == errc::would_block);
            return all;
        }
    }
}
std::vector<int> numbers(int first, int last) {
    std::vector<int> all;
    for (; first < last; ++first) all.push_back(first);
    return all;
}
/// What the ends say in path.ends.
parley::store::ends_page ends_of(const file& at) {
    parley::store::ends_page p;
    std::ifstream(at.path + ".ends", std::ios::binary).read(reinterpret_cast<char*>(&p), sizeof p);
    return p;
}
void change(const std::string& path, std::uint64_t offset, const std::string& text) {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(static_cast<std::streamoff>(offset));
    f << text;
}
/// The byte at which record n (from 0) of messages of 4 bytes begins.
std::uint64_t record_at(int n) {
    return parley::store::log_header_bytes +
           static_cast<std::uint64_t>(n) * parley::store::record_stride(4);
}
file followed(const std::string& path, log_start from = log_start::first) {
    return file(path, {.from = from});
}

}  // namespace

TEST_CASE("file: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"file:///var/log/ticks", "file://x?from=next&await=written",
          "file:///x?capacity_bytes=65536&message_bytes_max=100&rotate_bytes=8192&keep=2&from=first"
          "&await=synced&mode=640"}) {
        const auto at = file::from(uri(text), why);
        INFO(why.text());
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
    }
    for (const char* text : {"file://", "file://x?from=7", "file://x?rotate_bytes=1",
                             "file://x?await=never", "file://x?mode=888", "file://x?slots=1"}) {
        CHECK(file::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("file: what was sent before is received later, by one receiver after another") {
    const temporary_directory dir;
    const file at(dir / "log");
    send_all(at, 0, 10);
    {
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 4; ++i) CHECK(in.receive().value() == i);
    }
    send_all(at, 10, 12);
    auto in = open_receiver<int>(at).value();
    CHECK(drain(in) == numbers(4, 12));
}

TEST_CASE("file: followers see every message, keep no place and hold nobody up") {
    const watchdog dog("followers");
    const temporary_directory dir;
    const file at(dir / "log", {.capacity_bytes = 8192});
    diagnostics why;
    CHECK(open_receiver<int>(followed(at.path), expired, &why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains(at.path));
    send_all(at, 0, 5);
    auto in = open_receiver<int>(at).value();
    auto first = open_receiver<int>(followed(at.path)).value();
    auto second = open_receiver<int>(followed(at.path)).value();
    auto next = open_receiver<int>(followed(at.path, log_start::next)).value();
    CHECK(first.limits().readers_max > 1000);
    CHECK(in.limits().readers_max == 1);
    CHECK(drain(first) == numbers(0, 5));
    CHECK(drain(next).empty());
    send_all(at, 5, 8);
    CHECK(drain(first) == numbers(5, 8));
    CHECK(drain(second) == numbers(0, 8));
    CHECK(drain(next) == numbers(5, 8));
    CHECK(drain(in) == numbers(0, 8));
    // Only the receiver's place makes room.
    auto out = open_sender<int>(at).value();
    int sent = 8;
    while (out.try_send(sent)) ++sent;
    CHECK(drain(first) == numbers(8, sent));
    CHECK(out.try_send(sent).error() == errc::would_block);
    CHECK(drain(in) == numbers(8, sent));
    CHECK(out.try_send(sent));
}

TEST_CASE("file: a reader seeks by number and by time") {
    const temporary_directory dir;
    const file at(dir / "log", {.rotate_bytes = 4096});
    std::vector<std::uint64_t> number, time;
    {
        auto out = open_sender<int>(at).value();
        for (int i = 0; i < 300; ++i) {
            out.send(i).value();
            number.push_back(out.end().sequence());
        }
    }
    auto in = open_receiver<int>(followed(at.path)).value();
    for (int i = 0; i < 300; ++i) {
        REQUIRE(in.receive().value() == i);
        CHECK(in.end().sequence() == number[static_cast<std::size_t>(i)]);
        time.push_back(in.end().time());
    }
    CHECK(std::is_sorted(time.begin(), time.end()));
    for (const int i : {250, 0, 299, 77}) {
        const auto n = static_cast<std::size_t>(i);
        REQUIRE(in.end().seek_sequence(number[n]));
        CHECK(in.receive().value() == i);
        REQUIRE(in.end().seek_time(time[n]));
        const int found = in.receive().value();
        CHECK(time[static_cast<std::size_t>(found)] == time[n]);
        CHECK((found == 0 || time[static_cast<std::size_t>(found) - 1] < time[n]));
    }
    CHECK(in.end().seek_sequence(1'000'000).error() == errc::not_found);
    CHECK(drain(in).empty());
    auto one = open_receiver<int>(at).value();
    CHECK(drain(one) == numbers(0, 300));
    REQUIRE(one.end().seek_sequence(number[290]));
    one.close().value();
    auto other = open_receiver<int>(at).value();
    CHECK(drain(other) == numbers(290, 300));  // the place was moved
}

TEST_CASE("file: rotation keeps what was not received, and so many files as it is told") {
    const temporary_directory dir;
    const file at(dir / "log", {.rotate_bytes = 4096, .keep = 2});
    parley::store::real_files fs;
    const parley::store::log_names names{at.path};
    auto out = open_sender<int>(at).value();
    auto late = open_receiver<int>(followed(at.path, log_start::next));
    REQUIRE(late);
    for (int i = 0; i < 1000; ++i) out.send(i).value();
    CHECK(names.all_older(fs).size() > 10);  // nobody has received them
    auto in = open_receiver<int>(at).value();
    CHECK(drain(in) == numbers(0, 1000));
    for (int i = 1000; i < 1200; ++i) out.send(i).value();
    CHECK(names.all_older(fs).size() <= 4);
    CHECK(drain(in) == numbers(1000, 1200));
    // A follower that nobody waited for is told, and goes on with what is there.
    int next = late->receive().value();
    CHECK(next == 0);
    for (;;) {
        const auto v = late->try_receive();
        if (!v && v.error() == errc::lagged) {
            CHECK_THAT(late->why().text(), contains("was removed"));
            next = late->receive().value();
            break;
        }
        REQUIRE(v);
        CHECK(*v == ++next);
    }
    CHECK(next > 700);
    CHECK(drain(*late) == numbers(next + 1, 1200));
    out.close().value();
    diagnostics why;
    REQUIRE(at.remove(why));
    CHECK(dir.entries() == 0);
    CHECK(at.remove(why).error() == errc::not_found);
}

TEST_CASE("file: many messages share one write, and reach stable storage by one await") {
    const temporary_directory dir;
    const file at(dir / "log");
    auto out = open_sender<std::uint64_t>(at).value();
    auto in = open_receiver<std::uint64_t>(at).value();
    for (std::uint64_t i = 0; i < 100; ++i) {
        auto l = out.end().try_loan(8);
        REQUIRE(l);
        parley::store_le(l->bytes().data(), i);
        REQUIRE(out.end().try_commit(std::move(*l)));
    }
    CHECK(in.try_receive().error() == errc::would_block);  // committed, not written
    REQUIRE(out.end().await(level::visible));
    for (std::uint64_t i = 0; i < 100; ++i) CHECK(in.try_receive().value() == i);
    REQUIRE(out.end().await(level::written));
    REQUIRE(out.end().await(level::synced));
    file synced(dir / "synced", {.await = level::synced});
    open_sender<int>(synced).value().send(1).value();
    CHECK(drain(*open_receiver<int>(synced)) == numbers(1, 2));
}

TEST_CASE("file: a log of another type is refused with both, from either side") {
    const temporary_directory dir;
    const file at(dir / "log");
    open_sender<int>(at).value().send(1).value();
    diagnostics why;
    const std::string ours(parley::codec<float>::type.description);
    const std::string theirs(parley::codec<int>::type.description);
    CHECK(open_sender<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));
    CHECK(open_receiver<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));
    CHECK(open_receiver<float>(followed(at.path), expired, &why).error() == errc::incompatible);
    // One that a receiver of any type made is of its first sender's type.
    const file open(dir / "open");
    auto any = open.open_source({parley::any_type, expired, &why}).value();
    auto number = open_receiver<float>(followed(open.path)).value();
    auto out = open_sender<int>(open).value();
    out.send(3).value();
    CHECK(any.try_receive());
    CHECK(number.try_receive().error() == errc::incompatible);
    CHECK_THAT(number.why().text(), contains(ours) && contains(theirs));
    CHECK(open_sender<float>(open, expired, &why).error() != errc::would_block);
}

TEST_CASE("file: a flipped bit is told with its place, and what is before it is read") {
    const temporary_directory dir;
    const file at(dir / "log");
    send_all(at, 0, 10);
    change(at.path, record_at(6) + 41, "x");
    {
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 6; ++i) CHECK(in.try_receive().value() == i);
        for (int i = 0; i < 3; ++i) {
            CHECK(in.try_receive().error() == errc::corrupt);
            CHECK_THAT(in.why().text(),
                       contains("damaged at byte " + std::to_string(record_at(6))));
        }
        // The next sender cuts off what was never synced, and keeps it.
        auto out = open_sender<int>(at).value();
        CHECK_THAT(out.end().note(), contains("damaged at byte") && contains(".cut."));
        out.send(66).value();
        CHECK(drain(in) == numbers(66, 67));
    }
    diagnostics why;
    change(at.path, 20, "y");
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("header"));
}

TEST_CASE("file: damage in what was synced is never cut off") {
    const temporary_directory dir;
    const file at(dir / "log", {.await = level::synced});
    send_all(at, 0, 10);
    change(at.path, record_at(6) + 41, "x");
    diagnostics why;
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("in what was synced"));
    auto in = open_receiver<int>(followed(at.path)).value();
    for (int i = 0; i < 6; ++i) CHECK(in.try_receive().value() == i);
    CHECK(in.try_receive().error() == errc::corrupt);
}

TEST_CASE("file: who sleeps for a message is told that the log was truncated") {
    const watchdog dog("a truncated log");
    const temporary_directory dir;
    const file at(dir / "log");
    auto out = open_sender<int>(at).value();
    auto in = open_receiver<int>(at).value();
    int v = 0;
    for (int i = 0; i < 3; ++i) {  // two of them are awaited
        std::thread later([&] { out.send(i).value(); });
        in.receive(v).value();
        CHECK(v == i);
        later.join();
    }
    std::thread later(
        [&] { std::filesystem::resize_file(at.path, parley::store::log_header_bytes); });
    CHECK(in.receive(v).error() == errc::corrupt);
    CHECK_THAT(in.why().text(), contains("was cut off"));
    later.join();
}

TEST_CASE("file: an empty message waits for room, and for the disk, as any other does") {
    const temporary_directory dir;
    file bounded(dir / "bounded");
    bounded.with.capacity_bytes = 4096;
    auto out = open_sender<std::string>(bounded).value();
    std::size_t sent = 0;
    while (out.try_send("") && sent < 1000) ++sent;
    CHECK(sent > 10);
    CHECK(sent < 110);
    CHECK(out.try_send("").error() == errc::would_block);

    file synced(dir / "synced");
    synced.with.await = level::synced;
    auto safe = open_sender<std::string>(synced).value();
    parley::diagnostics why;
    for (const char* text : {"x", "", "y", ""}) {
        safe.send(text).value();
        CHECK(ends_of(synced).synced == ends_of(synced).tail);
    }
}

TEST_CASE("file: a truncated log is told, and what is left is read") {
    const temporary_directory dir;
    const file at(dir / "log");
    for (const std::uint64_t left : {record_at(6) + 13, record_at(6)}) {
        diagnostics why;
        (void)at.remove(why);
        send_all(at, 0, 10);
        std::filesystem::resize_file(at.path, left);
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 6; ++i) CHECK(in.try_receive().value() == i);
        CHECK(in.try_receive().error() == errc::corrupt);
        CHECK_THAT(in.why().text(), contains("was cut off"));
        auto out = open_sender<int>(at).value();
        out.send(70).value();
        CHECK(drain(in) == numbers(70, 71));
    }
}

TEST_CASE("file: other people's files are left alone") {
    const temporary_directory dir;
    const file at(dir / "log");
    std::ofstream(at.path) << "dear diary";
    diagnostics why;
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("no log of parley"));
    CHECK(at.remove(why).error() == errc::corrupt);
    CHECK(std::filesystem::file_size(at.path) == 10);
    CHECK(open_sender<int>(file(dir / "gone/log"), expired, &why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains("gone/log"));
    CHECK(open_sender<int>(file(dir.path().string()), expired, &why).error() == errc::corrupt);
    CHECK(!std::filesystem::exists(dir.path().string() + ".ends"));
    CHECK(dir.entries() == 1);
    CHECK(open_sender<int>(file(dir / "x", {.capacity_bytes = 7}), expired, &why).error() ==
          errc::invalid_argument);
}
