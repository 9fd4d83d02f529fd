// SPDX-License-Identifier: MIT
#include <parley/base/random.hpp>
#include <parley/objects.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <boost/interprocess/containers/map.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/containers/vector.hpp>

#include <sys/mman.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

using parley::errc;
using parley::object_heap;
using parley_test::child;
using parley_test::gate;
using parley_test::unique_name;
using parley_test::watchdog;

namespace {

struct order {
    std::uint32_t id;
    double price;
};
using book = boost::interprocess::vector<order, parley::shared_allocator<order>>;
using text =
    boost::interprocess::basic_string<char, std::char_traits<char>, parley::shared_allocator<char>>;
using entry = std::pair<const std::uint32_t, text>;
using directory =
    boost::interprocess::map<std::uint32_t, text, std::less<>, parley::shared_allocator<entry>>;

book& orders(object_heap& heap) {
    return **heap.find_or_make<book>("orders", heap.allocator<order>());
}

/// A lock in memory that a fork shares.
struct shared_lock {
    shared_lock()
        : at(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          lock(*::new (at) parley::robust_lock) {}
    ~shared_lock() { ::munmap(at, 4096); }
    void* at;
    parley::robust_lock& lock;
};
parley::result<void> nothing_to_mend() { return {}; }

}  // namespace

TEST_CASE("robust lock: who holds it keeps others out until the deadline", "[objects]") {
    shared_lock s;
    auto held = s.lock.lock(nothing_to_mend);
    REQUIRE(held);
    std::thread([&] {
        CHECK(s.lock.lock(nothing_to_mend, std::chrono::milliseconds(5)).error() ==
              errc::timed_out);
        CHECK(s.lock.lock(nothing_to_mend, parley::expired).error() == errc::would_block);
    }).join();
}

TEST_CASE("robust lock: the next one mends what a killed holder left, once", "[objects]") {
    const watchdog dog("robust lock");
    shared_lock s;
    gate ready;
    child c([&] {
        auto held = s.lock.lock(nothing_to_mend);
        ready.open();
        for (;;) ::pause();
        return held ? 0 : 1;
    });
    ready.pass();
    CHECK(s.lock.lock(nothing_to_mend, parley::expired).error() == errc::would_block);
    c.kill();
    int mended = 0;
    CHECK(s.lock.lock([&]() -> parley::result<void> {
        ++mended;
        return {};
    }));
    CHECK(s.lock.lock([&]() -> parley::result<void> {
        ++mended;
        return {};
    }));
    CHECK(mended == 1);
}

TEST_CASE("robust lock: unmended it is corrupt for good", "[objects]") {
    shared_lock s;
    child c([&] {
        auto held = s.lock.lock(nothing_to_mend);
        if (held) ::_exit(0);
        return 1;
    });
    CHECK(c.wait() == 0);
    CHECK(s.lock.lock([]() -> parley::result<void> { return errc::unsupported; }).error() ==
          errc::unsupported);
    CHECK(s.lock.lock(nothing_to_mend).error() == errc::corrupt);
}

TEST_CASE("objects: what one process makes, others find and change", "[objects]") {
    const watchdog dog("objects: find");
    const unique_name name;
    auto world = parley::open_objects(name.text()).value();
    world
        .update([](object_heap& h) {
            orders(h).push_back({7, 99.5});
            auto* names = h.make<directory>("names", h.allocator<entry>()).value();
            names->emplace(7U,
                           text("a rather long text that lies on the heap", h.allocator<char>()));
        })
        .value();
    child c([&] {
        auto mine = parley::open_objects(name.text()).value();
        return mine
            .update([](object_heap& h) {
                if (orders(h).size() != 1 || orders(h)[0].price != 99.5) return 1;
                const auto* names = h.find<directory>("names").value();
                if (names->at(7) != "a rather long text that lies on the heap") return 2;
                for (std::uint32_t i = 0; i < 1000; ++i) orders(h).push_back({i, 1.0});
                return 0;
            })
            .value();
    });
    CHECK(c.wait() == 0);
    CHECK(world.look([](const object_heap& h) { return (*h.find<book>("orders"))->size(); })
              .value() == 1001);
}

TEST_CASE("objects: another type is refused and both are named", "[objects]") {
    const unique_name name;
    auto world = parley::open_objects(name.text()).value();
    CHECK(world.update([](object_heap& h) { return h.make<order>("o"); }));
    const auto wrong = world.update([](object_heap& h) { return h.find<double>("o"); });
    CHECK(wrong.error() == errc::incompatible);
    CHECK(world.why().text().find("f64") != std::string::npos);
    CHECK(world.why().text().find("u32") != std::string::npos);
    CHECK(world.update([](object_heap& h) { return h.make<order>("o"); }).error() == errc::in_use);
    CHECK(world.update([](object_heap& h) { return h.find<order>("p"); }).error() ==
          errc::not_found);
    CHECK(world.update([](object_heap& h) { return h.make<int>(std::string(64, 'x')); }).error() ==
          errc::invalid_argument);
}

TEST_CASE("objects: a full heap is an error, and what is removed makes room", "[objects]") {
    const unique_name name;
    auto world = parley::open_objects(name.text(), {.capacity_bytes = 65536}).value();
    struct large {
        std::byte room[40'000];
    };
    const auto make = [&](const char* what) {
        return world.update([&](object_heap& h) -> parley::result<void> {
            auto* v = h.make<book>(what, h.allocator<order>()).value();
            v->resize(2500);
            return {};
        });
    };
    REQUIRE(make("a"));
    const auto full = make("b");
    CHECK(full.error() == errc::out_of_resources);
    CHECK(world.why().text().find("capacity_bytes") != std::string::npos);
    CHECK(world.update([](object_heap& h) { return h.remove<book>("b"); }));
    CHECK(world.update([](object_heap& h) { return h.remove<book>("a"); }));
    CHECK(make("b"));
}

TEST_CASE("objects: the last one to go removes the file, unless it is to be kept", "[objects]") {
    const unique_name name;
    {
        auto first = parley::open_objects(name.text()).value();
        auto second = parley::open_objects(name.text()).value();
        CHECK(first.update([](object_heap& h) { return h.make<int>("n", 5); }));
        first.close();
        CHECK(first.update([](object_heap&) {}).error() == errc::closed);
        CHECK(*second.look([](const object_heap& h) { return h.find<int>("n"); }).value() == 5);
    }
    CHECK(parley_test::leftovers(name.text()).empty());
    const parley_test::temporary_directory dir;
    for (int life = 0; life < 3; ++life) {
        auto kept = parley::open_objects("kept", {.directory = dir.path(), .keep = true}).value();
        CHECK(kept.update([&](object_heap& h) {
                      return ++**h.find_or_make<int>("lives", 0) == life + 1;
                  })
                  .value());
    }
}

TEST_CASE("objects: an orphan is told by its owner's death and can be adopted", "[objects]") {
    const watchdog dog("objects: orphan");
    const unique_name name;
    auto world = parley::open_objects(name.text()).value();
    gate ready;
    child c([&] {
        auto mine = parley::open_objects(name.text()).value();
        mine.update([](object_heap& h) { return h.make<int>("n", 1); }).value();
        ready.open();
        for (;;) ::pause();
        return 0;
    });
    ready.pass();
    const auto whose = [&] {
        return world.look([](const object_heap& h) { return h.owner_of("n"); }).value();
    };
    const auto adopt = [&] { return world.update([](object_heap& h) { return h.adopt("n"); }); };
    CHECK(whose() == parley::ownership::another);
    CHECK(adopt().error() == errc::in_use);
    c.kill();
    CHECK(whose() == parley::ownership::orphaned);
    CHECK(adopt());
    CHECK(whose() == parley::ownership::mine);
}

TEST_CASE("objects: who dies in a change leaves it to the repair, or to reset", "[objects]") {
    const watchdog dog("objects: repair");
    const unique_name name;
    auto blunt = parley::open_objects(name.text()).value();
    auto able = parley::open_objects(name.text(), {}, [](object_heap& h) -> parley::result<void> {
                    auto* pair = h.find<std::array<int, 2>>("pair").value();
                    (*pair)[1] = (*pair)[0];
                    return {};
                }).value();
    CHECK(blunt.update([](object_heap& h) {
        return h.make<std::array<int, 2>>("pair", std::array<int, 2>{1, 1});
    }));
    const auto die_half_way = [&] {
        child c([&] {
            auto mine = parley::open_objects(name.text()).value();
            mine.update([](object_heap& h) {
                    (**h.find<std::array<int, 2>>("pair"))[0] = 9;
                    ::raise(SIGKILL);
                })
                .value();
            return 0;
        });
        return c.wait();
    };
    REQUIRE(die_half_way() == 128 + SIGKILL);
    const auto read = [](const object_heap& h) -> parley::result<std::array<int, 2>> {
        return **h.find<std::array<int, 2>>("pair");
    };
    CHECK(blunt.look(read).error() == errc::corrupt);
    CHECK(blunt.why().text().find("reset()") != std::string::npos);
    CHECK(able.look(read).value() == std::array<int, 2>{9, 9});
    CHECK(blunt.look(read).value() == std::array<int, 2>{9, 9});

    const auto before = blunt.generation();
    REQUIRE(die_half_way() == 128 + SIGKILL);
    CHECK(blunt.reset());
    CHECK(blunt.generation() == before + 1);
    CHECK(able.update([](object_heap& h) { return h.find<std::array<int, 2>>("pair"); }).error() ==
          errc::not_found);
}

TEST_CASE("objects: killed at any moment, the survivors go on and nothing is left", "[objects]") {
    const watchdog dog("objects: kills", std::chrono::seconds(120));
    const unique_name name;
    const int rounds = parley_test::campaign() ? 1000 : 40;
    parley::random r(4);
    int mended = 0;
    {
        auto world =
            parley::open_objects(name.text(), {}, [&](object_heap& h) -> parley::result<void> {
                ++mended;
                h.clear();
                return {};
            }).value();
        for (int i = 0; i < rounds; ++i) {
            gate ready;
            child c([&] {
                auto mine = parley::open_objects(name.text(), {},
                                                 [](object_heap& h) -> parley::result<void> {
                                                     h.clear();
                                                     return {};
                                                 })
                                .value();
                ready.open();
                for (std::uint32_t n = 0;; ++n) {
                    mine.update([&](object_heap& h) {
                            auto& all = orders(h);
                            if (all.size() > 500) {
                                all.clear();
                                all.shrink_to_fit();
                            }
                            all.push_back({n, n * 0.5});
                        })
                        .value();
                }
                return 0;
            });
            ready.pass();
            const auto until = parley::clock::now() + std::chrono::microseconds(r.below(2000));
            do {
                REQUIRE(world
                            .update([](object_heap& h) {
                                for (const auto& o : orders(h)) {
                                    if (o.price != o.id * 0.5) return false;
                                }
                                return true;
                            })
                            .value());
            } while (parley::clock::now() < until);
            c.kill();
        }
        REQUIRE(world.update([](object_heap& h) { orders(h).clear(); }));
    }
    CHECK(parley_test::leftovers(name.text()).empty());
    CHECK(mended <= rounds);
}

TEST_CASE("objects: a file that is something else is left alone", "[objects]") {
    const parley_test::temporary_directory dir;
    const std::string path = dir.path().string() + "/parley.x";
    std::unique_ptr<FILE, int (*)(FILE*)> f(std::fopen(path.c_str(), "w"), &std::fclose);
    REQUIRE(std::fputs("not objects at all", f.get()) >= 0);
    f.reset();
    parley::diagnostics why;
    const auto no = parley::open_objects("x", {.directory = dir.path()}, {}, parley::never, &why);
    CHECK(no.error() == errc::corrupt);
    CHECK(why.text().find("left alone") != std::string::npos);
    CHECK(parley::open_objects("x", {.directory = dir.path().string() + "/none"}).error() ==
          errc::not_found);
    CHECK(parley::open_objects("x", {.capacity_bytes = 10}).error() == errc::invalid_argument);
    CHECK(parley::open_objects("a/b").error() == errc::invalid_argument);
}

TEST_CASE("objects: an onlooker sees who is there, and removes what only the dead knew",
          "[objects]") {
    const watchdog dog("objects: onlooker");
    const unique_name name;
    const std::string path = "/dev/shm/parley." + name.text();
    parley::diagnostics why;
    CHECK(parley::object_report::of(path, why).error() == errc::not_found);
    gate ready;
    child c([&] {
        auto mine = parley::open_objects(name.text()).value();
        mine.update([&](object_heap&) {
                ready.open();
                for (;;) ::pause();
            })
            .value();
        return 0;
    });
    ready.pass();
    const auto live = parley::object_report::of(path, why).value();
    CHECK(live.members == std::vector<std::uint32_t>{static_cast<std::uint32_t>(c.pid())});
    CHECK(live.half_changed);
    CHECK(live.capacity_bytes == std::size_t{16} << 20);
    CHECK(live.generation == 1);
    CHECK(parley::object_report::remove(path, why).error() == errc::in_use);
    c.kill();
    CHECK(parley::object_report::of(path, why).value().members.empty());
    CHECK(parley::object_report::remove(path, why));
    CHECK(parley_test::leftovers(name.text()).empty());
    CHECK(parley::object_report::remove(path, why));
}

TEST_CASE("objects: who dies while he empties the set leaves it empty or says so", "[objects]") {
    const watchdog dog("objects: a killed reset", std::chrono::seconds(120));
    const unique_name name;
    auto world = parley::open_objects(name.text(), {.capacity_bytes = 65536}).value();
    const int rounds = parley_test::campaign() ? 5000 : 200;
    parley::random r(7);
    int said = 0;
    for (int i = 0; i < rounds; ++i) {
        gate ready;
        child c([&] {
            auto mine = parley::open_objects(name.text()).value();
            ready.open();
            for (;;) mine.reset().value();
            return 0;
        });
        ready.pass();
        const auto until = parley::clock::now() + std::chrono::microseconds(r.below(200));
        while (parley::clock::now() < until) {
        }
        c.kill();
        const auto fill = [](object_heap& h) { orders(h).resize(100); };
        auto filled = world.update(fill);
        if (!filled) {
            REQUIRE(filled.error() == errc::corrupt);
            ++said;
            REQUIRE(world.reset());
            filled = world.update(fill);
        }
        REQUIRE(filled);
        REQUIRE(world.look([](const object_heap& h) { return h.free_bytes(); }).value() < 65536);
    }
    CHECK(said > 0);  // some of so many die in the middle
}
