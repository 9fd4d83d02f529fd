// SPDX-License-Identifier: MIT
// One publisher whose messages lie in two or three chunks, its successor if it dies, and up to two
// subscribers who hold what they take while others go on.
#pragma once

#include <parley/shm/chunks.hpp>
#include <parley/shm/followed_ring.hpp>
#include <parley/testing/scheduled_atomics.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace parley_test {

using parley::testing::explorer;
using atomics = parley::testing::scheduled_atomics;

struct chunks_world {
    using giving_way = parley::shm_layout::giving_way;
    using life = explorer::life;

    struct variation {
        giving_way rule = giving_way::block;
        std::uint64_t before = 0;    // messages published before anybody runs
        std::uint64_t messages = 3;  // and in all
        std::size_t chunks = 2;
        std::size_t subscribers = 1;  // threads; those that are late come while the others run
        std::size_t late = 0;
        bool keeps = false;  // a subscriber lets a message go when it has the next one
        bool heir = false;   // another publisher takes the ring over if the first one died
        life publisher = life::immortal, first_subscriber = life::immortal;
    };
    static constexpr std::size_t publisher_id = 0, subscribers_max = 2, chunk_bytes = 64;

    explicit chunks_world(variation v)
        : how(v),
          shape{1, chunk_bytes * v.chunks, 8, parley::shm_layout::segment_kind::topic, v.chunks},
          rings{1, 512, 8, parley::shm_layout::segment_kind::topic} {}

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
        e.mapped_twice(ring, rings.capacity);
        e.call(ring, rings.capacity, "ring");
        e.call(memory, sizeof memory, "chunk");
        e.call(&all.asleep, 8, "all.asleep");
        e.call(&all.known, 8, "all.known");
        e.call(&all.room[0], 4, "all.room");
        e.call(&bell, 4, "bell");
        e.call(&page.closed, 4, "publisher.closed");
        e.call(&page.dropped, 8, "publisher.dropped");
        e.call(&page.state.asleep, 8, "publisher.asleep");
        e.call(&page.state.wanted, 8, "publisher.wanted");
        e.call(&page.state.holders, 8, "publisher.holders");
        e.call(&page.reserve, 8, "publisher.reserve");
        e.call(page.anchors, sizeof page.anchors, "anchors");
        e.call(page.generations, sizeof page.generations, "generations");
        for (auto& c : cursors) {
            e.call(&c.page.rings[0].head, 8, "subscriber.cursor");
            e.call(&c.page.rings[0].holds, 8, "subscriber.holds");
        }
    }

