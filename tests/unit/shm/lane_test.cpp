// SPDX-License-Identifier: MIT
#include <parley/shm/lane.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>

namespace {

using atomics = parley::detail::std_atomics;
namespace layout = parley::shm_layout;

/// Two sides that each say something and then look whether the other did, many times.
struct two_sides {
    static constexpr std::uint64_t rounds = 20'000;
    struct side {
        alignas(64) std::uint64_t at;  // the round that this side is in
        alignas(64) std::uint64_t said[rounds];
        std::uint64_t saw[rounds];
    };
    side light, heavy;

    template <class Say>
    static void run(side& own, side& other, Say say) {
        for (std::uint64_t i = 0; i < rounds; ++i) {
            atomics::store(own.at, i + 1, std::memory_order_release);
            while (atomics::load(other.at, std::memory_order_acquire) < i + 1) atomics::pause();
            say(own.said[i]);
            own.saw[i] = atomics::load(other.said[i], std::memory_order_relaxed);
        }
    }
};

/// A ring in plain memory, mapped twice by copying what lies at its edge: enough while a test
/// does not go round.
struct lane_in_memory {
    explicit lane_in_memory(std::uint64_t head = 0)
        : room(std::make_unique<std::uint64_t[]>(2 * s.capacity / 8)),
          ring(reinterpret_cast<std::byte*>(room.get())),
          cursor(at(head)),
          writer(s, ring, cursor, reader_side, page),
          reader(s, ring, cursor, page) {}

    static layout::lane_cursor at(std::uint64_t head) {
        layout::lane_cursor c{};
        c.head = head;
        return c;
    }

    const layout::shape s{1, std::size_t{1} << 20, 8};
    std::unique_ptr<std::uint64_t[]> room;
    std::byte* ring;
    layout::lane_cursor cursor;
    layout::reader_state reader_side{};
    layout::lane_page page{};
    parley::detail::lane_writer<atomics> writer;
    parley::detail::lane_reader<atomics> reader;
};

}  // namespace

TEST_CASE("asymmetric fences: of two processes that speak and then look, one hears the other",
          "[shm]") {
    if (!atomics::enrol()) {
        WARN("skipped: no membarrier(2) here");
        return;
    }
    const parley_test::shared<two_sides> memory;
    parley_test::child other([&] {
        two_sides::run(memory->light, memory->heavy, [](std::uint64_t& at) {
            atomics::store(at, std::uint64_t{1}, std::memory_order_release);
            atomics::light_fence();
        });
        return 0;
    });
    two_sides::run(memory->heavy, memory->light, [](std::uint64_t& at) {
        atomics::store(at, std::uint64_t{1}, std::memory_order_seq_cst);
        atomics::heavy_fence();
    });
    REQUIRE(other.wait() == 0);
    std::uint64_t deaf = 0;
    for (std::uint64_t i = 0; i < two_sides::rounds; ++i) {
        deaf += memory->light.saw[i] == 0 && memory->heavy.saw[i] == 0;
    }
    CHECK(deaf == 0);
}

TEST_CASE("shm lane: whoever is in a rush is not rung, and hears again once it lies down",
          "[shm]") {
    lane_in_memory l;
    if (!atomics::enrol()) {
        WARN("skipped: no membarrier(2) here");
        return;
    }
    parley::detail::sleeper<atomics> reader{l.reader_side.asleep, l.cursor.bell};
    reader.rush();
    REQUIRE(l.writer.try_loan(8).size() == 8);
    CHECK(l.writer.commit(8) == 0);
    (void)reader.lie_down(parley::detail::asleep_on_futex);
    CHECK(l.reader.take().kind == parley::detail::taken::message);
    REQUIRE(l.writer.try_loan(8).size() == 8);
    CHECK((l.writer.commit(8) & parley::detail::asleep_on_futex) != 0);
}

TEST_CASE("shm lane: a rush that ends early, and a writer that lies about it, hold up nobody",
          "[shm]") {
    lane_in_memory l;
    const std::size_t count = 512 << 10 >> 10;  // of 1 KiB: half a ring
    for (std::size_t i = 0; i < count; ++i) {
        const auto room = l.writer.try_loan(1016);
        REQUIRE(room.size() == 1016);
        std::memcpy(room.data(), &i, sizeof i);
        CHECK(l.writer.commit(1016) == 0);
    }
    const auto told = l.page.progress.written;
    CHECK(told <= l.writer.tail());
    CHECK(l.writer.tail() - told < layout::hint_bytes);
    l.page.progress.written =
        GENERATE_COPY(std::uint64_t{told}, std::uint64_t{0}, ~std::uint64_t{0}, told / 2);
    for (std::size_t i = 0; i < count; ++i) {
        const auto item = l.reader.take();
        REQUIRE(item.kind == parley::detail::taken::message);
        REQUIRE(std::memcmp(item.payload.data(), &i, sizeof i) == 0);
        CHECK(l.reader.release() == 0);
    }
    CHECK(l.reader.take().kind == parley::detail::taken::nothing);
}

TEST_CASE("shm lane: a lying reader and a length written over make no walk along a ring endless",
          "[shm]") {
    const parley_test::watchdog dog("walks along a ring", std::chrono::seconds(60));
    const std::uint64_t near_the_end = 0 - std::uint64_t{2} * (std::size_t{1} << 20);
    lane_in_memory l(near_the_end);
    std::uint64_t asleep = 0;
    const std::array<std::byte, 8> message{};
    for (int i = 0; i < 3; ++i) REQUIRE(l.writer.copy_in(message, asleep));
    CHECK(l.writer.unread() == 3);
    atomics::store(l.room[0], std::uint64_t{0xffffff00}, std::memory_order_relaxed);
    CHECK(l.writer.unread() == 1);

    const auto word = layout::commit_word(layout::record::message, 8);
    std::fill_n(l.room.get(), 2 * l.s.capacity / 8, word);
    layout::lane_cursor heir = lane_in_memory::at(0 - std::uint64_t{64});
    heir.taken = 0 - std::uint64_t{8};
    CHECK(parley::detail::succession<atomics>::take_over(heir, l.s, l.ring) == 4);
}
