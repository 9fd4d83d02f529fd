// SPDX-License-Identifier: MIT
// Signals when the queue of the user is full: by an unrelated process, and by ourselves. A spare
// user with a tiny RLIMIT_SIGPENDING makes that quick; only root can be one.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <parley/transport/signals.hpp>

#include <sys/prctl.h>
#include <sys/resource.h>

#include <iostream>

using namespace conformance;
using parley_test::child;
using parley_test::gate;

namespace {

/// Becomes a user that nobody else is, whose signals may number `pending` at once.
bool become_spare_user(rlim_t pending) {
    const uid_t spare = 50'000 + static_cast<uid_t>(::getppid()) % 10'000;
    const rlimit few{pending, pending};
    return ::setrlimit(RLIMIT_SIGPENDING, &few) == 0 && ::setgid(65534) == 0 &&
           ::setuid(spare) == 0 && ::prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
}
/// Runs `body` as that user; skips where it cannot.
template <class Body>
void as_spare_user(rlim_t pending, Body body) {
    if (::geteuid() != 0) {
        std::cout << "skipped: only root can be a spare user\n";
        return;
    }
    child c([&] {
        if (!become_spare_user(pending)) return 78;
        return body();
    });
    CHECK(c.wait() == 0);
}

std::size_t length_of(std::uint64_t i) { return i * 7 % 200; }

int send_some(const parley::signals& at, std::uint64_t count) {
    parley::diagnostics why;
    auto out = at.open_sink({apples, parley::never, &why});
    if (!out) return 3;
    any_sink s(std::move(*out));
    for (std::uint64_t i = 0; i < count; ++i) {
        if (!send(s, length_of(i), i)) return 4;
    }
    return s.close(parley::never) ? 0 : 5;
}
int receive_all(parley::signals::source in, std::uint64_t count) {
    any_source s(std::move(in));
    for (std::uint64_t i = 0; i < count; ++i) {
        if (!receives(s, length_of(i), i)) return 6;
    }
    return error_of(receive(s)) == errc::closed ? 0 : 7;
}
/// True if nothing more can be queued to this process.
bool queue_is_full(int number) {
    return ::sigqueue(::getpid(), number, {}) != 0 && errno == EAGAIN;
}

}  // namespace

TEST_CASE("signals: an unrelated process of the same user fills the queue, and nothing is lost") {
    const parley_test::watchdog dog("signals: hog");
    const parley_test::unique_name name("hog");
    const parley::signals at(name.text());
    as_spare_user(100, [&] {
        const std::uint64_t count = 3000 / static_cast<unsigned>(parley_test::slowness());
        parley::diagnostics why;
        auto in = at.open_source({apples, parley::never, &why});
        if (!in) return 1;
        gate full;
        // Takes every place in the queue again and again, and gives some back.
        child hog([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            const int mine = SIGRTMAX;
            parley::detail::block_signals(parley::detail::mask_of(mine));
            while (!queue_is_full(mine)) {
            }
            full.open();
            for (parley::random r(9);;) {
                parley::detail::signal_packet p;
                for (auto n = r.below(60); n > 0; --n) {
                    (void)parley::detail::take_signal_now(parley::detail::mask_of(mine), p);
                }
                ::sched_yield();
                while (!queue_is_full(mine)) {
                }
            }
            return 0;
        });
        full.pass();
        child sender([&] { return send_some(at, count); });
        const int received = receive_all(std::move(*in), count);
        return received != 0 ? received : sender.wait();
    });
}

TEST_CASE("signals: a flood of foreign signals to the limit is ignored, and nothing is lost") {
    const parley_test::watchdog dog("signals: flood");
    const parley_test::unique_name name("flood");
    const parley::signals at(name.text());
    as_spare_user(100, [&] {
        const std::uint64_t count = 3000 / static_cast<unsigned>(parley_test::slowness());
        parley::diagnostics why;
        auto in = at.open_source({apples, parley::never, &why});
        if (!in) return 1;
        const pid_t receiver = ::getpid();
        const int number = in->number();
        gate full;
        child flood([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (bool told = false;;) {
                if (::sigqueue(receiver, number, {}) == 0) continue;
                if (errno != EAGAIN) return 1;
                if (!std::exchange(told, true)) full.open();
                ::sched_yield();
            }
            return 0;
        });
        full.pass();
        child sender([&] { return send_some(at, count); });
        auto& source = *in;
        for (std::uint64_t i = 0; i < count; ++i) {
            auto v = source.try_receive();
            while (!v && v.error() == errc::would_block && source.wait(parley::never)) {
                v = source.try_receive();
            }
            if (!v || !holds(v->bytes(), length_of(i), i)) return 2;
        }
        return source.foreign() >= 100 ? 0 : 3;
    });
}

TEST_CASE(
    "signals: with room for a handful of signals in the queue, several senders lose nothing") {
    const parley_test::watchdog dog("signals: EAGAIN");
    const parley_test::unique_name name("eagain");
    for (const rlim_t pending : {7U, 19U, 40U}) {
        const parley::signals at(name.text() + std::to_string(pending));  // a window of 256
        as_spare_user(pending, [&] {
            const std::uint64_t count = 1500 / static_cast<unsigned>(parley_test::slowness());
            constexpr std::uint64_t senders = 3;
            parley::diagnostics why;
            auto in = at.open_source({apples, parley::never, &why});
            if (!in) return 1;
            any_source s(std::move(*in));
            std::vector<child> all;
            for (std::uint64_t w = 0; w < senders; ++w) {
                all.emplace_back([&, w] {
                    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                    auto out = at.open_sink({apples, parley::never, &why});
                    if (!out) return 3;
                    any_sink sink(std::move(*out));
                    for (std::uint64_t i = 0; i < count; ++i) {
                        if (!send(sink, 1 + w + senders * (i % 50), i)) return 4;
                    }
                    return sink.close(parley::never) ? 0 : 5;
                });
            }
            std::uint64_t next[senders]{};
            for (std::uint64_t got = 0; got < senders * count; ++got) {
                auto v = receive(s);
                while (!v && v.error() == errc::closed) v = receive(s);
                if (!v || v->bytes().empty()) return 6;
                const auto w = (v->bytes().size() - 1) % senders;
                const auto i = next[w]++;
                if (!holds(v->bytes(), 1 + w + senders * (i % 50), i)) return 7;
            }
            for (auto& c : all) {
                if (const int status = c.wait(); status != 0) return status;
            }
            return 0;
        });
    }
}

TEST_CASE("signals: a receiver that closes while the queue is full is noticed all the same") {
    const parley_test::watchdog dog("signals: close");
    const parley_test::unique_name name("close");
    const parley::signals at(name.text());
    as_spare_user(64, [&] {
        parley::diagnostics why;
        auto in = at.open_source({apples, parley::never, &why});
        if (!in) return 1;
        gate waiting;
        child sender([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            auto out = at.open_sink({apples, parley::never, &why});
            if (!out) return 3;
            any_sink s(std::move(*out));
            (void)fill_up(s, 1000);  // the queue is full now
            waiting.open();
            return error_of(send(s, 1000, 1)) == parley::condition::gone ? 0 : 4;
        });
        waiting.pass();
        if (!in->close(parley::never)) return 2;
        return sender.wait();
    });
}
