// SPDX-License-Identifier: MIT
// Transports that may lose messages, between processes: what a receiver that is too slow loses is
// counted exactly, and kill -9 of one end leaves the other one going on.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <sys/prctl.h>

using namespace conformance;
using parley_test::child;
using parley_test::gate;

namespace {

template <class Body>
void each_lossy(std::string_view test, Body body) {
    each_model(test, [&](const model& m) {
        if (m.across && m.make()->open().sink.limits().lossy) body(m);
    });
}

/// Message i of writer w.
bool send_numbered(any_sink& out, std::uint64_t w, std::uint64_t i) {
    parley::deadline d = parley::never;
    auto l = parley::drive::loan(out, 16 + i % 500, d);
    if (!l) return false;
    fill(l->bytes(), i);
    parley::store_le(l->bytes().data(), w);
    parley::store_le(l->bytes().data() + 8, i);
    return parley::drive::commit(out, std::move(*l), d).has_value();
}

/// What came, of each writer: whole, and each newer than the one before.
class tally {
public:
    explicit tally(std::size_t writers) : next_(writers, 0) {}

    /// Takes what there is now.
    void take(any_source& in) {
        while (true) {
            const auto v = in.try_receive();
            if (!v) {
                CHECK(v.error() == errc::would_block);
                return;
            }
            count(v->bytes());
        }
    }
    void count(bytes b) {
        REQUIRE(b.size() >= 16);
        const auto w = parley::load_le<std::uint64_t>(b.data());
        const auto i = parley::load_le<std::uint64_t>(b.data() + 8);
        REQUIRE(w < next_.size());
        REQUIRE(i >= next_[w]);
        REQUIRE(b.size() == 16 + i % 500);
        for (std::size_t k = 16; k < b.size(); ++k) REQUIRE(b[k] == pattern(i, k));
        next_[w] = i + 1;
        ++got;
    }

    std::uint64_t got = 0;

private:
    std::vector<std::uint64_t> next_;
};

}  // namespace

TEST_CASE("lossy: what overflows between processes is counted exactly, the rest whole, in order") {
    each_lossy("overflow between processes", [](const model& m) {
        auto at = m.make();
        parley::diagnostics why;
        auto in = at->receiver(apples, why).value();
        const std::uint64_t count = 20'000 / static_cast<unsigned>(parley_test::slowness());
        constexpr std::size_t writers = 3;
        gate sent, drained;
        std::vector<child> all;
        for (std::size_t w = 0; w < writers; ++w) {
            all.emplace_back([&, w] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                auto out = at->sender(apples, parley::never, why).value();
                for (std::uint64_t i = 0; i < count; ++i) {
                    if (!send_numbered(out, w, i)) return 3;
                }
                sent.open();
                drained.pass();  // there is room for the goodbye
                return out.close(parley::never) ? 0 : 4;
            });
        }
        tally seen(writers);
        parley::random r(11);
        for (int i = 0; i < 50; ++i) {  // slow by turns
            if (const auto v = receive(in, 1ms)) seen.count(v->bytes());
            if (r.below(3) == 0) seen.take(in);
        }
        for (std::size_t w = 0; w < writers; ++w) sent.pass();
        seen.take(in);
        drained.open(writers);
        for (auto& c : all) CHECK(c.wait() == 0);
        CHECK(error_of(receive(in)) == errc::closed);
        CHECK(seen.got > 0);
        CHECK(in.lost() > 0);
        CHECK(seen.got + in.lost() == writers * count);
    });
}

TEST_CASE("lossy: a sender that is killed is not missed, and the next one is heard") {
    each_lossy("kill the sender", [](const model& m) {
        auto at = m.make();
        parley::diagnostics why;
        auto in = at->receiver(apples, why).value();
        parley::random r(12);
        for (int round = 0; round < 20; ++round) {
            gate ready;
            child c([&] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                auto out = at->sender(apples, parley::never, why).value();
                ready.open();
                for (std::uint64_t i = 0;; ++i) {
                    if (!send_numbered(out, 0, i)) return 3;
                }
            });
            ready.pass();
            tally seen(1);
            for (auto wanted = r.below(300); wanted > 0; --wanted) {
                const auto v = receive(in);
                REQUIRE(v);
                seen.count(v->bytes());
            }
            c.kill();
            seen.take(in);
            CHECK(in.peers_lost() == 0);
            auto next = at->sender();
            REQUIRE(send(next, 100, 7));
            CHECK(receives(in, 100, 7));
            REQUIRE(next.close(parley::never));
        }
    });
}

TEST_CASE("lossy: a sender goes on when its receiver is killed, and the next one counts exactly") {
    each_lossy("kill the receiver", [](const model& m) {
        auto at = m.make();
        parley::random r(13);
        for (int round = 0; round < 20; ++round) {
            parley::diagnostics why;
            gate ready;
            child c([&] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                auto in = at->receiver(apples, why).value();
                ready.open();
                while (receive(in)) {
                }
                return 3;
            });
            ready.pass();
            auto out = at->sender();
            std::uint64_t sent = 0;
            for (auto wanted = r.below(300); wanted > 0; --wanted) {
                REQUIRE(send_numbered(out, 0, sent++));
            }
            c.kill();
            REQUIRE(send_numbered(out, 0, sent++));
            auto in = at->receiver(apples, why);
            INFO(why.text());
            REQUIRE(in);
            tally seen(1);
            for (int i = 0; i < 50; ++i) {
                REQUIRE(send_numbered(out, 0, sent++));
                seen.take(*in);
            }
            REQUIRE(out.close(parley::never));
            CHECK(error_of(receive(*in)) == errc::closed);
            CHECK(seen.got == 50);
            CHECK(seen.got + in->lost() == sent);
        }
    });
}
