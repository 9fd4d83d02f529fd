// SPDX-License-Identifier: MIT
#include <parley/testing/archetypes.hpp>
#include <parley/testing/faulty.hpp>

#include "support/catch.hpp"

#include <parley/channel.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>

namespace {

using parley::testing::archetype;
using parley::testing::archetype_sink;
using parley::testing::archetype_source;
using parley::testing::faulty;

// What the concepts take.
static_assert(parley::transport<parley::shm> && parley::pairing_transport<parley::shm>);
static_assert(parley::transport<parley::pipe> && parley::pairing_transport<parley::pipe>);
static_assert(parley::transport<parley::inproc>);
static_assert(parley::sink<parley::any_sink> && parley::source<parley::any_source>);
static_assert(parley::transport<parley::any_transport<parley::transport_list<archetype>>>);
static_assert(parley::transport<faulty<archetype>>);
static_assert(!parley::pairing_transport<faulty<archetype>>);
static_assert(parley::pairing_transport<faulty<parley::shm>>);
static_assert(parley::in_memory<faulty<parley::shm>::source>);
static_assert(!parley::in_memory<faulty<parley::pipe>::source>);

// What they refuse: each of these lacks one thing.
struct no_flush : archetype_sink {
    void flush(parley::time_point) = delete;
};
static_assert(!parley::sink<no_flush>);

struct flush_that_answers_nothing : archetype_sink {
    void flush(parley::time_point);
};
static_assert(!parley::sink<flush_that_answers_nothing>);

struct loan_without_shrink {
    parley::mutable_bytes bytes() const;
};
struct sink_with_a_bare_loan : archetype_sink {
    using loan = loan_without_shrink;
    parley::result<loan> try_loan(std::size_t);
    parley::result<void> try_commit(loan);
};
static_assert(!parley::loan<loan_without_shrink> && !parley::sink<sink_with_a_bare_loan>);

struct commit_by_reference : archetype_sink {
    parley::result<void> try_commit(loan&);
};
static_assert(!parley::sink<commit_by_reference>);

struct copied_view {
    parley::mutable_bytes bytes() const;
};
static_assert(!parley::view<copied_view>);

struct no_peers_lost : archetype_source {
    void peers_lost() const = delete;
};
static_assert(!parley::source<no_peers_lost>);

struct view_not_movable : archetype_source {
    struct view {
        view(view&&) = delete;
        parley::bytes bytes() const;
    };
    parley::result<view> try_receive() = delete;
};
static_assert(!parley::source<view_not_movable>);

struct wait_that_throws_away : archetype_source {
    bool wait(parley::time_point);
};
static_assert(!parley::source<wait_that_throws_away>);

struct no_limits : archetype_sink {
    void limits() const = delete;
};
static_assert(!parley::sink<no_limits>);

struct not_movable : archetype_sink {
    not_movable(not_movable&&) = delete;
};
static_assert(!parley::sink<not_movable>);

struct address_without_equality {
    using sink = archetype_sink;
    using source = archetype_source;
    [[maybe_unused]] static constexpr std::string_view scheme = "x";
    static parley::result<address_without_equality> from(const parley::uri&, parley::diagnostics&);
    parley::uri to_uri() const;
    parley::result<sink> open_sink(const parley::open_request&) const;
    parley::result<source> open_source(const parley::open_request&) const;
};
static_assert(!parley::transport<address_without_equality>);

struct address_without_scheme {
    using sink = archetype_sink;
    using source = archetype_source;
    static parley::result<address_without_scheme> from(const parley::uri&, parley::diagnostics&);
    parley::uri to_uri() const;
    parley::result<sink> open_sink(const parley::open_request&) const;
    parley::result<source> open_source(const parley::open_request&) const;
    [[maybe_unused]] friend bool operator==(const address_without_scheme&,
                                            const address_without_scheme&) = default;
};
static_assert(!parley::transport<address_without_scheme>);

TEST_CASE("archetype: a typed channel runs over the least that meets the contract") {
    auto in = parley::open_receiver<int>(archetype{"least"}).value();
    auto out = parley::open_sender<int>(archetype{"least"}).value();
    for (int i = 0; i < 100; ++i) {
        out.send(i).value();
        CHECK(in.receive().value() == i);
    }
    out.close().value();
    CHECK(in.receive().error() == parley::errc::closed);
}

TEST_CASE("faulty: the n-th call of one verb fails and the others pass") {
    parley::testing::faults plan{parley::testing::verb::try_commit, 2,
                                 parley::errc::out_of_resources, 0};
    const faulty<archetype> at{archetype{"faulty"}, &plan};
    auto in = parley::open_receiver<int>(at).value();
    auto out = parley::open_sender<int>(at).value();
    out.send(0).value();
    out.send(1).value();
    CHECK(!plan.struck());
    CHECK(out.send(2).error() == parley::errc::out_of_resources);
    CHECK(plan.struck());
    out.send(3).value();
    for (const int expected : {0, 1, 3}) CHECK(in.receive().value() == expected);
    CHECK(in.try_receive().error() == parley::errc::would_block);
}

}  // namespace
