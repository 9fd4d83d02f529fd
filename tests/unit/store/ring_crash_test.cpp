// SPDX-License-Identifier: MIT
// What a loss of power may leave of a mapped ring. The kernel writes a mapping back when it likes:
// so of every sector any version since its last sync may be on the disk.
#include <parley/store/ring.hpp>

#include "support/catch.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>

#include <iostream>
#include <map>
#include <memory>
#include <vector>

using namespace parley;
using detail::std_atomics;

namespace {

constexpr std::size_t capacity = 8192;
constexpr std::size_t page_bytes = 4096;

std::byte letter(std::uint64_t seed, std::size_t k) {
    return static_cast<std::byte>(seed * 53 + k * 7 + 1);
}

/// The memory of a ring, its versions, and what was promised of it.
class world {
public:
    explicit world(std::size_t sector) : sector_(sector) {
        detail::unique_fd file(::memfd_create("ring", MFD_CLOEXEC));
        REQUIRE(::ftruncate(file.get(), page_bytes + capacity) == 0);
        REQUIRE(page_.map(file.get(), 0, page_bytes, PROT_READ | PROT_WRITE));
        REQUIRE(ring_.map_twice(file.get(), page_bytes, capacity, PROT_READ | PROT_WRITE));
        page() = store::fresh_ends();
        page().tail = page().head = page().released = shape().first();
        versions_.resize((page_bytes + capacity) / sector_);
        settle(0, versions_.size());
    }

    [[nodiscard]] static store::ring_shape shape() { return {capacity, 8}; }
    [[nodiscard]] store::ends_page& page() const { return page_.as<store::ends_page>(); }
    [[nodiscard]] store::ring_memory memory() const { return {shape(), ring_.data(), &page()}; }

    /// Remembers what changed since the last look.
    void observe() {
        for (std::size_t s = 0; s < versions_.size(); ++s) {
            if (versions_[s].back() != live(s)) versions_[s].push_back(live(s));
        }
    }
    int sync(std::uint64_t from, std::uint64_t to) {
        observe();
        for (auto p = from / page_bytes * page_bytes; p < to; p += page_bytes) {
            const auto first = (page_bytes + p % capacity) / sector_;
            settle(first, first + page_bytes / sector_);
        }
        return 0;
    }
    int sync_page() {
        observe();
        settle(0, page_bytes / sector_);
        return 0;
    }

    /// Puts a state into `other` in which a crash now may leave the disk; all of them by turns, or
    /// if they are more than `most`, so many by chance.
    template <class Visit>
    std::size_t crash(world& other, std::size_t most, parley::random& r, Visit visit) {
        observe();
        std::size_t count = 1;
        for (const auto& v : versions_) count = std::min(count * v.size(), most + 1);
        const bool all = count <= most;
        if (!all) count = most;
        for (std::size_t i = 0; i < count; ++i) {
            std::size_t left = i;
            for (std::size_t s = 0; s < versions_.size(); ++s) {
                const std::size_t n = versions_[s].size();
                const auto& chosen = versions_[s][all ? left % n : r.below(n)];
                left /= n;
                std::memcpy(other.place(s), chosen.data(), sector_);
            }
            other.settle(0, other.versions_.size());
            visit();
        }
        return count;
    }

private:
    [[nodiscard]] std::byte* place(std::size_t s) const {
        const std::size_t at = s * sector_;
        return at < page_bytes ? page_.data() + at : ring_.data() + (at - page_bytes);
    }
    [[nodiscard]] std::vector<std::byte> live(std::size_t s) const {
        return {place(s), place(s) + sector_};
    }
    void settle(std::size_t first, std::size_t last) {
        for (std::size_t s = first; s < last; ++s) versions_[s] = {live(s)};
    }

    std::size_t sector_;
    detail::mapping page_, ring_;
    std::vector<std::vector<std::vector<std::byte>>> versions_;
};

struct storage {
    world* of = nullptr;
    int sync(std::uint64_t from, std::uint64_t to) { return of->sync(from, to); }
    int sync_page() { return of->sync_page(); }
};

/// What was sent, what was promised, and what was received.
struct told {
    std::map<std::uint64_t, std::uint64_t> sent;  // sequence to seed
    std::map<std::uint64_t, std::size_t> length;
    std::uint64_t synced = 0, received = 0;  // up to these
};

/// A sender and a receiver of a world.
struct both {
    both(world& on, told& t) : w(on), log(t) {
        store::ring_end found;
        std::uint64_t at = 0;
        REQUIRE(store::recover_ring(w.memory(), found, at));
        REQUIRE(writer.take_over(w.memory(), found, {&w}) == 0);
        w.observe();
    }
    bool send(std::size_t n, std::uint64_t seed) {
        if (!writer.has_room(n)) return false;
        const auto room = writer.loan(n);
        for (std::size_t k = 0; k < n; ++k) room[k] = letter(seed, k);
        w.observe();
        const auto number = writer.next().sequence;
        log.sent[number] = seed;
        log.length[number] = n;
        writer.commit(store::record_kind::message, n);
        w.observe();
        return true;
    }
    bool receive() {
        auto& p = w.page();
        if (p.head == p.tail) return false;
        store::record_header h;
        const store::expectation e{p.head, 0, 0, 8};
        REQUIRE(w.memory().judge(e, p.tail, h) == store::judged::whole);
        p.from = h.sender;
        w.observe();
        p.head += store::record_stride(h.length);
        w.observe();
        p.released = p.head;
        log.received = h.sequence;
        w.observe();
        return true;
    }
    void sync() {
        REQUIRE(writer.sync() == 0);
        log.synced = writer.next().sequence - 1;
    }

