// SPDX-License-Identifier: MIT
// Services: how methods are spelt, what versions of them meet, and calls between threads.
#include <parley/rpc_any.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/transport/inproc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::call_context;
using parley::errc;
using parley::method;
using parley::outcome;
using parley::result;
namespace rpc = parley::rpc;

namespace {

struct calculator {
    method<"add(a, b)", double(double, double), parley::idempotent> add;
    method<"divide", double(double, double)> divide;
    method<"count", int(int), parley::once> count;
    method<"note", void(std::string), parley::one_way> note;
    method<"notes", std::vector<std::string>()> notes;
    method<"budget", std::int64_t()> budget;
    method<"stop", void()> stop;
};

// Versions of one service.
struct v1 {
    method<"find", std::string(int)> find;
    method<"drop", void(int)> drop;
};
struct v2_added {
    method<"drop", void(int)> drop;
    method<"find", std::string(int, std::optional<int>)> find;
    method<"list", std::vector<int>()> list;
};
struct v2_required {
    method<"find", std::string(int, int)> find;
    method<"drop", void(int)> drop;
};
struct v2_removed {
    method<"find", std::string(int)> find;
};
struct v2_reordered {
    method<"find", std::string(std::optional<int>, int)> find;
    method<"drop", void(int)> drop;
};
struct v2_answer {
    method<"find", std::vector<int>(int)> find;
    method<"drop", void(int)> drop;
};
static_assert(rpc::compatible<v1, v1>);
static_assert(rpc::compatible<v1, v2_added>);
static_assert(!rpc::compatible<v2_added, v1>);
static_assert(!rpc::compatible<v1, v2_required>);
static_assert(!rpc::compatible<v1, v2_removed>);
static_assert(!rpc::compatible<v1, v2_reordered>);
static_assert(!rpc::compatible<v1, v2_answer>);

calculator implementation(std::vector<std::string>& notes) {
    calculator c;
    c.add = [](double a, double b) { return a + b; };
    c.divide = [](call_context& k, double a, double b) -> result<double> {
        if (b == 0) return k.fail(errc::invalid_argument, "a division by nothing");
        if (b == 1) throw std::runtime_error("why ask");
        return a / b;
    };
    c.count = [n = 0](int by) mutable { return n += by; };
    c.note = [&](const std::string& s) { notes.push_back(s); };
    c.notes = [&] { return notes; };
    c.budget = [](call_context& k) -> std::int64_t {
        if (k.until() == parley::never) return -1;
        return (k.until() - parley::clock::now()) / 1ms;
    };
    c.stop = [](call_context& k) { k.stop(); };
    return c;
}

/// A calculator that serves in a thread of its own while this lives.
template <class Address>
class desk {
public:
    explicit desk(const Address& at)
        : at_(at), thread_([this] {
              std::vector<std::string> notes;
              auto s = parley::open_server(at_, implementation(notes), 20s).value();
              expect_ok_ = s.serve().has_value();
              (void)s.close(5s);
          }) {}
    ~desk() {
        (void)parley::open_client<calculator>(at_, 20s).value()->stop();
        thread_.join();
        CHECK(expect_ok_);
    }

private:
    Address at_;
    bool expect_ok_ = false;
    std::thread thread_;
};

}  // namespace

