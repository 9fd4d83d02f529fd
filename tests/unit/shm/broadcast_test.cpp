// SPDX-License-Identifier: MIT
// The protocols of a topic's rings, without processes: they are templates over plain memory.
#include <parley/base/random.hpp>
#include <parley/shm/broadcast_reader.hpp>
#include <parley/shm/broadcast_writer.hpp>
#include <parley/shm/segment.hpp>

#include "support/catch.hpp"
#include "support/watchdog.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace {

using atomics = parley::detail::std_atomics;
namespace layout = parley::shm_layout;
using layout::giving_way;
using parley::detail::taken;
using writer = parley::detail::broadcast_writer<atomics>;
using reader = parley::detail::broadcast_reader<atomics>;
using parley_test::watchdog;

/// The machine's atomics, and somebody who does something else after the n-th of them.
struct meddled : atomics {
    static inline std::function<void()> between;
    static inline int left = 0;
    static void step() {
        if (between && left-- == 0) std::exchange(between, nullptr)();
    }
    template <class Word>
    static Word load(const Word& at, std::memory_order order) {
        const auto value = atomics::load(at, order);
        step();
        return value;
    }
    template <class Word>
    static void store(Word& at, Word value, std::memory_order order) {
        atomics::store(at, value, order);
        step();
    }
};

constexpr auto trust_all = [](std::size_t) { return true; };

/// One ring with its pages; subscribers come and go.
struct ring_in_memory {
    explicit ring_in_memory(giving_way how, std::size_t capacity = 4096) : rule(how) {
        s.capacity = capacity;
        parley::detail::unique_fd file(::memfd_create("ring", MFD_CLOEXEC));
        REQUIRE(::ftruncate(file.get(), static_cast<off_t>(capacity)) == 0);
        memory.map_twice(file.get(), 0, capacity, PROT_READ | PROT_WRITE).value();
        page.start(s);
        for (auto& c : cursors) {
            for (auto& r : c.page.rings) r.head = layout::nowhere;
        }
    }
    [[nodiscard]] writer publisher() {
        return {s, rule, 0, memory.data(), page, all, reinterpret_cast<std::byte*>(cursors)};
    }
    template <class Reader = reader>
    [[nodiscard]] Reader follow(std::size_t j) {
        std::atomic_ref(all.known).fetch_or(std::uint64_t{1} << j);
        auto& cursor = cursors[j].page.rings[0];
        const auto start = Reader::choose(s, rule, page, cursor);
        return {s,      rule, memory.data(),
                cursor, page, {start.position, start.sequence, start.dropped}};
    }
    void leave(std::size_t j) {
        std::atomic_ref(cursors[j].page.rings[0].head).store(layout::nowhere);
    }

    layout::shape s{1, 4096, 8, layout::segment_kind::topic};
    giving_way rule;
    parley::detail::mapping memory;
    layout::publisher_page page{};
    layout::subscribers_page all{};
    struct place {
        union {
            layout::subscriber_page page{};
            std::byte room[layout::cursors_bytes];
        };
    } cursors[4];
};

/// Message i: its length follows from i, each of its bytes from i and its place.
std::size_t length_of(std::uint64_t i) { return (i * 0x9e3779b97f4a7c15ULL >> 40) % 200; }
std::byte byte_of(std::uint64_t i, std::size_t at) {
    return static_cast<std::byte>(i * 31 + at * 7 + (i >> 8));
}
struct message {
    explicit message(std::uint64_t i) : bytes(8 + length_of(i)) {
        std::memcpy(bytes.data(), &i, 8);
        for (std::size_t k = 8; k < bytes.size(); ++k) bytes[k] = byte_of(i, k);
    }
    std::vector<std::byte> bytes;
};
/// The number of a message, or ~0 if it is none that was ever sent.
std::uint64_t number_of(parley::bytes b) {
    std::uint64_t i = 0;
    if (b.size() < 8) return ~std::uint64_t{0};
    std::memcpy(&i, b.data(), 8);
    if (b.size() != 8 + length_of(i)) return ~std::uint64_t{0};
    for (std::size_t k = 8; k < b.size(); ++k) {
        if (b[k] != byte_of(i, k)) return ~std::uint64_t{0};
    }
    return i;
}
bool put(writer& w, std::uint64_t i) {
    const message m(i);
    std::uint64_t asleep = 0;
    return w.copy_in(m.bytes, asleep) ||
           (w.make_way(m.bytes.size(), trust_all) && w.copy_in(m.bytes, asleep));
}

