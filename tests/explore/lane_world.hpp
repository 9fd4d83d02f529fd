// SPDX-License-Identifier: MIT
// One writer, one reader, a ring of a few messages, and both doorbells: the reader sleeps for
// messages, the writer for room.
#pragma once

#include <parley/shm/lane.hpp>
#include <parley/testing/scheduled_atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley_test {

using parley::testing::explorer;
using atomics = parley::testing::scheduled_atomics;
namespace layout = parley::shm_layout;

struct lane_world {
    struct variation {
        std::size_t messages = 3;
        std::size_t capacity = 64;
        bool rush = false;   // both ends say that they are in a rush after their first message
        bool polls = false;  // both sleep on descriptors
        bool loans =
            false;  // loan, fill and commit, and views given back later, in place of copies
        bool batches = false;  // two at once, if there are two
        explorer::life writer = explorer::life::immortal, reader = explorer::life::immortal;
    };
    static constexpr std::size_t writer_id = 0, reader_id = 1;

    explicit lane_world(variation v) : how(v), shape{1, v.capacity, 8} {}

    void put_into(explorer& e) {
        e.before([this] { set_up(); });
        e.thread(
            "writer", [this] { write(); }, how.writer);
        e.thread(
            "reader", [this] { read(); }, how.reader);
        e.after([this] { check(); });
        e.mapped_twice(ring, shape.capacity);
        e.call(ring, shape.capacity, "ring");
        e.call(&cursor.head, 8, "cursor.head");
        e.call(&cursor.bell, 4, "cursor.bell");
        e.call(&reader_side.asleep, 8, "reader.asleep");
        e.call(&doorbell.bell, 4, "doorbell.bell");
        e.call(&page.state.asleep, 8, "writer.asleep");
        e.call(&page.state.wanted, 8, "writer.wanted");
        e.call(&page.progress.written, 8, "progress.written");
    }

private:
    [[nodiscard]] std::size_t length_of(std::uint64_t i) const {
        return i % 2 == 0 || shape.capacity < 64 || how.batches ? 8 : 16;
    }

    void set_up() {
        std::memset(ring, 0xee, sizeof ring);  // what another writer left
        cursor = {};
        reader_side = {};
        doorbell = {};
        page = {};
        committed = got = 0;
        ended = false;
        // The writer takes the lane before the reader can see it.
        writer = parley::detail::lane_writer<atomics>(shape, ring, cursor, reader_side, page);
    }

    /// As the ends of shm do: on a futex, or drained, armed, and then polled.
    template <class LookAgain>
    void doze(parley::detail::sleeper<atomics> bed, std::size_t who, LookAgain look_again) {
        if (!how.polls) {
            return bed.doze(parley::detail::asleep_on_futex, look_again,
                            [&](std::uint32_t seen) { atomics::futex_wait(bed.bell, seen, {}); });
        }
        explorer::drain(who);
        (void)bed.lie_down(parley::detail::asleep_on_bell);
        if (!look_again()) explorer::poll(who);
    }
    void ring_for(std::uint64_t asleep, std::uint32_t& bell, std::size_t who) {
        (void)parley::detail::rang<atomics>(asleep, bell, [&] {
            explorer::raise(who);
            return true;
        });
    }

    // --- the writer ------------------------------------------------------------------------
    [[nodiscard]] parley::detail::sleeper<atomics> writer_bed() {
        return {page.state.asleep, cursor.bell};
    }
    /// How many were sent.
    std::uint64_t try_send(std::uint64_t i, std::uint64_t& asleep) {
        if (how.batches) {
            const std::uint64_t both[2] = {i + 1, i + 2};
            const std::size_t n = i + 1 < how.messages ? sizeof both : 8;
            return writer.copy_in_many({reinterpret_cast<const std::byte*>(both), n}, 8, asleep);
        }
        const std::uint64_t body[2] = {i + 1, ~i};
        const parley::bytes m(reinterpret_cast<const std::byte*>(body), length_of(i));
        if (!how.loans) return writer.copy_in(m, asleep) ? 1 : 0;
        const auto room = writer.try_loan(m.size());
        if (room.data() == nullptr) return 0;
        atomics::write(room.data(), m.data(), m.size());
        asleep = writer.commit(m.size());
        return 1;
    }
    void write() {
        for (std::uint64_t i = 0, n = 0; i < how.messages; i += n) {
            std::uint64_t asleep = 0;
            for (;;) {
                explorer::settled(parley::testing::mixed(i, writer.head_seen()));
                n = try_send(i, asleep);
                if (n != 0) break;
                if (reader_died()) return count_unread();
                const std::size_t length = length_of(i);
                atomics::store(page.state.wanted, writer.head_for(length),
                               std::memory_order_relaxed);
                doze(writer_bed(), writer_id, [&] { return writer.room_now(length); });
            }
            committed += n;
            ring_reader(asleep);
            if (how.rush) writer_bed().rush();
        }
        ring_reader(writer.commit_end());
        if (reader_died()) count_unread();
    }
    [[nodiscard]] bool reader_died() const {
        return how.reader == explorer::life::mortal && !explorer::lives(reader_id);
    }
    void ring_reader(std::uint64_t asleep) { ring_for(asleep, doorbell.bell, reader_id); }
    /// What peer_lost tells: the messages that a dead reader did not give back. It may have died
    /// between giving one back and counting that here.
    void count_unread() {
        const auto unread = writer.unread();
        const auto ends = committed == how.messages ? 1U : 0U;
        explorer::require(unread + got <= committed + ends && unread + got + 1 >= committed,
                          "the messages that were never taken are counted wrong");
    }

