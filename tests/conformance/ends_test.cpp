// SPDX-License-Identifier: MIT
// The bullets on ends: who comes, who leaves, who is told, and what stays behind. Death is in
// process/.
#include "conformance/transport.hpp"

using namespace conformance;

namespace {

TEST_CASE("transport: close tells the receiver once that all ended well, after the last message") {
    each_model("close tells the receiver", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        for (std::uint64_t i = 0; i < 3; ++i) REQUIRE(send(both.sink, 40, i));
        REQUIRE(both.sink.close(parley::never));
        for (std::uint64_t i = 0; i < 3; ++i) CHECK(receives(both.source, 40, i));
        CHECK(error_of(both.source.try_receive()) == errc::closed);
        CHECK(both.source.peers_lost() == 0);
        // The next call waits for new senders, or keeps saying it where none can come.
        for (int i = 0; i < 3; ++i) {
            const auto next = error_of(both.source.try_receive());
            CHECK(next == (both.source.limits().successors ? errc::would_block : errc::closed));
        }
        if (both.source.limits().successors) {
            CHECK(error_of(both.source.wait(parley::clock::now() + 1ms)) == errc::timed_out);
        } else {
            CHECK(both.source.wait(parley::never));
        }
    });
}

TEST_CASE("transport: a receiver that never had a sender waits") {
    each_model("a receiver that never had", [](const model& m) {
        if (!m.named) return;
        auto at = m.make();
        parley::diagnostics why;
        auto in = at->receiver(apples, why);
        REQUIRE(in);
        CHECK(error_of(in->try_receive()) == errc::would_block);
        CHECK(error_of(in->wait(parley::expired)) == errc::timed_out);
        CHECK(error_of(in->wait(parley::clock::now() + 2ms)) == errc::timed_out);
        auto out = at->sender();
        CHECK(error_of(in->try_receive()) == errc::would_block);
        REQUIRE(send(out, 20, 1));
        CHECK(receives(*in, 20, 1));
    });
}

TEST_CASE("transport: after an end new senders may come, as often as they like") {
    each_model("after an end", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        if (!both.source.limits().successors) return;
        REQUIRE(both.sink.close(parley::never));
        CHECK(error_of(receive(both.source)) == errc::closed);
        for (std::uint64_t i = 0; i < 100; ++i) {
            auto next = at->sender();
            if (i % 3 != 0) {
                REQUIRE(send(next, 10, i));
                if (i % 2 == 0) CHECK(receives(both.source, 10, i));
            }
            REQUIRE(next.close(parley::never));
            if (i % 3 != 0 && i % 2 != 0) CHECK(receives(both.source, 10, i));
            CHECK(error_of(receive(both.source)) == errc::closed);
        }
        CHECK(both.source.peers_lost() == 0);
    });
}

TEST_CASE("transport: the end of one sender among several is no error") {
    each_model("the end of one sender", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        if (both.source.limits().writers_max < 2 || !m.named) return;
        auto other = at->sender();
        REQUIRE(send(both.sink, 10, 1));
        REQUIRE(both.sink.close(parley::never));
        CHECK(receives(both.source, 10, 1));
        CHECK(error_of(both.source.try_receive()) == errc::would_block);
        REQUIRE(send(other, 10, 2));
        CHECK(receives(both.source, 10, 2));
        REQUIRE(other.close(parley::never));
        CHECK(error_of(receive(both.source)) == errc::closed);
    });
}

TEST_CASE("transport: an end that was closed says closed, and may be closed again") {
    each_model("an end that was closed", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        REQUIRE(send(both.sink, 10, 1));
        REQUIRE(both.sink.close(parley::never));
        CHECK(error_of(both.sink.try_loan(1)) == errc::closed);
        CHECK(both.sink.close(parley::never));
        REQUIRE(both.source.close(parley::never));
        CHECK(error_of(both.source.try_receive()) == errc::closed);
        CHECK(both.source.close(parley::never));
    });
}

TEST_CASE("transport: a sender whose receiver closed is told so, and soon") {
    each_model("a sender whose receiver closed", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        REQUIRE(send(both.sink, 10, 1));
        REQUIRE(both.source.close(parley::never));
        if (both.sink.limits().persistent) {  // goes on; the next receiver finds everything
            REQUIRE(send(both.sink, 10, 2));
            parley::diagnostics why;
            auto next = at->receiver(apples, why);
            REQUIRE(next);
            CHECK(receives(*next, 10, 1));
            CHECK(receives(*next, 10, 2));
            return;
        }
        if (!hears_of_receiver(both.sink)) {  // goes on too; what nobody hears is lost
            REQUIRE(send(both.sink, 10, 2));
            parley::diagnostics why;
            auto next = at->receiver(apples, why);
            REQUIRE(next);
            REQUIRE(send(both.sink, 10, 3));
            CHECK(receives(*next, 10, 3));
            CHECK(next->lost() == 2);
            return;
        }
        parley::error_code told;
        for (int i = 0; i < 1000 && !told; ++i) told = error_of(send(both.sink, 10, 1, 0s));
        CHECK(told == parley::condition::gone);
        CHECK(!both.sink.why().empty());
        CHECK(error_of(both.sink.try_loan(1)) == told);  // it stays so
        CHECK(both.sink.wait(parley::never) != result<void>(errc::timed_out));
        const auto closing = both.sink.close(parley::never);
        CHECK((closing || closing.error() == parley::condition::gone));
    });
}

