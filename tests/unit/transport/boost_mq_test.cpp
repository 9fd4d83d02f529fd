// SPDX-License-Identifier: MIT
// Boost's message_queue: foreign programs on either side, priorities, shapes, deaths inside its
// lock, files that are none.
#include <parley/transport/boost_mq.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/queues.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>
#include <parley/channel.hpp>

#include <sys/prctl.h>

#include <fstream>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::boost_mq;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::framing;
using parley::open_receiver;
using parley::open_sender;
using parley::uri;
using own_boost_mq = own_queue<boost_mq>;
using queue = boost::interprocess::message_queue;

static_assert(parley::transport<boost_mq>);

namespace {

std::string words_of_sender(const boost_mq& at, parley::error_code ec) {
    diagnostics why;
    const auto out = open_sender<int>(at, expired, &why);
    REQUIRE(!out);
    CHECK(out.error() == ec);
    return why.text();
}
std::string file_of(const boost_mq& at) { return "/dev/shm/" + at.name; }

/// The queue's mutex in Boost's own memory, as a program of theirs has it.
class foreign_lock {
public:
    explicit foreign_lock(const boost_mq& at)
        : shm_(boost::interprocess::open_only, at.name.c_str(), boost::interprocess::read_write),
          region_(shm_, boost::interprocess::read_write) {}
    boost::interprocess::interprocess_mutex& operator*() {
        using parley::detail::boost_queue;
        auto* at = static_cast<std::byte*>(region_.get_address()) + boost_queue::header_at;
        return reinterpret_cast<boost_queue::header*>(at)->m_mutex;
    }

private:
    boost::interprocess::shared_memory_object shm_;
    boost::interprocess::mapped_region region_;
};

/// A process that is killed while it holds the lock; the child is left a zombie until it is waited
/// for.
child killed_in_the_lock(const boost_mq& at) {
    gate held;
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        foreign_lock lock(at);
        (*lock).lock();
        held.open();
        ::pause();
        return 1;
    });
    held.pass();
    ::kill(c.pid(), SIGKILL);
    siginfo_t seen{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(c.pid()), &seen, WEXITED | WNOWAIT) == 0);
    return c;
}

}  // namespace

