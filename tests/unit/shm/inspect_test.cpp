// SPDX-License-Identifier: MIT
#include <parley/shm/inspect.hpp>

#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"

#include <fstream>
#include <string>

namespace {

struct alignas(128) broad {
    std::byte all[128];
};

std::string path_of(const parley_test::unique_name& name) {
    return "/dev/shm/parley." + name.text();
}

}  // namespace

template <>
struct parley::codec<broad> : parley::opaque<broad> {};

TEST_CASE("segment report: a live segment tells owner, type and writers", "[shm]") {
    const parley_test::unique_name name("report");
    parley::diagnostics why;
    auto in = parley::open_receiver<std::string>(parley::shm{name, {.writers_max = 3}}).value();
    auto seen = parley::segment_report::of(path_of(name), why).value();
    CHECK(seen.alive);
    CHECK(seen.type == "text");
    CHECK(seen.fingerprint == in.type().fingerprint);
    CHECK(seen.owner_pid == static_cast<std::uint32_t>(::getpid()));
    CHECK(seen.same_namespace);
    CHECK(seen.mode == 0600);
    CHECK(seen.writers_max == 3);
    CHECK(seen.message_bytes_max == in.limits().message_bytes_max);
    CHECK(seen.writers.empty());

    auto out = parley::open_sender<std::string>(parley::shm{name}).value();
    seen = parley::segment_report::of(path_of(name), why).value();
    REQUIRE(seen.writers.size() == 1);
    CHECK(seen.writers[0] == static_cast<std::uint32_t>(::getpid()));
}

TEST_CASE("segment report: looking on takes no lane and is no end", "[shm]") {
    const parley_test::unique_name name("passive");
    parley::diagnostics why;
    auto in = parley::open_receiver<std::string>(parley::shm{name, {.writers_max = 1}}).value();
    for (int i = 0; i < 3; ++i) CHECK(parley::segment_report::of(path_of(name), why));
    CHECK(in.try_receive().error() == parley::errc::would_block);
    CHECK(parley::open_sender<std::string>(parley::shm{name}, parley::expired));
}

TEST_CASE("segment report: what is no segment is told in words", "[shm]") {
    const parley_test::temporary_directory dir;
    const std::string file = dir / "parley.text";
    std::ofstream(file) << std::string(5000, 'x');
    parley::diagnostics why;
    CHECK(parley::segment_report::of(file, why).error() == parley::errc::corrupt);
    CHECK(why.text().find("no segment of parley") != std::string::npos);
    CHECK(parley::segment_report::of(dir / "none", why).error() == parley::errc::not_found);
    CHECK(parley::remove_stale_segment(file, why).error() == parley::errc::corrupt);
    CHECK(parley::segment_files(dir.path().string()) == std::vector<std::string>{file});
}

TEST_CASE("stale segments: a live one is not removed, one without an owner is", "[shm]") {
    const parley_test::unique_name name("stale");
    parley::diagnostics why;
    auto in = parley::open_receiver<std::string>(parley::shm{name}).value();
    CHECK(parley::remove_stale_segment(path_of(name), why).error() == parley::errc::in_use);
    CHECK(why.text().find("live receiver, process") != std::string::npos);

    // What a killed owner leaves: the file, and no lock.
    {
        std::ifstream from(path_of(name), std::ios::binary);
        std::ofstream(path_of(name) + "-left", std::ios::binary) << from.rdbuf();
    }
    const auto left = parley::segment_report::of(path_of(name) + "-left", why);
    REQUIRE(left);
    CHECK_FALSE(left->alive);
    CHECK(parley::remove_stale_segment(path_of(name) + "-left", why));
    CHECK(parley_test::leftovers(name.text() + "-left").empty());
    CHECK(parley::remove_stale_segment(path_of(name) + "-left", why));
}

TEST_CASE("any message: its receiver takes every type, one after the other", "[shm]") {
    const parley_test::unique_name name("any");
    auto in = parley::open_receiver<parley::any_message>(parley::shm{name}).value();
    auto text = parley::open_sender<std::string>(parley::shm{name}).value();
    auto number = parley::open_sender<std::uint32_t>(parley::shm{name}).value();
    CHECK(text.send("hello"));
    CHECK(number.send(7));
    std::size_t bytes = 0;
    for (int i = 0; i < 2; ++i) bytes += (*in.borrow().value()).payload.size();
    CHECK(bytes == 5 + 4);
}

