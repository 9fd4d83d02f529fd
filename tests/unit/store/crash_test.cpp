// SPDX-License-Identifier: MIT
// What a loss of power may leave of logs and snapshots, state by state, and what recovery makes of
// it. The code is that of the library; only the file system is a model.
#include <parley/testing/crash_files.hpp>

#include <parley/store/log_writer.hpp>
#include <parley/store/snapshot.hpp>

#include "support/catch.hpp"
#include "support/watchdog.hpp"

#include <iostream>

using namespace parley;
using store::next_record;
using testing::crash_files;

namespace {

constexpr message_type type{7, "numbers", 8};
const std::string path = "/d/log";

std::vector<std::byte> content(std::size_t i, std::size_t n) {
    std::vector<std::byte> all(n);
    for (std::size_t k = 0; k < n; ++k) all[k] = static_cast<std::byte>(i * 37 + k * 11 + 1);
    return all;
}

/// As a sender opens it: made if it is not there, then recovered.
struct opened {
    explicit opened(crash_files& f, store::log_writer<crash_files>::known k = {})
        : log(f, path, {}) {
        crash_files::file there;
        if (f.open(path, false, there) == ENOENT) {
            const auto header = store::make_log_header(type, 0, 1);
            REQUIRE(store::publish(f, path, store::bytes_of(header), {}) == 0);
        }
        diagnostics why;
        const auto r = log.open(type, k, why);
        INFO(why.text());
        REQUIRE(r);
    }
    void append(const std::vector<std::byte>& payload) {
        std::vector<std::byte> record(store::record_stride(payload.size()));
        const auto& e = log.expected();
        store::record_header h{static_cast<std::uint32_t>(payload.size()),
                               0,
                               e.position,
                               e.sequence,
                               1,
                               e.sender,
                               store::record_kind::message,
                               {}};
        store::write_record(record.data(), h, record.size(), payload.data());
        REQUIRE(log.append(record, h) == 0);
    }
    store::log_writer<crash_files> log;
};

using messages = std::vector<std::vector<std::byte>>;

/// What a reader gets.
messages all_of(crash_files& f) {
    store::log_reader<crash_files> in(f, path);
    diagnostics why;
    const auto r = in.open_first(why);
    INFO(why.text());
    REQUIRE(r);
    messages all;
    store::record_header h;
    bytes payload;
    while (in.next(h, payload) == next_record::found) {
        all.emplace_back(payload.begin(), payload.end());
    }
    return all;
}
bool is_prefix(const messages& part, const messages& all) {
    return part.size() <= all.size() && std::equal(part.begin(), part.end(), all.begin());
}

/// What was promised, and after how many calls.
struct promise {
    std::size_t calls;
    std::size_t messages;
    std::uint64_t position;
};
struct history {
    crash_files files;
    messages sent;
    std::vector<promise> synced{{0, 0, 0}};
};

enum class act : std::uint8_t { small, large, sync, turn, reopen };
constexpr act acts[] = {act::small, act::large, act::sync, act::turn, act::reopen};

history play(const std::vector<act>& script) {
    history h;
    auto at = std::make_unique<opened>(h.files);
    for (const act a : script) {
        if (a == act::small || a == act::large) {
            h.sent.push_back(content(h.sent.size(), a == act::small ? 40 : 900));
            at->append(h.sent.back());
        } else if (a == act::sync) {
            REQUIRE(at->log.sync() == 0);
            h.synced.push_back({h.files.calls(), h.sent.size(), at->log.expected().position});
        } else if (a == act::turn) {
            REQUIRE(at->log.turn(type) == 0);
            h.synced.push_back({h.files.calls(), h.sent.size(), at->log.expected().position});
        } else {
            at->log.close();
            at = std::make_unique<opened>(h.files);
        }
    }
    return h;
}

/// Recovers one state, twice, and goes on in it.
void recover(testing::disk state, const history& h, const promise& p, std::uint64_t known) {
    crash_files files(std::move(state));
    messages found;
    {
        opened again(files, {known, 0});
        found = all_of(files);
        REQUIRE(found.size() >= p.messages);  // nothing that was synced is lost
        REQUIRE(is_prefix(found, h.sent));    // nothing is torn, twice, or out of turn
    }
    opened third(files, {known, 0});
    REQUIRE(all_of(files) == found);  // again it is the same
    third.append(content(999, 30));
    found.push_back(content(999, 30));
    REQUIRE(all_of(files) == found);
    REQUIRE(third.log.note().empty());
}

/// A sender recovers a state and goes on, and the power goes again.
std::size_t crashes_of_the_next_life(const testing::disk& state, const history& h, const promise& p,
                                     std::size_t sector, parley::random& r) {
    crash_files files(state);
    history next;
    {
        opened first(files, {p.position, 0});
        next.sent = all_of(files);
        REQUIRE(is_prefix(next.sent, h.sent));
        next.sent.push_back(content(500, 900));
        first.append(next.sent.back());
    }
    std::size_t states = 0;
    for (std::size_t calls = 0; calls < files.calls(); ++calls) {
        // Before the next sender wrote, what the first one sent may still be there.
        states += files.crash(calls, sector, 256, r, [&](testing::disk again) {
            recover(std::move(again), h, p, p.position);
        });
    }
    return states + files.crash(files.calls(), sector, 1 << 12, r, [&](testing::disk again) {
        recover(std::move(again), next, p, p.position);
    });
}

/// Every crash of a script, and of its recoveries some.
std::size_t crashes_of(const std::vector<act>& script, std::size_t sector, parley::random& r) {
    const history h = play(script);
    constexpr std::size_t most = 1 << 16;  // more than any of these scripts leaves to chance
    std::size_t states = 0;
    for (std::size_t calls = 0; calls <= h.files.calls(); ++calls) {
        promise p = h.synced.front();
        for (const auto& s : h.synced) {
            if (s.calls <= calls) p = s;
        }
        const auto count = h.files.crash(calls, sector, most, r, [&](testing::disk state) {
            if (r.below(16) == 0) states += crashes_of_the_next_life(state, h, p, sector, r);
            recover(std::move(state), h, p, r.below(2) == 0 ? 0 : p.position);
        });
        REQUIRE(count < most);  // so it was all of them
        states += count;
    }
    return states;
}

}  // namespace

