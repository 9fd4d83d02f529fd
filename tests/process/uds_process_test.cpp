// SPDX-License-Identifier: MIT
// Unix domain sockets between processes: deaths, takeovers, permissions, what is left behind.
#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/uds.hpp>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;
using parley::uds;

namespace {

constexpr uds::kind kinds[] = {uds::stream, uds::seqpacket, uds::datagram};

std::string word(uds::kind k) { return std::string(parley::detail::to_text(k)); }

std::string abstract_name() {
    const unique_name n("uds");
    return "@" + n.text();
}

/// Opens a receiver at `path` and dies without a word.
void leave_dead_receiver(const uds& at) {
    gate open;
    child c([&] {
        auto in = source_at(at);
        open.open();
        ::pause();
        return 0;
    });
    open.pass();
    c.kill();
}

/// Another user from now on. Sanitizers want to go on reading their own memory map.
bool become_nobody() {
    return ::setgid(65534) == 0 && ::setuid(65534) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0;
}

std::size_t open_descriptors() {
    std::size_t n = 0;
    for (const auto& e : std::filesystem::directory_iterator("/proc/self/fd")) {
        n += !e.path().empty();
    }
    return n;
}

}  // namespace

TEST_CASE("uds: the death of the last sender is told once, that of others is counted") {
    watchdog dog("uds: deaths of senders");
    const temporary_directory dir;
    for (const auto k : kinds) {
        for (const std::string& name : {dir / "x", abstract_name()}) {
            INFO(word(k) << " " << name);
            const uds at(name, {.type = k});
            auto in = source_at(at);
            gate sent;
            const auto body = [&] {
                auto out = sink_at(at);
                if (!send(out, "alive")) return 1;
                sent.open();
                ::pause();
                return 0;
            };
            child a(body), b(body);
            CHECK(receive(in).value() == "alive");
            CHECK(receive(in).value() == "alive");
            sent.pass();
            sent.pass();
            a.kill();
            while (in.peers_lost() == 0) {
                CHECK(in.try_receive().error() == errc::would_block);
            }
            b.kill();
            CHECK(receive(in).error() == errc::peer_lost);
            CHECK_THAT(in.why().text(), contains("process "));
            CHECK(in.peers_lost() == 2);
            CHECK(in.try_receive().error() == errc::would_block);
            child next(body);
            CHECK(receive(in).value() == "alive");
        }
    }
}

TEST_CASE("uds: everything a sender committed before it was killed is delivered") {
    watchdog dog("uds: committed, then killed");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        auto in = source_at(at);
        gate sent;
        child c([&] {
            auto out = sink_at(at);
            for (int i = 0; i < 8; ++i) {
                if (!send(out, std::to_string(i))) return 1;
            }
            sent.open();
            ::pause();
            return 0;
        });
        sent.pass();
        c.kill();
        for (int i = 0; i < 8; ++i) CHECK(receive(in).value() == std::to_string(i));
        CHECK(receive(in).error() == errc::peer_lost);
    }
}

TEST_CASE("uds: a sender learns of the receiver's death, and clears its name away") {
    watchdog dog("uds: death of the receiver");
    const temporary_directory dir;
    for (const auto k : kinds) {
        for (const bool parked : {false, true}) {
            INFO(word(k) << (parked ? " parked" : ""));
            const uds at(dir / "x", {.type = k});
            gate open;
            child c([&] {
                auto in = source_at(at);
                open.open();
                ::pause();
                return 0;
            });
            auto out = sink_at(at);
            open.pass();
            if (parked) {
                gate killed;
                child killer([&] {
                    killed.pass();
                    ::kill(c.pid(), SIGKILL);
                    return 0;
                });
                while (send(out, std::string(5000, 'x'), parley::expired)) {
                }
                killed.open();
                parley::result<void> r;
                while ((r = send(out, std::string(5000, 'x')))) {
                }
                CHECK(r.error() == errc::peer_lost);
                killer.wait();
                c.wait();
            } else {
                REQUIRE(send(out, "x"));
                c.kill();
                CHECK(send(out, "y").error() == errc::peer_lost);
            }
            CHECK(out.close(parley::never).error() == errc::peer_lost);
            CHECK(dir.entries() == 0);
        }
    }
}