/// Takes all that is there; checks order, wholeness, and that what is missing was counted.
template <class Reader>
struct checked {
    explicit checked(Reader from) : in(std::move(from)), room(4096) {}
    taken take() {
        const auto item = in.take(room.data());
        if (item.kind != taken::message) return item.kind;
        const auto i = number_of(item.payload);
        wrong += i == ~std::uint64_t{0} || i < next || i != first + got + in.lost();
        next = i + 1;
        ++got;
        (void)in.release();
        return taken::message;
    }
    std::uint64_t drain() {
        while (take() == taken::message) {
        }
        return got;
    }
    void begin_at(std::uint64_t i) { first = next = i; }

    Reader in;
    std::vector<std::byte> room;
    std::uint64_t first = 0, next = 0, got = 0, wrong = 0;
};

}  // namespace

TEST_CASE("broadcast ring: each subscriber gets each message, and the slowest holds the publisher",
          "[shm]") {
    ring_in_memory ring(giving_way::block);
    auto out = ring.publisher();
    checked a(ring.follow(0)), b(ring.follow(1));
    parley::random r(1);
    std::uint64_t sent = 0, refused = 0;
    for (int step = 0; step < 20'000; ++step) {
        switch (r.below(4)) {
            case 0: (void)a.take(); break;
            case 1: (void)b.take(); break;
            default: put(out, sent) ? ++sent : ++refused;
        }
    }
    a.drain();
    b.drain();
    CHECK(a.got == sent);
    CHECK(b.got == sent);
    CHECK(a.wrong + b.wrong + a.in.lost() + b.in.lost() == 0);
    CHECK(refused > 0);
    while (put(out, sent)) ++sent;
    CHECK(out.holders(200) == 3);
    a.drain();
    CHECK_FALSE(out.make_way(200, trust_all));
    CHECK(out.holders(200) == 2);
    b.drain();
    CHECK(put(out, sent));
}

TEST_CASE("broadcast ring: a cursor that lies holds nobody up but within its ring, and harms none",
          "[shm]") {
    ring_in_memory ring(giving_way::block);
    auto out = ring.publisher();
    checked honest(ring.follow(0));
    std::atomic_ref(ring.all.known).fetch_or(~std::uint64_t{0} >> 60);
    parley::random r(2);
    std::uint64_t sent = 0;
    for (int step = 0; step < 20'000; ++step) {
        for (std::size_t j = 1; j < 4; ++j) {
            const std::uint64_t lies[] = {r.below(~std::uint64_t{0}),
                                          ~std::uint64_t{0} - r.below(9),
                                          out.head_for(0) + r.below(9000), r.below(9000), 0};
            ring.cursors[j].page.rings[0].head = lies[r.below(5)];
        }
        if (put(out, sent)) ++sent;
        if (r.below(2) == 0) honest.drain();
    }
    honest.drain();
    CHECK(honest.got == sent);
    CHECK(honest.wrong == 0);
    CHECK(sent > 1000);
    for (std::size_t j = 1; j < 4; ++j) ring.cursors[j].page.rings[0].head = j;  // long ago
    for (int n = 0; n < 100; ++n, ++sent) {
        REQUIRE(put(out, sent));
        honest.drain();
    }
    for (std::size_t j = 1; j < 4; ++j) ring.cursors[j].page.rings[0].head = out.head_for(0);
    for (std::size_t j = 1; j < 4; ++j) out.bury(j, out.claims(j));  // as if they had died
    CHECK(put(out, sent));
}

TEST_CASE(
    "broadcast ring: who is overtaken goes on at a whole message and knows how many it missed",
    "[shm]") {
    const auto rule = GENERATE(giving_way::drop_oldest, giving_way::latest_only);
    ring_in_memory ring(rule, GENERATE(std::size_t{4096}, std::size_t{16384}));
    auto out = ring.publisher();
    checked a(ring.follow(0)), b(ring.follow(1));
    parley::random r(3);
    std::uint64_t sent = 0;
    for (int step = 0; step < 3000; ++step) {
        for (auto n = r.below(r.below(20) == 0 ? 300 : 10); n > 0; --n) REQUIRE(put(out, sent++));
        for (auto n = r.below(8); n > 0; --n) (void)a.take();
        if (step % 500 == 0) b.drain();
    }
    a.drain();
    b.drain();
    CHECK(a.got + a.in.lost() == sent);
    CHECK(b.got + b.in.lost() == sent);
    CHECK(a.wrong + b.wrong == 0);
    CHECK(b.in.lost() > 0);
    CHECK(a.next == sent);
    if (rule == giving_way::latest_only) return;
    // What is still spared is not skipped: three quarters of a ring, less a stretch.
    while (sent % 100 != 0) REQUIRE(put(out, sent++));
    a.drain();
    const auto lost = a.in.lost(), got = a.got;
    std::size_t bytes = 0;
    for (; bytes < 3 * ring.s.capacity; ++sent) {
        REQUIRE(put(out, sent));
        bytes += ring.s.stride(message(sent).bytes.size());
    }
    a.drain();
    CHECK(a.in.lost() > lost);
    CHECK(a.got - got > (a.in.lost() - lost + a.got - got) / 6);
}

