// SPDX-License-Identifier: MIT
// A peer that was handed a sealed memfd and scribbles over it while others use it: over what the
// library gives a writer, or a reader, and over all of it. The others get errors, or messages that
// nobody sent, but they do not crash, hang or leave their memory; and a writer that keeps to its
// own pages, as the library maps them, spoils nothing of another one's.
#include <parley/base/random.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/ends.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::shm;

namespace {

namespace layout = parley::shm_layout;
constexpr layout::shape shape{4, 4096, 8};
const shm place(shm::options{.capacity_bytes = shape.capacity, .writers_max = shape.lanes});

/// The memfd of a receiver, all of it mapped to be written.
class whole_segment {
public:
    explicit whole_segment(int fd)
        : at_(static_cast<std::byte*>(
              ::mmap(nullptr, shape.segment_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0))) {
        if (at_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    }
    whole_segment(const whole_segment&) = delete;
    whole_segment& operator=(const whole_segment&) = delete;
    ~whole_segment() { ::munmap(at_, shape.segment_bytes()); }
    [[nodiscard]] std::byte* at(std::size_t offset) const noexcept { return at_ + offset; }

private:
    std::byte* at_;
};
int descriptor_of(const parley::uri& at) {
    parley::diagnostics why;
    return shm::from(at, why).value().fd;
}

struct stretch {
    std::size_t offset, bytes;
};
using stretches = std::vector<stretch>;

/// What the library maps for a writer, or for the reader, to be written by it.
stretches pages_of_writer(std::size_t lane) {
    return {{shape.lane_offset(lane), layout::page_bytes},
            {shape.ring_offset(lane), shape.capacity},
            {layout::doorbell_offset, layout::page_bytes}};
}
stretches pages_of_reader() { return {{layout::reader_offset, 2 * layout::page_bytes}}; }
/// All, or all but what ends the game at once: the header, and the word that says that the reader
/// has closed.
stretches all_pages(std::uint64_t seed) {
    const std::size_t first = seed % 4 == 0 ? 0 : layout::reader_offset + 64;
    return {{first, layout::doorbell_offset - first},
            {layout::doorbell_offset, shape.rings_offset() - layout::doorbell_offset},
            {shape.rings_offset(), shape.lanes * shape.capacity}};
}

/// Scribbles until it is killed: noise, and words that are nearly right.
class scribbler {
public:
    scribbler(int fd, stretches where, std::uint64_t seed)
        : memory_(fd), where_(std::move(where)), random_(seed) {}

    [[noreturn]] void run() {
        for (;;) {
            scribble();
            if (random_.below(64) == 0) rest();
        }
    }

    /// News without end: somebody else has come, again and again.
    [[noreturn]] void hammer() {
        constexpr auto claims = layout::doorbell_offset + offsetof(layout::doorbell_page, claims);
        for (auto n = read(claims);;) put(claims, ++n, 4);
    }

private:
    void rest() {
        // A peer of few words: what it wrote stands for a while.
        for (auto n = random_.below(20000); n > 0; --n) parley::detail::std_atomics::pause();
    }
    void put(std::size_t offset, std::uint64_t value, std::size_t bytes) {
        std::memcpy(memory_.at(offset), &value, bytes);
    }
    [[nodiscard]] std::uint64_t read(std::size_t offset) const {
        std::uint64_t value = 0;
        std::memcpy(&value, memory_.at(offset), sizeof value);
        return value;
    }
    /// Most of what counts lies in the first lines of a page.
    [[nodiscard]] std::size_t some_place(std::size_t unit) {
        const auto& s = where_[random_.below(where_.size())];
        auto at = s.offset + random_.below(s.bytes - 8);
        if (random_.below(2) == 0) {
            at = s.offset + (at - s.offset) / layout::page_bytes * layout::page_bytes +
                 random_.below(320);
        }
        return std::min(at, s.offset + s.bytes - 8) / unit * unit;
    }
    [[nodiscard]] std::uint64_t commit_word() {
        constexpr std::size_t lengths[] = {0, 1, 8, 100, 4064, 4072, 4080, 4096, 1 << 20, ~0U};
        const auto kind = static_cast<layout::record>(2 + random_.below(3));
        return layout::commit_word(kind, lengths[random_.below(std::size(lengths))]);
    }
    void scribble() {
        constexpr std::uint64_t extremes[] = {0,          1,          2,  ~0ULL, 1ULL << 32,
                                              1ULL << 33, 1ULL << 34, 34, 64};
        switch (random_.below(8)) {
            case 0: return put(some_place(1), random_(), 1 + random_.below(8));
            case 1: return put(some_place(8), random_(), 8);
            case 2: return put(some_place(8), commit_word(), 8);
            case 3: return put(some_place(4), extremes[random_.below(std::size(extremes))], 4);
            case 4: return put(some_place(8), extremes[random_.below(std::size(extremes))], 8);
            case 5: {  // one more, one message more, one less
                const auto at = some_place(4);
                return put(at, read(at) + (random_.below(3) == 0 ? 16 : random_.below(3) - 1), 4);
            }
            case 6: {  // what stands elsewhere
                const auto from = some_place(8);
                return put(some_place(8), read(from), 8);
            }
            default: {  // a reader that gives back what was written
                const auto lane = random_.below(shape.lanes);
                const auto written = read(shape.lane_offset(lane) + 128);
                const auto cursor = layout::reader_offset + 64 * (1 + lane);
                for (const auto& s : where_) {
                    if (s.offset <= cursor && cursor < s.offset + s.bytes) put(cursor, written, 8);
                }
            }
        }
    }

