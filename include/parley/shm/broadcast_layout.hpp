// SPDX-License-Identifier: MIT
// The layout of a topic: a ring for each publisher, a page of cursors for each subscriber.
//
//   byte offset                                                      written by        mapped
//                                                                                      writable by
//   0                 +--------------------------------------------+
//                     | segment_header: magic, layout, type, shape | its creator       nobody
//   4096              +--------------------------------------------+
//                     | subscribers_page: asleep, known            | all subscribers   subscribers
//                     |   + 128: a bell for each publisher         |
//   12288             +--------------------------------------------+
//                     | doorbell_page: bell, claims                | all publishers    publishers
//   16384             +--------------------------------------------+
//                     | publisher_page 0: claims, closed, deaths   | publisher 0       publisher 0
//                     |   + 64: asleep, wanted, holders            |
//                     |   + 128: how far it has written, a hint    |
//                     |   + 192: reserve, dropped                  |
//                     |   + 256: anchors                           |
//                     |   + 512: generation of each chunk          |
//                     | publisher_page 1 …                         | publisher 1       publisher 1
//   16384 + 4096 * n  +--------------------------------------------+
//                     | subscriber_page 0: claims, asleep          | subscriber 0      subscriber 0
//                     |   + 64 * (1 + i): cursor in ring i, and    |
//                     |     which of its chunks are held           |
//                     | subscriber_page 1 … 63, 8192 bytes each    | subscriber 1      subscriber 1
//   + 8192 * 64,      +--------------------------------------------+
//   rounded up as a   | ring of publisher 0, capacity bytes        | publisher 0       publisher 0
//   channel's         | ring of publisher 1 …                      | publisher 1       publisher 1
//                     +--------------------------------------------+
//
// A ring is mapped twice and holds messages as a lane does (layout.hpp), and nothing else. A
// publisher that takes a ring over goes on where the last one stopped, so positions and numbers
// only grow while the segment lives.
#pragma once

#include <parley/shm/layout.hpp>

#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace shm_layout {

/// Who gives way when a ring is full. All publishers of a topic name the same.
enum class giving_way : std::uint32_t { block, drop_newest, drop_oldest, latest_only };

/// True if a publisher overwrites what was not read: subscribers copy, and then look whether what
/// they copied was still whole.
[[nodiscard]] constexpr bool overwrites(giving_way rule) noexcept {
    return rule == giving_way::drop_oldest || rule == giving_way::latest_only;
}

inline constexpr std::uint64_t nowhere = ~std::uint64_t{0};  // a cursor or anchor that is not there
inline constexpr std::size_t anchors_count = 16;

struct subscribers_page {
    std::uint64_t
        asleep;  // somebody sleeps: what the bell was, and on what: see broadcast_bell.hpp
    alignas(line_bytes) std::uint64_t known;            // bit j: subscriber_page j exists
    alignas(line_bytes) std::uint32_t room[lanes_max];  // futex of publisher i
};

/// The number of the message at a position: where a reader that was overtaken goes on.
struct anchor {
    std::uint64_t position;
    std::uint64_t sequence;
};

struct alignas(line_bytes) publisher_state {
    std::uint64_t asleep;   // see doorbell.hpp
    std::uint64_t wanted;   // it sleeps until the cursors of
    std::uint64_t holders;  // these subscribers reach that
};

struct publisher_page {
    std::uint32_t claims;  // how often this ring was taken
    std::uint32_t pid;
    std::uint64_t pid_namespace;
    std::uint64_t sender;
    std::uint32_t signal;
    std::uint32_t closed;  // the last claim that ended in good order
    std::uint32_t deaths;  // how many claims ended otherwise, as their successors saw
    publisher_state state;
    writer_progress progress;
    // Bytes at positions below reserve - capacity may have been overwritten, or may be at once.
    alignas(line_bytes) std::uint64_t reserve;
    std::uint64_t dropped;  // messages that were given up because there was no room
    alignas(line_bytes) anchor anchors[anchors_count];
    alignas(line_bytes) std::uint64_t generations[chunks_max];  // grows when a chunk is taken back

    /// `s`: of the rings.
    void start(const shape& s) noexcept {
        reserve = s.first() + s.capacity;
        progress.written = s.first();
        for (auto& a : anchors) a.position = nowhere;
        anchors[0].position = s.first();
    }
};

struct alignas(line_bytes) subscriber_cursor {
    std::uint64_t head;   // what lies before this position may be overwritten
    std::uint64_t holds;  // bit c: this subscriber looks at chunk c
};

/// What a ring says of a message that lies in a chunk.
struct chunk_note {
    std::uint64_t chunk;
    std::uint64_t generation;
    std::uint64_t length;
};

struct subscriber_page {
    std::uint32_t claims;  // how often this place was taken
    std::uint32_t pid;
    std::uint64_t pid_namespace;
    std::uint64_t asleep;  // on a descriptor, and what the bell was
    subscriber_cursor rings[lanes_max];
};

static_assert(offsetof(subscribers_page, known) == 64 && offsetof(subscribers_page, room) == 128);
static_assert(sizeof(subscribers_page) <= 2 * page_bytes && sizeof(publisher_page) <= page_bytes);
static_assert(offsetof(publisher_page, pid) == offsetof(lane_page, pid) &&
              offsetof(publisher_page, signal) == offsetof(lane_page, signal));
static_assert(offsetof(subscriber_page, pid) == offsetof(lane_page, pid));
static_assert(offsetof(publisher_page, closed) == 28 && offsetof(publisher_page, deaths) == 32);
static_assert(offsetof(publisher_page, state) == 64 && offsetof(publisher_page, progress) == 128);
static_assert(offsetof(publisher_page, reserve) == 192 && offsetof(publisher_page, dropped) == 200);
static_assert(offsetof(publisher_page, anchors) == 256);
static_assert(offsetof(publisher_page, generations) == 512 && sizeof(chunk_note) == 24);
static_assert(offsetof(subscriber_cursor, holds) == 8);
static_assert(offsetof(subscriber_page, rings) == 64 && sizeof(subscriber_page) <= cursors_bytes);

}  // namespace shm_layout
}  // namespace v1
}  // namespace parley
