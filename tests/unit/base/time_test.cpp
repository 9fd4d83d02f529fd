// SPDX-License-Identifier: MIT
#include <parley/base/time.hpp>

#include "support/catch.hpp"

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>

using namespace std::chrono_literals;

namespace {

static_assert(parley::deadline(0ms).is_try());
static_assert(parley::deadline(-5ms).is_try());
static_assert(parley::deadline(parley::expired).is_try());
static_assert(!parley::deadline(1ns).is_try());
static_assert(!parley::deadline(parley::never).is_try());

/// The time points that a deadline may name if it was made and asked between two looks at the
/// clock.
template <class Duration>
void check_is_from_now(Duration in) {
    const auto before = parley::clock::now();
    parley::deadline d(in);
    const auto at = d.at();
    const auto after = parley::clock::now();
    const auto length = std::chrono::duration_cast<parley::duration>(in);
    CHECK(at >= before + length);
    CHECK(at <= after + length);
}

}  // namespace

TEST_CASE("deadline: a duration counts from the first look at it", "[base]") {
    check_is_from_now(20ms);
    check_is_from_now(1ns);
    check_is_from_now(3h);
    check_is_from_now(1.5s);
    check_is_from_now(std::chrono::duration<std::int16_t>(100));
}

TEST_CASE("deadline: a chain of waits shares one time point", "[base]") {
    parley::deadline d(1h);
    const auto first = d.at();
    while (parley::clock::now() == parley::clock::now()) {
    }
    CHECK(d.at() == first);
}

TEST_CASE("deadline: a copy taken before the first look fixes its own time point", "[base]") {
    parley::deadline d(1h);
    parley::deadline copy = d;
    const auto first = d.at();
    CHECK(copy.at() >= first);
    parley::deadline later = d;
    CHECK(later.at() == first);
}

TEST_CASE("deadline: a time point is taken as it is", "[base]") {
    const auto when = parley::clock::now() + 5s;
    CHECK(parley::deadline(when).at() == when);
    const auto past = parley::clock::now() - 5s;
    CHECK(parley::deadline(past).at() == past);
    CHECK(parley::deadline(parley::never).at() == parley::never);
    CHECK(parley::deadline(parley::expired).at() == parley::expired);
}

TEST_CASE("deadline: zero and less mean try and never read the clock", "[base]") {
    CHECK(parley::deadline(0s).at() == parley::expired);
    CHECK(parley::deadline(-1h).at() == parley::expired);
    CHECK(parley::deadline(std::chrono::hours::min()).at() == parley::expired);
}

TEST_CASE("deadline: a duration beyond every clock means never", "[base]") {
    CHECK(parley::deadline(std::chrono::hours::max()).at() == parley::never);
    CHECK(parley::deadline(std::chrono::seconds::max()).at() == parley::never);
    CHECK(parley::deadline(std::chrono::nanoseconds::max()).at() == parley::never);
    CHECK(parley::deadline(std::chrono::duration<double>(1e300)).at() == parley::never);
    constexpr double infinite = std::numeric_limits<double>::infinity();
    CHECK(parley::deadline(std::chrono::duration<double>(infinite)).at() == parley::never);
}

TEST_CASE("deadline: durations finer than the clock's do not overflow", "[base]") {
    using picoseconds = std::chrono::duration<std::int64_t, std::pico>;
    using attoseconds = std::chrono::duration<std::int64_t, std::atto>;
    check_is_from_now(picoseconds(5'000'000));
    check_is_from_now(picoseconds::max());
    check_is_from_now(attoseconds::max());
}

TEST_CASE("deadline: something that is no number of seconds means try", "[base]") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK(parley::deadline(std::chrono::duration<double>(nan)).is_try());
}
