// SPDX-License-Identifier: MIT
// A ring of records in a mapped file: one sender, one reader, and what a crash leaves of it.
//
//   byte   0                 +----------------------------------------------+
//                            | ring_header: magic, layout, shape, type      |
//   4096                     +----------------------------------------------+
//                            | ends_page (ends.hpp): tail, head, bells      |
//   8192                     +----------------------------------------------+
//                            | records (record.hpp), capacity bytes         |   mapped twice, so
//   8192 + capacity          +----------------------------------------------+   that none wraps
//
//   ring_header   0: magic u64 | 8: layout u32 | 12: alignment u32 | 16: capacity u64 |
//                 24: fingerprint u64 | 32: check u32 | 36: description bytes u32 |
//                 40: description, 1024 bytes
//
// The record at position p lies at p modulo capacity; the first position makes payloads lie as the
// type wants. A record is sealed, then `tail` is stored: that commits it. After a crash the records
// themselves tell: recovery walks from head as long as each is whole, has the position and number
// that are its turn, and a sender not older than the one before.
//
// What was synced and not yet received must stay findable from the head that is on the disk. So
// once something was synced, room is used again only up to a head that was synced too.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/store/ends.hpp>
#include <parley/store/log_format.hpp>
#include <parley/store/record.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace parley {
inline namespace v1 {
namespace store {

inline constexpr std::uint64_t ring_magic = 0x31474e52'59505250;  // "PRPYRNG1" in its own order
inline constexpr std::uint32_t ring_layout = 1;
inline constexpr std::size_t ring_page_bytes = 4096;
inline constexpr std::size_t ring_offset = 2 * ring_page_bytes;
inline constexpr std::size_t ring_capacity_min = 4096;
// What a process can map twice.
inline constexpr std::size_t ring_capacity_max = std::size_t{1} << (sizeof(void*) > 4 ? 40 : 30);

struct ring_header {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t alignment;
    std::uint64_t capacity;
    std::uint64_t fingerprint;  // 0: a receiver of any type made it, no sender came yet
    std::uint32_t check;        // of all of it, with check 0
    std::uint32_t description_bytes;
    char description[1024];
};
static_assert(offsetof(ring_header, capacity) == 16 && offsetof(ring_header, check) == 32);
static_assert(offsetof(ring_header, description) == 40 && sizeof(ring_header) == 1064);

[[nodiscard]] inline std::uint32_t ring_header_check(ring_header h) noexcept {
    h.check = 0;
    return detail::crc32c(bytes_of(h));
}

/// The numbers from which everything else follows.
struct ring_shape {
    std::size_t capacity = 0;  ///< a power of two
    std::size_t alignment = 8;

    [[nodiscard]] std::size_t file_bytes() const noexcept { return ring_offset + capacity; }
    [[nodiscard]] std::uint64_t first() const noexcept {
        return (std::uint64_t{0} - record_header_bytes) & (alignment - 1);
    }
    [[nodiscard]] std::size_t stride(std::size_t n) const noexcept {
        return record_stride(n, alignment);
    }
    /// What stays free behind each message, for an end record.
    [[nodiscard]] std::size_t reserve() const noexcept { return stride(0); }
    [[nodiscard]] std::size_t message_bytes_max() const noexcept {
        return ((capacity - reserve()) & ~(alignment - 1)) - record_header_bytes;
    }
    [[nodiscard]] bool is_place(std::uint64_t position) const noexcept {
        return position >= first() && ((position - first()) & (alignment - 1)) == 0;
    }
    [[nodiscard]] bool sane() const noexcept {
        const auto power = [](std::size_t n) { return n != 0 && (n & (n - 1)) == 0; };
        return power(capacity) && power(alignment) && capacity >= ring_capacity_min &&
               capacity <= ring_capacity_max && alignment >= 8 && alignment <= 1024;
    }
};

[[nodiscard]] inline ring_header make_ring_header(const ring_shape& s,
                                                  const message_type& type) noexcept {
    ring_header h{};
    h.magic = ring_magic;
    h.layout = ring_layout;
    h.alignment = static_cast<std::uint32_t>(s.alignment);
    h.capacity = s.capacity;
    h.fingerprint = type.fingerprint;
    const auto text = type.description.substr(0, sizeof h.description);
    h.description_bytes = static_cast<std::uint32_t>(text.size());
    std::memcpy(h.description, text.data(), text.size());
    h.check = ring_header_check(h);
    return h;
}

/// What a ring is to its two ends: its memory, twice, and the page of its ends.
struct ring_memory {
    ring_shape shape;
    std::byte* ring = nullptr;
    ends_page* page = nullptr;

    [[nodiscard]] std::byte* at(std::uint64_t position) const noexcept {
        return ring + (static_cast<std::size_t>(position) & (shape.capacity - 1));
    }
    /// What lies at a place, of which nothing beyond `end` is a part.
    [[nodiscard, gnu::always_inline]] bytes from(std::uint64_t position,
                                                 std::uint64_t end) const noexcept {
        return {at(position), static_cast<std::size_t>(end - position)};
    }
    /// Judges what lies at the next place; nothing beyond `end` is a part of it.
    [[nodiscard, gnu::always_inline]] judged judge(const expectation& e, std::uint64_t end,
                                                   record_header& h) const noexcept {
        return judge_record(from(e.position, end), e, h);
    }
};

/// How recovery found a ring.
struct ring_end {
    expectation next;             ///< of the record that is written next
    std::uint64_t time = 0;       ///< of the last one
    bool something_lost = false;  ///< tail told of more than is there
};

/// Walks from head to the last good record. False if the page means nothing, or if something that
/// was once synced is not there: `lost_at` says where.
[[nodiscard]] inline bool recover_ring(const ring_memory& m, ring_end& out,
                                       std::uint64_t& lost_at) noexcept {
    const ends_page& p = *m.page;
    out = {};
    const auto head = detail::std_atomics::load(p.head, std::memory_order_acquire);
    const auto from = detail::std_atomics::load(p.from, std::memory_order_acquire);
    out.next = {head, 0, from, m.shape.alignment};
    lost_at = head;
    if (!m.shape.is_place(head)) return false;
    const std::uint64_t end = head + m.shape.capacity;
    record_header h;
    while (out.next.position < end && m.judge(out.next, end, h) == judged::whole) {
        out.next.step_over(h);
        out.time = h.time;
    }
    if (out.next.sequence == 0) out.next.sequence = p.count + 1;
    out.something_lost = p.tail > out.next.position;
    lost_at = out.next.position;
    return out.next.position >= p.synced;
}

/// The sender's side. `Storage` makes memory durable: sync(from, to) for positions of the ring and
/// sync_page(), both 0 or an errno. One thread.
template <class Atomics, class Storage>
class ring_writer {
public:
    ring_writer() = default;
    /// Takes over a recovered ring; its page is durable afterwards.
    [[nodiscard]] int take_over(const ring_memory& m, const ring_end& found, Storage storage) {
        m_ = m;
        reserve_ = m.shape.reserve();
        storage_ = storage;
        next_ = found.next;
        time_ = found.time;
        ends_page& p = *m_.page;
        next_.sender = std::max(next_.sender, p.openings) + 1;
        p.openings = next_.sender;
        p.count = next_.sequence - 1;
        const auto head = Atomics::load(p.head, std::memory_order_acquire);
        released_ = Atomics::load(p.released, std::memory_order_acquire);
        if (released_ > head || !m_.shape.is_place(released_)) released_ = head;
        Atomics::store(p.tail, next_.position, std::memory_order_release);
        const int e = storage_.sync_page();
        durable_ = released_;
        Atomics::store(p.sender, next_.sender, std::memory_order_release);
        return e;
    }

    [[nodiscard]] bool has_room(std::size_t n) noexcept {
        return has_room_for_record(m_.shape.stride(n));
    }
    /// A message as a whole. False: there is no room for it.
    [[gnu::always_inline]] bool put(bytes m) noexcept {
        const std::size_t step = m_.shape.stride(m.size());
        if (!has_room_for_record(step)) [[unlikely]]
            return false;
        commit_record(record_kind::message, m.size(), step, [&](std::byte* at, record_header& h) {
            write_record(at, h, step, m.data());
        });
        return true;
    }
    /// Room for a payload of n bytes, which is there: see has_room.
    [[nodiscard]] mutable_bytes loan(std::size_t n) noexcept {
        return {m_.at(next_.position) + record_header_bytes, n};
    }
    /// What `released` must reach before n bytes fit.
    [[nodiscard]] std::uint64_t wanted(std::size_t n) const noexcept {
        const std::uint64_t end = next_.position + m_.shape.stride(n) + m_.shape.reserve();
        return end > m_.shape.capacity ? end - m_.shape.capacity : 0;
    }
    /// Seals the record whose payload was lent, and shows it to the reader.
    void commit(record_kind kind, std::size_t n) noexcept {
        const std::size_t step = m_.shape.stride(n);
        commit_record(kind, n, step,
                      [&](std::byte* at, record_header& h) { seal_record(at, h, step); });
    }
    /// All that was committed is durable when this returns 0.
    [[nodiscard]] int sync() noexcept {
        ends_page& p = *m_.page;
        const std::uint64_t tail = next_.position;
        const std::uint64_t all = tail > m_.shape.capacity ? tail - m_.shape.capacity : 0;
        if (const int e = storage_.sync(std::max(p.synced, all), tail); e != 0) return e;
        const bool known = p.synced != 0 && released_ <= durable_;
        Atomics::store(p.synced, tail, std::memory_order_release);
        // Whoever opens the ring next is to know that something was synced, and to find it: not
        // from a head whose room was used again while nothing needed to be found.
        if (known) return 0;
        const int e = storage_.sync_page();
        if (e == 0) durable_ = released_;
        return e;
    }
    [[nodiscard]] const expectation& next() const noexcept { return next_; }

private:
    [[nodiscard]] bool fits(std::size_t step) const noexcept {
        return next_.position + step + reserve_ - released_ <= m_.shape.capacity;
    }
    [[nodiscard, gnu::always_inline]] bool has_room_for_record(std::size_t step) noexcept {
        if (fits(step)) [[likely]]
            return true;
        look_at_reader();
        return fits(step);
    }
    template <class Write>
    [[gnu::always_inline]] void commit_record(record_kind kind, std::size_t n, std::size_t step,
                                              Write write) noexcept {
        ends_page& page = *m_.page;
        const auto position = next_.position, sequence = next_.sequence;
        const auto time = std::max(clock_.now(), time_);
        record_header h{
            static_cast<std::uint32_t>(n), 0, position, sequence, time, next_.sender, kind, {}};
        write(m_.at(position), h);
        time_ = time;
        next_.position = position + step;
        next_.sequence = sequence + 1;
        page.count = sequence;
        // Release: the record comes first. Whether the reader sleeps is asked when it is rung.
        (void)detail::publish_to<Atomics>(page.data_asleep, enrolled_, page.tail, position + step);
    }
    [[gnu::noinline]] void look_at_reader() noexcept {
        // Acquire pairs with the reader's store: it is done with what lies before.
        const auto r = Atomics::load(m_.page->released, std::memory_order_seq_cst);
        if (r <= released_ || r > next_.position || !m_.shape.is_place(r)) return;  // or it lies
        if (m_.page->synced > durable_) {
            if (storage_.sync_page() != 0) return;
            durable_ = r;
        }
        released_ = r;
    }

    ring_memory m_;
    std::size_t reserve_ = 0;
    Storage storage_{};
    expectation next_;
    wall_clock clock_;
    std::uint64_t time_ = 0;
    std::uint64_t released_ = 0;  // the reader's word, as last seen
    std::uint64_t durable_ = 0;   // … and as it is on the disk, or less
    bool enrolled_ = Atomics::enrol();
};

}  // namespace store
}  // namespace v1
}  // namespace parley
