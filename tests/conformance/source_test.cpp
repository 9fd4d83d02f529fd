// SPDX-License-Identifier: MIT
// The bullets of a source: order, borrows, types, several senders.
#include "conformance/transport.hpp"

using namespace conformance;

namespace {

TEST_CASE("transport: try_receive gives each message whole, once, in the order of its sender") {
    each_model("try_receive gives each message", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        const std::uint64_t count = 20'000 / static_cast<unsigned>(parley_test::slowness());
        const std::size_t most = std::min<std::size_t>(out.limits().message_bytes_max, 3000);
        pace p(out);
        worker sender([&, &sink = out] {
            parley::random r(7);
            for (std::uint64_t i = 0; i < count; ++i) {
                p.before_send();
                const auto n = r.below(r.below(10) == 0 ? most : 100);
                if (const auto sent = send(sink, n, i); !sent) return (void)expect(false);
            }
            expect(sink.close(parley::never).has_value());
        });
        parley::random r(7);
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto n = r.below(r.below(10) == 0 ? most : 100);
            if (!receives(in, n, i)) {
                FAIL_CHECK("message " << i);
                break;
            }
            p.received();
        }
        CHECK(error_of(receive(in)) == errc::closed);
        sender.join();
        CHECK(in.peers_lost() == 0);
        CHECK(in.lost() == 0);
    });
}

TEST_CASE("transport: several senders are each in order, and all arrives") {
    each_model("several senders", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        const std::size_t senders = std::min<std::size_t>(both.source.limits().writers_max, 4);
        if (senders < 2) return;
        const std::uint64_t count = 4000 / static_cast<unsigned>(parley_test::slowness());
        std::vector<std::unique_ptr<worker>> all;
        std::vector<any_sink> sinks;
        pace p(both.sink);
        sinks.push_back(std::move(both.sink));
        while (sinks.size() < senders) sinks.push_back(at->sender());
        for (std::size_t s = 0; s < senders; ++s) {
            all.push_back(std::make_unique<worker>([&, s, sink = std::move(sinks[s])]() mutable {
                for (std::uint64_t i = 0; i < count; ++i) {
                    p.before_send();
                    parley::deadline d = parley::never;
                    auto l = parley::drive::loan(sink, 16 + i % 50, d);
                    if (!l) return (void)expect(false);
                    fill(l->bytes(), i);
                    parley::store_le(l->bytes().data(), std::uint64_t{s});
                    parley::store_le(l->bytes().data() + 8, i);
                    if (auto r = sink.try_commit(std::move(*l)); !r) return (void)expect(false);
                    if (auto r = sink.flush(parley::never); !r) return (void)expect(false);
                }
                expect(sink.close(parley::never).has_value());
            }));
        }
        std::vector<std::uint64_t> next(senders, 0);
        for (std::uint64_t i = 0; i < senders * count; ++i) {
            const auto msg = receive(both.source);
            REQUIRE(msg);
            REQUIRE(msg->bytes().size() >= 16);
            const auto s = parley::load_le<std::uint64_t>(msg->bytes().data());
            REQUIRE(s < senders);
            REQUIRE(parley::load_le<std::uint64_t>(msg->bytes().data() + 8) == next[s]);
            REQUIRE(msg->bytes().size() == 16 + next[s] % 50);
            ++next[s];
            p.received();
        }
        CHECK(error_of(receive(both.source)) == errc::closed);
        for (auto& w : all) w->join();
        CHECK(both.source.peers_lost() == 0);
    });
}

TEST_CASE("transport: more senders than writers_max are refused in words, until one has gone") {
    each_model("more senders than writers_max", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        const std::size_t most = both.source.limits().writers_max;
        if (!m.named || most > 100) return;
        std::vector<any_sink> others;
        while (others.size() + 1 < most) others.push_back(at->sender());
        parley::diagnostics why;
        const auto refused = at->sender(apples, parley::clock::now() + 20s, why);
        CHECK(error_of(refused) == errc::out_of_resources);
        CHECK(!why.empty());
        if (!both.source.limits().successors) return;
        REQUIRE(both.sink.close(parley::never));
        const auto told = error_of(both.source.try_receive());
        CHECK(told == (others.empty() ? errc::closed : errc::would_block));
        auto next = at->sender();
        REQUIRE(send(next, 10, 1));
        CHECK(receives(both.source, 10, 1));
    });
}

