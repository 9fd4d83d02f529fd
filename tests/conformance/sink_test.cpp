// SPDX-License-Identifier: MIT
// The bullets of a sink, one test each. `[name of the bullet]` is its first words.
#include "conformance/transport.hpp"

using namespace conformance;

namespace {

TEST_CASE("transport: try_loan lends exactly n writable bytes, n from 0 up to message_bytes_max") {
    each_model("try_loan lends exactly n", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        const std::size_t most = out.limits().message_bytes_max;
        REQUIRE(most > 0);
        std::vector<std::size_t> lengths{0, 1, 7, 8, 9, 63, 64, 65, 255, 4096, 4097, most - 1};
        for (const std::size_t n : lengths) {
            if (n > most) continue;
            auto l = out.try_loan(n);
            REQUIRE(l);
            CHECK(l->bytes().size() == n);
            fill(l->bytes(), n);
            REQUIRE(out.try_commit(std::move(*l)));
            worker receiver([&] { expect(receives(in, n, n)); });
            CHECK(out.flush(parley::never));
            receiver.join();
        }
    });
}

TEST_CASE("transport: a loan that is dropped uncommitted was never there") {
    each_model("a loan that is dropped", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        for (std::uint64_t i = 0; i < 200; ++i) {
            {
                auto dropped = out.try_loan(i % 100);
                REQUIRE(dropped);
                fill(dropped->bytes(), 99);
            }
            CHECK(error_of(in.try_receive()) == errc::would_block);
            REQUIRE(send(out, i % 90, i));
            CHECK(receives(in, i % 90, i));
        }
        auto last = out.try_loan(5);
        REQUIRE(last);
        { auto gone = std::move(*last); }
        REQUIRE(out.close(parley::never));
        CHECK(error_of(receive(in)) == errc::closed);
    });
}

TEST_CASE("transport: a message of message_bytes_max passes, more is message_too_large in words") {
    each_model("message_bytes_max passes", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        const std::size_t most = out.limits().message_bytes_max;
        CHECK(in.limits().message_bytes_max == most);
        for (std::uint64_t i = 0; i < 9; ++i) {
            CHECK(error_of(out.try_loan(most + 1)) == errc::message_too_large);
            CHECK_THAT(out.why().text(), parley_test::contains(std::to_string(most)));
            CHECK_THAT(out.why().text(), parley_test::contains(std::to_string(most + 1)));
            CHECK(error_of(out.try_loan(~std::size_t{0} / 2)) == errc::message_too_large);
            worker receiver([&] {
                expect(receives(in, most, i));
                expect(receives(in, 3, i + 1));
            });
            CHECK(send(out, most, i));
            CHECK(send(out, 3, i + 1));
            receiver.join();
        }
    });
}

TEST_CASE("transport: more loans than loans_max are out_of_resources, and the first stays good") {
    each_model("more loans than loans_max", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        REQUIRE(out.limits().loans_max == 1);
        auto first = out.try_loan(20);
        REQUIRE(first);
        fill(first->bytes(), 1);
        CHECK(error_of(out.try_loan(20)) == errc::out_of_resources);
        CHECK_THAT(out.why().text(), parley_test::contains("one loan at a time"));
        REQUIRE(out.try_commit(std::move(*first)));
        REQUIRE(out.flush(parley::never));
        CHECK(receives(in, 20, 1));
        CHECK(out.try_loan(20));
    });
}

TEST_CASE("transport: loan.shrink keeps the first m bytes") {
    each_model("loan.shrink", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        const std::size_t n = handy(out);
        for (const std::size_t keep :
             {n, n - 1, n / 2, std::size_t{9}, std::size_t{1}, std::size_t{0}}) {
            auto l = out.try_loan(n);
            REQUIRE(l);
            fill(l->bytes(), keep);
            l->shrink(keep);
            CHECK(l->bytes().size() == keep);
            REQUIRE(out.try_commit(std::move(*l)));
            REQUIRE(out.flush(parley::never));
            CHECK(receives(in, keep, keep));
        }
    });
}

