// SPDX-License-Identifier: MIT
// Where the memory of a segment is, and that it is there before the first message.
#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/sanitizer.hpp"
#include "support/unique.hpp"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using parley_test::child;

namespace {

constexpr std::size_t capacity = std::size_t{4} << 20;
constexpr std::size_t piece = 4096;

/// Page faults of this process while one lap of messages goes through a fresh channel.
long faults_of_a_lap(const parley::memory_options& memory) {
    auto ends = parley::make_channel<std::string_view>(
                    parley::shm({.capacity_bytes = capacity, .memory = memory}))
                    .value();
    const std::string text(piece, 'x');
    // What only the first message brings in: code, and pages of the process itself.
    REQUIRE(ends.tx.try_send(text));
    REQUIRE(ends.rx.try_borrow());
    rusage before{}, after{};
    ::getrusage(RUSAGE_SELF, &before);
    for (std::size_t i = 0; i < capacity / piece; ++i) {
        if (!ends.tx.try_send(text) || !ends.rx.try_borrow()) return -1;
    }
    ::getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
}

/// What a sanitizer does with memory is not what is measured here.
bool is_left_out() {
    if (parley_test::shadows_memory) std::cout << "skipped: a sanitizer shadows the memory\n";
    return parley_test::shadows_memory;
}

/// The kilobytes that a file of /proc gives for `field`, summed up.
long kilobytes(const char* path, const std::string& field) {
    std::ifstream in(path);
    long sum = 0;
    for (std::string word; in >> word;) {
        long n = 0;
        if (word == field + ":" && in >> n) sum += n;
    }
    return sum;
}

}  // namespace

TEST_CASE("shm memory: a prefaulted ring costs no page faults in its first lap", "[shm]") {
    if (is_left_out()) return;
    const long usual = faults_of_a_lap({});
    const long prefaulted = faults_of_a_lap({.prefault = true});
    CHECK(usual >= static_cast<long>(capacity / piece));
    CHECK(prefaulted >= 0);
    CHECK(prefaulted < 16);
}

TEST_CASE("shm memory: a locked ring stays in memory, its second mapping is not counted", "[shm]") {
    if (is_left_out()) return;
    const auto before = kilobytes("/proc/self/status", "VmLck");
    auto ends = parley::make_channel<int>(
        parley::shm({.capacity_bytes = capacity, .memory = {.locked = true}}));
    if (!ends && ends.error() == parley::errc::out_of_resources) {
        std::cout << "skipped: this process may not lock 4 MiB\n";
        return;
    }
    REQUIRE(ends);
    const auto locked = kilobytes("/proc/self/status", "VmLck") - before;
    CHECK(locked >= static_cast<long>(capacity >> 10));
}

TEST_CASE("shm memory: who may not lock so much is told the limit and how to raise it", "[shm]") {
    if (is_left_out()) return;
    child c([] {
        const rlimit little{65536, 65536};
        if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0) return 2;
        if (::geteuid() == 0 && ::setuid(65534) != 0) return 3;
        parley::diagnostics why;
        const auto ends = parley::make_channel<int>(
            parley::shm({.capacity_bytes = capacity, .memory = {.locked = true}}), &why);
        if (ends) return 4;
        if (ends.error() != parley::errc::out_of_resources) return 5;
        if (why.text().find("64 KiB: raise `ulimit -l`") == std::string::npos) return 6;
        return 0;
    });
    CHECK(c.wait() == 0);
}

TEST_CASE("shm memory: a NUMA node that is not there is refused by its number", "[shm]") {
    parley::diagnostics why;
    const auto none = parley::make_channel<int>(parley::shm({.memory = {.numa_node = 1000}}), &why);
    REQUIRE(!none);
    CHECK(none.error() == parley::errc::unsupported);
    CHECK(why.text().find("NUMA node 1000") != std::string::npos);
    // A kernel without NUMA knows no node at all.
    const auto first = parley::make_channel<int>(parley::shm({.memory = {.numa_node = 0}}));
    CHECK((first || first.error() == parley::errc::unsupported));
}

