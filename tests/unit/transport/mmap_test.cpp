// SPDX-License-Identifier: MIT
// Rings in mapped files: places, levels, types, damage.
#include <parley/transport/mmap.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <fstream>
#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::level;
using parley::open_receiver;
using parley::open_sender;
using parley::uri;
using ring = parley::mmap;  // ::mmap is a function

static_assert(parley::transport<ring>);

namespace {

void send_all(const ring& at, int first, int last) {
    auto out = open_sender<int>(at).value();
    for (int i = first; i < last; ++i) out.send(i).value();
}
void change(const std::string& path, std::uint64_t offset, const std::string& text) {
    std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(static_cast<std::streamoff>(offset));
    f << text;
}
/// The byte at which record n (from 0) of messages of 4 bytes begins.
std::uint64_t record_at(int n) {
    return parley::store::ring_offset +
           static_cast<std::uint64_t>(n) * parley::store::record_stride(4);
}

}  // namespace

TEST_CASE("mmap: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text : {"mmap:///var/ring", "mmap://x?await=written",
                             "mmap:///x?capacity_bytes=65536&wait=park&await=synced&mode=640"}) {
        const auto at = ring::from(uri(text), why);
        INFO(why.text());
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
    }
    for (const char* text : {"mmap://", "mmap://x?capacity_bytes=5000", "mmap://x?wait=nap",
                             "mmap://x?await=never", "mmap://x?mode=888", "mmap://x?slots=1"}) {
        CHECK(ring::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("mmap: what was sent before is received later, by one receiver after another") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.capacity_bytes = 4096});
    send_all(at, 0, 10);
    {
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 4; ++i) CHECK(in.receive().value() == i);
    }
    send_all(at, 10, 12);
    auto in = open_receiver<int>(ring(at.path)).value();  // of whatever capacity it is
    for (int i = 4; i < 12; ++i) CHECK(in.receive().value() == i);
    CHECK(in.receive().error() == errc::closed);
    CHECK(std::filesystem::file_size(at.path) == parley::store::ring_offset + 4096);
}

TEST_CASE("mmap: all room is reserved when the file is made") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.capacity_bytes = 1 << 20});
    send_all(at, 0, 1);
    struct stat s {};
    REQUIRE(::stat(at.path.c_str(), &s) == 0);
    CHECK(s.st_blocks * 512 >= 1 << 20);
}

TEST_CASE("mmap: messages await stable storage one by one, or together") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.capacity_bytes = 8192, .await = level::synced});
    auto out = open_sender<int>(at).value();
    auto in = open_receiver<int>(at).value();
    for (int i = 0; i < 500; ++i) {  // round and round
        out.send(i).value();
        CHECK(in.receive().value() == i);
    }
    const ring other(dir / "other", {.capacity_bytes = 8192});
    auto many = open_sender<int>(other).value();
    for (int i = 0; i < 50; ++i) many.send(i).value();
    REQUIRE(many.end().await(level::synced));
    CHECK(many.end().note().empty());
}

TEST_CASE("mmap: a ring of another type, capacity or alignment is refused in words") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.capacity_bytes = 8192});
    send_all(at, 0, 1);
    diagnostics why;
    const std::string ours(parley::codec<float>::type.description);
    const std::string theirs(parley::codec<int>::type.description);
    CHECK(open_sender<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));
    CHECK(open_receiver<float>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains(ours) && contains(theirs));
    CHECK(open_sender<int>(ring(at.path, {.capacity_bytes = 4096}), expired, &why).error() ==
          errc::incompatible);
    CHECK_THAT(why.text(), contains("has a capacity of 8192 bytes, not 4096"));
    struct alignas(32) wide {
        int i;
    };
    CHECK(open_sender<wide>(at, expired, &why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("aligns messages to 8"));
    const ring open(dir / "open");
    auto any = open.open_source({parley::any_type, expired, &why}).value();
    auto out = open_sender<int>(open).value();
    out.send(3).value();
    CHECK(any.try_receive());
    any.close(expired).value();
    CHECK(open_receiver<float>(open, expired, &why).error() == errc::incompatible);
}

TEST_CASE("mmap: a receiver that came before its ring had a type takes no other one, ever") {
    const temporary_directory dir;
    const ring at(dir / "ring");
    diagnostics why;
    at.open_source({parley::any_type, expired, &why}).value().close(expired).value();
    auto in = open_receiver<int>(at).value();  // the ring says of no type yet
    auto out = open_sender<float>(at).value();
    for (const float f : {1.F, 2.F, 3.F}) out.send(f).value();
    for (int i = 0; i < 3; ++i) CHECK(in.try_receive().error() == errc::incompatible);
    int into = 0;
    CHECK(in.receive(into, expired).error() == errc::incompatible);
    in.close().value();
    CHECK(in.receive(into, expired).error() == errc::closed);
}

TEST_CASE("mmap: a flipped bit is told with its place, and what is before it is read") {
    const temporary_directory dir;
    const ring at(dir / "ring");
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
        auto out = open_sender<int>(at).value();
        CHECK_THAT(out.end().note(), contains("not synced"));
        out.send(66).value();
        CHECK(in.receive().value() == 66);
    }
    diagnostics why;
    change(at.path, 20, "y");
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("header"));
}

TEST_CASE("mmap: damage in what was synced is never written over") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.await = level::synced});
    send_all(at, 0, 10);
    change(at.path, record_at(6) + 41, "x");
    diagnostics why;
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("in what was synced"));
    auto in = open_receiver<int>(at).value();
    for (int i = 0; i < 6; ++i) CHECK(in.try_receive().value() == i);
    CHECK(in.try_receive().error() == errc::corrupt);
}

TEST_CASE("mmap: a truncated file is told, at open and while it is open, never a SIGBUS") {
    const temporary_directory dir;
    const ring at(dir / "ring", {.capacity_bytes = 8192});
    {
        auto out = open_sender<int>(at).value();
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 4; ++i) out.send(i).value();
        std::filesystem::resize_file(at.path, 2 * 4096 + 4096);  // what was touched is there
        CHECK(in.try_receive().error() == errc::corrupt);
        CHECK_THAT(in.why().text(), contains("was truncated"));
        CHECK(out.end().await(level::synced).error() == errc::corrupt);
    }
    diagnostics why;
    for (const std::uint64_t left : {std::uint64_t{12288}, std::uint64_t{5000}}) {
        std::filesystem::resize_file(at.path, left);
        CHECK(open_receiver<int>(at, expired, &why).error() == errc::corrupt);
        CHECK_THAT(why.text(), contains("was truncated: it has " + std::to_string(left)));
        CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    }
    std::filesystem::resize_file(at.path, 3);
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("no ring of parley"));
}

TEST_CASE("mmap: other people's files are left alone") {
    const temporary_directory dir;
    const ring at(dir / "ring");
    std::ofstream(at.path) << "dear diary, today was a day";
    diagnostics why;
    CHECK(open_sender<int>(at, expired, &why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("no ring of parley"));
    CHECK(at.remove(why).error() == errc::corrupt);
    CHECK(open_sender<int>(ring(dir / "gone/ring"), expired, &why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains("gone/ring"));
    REQUIRE(std::filesystem::remove(at.path));
    send_all(at, 0, 1);
    REQUIRE(at.remove(why));
    CHECK(dir.entries() == 0);
}