TEST_CASE("service: a method is spelt as a name, with its parameters or without") {
    constexpr auto s = rpc::spell("subtract(minuend, subtrahend)");
    STATIC_REQUIRE(s.is_right);
    CHECK(s.name == "subtract");
    CHECK(s.count == 2);
    CHECK(s.parameters[1] == "subtrahend");
    CHECK_FALSE(s.takes_rest);
    CHECK(rpc::spell("sum(numbers...)").takes_rest);
    CHECK(rpc::spell("get").is_right);
    CHECK_FALSE(rpc::spell("get").names_parameters);
    CHECK(rpc::spell("get()").names_parameters);
    for (const char* wrong : {"", "1a", "a b", "a(", "a(b", "a(b,)", "a(,b)", "a(b c)",
                              "a(b..., c)", "a(b...)...", "a)"}) {
        INFO(wrong);
        CHECK_FALSE(rpc::spell(wrong).is_right);
    }
}
TEST_CASE("service: near and far it is called alike") {
    watchdog dog("service: near and far");
    std::vector<std::string> notes;
    const calculator near = implementation(notes);
    const auto use = [](const calculator& c) {
        CHECK(c.add(1, 2).value() == 3);
        CHECK(c.divide(7, 2).value() == 3.5);
        const auto r = c.divide(1, 0);
        CHECK(r.error() == errc::invalid_argument);
        CHECK(r.how() == outcome::failed);
        CHECK(c.note("so").how() == outcome::done);
        CHECK(c.notes().value() == std::vector<std::string>{"so"});
        CHECK(c.budget().value() == -1);
        CHECK(c.budget(60s).value() > 30'000);
    };
    use(near);
    const unique_name name("calculator");
    const temporary_directory dir;
    const auto far = [&](const auto& at) {
        desk serving(at);
        auto c = parley::open_client<calculator>(at, 20s).value();
        use(*c);
        CHECK(c->divide(1, 0, 20s).error() == errc::invalid_argument);
        CHECK(c.why().text() == "a division by nothing");
        CHECK(c->divide(1, 1, 20s).error() == errc::unsupported);
        CHECK(c.why().text() == "why ask");
        CHECK(c->count(2).value() == 2);
        CHECK(c->count(3, 20s).value() == 5);
        CHECK(c->add(1, 2, 0ms).how() == outcome::not_sent);
        CHECK(c.under_way() == 0);
    };
    far(parley::uds(dir / "x"));
    far(parley::uds(dir / "y", {.type = parley::uds::seqpacket}));
    far(parley::inproc(name.text()));
    far(parley::shm(name.text()));
    CHECK_FALSE(calculator{}.add(1, 2));
    CHECK(calculator{}.add(1, 2).how() == outcome::not_started);
}
TEST_CASE("service: a batch of calls goes there and back together") {
    watchdog dog("service: a batch");
    const unique_name name("batch");
    const temporary_directory dir;
    const auto over = [](const auto& at) {
        desk serving(at);
        auto c = parley::open_client<calculator>(at, 20s).value();
        for (int round = 0; round < 3; ++round) {
            std::vector<parley::pending<double>> sums;
            std::optional<parley::pending<double>> dropped;
            {
                const auto together = c.batch();
                for (int i = 0; i < 3000; ++i) sums.push_back(c->add.start(i, round).value());
                dropped.emplace(c->add.start(1, 1).value());
                CHECK(c->note("in a batch"));
                dropped.reset();
                sums.push_back(c->add.start(3000, round, 60s).value());
            }
            for (std::size_t i = sums.size(); i-- > 0;) {
                REQUIRE(sums[i].finish(20s).value() == static_cast<double>(i) + round);
            }
            CHECK(c.under_way() == 0);
        }
        CHECK(c->notes().value().size() == 3);
        {
            const auto together = c.batch();
            auto sum = c->add.start(1, 2).value();
            CHECK(sum.finish().value() == 3);  // it does not wait for the end of the batch
        }
        auto given_up = c->add.start(1, 2).value();
        given_up.cancel();
        CHECK(given_up.finish().error() == errc::invalid_argument);
    };
    over(parley::uds(dir / "x"));
    over(parley::uds(dir / "y", {.type = parley::uds::seqpacket}));
    over(parley::shm(name.text()));
}
TEST_CASE("service: other versions meet, and what one side does not know is refused in words") {
    watchdog dog("service: versions");
    const temporary_directory dir;
    const parley::uds at(dir / "x");
    v2_added added;
    added.find = [](int key, std::optional<int> more) {
        return std::to_string(key) + (more ? "+" + std::to_string(*more) : "");
    };
    added.drop = [](int) {};
    auto desk = parley::open_server(at, added).value();
    const auto call = [&](auto& c, auto start) {
        auto p = start(c).value();
        REQUIRE(desk.serve_one());
        return p.finish();
    };
    auto same = parley::open_client<v2_added>(at).value();
    CHECK(call(same, [](auto& c) { return c->find.start(7, 8); }).value() == "7+8");
    CHECK(call(same, [](auto& c) { return c->find.start(7, {}); }).value() == "7");
    auto old = parley::open_client<v1>(at).value();
    CHECK(call(old, [](auto& c) { return c->find.start(7); }).value() == "7");
    CHECK(call(old, [](auto& c) { return c->drop.start(7); }));
    const auto refused = [&](auto& c, auto start, parley::error_code ec) {
        const auto r = call(c, start);
        CHECK(r.error() == ec);
        CHECK(r.how() == outcome::not_started);
        CHECK_THAT(c.why().text(), contains("find"));
    };
    auto required = parley::open_client<v2_required>(at).value();
    refused(
        required, [](auto& c) { return c->find.start(7, 8); }, errc::incompatible);
    auto reordered = parley::open_client<v2_reordered>(at).value();
    refused(
        reordered, [](auto& c) { return c->find.start(7, 8); }, errc::incompatible);
    auto answer = parley::open_client<v2_answer>(at).value();
    refused(
        answer, [](auto& c) { return c->find.start(7); }, errc::incompatible);
    auto stranger = parley::open_client<calculator>(at).value();
    refused(
        stranger, [](auto& c) { return c->add.start(1, 2); }, errc::unsupported);
    refused(
        same, [](auto& c) { return c->list.start(); }, errc::unsupported);  // has no handler
}
TEST_CASE("service: a call whose time ran out, or that was given up, in the queue never runs") {
    watchdog dog("service: expired");
    const temporary_directory dir;
    const unique_name name("late");
    const auto over = [](const auto& at) {
        gate busy, go;
        int ran = 0;
        calculator c;
        c.stop = [&] {
            busy.open();
            go.pass();
        };
        c.add = [&](double a, double b) { return ++ran, a + b; };
        c.notes = [] { return std::vector<std::string>{"end"}; };
        auto s = parley::open_server(at, c, 20s).value();
        std::thread serving([&] {
            for (int n = 0; n < 2; ++n) (void)s.serve_one();
        });
        auto client = parley::open_client<calculator>(at, 20s).value();
        auto holds = client->stop.start().value();
        busy.pass();
        auto late = client->add.start(1, 2, 1ms).value();
        CHECK(late.finish().error() == errc::timed_out);
        CHECK(late.finish().error() == errc::invalid_argument);
        auto given_up = client->add.start(1, 2, 60s).value();
        given_up.cancel();
        auto last = client->notes.start(60s).value();
        go.open();
        CHECK(holds.finish());
        CHECK(last.finish().value().size() == 1);
        serving.join();
        CHECK(ran == 0);
    };
    over(parley::uds(dir / "x"));
    over(parley::shm(name.text()));
}
TEST_CASE("service: at a URI, chosen at run time, it is served and called as elsewhere") {
    watchdog dog("service: at a URI");
    const temporary_directory dir;
    const unique_name name("service-uri");
    for (const auto& at : {parley::uds(dir / "x").to_uri(), parley::shm(name.text()).to_uri(),
                           parley::inproc(name.text()).to_uri()}) {
        INFO(at.text());
        std::vector<std::string> notes;
        bool served = false;
        std::thread serving([&] {
            auto s = parley::open_server(at, implementation(notes), 20s).value();
            served = s.serve() && s.close(5s);
        });
        auto c = parley::open_client<calculator>(at, 20s).value();
        CHECK(c->add(1, 2).value() == 3);
        const auto nothing = [](parley::mutable_bytes) {};
        const rpc::called what{rpc::call_header::describing, 0, rpc::manner::idempotent, "describe",
                               "()"};
        const auto said = c.link().call(what, 0, rpc::filler(nothing), 20s);
        const auto methods =
            parley::portable<std::vector<rpc::described_method>>::decode(said.value()).value();
        REQUIRE(methods.size() == 7);
        CHECK(methods[0].name == "add");
        CHECK(methods[0].parameters == std::vector<std::string>{"a", "b"});
        CHECK(methods[0].signature == "(f64, f64) -> f64");
        CHECK(methods[2].signature == "once (i32) -> i32");
        CHECK(c->stop());
        serving.join();
        CHECK(served);
    }
    parley::diagnostics why;
    const auto none = parley::open_client<calculator>(parley::uri("mq://x"), 0s, &why);
    CHECK(none.error() == errc::unsupported);
    CHECK_THAT(why.text(), contains("tcp"));
    CHECK(parley::open_client<calculator>(parley::uri("tcp://x:y"), 0s, &why).error() ==
          errc::invalid_argument);
}
TEST_CASE("service: what is to run once runs once, however often it is sent") {
    std::vector<std::string> notes;
    rpc::dispatcher<calculator> desk(implementation(notes), 77);
    struct answered final : rpc::answer_sink {
        void send(rpc::header h, std::size_t n, rpc::filler f) override {
            last = h;
            body.assign(n, std::byte{});
            f(body);
        }
        rpc::header last;
        std::vector<std::byte> body;
    };
    using count = decltype(calculator::count);
    static parley::time_point now{1s};
    answered out;
    const auto send = [&](rpc::once_header o, int by) {
        std::vector<std::byte> call(16 + rpc::once_header::bytes + 4);
        rpc::call_header{count::number, count::description.prints[1]}.write(call.data());
        o.write(call.data() + 16);
        parley::store_le(call.data() + 48, static_cast<std::uint32_t>(by));
        call_context c;
        desk.run(call, c, out, [] { return now; });
        return out.last.what == rpc::kind::value ? parley::load_le<std::uint32_t>(out.body.data())
                                                 : 0U;
    };
    CHECK(send({77, 1, 1, 1}, 5) == 5);
    CHECK(send({77, 1, 1, 1}, 5) == 5);  // again
    CHECK(send({77, 2, 1, 1}, 1) == 6);  // another caller
    CHECK(send({77, 1, 2, 2}, 1) == 7);  // the first is over
    CHECK(send({77, 1, 1, 1}, 5) == 0);
    CHECK(rpc::read_error(out.last) == errc::invalid_argument);
    CHECK(out.last.what == rpc::kind::refusal);
    CHECK(send({78, 1, 3, 3}, 5) == 0);  // meant for another server
    CHECK(rpc::read_error(out.last) == errc::peer_lost);
    CHECK(send({77, 1, 3, 4}, 5) == 0);  // nobody writes that
    CHECK(rpc::read_error(out.last) == errc::corrupt);
    CHECK(send({77, 1, 3, 3}, 1) == 8);
    for (std::uint64_t i = 0; i < rpc::answers::callers_max; ++i)
        (void)send({77, 100 + i, 1, 1}, 0);
    CHECK(send({77, 99, 1, 1}, 1) == 0);  // no room
    CHECK(rpc::read_error(out.last) == errc::out_of_resources);
    now += rpc::answers::lease;
    CHECK(send({77, 99, 1, 1}, 1) == 9);  // the silent are forgotten
}
TEST_CASE("service: bytes that are no call are refused, and run nothing") {
    std::vector<std::string> notes;
    rpc::dispatcher<calculator> desk(implementation(notes), 77);
    struct counted final : rpc::answer_sink {
        void send(rpc::header h, std::size_t n, rpc::filler f) override {
            std::vector<std::byte> body(n);
            f(body);
            refused += h.what == rpc::kind::refusal ? 1 : 0;
            answered += h.what == rpc::kind::value ? 1 : 0;
        }
        int refused = 0, answered = 0;
    } out;
    using add = decltype(calculator::add);
    parley::random dice(3);
    for (int i = 0; i < 20'000; ++i) {
        std::vector<std::byte> call(dice.below(48));
        for (auto& x : call) x = std::byte(dice.below(256));
        if (call.size() >= 16 && i % 2 == 0) {
            rpc::call_header{add::number, add::description.prints[2]}.write(call.data());
        }
        call_context c;
        desk.run(call, c, out, [] { return parley::time_point{}; });
    }
    CHECK(out.refused + out.answered == 20'000);
    CHECK(out.answered > 50);  // arguments of sixteen bytes are two numbers
    CHECK(out.answered < 1000);
}
