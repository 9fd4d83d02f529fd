// SPDX-License-Identifier: MIT
// What fork, exec and PID namespaces must not change: who lives, who owns, who speaks.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <parley/transport/pipe.hpp>
#include <parley/transport/uds.hpp>

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>

#include <iostream>

using namespace conformance;
using parley_test::child;
using parley_test::gate;

namespace {

/// Ends somebody else's child at the end of the scope.
struct orphan {
    pid_t pid = 0;
    ~orphan() {
        if (pid > 0) ::kill(pid, SIGKILL);
    }
};

/// Runs `owner` in a process that then has a forked child which sleeps, and is killed itself.
/// Returns the sleeper. `in`: a receiver of this process, if the owner sends to one.
template <class Owner>
pid_t killed_with_a_sleeping_child(Owner owner, std::optional<any_source>* in = nullptr) {
    int tell[2];
    REQUIRE(::pipe(tell) == 0);
    child c([&]() -> int {
        auto end = owner();
        const pid_t sleeper = ::fork();
        if (sleeper == 0) {  // it tells by itself, when fork has returned in it
            const pid_t self = ::getpid();
            if (::write(tell[1], &self, sizeof self) != sizeof self) ::_exit(3);
        }
        for (;;) ::pause();
    });
    pid_t sleeper = 0;
    if (in != nullptr && *in) serve_until_readable(**in, tell[0]);
    REQUIRE(::read(tell[0], &sleeper, sizeof sleeper) == sizeof sleeper);
    ::close(tell[0]);
    ::close(tell[1]);
    c.kill();
    REQUIRE(::kill(sleeper, 0) == 0);
    return sleeper;
}

template <class Body>
void each_across(std::string_view test, Body body) {
    each_model(test, [&](const model& m) {
        if (m.across) body(m);
    });
}

any_sink sink_of(const model& m, place& at, std::optional<ends>& both) {
    parley::diagnostics why;
    if (m.named) return at.sender(apples, parley::never, why).value();
    (void)both->source.close(parley::never);
    return std::move(both->sink);
}
any_source source_of(const model& m, place& at, std::optional<ends>& both) {
    parley::diagnostics why;
    if (m.named) return at.receiver(apples, why).value();
    (void)both->sink.close(parley::never);
    return std::move(both->source);
}

/// 0: a sender of another PID namespace is refused, and told what is in the way.
int names_the_pid_namespace(place& at) {
    return child([&] {
               if (::unshare(CLONE_NEWPID) != 0) return 77;
               child inside([&] {
                   parley::diagnostics why;
                   const auto out = at.sender(apples, parley::never, why);
                   const bool named = why.text().find("another PID namespace") != std::string::npos;
                   return error_of(out) == errc::unsupported && named ? 0 : 3;
               });
               return inside.wait();
           })
        .wait();
}

}  // namespace

TEST_CASE("fork: a receiver's death is seen while a forked child of it sleeps") {
    each_across("fork: receiver", [](const model& m) {
        auto at = m.make();
        std::optional<ends> both;
        if (!m.named) both.emplace(at->open());
        {
            orphan sleeper;
            gate opened;
            std::optional<any_sink> out;
            sleeper.pid = killed_with_a_sleeping_child([&] {
                auto in = source_of(m, *at, both);
                (void)in.try_receive();
                return in;
            });
            if (both) out.emplace(sink_of(m, *at, both));
            if (out) {
                parley::error_code told;
                while (!told) told = error_of(send(*out, 1000, 1));
                CHECK(told == errc::peer_lost);
                return;
            }
            // The name is free although the child that sleeps inherited everything.
            parley::diagnostics why;
            auto next = at->receiver(apples, why);
            INFO(why.text());
            REQUIRE(next);
            auto sender = at->sender();
            REQUIRE(send(sender, 10, 1));
            CHECK(receives(*next, 10, 1));
        }
        CHECK(at->leftovers().empty());
    });
}