TEST_CASE("boost_mq: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"boost_mq://jobs",
          "boost_mq://jobs?messages=4&message_bytes=100&priority=7&shared=yes&mode=660",
          "boost_mq://a%20b?frame=none"}) {
        const auto at = boost_mq::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(boost_mq::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"boost_mq://", "boost_mq://x?messages=0", "boost_mq://x?slots=1"}) {
        CHECK(boost_mq::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("boost_mq: priorities overtake in any order of sending, equal ones keep theirs") {
    const own_boost_mq at({.messages = 8, .message_bytes = 64});
    auto out = open_sender<std::uint32_t>(*at).value();
    auto in = open_receiver<std::uint32_t>(*at).value();
    parley::random r(7);
    // The ring is entered at each of its places, at each fill.
    std::vector<std::pair<std::uint32_t, std::uint32_t>> model;  // priority, number
    std::uint32_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
        if (r.below(2) == 0) {
            const auto p = static_cast<std::uint32_t>(r.below(4)) * (step % 2 == 0 ? 1 : 1000);
            out.end().priority(p);
            const auto sent = out.try_send(next);
            REQUIRE(sent.has_value() == (model.size() < 8));
            if (sent) model.emplace_back(p, next++);
        } else {
            const auto first =
                std::max_element(model.begin(), model.end(),
                                 [](const auto& a, const auto& b) { return a.first < b.first; });
            const auto got = in.try_receive();
            REQUIRE(got.has_value() == !model.empty());
            if (!got) continue;
            REQUIRE(*got == first->second);
            REQUIRE(in.end().priority() == first->first);
            model.erase(first);
        }
    }
}

TEST_CASE("boost_mq: programs of Boost send and receive in their own way, also in mixed order") {
    const watchdog dog("boost_mq and Boost");
    const own_boost_mq at({.messages = 4, .message_bytes = 32, .frame = framing::none});
    auto out = open_sender<std::string>(*at).value();
    auto in = open_receiver<std::string>(*at).value();
    queue theirs(boost::interprocess::open_only, at->name.c_str());
    CHECK(theirs.get_max_msg() == 4);
    CHECK(theirs.get_max_msg_size() == 32);
    std::vector<char> room(32);
    queue::size_type n = 0;
    unsigned priority = 0;
    parley::random r(3);
    std::vector<std::pair<unsigned, std::string>> model;
    for (int step = 0; step < 5'000; ++step) {
        const auto first =
            std::max_element(model.begin(), model.end(),
                             [](const auto& a, const auto& b) { return a.first < b.first; });
        const std::string text = "message " + std::to_string(step);
        const auto p = static_cast<unsigned>(r.below(5));
        switch (r.below(4)) {
            case 0:
                out.end().priority(p);
                if (model.size() < 4 && out.try_send(text)) model.emplace_back(p, text);
                break;
            case 1:
                if (theirs.try_send(text.data(), text.size(), p)) model.emplace_back(p, text);
                break;
            case 2:
                if (const auto got = in.try_receive()) {
                    REQUIRE(*got == first->second);
                    model.erase(first);
                }
                break;
            default:
                if (theirs.try_receive(room.data(), room.size(), n, priority)) {
                    REQUIRE(std::string(room.data(), n) == first->second);
                    REQUIRE(priority == first->first);
                    model.erase(first);
                }
        }
        REQUIRE(theirs.get_num_msg() == model.size());
    }
}

TEST_CASE("boost_mq: a queue that Boost made is taken as it is; its sleepers are woken") {
    const watchdog dog("a sleeping program of Boost");
    const own_boost_mq at;
    queue theirs(boost::interprocess::create_only, at->name.c_str(), 2, 100);
    child sleeper([&] {
        queue q(boost::interprocess::open_only, at->name.c_str());
        char room[100];
        queue::size_type n = 0;
        unsigned priority = 0;
        for (int i = 0; i < 200; ++i) {
            q.receive(room, sizeof room, n, priority);
            if (std::string(room, n) != std::to_string(i)) return 1;
        }
        return 0;
    });
    auto out = open_sender<std::string>(at.with({.frame = framing::none})).value();
    for (int i = 0; i < 200; ++i) out.send(std::to_string(i)).value();
    CHECK(sleeper.wait() == 0);
    CHECK_THAT(words_of_sender(at.with({.messages = 3}), errc::incompatible),
               contains("holds 2 messages of 100 bytes"));
    auto framed = open_sender<std::string>(*at).value();
    CHECK(framed.limits().message_bytes_max == 84);
    CHECK(framed.try_send(std::string(85, 'x')).error() == errc::message_too_large);
}

TEST_CASE("boost_mq: a death inside the lock is corrupt with the remedy, at once, for every end") {
    const watchdog dog("a death inside Boost's lock");
    const own_boost_mq at({.messages = 2, .message_bytes = 64});
    for (const bool zombie : {true, false}) {
        auto out = open_sender<int>(*at).value();
        auto full = open_sender<int>(*at).value();
        auto in = open_receiver<int>(*at).value();
        out.send(1).value();
        if (zombie) full.send(2).value();
        child dead = killed_in_the_lock(*at);
        if (!zombie) (void)dead.wait();
        // Not after a while: the deadlines are short, and zero.
        CHECK(in.receive(1ms).error() == errc::corrupt);
        CHECK_THAT(in.why().text(), contains("was killed while it held the queue's lock"));
        CHECK_THAT(in.why().text(), contains("parley clean boost_mq://"));
        CHECK(in.try_receive().error() == errc::corrupt);
        CHECK(out.try_send(3).error() == errc::corrupt);
        CHECK(full.send(3).error() == errc::corrupt);  // also one that waits for room
        CHECK(out.close().error() == errc::corrupt);
        CHECK_THAT(words_of_sender(*at, errc::corrupt), contains("parley clean"));
        CHECK_THROWS_AS(queue(boost::interprocess::open_only, at->name.c_str()).get_num_msg(),
                        boost::interprocess::lock_exception);  // theirs do not hang either
        diagnostics why;
        CHECK(open_receiver<int>(*at, expired, &why).error() == errc::corrupt);
        CHECK(at->look(why).value().spoiled);
        REQUIRE(at->remove(why));
        in.close();
        auto next = open_receiver<int>(*at).value();
        open_sender<int>(*at).value().send(4).value();
        CHECK(next.receive().value() == 4);
        REQUIRE(at->remove(why));
    }
}

TEST_CASE("boost_mq: a lock that is only busy is waited for, and its deadline is kept") {
    const watchdog dog("a busy lock");
    const own_boost_mq at;
    auto in = open_receiver<int>(*at).value();
    auto out = open_sender<int>(*at).value();
    out.send(1).value();
    gate held, go;
    child c([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        foreign_lock lock(*at);
        (*lock).lock();
        held.open();
        go.pass();
        (*lock).unlock();
        return 0;
    });
    held.pass();
    CHECK(in.receive(5ms).error() == errc::timed_out);
    CHECK(in.try_receive().error() == errc::would_block);
    go.open();
    CHECK(in.receive().value() == 1);
    CHECK(c.wait() == 0);
}

TEST_CASE("boost_mq: files that are no queue are refused and left alone, unfinished ones go") {
    const own_boost_mq at;
    diagnostics why;
    for (const std::string& text : {std::string("dear diary, today"), std::string(100'000, 'x'),
                                    std::string(100'000, '\2')}) {
        std::ofstream(file_of(*at)) << text;
        CHECK_THAT(words_of_sender(*at, errc::corrupt), contains("left alone"));
        CHECK(at->remove(why).error() == errc::corrupt);
        CHECK(std::filesystem::file_size(file_of(*at)) == text.size());
        std::filesystem::remove(file_of(*at));
    }
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{4096}}) {
        std::ofstream(file_of(*at)) << std::string(n, '\0');  // a program of Boost died in open
        CHECK_THAT(words_of_sender(*at, errc::corrupt), contains("never finished"));
        CHECK(at->look(why).error() == errc::corrupt);
        REQUIRE(at->remove(why));
    }
    CHECK(at->remove(why).error() == errc::not_found);
    REQUIRE(::symlink("/etc/passwd", file_of(*at).c_str()) == 0);
    CHECK(!open_sender<int>(*at, expired, &why));
    CHECK(std::filesystem::is_symlink(file_of(*at)));
}

TEST_CASE("boost_mq: random bytes in a queue are refused or harmless, never a crash or a hang") {
    const watchdog dog("random bytes in a queue");
    const own_boost_mq at({.messages = 4, .message_bytes = 64});
    parley::random r(11);
    for (int round = 0; round < 600; ++round) {
        diagnostics why;
        auto out = open_sender<int>(*at).value();
        auto in = open_receiver<int>(*at).value();
        for (int i = 0; i < 3; ++i) out.send(i).value();
        {
            std::fstream file(file_of(*at), std::ios::in | std::ios::out | std::ios::binary);
            const auto size = std::filesystem::file_size(file_of(*at));
            for (auto k = 1 + r.below(12); k > 0; --k) {
                const auto at_byte = r.below(size);
                // A mutex that looks held is held by somebody who does not run, for all we know.
                using parley::detail::boost_queue;
                const auto mutex = boost_queue::header_at + offsetof(boost_queue::header, m_mutex);
                if (at_byte >= mutex && at_byte < mutex + sizeof(pthread_mutex_t)) continue;
                file.seekp(static_cast<std::streamoff>(at_byte));
                file.put(static_cast<char>(r()));
            }
        }
        for (int i = 0; i < 6; ++i) {
            (void)in.try_receive();
            (void)out.try_send(7);
        }
        in.close();  // nobody lingers for a receiver that is gone
        (void)open_sender<int>(*at, expired, &why);
        std::filesystem::remove(file_of(*at));
    }
}

TEST_CASE("boost_mq: there is no descriptor, and it is said so") {
    const own_boost_mq at;
    auto in = open_receiver<int>(*at).value();
    CHECK(!in.limits().pollable);
    CHECK(in.limits().spoilable);
    CHECK(in.pollable().error() == errc::unsupported);
    CHECK_THAT(in.why().text(), contains("mq://"));
}

TEST_CASE("boost_mq: a queue for which there is no memory is out_of_resources, in words") {
    const own_boost_mq at({.messages = 1 << 20, .message_bytes = 1 << 30});
    CHECK_THAT(words_of_sender(*at, errc::out_of_resources), contains("?messages="));
    CHECK(!std::filesystem::exists(file_of(*at)));
}

TEST_CASE("boost_mq: many that open a new name at once meet in one queue") {
    for (int round = 0; round < 20; ++round) {
        const own_boost_mq at;
        gate start;
        std::vector<child> all;
        for (int i = 0; i < 4; ++i) {
            all.emplace_back([&] {
                start.pass();
                return open_sender<int>(*at).value().send(1) ? 0 : 1;
            });
        }
        start.open(4);
        for (auto& c : all) CHECK(c.wait() == 0);
        auto in = open_receiver<int>(*at).value();
        for (int i = 0; i < 4; ++i) CHECK(in.try_receive().value() == 1);
        CHECK(in.try_receive().error() == errc::closed);
    }
}
