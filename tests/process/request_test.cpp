// SPDX-License-Identifier: MIT
// Request and reply between real processes, over every two-way transport: answers, deaths of either
// side, deadlines, types.
#include <parley/request.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/ports.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::result;

namespace {

struct question {
    std::int32_t a, b;
};
struct total {
    std::int64_t sum;
};
struct text_question {
    std::string words;
    std::vector<std::int32_t> numbers;
};

/// What a desk makes of special questions.
constexpr std::int32_t refuse = -1, stop = -2;

template <class Desk>
int serve(Desk& desk) {
    const auto r = desk.serve([&](const question& q) -> result<total> {
        if (q.a == refuse) return errc::not_found;
        if (q.a == stop) desk.stop();
        return total{std::int64_t{q.a} + q.b};
    });
    return r && desk.close(5s) ? 0 : 1;
}
template <class Address>
auto desk_at(const Address& at) {
    return parley::open_replier<question, total>(at, 20s).value();
}
template <class Address>
auto caller_at(const Address& at) {
    return parley::open_requester<question, total>(at, 20s).value();
}

/// Runs the body with an address of every kind that processes share.
template <class Body>
void over_every_transport(Body body) {
    const temporary_directory dir;
    const unique_name name("desk");
    const reserved_port port;
    body(parley::uds(dir / "stream"), "uds stream");
    body(parley::uds(dir / "packets", {.type = parley::uds::seqpacket}), "uds seqpacket");
    body(parley::tcp(port.text()), "tcp");
    body(parley::shm(name.text()), "shm");
}

}  // namespace

