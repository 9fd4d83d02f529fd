// SPDX-License-Identifier: MIT
// A loss of power, over and over, on one and the same log, ring, value or mail directory: a real
// ext4 on a loop device that is shut down while somebody writes, with nothing flushed, not even the
// journal. What was acknowledged as synced is there afterwards, and of the rest a beginning.
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
#include <parley/drive/blocking.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <iostream>
#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;

namespace {

/// A disk with an ext4, in a file. It is mounted for this process and its children only, and goes
/// with them.
class disk {
public:
    ~disk() { (void)::umount2(at().c_str(), MNT_DETACH); }

    [[nodiscard]] std::string at() const { return dir_ / "disk"; }

    /// Why there can be none here; empty if there is one.
    [[nodiscard]] std::string make() {
        if (::geteuid() != 0) return "wants root";
        if (::unshare(CLONE_NEWNS) != 0 ||
            ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
            return "wants a mount namespace";
        }
        if (!run("truncate -s 64M " + image() + " && mkfs.ext4 -q -F -m 0 " + image() +
                 " && mkdir " + at())) {
            return "wants mkfs.ext4 (Debian: apt-get install e2fsprogs)";
        }
        if (!mount()) return "wants a loop device";
        if (!cut_power()) return "wants an ext4 that can be shut down (EXT4_IOC_SHUTDOWN)";
        return restart() ? "" : "wants an ext4 that can be mounted again";
    }
    /// What was not flushed is gone; until the restart every call on a file fails.
    [[nodiscard]] bool cut_power() const {
        constexpr unsigned long ext4_shutdown = _IOR('X', 125, std::uint32_t);
        std::uint32_t without_flushing_the_journal = 2;
        const int fd = ::open(at().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const bool done = ::ioctl(fd, ext4_shutdown, &without_flushing_the_journal) == 0;
        ::close(fd);
        return done;
    }
    /// Nobody may have a file open.
    [[nodiscard]] bool restart() const { return ::umount2(at().c_str(), 0) == 0 && mount(); }

private:
    [[nodiscard]] std::string image() const { return dir_ / "image"; }
    [[nodiscard]] bool mount() const { return run("mount -o loop " + image() + ' ' + at()); }
    static bool run(const std::string& command) {
        return std::system(("{ " + command + "; } >/dev/null 2>&1 </dev/null").c_str()) == 0;
    }

    temporary_directory dir_;
};

template <class Sink>
concept can_await = requires(Sink s) {
    s.await(parley::level::synced);
};

/// Sends until the disk is gone. What `each` messages have been sent is synced, if sends are not.
template <class Address>
int send_on(const Address& at, const shared_board& b, std::uint64_t each) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    diagnostics why;
    auto out = at.open_sink({tortured_type, parley::expired, &why});
    if (!out) return 0;
    for (;;) {
        const std::uint64_t i = b->begun;
        parley::deadline d = parley::expired;
        auto l = parley::drive::loan(*out, length_of(i), d);
        if (!l) return 0;
        fill(l->bytes(), i);
        b->begun = i + 1;
        if (!out->try_commit(std::move(*l)) || !out->flush(parley::never)) return 0;
        if constexpr (can_await<typename Address::sink>) {
            if (b->begun % each != 0) continue;
            if (!out->await(parley::level::synced)) return 0;
        }
        b->sent = i + 1;
    }
}
/// Opens for writing, which mends, and stays until it is killed.
template <class Address>
int mend(const Address& at, gate& mended) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    diagnostics why;
    auto out = at.open_sink({tortured_type, parley::expired, &why});
    mended.open();
    if (!out) return 1;
    for (;;) ::pause();
}