TEST_CASE("transport: a view's bytes stay until it is destroyed, borrows_max at once") {
    each_model("a view's bytes stay", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto& out = both.sink;
        auto& in = both.source;
        const std::size_t n = handy(out) / 2;
        const std::uint64_t took = fill_up(out, n);
        const std::size_t most = in.limits().borrows_max;
        std::vector<any_source::view> open;
        while (open.size() < std::min<std::uint64_t>(took, most)) {
            auto v = in.try_receive();
            REQUIRE(v);
            open.push_back(std::move(*v));
        }
        std::uint64_t i = 0;
        (void)out.flush(parley::expired);
        while (out.try_loan(n)) {  // the sender uses whatever room there is
            REQUIRE(send(out, n, 1'000'000, parley::expired));
            if (++i > took) break;
        }
        for (i = 0; i < open.size(); ++i) {
            if (!holds(open[i].bytes(), n, i)) FAIL_CHECK("view " << i << " of " << took);
        }
        if (most == 1 && took > 1 && m.name != "archetype") {
            CHECK(error_of(in.try_receive()) == errc::out_of_resources);
            CHECK(holds(open[0].bytes(), n, 0));
        }
        open.clear();
        bool sent = false;
        for (std::size_t length = 0; length != 3;) {  // what else was sent, then one more
            sent = sent || send(out, 3, 9, parley::expired);
            (void)out.flush(parley::expired);
            const auto v = in.try_receive();
            length = v ? v->bytes().size() : 0;
            if (length == 3) CHECK(holds(v->bytes(), 3, 9));
        }
    });
}

TEST_CASE("transport: a view may outlive the sender, and be moved") {
    each_model("a view may outlive", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        {
            any_sink out = std::move(both.sink);
            REQUIRE(send(out, 100, 1));
            REQUIRE(send(out, 100, 2));
        }
        auto v = receive(both.source);
        REQUIRE(v);
        auto moved = std::move(*v);
        CHECK(holds(moved.bytes(), 100, 1));
        if (both.source.limits().borrows_max > 1) {
            auto w = receive(both.source);
            REQUIRE(w);
            CHECK(error_of(receive(both.source)) == errc::closed);
            CHECK(holds(moved.bytes(), 100, 1));
            CHECK(holds(w->bytes(), 100, 2));
        }
    });
}

TEST_CASE("transport: ends of different types refuse each other and name both") {
    each_model("ends of different types", [](const model& m) {
        auto at = m.make();
        parley::diagnostics why;
        auto both = at->open(oranges, apples, why);
        if (!both && both.error() == errc::unsupported) return;
        std::string words = why.text();
        if (both) {
            (void)send(both->sink, 8, 1);
            CHECK(error_of(receive(both->source)) == errc::incompatible);
            words = both->source.why().text();
            // The sender sees the hang-up, where there is one.
            for (int i = 0; i < 100 && hears_of_receiver(both->sink); ++i) {
                if (auto r = send(both->sink, 8, 1); !r) {
                    const bool told = r.error() == errc::incompatible;
                    CHECK((told || r.error() == parley::condition::gone));
                    break;
                }
                CHECK(i < 99);
            }
        } else {
            CHECK(both.error() == errc::incompatible);
        }
        CHECK_THAT(words, parley_test::contains(std::string(apples.description)));
        CHECK_THAT(words, parley_test::contains(std::string(oranges.description)));
    });
}

TEST_CASE("transport: a receiver of any type takes what comes") {
    each_model("a receiver of any type", [](const model& m) {
        auto at = m.make();
        parley::diagnostics why;
        auto both = at->open(oranges, parley::any_type, why);
        if (!both && both.error() == errc::unsupported) return;
        INFO(why.text());
        REQUIRE(both);
        REQUIRE(send(both->sink, 8, 1));
        CHECK(receives(both->source, 8, 1));
    });
}

TEST_CASE("transport: messages lie as their type's alignment wants, where memory is shared") {
    each_model("messages lie as", [](const model& m) {
        for (const std::size_t alignment : {8U, 16U, 64U, 256U}) {
            auto type = apples;
            type.alignment = alignment;
            auto at = m.make();
            parley::diagnostics why;
            auto both = at->open(type, type, why);
            INFO(why.text());
            REQUIRE(both);
            if (!both->sink.limits().in_place || m.name == "archetype") return;
            for (std::uint64_t i = 0; i < 300; ++i) {
                auto l = both->sink.try_loan(i * 3);
                REQUIRE(l);
                REQUIRE(reinterpret_cast<std::uintptr_t>(l->bytes().data()) % alignment == 0);
                fill(l->bytes(), i);
                REQUIRE(both->sink.try_commit(std::move(*l)));
                auto v = both->source.try_receive();
                REQUIRE(v);
                REQUIRE(holds(v->bytes(), i * 3, i));
                REQUIRE(reinterpret_cast<std::uintptr_t>(v->bytes().data()) % alignment == 0);
            }
        }
    });
}

}  // namespace
