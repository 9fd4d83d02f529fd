// SPDX-License-Identifier: MIT
// The layout of a segment: one reader, a lane for each writer, a doorbell.
//
//   byte offset                                                        written by     mapped
//   writable 0                 +----------------------------------------------+
//                     | segment_header: magic, layout, type, shape   | its creator     nobody
//   4096              +----------------------------------------------+
//                     | reader_page: asleep, closed, signal, life    | the reader      the reader
//                     |   + 64 * (1 + i): cursor of lane i (head,    |
//                     |   released, bell, taken, batch, lost)        |
//   12288             +----------------------------------------------+
//                     | doorbell_page: bell, claims                  | all writers     all writers
//   16384             +----------------------------------------------+
//                     | lane_page 0: claims, sender, signal,         | writer 0        writer 0
//                     |   abandoned, asleep                          |
//                     |   + 128: how far it has written, a hint      |
//                     |   + 192: its type: fingerprint, description  |
//                     | lane_page 1 …                                | writer 1 …      writer 1 …
//   16384 + 4096 * n, +----------------------------------------------+
//   rounded up so     | ring of lane 0, capacity bytes               | writer 0        writer 0
//   that huge pages fit
//                     | ring of lane 1 …                             | writer 1 …      writer 1 …
//                     +----------------------------------------------+
//
// A ring is mapped twice, back to back, so that a message never wraps. In a ring, at position p
// (bytes since the segment began, modulo capacity):
//
//        p        p + 8                 p + stride(n)
//        +--------+---------------------+--------+
//        | commit | payload, n bytes    | 0      |   commit = length | kind << 32 | version << 40 |
//        | u64    | aligned as the type | u64    |            0x5950 << 48
//        +--------+---------------------+--------+   0: nothing here yet
//
// All numbers are in the machine's byte order: the magic tells another one. Fields have fixed
// widths, so a 32-bit peer sees the same layout.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace parley {
inline namespace v1 {
namespace shm_layout {

inline constexpr std::uint64_t magic = 0x31595241'50797261;  // reads "aryPARY1" in its own order
inline constexpr std::uint32_t version = 5;
inline constexpr std::size_t page_bytes = 4096;
inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
inline constexpr std::size_t lanes_max = 64;
inline constexpr std::size_t capacity_bytes_min = 4096;
inline constexpr std::size_t capacity_bytes_max = std::size_t{1} << 30;
inline constexpr std::size_t line_bytes = 64;
inline constexpr std::size_t chunks_max = 64;   // of a publisher: broadcast_layout.hpp
inline constexpr std::size_t hint_bytes = 512;  // a writer tells its progress this often
inline constexpr std::size_t description_bytes_max = 1024;

/// What a commit word announces.
enum class record : std::uint8_t { message = 2, end = 3 };

/// What a segment is for.
enum class segment_kind : std::uint32_t {
    channel,  ///< many writers, one reader: this file
    topic,    ///< publishers and subscribers: broadcast_layout.hpp
    latest,   ///< one value: latest.hpp
    any,      ///< for who only looks on
};

/// Written once, before the segment can be found; but who owns it, and where that one lives, is
/// written by each successor of a dead owner, with the owner's lock held.
struct segment_header {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t lanes;          // how many writers at once
    std::uint64_t capacity;       // bytes of each ring, a power of two
    std::uint64_t fingerprint;    // of the message type
    std::uint32_t alignment;      // of a message's bytes, a power of two
    std::uint32_t owner_pid;      // for people, and for a pidfd in the same PID namespace
    std::uint64_t pid_namespace;  // inode number
    std::uint64_t net_namespace;  // inode number: where the bells of pollable ends ring
    std::uint64_t segment;        // random, to tell this segment from its successor
    std::uint32_t description_bytes;
    char description[description_bytes_max];
    std::uint32_t rung_by_signals;  // 1: who sleeps on a descriptor is woken by a signal
    segment_kind kind;
    std::uint32_t rule;    // of a topic: who gives way when a ring is full
    std::uint32_t chunks;  // of a topic: 0, or into how many a publisher's memory is divided
};

/// How far the reader is in one lane, and the bell by which it wakes that lane's writer.
struct alignas(line_bytes) lane_cursor {
    std::uint64_t head;       // everything before this position may be overwritten
    std::uint32_t released;   // the lane is free if this equals lane_page::claims
    std::uint32_t bell;       // futex of the writer
    std::uint64_t taken;      // what was handed out and what is in hand: succession.hpp
    std::uint64_t batch;      // messages of the batch in hand, if taken says so
    std::uint64_t lost;       // messages that died in the hands of readers,
    std::uint64_t lost_next;  // and as of when nothing is in hand: succession.hpp
};

struct alignas(line_bytes) reader_state {
    std::uint64_t asleep;  // see doorbell.hpp
    std::uint32_t closed;  // 1: the reader left in good order
    std::uint32_t signal;  // the number that wakes it; 0: a socket does
    std::uint32_t life;    // grows when a dead reader has a successor
};

struct reader_page {
    reader_state state;
    lane_cursor lanes[lanes_max];
};

struct doorbell_page {
    std::uint32_t bell;                        // futex of the reader
    alignas(line_bytes) std::uint32_t claims;  // grows whenever a writer takes a lane
};

struct alignas(line_bytes) writer_state {
    std::uint64_t asleep;  // see doorbell.hpp
    std::uint64_t wanted;  // the writer sleeps until head reaches this
};

struct alignas(line_bytes) writer_progress {
    std::uint64_t written;  // a hint, a little behind: messages up to here are committed
};

struct lane_page {
    std::uint32_t claims;  // how often this lane was taken
    std::uint32_t pid;
    std::uint64_t pid_namespace;
    std::uint64_t sender;
    std::uint32_t signal;     // as the reader's
    std::uint32_t abandoned;  // equals claims: its writer lives, and took back what lies in it
    writer_state state;
    writer_progress progress;
    std::uint64_t fingerprint;  // of the writer's message type; with what follows for who takes any
    std::uint32_t description_bytes;  // 0: not told
    char description[description_bytes_max];
};

static_assert(offsetof(segment_header, owner_pid) == 36 &&
              offsetof(segment_header, net_namespace) == 48);
static_assert(offsetof(segment_header, description_bytes) == 64);
static_assert(offsetof(lane_cursor, taken) == 16 && offsetof(lane_cursor, lost) == 32);
static_assert(offsetof(segment_header, kind) == 1096 && offsetof(segment_header, rule) == 1100);
static_assert(offsetof(segment_header, chunks) == 1104);
static_assert(offsetof(segment_header, description) == 68 && sizeof(segment_header) <= page_bytes);
static_assert(offsetof(reader_page, lanes) == 64 && sizeof(lane_cursor) == 64);
static_assert(sizeof(reader_page) <= 2 * page_bytes);
static_assert(offsetof(reader_state, signal) == 12 && offsetof(reader_state, life) == 16);
static_assert(offsetof(lane_page, signal) == 24 && offsetof(lane_page, abandoned) == 28);
static_assert(offsetof(doorbell_page, claims) == 64 && sizeof(lane_page) <= page_bytes);
static_assert(offsetof(lane_page, fingerprint) == 192 && offsetof(lane_page, description) == 204);
static_assert(offsetof(lane_page, progress) == 128 && offsetof(lane_page, state) == 64 &&
              offsetof(writer_state, wanted) == 8);

inline constexpr std::size_t reader_offset = page_bytes;
inline constexpr std::size_t doorbell_offset = 3 * page_bytes;
inline constexpr std::size_t lanes_offset = 4 * page_bytes;
// Of a topic: a page of cursors for each subscriber, behind the pages of its publishers.
inline constexpr std::size_t readers_max = 64;
inline constexpr std::size_t cursors_bytes = 2 * page_bytes;

/// The numbers from which everything else follows.
struct shape {
    std::size_t lanes = 0;
    std::size_t capacity = 0;
    std::size_t alignment = 8;
    segment_kind kind = segment_kind::channel;
    std::size_t chunks = 0;  // of a topic: its messages lie in so many parts of `capacity` bytes

    /// The rings of this segment, which hold its messages, or where each lies among the chunks.
    [[nodiscard]] constexpr shape rings() const noexcept {
        return chunks == 0 ? *this : shape{lanes, capacity_bytes_min, 8, kind, 0};
    }
    /// The longest message of a chunk, and from one chunk to the next. 0: they are too many.
    [[nodiscard]] constexpr std::size_t chunk_bytes() const noexcept {
        const std::size_t bytes = chunks == 0 ? 0 : capacity / chunks;
        return bytes & ~((bytes >= page_bytes ? page_bytes : line_bytes) - 1) & ~(alignment - 1);
    }
    [[nodiscard]] constexpr std::size_t chunks_offset(std::size_t publisher) const noexcept {
        return rings_offset() + publisher * capacity;
    }
    /// What every segment of this shape has from the start; the rest is reserved when it is used.
    [[nodiscard]] constexpr std::size_t control_bytes() const noexcept {
        return lane_offset(kind == segment_kind::latest ? 1 : lanes);
    }
    [[nodiscard]] constexpr std::size_t lane_offset(std::size_t lane) const noexcept {
        return lanes_offset + lane * page_bytes;
    }
    [[nodiscard]] constexpr std::size_t cursors_offset(std::size_t reader) const noexcept {
        return control_bytes() + reader * cursors_bytes;
    }
    [[nodiscard]] constexpr std::size_t rings_offset() const noexcept {
        const std::size_t unit = capacity < huge_page_bytes ? capacity : huge_page_bytes;
        const std::size_t before =
            kind == segment_kind::topic ? cursors_offset(readers_max) : control_bytes();
        return (before + unit - 1) & ~(unit - 1);
    }
    [[nodiscard]] constexpr std::size_t ring_offset(std::size_t lane) const noexcept {
        const std::size_t behind = chunks == 0 ? rings_offset() : chunks_offset(lanes);
        return behind + lane * rings().capacity;
    }
    [[nodiscard]] constexpr std::size_t segment_bytes() const noexcept {
        return ring_offset(lanes);
    }
    /// From one commit word to the next.
    [[nodiscard]] constexpr std::size_t stride(std::size_t n) const noexcept {
        return (n + 8 + alignment - 1) & ~(alignment - 1);
    }
    /// Where the first commit word of a lane lies, so that its payload is aligned.
    [[nodiscard]] constexpr std::size_t first() const noexcept { return alignment - 8; }
    /// The last place up to `position` where a commit word may lie.
    [[nodiscard]] constexpr std::uint64_t place(std::uint64_t position) const noexcept {
        return position - ((position - first()) & (alignment - 1));
    }
    /// What a writer keeps free behind each message: an end record and the zero after it.
    [[nodiscard]] constexpr std::size_t reserve() const noexcept { return alignment + 8; }
    [[nodiscard]] constexpr std::size_t message_bytes_max() const noexcept {
        return ((capacity - reserve()) & ~(alignment - 1)) - 8;
    }
    [[nodiscard]] constexpr bool same_as(const shape& o) const noexcept {
        return lanes == o.lanes && capacity == o.capacity && alignment == o.alignment &&
               kind == o.kind && chunks == o.chunks;
    }
    [[nodiscard]] constexpr bool sane() const noexcept {
        const auto power = [](std::size_t n) { return n != 0 && (n & (n - 1)) == 0; };
        return lanes >= 1 && lanes <= lanes_max && power(capacity) && power(alignment) &&
               capacity >= capacity_bytes_min && capacity <= capacity_bytes_max && alignment >= 8 &&
               alignment <= page_bytes / 4 &&
               (chunks == 0 ||
                (kind == segment_kind::topic && chunks <= chunks_max && chunk_bytes() != 0));
    }
};

[[nodiscard]] constexpr std::uint64_t commit_word(record k, std::size_t length) noexcept {
    return static_cast<std::uint64_t>(length) | static_cast<std::uint64_t>(k) << 32 |
           std::uint64_t{version} << 40 | std::uint64_t{0x5950} << 48;
}

inline void write_header(segment_header& h, const shape& s, const message_type& type) noexcept {
    h.magic = magic;
    h.version = version;
    h.kind = s.kind;
    h.lanes = static_cast<std::uint32_t>(s.lanes);
    h.capacity = s.capacity;
    h.fingerprint = type.fingerprint;
    h.alignment = static_cast<std::uint32_t>(s.alignment);
    h.chunks = static_cast<std::uint32_t>(s.chunks);
    const auto text = type.description.substr(0, sizeof h.description);
    h.description_bytes = static_cast<std::uint32_t>(text.size());
    std::memcpy(h.description, text.data(), text.size());
}

/// Why a segment of one kind is not opened as another.
[[nodiscard]] inline const char* words_of(segment_kind k) noexcept {
    switch (k) {
        case segment_kind::channel: return "a channel: open_receiver and open_sender";
        case segment_kind::topic: return "a topic: open_publisher and open_subscriber";
        case segment_kind::latest: return "a latest value: open_latest_writer and _reader";
        case segment_kind::any: break;
    }
    return "something that this program does not know";
}

/// Checks a header that somebody else wrote against the file's size and our type, and takes the
/// shape from it. Errors: corrupt (no segment, or a broken one), incompatible (another layout, kind
/// or type).
[[nodiscard]] inline result<void> check_header(const segment_header& from, std::size_t file_bytes,
                                               const message_type& own, const std::string& where,
                                               shape& out, diagnostics& why,
                                               segment_kind wanted = segment_kind::channel) {
    const segment_header h = from;  // read once: the file is input
    if (h.magic != magic) {
        return why.fail(errc::corrupt, where +
                                           " is no segment of parley (or of a machine with "
                                           "another byte order): its first 8 bytes are wrong");
    }
    if (h.version != version) {
        return why.fail(errc::incompatible, where + " has layout " + std::to_string(h.version) +
                                                ", this program speaks layout " +
                                                std::to_string(version) +
                                                ": build both with the same parley");
    }
    if (h.kind != wanted && wanted != segment_kind::any) {
        return why.fail(errc::incompatible,
                        where + " is " + words_of(h.kind) + "; this end wants " + words_of(wanted));
    }
    const shape s{h.lanes, static_cast<std::size_t>(h.capacity), h.alignment, h.kind, h.chunks};
    if (h.capacity > capacity_bytes_max || !s.sane() || s.segment_bytes() != file_bytes ||
        h.description_bytes > sizeof h.description) {
        return why.fail(errc::corrupt, where + " is damaged: " + std::to_string(h.lanes) +
                                           " lanes of " + std::to_string(h.capacity) +
                                           " bytes do not fit its " + std::to_string(file_bytes) +
                                           " bytes; remove it with `parley clean`");
    }
    out = s;
    const std::string_view theirs(h.description, h.description_bytes);
    if (h.kind != segment_kind::channel && own.fingerprint == 0) return {};  // it takes any type
    if (own.fingerprint != h.fingerprint && h.fingerprint != 0) {
        if (h.kind == segment_kind::channel) {
            return why.fail(errc::incompatible, type_mismatch(theirs, own.description));
        }
        return why.fail(errc::incompatible,
                        where + " carries [" + std::string(theirs) + "], this end wants [" +
                            std::string(own.description) + "]; give all the same message type");
    }
    if (own.alignment > h.alignment) {
        return why.fail(errc::incompatible,
                        where + " aligns messages to " + std::to_string(h.alignment) +
                            " bytes for its receiver of [" + std::string(theirs) +
                            "]; the sender's [" + std::string(own.description) + "] wants " +
                            std::to_string(own.alignment));
    }
    return {};
}

}  // namespace shm_layout
}  // namespace v1
}  // namespace parley