    world& w;
    told& log;
    store::ring_writer<std_atomics, storage> writer;
};

/// Recovers what a crash left: what was synced and not received is there, nothing else than what
/// was sent, in its order. Gives the numbers of the first message, or 0, and behind the last.
std::pair<std::uint64_t, std::uint64_t> recovered(world& w, const told& t) {
    store::ring_end found;
    std::uint64_t at = 0;
    REQUIRE(store::recover_ring(w.memory(), found, at));
    store::expectation e{w.page().head, 0, w.page().from, 8};
    std::uint64_t first = 0, last = 0;
    while (e.position < found.next.position) {
        store::record_header h;
        REQUIRE(w.memory().judge(e, found.next.position, h) == store::judged::whole);
        REQUIRE((last == 0 || h.sequence == last + 1));
        const auto seed = t.sent.find(h.sequence);
        REQUIRE(seed != t.sent.end());
        const std::byte* payload = w.memory().at(h.position) + store::record_header_bytes;
        bool same = h.length == t.length.at(h.sequence);
        for (std::size_t k = 0; same && k < h.length; ++k)
            same = payload[k] == letter(seed->second, k);
        INFO("number " << h.sequence << " length " << h.length << " seed " << seed->second
                       << " sender " << h.sender << " at " << h.position << " head "
                       << w.page().head << " count " << w.page().count << " tail "
                       << w.page().tail);
        REQUIRE(same);
        if (first == 0) first = h.sequence;
        last = h.sequence;
        e.step_over(h);
    }
    if (t.synced > t.received) {
        REQUIRE(first != 0);
        REQUIRE(first <= t.received + 1);
        REQUIRE(last >= t.synced);
    }
    if (first != 0) REQUIRE(first <= t.received + 1);
    store::ring_end again;
    REQUIRE(store::recover_ring(w.memory(), again, at));
    REQUIRE(again.next.position == found.next.position);
    return {first, found.next.sequence};
}

enum class act : std::uint8_t { small, large, receive, sync };
constexpr act acts[] = {act::small, act::large, act::receive, act::sync};

/// What there is before a script: a new ring, or one that went round, full or empty, synced or not.
void prelude(both& b, unsigned kind) {
    if (kind == 0) return;
    for (std::uint64_t i = 0; i < 30; ++i) {
        if (kind % 2 == 1 && i == 8) b.sync();
        while (!b.send(500, 1000 + i)) REQUIRE(b.receive());
    }
    if (kind >= 3) {
        while (b.receive()) {
        }
    }
    if (kind % 2 == 1) b.sync();
}

void do_act(both& b, act a, std::uint64_t seed) {
    switch (a) {
        case act::small: (void)b.send(60, seed); break;
        case act::large: (void)b.send(700, seed); break;
        case act::receive: (void)b.receive(); break;
        case act::sync: b.sync(); break;
    }
}

/// A sender takes over what a crash left, sends, syncs, and the power goes again.
std::size_t next_life(world& after, world& second, const told& t, std::uint64_t first,
                      std::uint64_t behind, parley::random& r) {
    told u = t;
    if (first == 0) u.received = behind - 1;  // nothing is left; numbers go on
    u.sent.erase(u.sent.lower_bound(behind), u.sent.end());
    if (u.synced >= behind) u.synced = behind - 1;  // received, so nothing of it is owed
    both again(after, u);
    const std::size_t n = r.below(2) == 0 ? 60 : 700;
    for (std::uint64_t i = 0; i < 1 + r.below(3); ++i) {
        if (!again.send(n, 5000 + i)) break;
    }
    if (r.below(3) == 0) again.sync();
    std::size_t states = after.crash(second, 32, r, [&] { (void)recovered(second, u); });
    while (again.receive()) {
    }
    for (std::uint64_t i = 0; i < 12; ++i) (void)again.send(n, 6000 + i);
    states += after.crash(second, 32, r, [&] { (void)recovered(second, u); });
    return states;
}

}  // namespace

TEST_CASE("ring: no crash loses what was synced and not received, or shows what was not sent") {
    const parley_test::watchdog dog("crashes of a ring", std::chrono::seconds(800));
    parley::random r(13);
    std::size_t states = 0, exhausted = 0, scripts = 0;
    // Sanitizers look at the code, which is the same in every state: an eighth of them is enough.
    const bool few = parley_test::slowness() > 1 && !parley_test::campaign();
    const std::size_t most = parley_test::campaign() ? 1 << 14 : few ? 1 << 6 : 1 << 9;
    for (const std::size_t sector : {512U, 4096U}) {
        for (unsigned kind = 0; kind < 5; ++kind) {
            for (unsigned number = 0; number < 64; ++number) {
                INFO("script " << number << " after prelude " << kind << ", sectors of " << sector);
                const auto w = std::make_unique<world>(sector);
                const auto after = std::make_unique<world>(sector);
                const auto second = std::make_unique<world>(sector);
                told t;
                both b(*w, t);
                prelude(b, kind);
                for (unsigned i = 0, code = number; i < 3; ++i, code /= 4) {
                    do_act(b, acts[code % 4], 100 + i);
                }
                const auto count = w->crash(*after, most, r, [&] {
                    const auto [first, behind] = recovered(*after, t);
                    if (r.below(8) != 0) return;
                    states += next_life(*after, *second, t, first, behind, r);
                });
                states += count;
                exhausted += count < most;
                ++scripts;
            }
        }
    }
    std::cout << "ring: " << states << " states after crashes were recovered, of " << exhausted
              << " of " << scripts << " scripts all of them\n";
    CHECK(states > (few ? 10'000 : 100'000));
}
