// SPDX-License-Identifier: MIT
// Request and reply within one thread, and between threads: what needs no second process.
#include <parley/request.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/inproc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::result;

namespace {

const auto doubled = [](const std::string& q) { return q + q; };

template <class Address>
auto desk_at(const Address& at) {
    return parley::open_replier<std::string, std::string>(at, 20s).value();
}
template <class Address>
auto caller_at(const Address& at) {
    return parley::open_requester<std::string, std::string>(at, 20s).value();
}

}  // namespace

TEST_CASE("request: one thread asks and answers") {
    watchdog dog("request: one thread");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    auto desk = desk_at(at);
    CHECK(desk.try_serve(doubled).error() == errc::would_block);
    auto ask = caller_at(at);
    const auto a = ask.start("ab").value(), b = ask.start("").value();
    CHECK(ask.try_finish(a).error() == errc::would_block);
    REQUIRE(desk.serve_one(doubled));
    REQUIRE(desk.serve_one(doubled));
    CHECK(desk.callers() == 1);
    CHECK(ask.finish(b).value().empty());
    CHECK(ask.finish(a).value() == "abab");
    CHECK(ask.finish(a).error() == errc::invalid_argument);
    CHECK(ask.request("too late", 0ms).error() == errc::timed_out);
    CHECK(desk.try_take().error() == errc::would_block);
    REQUIRE(ask.close(5s));
    CHECK(ask.request("x").error() == errc::closed);
    CHECK(desk.take(1ms).error() == errc::timed_out);
    CHECK(desk.callers() == 0);
    CHECK(desk.callers_lost() == 0);
}
TEST_CASE("request: who only tries sees each question, on every transport") {
    watchdog dog("request: tries");
    const temporary_directory dir;
    const unique_name name("tries");
    const auto over = [](const auto& at) {
        auto desk = desk_at(at);
        std::atomic<int> right{0};
        std::thread asking([&] {
            auto ask = caller_at(at);
            for (int i = 0; i < 20; ++i) right += ask.request("x", 20s).value() == "xx" ? 1 : 0;
        });
        for (int answered = 0; answered < 20;) {
            if (desk.try_serve(doubled)) {
                ++answered;
            } else {
                std::this_thread::yield();
            }
        }
        asking.join();
        CHECK(right == 20);
    };
    over(parley::uds(dir / "x"));
    over(parley::inproc(name.text()));
    over(parley::shm(name.text()));
}
TEST_CASE("request: answers may come in any order, and errors with their words") {
    watchdog dog("request: any order");
    const temporary_directory dir;
    const parley::uds at(dir / "x", {.type = parley::uds::seqpacket});
    auto desk = desk_at(at);
    auto ask = caller_at(at);
    const auto a = ask.start("a").value(), b = ask.start("b").value(), c = ask.start("c").value();
    const auto qa = desk.take().value(), qb = desk.take().value(), qc = desk.take().value();
    REQUIRE(desk.answer(qc, "3"));
    REQUIRE(desk.answer(qa, parley::error_code(42, boost::system::system_category())));
    CHECK(ask.finish(c).value() == "3");
    const auto failed = ask.finish(a);
    CHECK(failed.error() == parley::error_code(42, boost::system::system_category()));
    CHECK(ask.why().text() == failed.error().message());
    CHECK(desk.answer(qb, std::string(20'000'000, 'x')).error() == errc::message_too_large);
    CHECK(ask.finish(b).error() == errc::message_too_large);
    REQUIRE(desk.answer(qb, "2"));  // it is over: nobody hears it
    CHECK(ask.request("d", 1ms).error() == errc::timed_out);
}
TEST_CASE("request: no more calls than were asked for are under way") {
    watchdog dog("request: calls");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    auto desk = desk_at(at);
    auto ask =
        parley::open_requester<std::string, std::string>(at, 20s, nullptr, {.in_flight_max = 2})
            .value();
    const auto a = ask.start("a").value();
    REQUIRE(ask.start("b"));
    CHECK(ask.start("c").error() == errc::out_of_resources);
    ask.cancel(a);
    REQUIRE(ask.start("c"));
    const auto qa = desk.take().value(), qb = desk.take().value(), qc = desk.take().value();
    CHECK(qb.question == "b");
    CHECK_FALSE(desk.is_wanted(qa));  // the cancel lay between b and c
    CHECK(desk.is_wanted(qc));
}
TEST_CASE("request: threads of one process ask over inproc and over shared memory") {
    watchdog dog("request: threads");
    const unique_name name("desk");
    const auto over = [](const auto& at) {
        std::thread desk_thread([&] {
            auto desk = desk_at(at);
            (void)desk.serve([&](const std::string& q) {
                if (q == "stop") desk.stop();
                return q + q;
            });
            (void)desk.close(5s);
        });
        std::atomic<int> right{0};
        const auto asking = [&] {
            auto ask = caller_at(at);
            for (int i = 0; i < 200; ++i) {
                const auto text = std::to_string(i);
                right += ask.request(text, 20s).value() == text + text ? 1 : 0;
            }
        };
        std::thread one(asking), two(asking), three(asking);
        one.join();
        two.join();
        three.join();
        CHECK(right == 600);
        auto last = caller_at(at);
        CHECK(last.request("stop", 20s).value() == "stopstop");
        desk_thread.join();
        CHECK(last.request("x", 20s).error() == errc::closed);
    };
    over(parley::inproc(name.text()));
    over(parley::shm(name.text()));
    CHECK(leftovers(name.text()).empty());
}