TEST_CASE("uds: a forked child that sleeps hides no death") {
    watchdog dog("uds: a forked child that sleeps");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        {
            auto in = source_at(at);
            gate ready;
            int pids[2];
            REQUIRE(::pipe(pids) == 0);
            child c([&] {
                auto out = sink_at(at);
                if (!send(out, "x")) return 1;
                const pid_t grandchild = ::fork();
                if (grandchild == 0) {
                    ready.open();
                    ::pause();
                    ::_exit(0);
                }
                if (::write(pids[1], &grandchild, sizeof grandchild) < 0) return 1;
                ::pause();
                return 0;
            });
            CHECK(receive(in).value() == "x");
            ready.pass();
            pid_t grandchild = 0;
            REQUIRE(::read(pids[0], &grandchild, sizeof grandchild) == sizeof grandchild);
            c.kill();
            CHECK(receive(in).error() == errc::peer_lost);
            ::kill(grandchild, SIGKILL);
            ::close(pids[0]);
            ::close(pids[1]);
        }
        // And of a receiver: its child neither keeps the name alive nor removes it.
        gate ready;
        int pids[2];
        REQUIRE(::pipe(pids) == 0);
        child c([&] {
            auto in = source_at(at);
            const pid_t grandchild = ::fork();
            if (grandchild == 0) {
                { const auto gone = std::move(in); }
                ready.open();
                ::pause();
                ::_exit(0);
            }
            if (::write(pids[1], &grandchild, sizeof grandchild) < 0) return 1;
            ::pause();
            return 0;
        });
        ready.pass();
        CHECK(dir.entries() == 1);
        auto out = sink_at(at);
        pid_t grandchild = 0;
        REQUIRE(::read(pids[0], &grandchild, sizeof grandchild) == sizeof grandchild);
        c.kill();
        CHECK(send(out, "y").error() == errc::peer_lost);
        auto heir = source_at(at);
        ::kill(grandchild, SIGKILL);
        ::close(pids[0]);
        ::close(pids[1]);
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("uds: the name of a dead receiver is taken over, that of a live one is not") {
    watchdog dog("uds: takeover");
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const uds at(dir / "x", {.type = k});
        leave_dead_receiver(at);
        CHECK(dir.entries() == 1);
        auto in = source_at(at);
        diagnostics why;
        for (const auto other : kinds) {
            CHECK(open_source(uds(dir / "x", {.type = other}), why).error() == errc::in_use);
            CHECK_THAT(why.text(), contains("live receiver"));
            if (k != uds::datagram) {
                CHECK_THAT(why.text(), contains("process " + std::to_string(::getpid())));
            }
        }
        auto out = sink_at(at);
        REQUIRE(send(out, "x"));
        CHECK(receive(in).value() == "x");
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("uds: of sixteen racing openers exactly one owns the name") {
    watchdog dog("uds: racing openers", 900s);
    const temporary_directory dir;
    const uds at(dir / "x");
    constexpr int racers = 16;
    const int rounds = campaign() ? 10'000 : 150;
    struct board {
        std::atomic<int> round, ready, owners, refused, other;
    };
    auto* shared = new (::mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0)) board{};
    gate done, next[2];  // two, so that nobody who is fast passes twice
    std::vector<child> all;
    for (int r = 0; r < racers; ++r) {
        all.emplace_back([&] {
            for (int round = 1; round <= rounds; ++round) {
                next[0].pass();
                diagnostics why;
                // Each round starts from a dead socket, which the owner of the last one left.
                auto in = open_source(at, why);
                if (in) {
                    ++shared->owners;
                } else {
                    ++(in.error() == errc::in_use ? shared->refused : shared->other);
                }
                done.open();
                next[1].pass();
                if (in) {
                    // As if killed: the socket is gone, its name stays.
                    if (::rename((dir / "x").c_str(), (dir / "kept").c_str()) != 0) ++shared->other;
                    in->close(parley::never).value();
                    if (::rename((dir / "kept").c_str(), (dir / "x").c_str()) != 0) {
                        ++shared->other;
                    }
                }
                done.open();
            }
            return 0;
        });
    }
    for (int round = 1; round <= rounds; ++round) {
        for (const int phase : {0, 1}) {
            next[phase].open(racers);
            for (int r = 0; r < racers; ++r) done.pass();
            if (phase == 0) REQUIRE(shared->owners == round);
        }
    }
    for (auto& c : all) CHECK(c.wait() == 0);
    CHECK(shared->owners == rounds);
    CHECK(shared->refused == rounds * (racers - 1));
    CHECK(shared->other == 0);
    { auto last = source_at(at); }
    CHECK(dir.entries() == 0);
    ::munmap(shared, sizeof(board));
}

TEST_CASE("uds: openers that are killed at any moment leave nothing that the next does not clear") {
    watchdog dog("uds: killed openers", 300s);
    const temporary_directory dir;
    const int rounds = campaign() ? 1000 : 50;
    unsigned lot = 12345;
    for (int round = 0; round < rounds; ++round) {
        const uds at(dir / "x", {.type = kinds[round % 3]});
        gate started;
        child c([&]() -> int {
            started.open();
            for (;;) auto in = source_at(at);
        });
        started.pass();
        lot = lot * 1664525 + 1013904223;
        const auto until = parley::clock::now() + std::chrono::microseconds(lot >> 20);
        while (parley::clock::now() < until) {
        }
        c.kill();
        auto in = source_at(at);
        auto out = sink_at(at);
        CHECK(dir.entries() == 1);
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("uds: a sender waits for the receiver, whoever comes first") {
    watchdog dog("uds: start order");
    const temporary_directory dir;
    for (const auto k : kinds) {
        for (const std::string& name : {dir / "x", abstract_name()}) {
            INFO(word(k) << " " << name);
            const uds at(name, {.type = k});
            diagnostics why;
            CHECK(open_sink(at, why, parley::expired).error() == errc::timed_out);
            CHECK(open_sink(at, why, parley::clock::now() + 5ms).error() == errc::timed_out);
            CHECK_THAT(why.text(), contains("nobody receives"));
            gate tried;
            child c([&] {
                diagnostics ignored;
                (void)open_sink(at, ignored, parley::expired);
                tried.open();
                auto out = sink_at(at);
                return send(out, "here") && out.close(parley::never) ? 0 : 1;
            });
            tried.pass();
            auto in = source_at(at);
            CHECK(receive(in).value() == "here");
            CHECK(receive(in).error() == errc::closed);
            CHECK(c.wait() == 0);
        }
    }
}

TEST_CASE("uds: addresses that cannot work are refused at once, with words") {
    const temporary_directory dir;
    diagnostics why;
    CHECK(open_source(uds(dir / "no/such/x"), why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains("create it first"));
    CHECK(open_sink(uds(dir / "no/such/x"), why).error() == errc::not_found);
    CHECK(open_source(uds(dir / std::string(300, 'n')), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("80"));
    CHECK(open_sink(uds(dir / std::string(300, 'n')), why).error() == errc::invalid_argument);
    CHECK(open_source(uds("@" + std::string(200, 'n')), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("106"));
    CHECK(open_sink(uds("@"), why).error() == errc::invalid_argument);
    CHECK(open_source(uds("/tmp/"), why).error() == errc::invalid_argument);
    CHECK(open_source(uds(), why).error() == errc::invalid_argument);

    std::ofstream(dir / "file") << "precious";
    CHECK(open_source(uds(dir / "file"), why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("no socket"));
    CHECK(open_sink(uds(dir / "file"), why).error() == errc::invalid_argument);
    CHECK_THAT(why.text(), contains("no socket"));
    CHECK(std::filesystem::file_size(dir / "file") == 8);
    CHECK(open_source(uds(dir / "file/x"), why).error() == errc::invalid_argument);

    auto in = source_at(uds(dir / "x"));
    CHECK(open_sink(uds(dir / "x", {.type = uds::seqpacket}), why).error() == errc::incompatible);
    CHECK_THAT(why.text(), contains("?type="));
}

TEST_CASE("uds: a directory may be as long as the system allows") {
    watchdog dog("uds: long directories");
    const temporary_directory dir;
    std::string path = dir.path().string();
    for (int i = 0; i < 10; ++i) {
        path += "/" + std::string(100, 'd');
        REQUIRE(::mkdir(path.c_str(), 0700) == 0);
    }
    for (const auto k : kinds) {
        const uds at(path + "/x", {.type = k});
        auto in = source_at(at);
        diagnostics why;
        CHECK(open_sink(at, why, parley::never, other_type).error() == errc::incompatible);
        CHECK(open_source(at, why).error() == errc::in_use);
        auto out = sink_at(at);
        REQUIRE(send(out, "x"));
        CHECK(receive(in).value() == "x");
    }
}

TEST_CASE("uds: modes and owners are the system's, and a refusal says what to do") {
    if (::getuid() != 0) return;  // needs a second user to try
    watchdog dog("uds: permissions");
    const temporary_directory dir;
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    auto in = source_at(uds(dir / "private"));
    auto shared = source_at(uds(dir / "shared", {.permissions = {.mode = 0666}}));
    child c([&] {
        if (!become_nobody()) return 1;
        diagnostics why;
        if (open_sink(uds(dir / "private"), why).error() != errc::denied) return 2;
        if (why.text().find("?mode=") == std::string::npos) return 3;
        if (open_source(uds(dir / "mine"), why).error() != errc::denied) return 4;
        if (why.text().find("write permission") == std::string::npos) return 5;
        auto out = sink_at(uds(dir / "shared"));
        return send(out, "from nobody") ? 0 : 6;
    });
    CHECK(receive(shared).value() == "from nobody");
    CHECK(c.wait() == 0);

    // In a sticky directory, as /tmp, the dead socket of another user cannot be taken.
    REQUIRE(::mkdir((dir / "sticky").c_str(), 0777) == 0);
    REQUIRE(::chmod((dir / "sticky").c_str(), 01777) == 0);
    leave_dead_receiver(uds(dir / "sticky/x", {.permissions = {.mode = 0666}}));
    leave_dead_receiver(uds(dir / "sticky/y"));
    child other([&] {
        if (!become_nobody()) return 1;
        diagnostics why;
        if (open_source(uds(dir / "sticky/x"), why).error() != errc::denied) return 2;
        if (open_source(uds(dir / "sticky/y"), why).error() != errc::denied) return 3;
        if (why.text().find("another user") == std::string::npos) return 4;
        auto own = source_at(uds(dir / "sticky/z"));
        return 0;
    });
    CHECK(other.wait() == 0);
}

TEST_CASE("uds: a name that somebody else put in place of ours is not removed") {
    const temporary_directory dir;
    {
        auto in = source_at(uds(dir / "x"));
        REQUIRE(::unlink((dir / "x").c_str()) == 0);
        std::ofstream(dir / "x") << "another's";
    }
    CHECK(dir.entries() == 1);
}

TEST_CASE("uds: a pair made before a fork belongs to those who use it, across exec too") {
    watchdog dog("uds: pair and fork");
    for (const auto k : kinds) {
        INFO(word(k));
        diagnostics why;
        auto both =
            uds(uds::options{.type = k}).open_both({text_type, parley::never, &why}).value();
        child c([&] {
            (void)both.source.close(parley::never);
            return send(both.sink, "from the child") ? (::pause(), 0) : 1;
        });
        (void)both.sink.close(parley::never);
        CHECK(receive(both.source).value() == "from the child");
        c.kill();
        CHECK(receive(both.source).error() == errc::peer_lost);
    }
}

TEST_CASE("uds: many senders that come, send and go or die leave no descriptor behind") {
    watchdog dog("uds: many senders", 120s);
    const temporary_directory dir;
    for (const auto k : kinds) {
        INFO(word(k));
        const auto before = open_descriptors();
        {
            const uds at(dir / "x", {.type = k});
            auto in = source_at(at);
            constexpr int senders = 24, messages = 200;
            std::vector<child> all;
            for (int s = 0; s < senders; ++s) {
                all.emplace_back([&at, s] {
                    auto out = sink_at(at);
                    for (int n = 0; n < messages; ++n) {
                        if (!send(out, std::to_string(s) + ":" + std::to_string(n))) return 1;
                    }
                    if (s % 2 == 0) {
                        (void)out.flush(parley::never);
                        ::kill(::getpid(), SIGKILL);
                    }
                    return out.close(parley::never) ? 0 : 2;
                });
            }
            std::array<int, senders> next{};
            int received = 0;
            while (received < senders * messages || in.peers_lost() < senders / 2) {
                const auto m = receive(in, parley::clock::now() + 50ms);
                if (!m) continue;
                const auto colon = m->find(':');
                const auto s = static_cast<std::size_t>(std::stoi(m->substr(0, colon)));
                REQUIRE(std::stoi(m->substr(colon + 1)) == next[s]++);
                ++received;
            }
            for (std::size_t s = 0; s < all.size(); ++s) {
                CHECK(all[s].wait() == (s % 2 == 0 ? 128 + SIGKILL : 0));
            }
            CHECK(in.peers_lost() == senders / 2);
            CHECK(in.refused() == 0);
        }
        CHECK(open_descriptors() == before);
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("uds: an end that is killed at a random moment is noticed, and leaves nothing") {
    watchdog dog("uds: killed at random", 600s);
    const temporary_directory dir;
    const int rounds = campaign() ? 1000 : 50;
    const auto before = open_descriptors();
    unsigned lot = 4711;
    for (int round = 0; round < rounds; ++round) {
        const uds at(round % 2 == 0 ? dir / "x" : abstract_name(), {.type = kinds[round % 3]});
        INFO(at.to_uri().text());
        lot = lot * 1664525 + 1013904223;
        const auto in_a_while = std::chrono::microseconds(lot >> 21);
        {
            child sender([&]() -> int {
                auto out = sink_at(at);
                for (int n = 0;; ++n) {
                    if (!send(out, std::to_string(n))) return 1;
                }
            });
            auto in = source_at(at);
            int next = 0;
            const auto take = [&](parley::time_point until) {
                const auto m = receive(in, until);
                if (m) REQUIRE(*m == std::to_string(next++));
                return m ? parley::error_code() : m.error();
            };
            while (next == 0) (void)take(parley::never);
            const auto until = parley::clock::now() + in_a_while;
            while (parley::clock::now() < until) (void)take(until);
            sender.kill();
            parley::error_code ec;
            while (!(ec = take(parley::never))) {
            }
            CHECK(ec == errc::peer_lost);
        }
        CHECK(dir.entries() == 0);
        {
            child receiver([&]() -> int {
                auto in = source_at(at);
                while (receive(in)) {
                }
                return 1;
            });
            auto out = sink_at(at);
            const auto until = parley::clock::now() + in_a_while;
            while (parley::clock::now() < until) REQUIRE(send(out, "x"));
            receiver.kill();
            parley::result<void> r;
            while ((r = send(out, "x"))) {
            }
            CHECK(r.error() == errc::peer_lost);
        }
        CHECK(dir.entries() == 0);
    }
    CHECK(open_descriptors() == before);
}