TEST_CASE("fork: a sender's death is seen while a forked child of it sleeps") {
    each_across("fork: sender", [](const model& m) {
        auto at = m.make();
        std::optional<ends> both;
        std::optional<any_source> in;
        if (!m.named) both.emplace(at->open());
        if (m.named) in.emplace(source_of(m, *at, both));
        orphan sleeper;
        sleeper.pid = killed_with_a_sleeping_child(
            [&] {
                auto out = sink_of(m, *at, both);
                (void)send(out, 10, 1);
                return out;
            },
            &in);
        if (!in) in.emplace(source_of(m, *at, both));
        CHECK(receives(*in, 10, 1));
        if (in->limits().lossy) return;         // nobody there tells of a death
        if (!in->limits().reports_peer_loss) {  // nobody takes the sleeper for a sender
            REQUIRE(at->sender().close(parley::never));
            CHECK(error_of(receive(*in)) == errc::closed);
            return;
        }
        CHECK(error_of(receive(*in)) == errc::peer_lost);
    });
}

TEST_CASE("fork: an inherited end is closed in the child, and its going changes nothing") {
    each_across("fork: inherited", [](const model& m) {
        auto at = m.make();
        auto both = at->open();
        REQUIRE(send(both.sink, 10, 1));
        CHECK(receives(both.source, 10, 1));
        child c([&] {
            if (error_of(both.source.try_receive()) != errc::closed) return 3;
            if (error_of(both.sink.try_loan(1)) != errc::closed) return 4;
            (void)both.sink.close(parley::never);
            (void)both.source.close(parley::never);
            auto sink = std::move(both.sink);
            auto source = std::move(both.source);
            return 0;
        });
        CHECK(c.wait() == 0);
        REQUIRE(send(both.sink, 10, 2));
        CHECK(receives(both.source, 10, 2));
        REQUIRE(both.sink.close(parley::never));
        CHECK(error_of(receive(both.source)) == errc::closed);
    });
}

TEST_CASE("fork: both ends of make_channel serve whoever uses them, parent and child alike") {
    each_across("fork: make_channel", [](const model& m) {
        if (m.named) return;
        for (const bool child_sends : {false, true}) {
            auto at = m.make();
            auto both = at->open();
            const auto sending = [&] {
                (void)both.source.close(parley::never);
                for (std::uint64_t i = 0; i < 2000; ++i) {
                    if (!send(both.sink, i % 200, i)) return 3;
                }
                return both.sink.close(parley::never) ? 0 : 4;
            };
            const auto receiving = [&] {
                (void)both.sink.close(parley::never);
                for (std::uint64_t i = 0; i < 2000; ++i) {
                    if (!receives(both.source, i % 200, i)) return 5;
                }
                return error_of(receive(both.source)) == errc::closed ? 0 : 6;
            };
            child c([&] { return child_sends ? sending() : receiving(); });
            CHECK((child_sends ? receiving() : sending()) == 0);
            CHECK(c.wait() == 0);
        }
    });
}

TEST_CASE("fork: death wakes the poll of either end of make_channel") {
    each_across("fork: poll", [](const model& m) {
        for (const bool child_sends : {false, true}) {
            auto at = m.make();
            if (!m.named && at->open().source.limits().pollable) {
                auto both = at->open();
                gate used;
                child c([&] {
                    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                    if (child_sends) {
                        (void)both.source.close(parley::never);
                        (void)send(both.sink, 10, 1);
                    } else {
                        (void)both.sink.close(parley::never);
                        (void)both.source.try_receive();
                    }
                    used.open();
                    for (;;) ::pause();
                    return 0;
                });
                used.pass();
                (void)(child_sends ? both.sink.close(parley::never)
                                   : both.source.close(parley::never));
                pollfd p{(child_sends ? both.source.pollable() : both.sink.pollable()).value(),
                         POLLIN, 0};
                if (child_sends) {
                    CHECK(receives(both.source, 10, 1));
                } else {
                    (void)fill_up(both.sink, handy(both.sink));
                }
                c.kill();
                parley::error_code told;
                while (!told || told == errc::would_block) {
                    REQUIRE(::poll(&p, 1, -1) == 1);
                    told = child_sends ? error_of(both.source.try_receive())
                                       : error_of(send(both.sink, 1000, 1, 0s));
                }
                CHECK(told == errc::peer_lost);
            }
        }
    });
}

