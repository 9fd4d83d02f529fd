// SPDX-License-Identifier: MIT
// Many messages of any length between processes, each checked byte by byte.
#include "conformance/transport.hpp"

#include "support/process.hpp"

#include <sys/prctl.h>

using namespace conformance;
using parley_test::child;

namespace {

/// Message i of writer w: words of a generator. Of several writers the first byte tells which.
std::uint64_t seed_of(std::uint64_t w, std::uint64_t i) { return w << 40 | i; }
std::size_t length_of(std::uint64_t w, std::uint64_t i, std::size_t most, std::size_t writers) {
    const auto n = parley::random(~seed_of(w, i)).below(most + 1);
    return writers > 1 && n == 0 ? 1 : n;
}
void fill_quickly(parley::mutable_bytes to, std::uint64_t w, std::uint64_t i, std::size_t writers) {
    parley::random r(seed_of(w, i));
    std::size_t at = 0;
    for (; at + 8 <= to.size(); at += 8) parley::store_le(&to[at], r());
    for (auto rest = r(); at < to.size(); ++at, rest >>= 8) to[at] = static_cast<std::byte>(rest);
    if (writers > 1) to[0] = static_cast<std::byte>(w);
}
bool holds_quickly(bytes b, std::uint64_t w, std::uint64_t i, std::size_t writers) {
    parley::random r(seed_of(w, i));
    const std::size_t told = writers > 1 ? 1 : 0;
    std::uint64_t word = 0;
    bool right = true;
    for (std::size_t at = 0; at < b.size(); ++at, word >>= 8) {
        if (at % 8 == 0) word = r();
        right &= at < told || b[at] == static_cast<std::byte>(word);
    }
    return right;
}

/// Sends `count` messages as writer w; 0 if all went well.
int send_all(any_sink out, std::uint64_t w, std::uint64_t count, std::size_t most,
             std::size_t writers) {
    for (std::uint64_t i = 0; i < count; ++i) {
        parley::deadline d = parley::never;
        auto l = parley::drive::loan(out, length_of(w, i, most, writers), d);
        if (!l) return 3;
        fill_quickly(l->bytes(), w, i, writers);
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
    // Many writers where memory is shared.
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
                count / writers, most, writers);
        });
    }
    if (both) {
        (void)both->sink.close(parley::never);
        in.emplace(std::move(both->source));
    }
    std::vector<std::uint64_t> next(writers, 0);
    std::uint64_t wrong = 0, got = 0;
    while (got < count / writers * writers && wrong == 0) {
        const auto v = receive(*in);
        if (!v && v.error() == errc::closed) continue;  // one writer was done before another came
        REQUIRE(v);
        ++got;
        const auto w = writers == 1 || v->bytes().empty()
                           ? std::size_t{0}
                           : static_cast<std::size_t>(v->bytes().front());
        REQUIRE(w < writers);
        const auto i = next[w]++;
        wrong += v->bytes().size() != length_of(w, i, most, writers) ||
                 !holds_quickly(v->bytes(), w, i, writers);
    }
    CHECK(wrong == 0);
    CHECK(error_of(receive(*in)) == errc::closed);
    for (auto& c : all) CHECK(c.wait() == 0);
}

void each_backend(std::string_view test, std::uint64_t count, std::size_t most) {
    for (const auto& m : models()) {
        if (!m.across || m.variation) continue;
        if (m.make()->open().sink.limits().lossy) continue;  // see lossy_test.cpp
        DYNAMIC_SECTION(m.name) {
            const parley_test::watchdog dog(std::string(test) + " / " + m.name,
                                            std::chrono::seconds(60 + count / 1000));
            // Where a message is a file, or comes in many signals, a campaign would take hours.
            const bool slow = !m.quick || m.name.starts_with("maildir");
            campaign_over(m, slow && parley_test::campaign() ? count / 50 : count, most);
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
