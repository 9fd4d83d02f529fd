// SPDX-License-Identifier: MIT
// Readers that die and are succeeded. hand_world: a lane full of messages, three readers one after
// the other, of which two die, also while they take over; each knows exactly what is lost.
// succession_world: writers that go on, or give up and say how many messages nobody received.
#pragma once

#include <parley/shm/lane.hpp>
#include <parley/shm/registry.hpp>
#include <parley/testing/scheduled_atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace parley_test {

struct hand_world {
    using explorer = parley::testing::explorer;
    using atomics = parley::testing::scheduled_atomics;
    using succession = parley::detail::succession<atomics>;
    using lane_reader = parley::detail::lane_reader<atomics>;

    enum class hand : std::uint8_t { copies, views, two_views, reversed_views, batches };
    struct variation {
        hand first = hand::copies, second = hand::copies;
        std::uint64_t messages = 4;
    };
    static constexpr std::size_t lives = 3;

    explicit hand_world(variation v) : how(v), shape{1, 128, 8} {}

    void put_into(explorer& e) {
        e.before([this] { set_up(); });
        for (std::size_t i = 0; i < lives; ++i) {
            e.thread(
                "reader " + std::to_string(i), [this, i] { live(i); },
                i + 1 < lives ? explorer::life::mortal : explorer::life::servant);
        }
        e.after([this] {
            explorer::require(closed == 1 && now.taken == how.messages, "messages stay behind");
        });
        e.mapped_twice(ring, shape.capacity);
        e.call(ring, shape.capacity, "ring");
        e.call(&cursor, sizeof cursor, "cursor");
    }

private:
    static constexpr auto relaxed = std::memory_order_relaxed;

    /// Messages that were handed out by all readers so far, and those in hand.
    struct state {
        std::uint64_t taken = 0, in_hand = 0;
        friend bool operator==(const state&, const state&) = default;
    };

    void set_up() {
        std::memset(ring, 0xee, sizeof ring);
        cursor = {};
        page = {};
        reader_side = {};
        closed = 0;
        now = {};
        perhaps.clear();
        lost = 0;
        parley::detail::lane_writer<atomics> writer(shape, ring, cursor, reader_side, page);
        for (std::uint64_t i = 0; i < how.messages; ++i) {
            std::uint64_t asleep = 0;
            (void)writer.copy_in({reinterpret_cast<const std::byte*>(&i), sizeof i}, asleep);
        }
    }

    void live(std::size_t number) {
        while (number > 0 && explorer::lives(number - 1)) explorer::poll(number);
        if (atomics::load(closed, relaxed) == 0) {
            if (number > 0) succeed();
            lane_reader lane(shape, ring, cursor, page);
            const hand h = number == 0 ? how.first : number == 1 ? how.second : hand::copies;
            while (h == hand::copies    ? copy(lane)
                   : h == hand::views   ? look(lane)
                   : h == hand::batches ? take_two(lane)
                                        : look_at_two(lane, h == hand::reversed_views)) {
            }
            explorer::require(now.taken == how.messages, "a reader stops too early");
            lane.settle();
            now.in_hand = 0;
            atomics::store(closed, std::uint32_t{1}, relaxed);
        }
        explorer::raise(number + 1);
    }
    void succeed() {
        const auto sum = succession::take_over(cursor, shape, ring);
        const state found{cursor_head() / shape.stride(8), sum - lost};
        bool known = found == now;
        for (const auto& s : perhaps) known = known || found == s;
        explorer::require(known, "what was lost is counted wrong, or a message is taken twice");
        lost = sum;
        now = {found.taken, 0};
        perhaps.clear();
    }
    [[nodiscard]] std::uint64_t cursor_head() const { return atomics::load(cursor.head, relaxed); }

    /// A step that takes more than one access: its reader may die before it is written down here.
    template <class Step>
    auto to(std::initializer_list<state> after, Step step) {
        perhaps = after;
        const auto out = step();
        now = perhaps.back();
        perhaps.clear();
        return out;
    }
    static void compare(std::uint64_t body, std::uint64_t number) {
        explorer::require(body == number, "a message comes twice, or not at all");
    }

