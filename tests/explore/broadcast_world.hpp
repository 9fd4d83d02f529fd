// SPDX-License-Identifier: MIT
// One publisher, its successor if it dies, up to two subscribers, a broadcast ring of a few
// messages, and both bells: subscribers sleep for messages, the publisher for room.
#pragma once

#include <parley/shm/broadcast_reader.hpp>
#include <parley/shm/broadcast_writer.hpp>
#include <parley/testing/scheduled_atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley_test {

using parley::testing::explorer;
using atomics = parley::testing::scheduled_atomics;

struct broadcast_world {
    using giving_way = parley::shm_layout::giving_way;
    using life = explorer::life;

    struct variation {
        giving_way rule = giving_way::block;
        std::uint64_t before = 0;    // messages published before anybody runs
        std::uint64_t messages = 2;  // and in all
        std::size_t bytes = 8;       // of each, a multiple of 8
        std::size_t capacity = 64;
        std::size_t alignment = 8;
        std::size_t subscribers = 1;  // threads; those that are late come while the others run
        std::size_t late = 0;
        bool polls = false;       // the subscribers sleep on descriptors
        bool heir = false;        // another publisher takes the ring over if the first one died
        bool succession = false;  // place 0 was a dead one's: who comes late takes it
        life publisher = life::immortal, first_subscriber = life::immortal;
    };
    static constexpr std::size_t publisher_id = 0, subscribers_max = 2;

    explicit broadcast_world(variation v)
        : how(v), shape{1, v.capacity, v.alignment, parley::shm_layout::segment_kind::topic} {}

    void put_into(explorer& e) {
        e.before([this] { set_up(); });
        e.thread(
            "publisher", [this] { publish(); }, how.publisher);
        for (std::size_t j = 0; j < how.subscribers; ++j) {
            e.thread(
                j == 0 ? "subscriber 0" : "subscriber 1", [this, j] { subscribe(j); },
                j == 0 ? how.first_subscriber : life::immortal);
        }
        if (how.heir) {
            e.thread(
                "heir", [this] { inherit(); }, life::immortal);
        }
        e.after([this] { check(); });
        e.mapped_twice(ring, shape.capacity);
        e.call(ring, shape.capacity, "ring");
        e.call(&all.asleep, 8, "all.asleep");
        e.call(&all.known, 8, "all.known");
        e.call(&all.room[0], 4, "all.room");
        e.call(&bell, 4, "bell");
        e.call(&page.claims, 4, "publisher.claims");
        e.call(&page.closed, 4, "publisher.closed");
        e.call(&page.state.asleep, 8, "publisher.asleep");
        e.call(&page.state.wanted, 8, "publisher.wanted");
        e.call(&page.state.holders, 8, "publisher.holders");
        e.call(&page.progress.written, 8, "publisher.written");
        e.call(&page.reserve, 8, "publisher.reserve");
        e.call(&page.dropped, 8, "publisher.dropped");
        e.call(page.anchors, sizeof page.anchors, "anchors");
        for (std::size_t j = 0; j < subscribers_max; ++j) {
            e.call(&cursors[j].page.claims, 4, "subscriber.claims");
            e.call(&cursors[j].page.asleep, 8, "subscriber.asleep");
            e.call(&cursors[j].page.rings[0].head, 8, "subscriber.cursor");
        }
    }

private:
    using publisher = parley::detail::broadcast_writer<atomics>;
    using subscriber = parley::detail::broadcast_reader<atomics>;
    struct alignas(parley::shm_layout::cursors_bytes) cursor_page {
        parley::shm_layout::subscriber_page page{};
    };

    [[nodiscard]] bool overwriting() const { return parley::shm_layout::overwrites(how.rule); }

