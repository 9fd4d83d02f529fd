// SPDX-License-Identifier: MIT
// kill -9 of either end, or of both, at random moments, over every model that works between
// processes. The same code for all of them: what applies, limits() says.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <sys/prctl.h>

#include <cstdlib>

using namespace conformance;
using parley_test::child;
using parley_test::gate;

namespace {

std::size_t length_of(std::uint64_t i, std::size_t most) {
    const auto mixed = (i * 0x9e3779b97f4a7c15ULL) >> 33;
    return mixed % (i % 40 == 0 ? std::min<std::size_t>(most, 20'000) : 300);
}

/// Passes the time until some moment nobody chose.
void dawdle(parley::random& r, std::uint64_t most_us) {
    const auto until = parley::clock::now() + std::chrono::microseconds(r.below(most_us));
    while (parley::clock::now() < until) {
    }
}

/// Sends until the receiver is gone: the exit status of a child.
int send_for_ever(any_sink out) {
    const std::size_t most = out.limits().message_bytes_max;
    for (std::uint64_t i = 0;; ++i) {
        if (!send(out, length_of(i, most), i)) return 3;
    }
}
/// Receives and checks until the sender is gone.
int receive_for_ever(any_source in) {
    const std::size_t most = in.limits().message_bytes_max;
    for (std::uint64_t i = 0;; ++i) {
        const auto v = receive(in);
        if (!v) return 3;
        if (!holds(v->bytes(), length_of(i, most), i)) return 4;
    }
}

/// A place with the ends that are made before the fork, if it has such.
struct world {
    explicit world(const model& m) : at(m.make()) {
        if (!m.named) both.emplace(at->open());
    }
    [[nodiscard]] any_sink sink() {
        if (both) {
            (void)both->source.close(parley::never);
            return std::move(both->sink);
        }
        parley::diagnostics why;
        return at->sender(apples, parley::never, why).value();
    }
    [[nodiscard]] any_source source() {
        if (both) {
            (void)both->sink.close(parley::never);
            return std::move(both->source);
        }
        parley::diagnostics why;
        return at->receiver(apples, why).value();
    }

    std::unique_ptr<place> at;
    std::optional<ends> both;
};

/// What the next user of the address finds: nothing that hinders it, and nothing after it.
void next_user_is_free(world& w) {
    w.both.reset();
    if (w.at->sender(apples, parley::expired, *std::make_unique<parley::diagnostics>()).error() ==
        errc::unsupported) {
        return;  // no name
    }
    {
        parley::diagnostics why;
        auto in = w.at->receiver(apples, why);
        INFO(why.text());
        REQUIRE(in);
        // Where a receiver has a successor, what the dead left comes first.
        while (error_of(in->try_receive()) != errc::would_block) {
        }
        auto out = w.at->sender();
        REQUIRE(send(out, 100, 1));
        CHECK(receives(*in, 100, 1));
        REQUIRE(out.close(parley::never));
        CHECK(error_of(receive(*in)) == errc::closed);
        REQUIRE(in->close(parley::never));
    }
    CHECK(w.at->leftovers().empty());
}

void kill_the_sender(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    std::optional<any_source> in;
    if (m.named) in.emplace(w.source());
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto out = w.sink();
        (void)out.flush(parley::never);  // it is known as a sender
        ready.open();
        return send_for_ever(std::move(out));
    });
    if (!in) in.emplace(w.source());
    const std::size_t most = in->limits().message_bytes_max;
    serve_until_readable(*in, ready.descriptor());
    std::uint64_t got = 0;
    for (const auto wanted = r.below(3) == 0 ? 0 : r.below(3000); got < wanted; ++got) {
        const auto v = receive(*in);
        REQUIRE(v);
        REQUIRE(holds(v->bytes(), length_of(got, most), got));
    }
    std::vector<pid_t> told;
    in->peers().on_lost([&](pid_t pid) { told.push_back(pid); });
    dawdle(r, 300);
    const pid_t dead = c.pid();
    c.kill();
    for (;; ++got) {
        const auto v = receive(*in);
        if (!v) {
            CHECK(v.error() == errc::peer_lost);
            CHECK(!in->why().empty());
            break;
        }
        REQUIRE(holds(v->bytes(), length_of(got, most), got));
    }
    CHECK(in->peers_lost() == 1);
    // Which process uses an end of make_channel only the kernel knows, and not everywhere.
    CHECK((told == std::vector{dead} || (!m.named && told.size() == 1)));
    const auto next = error_of(in->try_receive());
    CHECK(next == (in->limits().successors ? errc::would_block : errc::peer_lost));
    REQUIRE(in->close(parley::never));
    CHECK(w.at->leftovers().empty());
    in.reset();
    next_user_is_free(w);
}

void kill_the_receiver(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto in = w.source();
        ready.open();
        return receive_for_ever(std::move(in));
    });
    {
        auto out = w.sink();
        ready.pass();
        const std::size_t most = out.limits().message_bytes_max;
        std::uint64_t sent = 0;
        for (const auto wanted = r.below(3) == 0 ? 0 : r.below(3000); sent < wanted; ++sent) {
            REQUIRE(send(out, length_of(sent, most), sent));
        }
        dawdle(r, 300);
        ::kill(c.pid(), SIGKILL);
        CHECK(c.wait() == 128 + SIGKILL);  // anything else: it received something wrong
        for (;; ++sent) {
            const auto told = send(out, length_of(sent, most), sent);
            if (told) continue;
            CHECK(told.error() == errc::peer_lost);
            CHECK(!out.why().empty());
            break;
        }
        (void)out.close(parley::never);
    }
    CHECK(w.at->leftovers().empty());  // the survivor removed the name
    next_user_is_free(w);
}