private:
    using publisher = parley::detail::broadcast_writer<atomics>;
    using followed = parley::detail::followed_ring<atomics>;
    using reader = parley::detail::broadcast_reader<atomics>;
    using chunk_writer = parley::detail::chunk_writer<atomics>;
    struct alignas(parley::shm_layout::cursors_bytes) cursor_page {
        parley::shm_layout::subscriber_page page{};
    };
    static constexpr auto vet = [](std::size_t) { return true; };

    void set_up() {
        std::memset(ring, 0xee, sizeof ring);
        std::memset(memory, 0xee, sizeof memory);
        const auto first = reinterpret_cast<std::uint64_t*>(ring + rings.first());
        *first = 0;
        all = {};
        bell = 0;
        page = {};
        page.start(rings);
        page.claims = 1;
        for (auto& c : cursors) {
            c.page = {};
            c.page.rings[0].head = parley::shm_layout::nowhere;
        }
        for (auto& t : told) t = {};
        published = dropped = heir_published = 0;
        buried = false;
        for (std::size_t j = 0; j + how.late < how.subscribers; ++j) come(j);
        out = open_publisher();
        chunks = chunk_writer(shape, memory, page, out, vet);
        for (std::uint64_t asleep = 0; published < how.before; ++published) {
            (void)chunks.make_way(out, vet);
            write(chunks.room(), published);
            (void)chunks.publish(out, message_bytes, asleep, vet);
        }
    }
    [[nodiscard]] publisher open_publisher() {
        return {rings, how.rule, 0, ring, page, all, reinterpret_cast<const std::byte*>(cursors)};
    }

    static constexpr std::size_t message_bytes = 16;
    static void write(std::byte* to, std::uint64_t i) {
        const std::uint64_t words[2] = {(i + 1) << 8, (i + 1) << 8 | 1};
        atomics::write(to, words, sizeof words);
    }

    // --- the publisher ---------------------------------------------------------------------
    [[nodiscard]] parley::detail::one_sleeper<atomics> publisher_bed() {
        return {page.state.asleep, all.room[0], atomics::enrol()};
    }
    void publish() {
        publish_from(out, chunks, published, how.messages, 0);
        atomics::store(page.closed, std::uint32_t{1}, std::memory_order_seq_cst);
        ring_subscribers(atomics::load(all.asleep, std::memory_order_seq_cst));
    }
    /// Raises `n` to `most` with each message.
    void publish_from(publisher& p, chunk_writer& c, std::uint64_t& n, std::uint64_t most,
                      std::uint64_t first) {
        std::uint64_t rung_for = 0;
        while (n < most) {
            explorer::settled(parley::testing::mixed(
                c.state() ^ n, parley::testing::mixed(p.limit() << 8 ^ p.vetted(),
                                                      rung_for << 1 ^ (buried ? 1U : 0U))));
            if (c.make_way(p, vet)) {
                write(c.room(), first + n);
                std::uint64_t asleep = 0;
                explorer::require(c.publish(p, message_bytes, asleep, vet),
                                  "there is no room for a note");
                ++n;
                if (asleep == rung_for) continue;
                rung_for = asleep;
                ring_subscribers(asleep);
                continue;
            }
            if (bury_the_dead(p)) continue;
            if (how.rule == giving_way::drop_newest) {
                p.drop();
                ++n;
                ++dropped;
                continue;
            }
            doze(p, c);
        }
    }
    bool bury_the_dead(publisher& p) {
        if (how.first_subscriber == life::immortal || (p.busy() & 1) == 0) return false;
        const auto claim = p.claims(0);
        if (buried || explorer::lives(1)) return false;
        p.bury(0, claim);
        return buried = true;
    }
    void doze(publisher& p, chunk_writer& c) {
        atomics::store(page.state.wanted, std::uint64_t{0}, std::memory_order_relaxed);
        atomics::store(page.state.holders, ~std::uint64_t{0}, std::memory_order_relaxed);
        const auto seen = publisher_bed().lie_down();
        if (!c.make_way(p, vet)) atomics::futex_wait(all.room[0], seen, {});
        publisher_bed().get_up();
    }
    void ring_subscribers(std::uint64_t asleep) {
        parley::detail::ring_all<atomics>(asleep, bell, [] {});
    }
    void inherit() {
        if (explorer::lives(publisher_id)) return;
        if (atomics::load(page.closed, std::memory_order_acquire) != 0) return;
        publisher p = open_publisher();
        chunk_writer c(shape, memory, page, p, vet);
        publish_from(p, c, heir_published, 2, 100);
        atomics::store(page.closed, std::uint32_t{2}, std::memory_order_seq_cst);
        ring_subscribers(atomics::load(all.asleep, std::memory_order_seq_cst));
    }

    // --- a subscriber ----------------------------------------------------------------------
    struct record {
        bool came = false, ended = false;
        typename reader::start from{};
        std::uint64_t taken = 0, last = 0, lost = 0, of_heir = 0;
    };
    struct hold {
        parley::bytes payload;
        std::uint64_t n;
    };

    void come(std::size_t j) {
        auto& mine = cursors[j].page;
        atomics::store(mine.rings[0].head, parley::shm_layout::nowhere, std::memory_order_seq_cst);
        atomics::store(mine.rings[0].holds, std::uint64_t{0}, std::memory_order_seq_cst);
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
        told[j].from = reader::choose(rings, how.rule, page, mine.rings[0]);
        told[j].came = true;
    }
    [[nodiscard]] parley::detail::many_sleepers<atomics> beds() { return {all.asleep, bell}; }

    void subscribe(std::size_t j) {
        const bool is_late = !told[j].came;
        if (is_late) come(j);
        record& me = told[j];
        auto& cursor = cursors[j].page.rings[0];
        followed f{reader(rings, how.rule, ring, cursor, page, me.from), &page, 0, 1, 0, true, {}};
        f.chunks = {shape, memory, cursor, page};
        if (is_late) ring_publisher(f.ring.skip_to_end(), f, j);
        hold last{};
        std::byte note[512];
        for (;;) {
            explorer::settled(parley::testing::mixed(
                f.ring.position() << 16 ^ me.taken << 8 ^ me.of_heir,
                parley::testing::mixed(me.last << 8 ^ f.ring.lost(), last.n)));
            const bool over = is_over();
            const auto item =
                f.take_chunk(parley::shm_layout::overwrites(how.rule) ? note : nullptr,
                             [&](std::uint64_t asleep) { ring_publisher(asleep, f, j); });
            explorer::require(item.kind != parley::detail::taken::broken, "a ring is broken");
            if (item.kind == parley::detail::taken::message) {
                ++f.borrowed;
                const hold now{item.payload, number_in(item.payload)};
                note_down(now.n, me);
                if (how.keeps) let_go(std::exchange(last, now), f, j);
                if (!how.keeps) let_go(now, f, j);
                continue;
            }
            let_go(std::exchange(last, {}), f, j);
            if (over) break;  // it was over before this look found nothing
            doze(f);
        }
        me.lost = f.ring.lost();
        me.ended = true;
        atomics::store(cursor.head, parley::shm_layout::nowhere, std::memory_order_seq_cst);
        (void)parley::detail::rang<atomics>(
            atomics::load(page.state.asleep, std::memory_order_seq_cst), all.room[0],
            [] { return false; });
    }
    /// The number of the message in a chunk that is held.
    static std::uint64_t number_in(parley::bytes payload) {
        std::uint64_t words[2] = {};
        explorer::require(payload.size() == sizeof words, "a message has another length");
        atomics::read(words, payload.data(), sizeof words);
        explorer::require(words[1] == (words[0] | 1), "a message is torn");
        return words[0] >> 8;
    }
    void let_go(const hold& h, followed& f, std::size_t j) {
        if (h.payload.data() == nullptr) return;
        explorer::require(number_in(h.payload) == h.n, "what is held was overwritten");
        ring_publisher(f.let_go(h.payload), f, j);
    }
    void ring_publisher(std::uint64_t asleep, const followed& f, std::size_t j) {
        if (asleep == 0 || !f.ring.is_awaited(j)) return;
        (void)parley::detail::rang<atomics>(asleep, all.room[0], [] { return false; });
    }
    [[nodiscard]] bool is_over() const {
        if (atomics::load(page.closed, std::memory_order_acquire) != 0) return true;
        if (how.publisher == life::immortal || explorer::lives(publisher_id)) return false;
        return !how.heir || !explorer::lives(1 + how.subscribers);
    }
    void note_down(std::uint64_t n, record& me) const {
        if (n > 100) {
            ++me.of_heir;
            return;
        }
        explorer::require(me.of_heir == 0 && n > me.last, "a message comes twice, or too late");
        explorer::require(me.taken == 0 || n == me.last + 1 || how.rule != giving_way::block,
                          "a message is missing");
        ++me.taken;
        me.last = n;
    }
    void doze(const followed& f) {
        const auto seen = beds().lie_down(parley::detail::asleep_on_futex);
        if (!f.ring.ready() && !is_over()) atomics::futex_wait(bell, seen, {});
    }

    // --- afterwards ------------------------------------------------------------------------
    void check() const {
        const bool waits = !parley::shm_layout::overwrites(how.rule);
        for (std::size_t j = 0; j < how.subscribers; ++j) {
            const record& r = told[j];
            if (!r.ended) continue;  // it died
            const bool from_the_start = j + how.late < how.subscribers;
            if (from_the_start) {
                explorer::require(r.taken + r.lost >= published,
                                  "what is missing was not counted as lost");
            }
            if (how.publisher == life::immortal) {
                explorer::require(r.taken + r.lost <= published, "more came than was published");
            }
            if (how.rule == giving_way::block) {
                explorer::require(r.lost == 0, "a message is missing");
            }
            if (r.taken != 0 && how.rule != giving_way::drop_newest && !how.heir) {
                explorer::require(r.last >= published, "the last message is missing");
            }
            if (waits && from_the_start) {
                explorer::require(r.of_heir == heir_published, "a successor's message is missing");
            }
        }
    }

    variation how;
    parley::shm_layout::shape shape, rings;
    alignas(64) std::byte ring[4096];
    alignas(64) std::byte memory[3 * chunk_bytes];
    parley::shm_layout::subscribers_page all{};
    std::uint32_t bell = 0;
    parley::shm_layout::publisher_page page{};
    cursor_page cursors[subscribers_max]{};
    publisher out;
    chunk_writer chunks;
    record told[subscribers_max];
    std::uint64_t published = 0, dropped = 0, heir_published = 0;
    bool buried = false;
};

}  // namespace parley_test
