// SPDX-License-Identifier: MIT
#include <parley/store/spool.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"

#include <unistd.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

using namespace parley_test;
using namespace parley;

namespace {

/// Tells of each store to shared memory: what a crash right behind it would leave can be looked at.
struct watched_atomics : parley::detail::std_atomics {
    static inline std::function<void()> after_store;
    template <class Word>
    static void store(Word& at, Word value, std::memory_order order) noexcept {
        parley::detail::std_atomics::store(at, value, order);
        if (after_store) after_store();
    }
};
using watched_spool = store::basic_spool<watched_atomics>;

constexpr message_type text_type{7, "text", 1};

/// The messages that who opens the file now would find.
std::vector<std::string> left_in(const store::ring_memory& m) {
    store::ends_page page = *m.page;
    const store::ring_memory now{m.shape, m.ring, &page};
    store::ring_end found;
    std::uint64_t lost_at = 0;
    std::vector<std::string> all;
    if (!store::recover_ring(now, found, lost_at)) return all;
    store::record_header h;
    for (store::expectation at{page.head, 0, page.from, m.shape.alignment};
         at.position != found.next.position;) {
        if (now.judge(at, found.next.position, h) != store::judged::whole) break;
        at.step_over(h);
        if (h.kind != store::record_kind::message) continue;
        const auto* text = reinterpret_cast<const char*>(m.at(h.position));
        all.emplace_back(text + store::record_header_bytes, h.length);
    }
    return all;
}

}  // namespace

TEST_CASE("spool: a crash behind any store loses nothing that was not let go") {
    const temporary_directory dir;
    const std::string path = dir / "spool";
    diagnostics why;
    for (int life = 0; life < 3; ++life) {  // senders of their own, of four messages each
        store::spool s;
        REQUIRE(s.open(path, 4096, text_type, why));
        for (int i = 0; i < 4; ++i) {
            REQUIRE(s.put(as_bytes(std::to_string(life * 4 + i)), false, why));
        }
    }
    store::ring_file other;
    REQUIRE(other.open(path, {}, true, text_type, {}, why));
    other.mended();
    CHECK(left_in(other.memory()).size() == 12);

    watched_spool s;
    std::size_t stores = 0, wanted = 12;
    std::string wrong;
    watched_atomics::after_store = [&] {
        ++stores;
        const auto left = left_in(other.memory());
        if (left.size() < wanted || left.back() != "11") wrong = std::to_string(left.size());
    };
    REQUIRE(s.open(path, 4096, text_type, why));
    CHECK(s.waiting() == 12);
    for (int i = 0; i < 12; ++i) {
        REQUIRE(s.next(why));
        if (i != 1 && i != 9 && i != 10) continue;  // across the ends of lives
        wanted = static_cast<std::size_t>(11 - i);
        REQUIRE(s.let_go(s.place(), why));
        CHECK(left_in(other.memory()).size() == wanted);
    }
    watched_atomics::after_store = nullptr;
    CHECK(stores > 12);
    CHECK(wrong.empty());
    CHECK(s.next(why).error() == errc::would_block);
    s.leave();
    CHECK(s.put(as_bytes("x"), false, why).error() == errc::closed);
    CHECK(s.let_go(0, why).error() == errc::closed);
}
TEST_CASE("spool: a file that was cut, or whose kept records were, is told, not touched") {
    const temporary_directory dir;
    const std::string path = dir / "spool";
    diagnostics why;
    store::ring_file other;
    store::spool s;
    REQUIRE(s.open(path, 4096, text_type, why));
    REQUIRE(other.open(path, {}, true, text_type, {}, why));
    other.mended();
    REQUIRE(s.put(as_bytes("one"), false, why));
    REQUIRE(s.next(why));
    std::memset(other.memory().at(other.page().head), 0xff, store::record_header_bytes);
    CHECK(s.let_go(s.place(), why).error() == errc::corrupt);
    CHECK_THAT(why.text(), contains("spool was damaged at position"));

    store::spool cut;
    REQUIRE(cut.open(dir / "cut", 4096, text_type, why));
    REQUIRE(::truncate((dir / "cut").c_str(), 100) == 0);
    for (int i = 0; i < 2; ++i) {
        CHECK(cut.put(as_bytes("x"), false, why).error() == errc::corrupt);
        CHECK(cut.next(why).error() == errc::corrupt);
        CHECK(cut.let_go(0, why).error() == errc::corrupt);
    }
    CHECK_THAT(why.text(), contains("cut was truncated while it was open"));
}
TEST_CASE("spool: what is no message takes no room for ever") {
    const temporary_directory dir;
    const std::string path = dir / "spool";
    diagnostics why;
    {
        store::ring_file file;
        REQUIRE(file.open(path, {4096, 8}, true, text_type, {}, why));
        store::ring_end found;
        std::uint64_t lost_at = 0;
        REQUIRE(store::recover_ring(file.memory(), found, lost_at));
        store::ring_writer<parley::detail::std_atomics, store::mapped_storage> ring;
        REQUIRE(ring.take_over(file.memory(), found, file.storage()) == 0);
        ring.commit(store::record_kind::end, 0);  // a sender that closed in good order
        file.mended();
    }
    store::spool s;
    REQUIRE(s.open(path, 4096, text_type, why));
    CHECK(s.waiting() == 0);
    for (int i = 0; i < 5; ++i) {
        const std::string all(s.message_bytes_max(), 'x');
        REQUIRE(s.has_room(all.size()));
        REQUIRE(s.put(as_bytes(all), false, why));
        REQUIRE(s.next(why));
        REQUIRE(s.let_go(s.place(), why));
    }
}