    // --- the reader ------------------------------------------------------------------------
    [[nodiscard]] parley::detail::sleeper<atomics> reader_bed() {
        return {reader_side.asleep, doorbell.bell};
    }
    void read() {
        parley::detail::lane_reader<atomics> lane(shape, ring, cursor, page);
        parley::bytes kept;
        for (;;) {
            explorer::settled(parley::testing::mixed(got, kept.size()));
            const bool over = how.writer == explorer::life::mortal && !explorer::lives(writer_id);
            const auto item = next(lane);
            if (item.kind == parley::detail::taken::message) {
                // A view is given back when the next one was taken.
                std::uint64_t asleep = 0;
                if (!how.loans) {
                    asleep = lane.release();
                } else if (kept.data() != nullptr) {
                    asleep = lane.release_oldest(kept);
                }
                kept = item.payload;
                ++got;
                ring_writer(lane, asleep);
                if (how.rush) reader_bed().rush();
                continue;
            }
            explorer::require(item.kind != parley::detail::taken::broken, "a lane is broken");
            if (item.kind == parley::detail::taken::end) {
                ended = true;
                return;
            }
            if (over) return;  // it was over before this look found nothing
            if (how.loans) ring_writer(lane, lane.release());
            kept = {};
            doze(reader_bed(), reader_id, [&] { return lane.ready(std::memory_order_seq_cst); });
        }
    }
    parley::detail::lane_reader<atomics>::item next(parley::detail::lane_reader<atomics>& lane) {
        std::uint64_t body[2]{};
        if (how.batches) {
            const auto more =
                lane.take_many_into({reinterpret_cast<std::byte*>(body), sizeof body}, 8);
            for (std::size_t i = 0; i < more; ++i) {
                got += i == 0 ? 0 : 1;
                compare(body + i);
            }
            if (more != 0) return {parley::detail::taken::message, {}};
        }
        const std::size_t n = length_of(got);
        if (!how.loans && !how.batches && lane.take_into({reinterpret_cast<std::byte*>(body), n})) {
            compare(body);
            return {parley::detail::taken::message, {}};
        }
        const auto item = lane.take();
        if (item.kind == parley::detail::taken::message) {
            explorer::require(item.payload.size() == n, "a message has another length");
            atomics::read(body, item.payload.data(), n);
            compare(body);
        }
        return item;
    }
    void compare(const std::uint64_t* body) const {
        const bool same = *body == got + 1 && (length_of(got) == 8 || body[1] == ~got);
        explorer::require(same, "a message is torn, out of order, or comes twice");
    }
    void ring_writer(parley::detail::lane_reader<atomics>& lane, std::uint64_t asleep) {
        if (asleep == 0 || !lane.is_room_enough()) return;
        ring_for(asleep, cursor.bell, writer_id);
    }

    void check() const {
        const bool all =
            how.writer == explorer::life::immortal && how.reader == explorer::life::immortal;
        if (all) {
            explorer::require(got == how.messages && ended, "messages or the end are missing");
        } else if (how.reader == explorer::life::immortal) {
            explorer::require(got >= committed && got <= committed + 1,
                              "what a dead writer committed is missing");
        }
    }

    variation how;
    layout::shape shape;
    alignas(64) std::byte ring[512];
    layout::lane_cursor cursor{};
    layout::reader_state reader_side{};
    layout::doorbell_page doorbell{};
    layout::lane_page page{};
    parley::detail::lane_writer<atomics> writer;
    std::uint64_t committed = 0, got = 0;
    bool ended = false;
};

}  // namespace parley_test
