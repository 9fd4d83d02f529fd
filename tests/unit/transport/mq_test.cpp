// SPDX-License-Identifier: MIT
// POSIX message queues: priorities, shapes, limits of the kernel, places, foreign programs.
#include <parley/transport/mq.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/queues.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <sys/resource.h>

#include <optional>
#include <string>
#include <vector>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::framing;
using parley::mq;
using parley::open_receiver;
using parley::open_sender;
using parley::uri;
using own_mq = own_queue<mq>;

static_assert(parley::transport<mq>);

namespace {

std::string words_of_sender(const mq& at, parley::error_code ec) {
    diagnostics why;
    const auto out = open_sender<int>(at, expired, &why);
    REQUIRE(!out);
    CHECK(out.error() == ec);
    return why.text();
}

}  // namespace

TEST_CASE("mq: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text :
         {"mq://jobs", "mq://jobs?messages=4&message_bytes=100&priority=7&shared=yes&mode=660",
          "mq://a%20b?frame=none"}) {
        const auto at = mq::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
        CHECK(mq::from(at->to_uri(), why).value() == *at);
    }
    for (const char* text : {"mq://", "mq://x?messages=0", "mq://x?mode=888", "mq://x?slots=1"}) {
        CHECK(mq::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("mq: a name is 1 to 200 characters without a slash") {
    for (const std::string& name : {std::string(), std::string("a/b"), std::string(201, 'x'),
                                    std::string("."), std::string("..")}) {
        CHECK_THAT(words_of_sender(mq(name), errc::invalid_argument), contains("1 to 200"));
        diagnostics why;
        CHECK(mq(name).remove(why).error() == errc::invalid_argument);
        CHECK(mq(name).look(why).error() == errc::invalid_argument);
    }
}

TEST_CASE("mq: higher priorities overtake lower ones, equal ones keep their order") {
    const watchdog dog("priorities");
    const own_mq at;
    auto out = open_sender<int>(*at).value();
    const unsigned priorities[] = {0, 3, 1, 3, 0, 32767, 99999};
    for (int i = 0; i < 7; ++i) {
        out.end().priority(priorities[i]);
        out.send(i).value();
    }
    auto urgent = open_sender<int>(at.with({.priority = 2})).value();
    urgent.send(7).value();
    urgent.close();
    auto in = open_receiver<int>(*at).value();
    std::vector<int> order;
    std::vector<unsigned> told;
    for (int i = 0; i < 8; ++i) {
        order.push_back(in.receive().value());
        told.push_back(in.end().priority());
    }
    CHECK(order == std::vector<int>{5, 6, 1, 3, 7, 2, 0, 4});
    CHECK(told == std::vector<unsigned>{32767, 32767, 3, 3, 2, 1, 0, 0});
    CHECK(in.try_receive().error() == errc::would_block);  // one sender is there
    out.close();
    CHECK(in.try_receive().error() == errc::closed);
}

TEST_CASE("mq: an end record comes behind all that its sender sent, at any priority") {
    const own_mq at;
    auto out = open_sender<int>(*at).value();
    out.end().priority(9);
    out.send(1).value();
    out.end().priority(0);
    out.send(2).value();
    out.end().priority(9);
    out.close();
    auto in = open_receiver<int>(*at).value();
    CHECK(in.try_receive().value() == 1);
    CHECK(in.try_receive().value() == 2);
    CHECK(in.try_receive().error() == errc::closed);
    CHECK(in.try_receive().error() == errc::would_block);
}

TEST_CASE("mq: messages wait for a receiver when their sender is long gone") {
    const own_mq at;
    for (int i = 0; i < 3; ++i) open_sender<int>(*at).value().send(i).value();
    diagnostics why;
    CHECK(at->look(why).value().messages == 6);
    CHECK(!at->look(why).value().sender);
    auto in = open_receiver<int>(*at).value();
    CHECK(at->look(why).value().receiver);
    for (int i = 0; i < 3; ++i) CHECK(in.try_receive().value() == i);
    CHECK(in.try_receive().error() == errc::closed);  // once, for all three
    CHECK(in.try_receive().error() == errc::would_block);
}

TEST_CASE("mq: a queue of another shape is refused with both shapes and the remedy") {
    const own_mq at({.messages = 4, .message_bytes = 100});
    auto out = open_sender<int>(*at).value();
    CHECK(out.limits().message_bytes_max == 84);
    const auto words = words_of_sender(at.with({.messages = 5}), errc::incompatible);
    CHECK_THAT(words, contains("holds 4 messages of 100 bytes"));
    CHECK_THAT(words, contains("parley clean mq://" + at->name));
    (void)words_of_sender(at.with({.message_bytes = 101}), errc::incompatible);
    CHECK(open_sender<int>(at.with({})).value().limits().message_bytes_max == 84);
    diagnostics why;
    const auto seen = at->look(why).value();
    CHECK(seen.messages_max == 4);
    CHECK(seen.message_bytes_max == 100);
    CHECK(seen.mode == 0600);
    CHECK(seen.sender);
    CHECK(!seen.receiver);
}

TEST_CASE("mq: a queue too small for a header is refused, or used without one") {
    const own_mq at({.message_bytes = 16, .frame = framing::none});
    auto out = open_sender<std::string>(*at).value();
    CHECK(out.limits().message_bytes_max == 16);
    CHECK_THAT(words_of_sender(at.with({}), errc::incompatible), contains("header takes 16"));
}

TEST_CASE("mq: what the kernel does not allow is told with its limits and the remedy") {
    const own_mq at({.messages = 100'000});
    const auto words = words_of_sender(at, errc::out_of_resources);
    CHECK_THAT(words, contains("/proc/sys/fs/mqueue/msg_max is "));
    CHECK_THAT(words, contains("sysctl fs.mqueue.msg_max="));
    child c([] {
        const rlimit little{1000, 1000};
        const own_mq other({.messages = 2, .message_bytes = 1000});
        diagnostics why;
        if (::setrlimit(RLIMIT_MSGQUEUE, &little) != 0) return 1;
        const auto out = open_sender<int>(*other, expired, &why);
        if (out || out.error() != errc::out_of_resources) return 2;
        return why.text().find("1000 bytes (ulimit -q") != std::string::npos ? 0 : 3;
    });
    CHECK(c.wait() == 0);
}

TEST_CASE("mq: a message that is too large names the queue's limit and the remedy") {
    const own_mq at({.message_bytes = 100});
    auto out = open_sender<std::string>(*at).value();
    CHECK(out.send(std::string(100, 'x')).error() == errc::message_too_large);
    CHECK_THAT(out.why().text(), contains("at most 84"));
    CHECK_THAT(out.why().text(), contains("?message_bytes="));
}

TEST_CASE("mq: messages of another type are refused one by one, in words, and others come") {
    const own_mq at;
    auto wrong = open_sender<double>(*at).value();
    auto right = open_sender<int>(*at).value();
    wrong.send(1).value();
    wrong.send(2).value();
    right.send(3).value();
    auto in = open_receiver<int>(*at).value();
    CHECK(in.try_receive().error() == errc::incompatible);
    CHECK_THAT(in.why().text(), contains(std::string(wrong.type().description)));
    CHECK_THAT(in.why().text(), contains(std::string(in.type().description)));
    CHECK(in.try_receive().error() == errc::incompatible);  // told by its tag alone
    CHECK_THAT(in.why().text(), contains(std::to_string(wrong.type().fingerprint)));
    CHECK(in.try_receive().value() == 3);
    CHECK(in.end().refused() == 2);
}

TEST_CASE("mq: a first message that leaves no room for the description goes without") {
    const own_mq at({.message_bytes = 16 + sizeof(double) + 2});
    auto out = open_sender<double>(*at).value();
    out.send(1.5).value();
    auto in = open_receiver<double>(*at).value();
    CHECK(in.try_receive().value() == 1.5);
}

TEST_CASE("mq: bytes of a foreign program are corrupt with frames, messages without") {
    const own_mq at;
    const own_mq bare({.frame = framing::none});
    const std::string hello = "hello from afar, a message";
    for (const own_mq* q : {&at, &bare}) {
        auto in = open_receiver<std::string>(**q).value();
        const mqd_t foreign = ::mq_open(('/' + (*q)->name).c_str(), O_RDWR | O_NONBLOCK);
        REQUIRE(foreign >= 0);
        REQUIRE(::mq_send(foreign, hello.data(), hello.size(), 3) == 0);
        if (q == &bare) {
            CHECK(in.try_receive().value() == hello);
            CHECK(in.end().priority() == 3);
            auto out = open_sender<std::string>(**q).value();
            out.send("hello back").value();
            char room[8192];
            CHECK(::mq_receive(foreign, room, sizeof room, nullptr) == 10);
        } else {
            CHECK(in.try_receive().error() == errc::corrupt);
            CHECK_THAT(in.why().text(), contains("?frame=none"));
            std::vector<char> bad(16, '\0');
            for (const char kind :
                 {'\0', '\1', '\2', '\3'}) {  // a trailer that is longer than the message
                bad[12] = 1;
                bad[14] = kind;
                bad[15] = 'Q';
                REQUIRE(::mq_send(foreign, bad.data(), bad.size(), 0) == 0);
                CHECK(in.try_receive().error() == errc::corrupt);
            }
            CHECK(in.end().refused() == 5);
        }
        ::mq_close(foreign);
    }
}

TEST_CASE("mq: receivers that share compete for the messages, and the others are refused") {
    const own_mq at({.shared = true});
    auto one = open_receiver<int>(*at).value();
    auto two = open_receiver<int>(*at).value();
    CHECK(one.limits().readers_max > 1);
    diagnostics why;
    const auto alone = open_receiver<int>(at.with({}), expired, &why);
    REQUIRE(!alone);
    CHECK(alone.error() == errc::in_use);
    CHECK_THAT(why.text(), contains("?shared=yes"));
    auto out = open_sender<int>(*at).value();
    for (int i = 0; i < 4; ++i) out.send(i).value();
    out.close();
    for (int i = 0; i < 4; ++i) CHECK((i % 2 == 0 ? one : two).try_receive().value() == i);
    CHECK(one.try_receive().error() == errc::would_block);  // none hears of ends
    CHECK(two.try_receive().error() == errc::would_block);
}

TEST_CASE("mq: a message whose room another sender took waits in its own, and comes") {
    const own_mq at({.messages = 1});
    auto in = at->open_source({parley::any_type, expired, std::make_unique<diagnostics>().get()});
    REQUIRE(in);
    diagnostics why;
    auto one = at->open_sink({{1, "t", 1}, expired, &why}).value();
    auto two = at->open_sink({{1, "t", 1}, expired, &why}).value();
    auto first = one.try_loan(1).value(), second = two.try_loan(2).value();
    REQUIRE(one.try_commit(std::move(first)));
    REQUIRE(two.try_commit(std::move(second)));
    CHECK(one.flush(expired));
    CHECK(two.flush(expired).error() == errc::would_block);
    CHECK(two.try_loan(1).error() == errc::would_block);
    CHECK(two.close(expired).error() == errc::timed_out);
    CHECK(in->try_receive().value().bytes().size() == 1);
    CHECK(two.flush(expired));
    CHECK(in->try_receive().value().bytes().size() == 2);
}

TEST_CASE("mq: a queue is removed by its name; ends that are open go on") {
    const own_mq at;
    auto out = open_sender<int>(*at).value();
    auto in = open_receiver<int>(*at).value();
    diagnostics why;
    REQUIRE(at->remove(why));
    CHECK(at->remove(why).error() == errc::not_found);
    CHECK(at->look(why).error() == errc::not_found);
    out.send(1).value();
    CHECK(in.try_receive().value() == 1);
    auto other = open_receiver<int>(*at).value();  // a new queue of that name
    CHECK(other.try_receive().error() == errc::would_block);
}

TEST_CASE("queue places: a sender that has left counts no more, though its mark remains") {
    using parley::detail::queue_places;
    const temporary_directory dir;
    const auto open = [&] {
        return parley::detail::unique_fd(::open((dir / "q").c_str(), O_RDWR | O_CREAT, 0600));
    };
    const auto reader = open();
    std::vector<std::uint32_t> gone;
    CHECK(!queue_places::has_sender(reader.get(), gone));
    CHECK(!queue_places::has_receiver(reader.get()));
    REQUIRE(queue_places::enter_as_receiver(reader.get(), false));
    std::vector<parley::detail::unique_fd> senders;
    std::vector<std::uint32_t> places;
    for (int i = 0; i < 20; ++i) {
        senders.push_back(open());
        places.push_back(queue_places::enter_as_sender(senders.back().get()).value());
        CHECK(queue_places::has_receiver(senders.back().get()));
        CHECK(queue_places::enter_as_receiver(senders.back().get(), true).error() == errc::in_use);
    }
    for (int i = 0; i < 20; ++i) {
        CHECK(queue_places::has_sender(reader.get(), gone));
        CHECK(gone.size() == static_cast<std::size_t>(i));
        gone.push_back(places[static_cast<std::size_t>(i)]);
    }
    CHECK(!queue_places::has_sender(reader.get(), gone));
    CHECK(gone.size() == 20);
    senders.resize(5);
    CHECK(!queue_places::has_sender(reader.get(), gone));
    CHECK(gone.size() == 5);
}