    bool copy(lane_reader& lane) {
        std::uint64_t body = 0;
        if (!lane.take_into({reinterpret_cast<std::byte*>(&body), sizeof body})) return look(lane);
        compare(body, now.taken);
        (void)to({{now.taken + 1, 1}}, [&] { return lane.release(); });
        return true;
    }
    bool take(lane_reader& lane, parley::bytes& view, std::uint64_t holding) {
        const auto item = lane.take();
        if (item.kind != parley::detail::taken::message) return false;
        now = {now.taken + 1, holding};
        view = item.payload;
        std::uint64_t body = 0;
        atomics::read(&body, view.data(), sizeof body);
        compare(body, now.taken - 1);
        return true;
    }
    bool look(lane_reader& lane) {
        parley::bytes view;
        if (!take(lane, view, 1)) return false;
        (void)lane.release();
        return true;
    }
    /// Two at once; given back in order, or the last one first.
    bool look_at_two(lane_reader& lane, bool reversed) {
        parley::bytes one, two;
        if (!take(lane, one, 1)) return false;
        if (!take(lane, two, 2)) {
            (void)lane.release();
        } else if (reversed) {
            (void)lane.release_oldest(two);
            (void)lane.release();
        } else {
            (void)to({{now.taken, 1}}, [&] { return lane.release_oldest(one); });
            (void)lane.release();
        }
        return true;
    }
    bool take_two(lane_reader& lane) {
        std::uint64_t body[2] = {};
        const auto there = how.messages - now.taken;
        const auto n = there < 2 ? there : 2;
        if (n == 0) return false;
        const auto got = to({{now.taken, 0}, {now.taken + n, n}}, [&] {
            return lane.take_many_into({reinterpret_cast<std::byte*>(body), sizeof body},
                                       sizeof body[0]);
        });
        explorer::require(got == n, "a batch is not what is there");
        for (std::size_t i = 0; i < n; ++i) compare(body[i], now.taken - n + i);
        (void)lane.release();
        return true;
    }

    variation how;
    parley::shm_layout::shape shape;
    alignas(64) std::byte ring[256];
    parley::shm_layout::lane_cursor cursor{};
    parley::shm_layout::lane_page page{};
    parley::shm_layout::reader_state reader_side{};
    std::uint32_t closed = 0;
    std::uint64_t lost = 0;  // with readers before
    // As of the last store, written down after it; and what it may be by now.
    state now;
    std::vector<state> perhaps;
};

struct succession_world {
    using explorer = parley::testing::explorer;
    using atomics = parley::testing::scheduled_atomics;
    using registry = parley::detail::lane_registry<atomics>;
    using succession = parley::detail::succession<atomics>;
    using bed = parley::detail::sleeper<atomics>;

    struct variation {
        std::size_t lanes = 1;
        std::uint64_t messages = 2;
    };
    static constexpr std::size_t lanes_max = 2, reader_lock = 7, door_lock = 6;

    explicit succession_world(variation v) : how(v), shape{v.lanes, 32, 8} {}

    void put_into(explorer& e) {
        e.before([this] { set_up(); });
        for (std::size_t i = 0; i < how.lanes; ++i) {
            e.thread("writer " + std::to_string(i), [this, i] { write(i); });
        }
        e.thread(
            "reader", [this] { read(false); }, explorer::life::mortal);
        e.thread(
            "successor", [this] { read(true); }, explorer::life::servant);
        e.after([this] { check(); });
        for (std::size_t i = 0; i < lanes_max; ++i) {
            const auto n = std::to_string(i);
            e.mapped_twice(ring[i], shape.capacity);
            e.call(ring[i], shape.capacity, "ring " + n);
            e.call(&cursor[i], sizeof cursor[i], "cursor " + n);
            e.call(&page[i], sizeof page[i], "page " + n);
        }
        e.call(&reader_side.asleep, 8, "reader.asleep");
        e.call(&doorbell.bell, 4, "doorbell.bell");
    }

private:
    [[nodiscard]] std::size_t reader_id() const noexcept { return how.lanes; }