TEST_CASE("shm memory: where a tmpfs has huge pages, a ring is made of them", "[shm]") {
    const parley_test::temporary_directory dir;
    child c([&] {
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            ::mount("none", dir.path().c_str(), "tmpfs", 0, "size=64m,huge=advise") != 0) {
            return 77;
        }
        const parley::shm at(
            "huge", {.directory = dir.path(), .memory = {.prefault = true, .huge_pages = true}});
        auto in = parley::open_receiver<int>(at);
        auto out = parley::open_sender<int>(at, std::chrono::seconds(10));
        if (!in || !out || !out->send(7) || in->receive().value() != 7) return 2;
        // Sender and receiver map the ring twice each.
        const auto huge = kilobytes("/proc/self/smaps", "ShmemPmdMapped");
        return huge >= 2 * static_cast<long>(capacity >> 10) ? 0 : 3;
    });
    const int status = c.wait();
    if (status == 77) {
        std::cout << "skipped: no right to mount a tmpfs with huge pages here\n";
        return;
    }
    CHECK(status == 0);
}

TEST_CASE("shm memory: its options are words of the URI", "[shm]") {
    const parley::shm at("a", {.memory = {.prefault = true, .locked = true, .numa_node = 3}});
    CHECK(at.to_uri().text() == "shm://a?prefault=on&locked=on&numa_node=3");
    parley::diagnostics why;
    CHECK(parley::shm::from(at.to_uri(), why).value() == at);
    CHECK(!parley::shm::from(parley::uri("shm://a?locked=maybe"), why));
    CHECK(why.text().find("on, off") != std::string::npos);
}

TEST_CASE("streaming copy: every byte arrives, and none beside it is touched", "[shm]") {
    std::vector<std::byte> from(512), to(512);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 7 + 1);
    for (std::size_t at = 0; at < 70; ++at) {
        for (std::size_t n = 0; n < 200; ++n) {
            std::fill(to.begin(), to.end(), std::byte{});
            const parley::bytes m(from.data() + n % 9, n);
            parley::detail::streaming_copy(to.data() + at, m);
            REQUIRE(std::equal(m.begin(), m.end(), to.begin() + static_cast<std::ptrdiff_t>(at)));
            REQUIRE(static_cast<std::size_t>(std::count(to.begin(), to.end(), std::byte{})) ==
                    to.size() - n +
                        static_cast<std::size_t>(std::count(m.begin(), m.end(), std::byte{})));
        }
    }
}

TEST_CASE("shm: messages that are streamed past the caches come whole, small ones between them",
          "[shm]") {
    const parley_test::unique_name name("streaming");
    const auto at = [&](parley::copy how) {
        return parley::shm(name.text(), {.capacity_bytes = 1 << 20, .copy = how});
    };
    CHECK(at(parley::copy::streaming).to_uri().text().ends_with("&copy=streaming"));
    parley::diagnostics why;
    const auto streaming = at(parley::copy::streaming);
    CHECK(parley::shm::from(streaming.to_uri(), why).value() == streaming);
    auto in = parley::open_receiver<parley::bytes>(at(parley::copy::plain)).value();
    auto out = parley::open_sender<parley::bytes>(streaming).value();
    std::vector<std::byte> text(200'000);
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::byte>(i % 251);
    for (std::size_t round = 0; round < 40; ++round) {
        for (const std::size_t n : {0U, 1U, 16'383U, 16'384U, 16'385U, 99'999U, 200'000U}) {
            const parley::bytes m = parley::bytes(text).last(n);
            out.send(m).value();
            const auto got = in.borrow().value();
            REQUIRE(std::equal(got->begin(), got->end(), m.begin(), m.end()));
        }
    }
}