void kill_both(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    child receiver([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto in = w.source();
        ready.open();
        return receive_for_ever(std::move(in));
    });
    child sender([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto out = w.sink();
        ready.open();
        return send_for_ever(std::move(out));
    });
    w.both.reset();
    if (r.below(2) == 0) {
        ready.pass();
        ready.pass();
    }
    dawdle(r, 1000);
    ::kill(receiver.pid(), SIGKILL);
    ::kill(sender.pid(), SIGKILL);
    // 3: one of them saw the death of the other before its own. 4: it received something wrong.
    for (child* c : {&receiver, &sender}) {
        const int status = c->wait();
        CHECK((status == 3 || status == 128 + SIGKILL));
    }
    next_user_is_free(w);
}

// --- what outlives both ends -------------------------------------------------------------------

/// Whether a death spoiled the place, as limits().spoilable says that it may: the words name the
/// remedy, and it helps.
bool spoiled(world& w, parley::error_code ec, const std::string& words) {
    if (ec != errc::corrupt) return false;
    INFO(words);
    CHECK(words.find("was killed") != std::string::npos);
    CHECK(words.find("parley clean") != std::string::npos);
    w.at->remove();
    CHECK(w.at->open().source.limits().spoilable);
    next_user_is_free(w);
    return true;
}

/// Receives what waits at a persistent address until it is empty: whole messages, one after the
/// other from `first` on, which becomes the number of the one that would come next. What ended it.
parley::error_code take_rest(any_source& in, std::uint64_t& first) {
    const std::size_t most = in.limits().message_bytes_max;
    for (;; ++first) {
        const auto v = in.try_receive();
        if (!v && v.error() == errc::closed) continue;
        if (!v) return v.error();
        REQUIRE(holds(v->bytes(), length_of(first, most), first));
    }
}

/// The next sender's message comes. Before it there may be one, which `is_of_the_dead` knows, that
/// the dead sender had written and not shown yet: where a medium lasts, its next sender finds it.
template <class IsOfTheDead>
bool receives_of_next(any_source& in, std::size_t n, std::uint64_t i, IsOfTheDead is_of_the_dead) {
    {
        const auto v = receive(in);
        if (!v || holds(v->bytes(), n, i)) return v.has_value();
        if (!is_of_the_dead(v->bytes())) return false;
    }
    return receives(in, n, i);
}

/// Nobody is told, the survivor goes on, and its next sender is heard.
void kill_a_sender_that_is_not_missed(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    auto in = w.source();
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto out = w.sink();
        ready.open();
        return send_for_ever(std::move(out));
    });
    const std::size_t most = in.limits().message_bytes_max;
    ready.pass();
    std::uint64_t got = 0;
    for (const auto wanted = r.below(3) == 0 ? 0 : r.below(3000); got < wanted; ++got) {
        const auto v = receive(in);
        REQUIRE(v);
        REQUIRE(holds(v->bytes(), length_of(got, most), got));
    }
    dawdle(r, 300);
    c.kill();
    const auto rest = take_rest(in, got);
    if (spoiled(w, rest, in.why().text())) return;
    CHECK(rest == errc::would_block);
    CHECK(in.peers_lost() == 0);
    auto next = w.at->sender();
    REQUIRE(send(next, 100, 7));
    CHECK(receives_of_next(in, 100, 7,
                           [&](parley::bytes b) { return holds(b, length_of(got, most), got); }));
    REQUIRE(next.close(parley::never));
    CHECK(error_of(receive(in)) == errc::closed);
}