    void set_up() {
        std::memset(ring, 0xee, sizeof ring);  // what another publisher left
        const auto first = reinterpret_cast<std::uint64_t*>(ring + shape.first());
        *first = 0;
        all = {};
        bell = 0;
        page = {};
        page.start(shape);
        page.claims = 1;
        for (auto& c : cursors) {
            c.page = {};
            c.page.rings[0].head = parley::shm_layout::nowhere;
        }
        for (std::size_t j = 0; j < subscribers_max; ++j) told[j] = {};
        published = dropped = 0;
        heir_published = 0;
        for (std::size_t j = 0; j + how.late < how.subscribers; ++j) come(j);
        if (how.succession) come(0), told[0] = {};  // and died at once
        out = open_publisher();
        for (; published < how.before; ++published) {
            std::uint64_t asleep = 0;
            const auto body = message(published);
            const parley::bytes m(reinterpret_cast<const std::byte*>(body.words), how.bytes);
            if (!out.copy_in(m, asleep)) {
                (void)out.make_way(how.bytes, [](std::size_t) { return true; });
                (void)out.copy_in(m, asleep);
            }
        }
    }
    [[nodiscard]] publisher open_publisher() {
        return {shape, how.rule, 0, ring, page, all, reinterpret_cast<const std::byte*>(cursors)};
    }

    struct body_of {
        std::uint64_t words[16];
    };
    /// Message number i; each of its words tells which one it is.
    [[nodiscard]] static body_of message(std::uint64_t i) {
        body_of b{};
        for (std::uint64_t w = 0; w < 16; ++w) b.words[w] = (i + 1) << 8 | w;
        return b;
    }

    // --- the publisher ---------------------------------------------------------------------
    [[nodiscard]] parley::detail::one_sleeper<atomics> publisher_bed() {
        return {page.state.asleep, all.room[0], atomics::enrol()};
    }
    void publish() {
        publish_from(out, published, how.messages);
        atomics::store(page.closed, std::uint32_t{1}, std::memory_order_seq_cst);
        ring_subscribers(atomics::load(all.asleep, std::memory_order_seq_cst));
    }
    /// Raises `n` to `most` with each message.
    void publish_from(publisher& p, std::uint64_t& n, std::uint64_t most, std::uint64_t first = 0) {
        std::uint64_t rung_for = 0, dead = 0;
        while (n < most) {
            explorer::settled(parley::testing::mixed(n << 32 | dead << 4 | p.vetted(),
                                                     parley::testing::mixed(p.limit(), rung_for)));
            const auto body = message(first + n);
            const parley::bytes m(reinterpret_cast<const std::byte*>(body.words), how.bytes);
            std::uint64_t asleep = 0;
            if (p.copy_in(m, asleep)) {
                ++n;
                if (asleep == rung_for) continue;
                rung_for = asleep;
                ring_subscribers(asleep);
                continue;
            }
            if (p.make_way(how.bytes, [](std::size_t) { return true; })) continue;
            if (bury_the_dead(p, dead)) continue;
            if (how.rule == giving_way::drop_newest) {
                p.drop();
                ++n;
                ++dropped;
                continue;
            }
            doze(p);
        }
    }
    bool bury_the_dead(publisher& p, std::uint64_t& dead) {
        bool any = false;
        for (std::size_t j = 0; j < how.subscribers; ++j) {
            const bool holds = (p.holders(how.bytes) >> j & 1) != 0;
            if (!holds || (how.first_subscriber == life::immortal && !how.succession)) continue;
            const auto claim = p.claims(j);
            if (how.succession ? explorer::is_locked(j) : explorer::lives(1 + j)) continue;
            p.bury(j, claim);
            dead = dead << 4 | claim;
            any = true;
        }
        return any;
    }
    void doze(publisher& p) {
        atomics::store(page.state.wanted, p.head_for(how.bytes), std::memory_order_relaxed);
        atomics::store(page.state.holders, p.holders(how.bytes), std::memory_order_relaxed);
        const auto seen = publisher_bed().lie_down();
        if (!p.make_way(how.bytes, [](std::size_t) { return true; })) {
            atomics::futex_wait(all.room[0], seen, {});
        }
        publisher_bed().get_up();
    }
    void ring_subscribers(std::uint64_t asleep) {
        parley::detail::ring_all<atomics>(asleep, bell, [&] {
            const auto known = atomics::load(all.known, std::memory_order_acquire);
            for (std::size_t j = 0; j < subscribers_max; ++j) {
                if ((known >> j & 1) == 0) continue;
                const auto& who = cursors[j].page;
                if (atomics::load(who.asleep, std::memory_order_acquire) != 0) explorer::raise(j);
            }
        });
    }
    /// Whoever takes the ring of a dead publisher goes on behind what that one published.
    void inherit() {
        if (explorer::lives(publisher_id)) return;
        if (atomics::load(page.closed, std::memory_order_acquire) != 0) return;
        publisher p = open_publisher();
        publish_from(p, heir_published, 1, 100);
        atomics::store(page.closed, std::uint32_t{2}, std::memory_order_seq_cst);
        ring_subscribers(atomics::load(all.asleep, std::memory_order_seq_cst));
    }

