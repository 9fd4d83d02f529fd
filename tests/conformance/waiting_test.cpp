// SPDX-License-Identifier: MIT
// The bullets on waiting: deadlines, and what wakes a sleeper. Threads stand for processes here.
#include "conformance/transport.hpp"

using namespace conformance;

namespace {

TEST_CASE("transport: a source's wait ends with its deadline, not before; an expired one tries") {
    each_model("a source's wait ends", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& in = both.source;
        CHECK(error_of(in.try_receive()) == errc::would_block);
        CHECK(error_of(in.wait(parley::expired)) == errc::timed_out);
        CHECK(error_of(in.wait(parley::clock::now() - 1s)) == errc::timed_out);
        for (const auto d : {1us, 300us, 5000us}) {
            const auto until = parley::clock::now() + d;
            CHECK(error_of(in.wait(until)) == errc::timed_out);
            CHECK(parley::clock::now() >= until);
        }
        REQUIRE(send(both.sink, 10, 1));
        CHECK(in.wait(parley::expired));  // looks, and may read ahead
        CHECK(in.wait(parley::never));
        CHECK(receives(in, 10, 1));
        CHECK(error_of(in.wait(parley::expired)) == errc::timed_out);
    });
}

TEST_CASE("transport: a sink's wait ends with its deadline, not before, and with room at once") {
    each_model("a sink's wait ends", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        CHECK(out.wait(parley::never));
        if (!fills_up(out)) return;
        const std::size_t n = handy(out);
        const std::uint64_t took = fill_up(out, n);
        CHECK(error_of(out.wait(parley::expired)) == errc::timed_out);
        const auto until = parley::clock::now() + 3ms;
        CHECK(error_of(out.wait(until)) == errc::timed_out);
        CHECK(parley::clock::now() >= until);
        for (std::uint64_t i = 0; i < took; ++i) {
            REQUIRE(receives(both.source, n, i));
            (void)out.flush(parley::expired);
        }
        CHECK(out.wait(parley::never));
        CHECK(out.try_loan(n));
    });
}

TEST_CASE(
    "transport: a deadline of zero tries, a duration ends in timed_out, and a send that "
    "timed out never arrives") {
    each_model("a deadline of zero", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        CHECK(error_of(receive(in, 0s)) == errc::would_block);
        CHECK(error_of(receive(in, parley::clock::now() - 1h)) == errc::timed_out);
        CHECK(error_of(receive(in, 1ms)) == errc::timed_out);
        if (!fills_up(out)) return;
        const std::size_t n = handy(out);
        const std::uint64_t took = fill_up(out, n);
        CHECK(error_of(send(out, n, 777, 0s)) == errc::would_block);
        CHECK(error_of(send(out, n, 777, 2ms)) == errc::timed_out);
        for (std::uint64_t i = 0; i < took; ++i) {
            REQUIRE(receives(in, n, i));
            (void)out.flush(parley::expired);
        }
        CHECK(error_of(receive(in, 1ms)) == errc::timed_out);
        REQUIRE(send(out, n, 778, 10s));
        CHECK(receives(in, n, 778));
    });
}

/// The processor time that this thread has used so far.
std::chrono::nanoseconds time_used() {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

TEST_CASE("transport: a receiver that nothing comes to leaves the processor alone") {
    const parley_test::watchdog dog("idle receivers", std::chrono::seconds(60));
    struct idle {
        std::string name;
        std::unique_ptr<place> at;
        ends both;
        std::chrono::nanoseconds used{};
        bool timed_out = false;
    };
    std::vector<idle> all;
    for (const auto& m : models()) {
        auto at = m.make();
        auto both = at->open();
        // Where there is no descriptor to wait for, somebody has to look each millisecond.
        if (m.variation || !both.source.limits().pollable) continue;
        all.push_back({m.name, std::move(at), std::move(both)});
    }
    std::vector<std::thread> threads;
    for (auto& i : all) {
        threads.emplace_back([&i] {
            (void)i.both.source.try_receive();
            const auto before = time_used();
            const auto r = i.both.source.wait(parley::clock::now() + 1s);
            i.used = time_used() - before;
            i.timed_out = error_of(r) == errc::timed_out;
        });
    }
    for (auto& t : threads) t.join();
    for (const auto& i : all) {
        INFO(i.name << ": " << i.used.count() / 1000 << " us of a second");
        CHECK(i.timed_out);
        CHECK(i.used < 5ms * parley_test::slowness());
    }
}

TEST_CASE("transport: a parked receiver wakes on a message") {
    each_model("a parked receiver wakes on a message", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        for (std::uint64_t i = 0; i < 30; ++i) {
            worker receiver([&] {
                if (i % 2 == 0) {
                    expect(receives(both.source, 10, i));
                } else {
                    expect(both.source.wait(parley::clock::now() + 1h).has_value());
                    const auto v = both.source.try_receive();
                    expect(v && holds(v->bytes(), 10, i));
                }
            });
            receiver.until_asleep();
            REQUIRE(send(both.sink, 10, i));
            receiver.join();
        }
    });
}

