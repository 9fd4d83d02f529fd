// SPDX-License-Identifier: MIT
// The bullets on pollable(), under poll and under epoll.
#include "conformance/transport.hpp"

#include <poll.h>
#include <sys/epoll.h>

using namespace conformance;

namespace {

/// Polls one descriptor for reading, in one of the two ways.
class poller {
public:
    poller(int fd, bool by_epoll) : fd_(fd) {
        if (!by_epoll) return;
        epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
        epoll_event e{};
        e.events = EPOLLIN;
        REQUIRE(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) == 0);
    }
    poller(const poller&) = delete;
    poller& operator=(const poller&) = delete;
    ~poller() {
        if (epoll_ >= 0) ::close(epoll_);
    }

    [[nodiscard]] bool readable() { return look(0); }
    /// Waits as long as it takes.
    bool until_readable() { return look(-1); }

private:
    bool look(int milliseconds) {
        for (;;) {
            pollfd p{fd_, POLLIN, 0};
            epoll_event e{};
            const int n = epoll_ >= 0 ? ::epoll_wait(epoll_, &e, 1, milliseconds)
                                      : ::poll(&p, 1, milliseconds);
            if (n >= 0 && epoll_ >= 0) return n == 1 && (e.events & EPOLLIN) != 0;
            if (n >= 0) return n == 1 && (p.revents & POLLIN) != 0;
            if (errno != EINTR) return false;
        }
    }

    int fd_;
    int epoll_ = -1;
};

template <class Body>
void each_pollable(std::string_view test, Body body) {
    for (const bool by_epoll : {false, true}) {
        each_model(std::string(test) + (by_epoll ? ", epoll" : ", poll"), [&](const model& m) {
            auto at = m.make();
            auto both = at->open();
            if (!both.source.limits().pollable) {
                CHECK(error_of(both.source.pollable()) == errc::unsupported);
                CHECK(error_of(both.sink.pollable()) == errc::unsupported);
                return;
            }
            body(m, *at, both, by_epoll);
        });
    }
}

/// Receives until would_block; how many messages. Message i is to have n bytes of seed i.
std::uint64_t drain(any_source& in, std::size_t n, std::uint64_t first) {
    for (std::uint64_t i = first;; ++i) {
        const auto v = in.try_receive();
        if (!v) {
            CHECK(v.error() == errc::would_block);
            return i - first;
        }
        if (!holds(v->bytes(), n, i)) FAIL_CHECK("message " << i);
    }
}

TEST_CASE("transport: a source's pollable is readable until a try_receive says would_block") {
    each_pollable("a source's pollable", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        auto& in = both.source;
        const auto fd = in.pollable();
        REQUIRE(fd);
        CHECK(*in.pollable() == *fd);
        poller poll(*fd, by_epoll);
        std::uint64_t sent = 0, got = 0;
        for (std::uint64_t burst = 0; burst < 20; ++burst) {
            got += drain(in, 33, got);
            CHECK(got == sent);
            CHECK(!poll.readable());
            CHECK(!poll.readable());
            for (std::uint64_t i = 0; i <= burst % 4; ++i) REQUIRE(send(out, 33, sent++));
            CHECK(poll.readable());
            while (got < sent) {
                CHECK(poll.readable());
                if (burst % 3 == 0) CHECK(in.wait(parley::never));  // may read ahead
                CHECK(poll.readable());
                REQUIRE(receives(in, 33, got));
                ++got;
            }
        }
    });
}

TEST_CASE("transport: a source's pollable is readable when it is made after the message") {
    each_pollable("made after the message", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        auto& in = both.source;
        for (std::uint64_t i = 0; i < 3; ++i) REQUIRE(send(out, 10, i));
        CHECK(in.wait(parley::never));  // a stream has read all three ahead now
        poller poll(in.pollable().value(), by_epoll);
        for (std::uint64_t i = 0; i < 3; ++i) {
            CHECK(poll.readable());
            CHECK(receives(in, 10, i));
        }
        CHECK(drain(in, 10, 3) == 0);
        CHECK(!poll.readable());
    });
}

TEST_CASE("transport: a source's pollable becomes readable on the end, and on new senders") {
    each_pollable("readable on the end", [](const model&, place& at, ends& both, bool by_epoll) {
        auto& in = both.source;
        poller poll(in.pollable().value(), by_epoll);
        CHECK(drain(in, 0, 0) == 0);
        CHECK(!poll.readable());
        worker closing([&] { expect(both.sink.close(parley::never).has_value()); });
        CHECK(poll.until_readable());
        closing.join();
        CHECK(error_of(in.try_receive()) == errc::closed);
        if (!in.limits().successors) return;
        for (std::uint64_t i = 0; i < 5; ++i) {
            CHECK(drain(in, 0, 0) == 0);
            CHECK(!poll.readable());
            auto next = at.sender();
            REQUIRE(send(next, 10, i));
            CHECK(poll.until_readable());
            CHECK(receives(in, 10, i));
            REQUIRE(next.close(parley::never));
            CHECK(poll.until_readable());
            CHECK(error_of(receive(in)) == errc::closed);
        }
    });
}

