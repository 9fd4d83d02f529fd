// SPDX-License-Identifier: MIT
// The n-th call of every verb fails, for n = 0, 1, … until a run passes without the fault: the
// channel above says the right error, loses nothing that it took, leaks nothing, and goes on.
#include "conformance/transport.hpp"

#include <parley/testing/archetypes.hpp>
#include <parley/testing/faulty.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/uds.hpp>

using namespace conformance;
using parley::testing::faults;
using parley::testing::faulty;
using parley::testing::verb;

namespace {

/// What one run saw: the first error, and which of the messages sent with success arrived.
struct outcome {
    parley::error_code first;
    std::vector<std::string> sent, received;

    void note(const auto& r) {
        if (!r && !first && r.error() != errc::closed) first = r.error();
    }
};

template <class Address>
auto open_ends(const Address& at) {
    using sender = parley::sender<std::string, Address>;
    using receiver = parley::receiver<std::string, Address>;
    using both = std::pair<result<receiver>, result<sender>>;
    if constexpr (parley::pairing_transport<Address>) {
        auto c = parley::make_channel<std::string>(at);
        if (!c) return both(c.error(), c.error());
        return both(std::move(c->rx), std::move(c->tx));
    } else {
        auto in = parley::open_receiver<std::string>(at);
        if (!in) return both(in.error(), in.error());
        auto out = parley::open_sender<std::string>(at);
        return both(std::move(in), std::move(out));
    }
}

/// Five messages there, one at a time, with waits on both sides; then the end.
template <class Address>
outcome run(const Address& at) {
    outcome seen;
    auto ends = open_ends(at);
    seen.note(ends.first);
    seen.note(ends.second);
    if (!ends.first || !ends.second) return seen;
    auto& in = *ends.first;
    auto& out = *ends.second;
    for (int i = 0; i < 5; ++i) {
        const std::string text = "message " + std::to_string(i);
        const auto sent = out.send(text, 10s);
        seen.note(sent);
        if (sent) seen.sent.push_back(text);
        (void)out.end().flush(parley::expired);  // what a flush left here, the next one pushes
        if (i % 2 == 0) seen.note(out.pollable());
        if (i % 2 == 1) seen.note(in.pollable());
        const auto got = in.receive(sent ? parley::deadline(10s) : parley::deadline(0s));
        if (got) seen.received.push_back(*got);
        if (sent) seen.note(got);
    }
    seen.note(out.close(10s));
    seen.note(out.close(10s));  // the second attempt succeeds
    while (const auto got = in.receive(10s)) seen.received.push_back(*got);
    seen.note(in.close());
    return seen;
}

template <class Address, class Make>
void every_fault(std::string_view name, Make make) {
    DYNAMIC_SECTION(name) {
        const parley_test::watchdog dog(std::string("faults / ") + std::string(name));
        for (const auto with :
             {parley::error_code(errc::would_block), parley::error_code(errc::out_of_resources)}) {
            for (std::uint8_t v = 0; v < parley::testing::verbs; ++v) {
                bool struck = true;
                for (std::uint64_t n = 0; struck; ++n) {
                    INFO("verb " << int{v} << ", call " << n << ", " << with.message());
                    REQUIRE(n < 100);
                    const auto before = parley_test::resources::now();
                    faults plan{static_cast<verb>(v), n, with, 0};
                    const auto seen = run(faulty<Address>{make(), &plan});
                    struck = plan.struck();
                    CHECK(parley_test::resources::now() == before);
                    // What was sent with success arrived, in order, once; nothing else but a
                    // message that was committed before the error.
                    auto rest = seen.received.begin();
                    for (const auto& text : seen.sent) {
                        rest = std::find(rest, seen.received.end(), text);
                        CHECK((rest != seen.received.end()));
                        if (rest == seen.received.end()) break;
                        ++rest;
                    }
                    CHECK(seen.received.size() <= 5);
                    if (!struck) {
                        const bool clean = !seen.first || seen.first == errc::unsupported;
                        CHECK(clean);
                        CHECK(seen.received.size() == 5);
                    } else if (seen.first && seen.first != errc::unsupported) {
                        CHECK(seen.first == with);
                    }
                }
            }
        }
    }
}

}  // namespace

TEST_CASE("faulty: whichever call fails, it is told, nothing leaks and what was sent comes") {
    static std::atomic<int> number{0};
    const auto fresh = [] {
        return "faulty" + std::to_string(++number) + "." + std::to_string(::getpid());
    };
    (void)run(parley::inproc(fresh()));  // what is made once for the whole process
    every_fault<parley::pipe>("pipe", [] { return parley::pipe(); });
    every_fault<parley::shm>("shm", [] { return parley::shm(); });
    every_fault<parley::uds>("uds", [] { return parley::uds(); });
    every_fault<parley::testing::archetype>("archetype",
                                            [&] { return parley::testing::archetype{fresh()}; });
}