TEST_CASE("transport: a parked receiver wakes on the end, and on a sender that comes") {
    each_model("a parked receiver wakes on the end", [](const model& m) {
        for (int i = 0; i < 5; ++i) {
            auto at = m.make();
            auto both = at->open();
            worker receiver([&] { expect(error_of(receive(both.source)) == errc::closed); });
            receiver.until_asleep();
            REQUIRE(both.sink.close(parley::never));
            receiver.join();
            if (!both.source.limits().successors) continue;
            worker next([&] { expect(receives(both.source, 10, 5)); });
            next.until_asleep();
            auto out = at->sender();
            REQUIRE(send(out, 10, 5));
            next.join();
        }
    });
}

TEST_CASE("transport: a parked sender wakes on space") {
    each_model("a parked sender wakes on space", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        if (!fills_up(both.sink)) return;
        const std::size_t n = handy(both.sink);
        std::uint64_t next = fill_up(both.sink, n), first = 0;
        for (int round = 0; round < 20; ++round) {
            worker sender([&] { expect(send(both.sink, n, next).has_value()); });
            sender.until_asleep();
            while (!sender.done()) {
                if (first <= next && receive(both.source, 1ms)) ++first;
            }
            sender.join();
            ++next;
        }
    });
}

TEST_CASE("transport: a parked sender wakes when the receiver closes") {
    each_model("a parked sender wakes when", [](const model& m) {
        for (int i = 0; i < 5; ++i) {
            auto at = m.make();
            auto both = at->open();
            if (!hears_of_receiver(both.sink)) return;  // waits for the next receiver
            const std::size_t n = handy(both.sink);
            (void)fill_up(both.sink, n);
            worker sender([&] {
                // A kernel that moves its buffers about may take a few more.
                auto r = send(both.sink, n, 0);
                while (r) r = send(both.sink, n, 0);
                expect(r.error() == parley::condition::gone);
            });
            sender.until_asleep();
            REQUIRE(both.source.close(parley::never));
            sender.join();
        }
    });
}

TEST_CASE("transport: question and answer between two threads never loses a wake-up") {
    each_model("question and answer", [](const model& m) {
        auto there = m.make(), back = m.make();
        auto ask = there->open();
        auto answer = back->open();
        // Who has no descriptor to wait for looks each millisecond.
        const unsigned most = ask.source.limits().pollable ? 5000 : 500;
        const std::uint64_t rounds = most / static_cast<unsigned>(parley_test::slowness());
        worker other([&] {
            for (std::uint64_t i = 0; i < rounds; ++i) {
                if (!expect(receives(ask.source, i % 80, i))) return;
                if (!expect(send(answer.sink, i % 70, i).has_value())) return;
            }
        });
        for (std::uint64_t i = 0; i < rounds; ++i) {
            REQUIRE(send(ask.sink, i % 80, i));
            REQUIRE(receives(answer.source, i % 70, i));
        }
        other.join();
    });
}

TEST_CASE("transport: full and empty by turns with deadlines never loses a message") {
    each_model("full and empty by turns", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        const std::size_t n = handy(both.sink);
        const std::uint64_t count = 3000 / static_cast<unsigned>(parley_test::slowness());
        pace p(both.sink);
        worker sender([&] {
            parley::random r(3);
            for (std::uint64_t i = 0; i < count;) {
                p.before_send();
                const auto sent = send(both.sink, n, i, std::chrono::microseconds(r.below(200)));
                if (sent) {
                    ++i;
                } else if (!expect(sent.error() == parley::condition::flow)) {
                    return;
                }
            }
            expect(both.sink.close(parley::never).has_value());
        });
        parley::random r(4);
        for (std::uint64_t i = 0; i < count;) {
            const auto v = receive(both.source, std::chrono::microseconds(r.below(200)));
            if (v) {
                REQUIRE(holds(v->bytes(), n, i));
                ++i;
                p.received();
            } else {
                REQUIRE(v.error() == parley::condition::flow);
            }
        }
        CHECK(error_of(receive(both.source)) == errc::closed);
        sender.join();
    });
}

}  // namespace