TEST_CASE("request: three processes ask one desk, one by one and many at once") {
    watchdog dog("request: three processes");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        child desk([&] {
            auto d = desk_at(at);
            return serve(d);
        });
        const auto ask_much = [&] {
            auto ask = caller_at(at);
            for (int i = 0; i < 300; ++i) {
                if (ask.request({i, 1}, 20s).value().sum != i + 1) return 1;
            }
            for (int round = 0; round < 5; ++round) {
                std::vector<parley::call> calls;
                for (int i = 0; i < 200; ++i) calls.push_back(ask.start({i, round}).value());
                for (int i = 199; i >= 0; --i) {
                    if (ask.finish(calls[static_cast<std::size_t>(i)]).value().sum != i + round) {
                        return 2;
                    }
                }
            }
            return ask.under_way() == 0 && ask.close(5s) ? 0 : 3;
        };
        child one(ask_much), two(ask_much);
        CHECK(ask_much() == 0);
        CHECK(one.wait() == 0);
        CHECK(two.wait() == 0);
        auto last = caller_at(at);
        CHECK(last.request({refuse, 0}).error() == errc::not_found);
        CHECK_THAT(last.why().text(), contains("no such name"));
        CHECK(last.request({stop, 2}).value().sum == 0);
        CHECK(desk.wait() == 0);
        CHECK(last.request({1, 1}).error() == errc::closed);
    });
}
TEST_CASE("request: a desk that is killed shows at once in every call under way") {
    watchdog dog("request: a desk is killed");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        gate taken;
        child desk([&] {
            auto d = desk_at(at);
            auto first = d.take();
            auto second = d.take();
            taken.open();
            ::pause();
            return first && second ? 0 : 1;
        });
        auto ask = caller_at(at);
        const auto a = ask.start({1, 1}).value(), b = ask.start({2, 2}, 30s).value();
        taken.pass();
        CHECK(ask.try_finish(a).error() == errc::would_block);
        desk.kill();
        CHECK(ask.finish(b).error() == errc::peer_lost);
        CHECK(ask.finish(a).error() == errc::peer_lost);
        CHECK(ask.request({3, 3}).error() == errc::peer_lost);
        CHECK(ask.under_way() == 0);
    });
}
TEST_CASE("request: after a desk's death a caller that reconnects finds the next one") {
    watchdog dog("request: reconnect");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        const auto desk_process = [&] {
            auto d = desk_at(at);
            return serve(d);
        };
        child first(desk_process);
        auto ask =
            parley::open_requester<question, total>(at, 20s, nullptr, {.reconnect = true}).value();
        CHECK(ask.request({1, 1}).value().sum == 2);
        first.kill();
        child second(desk_process);
        const auto lost = ask.request({1, 2}, 20s);
        if (!lost) CHECK(lost.error() == errc::peer_lost);
        for (bool answered = false; !answered;) {
            const auto r = ask.request({1, 3}, 20s);
            answered = r.has_value();
            if (answered) CHECK(r->sum == 4);
        }
        CHECK(ask.request({stop, 0}, 20s));
        CHECK(second.wait() == 0);
    });
}
TEST_CASE("request: a caller that is killed is counted, and the desk goes on for the others") {
    watchdog dog("request: a caller is killed");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        auto desk = desk_at(at);
        gate asked;
        child dying([&] {
            auto ask = caller_at(at);
            const auto c = ask.start({1, 1});
            asked.open();
            ::pause();
            return c ? 0 : 1;
        });
        auto open_question = desk.take().value();
        asked.pass();
        CHECK(desk.is_wanted(open_question));
        dying.kill();
        child living([&] { return caller_at(at).request({20, 3}).value().sum == 23 ? 0 : 1; });
        REQUIRE(desk.serve_one([](const question& q) { return total{q.a + q.b}; }));
        while (desk.callers_lost() == 0) {
            const auto r = desk.take(20ms);
            CHECK(r.error() == errc::timed_out);
        }
        CHECK(living.wait() == 0);
        CHECK_FALSE(desk.is_wanted(open_question));
        CHECK(desk.answer(open_question, total{0}));
        CHECK(desk.callers_lost() == 1);
        REQUIRE(desk.close(5s));
    });
}
TEST_CASE("request: a deadline travels, ends the call, and withdraws the question") {
    watchdog dog("request: a deadline");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        auto desk = desk_at(at);
        gate over;
        child caller([&] {
            auto ask = caller_at(at);
            const auto patient = ask.start({1, 1}, 60s).value();
            const auto hasty = ask.start({2, 2}, 50ms).value();
            const auto withdrawn = ask.start({3, 3}).value();
            if (ask.finish(hasty).error() != errc::timed_out) return 1;
            ask.cancel(withdrawn);
            if (ask.finish(withdrawn).error() != errc::invalid_argument) return 2;
            over.open();
            return ask.finish(patient).value().sum == 2 && ask.close(5s) ? 0 : 3;
        });
        const auto patient = desk.take().value(), hasty = desk.take().value(),
                   withdrawn = desk.take().value();
        CHECK(hasty.until < patient.until);
        CHECK(patient.until - parley::clock::now() <= 60s);
        CHECK(withdrawn.until == parley::never);
        over.pass();
        CHECK(desk.try_take().error() == errc::would_block);  // reads what was withdrawn
        CHECK_FALSE(desk.is_wanted(hasty));
        CHECK_FALSE(desk.is_wanted(withdrawn));
        CHECK(desk.answer(withdrawn, total{6}));
        CHECK(desk.answer(patient, total{2}));
        CHECK(caller.wait() == 0);
        REQUIRE(desk.close(5s));
    });
}
TEST_CASE("request: a caller that reads no answers holds up nobody, and gets them later") {
    watchdog dog("request: a caller that reads nothing");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        child desk([&] {
            auto d = parley::open_replier<question, std::string>(at, 20s).value();
            (void)d.serve([&](const question& q) {
                if (q.a == stop) d.stop();
                return std::string(20'000, static_cast<char>('a' + q.b % 26));
            });
            return d.close(5s) ? 0 : 1;
        });
        auto slow = parley::open_requester<question, std::string>(at, 20s).value();
        std::vector<parley::call> calls;
        for (int i = 0; i < 1000; ++i) calls.push_back(slow.start({1, i}).value());
        auto other = parley::open_requester<question, std::string>(at, 20s).value();
        for (int i = 0; i < 20; ++i) CHECK(other.request({1, i}).value().size() == 20'000);
        bool right = true;
        for (int i = 0; i < 1000; ++i) {
            const auto text = slow.finish(calls[static_cast<std::size_t>(i)]).value();
            right = right && text.front() == static_cast<char>('a' + i % 26);
        }
        CHECK(right);
        CHECK(slow.request({stop, 0}));
        CHECK(desk.wait() == 0);
    });
}
TEST_CASE("request: ends of other types refuse each other and name both") {
    watchdog dog("request: types");
    over_every_transport([](const auto& at, const char* name) {
        INFO(name);
        child desk([&] {
            auto d = desk_at(at);
            (void)d.serve([](const question&) { return total{}; });
            return 0;
        });
        parley::diagnostics why;
        auto other = parley::open_requester<text_question, total>(at, 20s, &why);
        parley::error_code ec = other ? parley::error_code() : other.error();
        if (other) {
            const auto r = other->request({"how many", {1, 2}}, 20s);
            REQUIRE_FALSE(r);
            ec = r.error();
            why = other->why();
        }
        CHECK(ec == errc::incompatible);
        CHECK_THAT(why.text(), contains("request [") && contains("] answered by ["));
    });
}