/// Receives all that is there: each message once, in order, whole. Of those that were received
/// before, the last ones may come again.
template <class Source>
void take_all(Source& in, const shared_board& b) {
    std::uint64_t next = b->received;
    for (bool first = true;; first = false) {
        const auto v = in.try_receive();
        if (!v && v.error() == errc::closed) continue;
        if (!v) {
            INFO(in.why().text());
            REQUIRE(v.error() == errc::would_block);
            break;
        }
        const auto i = parley::load_le<std::uint64_t>(v->bytes().data());
        REQUIRE(holds(v->bytes(), i));
        REQUIRE((first ? i <= b->received : i == next));
        next = i + 1;
    }
    REQUIRE(next >= b->sent);
    REQUIRE(next <= b->begun);
    b->begun = b->sent = b->received = next;
}
/// The value that is there is the last one that was synced, or a later one.
void take_last(parley::snapshot::source& in, const shared_board& b) {
    const auto v = in.try_receive();
    if (!v) {
        REQUIRE(b->sent == 0);
        return;
    }
    const auto i = parley::load_le<std::uint64_t>(v->bytes().data());
    REQUIRE(holds(v->bytes(), i));
    REQUIRE(i + 1 >= b->sent);
    REQUIRE(i + 1 <= b->begun);
    b->begun = b->sent = i + 1;
}

template <class Address>
void torture(const disk& d, const Address& at) {
    const unsigned lives = campaign() ? 500 : 12;
    const watchdog dog("a loss of power", std::chrono::seconds(60 + lives));
    const shared_board b;
    parley::random r(29);
    for (unsigned life = 0; life < lives; ++life) {
        INFO("life " << life);
        constexpr bool syncs_each = !can_await<typename Address::sink>;
        const std::uint64_t each = 1 + r.below(20);
        const std::uint64_t until = b->begun + 1 + r.below(syncs_each ? 10 : 100);
        child sender([&] { return send_on(at, b, each); });
        while (std::atomic_ref(b->begun).load() < until && !sender.is_over()) ::sched_yield();
        // What is acknowledged while the power goes, nobody has heard: a process that outlives the
        // cut is no part of what is simulated.
        const std::uint64_t heard = std::atomic_ref(b->sent).load();
        REQUIRE(d.cut_power());
        sender.kill();
        b->sent = heard;
        REQUIRE(d.restart());
        if (life % 2 == 1) {  // and while it is mended, or behind that, again
            gate mended;
            child mender([&] { return mend(at, mended); });
            const bool behind = life % 4 == 1;
            if (behind) mended.pass();
            REQUIRE(d.cut_power());
            ::kill(mender.pid(), SIGKILL);
            CHECK((mender.wait() == 128 + SIGKILL || !behind));
            REQUIRE(d.restart());
        }
        diagnostics why;
        {
            auto out = at.open_sink({tortured_type, parley::expired, &why});
            INFO(why.text());
            REQUIRE(out);
        }
        auto in = at.open_source({tortured_type, parley::expired, &why});
        INFO(why.text());
        REQUIRE(in);
        if constexpr (std::is_same_v<Address, parley::snapshot>) {
            take_last(*in, b);
        } else {
            take_all(*in, b);
        }
    }
    CHECK(b->sent > lives);
}

}  // namespace

TEST_CASE("loss of power: what was synced is there, and nothing torn, doubled or out of order") {
    disk d;
    if (const std::string without = d.make(); !without.empty()) {
        std::cout << "skipped: a loss of power " << without << '\n';
        return;
    }
    SECTION("a log") { torture(d, parley::file(d.at() + "/log")); }
    SECTION("a log that rotates") {
        torture(d, parley::file(d.at() + "/log", {.rotate_bytes = 5000, .keep = 1}));
    }
    SECTION("a mapped ring") {
        torture(d, parley::mmap(d.at() + "/ring", {.capacity_bytes = 1 << 18}));
    }
    SECTION("a last value") { torture(d, parley::snapshot(d.at() + "/value")); }
    SECTION("a mail directory") {
        torture(d, parley::maildir(d.at() + "/mail", {.await = parley::level::synced}));
    }
}