TEST_CASE("transport: the sender may go on when the receiver's object is moved, and vice versa") {
    each_model("the two ends are independent", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        auto source = std::make_unique<any_source>(std::move(both.source));
        REQUIRE(send(both.sink, 10, 1));
        CHECK(receives(*source, 10, 1));
        auto sink = std::make_unique<any_sink>(std::move(both.sink));
        REQUIRE(send(*sink, 10, 2));
        sink.reset();
        CHECK(receives(*source, 10, 2));
        CHECK(error_of(receive(*source)) == errc::closed);
    });
}

TEST_CASE("transport: close with a deadline that passes keeps the end open and the bytes safe") {
    each_model("close with a deadline", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        const std::size_t n = handy(both.sink);
        const std::uint64_t took = fill_up(both.sink, n);
        bool closed = false;
        for (const auto until : {parley::expired, parley::clock::now() + 2ms}) {
            const auto r = both.sink.close(until);
            closed = r.has_value();
            if (closed) break;  // shared memory: nothing lies in this process
            CHECK(r.error() == errc::timed_out);
        }
        worker receiver([&] {
            for (std::uint64_t i = 0; i < took; ++i) {
                if (!expect(receives(both.source, n, i))) return;
            }
            expect(error_of(receive(both.source)) == errc::closed);
        });
        CHECK(both.sink.close(parley::never));
        receiver.join();
    });
}

TEST_CASE("transport: a name with a live receiver is in_use, in words, and free when it closed") {
    each_model("a name with a live receiver", [](const model& m) {
        if (!m.named) return;
        auto at = m.make();
        auto both = at->open();
        parley::diagnostics why;
        if (both.source.limits().readers_max > 1) return;
        CHECK(error_of(at->receiver(apples, why)) == errc::in_use);
        CHECK_THAT(why.text(), parley_test::contains("receiver"));
        REQUIRE(send(both.sink, 10, 1));  // the attempt did no harm
        CHECK(receives(both.source, 10, 1));
        REQUIRE(both.source.close(parley::never));
        if (m.name != "archetype") CHECK(at->leftovers().empty());
        if (m.name == "archetype") return;  // its name lives as long as its ends
        if (both.sink.limits().persistent && both.sink.limits().writers_max == 1) {
            REQUIRE(both.sink.close(parley::never));
        }
        for (int i = 0; i < 20; ++i) {
            auto next = at->receiver(apples, why);
            INFO(why.text());
            REQUIRE(next);
            auto out = at->sender();
            REQUIRE(send(out, 10, 2));
            CHECK(receives(*next, 10, 2));
        }
        CHECK(at->leftovers().empty());
    });
}

TEST_CASE("transport: start order does not matter: a sender waits for its receiver") {
    each_model("start order does not matter", [](const model& m) {
        if (!m.named) return;
        auto at = m.make();
        parley::diagnostics why;
        if (at->open().sink.limits().persistent) {  // whoever comes first makes it
            auto fresh = m.make();
            auto out = fresh->sender();
            REQUIRE(send(out, 10, 1));
            REQUIRE(out.close(parley::never));
            auto in = fresh->receiver(apples, why);
            REQUIRE(in);
            CHECK(receives(*in, 10, 1));
            CHECK(error_of(receive(*in)) == errc::closed);
            return;
        }
        if (!hears_of_receiver(at->open().sink)) {  // nobody is waited for
            auto out = at->sender();
            REQUIRE(send(out, 10, 1));
            auto in = at->receiver(apples, why);
            REQUIRE(in);
            REQUIRE(send(out, 10, 2));
            CHECK(receives(*in, 10, 2));
            CHECK(in->lost() == 1);
            REQUIRE(out.close(parley::never));
            CHECK(error_of(receive(*in)) == errc::closed);
            return;
        }
        CHECK(error_of(at->sender(apples, parley::expired, why)) == parley::condition::flow);
        CHECK(error_of(at->sender(apples, parley::clock::now() + 2ms, why)) == errc::timed_out);
        worker sender([&] {
            parley::diagnostics words;
            auto out = at->sender(apples, parley::never, words);
            if (expect(out.has_value())) expect(send(*out, 10, 1).has_value());
        });
        sender.until_asleep();
        auto in = at->receiver(apples, why);
        REQUIRE(in);
        CHECK(receives(*in, 10, 1));
        CHECK(error_of(receive(*in)) == errc::closed);
        sender.join();
    });
}

TEST_CASE("transport: opening and closing leaves no descriptor, mapping, thread or file behind") {
    each_model("opening and closing leaves", [](const model& m) {
        auto at = m.make();
        const auto once = [&] {
            auto both = at->open();
            if (both.source.limits().pollable) {
                CHECK(both.source.pollable());
                CHECK(both.sink.pollable());
            }
            for (std::uint64_t i = 0; i < 10; ++i) {
                REQUIRE(send(both.sink, 100, i));
                CHECK(receives(both.source, 100, i));
            }
        };
        once();  // what is made once for the whole process
        const auto before = parley_test::resources::now();
        for (int i = 0; i < 10; ++i) once();
        CHECK(parley_test::resources::now() == before);
        if (m.name != "archetype") CHECK(at->leftovers().empty());
    });
}

}  // namespace