TEST_CASE("broadcast ring: whatever the publisher does between any two steps of a subscriber",
          "[shm]") {
    const auto rule = GENERATE(giving_way::block, giving_way::drop_oldest, giving_way::latest_only);
    const std::uint64_t burst = GENERATE(std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{200});
    for (int step = 0; step < 250; ++step) {
        ring_in_memory ring(rule);
        auto out = ring.publisher();
        std::uint64_t sent = 0;
        const auto publish = [&](std::uint64_t n) {
            for (; n > 0 && put(out, sent); --n) ++sent;
        };
        publish(500);
        // It comes, reads, is overtaken or not, and reads again; meanwhile, once, a burst.
        meddled::between = [&] { publish(burst); };
        meddled::left = step;
        INFO("rule " << static_cast<int>(rule) << ", a burst of " << burst << " at step " << step);
        checked me(ring.follow<parley::detail::broadcast_reader<meddled>>(0));
        (void)me.in.skip_to_end();
        auto item = me.in.take(me.room.data());
        if (item.kind == taken::nothing) {
            publish(1);
            item = me.in.take(me.room.data());
        }
        REQUIRE(item.kind == taken::message);
        const auto i = number_of(item.payload);
        REQUIRE(i < sent);
        me.begin_at(i + 1 - me.in.lost());
        me.next = i + 1;
        (void)me.in.release();
        for (int n = 0; n < 10; ++n) (void)me.take();
        publish(150);
        me.drain();
        meddled::between = nullptr;
        me.drain();
        REQUIRE(me.wrong == 0);
        REQUIRE(me.first + me.got + me.in.lost() == sent);
    }
}

TEST_CASE("broadcast ring: what is overwritten while it is copied is never handed out", "[shm]") {
    watchdog dog("broadcast ring: torn", std::chrono::seconds(120));
    const auto rule = GENERATE(giving_way::drop_oldest, giving_way::latest_only);
    ring_in_memory ring(rule);
    auto out = ring.publisher();
    const std::uint64_t count = parley_test::campaign() ? 20'000'000 : 200'000;
    std::atomic<bool> over{false};
    std::vector<std::unique_ptr<checked<reader>>> readers;
    std::vector<std::jthread> threads;
    for (std::size_t j = 0; j < 2; ++j) {
        readers.push_back(std::make_unique<checked<reader>>(ring.follow(j)));
        threads.emplace_back([&over, &me = *readers.back()] {
            while (!over.load()) (void)me.take();
            me.drain();
        });
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        if (!put(out, i)) FAIL("it waits for nobody");
    }
    over = true;
    threads.clear();
    for (const auto& r : readers) {
        CHECK(r->wrong == 0);
        CHECK(r->got + r->in.lost() == count);
        CHECK(r->next == count);
    }
}

TEST_CASE("broadcast ring: who comes while messages flow misses none from its first on", "[shm]") {
    watchdog dog("broadcast ring: newcomers", std::chrono::seconds(120));
    const auto rule = GENERATE(giving_way::block, giving_way::drop_oldest);
    ring_in_memory ring(rule);
    const int rounds = parley_test::campaign() ? 100'000 : 1500;
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> published{0};
    std::jthread publisher([&] {
        auto out = ring.publisher();
        for (std::uint64_t i = 0; !over.load(); ++i) {
            while (!put(out, i)) {
                if (over.load()) return;
                std::this_thread::yield();
            }
            published = i + 1;
        }
    });
    std::uint64_t wrong = 0, broken = 0;
    for (int round = 0; round < rounds; ++round) {
        checked me(ring.follow(0));
        (void)me.in.skip_to_end();
        const auto before = published.load();
        bool first = true;
        for (int n = 0; n < 5;) {
            if (first) {
                const auto item = me.in.take(me.room.data());
                if (item.kind == taken::nothing) continue;
                broken += item.kind != taken::message;
                const auto i = number_of(item.payload);

                wrong += i == ~std::uint64_t{0} || i - me.in.lost() > before + 1;
                me.begin_at(i + 1 - me.in.lost());
                (void)me.in.release();
                first = false;
            } else if (me.take() != taken::message) {
                continue;
            }
            ++n;
        }
        wrong += me.wrong;
        ring.leave(0);
    }
    over = true;
    CHECK(wrong == 0);
    CHECK(broken == 0);
}

