// SPDX-License-Identifier: MIT
// Many messages of any length between processes, each checked byte by byte.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <sys/prctl.h>

using namespace conformance;
using parley_test::child;

namespace {

/// Message i of writer w: its length follows from both. Only writer 0 sends empty ones, and the
/// first byte of the others names their writer, so that no message can be taken for another's.
std::uint64_t seed_of(std::uint64_t w, std::uint64_t i) { return w << 40 | i; }
std::size_t length_of(std::uint64_t w, std::uint64_t i, std::size_t most) {
    return std::max<std::size_t>(parley::random(~seed_of(w, i)).below(most + 1), w == 0 ? 0 : 1);
}

/// A byte pattern that is cheap to make and to check: 64-bit words of a generator, the first byte
/// replaced.
class pattern {
public:
    explicit pattern(std::uint64_t seed) : random_(seed), first_(seed >> 40) {}
    std::uint64_t operator()() {
        const auto word = random_();
        if (first_ == none) return word;
        return (word & ~std::uint64_t{0xff}) | std::exchange(first_, none);
    }

private:
    static constexpr auto none = ~std::uint64_t{0};
    parley::random random_;
    std::uint64_t first_;
};
void fill_quickly(parley::mutable_bytes to, std::uint64_t seed) {
    pattern r(seed);
    std::size_t i = 0;
    for (; i + 8 <= to.size(); i += 8) parley::store_le(&to[i], r());
    for (auto rest = r(); i < to.size(); ++i, rest >>= 8) to[i] = static_cast<std::byte>(rest);
}
bool holds_quickly(bytes b, std::uint64_t seed) {
    pattern r(seed);
    std::size_t i = 0;
    bool right = true;
    for (; i + 8 <= b.size(); i += 8) right &= parley::load_le<std::uint64_t>(&b[i]) == r();
    for (auto rest = r(); i < b.size(); ++i, rest >>= 8) {
        right &= b[i] == static_cast<std::byte>(rest);
    }
    return right;
}
/// Sends `count` messages as writer w; 0 if all went well.
int send_all(any_sink out, std::uint64_t w, std::uint64_t count, std::size_t most) {
    for (std::uint64_t i = 0; i < count; ++i) {
        parley::deadline d = parley::never;
        auto l = parley::drive::loan(out, length_of(w, i, most), d);
        if (!l) return 3;
        fill_quickly(l->bytes(), seed_of(w, i));
        if (!parley::drive::commit(out, std::move(*l), d)) return 4;
    }
    return out.close(parley::never) ? 0 : 5;
}

void campaign_over(const model& m, std::uint64_t count, std::size_t most) {
    auto at = m.make();
    std::optional<ends> both;
    std::optional<any_source> in;
    parley::diagnostics why;
    if (m.named) {
        in.emplace(at->receiver(apples, why).value());
    } else {
        both.emplace(at->open());
    }
    const std::size_t room =
        both ? both->sink.limits().message_bytes_max : in->limits().message_bytes_max;
    most = std::min(most, room);
    const std::size_t writers =
        m.named && in->limits().in_place ? std::min<std::size_t>(in->limits().writers_max, 3) : 1;
    std::vector<child> all;
    for (std::size_t w = 0; w < writers; ++w) {
        all.emplace_back([&, w] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (both) (void)both->source.close(parley::never);
            return send_all(
                both ? std::move(both->sink) : at->sender(apples, parley::never, why).value(), w,
                count / writers, most);
        });
    }
    if (both) {
        (void)both->sink.close(parley::never);
        in.emplace(std::move(both->source));
    }
    std::vector<std::uint64_t> next(writers, 0);
    std::uint64_t wrong = 0, got = 0;
    while (got < count / writers * writers) {
        const auto v = receive(*in);
        if (!v && v.error() == errc::closed) continue;  // one writer was done before another came
        REQUIRE(v);
        ++got;
        const bytes b = v->bytes();
        const auto w = b.empty() ? 0 : static_cast<std::size_t>(b[0]);
        const bool found = w < writers && b.size() == length_of(w, next[w], most) &&
                           holds_quickly(b, seed_of(w, next[w]));
        if (found) ++next[w];
        wrong += !found;
        if (wrong > 10) break;
    }
    CHECK(wrong == 0);
    CHECK(error_of(receive(*in)) == errc::closed);
    for (auto& c : all) CHECK(c.wait() == 0);
}

void each_backend(std::string_view test, std::uint64_t count, std::size_t most) {
    for (const auto& m : models()) {
        if (!m.across || m.variation) continue;
        DYNAMIC_SECTION(m.name) {
            const parley_test::watchdog dog(std::string(test) + " / " + m.name,
                                            std::chrono::seconds(60 + count / 1000));
            campaign_over(m, count, most);
        }
    }
}

std::uint64_t counted(std::uint64_t normal) {
    return parley_test::campaign() ? normal * 100
                                   : normal / static_cast<unsigned>(parley_test::slowness());
}

}  // namespace

TEST_CASE("content: messages of 0 B to 64 KiB arrive as they were sent, over every backend") {
    each_backend("0 B to 64 KiB", counted(10'000), 64 << 10);
}
TEST_CASE("content: messages of 0 B to 256 B arrive as they were sent, over every backend") {
    each_backend("0 B to 256 B", counted(100'000), 256);
}