TEST_CASE("any message: a type of wider alignment than the segment's is refused", "[shm]") {
    const parley_test::unique_name name("broad");
    parley::diagnostics why;
    auto in = parley::open_receiver<parley::any_message>(parley::shm{name}).value();
    auto out = parley::open_sender<broad>(parley::shm{name}, parley::expired, &why);
    CHECK(out.error() == parley::errc::incompatible);
    CHECK(why.text().find("aligns messages to 64 bytes") != std::string::npos);
}

TEST_CASE("segment report: what waits in a lane and what went through it is counted", "[shm]") {
    const parley_test::unique_name name("counted");
    parley::diagnostics why;
    auto in = parley::open_receiver<std::string>(parley::shm{name}).value();
    auto out = parley::open_sender<std::string>(parley::shm{name}).value();
    const auto look = [&](const parley::segment_report* before = nullptr) {
        auto seen = parley::segment_report::of(path_of(name), why, before).value();
        REQUIRE(seen.lanes.size() == 1);
        return seen;
    };
    auto seen = look();
    CHECK(seen.lanes[0].alive);
    CHECK(seen.lanes[0].waiting == 0);
    for (std::size_t i = 0; i < 200; ++i) out.send(std::string(i, 'x')).value();
    seen = look();
    CHECK(seen.lanes[0].waiting == 200);
    CHECK_FALSE(seen.lanes[0].estimated);

    for (int i = 0; i < 150; ++i) (void)in.receive().value();
    (void)in.try_borrow().value();  // lets go of what was received
    const auto then = look(&seen);
    CHECK(then.lanes[0].passed == 151);
    CHECK(then.lanes[0].passed_bytes == 150 * 151 / 2);
    CHECK(then.lanes[0].waiting == 49);
    CHECK_FALSE(then.lanes[0].estimated);
    CHECK(look(&then).lanes[0].passed == 0);

    // So many that they are estimated: of one length, so exactly.
    while (in.try_receive()) {
    }
    const auto empty = look();
    for (int i = 0; i < 1000; ++i) out.send(std::string(20, 'x')).value();
    CHECK(look().lanes[0].waiting > 990);  // the writer's hint is up to 512 bytes behind
    CHECK(look().lanes[0].waiting <= 1000);
    CHECK(look().lanes[0].estimated);
    while (in.try_receive()) {
    }
    CHECK(look(&empty).lanes[0].passed == 1000);
    CHECK(look(&empty).lanes[0].passed_bytes == 20000);
}

TEST_CASE("segment report: more than a ring that went through is told by the last", "[shm]") {
    const parley_test::unique_name name("lapped");
    parley::diagnostics why;
    const std::size_t length = GENERATE(100U, 100'000U);
    const parley::shm at{name, {.capacity_bytes = 1 << 18}};
    auto in = parley::open_receiver<std::string>(at).value();
    auto out = parley::open_sender<std::string>(at).value();
    const auto before = parley::segment_report::of(path_of(name), why).value();
    for (int i = 0; i < 5000; ++i) {
        out.send(std::string(length, 'x')).value();
        (void)in.receive().value();
    }
    const auto seen = parley::segment_report::of(path_of(name), why, &before).value();
    CHECK(seen.lanes.at(0).passed == 5000);
    CHECK(seen.lanes.at(0).passed_bytes == 5000 * length);
    CHECK(seen.lanes.at(0).estimated);
}

TEST_CASE("segment report: a lane that lies is looked at without harm", "[shm]") {
    const parley_test::unique_name name("lies");
    parley::diagnostics why;
    auto in = parley::open_receiver<std::string>(parley::shm{name}).value();
    auto out = parley::open_sender<std::string>(parley::shm{name}).value();
    out.send("x").value();
    const auto before = parley::segment_report::of(path_of(name), why).value();
    std::fstream file(path_of(name), std::ios::in | std::ios::out | std::ios::binary);
    for (const std::uint64_t word :
         {~std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{1} << 63, std::uint64_t{1} << 20}) {
        for (const std::size_t at :
             {parley::shm_layout::reader_offset + offsetof(parley::shm_layout::reader_page, lanes),
              parley::shm_layout::lanes_offset +
                  offsetof(parley::shm_layout::lane_page, progress)}) {
            file.seekp(static_cast<std::streamoff>(at));
            file.write(reinterpret_cast<const char*>(&word), sizeof word);
            file.flush();
            const auto seen = parley::segment_report::of(path_of(name), why, &before);
            REQUIRE(seen);
            CHECK(seen->lanes.size() == 1);
        }
    }
}