    // --- a subscriber ----------------------------------------------------------------------
    struct record {
        bool came = false, ended = false;
        typename subscriber::start from{};
        std::uint64_t taken = 0, last = 0, lost = 0, of_heir = 0;
    };

    /// Takes place j, as a subscriber does that has its lock.
    void come(std::size_t j) {
        auto& mine = cursors[j].page;
        atomics::store(mine.rings[0].head, parley::shm_layout::nowhere, std::memory_order_seq_cst);
        atomics::store(mine.asleep, how.polls ? parley::detail::asleep_on_bell : 0,
                       std::memory_order_relaxed);
        const auto claim = atomics::load(mine.claims, std::memory_order_relaxed) + 1;
        atomics::store(mine.claims, claim, std::memory_order_release);
        const auto bit = std::uint64_t{1} << j;
        if (explorer::in_thread() == nullptr) {
            all.known |= bit;
        } else {
            auto known = atomics::load(all.known, std::memory_order_relaxed);
            while (!atomics::compare_exchange(all.known, known, known | bit,
                                              std::memory_order_seq_cst)) {
            }
        }
        told[j].from = subscriber::choose(shape, how.rule, page, mine.rings[0]);
        told[j].came = true;
    }
    [[nodiscard]] parley::detail::many_sleepers<atomics> beds() { return {all.asleep, bell}; }

    void subscribe(std::size_t j) {
        const bool is_late = !told[j].came;
        if (how.succession) (void)explorer::try_lock(j);
        if (is_late) come(j);
        record& me = told[j];
        auto& cursor = cursors[j].page.rings[0];
        subscriber in(shape, how.rule, ring, cursor, page, me.from);
        if (is_late) ring_publisher(in.skip_to_end(), in, j);
        for (;;) {
            explorer::settled(parley::testing::mixed(
                in.position() << 16 | me.taken << 8 | me.of_heir, me.last << 8 | me.lost));
            const bool over = is_over();
            if (take(in, me)) {
                ring_publisher(in.release(), in, j);
                continue;
            }
            if (over) break;  // it was over before this look found nothing
            doze(in, j);
        }
        me.lost = in.lost();
        me.ended = true;
        atomics::store(cursor.head, parley::shm_layout::nowhere, std::memory_order_seq_cst);
        (void)parley::detail::rang<atomics>(
            atomics::load(page.state.asleep, std::memory_order_seq_cst), all.room[0],
            [] { return false; });
    }
    void ring_publisher(std::uint64_t asleep, const subscriber& in, std::size_t j) {
        if (asleep == 0 || !in.is_awaited(j)) return;
        (void)parley::detail::rang<atomics>(asleep, all.room[0], [] { return false; });
    }
    [[nodiscard]] bool is_over() const {
        if (atomics::load(page.closed, std::memory_order_acquire) != 0) return true;
        if (how.publisher == life::immortal || explorer::lives(publisher_id)) return false;
        return !how.heir || !explorer::lives(1 + how.subscribers);
    }