TEST_CASE("broadcast ring: a publisher goes on where the last one stopped or died", "[shm]") {
    const auto rule = GENERATE(giving_way::block, giving_way::drop_newest, giving_way::drop_oldest);
    ring_in_memory ring(rule);
    std::uint64_t sent = 0;
    checked a(ring.follow(0));
    for (int life = 0; life < 300; ++life) {
        auto out = ring.publisher();
        for (int n = life % 40; n > 0; --n) {
            REQUIRE(put(out, sent++));
            if (n % 3 == 0) a.drain();
        }
        if (rule != giving_way::drop_oldest && out.make_way(100, trust_all)) {
            const auto half = out.try_loan(100);  // written, never committed
            REQUIRE(half.size() == 100);
            std::memset(half.data(), 0x5a, half.size());
        }
        if (life % 2 == 0) a.drain();
    }
    a.drain();
    CHECK(a.got + a.in.lost() == sent);
    CHECK(a.wrong == 0);
}

TEST_CASE("broadcast ring: a publisher that scribbles gives messages within its ring, or none",
          "[shm]") {
    const auto rule = GENERATE(giving_way::block, giving_way::drop_oldest, giving_way::latest_only);
    parley::random r(5);
    for (int round = 0; round < 200; ++round) {
        ring_in_memory ring(rule);
        auto out = ring.publisher();
        auto in = ring.follow(0);
        std::vector<std::byte> room(4096);
        for (std::uint64_t i = 0; i < 20; ++i) (void)put(out, i);
        for (int scribble = 0; scribble < 20; ++scribble) {
            const auto any = r.below(~std::uint64_t{0});
            auto* words = reinterpret_cast<std::uint64_t*>(ring.memory.data());
            switch (r.below(5)) {
                case 0: words[r.below(512)] = any; break;
                case 1:
                    words[r.below(512)] = layout::commit_word(layout::record::message, any % 5000);
                    break;
                case 2: ring.page.reserve = any >> r.below(64); break;
                case 3: ring.page.anchors[any % 16] = {any >> r.below(64), any}; break;
                default: ring.page.progress.written = any;
            }
            for (int n = 0; n < 30; ++n) {
                const auto item = in.take(room.data());
                if (item.kind != taken::message) break;
                REQUIRE(item.payload.size() <= ring.s.capacity);
                (void)in.release();
            }
            (void)in.lost();
        }
        (void)in.skip_to_end();
        auto next = ring.publisher();  // takes the ring over, whatever it holds
        auto again = ring.follow(1);
        (void)again.skip_to_end();
        checked fresh(std::move(again));
        for (std::uint64_t i = 0; i < 100; ++i) (void)put(next, i);
        (void)fresh.in.take(fresh.room.data());
    }
}

TEST_CASE("broadcast bell: of many sleepers each is woken, and nobody rings while none sleeps",
          "[shm]") {
    watchdog dog("broadcast bell", std::chrono::seconds(120));
    layout::subscribers_page all{};
    layout::doorbell_page bell{};
    alignas(64) std::uint64_t word = 0;
    const std::uint64_t rounds = parley_test::campaign() ? 200'000 : 4000;
    const bool enrolled = atomics::enrol();
    std::atomic<std::uint64_t> seen[3]{};
    std::vector<std::jthread> sleepers;
    for (auto& mine : seen) {
        sleepers.emplace_back([&] {
            parley::detail::many_sleepers<atomics> me{all.asleep, bell.bell};
            while (mine < rounds) {
                const auto now = atomics::load(word, std::memory_order_acquire);
                if (now != mine) {
                    mine = now;
                    continue;
                }
                const auto rung = me.lie_down(parley::detail::asleep_on_futex);
                if (atomics::load(word, std::memory_order_seq_cst) != mine) continue;
                me.sleep(rung, std::chrono::hours(1));  // tidy: allow only a ring ends it
            }
        });
    }
    std::uint64_t handled = 0, rings = 0;
    for (std::uint64_t i = 1; i <= rounds; ++i) {
        const auto a = parley::detail::publish_to_all<atomics>(all.asleep, enrolled, word, i);
        if (a != handled) {
            handled = a;
            ++rings;
            parley::detail::ring_all<atomics>(a, bell.bell, [] {});
        }
        if (i % 3 != 0) continue;
        for (auto& other : seen) {
            while (other < i) std::this_thread::yield();
        }
    }
    sleepers.clear();
    CHECK(rings > 0);
    const auto rung = bell.bell;
    for (int i = 0; i < 10; ++i) {
        const auto a = parley::detail::publish_to_all<atomics>(all.asleep, enrolled, word, 0);
        if (a != handled) {
            handled = a;
            parley::detail::ring_all<atomics>(a, bell.bell, [] {});
        }
    }
    CHECK(bell.bell - rung <= 1);
}