TEST_CASE("transport: a receiver that only polls gets every message of a thread that sends") {
    each_pollable("only polls", [](const model&, place&, ends& both, bool by_epoll) {
        auto& in = both.source;
        poller poll(in.pollable().value(), by_epoll);
        const std::uint64_t count = 5000 / static_cast<unsigned>(parley_test::slowness());
        pace p(both.sink);
        worker sender([&] {
            parley::random r(5);
            for (std::uint64_t i = 0; i < count; ++i) {
                p.before_send();
                if (!expect(send(both.sink, 33, i).has_value())) return;
                if (r.below(4) == 0) std::this_thread::yield();
            }
            expect(both.sink.close(parley::never).has_value());
        });
        std::uint64_t got = 0;
        for (bool closed = false; !closed;) {
            REQUIRE(poll.until_readable());
            for (;;) {
                const auto v = in.try_receive();
                if (!v) {
                    closed = v.error() == errc::closed;
                    if (!closed) REQUIRE(v.error() == errc::would_block);
                    break;
                }
                REQUIRE(holds(v->bytes(), 33, got));
                ++got;
                p.received();
            }
        }
        CHECK(got == count);
        sender.join();
    });
}

TEST_CASE("transport: a receiver that takes one message per readiness gets them all") {
    each_pollable("one per readiness", [](const model&, place&, ends& both, bool by_epoll) {
        auto& in = both.source;
        poller poll(in.pollable().value(), by_epoll);
        const std::uint64_t count = 2000 / static_cast<unsigned>(parley_test::slowness());
        pace p(both.sink);
        worker sender([&] {
            for (std::uint64_t i = 0; i < count; ++i) {
                p.before_send();
                if (!expect(send(both.sink, 50, i).has_value())) return;
            }
        });
        for (std::uint64_t got = 0; got < count;) {
            REQUIRE(poll.until_readable());
            const auto v = in.try_receive();
            if (!v) {
                REQUIRE(v.error() == errc::would_block);
                continue;
            }
            REQUIRE(holds(v->bytes(), 50, got));
            ++got;
            p.received();
        }
        sender.join();
    });
}

TEST_CASE("transport: who waited in vain and then polls is woken all the same") {
    each_pollable("polls after a wait", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        auto& in = both.source;
        poller poll(in.pollable().value(), by_epoll);
        for (std::uint64_t i = 0; i < 3; ++i) {
            CHECK(drain(in, 50, i) == 0);
            CHECK(error_of(in.wait(parley::clock::now() + 2ms)) == errc::timed_out);
            worker sender([&] { expect(send(out, 50, i).has_value()); });
            CHECK(poll.until_readable());
            while (!in.try_receive()) CHECK(poll.until_readable());
            sender.join();
        }
        poller room(out.pollable().value(), by_epoll);
        if (!fills_up(out)) return;
        const std::size_t n = handy(out);
        std::uint64_t sent = 0;
        while (send(out, n, sent, parley::expired)) ++sent;
        CHECK(error_of(out.wait(parley::clock::now() + 2ms)) == errc::timed_out);
        worker receiver([&] {
            for (std::uint64_t i = 0; i < sent; ++i) expect(receives(in, n, i));
        });
        CHECK(room.until_readable());
        CHECK(out.flush(parley::never));
        receiver.join();
    });
}

TEST_CASE("transport: a sink's pollable is readable while a loan may succeed") {
    each_pollable("a sink's pollable", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        auto& in = both.source;
        const auto fd = out.pollable();
        REQUIRE(fd);
        CHECK(*out.pollable() == *fd);
        poller poll(*fd, by_epoll);
        CHECK(poll.readable());
        if (!fills_up(out)) return;
        const std::size_t n = handy(out);
        std::uint64_t next = 0, first = 0;
        for (int round = 0; round < 5; ++round) {
            for (;;) {
                const auto sent = send(out, n, next, parley::expired);
                if (sent) {
                    ++next;
                    continue;
                }
                REQUIRE(sent.error() == errc::would_block);
                break;
            }
            CHECK(!poll.readable());
            while (!poll.readable()) {  // some space, in the end
                if (first == next) break;
                REQUIRE(receives(in, n, first));
                ++first;
            }
            CHECK(poll.readable());
        }
    });
}

TEST_CASE("transport: a sender that only polls for space sends everything") {
    each_pollable("only polls for space", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        poller poll(out.pollable().value(), by_epoll);
        const std::size_t n = handy(out);
        const std::uint64_t count = 3000 / static_cast<unsigned>(parley_test::slowness());
        pace p(out);
        worker receiver([&] {
            for (std::uint64_t i = 0; i < count; ++i) {
                if (!expect(receives(both.source, n, i))) return;
                p.received();
            }
        });
        for (std::uint64_t i = 0; i < count;) {
            p.before_send();
            const auto sent = send(out, n, i, parley::expired);
            if (sent) {
                ++i;
                continue;
            }
            REQUIRE(sent.error() == errc::would_block);
            REQUIRE(poll.until_readable());
        }
        CHECK(out.close(parley::never));
        receiver.join();
    });
}

TEST_CASE("transport: a full sink's pollable becomes readable when the receiver closes") {
    each_pollable("a full sink's pollable", [](const model&, place&, ends& both, bool by_epoll) {
        auto& out = both.sink;
        if (!hears_of_receiver(out)) return;  // a sender need not know of a receiver
        poller poll(out.pollable().value(), by_epoll);
        const std::size_t n = handy(out);
        (void)fill_up(out, n);
        CHECK(!poll.readable());
        worker closing([&] { expect(both.source.close(parley::never).has_value()); });
        CHECK(poll.until_readable());
        closing.join();
        CHECK(error_of(out.try_loan(n)) == parley::condition::gone);
    });
}

}  // namespace