    void set_up() {
        std::memset(ring, 0xee, sizeof ring);
        reader_side = {};
        doorbell = {};
        for (std::size_t i = 0; i < lanes_max; ++i) {
            cursor[i] = {};
            page[i] = {};
            page[i].claims = 1;
            committed[i] = taken[i] = perhaps_taken[i] = after[i] = lost[i] = 0;
            told[i].reset();
            freed[i] = false;
            writer[i] = parley::detail::lane_writer<atomics>(shape, ring[i], cursor[i], reader_side,
                                                             page[i]);
        }
    }

    // --- a writer --------------------------------------------------------------------------
    void ring_reader(std::uint64_t asleep) {
        (void)parley::detail::rang<atomics>(asleep, doorbell.bell, [] { return true; });
    }
    void write(std::size_t i) {
        while (!explorer::is_locked(reader_lock) && explorer::lives(reader_id())) explorer::poll(i);
        for (std::uint64_t n = 0; n < how.messages; ++n) {
            std::uint64_t asleep = 0;
            const parley::bytes m(reinterpret_cast<const std::byte*>(&n), sizeof n);
            explorer::settled(parley::testing::mixed(n << 8 | i, writer[i].head_seen()));
            while (!writer[i].copy_in(m, asleep)) {
                if (!is_served(i)) return;
                atomics::store(page[i].state.wanted, writer[i].head_for(m.size()),
                               std::memory_order_relaxed);
                bed{page[i].state.asleep, cursor[i].bell}.doze(
                    parley::detail::asleep_on_futex, [&] { return writer[i].room_now(m.size()); },
                    [&](std::uint32_t seen) { atomics::futex_wait(cursor[i].bell, seen, {}); });
            }
            ++committed[i];
            ring_reader(asleep);
        }
        if (is_served(i)) ring_reader(writer[i].commit_end());
    }
    /// As segment_writer::look_after_reader.
    bool is_served(std::size_t i) {
        if (explorer::is_locked(reader_lock) || !explorer::try_lock(door_lock)) return true;
        const bool dead = !explorer::is_locked(reader_lock);
        if (dead) registry::abandon(page[i], 1);
        explorer::unlock(door_lock);
        explorer::raise(door_lock);
        if (dead) told[i] = writer[i].unread();
        return !dead;
    }

