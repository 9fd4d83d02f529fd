// SPDX-License-Identifier: MIT
// Two writers that claim lanes, send and leave or die, and one reader that adopts, drains and frees
// lanes: with a lane for each, or with one for both.
#pragma once

#include <parley/shm/lane.hpp>
#include <parley/shm/registry.hpp>
#include <parley/testing/scheduled_atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace parley_test {

struct registry_world {
    using explorer = parley::testing::explorer;
    using atomics = parley::testing::scheduled_atomics;
    using registry = parley::detail::lane_registry<atomics>;
    using bed = parley::detail::sleeper<atomics>;
    using shape_of = parley::shm_layout::shape;

    struct variation {
        std::size_t lanes = 1;
        std::size_t messages = 1;
        explorer::life first = explorer::life::immortal;
    };
    static constexpr std::size_t writers = 2, reader_id = 2, lanes_max = 2;

    explicit registry_world(variation v) : how(v), shape{v.lanes, 32, 8} {}

    void put_into(explorer& e) {
        e.before([this] { set_up(); });
        e.thread(
            "first", [this] { write(0); }, how.first);
        e.thread("second", [this] { write(1); });
        e.thread(
            "reader", [this] { read(); }, explorer::life::servant);
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
        e.call(&doorbell.claims, 4, "doorbell.claims");
    }

private:
    void set_up() {
        std::memset(ring, 0xee, sizeof ring);
        for (auto& c : cursor) c = {};
        for (auto& p : page) p = {};
        reader_side = {};
        doorbell = {};
        for (auto& u : unannounced) u = false;
        finished = 0;
        for (auto& n : committed) n = 0;
        for (auto& n : got) n = 0;
    }

    // --- a writer --------------------------------------------------------------------------
    void ring_reader(std::uint64_t asleep) {
        (void)parley::detail::rang<atomics>(asleep, doorbell.bell, [] { return true; });
    }
    void announce(std::size_t lane) {
        registry::announce(doorbell);
        unannounced[lane] = false;  // that of a dead one too
        ring_reader(atomics::load(reader_side.asleep, std::memory_order_seq_cst));
    }
    /// Whoever finds no lane gives up here; outside, it tries again in a while.
    void write(std::size_t who) {
        for (std::size_t i = 0; i < how.lanes; ++i) {
            if (!explorer::try_lock(i)) continue;
            std::uint32_t claims = 0;
            const bool is_free = registry::is_free(page[i], cursor[i], claims);
            stage(i, claims, is_free ? 1 : 2);
            if (is_free) {
                use(who, i, claims + 1);
            } else {
                announce(i);
            }
            stage(i, claims, 3);
            explorer::unlock(i);
            if (is_free) return;
        }
    }
    /// What a writer will do follows from where it is.
    static void stage(std::size_t lane, std::uint32_t claims, std::uint64_t n) {
        explorer::settled(n << 16 | claims << 8 | lane);
    }
    void use(std::size_t who, std::size_t i, std::uint32_t number) {
        parley::detail::lane_writer<atomics> lane(shape, ring[i], cursor[i], reader_side, page[i]);
        const std::uint64_t name = who + 7;
        atomics::write(&page[i].sender, &name, sizeof name);
        unannounced[i] = true;
        registry::claim(page[i], number, 0);
        announce(i);
        stage(i, number, 0);
        for (std::uint64_t n = 0; n < how.messages; ++n) {
            const std::uint64_t body = who << 8 | n;
            std::uint64_t asleep = 0;
            const parley::bytes m(reinterpret_cast<const std::byte*>(&body), sizeof body);
            if (!lane.copy_in(m, asleep)) return;  // no world fills its ring: lane_world does
            ++committed[who];
            ring_reader(asleep);
            stage(i, number, 4 + n);
        }
        ring_reader(lane.commit_end());
    }

    // --- the reader ------------------------------------------------------------------------
    struct adopted {
        adopted(const registry_world& w, std::size_t i, std::uint32_t n)
            : number(n),
              lane(w.shape, w.ring[i], const_cast<registry::cursor&>(w.cursor[i]), w.page[i]) {}
        std::uint32_t number;
        parley::detail::lane_reader<atomics> lane;
    };
    using lanes = std::optional<adopted>[lanes_max];

