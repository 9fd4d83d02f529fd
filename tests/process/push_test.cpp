// SPDX-License-Identifier: MIT
// Push and pull between real processes: workers are killed at their work, and nothing is lost.
#include <parley/push.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/shm.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <fcntl.h>

#include <map>
#include <optional>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;

namespace {

struct job {
    std::uint32_t number, spare;
};

template <class Body>
void over_every_transport(Body body) {
    const temporary_directory dir;
    const unique_name name("push");
    const reserved_port port;
    body(parley::uds(dir / "stream"), "uds stream");
    body(parley::uds(dir / "packets", {.type = parley::uds::seqpacket}), "uds seqpacket");
    body(parley::tcp(port.text()), "tcp");
    body(parley::shm(name.text()), "shm");
}

}  // namespace

TEST_CASE("push: the tasks of killed workers are done by others, and each is done") {
    watchdog dog("push: killed workers");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        int told[2];
        REQUIRE(::pipe2(told, O_CLOEXEC | O_NONBLOCK) == 0);
        gate holds;
        const auto worker = [&] {
            auto in = parley::open_puller<job>(at, 20s).value();
            for (;;) {
                auto t = in.pull();
                if (!t) return t.error() == errc::closed ? 0 : 1;
                if (::write(told[1], &t->value.number, 4) != 4) return 2;
                if (!in.done(*t)) return 3;
            }
        };
        const auto doomed = [&] {
            auto in = parley::open_puller<job>(at, 20s).value();
            for (;;) {
                const auto some = in.pull_many(5);
                if (!some) return 1;
                holds.open();
                ::pause();
            }
            return 0;
        };
        auto out = parley::open_pusher<job>(at, 20s).value();
        constexpr std::uint32_t jobs = 2000;
        std::optional<child> victim;
        std::vector<child> living;
        std::uint32_t killed = 0;
        const auto kill = [&] {
            holds.pass();
            victim->kill();
            victim.reset();
            ++killed;
        };
        const auto is_held = [&] {
            pollfd p{holds.descriptor(), POLLIN, 0};
            return ::poll(&p, 1, 0) == 1;
        };
        for (std::uint32_t i = 0; i < jobs; ++i) {
            REQUIRE(out.push({i, 0}, 60s));
            if (i % 100 == 50 && !victim) victim.emplace(doomed);
            if (i == 100) {  // the first victim has nobody to share with
                while (!is_held()) (void)out.work(10ms);
                kill();
                living.emplace_back(worker);
                living.emplace_back(worker);
            }
            if (victim && is_held()) kill();
        }
        victim.reset();
        REQUIRE(out.drain(60s));
        CHECK(out.finished() == jobs);
        while (out.workers_lost() < killed) REQUIRE(out.work(20s));
        CHECK(out.sent_again() >= killed);
        std::map<std::uint32_t, int> done;
        for (std::uint32_t n = 0; ::read(told[0], &n, 4) == 4;) ++done[n];
        CHECK(done.size() == jobs);  // a living worker wrote each before it said done
        for (const auto& [number, times] : done) {
            if (times != 1) CHECK(number == ~0U);
        }
        REQUIRE(out.close(5s));
        for (auto& w : living) CHECK(w.wait() == 0);
        ::close(told[0]);
        ::close(told[1]);
    });
}
TEST_CASE("push: a pusher that is killed shows at once, and its successor is found") {
    watchdog dog("push: a killed pusher");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        gate pushed;
        const auto pushing = [&] {
            auto out = parley::open_pusher<job>(at, 20s).value();
            if (!out.push({7, 0}, 20s)) return 1;
            while (out.workers() == 0 || out.waiting() > 0) {
                if (!out.work(20s)) return 2;
            }
            pushed.open();
            ::pause();
            return 0;
        };
        child first(pushing);
        auto in = parley::open_puller<job>(at, 20s).value();
        const auto t = in.pull(20s).value();
        CHECK(t.value.number == 7);
        pushed.pass();
        first.kill();
        CHECK(in.pull(20s).error() == errc::peer_lost);
        child second(pushing);
        auto again = parley::open_puller<job>(at, 20s).value();
        CHECK(again.pull(20s).value().attempt == 1);
        pushed.pass();
    });
}