    bool take(subscriber& in, record& me) {
        body_of body{};
        const auto to = reinterpret_cast<std::byte*>(body.words);
        if (me.taken % 2 == 0 && how.rule != giving_way::latest_only) {
            // Every other one by the short way.
            if (in.take_into({to, how.bytes})) return compare(body, in, me);
        }
        const auto item = in.take(to);
        explorer::require(item.kind != parley::detail::taken::broken, "a ring is broken");
        if (item.kind != parley::detail::taken::message) return false;
        explorer::require(item.payload.size() == how.bytes, "a message has another length");
        if (!overwriting()) atomics::read(to, item.payload.data(), how.bytes);
        return compare(body, in, me);
    }
    bool compare(const body_of& body, const subscriber& in, record& me) const {
        const auto n = body.words[0] >> 8;
        const auto whole = message(n - 1);
        explorer::require(std::memcmp(whole.words, body.words, how.bytes) == 0,
                          "a message is torn");
        if (n > 100) {
            ++me.of_heir;
            return true;
        }
        const bool next = me.taken == 0 ? true : n == me.last + 1;
        explorer::require(me.of_heir == 0 && n > me.last, "a message comes twice, or too late");
        explorer::require(next || how.rule != giving_way::block, "a message is missing");
        // While nothing is dropped a message's number tells where it lies.
        const bool in_place = in.position() == shape.first() + n * shape.stride(how.bytes);
        explorer::require(in_place || how.rule != giving_way::block, "a subscriber was overrun");
        ++me.taken;
        me.last = n;
        return true;
    }
    [[nodiscard]] bool news(const subscriber& in) const { return in.ready() || is_over(); }
    void doze(const subscriber& in, std::size_t j) {
        if (how.polls) {
            explorer::drain(j);
            (void)beds().lie_down(parley::detail::asleep_on_bell);
            if (!news(in)) explorer::poll(j);
            return;
        }
        const auto seen = beds().lie_down(parley::detail::asleep_on_futex);
        if (!news(in)) atomics::futex_wait(bell, seen, {});
    }

    // --- afterwards ------------------------------------------------------------------------
    void check() const {
        for (std::size_t j = 0; j < how.subscribers; ++j) {
            const record& r = told[j];
            if (!r.ended) continue;  // it died
            const bool from_the_start = j + how.late < how.subscribers;
            const bool whole = how.publisher == life::immortal;
            const std::uint64_t most = published - dropped + (whole ? 0 : 1);
            explorer::require(
                r.taken + (from_the_start ? r.lost - (overwriting() ? 0 : dropped) : 0) <= most,
                "more came than was published");
            if (from_the_start) {
                explorer::require(r.taken + r.lost >= published,
                                  "what is missing was not counted as lost");
            }
            if (how.rule == giving_way::block) {
                explorer::require(r.lost == 0, "a subscriber was overrun");
                if (from_the_start) explorer::require(r.taken >= published, "messages are missing");
            }
            if (r.taken != 0 && how.rule != giving_way::drop_newest) {
                explorer::require(r.last >= published, "the last message is missing");
            }
            if (how.heir && heir_published != 0 && from_the_start) {
                explorer::require(r.of_heir == heir_published, "a successor's message is missing");
            }
        }
    }

    variation how;
    parley::shm_layout::shape shape;
    alignas(64) std::byte ring[4096];
    parley::shm_layout::subscribers_page all{};
    std::uint32_t bell = 0;
    parley::shm_layout::publisher_page page{};
    cursor_page cursors[subscribers_max]{};
    publisher out;
    record told[subscribers_max];
    std::uint64_t published = 0, dropped = 0, heir_published = 0;
};

}  // namespace parley_test
