// SPDX-License-Identifier: MIT
// Every legal stack of guarantee, order, parts and batches over a way, each run in a seeded world.
// A failure names its stack and its seed; PARLEY_SEED=n runs that seed alone.
#pragma once

#include <parley/delivery/drawing.hpp>
#include <parley/testing/simulated.hpp>

#include "support/catch.hpp"
#include "support/watchdog.hpp"

#include <cstdlib>
#include <string>
#include <type_traits>
#include <utility>

namespace parley_test {

using parley::delivery::facts;

/// Datagrams that may also be damaged; datagrams; connections.
inline constexpr facts wild{.two_way = true};
inline constexpr facts calm{.intact = true, .two_way = true};
inline constexpr facts line{true, true, true, true, true, true};

/// What the runs of many stacks saw, together.
struct seen {
    std::uint64_t stacks = 0, messages = 0, again = 0, cuts = 0, resent = 0, duplicates = 0,
                  lost = 0, corrupt = 0, dropped = 0, expired = 0;
};

template <facts Way, class Policies>
void run_stack(const std::string& name, const Policies& policies, seen& total) {
    const char* only = std::getenv("PARLEY_SEED");
    const std::uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
    const std::uint64_t seeds = only != nullptr ? 1 : campaign() ? 2500 : 8;
    const std::size_t messages = campaign() ? 400 : 120;
    ++total.stacks;
    for (std::uint64_t seed = first; seed < first + seeds; ++seed) {
        const auto r = parley::testing::simulate<Way>(policies, seed, messages);
        if (!r.wrong.empty()) {
            FAIL(name << ": PARLEY_SEED=" << seed << ": " << r.wrong);
        }
        total.messages += messages;
        total.again += r.again;
        total.cuts += r.cuts;
        total.resent += r.sender.resent;
        total.dropped += r.sender.dropped;
        total.expired += r.sender.expired;
        total.duplicates += r.receiver.duplicates;
        total.lost += r.receiver.lost;
        total.corrupt += r.receiver.corrupt + r.sender.corrupt;
    }
}

/// The stack, if it is legal.
template <facts Way, class Policies>
void if_legal(const std::string& name, const Policies& policies, seen& total) {
    const auto s = parley::delivery::as_stack(policies);
    if constexpr (parley::delivery::check<std::remove_cvref_t<decltype(s)>>(Way) ==
                  parley::delivery::fault::none) {
        run_stack<Way>(name, s, total);
    }
}

/// A stack alone, in batches, in parts, and both.
template <facts Way, class Policies>
void packed(const std::string& name, const Policies& policies, seen& total) {
    using namespace parley;
    if_legal<Way>(name, policies, total);
    if_legal<Way>(name + " | batched", policies | batched{.messages = 5}, total);
    if_legal<Way>(name + " | fragmented", policies | fragmented{}, total);
    if_legal<Way>(name + " | fragmented | batched",
                  policies | fragmented{} | batched{.linger = std::chrono::milliseconds(1)}, total);
}

/// Every guarantee on top of `below`, a stack of what the way needs anyhow.
template <facts Way, class Policies>
void guaranteed(const Policies& below, seen& total) {
    using namespace parley;
    packed<Way>("at_most_once", below | at_most_once{}, total);
    packed<Way>("at_least_once", below | at_least_once{}, total);
    packed<Way>("at_least_once, unordered", below | at_least_once{.window = 8} | unordered{},
                total);
    packed<Way>("exactly_once", below | exactly_once{.window = 16}, total);
    packed<Way>("exactly_once, unordered, receipts",
                below | exactly_once{} | unordered{} | receipts{}, total);
    packed<Way>("at_most_once, prioritized", below | at_most_once{} | prioritized{3}, total);
    packed<Way>("exactly_once, prioritized, receipts",
                below | exactly_once{.window = 4} | prioritized{3} | receipts{}, total);
}

}  // namespace parley_test