    void read() {
        lanes all;
        std::uint32_t seen = 0;
        std::size_t records = 0;
        for (;;) {
            settle(all, seen, records);
            bool any = false;
            for (std::size_t i = 0; i < how.lanes; ++i) {
                if (all[i] && drain(all[i], i)) any = true, ++records;
            }
            if (any || adopt(all, seen) || bury(all)) continue;
            bed{reader_side.asleep, doorbell.bell}.doze(
                parley::detail::asleep_on_futex, [&] { return is_news(all, seen); },
                [&](std::uint32_t bell) { atomics::futex_wait(doorbell.bell, bell, {}); });
        }
    }
    void settle(const lanes& all, std::uint32_t seen, std::size_t records) const {
        auto h = parley::testing::mixed(seen, records);
        for (std::size_t i = 0; i < lanes_max; ++i) {
            h = parley::testing::mixed(h, all[i] ? all[i]->number : 0);
        }
        explorer::settled(parley::testing::mixed(h, got[0] << 16 | got[1] << 8 | finished));
    }
    bool drain(std::optional<adopted>& a, std::size_t i) {
        const auto item = a->lane.take();
        if (item.kind == parley::detail::taken::nothing) return false;
        explorer::require(item.kind != parley::detail::taken::broken, "a lane is broken");
        if (item.kind == parley::detail::taken::end) return finish(a, i);
        std::uint64_t body = 0, name = 0;
        atomics::read(&body, item.payload.data(), sizeof body);
        atomics::read(&name, &page[i].sender, sizeof name);
        const std::size_t who = body >> 8;
        explorer::require(who < writers && name == who + 7, "a message has another sender");
        explorer::require((body & 255) == got[who]++, "a message is out of order or comes twice");
        (void)a->lane.release();
        return true;
    }
    bool finish(std::optional<adopted>& a, std::size_t i) {
        (void)a->lane.release();
        registry::free(cursor[i], a->number);
        a.reset();
        ++finished;
        return true;
    }
    bool adopt(lanes& all, std::uint32_t& seen) {
        const auto now = registry::announced(doorbell, std::memory_order_acquire);
        if (now == seen) return false;
        seen = now;
        bool any = false;
        for (std::size_t i = 0; i < how.lanes; ++i) {
            std::uint32_t number = 0;
            if (all[i] || !registry::is_claimed(page[i], cursor[i], number)) continue;
            all[i].emplace(*this, i, number);
            any = true;
        }
        return any;
    }
    bool bury(lanes& all) {
        bool any = false;
        for (std::size_t i = 0; i < how.lanes; ++i) {
            if (!all[i] || explorer::is_locked(i)) continue;
            if (!all[i]->lane.ready(std::memory_order_relaxed)) finish(all[i], i);
            any = true;
        }
        return any;
    }
    bool is_news(const lanes& all, std::uint32_t seen) const {
        if (registry::announced(doorbell, std::memory_order_seq_cst) != seen) return true;
        for (std::size_t i = 0; i < how.lanes; ++i) {
            if (all[i] && all[i]->lane.ready(std::memory_order_seq_cst)) return true;
        }
        return false;
    }

    void check() const {
        for (std::size_t w = 0; w < writers; ++w) {
            const bool may_die = w == 0 && how.first == explorer::life::mortal;
            explorer::require(got[w] >= committed[w] && got[w] <= committed[w] + (may_die ? 1 : 0),
                              "committed messages are missing");
        }
        // Only whoever died before it could say that it came is not known yet.
        for (std::size_t i = 0; i < how.lanes; ++i) {
            explorer::require(page[i].claims == cursor[i].released || unannounced[i],
                              "a lane stays behind");
        }
        explorer::require(finished == cursor[0].released + cursor[1].released,
                          "a writer's end is counted twice");
        explorer::require(how.lanes < writers || committed[1] == how.messages,
                          "a writer finds no lane");
    }

    variation how;
    shape_of shape;
    alignas(64) std::byte ring[lanes_max][128];
    registry::cursor cursor[lanes_max]{};
    parley::shm_layout::reader_state reader_side{};
    registry::doorbell doorbell{};
    registry::page page[lanes_max]{};
    std::uint64_t committed[writers]{}, got[writers]{};
    bool unannounced[lanes_max]{};
    std::uint32_t finished = 0;
};

}  // namespace parley_test