TEST_CASE("log: no crash loses what was synced, tears a record or shows one twice") {
    const parley_test::watchdog dog("crashes of a log", std::chrono::seconds(800));
    parley::random r(11);
    std::size_t states = 0, scripts = 0;
    // Sanitizers look at the code, which is the same in every script: a quarter of them is enough.
    const std::size_t step = parley_test::slowness() > 1 && !parley_test::campaign() ? 4 : 1;
    for (const std::size_t sector : {512U, 4096U}) {
        for (const act a : acts) {
            for (const act b : acts) {
                for (const act c : acts) {
                    if (scripts++ % step != 0) continue;
                    INFO(static_cast<int>(a) << ' ' << static_cast<int>(b) << ' '
                                             << static_cast<int>(c) << ", sectors of " << sector);
                    states += crashes_of({a, b, c}, sector, r);
                    if (!parley_test::campaign()) continue;
                    for (const act d : acts) states += crashes_of({a, b, c, d}, sector, r);
                }
            }
        }
    }
    std::cout << "log: " << states << " states after crashes were recovered\n";
    CHECK(states > 50'000 / step);
}

TEST_CASE("snapshot: after any crash the value is the last one that was written, or the next") {
    const parley_test::watchdog dog("crashes of a snapshot", std::chrono::seconds(400));
    parley::random r(12);
    std::size_t states = 0;
    const auto value_in = [](crash_files& f, std::vector<std::byte>& out) {
        crash_files::file there;
        if (f.open(path, false, there) == ENOENT) return false;
        store::snapshot_image image(type);
        diagnostics why;
        const auto got = image.read(f, there, path, 4096, why);
        INFO(why.text());
        REQUIRE(got);
        REQUIRE(image.description() == type.description);
        out.assign(got->begin(), got->end());
        return true;
    };
    const auto write = [](crash_files& f, std::size_t i, std::size_t n) {
        store::snapshot_image image(type);
        std::ranges::copy(content(i, n), image.room_for(n));
        return store::replace(f, path, path + ".next", image.seal(i, n), {}, true);
    };
    for (const std::size_t sector : {512U, 4096U}) {
        for (const std::size_t n : {0U, 100U, 3000U}) {
            crash_files files;
            std::vector<std::size_t> done{0};
            for (std::size_t i = 1; i <= 3; ++i) {
                REQUIRE(write(files, i, n) == 0);
                done.push_back(files.calls());
            }
            for (std::size_t calls = 0; calls <= files.calls(); ++calls) {
                std::size_t last = 0;
                while (last < 3 && done[last + 1] <= calls) ++last;
                states += files.crash(calls, sector, 1 << 14, r, [&](testing::disk state) {
                    crash_files after(std::move(state));
                    std::vector<std::byte> value;
                    if (!value_in(after, value)) {
                        REQUIRE(last == 0);
                    } else {
                        const bool old = last > 0 && value == content(last, n);
                        REQUIRE((old || value == content(last + 1, n)));
                    }
                    // A sender goes on in it, whatever the last one left beside it.
                    REQUIRE(write(after, 9, n) == 0);
                    REQUIRE(value_in(after, value));
                    REQUIRE(value == content(9, n));
                });
            }
        }
    }
    std::cout << "snapshot: " << states << " states after crashes were read\n";
    CHECK(states > 1000);
}