    // --- a reader --------------------------------------------------------------------------
    void read(bool successor) {
        if (successor) {
            while (explorer::lives(reader_id())) explorer::poll(reader_lock);
            if (atomics::load(reader_side.closed, std::memory_order_relaxed) == 1) return;
        }
        for (explorer::drain(door_lock); !explorer::try_lock(door_lock);) {
            explorer::poll(door_lock);
            explorer::drain(door_lock);
        }
        (void)explorer::try_lock(reader_lock);
        for (std::size_t i = 0; i < how.lanes; ++i) {
            successor ? succeed(i) : explorer::raise(i);
        }
        explorer::unlock(door_lock);
        drain(successor);
        if (successor) return;
        atomics::store(reader_side.closed, std::uint32_t{1}, std::memory_order_relaxed);
        explorer::raise(reader_lock);
    }
    void succeed(std::size_t i) {
        lost[i] = succession::take_over(cursor[i], shape, ring[i]);
        const auto found = atomics::load(cursor[i].head, std::memory_order_relaxed) / 16;
        explorer::require(lost[i] <= 1, "more was lost than was in hand");
        explorer::require(found == taken[i] || found == perhaps_taken[i],
                          "a successor goes on at the wrong place");
        taken[i] = found;
        if (registry::is_abandoned(page[i], 1)) {
            registry::free(cursor[i], 1);
            freed[i] = true;
        }
        ring_writer(i);
    }
    void ring_writer(std::size_t i) {
        (void)parley::detail::ring<atomics>(page[i].state.asleep, cursor[i].bell,
                                            [] { return true; });
    }
    void drain(bool successor) {
        std::optional<parley::detail::lane_reader<atomics>> all[lanes_max];
        std::size_t active = 0;
        for (std::size_t i = 0; i < how.lanes; ++i) {
            if (freed[i]) continue;
            all[i].emplace(shape, ring[i], cursor[i], page[i]);
            ++active;
        }
        while (active > 0) {
            auto h = static_cast<std::uint64_t>(successor);
            for (std::size_t i = 0; i < how.lanes; ++i) {
                h = parley::testing::mixed(
                    h, taken[i] << 16 | after[i] << 8 | lost[i] << 4 | (all[i] ? 1U : 0U));
            }
            explorer::settled(h);
            bool any = false;
            for (std::size_t i = 0; i < how.lanes; ++i) {
                if (!all[i]) continue;
                // As a source does when another lane has its turn: the receiver was called again.
                for (std::size_t j = 0; j < how.lanes; ++j) {
                    if (j != i && all[j]) all[j]->settle();
                }
                const auto k = step(*all[i], i, successor);
                any = any || k != parley::detail::taken::nothing;
                if (k == parley::detail::taken::end) all[i].reset(), --active;
            }
            if (any) continue;
            bed{reader_side.asleep, doorbell.bell}.doze(
                parley::detail::asleep_on_futex,
                [&] {
                    bool found = false;
                    for (std::size_t i = 0; i < how.lanes; ++i) {
                        found = found || (all[i] && all[i]->ready(std::memory_order_seq_cst));
                    }
                    return found;
                },
                [&](std::uint32_t seen) { atomics::futex_wait(doorbell.bell, seen, {}); });
        }
    }
    parley::detail::taken step(parley::detail::lane_reader<atomics>& lane, std::size_t i,
                               bool successor) {
        std::uint64_t body = 0;
        std::uint64_t asleep = 0;
        if (lane.take_into({reinterpret_cast<std::byte*>(&body), sizeof body})) {
            perhaps_taken[i] = taken[i] + 1;
            asleep = lane.release();
            took(i, body, successor);
        } else {
            lane.settle();
            const auto item = lane.take();
            explorer::require(item.kind != parley::detail::taken::broken, "a lane is broken");
            if (item.kind != parley::detail::taken::message) return item.kind;
            took(i, taken[i], successor);
            atomics::read(&body, item.payload.data(), sizeof body);
            explorer::require(body + 1 == taken[i], "a message comes twice, or not at all");
            asleep = lane.release();
        }
        if (asleep != 0 && lane.is_room_enough()) {
            (void)parley::detail::rang<atomics>(asleep, cursor[i].bell, [] { return true; });
        }
        return parley::detail::taken::message;
    }
    void took(std::size_t i, std::uint64_t body, bool successor) {
        explorer::require(body == taken[i], "a message comes twice, or not at all");
        perhaps_taken[i] = ++taken[i];
        after[i] += successor ? 1 : 0;
    }

    void check() const {
        for (std::size_t i = 0; i < how.lanes; ++i) {
            // What was taken is done with or lost, the rest comes later or its sender is told.
            const auto rest = told[i].value_or(0);
            explorer::require(!told[i] || taken[i] + rest == committed[i],
                              "a sender is told a wrong number");
            explorer::require(told[i] || taken[i] == how.messages,
                              "messages are missing that no sender was told of");
            explorer::require(told[i].has_value() == freed[i], "a sender gave up, and yet not");
        }
    }

    variation how;
    parley::shm_layout::shape shape;
    alignas(64) std::byte ring[lanes_max][128];
    registry::cursor cursor[lanes_max]{};
    parley::shm_layout::reader_state reader_side{};
    registry::doorbell doorbell{};
    registry::page page[lanes_max]{};
    parley::detail::lane_writer<atomics> writer[lanes_max];
    std::uint64_t committed[lanes_max]{}, after[lanes_max]{}, lost[lanes_max]{};
    std::uint64_t taken[lanes_max]{}, perhaps_taken[lanes_max]{};
    std::optional<std::uint64_t> told[lanes_max];
    bool freed[lanes_max]{};
};

}  // namespace parley_test