TEST_CASE("exec: an end that is handed over is opened by another program from its address") {
    const parley_test::watchdog dog("exec: handed over");
    const auto check = [](auto address) {
        for (const bool other_sends : {true, false}) {
            INFO((other_sends ? "the other sends" : "the other receives"));
            auto both = parley::make_channel<std::uint64_t>(address).value();
            auto& tx = both.tx;
            auto& rx = both.rx;
            const auto at = other_sends ? tx.hand_over() : rx.hand_over();
            REQUIRE(at);
            CHECK_THAT(at->text(), parley_test::contains("fd="));
            child c([&] {
                (void)(other_sends ? rx.close() : tx.close());
                const auto program = parley_test::helper_program("handover_helper");
                ::execl(program.c_str(), program.c_str(), other_sends ? "send" : "receive",
                        at->text().c_str(), nullptr);
                return 9;
            });
            (void)(other_sends ? tx.close() : rx.close());
            for (std::uint64_t i = 0; i < 1000; ++i) {
                if (other_sends) REQUIRE(rx.receive().value() == i);
                if (!other_sends) REQUIRE(tx.send(i));
            }
            if (other_sends) CHECK(rx.receive().error() == errc::closed);
            if (!other_sends) CHECK(tx.close());
            CHECK(c.wait() == 0);
        }
    };
    check(parley::pipe());
    check(parley::uds());
    check(parley::uds(parley::uds::options{.type = parley::uds::seqpacket}));
}

TEST_CASE("PID namespaces: two of them talk, and each sees the other die") {
    if (child([] { return ::unshare(CLONE_NEWPID) == 0 ? 0 : 77; }).wait() != 0) {
        std::cout << "skipped: no right to make a PID namespace here\n";
        return;
    }
    each_across("PID namespaces", [](const model& m) {
        for (const bool sender_is_inside : {true, false}) {
            auto at = m.make();
            std::optional<ends> both;
            if (!m.named) both.emplace(at->open());
            std::optional<any_source> in;
            if (!m.pid_namespaces) {
                in.emplace(source_of(m, *at, both));
                CHECK(names_the_pid_namespace(*at) == 0);
                continue;
            }
            if (m.named && sender_is_inside) in.emplace(source_of(m, *at, both));
            gate ready;
            child c([&] {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (::unshare(CLONE_NEWPID) != 0) return 77;
                child inside([&] {
                    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                    if (sender_is_inside) {
                        auto out = sink_of(m, *at, both);
                        for (std::uint64_t i = 0; i < 100; ++i) {
                            if (!send(out, 50, i)) return 3;
                        }
                        for (;;) ::pause();
                    }
                    auto source = source_of(m, *at, both);
                    ready.open();
                    for (std::uint64_t i = 0; i < 100; ++i) {
                        if (!receives(source, 50, i)) return 3;
                    }
                    ready.open();
                    for (;;) ::pause();
                    return 0;
                });
                return inside.wait();
            });
            if (!in && sender_is_inside) in.emplace(source_of(m, *at, both));
            if (sender_is_inside) {
                for (std::uint64_t i = 0; i < 100; ++i) REQUIRE(receives(*in, 50, i));
                c.kill();  // and with it the process inside
                if (!in->limits().reports_peer_loss) continue;
                CHECK(error_of(receive(*in)) == errc::peer_lost);
            } else {
                ready.pass();
                auto out = sink_of(m, *at, both);
                for (std::uint64_t i = 0; i < 100; ++i) REQUIRE(send(out, 50, i));
                ready.pass();
                c.kill();
                if (!out.limits().reports_peer_loss) continue;
                parley::error_code told;
                while (!told) told = error_of(send(out, 1000, 1));
                CHECK(told == errc::peer_lost);
            }
        }
    });
}