/// The sender goes on; the next receiver finds all that the dead one did not take.
void kill_a_receiver_that_has_a_successor(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    int taken[2];
    REQUIRE(::pipe(taken) == 0);
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto in = w.source();
        ready.open();
        const std::size_t most = in.limits().message_bytes_max;
        for (std::uint64_t i = 0;; ++i) {  // each one it got is told, or was just taken
            const auto v = receive(in);
            if (!v || !holds(v->bytes(), length_of(i, most), i)) return 4;
            if (::write(taken[1], "", 1) != 1) return 5;
        }
    });
    ::close(taken[1]);
    auto out = w.sink();
    ready.pass();
    const std::size_t most = out.limits().message_bytes_max;
    std::uint64_t sent = 0;
    for (const auto wanted = r.below(3) == 0 ? 0 : r.below(3000); sent < wanted; ++sent) {
        REQUIRE(send(out, length_of(sent, most), sent));
    }
    dawdle(r, 300);
    ::kill(c.pid(), SIGKILL);
    CHECK(c.wait() == 128 + SIGKILL);  // anything else: it received something wrong
    std::uint64_t first = 0;
    char buffer[512];
    for (ssize_t n; (n = ::read(taken[0], buffer, sizeof buffer)) > 0;) {
        first += static_cast<std::uint64_t>(n);
    }
    ::close(taken[0]);
    while (send(out, length_of(sent, most), sent, parley::expired)) ++sent;
    parley::diagnostics why;
    auto next = w.at->receiver(apples, why);
    if (spoiled(w, error_of(next), why.text())) return;
    INFO(why.text());
    REQUIRE(next);
    // The dead one may have taken one more than it told.
    auto v = receive(*next);
    REQUIRE(v);
    if (!holds(v->bytes(), length_of(first, most), first)) ++first;
    REQUIRE(holds(v->bytes(), length_of(first, most), first));
    { const auto gone = std::move(v); }
    for (++first; first < sent; ++first) {
        REQUIRE(receives(*next, length_of(first, most), first));
    }
    REQUIRE(out.close(parley::never));
    CHECK(error_of(receive(*next)) == errc::closed);
}

/// What was committed is there, whole, and the address serves the next ones.
void kill_both_and_inherit(const model& m, parley::random& r) {
    world w(m);
    gate ready;
    child receiver([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto in = w.source();
        ready.open();
        return receive_for_ever(std::move(in));
    });
    child sender([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto out = w.sink();
        ready.open();
        return send_for_ever(std::move(out));
    });
    if (r.below(2) == 0) {
        ready.pass();
        ready.pass();
    }
    dawdle(r, 1000);
    ::kill(receiver.pid(), SIGKILL);
    CHECK(receiver.wait() == 128 + SIGKILL);
    ::kill(sender.pid(), SIGKILL);
    const int ended = sender.wait();
    parley::diagnostics why;
    auto in = w.at->receiver(apples, why);
    // Where the receiver's death spoiled the place, the sender may have ended by that.
    if (spoiled(w, error_of(in), why.text())) return;
    CHECK(ended == 128 + SIGKILL);
    INFO(why.text());
    REQUIRE(in);
    while (in->try_receive()) {
    }
    auto out = w.at->sender();
    REQUIRE(send(out, 100, 1));
    CHECK(receives_of_next(*in, 100, 1, [](parley::bytes) { return true; }));
    REQUIRE(out.close(parley::never));
    CHECK(error_of(receive(*in)) == errc::closed);
}

using one_round = void (*)(const model&, parley::random&);

/// Over the models that outlive their ends, or over those that tell of deaths.
void rounds_of(std::string_view test, one_round round, unsigned normal, unsigned full,
               bool persistent = false) {
    for (const auto& m : models()) {
        if (!m.across) continue;
        const auto l = m.make()->open().sink.limits();
        if (persistent ? !l.persistent : !l.reports_peer_loss) continue;
        DYNAMIC_SECTION(m.name) {
            const unsigned rounds = parley_test::campaign() ? full
                                    : m.variation           ? normal / 7 + 1
                                                            : normal;
            const parley_test::watchdog dog(std::string(test) + " / " + m.name,
                                            std::chrono::seconds(30 + rounds));
            parley::random r(std::hash<std::string>()(m.name));
            round(m, r);
            const auto before = parley_test::resources::now();
            for (unsigned i = 1; i < rounds; ++i) {
                INFO("round " << i);
                round(m, r);
            }
            CHECK(parley_test::resources::now() == before);
        }
    }
}

}  // namespace

TEST_CASE("kill -9: a sender leaves a whole prefix of its messages, and the receiver is told") {
    rounds_of("kill the sender", kill_the_sender, 20, 400);
}
TEST_CASE("kill -9: a receiver's death reaches its sender, which removes the name") {
    rounds_of("kill the receiver", kill_the_receiver, 20, 400);
}
TEST_CASE("kill -9: when both ends die, the next user of the name finds it free") {
    rounds_of("kill both", kill_both, 10, 200);
}
TEST_CASE("kill -9: where the queue outlives a sender, the receiver goes on with the next one") {
    rounds_of("kill a sender that is not missed", kill_a_sender_that_is_not_missed, 20, 400, true);
}
TEST_CASE("kill -9: where the queue outlives a receiver, the next one finds every message") {
    rounds_of("kill a receiver that has a successor", kill_a_receiver_that_has_a_successor, 20, 400,
              true);
}
TEST_CASE("kill -9: where the queue outlives both ends, the next ones find it whole") {
    rounds_of("kill both and inherit", kill_both_and_inherit, 10, 200, true);
}