TEST_CASE("transport: a loan and its sink may be moved before the commit") {
    each_model("a loan may be moved", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        auto l = out.try_loan(30);
        REQUIRE(l);
        fill(l->bytes(), 4);
        any_sink moved = std::move(out);
        auto there = std::move(*l);
        REQUIRE(moved.try_commit(std::move(there)));
        REQUIRE(moved.flush(parley::never));
        any_source also_moved = std::move(in);
        CHECK(receives(also_moved, 30, 4));
        auto other = moved.try_loan(3);
        REQUIRE(other);
        *other = std::move(there);  // one that was moved from: nothing but a loan given back
        CHECK(moved.try_loan(3));
    });
}

TEST_CASE("transport: a full channel says would_block, and all it took arrives in the end") {
    each_model("a full channel", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        if (!fills_up(out)) return;
        const std::size_t n = handy(out);
        for (int round = 0; round < 3; ++round) {
            const std::uint64_t took = fill_up(out, n);
            CHECK(took > 0);
            CHECK(error_of(out.try_loan(n)) == errc::would_block);
            for (std::uint64_t i = 0; i < took; ++i) {
                const bool right = receives(in, n, i);
                if (!right) FAIL_CHECK("message " << i << " of " << took);
                if (!right) break;
                (void)out.flush(parley::expired);  // a stream may still hold a part of the last
            }
            CHECK(error_of(in.try_receive()) == errc::would_block);
        }
    });
}

TEST_CASE("transport: what is committed is not taken back, even if its sender goes at once") {
    each_model("what is committed", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        std::optional<any_sink> out(std::move(both.sink));
        auto l = out->try_loan(50);
        REQUIRE(l);
        fill(l->bytes(), 3);
        REQUIRE(out->try_commit(std::move(*l)));
        out.reset();
        CHECK(receives(both.source, 50, 3));
        CHECK(error_of(receive(both.source)) == errc::closed);
    });
}

TEST_CASE("transport: flush that runs out of time says would_block and loses nothing") {
    each_model("flush that runs out", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        if (!fills_up(out)) return;
        const std::size_t n = std::min<std::size_t>(out.limits().message_bytes_max, 30'000);
        std::uint64_t sent = 0;
        bool held = false;
        for (; !held; ++sent) {
            auto l = out.try_loan(n);
            if (!l) break;  // a transport that never holds bytes back refuses the loan
            fill(l->bytes(), sent);
            REQUIRE(out.try_commit(std::move(*l)));
            const auto r = out.flush(parley::expired);
            held = !r;
            if (held) CHECK(r.error() == errc::would_block);
        }
        if (held) CHECK(error_of(out.flush(parley::clock::now() + 2ms)) == errc::would_block);
        worker receiver([&, &source = in] {
            for (std::uint64_t i = 0; i < sent; ++i) expect(receives(source, n, i));
        });
        CHECK(out.flush(parley::never));
        receiver.join();
    });
}

TEST_CASE("transport: why holds words on the last error and address prints a uri") {
    each_model("why holds words", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        CHECK(out.why().empty());
        CHECK(in.why().empty());
        CHECK(!out.address().scheme().empty());
        CHECK(out.address().scheme() == in.address().scheme());
        REQUIRE(!out.try_loan(out.limits().message_bytes_max + 1));
        CHECK(!out.why().empty());
    });
}

TEST_CASE("transport: a moved-from end may be destroyed or assigned to, and an assigned end ends") {
    each_model("a moved-from end", [](const model& m) {
        auto at = m.make(), there = m.make();
        auto one = at->open();
        auto two = there->open();
        any_sink sink = std::move(one.sink);
        REQUIRE(send(sink, 10, 1));
        sink = std::move(two.sink);  // the first is closed in good order
        CHECK(receives(one.source, 10, 1));
        CHECK(error_of(receive(one.source)) == errc::closed);
        REQUIRE(send(sink, 10, 2));
        one.source = std::move(two.source);
        CHECK(receives(one.source, 10, 2));
        one.sink = std::move(sink);
        REQUIRE(send(one.sink, 10, 3));
        CHECK(receives(one.source, 10, 3));
    });
}

}  // namespace