    whole_segment memory_;
    stretches where_;
    parley::random random_;
};

/// The i-th message of an honest writer: nobody writes that by chance.
std::string honest_text(std::uint64_t i) {
    std::string s = "honest " + std::to_string(i) + ' ';
    s.resize(24 + i % 200, static_cast<char>('a' + i % 26));
    return s;
}

/// An honest writer in a process of its own; it may fail, if only it comes to its end.
int send_honestly(int fd, gate& opened, std::uint64_t count, bool must_succeed) {
    auto out = sink_at(shm(fd));
    opened.open();
    for (std::uint64_t i = 0; i < count;) {
        const auto r =
            send(out, honest_text(i), parley::clock::now() + (must_succeed ? 20ms : 1ms));
        if (r) {
            ++i;
        } else if (r.error() != errc::timed_out && r.error() != errc::would_block) {
            return must_succeed ? 4 : 0;
        } else if (!must_succeed) {
            ++i;
        }
    }
    return out.close(parley::never) || !must_succeed ? 0 : 5;
}

/// One of the ways to ask for a message.
std::optional<std::string> ask(parley::shm::source& in, parley::random& r) {
    switch (r.below(4)) {
        case 0: (void)in.wait(parley::clock::now() + 5ms); break;
        case 1: {
            if (const auto fd = in.pollable()) {
                pollfd p{*fd, POLLIN, 0};
                (void)::poll(&p, 1, 5);
            }
            break;
        }
        case 2: {
            std::byte room[3 * 24];
            const std::size_t n = in.receive_many_into({room, sizeof room}, 24);
            if (n != 0) return std::string(parley::as_text({room, 24}));
            break;
        }
        default: break;
    }
    const auto v = in.try_receive();
    if (!v) return std::nullopt;
    (void)in.sender_type();
    CHECK(v->bytes().size() <= shape.message_bytes_max());
    return std::string(parley::as_text(v->bytes()));  // touches all of it
}

/// A reader with an honest writer and a hostile one, which has a lane of its own.
void face_a_writer(const stretches& where, bool spoils_all, std::uint64_t seed) {
    const std::uint64_t count = spoils_all ? 400 : 1000;
    auto in = source_at(place);
    const int fd = descriptor_of(in.address());
    gate taken, opened;
    child hostile([&]() -> int {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto own = sink_at(shm(fd));  // lane 0
        taken.open();
        opened.pass();
        scribbler own_hand(fd, where, seed);
        seed % 3 == 2 ? own_hand.hammer() : own_hand.run();
    });
    taken.pass();
    child honest([&] {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        return send_honestly(fd, opened, count, !spoils_all);
    });
    parley::random r(seed + 1);
    std::uint64_t next = 0;
    for (bool over = false; !over;) {
        over = spoils_all ? honest.is_over() : next == count;
        const auto text = ask(in, r);
        if (!text || text->rfind("honest ", 0) != 0) continue;
        if (!spoils_all) REQUIRE(*text == honest_text(next));
        ++next;
    }
    CHECK(honest.wait() == 0);
    // Where nobody else has anything to say, asking comes to its end as well.
    (void)in.pollable();
    for (int i = 0; i < 20; ++i) (void)ask(in, r);
    hostile.kill();
    CHECK(hostile.wait() == 128 + SIGKILL);
    CHECK(in.close(parley::never));
}

/// Writers whose reader lies.
void face_a_reader(const stretches& where, bool spoils_all, std::uint64_t seed) {
    auto in = source_at(place);  // its lock says that it lives; the scribbler is its hand
    const int fd = descriptor_of(in.address());
    const whole_segment memory(fd);
    constexpr auto untouched = std::byte{0xa5};
    const std::size_t bystander = shape.lanes - 1;  // nobody gets this lane
    parley::detail::unique_fd holder;
    REQUIRE(parley::detail::reopen(fd, holder));
    REQUIRE(parley::detail::try_lock(holder.get(), parley::detail::writer_lock(bystander)));
    if (!spoils_all) {
        std::fill_n(memory.at(shape.ring_offset(bystander)), shape.capacity, untouched);
    }
    gate opened;
    child hostile([&]() -> int {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        opened.pass();
        scribbler(fd, where, seed).run();
    });
    parley::random r(seed + 1);
    for (int round = 0; round < 10; ++round) {
        parley::diagnostics why;
        // Of a header that is all noise nobody becomes a writer, so the first comes before.
        auto out = open_sink(shm(fd), why, parley::clock::now() + 10ms);
        if (round == 0) opened.open();
        for (std::uint64_t i = 0; out && i < 300; ++i) {
            const auto text = honest_text(i);
            const auto m = parley::as_bytes(text);
            switch (r.below(5)) {
                case 0: (void)send(*out, text, parley::expired); break;
                case 1: (void)send(*out, text, parley::clock::now() + 1ms); break;
                case 2: (void)out->send_many_from(m, 8); break;
                case 3: (void)out->send_from(m, parley::expired); break;
                default:
                    if (const auto p = out->pollable()) {
                        pollfd poll{*p, POLLIN, 0};
                        (void)::poll(&poll, 1, 1);
                    }
            }
            if (i % 64 == 0) (void)out->undelivered();
        }
        if (out) (void)out->close(parley::never);
    }
    hostile.kill();
    for (std::size_t i = 0; !spoils_all && i < shape.capacity; ++i) {
        if (*memory.at(shape.ring_offset(bystander) + i) != untouched) FAIL("a writer ran over");
    }
}

template <class Face>
void with_seeds(const char* name, std::uint64_t some, Face face) {
    const std::uint64_t seeds = campaign() ? 50 * some : some;
    watchdog dog(name, std::chrono::seconds(60 + 10 * seeds));
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        INFO("seed " << seed);
        face(seed);
    }
}

}  // namespace

TEST_CASE("shm: a hostile writer spoils nothing but its own lane") {
    with_seeds("shm: a hostile writer", 3,
               [](std::uint64_t seed) { face_a_writer(pages_of_writer(0), false, seed); });
}

TEST_CASE("shm: whoever scribbles over a whole memfd crashes or holds up no reader") {
    with_seeds("shm: a hostile writer of all", 8,
               [](std::uint64_t seed) { face_a_writer(all_pages(seed), true, seed); });
}

TEST_CASE("shm: a hostile reader crashes or holds up no writer, and makes none leave its ring") {
    with_seeds("shm: a hostile reader", 5,
               [](std::uint64_t seed) { face_a_reader(pages_of_reader(), false, seed); });
}

TEST_CASE("shm: whoever scribbles over a whole memfd crashes or holds up no writer") {
    with_seeds("shm: a hostile reader of all", 8,
               [](std::uint64_t seed) { face_a_reader(all_pages(seed), true, seed); });
}
