// SPDX-License-Identifier: MIT
// SIGKILL at random moments and at named points, over and over, on one and the same log, ring or
// mail directory: every life must find what the ones before left.
#include <parley/transport/file.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/snapshot.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/tortured.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/channel.hpp>
#include <parley/drive/blocking.hpp>

#include <sys/prctl.h>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::diagnostics;
using parley::errc;

namespace {

/// Ends this process by SIGKILL after so many calls of pass(): a point in the code, not in time.
struct mine {
    std::uint64_t left;
    void pass() {
        if (left != 0 && --left == 0) ::raise(SIGKILL);
    }
};

/// Sends on from what the last life had sent, or had begun, as the receiver's side of it tells.
template <class Address>
int send_on(const Address& at, const shared_board& b, mine m) {
    diagnostics why;
    auto out = at.open_sink({tortured_type, parley::never, &why});
    if (!out) return 3;
    m.pass();
    for (;;) {
        const std::uint64_t i = b->sent;
        parley::deadline d = parley::never;
        auto l = parley::drive::loan(*out, length_of(i), d);
        if (!l) return 4;
        m.pass();
        fill(l->bytes(), i);
        b->begun = i + 1;
        m.pass();
        if (!out->try_commit(std::move(*l))) return 5;
        m.pass();
        if (!out->flush(parley::never)) return 6;
        m.pass();
        b->sent = i + 1;
        m.pass();
    }
}
/// A message may be seen twice on the wire only if its sender died between commit and `sent`.
bool fits(const shared_board& b, parley::bytes m) {
    const std::uint64_t i = b->received;
    if (holds(m, i)) {
        b->received = i + 1;
        return true;
    }
    return i > 0 && holds(m, i - 1);
}
template <class Address>
int receive_on(const Address& at, const shared_board& b, mine m) {
    diagnostics why;
    auto in = at.open_source({tortured_type, parley::never, &why});
    if (!in) return 3;
    for (;;) {
        m.pass();
        parley::deadline d = parley::never;
        auto v = parley::drive::receive(*in, d);
        if (!v && v.error() == errc::closed) continue;
        if (!v) return 4;
        // Between this and the line before a message is received and not yet seen: no mine here.
        if (!fits(b, v->bytes())) return b->wrong = 1, 5;
        m.pass();
    }
}

/// Lives that end at random: those of senders at any point, those of receivers at points where what
/// was handed out was seen.
template <class Address>
void torture(const Address& at, unsigned lives) {
    const watchdog dog("torture", std::chrono::seconds(60 + lives));
    const shared_board b;
    parley::random r(23);
    for (unsigned life = 0; life < lives; ++life) {
        const bool timed = life % 2 == 0;
        const mine in_sender{timed ? 0 : 1 + r.below(400)};
        const mine in_receiver{1 + r.below(300)};
        child receiver([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            return receive_on(at, b, in_receiver);
        });
        child sender([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            return send_on(at, b, in_sender);
        });
        if (timed) {
            const auto until = parley::clock::now() + std::chrono::microseconds(r.below(3000));
            while (parley::clock::now() < until) {
            }
            ::kill(sender.pid(), SIGKILL);
        }
        CHECK(sender.wait() == 128 + SIGKILL);
        ::kill(receiver.pid(), SIGKILL);
        const int status = receiver.wait();
        // One that was killed by us may have died with a message in its hands: it counts as taken.
        CHECK(status == 128 + SIGKILL);
        REQUIRE(b->wrong == 0);
        diagnostics why;
        auto in = at.open_source({tortured_type, parley::expired, &why});
        INFO("life " << life << ": " << why.text());
        REQUIRE(in);
        bool first = true;
        for (;;) {
            const auto v = in->try_receive();
            if (!v && v.error() == errc::closed) continue;
            if (!v) {
                REQUIRE(v.error() == errc::would_block);
                break;
            }
            if (first && holds(v->bytes(), b->received + 1)) ++b->received;
            first = false;
            REQUIRE(fits(b, v->bytes()));
        }
        // All that was sent is here, but for one that a dying receiver had in its hands.
        REQUIRE(b->received + 1 >= b->sent);
        REQUIRE(b->received <= b->begun);
        b->sent = b->received = std::max(b->received, b->sent);
        REQUIRE(in->close(parley::never));
    }
    CHECK(b->sent > lives);
}

unsigned lives() { return campaign() ? 10'000 : 200 / static_cast<unsigned>(slowness()); }

}  // namespace

TEST_CASE("torture: a log survives every SIGKILL of its ends") {
    const temporary_directory dir;
    torture(parley::file(dir / "log"), lives());
}
TEST_CASE("torture: a log that rotates survives every SIGKILL of its ends") {
    const temporary_directory dir;
    torture(parley::file(dir / "log", {.rotate_bytes = 5000, .keep = 1}), lives());
}
TEST_CASE("torture: a mapped ring survives every SIGKILL of its ends") {
    const temporary_directory dir;
    torture(parley::mmap(dir / "ring", {.capacity_bytes = 1 << 15}), lives());
}
TEST_CASE("torture: a mail directory survives every SIGKILL of its ends") {
    const temporary_directory dir;
    torture(parley::maildir(dir / "mail"), lives());
}

TEST_CASE("torture: a snapshot is whole after every SIGKILL of its sender, and grows") {
    const watchdog dog("torture of a snapshot", std::chrono::seconds(60 + lives()));
    const temporary_directory dir;
    const parley::snapshot at(dir / "value", {.await = parley::level::visible});
    const shared_board b;
    parley::random r(24);
    for (unsigned life = 0; life < lives(); ++life) {
        child sender([&] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            return send_on(at, b, {life % 2 == 0 ? 0 : 1 + r.below(100)});
        });
        if (life % 2 == 0) {
            const auto until = parley::clock::now() + std::chrono::microseconds(r.below(3000));
            while (parley::clock::now() < until) {
            }
            ::kill(sender.pid(), SIGKILL);
        }
        CHECK(sender.wait() == 128 + SIGKILL);
        diagnostics why;
        auto in = at.open_source({tortured_type, parley::expired, &why});
        INFO("life " << life << ": " << why.text());
        REQUIRE(in);
        const auto v = in->try_receive();
        if (!v) {
            REQUIRE(b->sent == 0);
            continue;
        }
        const auto last = parley::load_le<std::uint64_t>(v->bytes().data());
        REQUIRE(holds(v->bytes(), last));
        REQUIRE((last + 1 == b->sent || last + 1 == b->begun));
        b->sent = last + 1;
    }
    CHECK(b->sent > 0);
}
