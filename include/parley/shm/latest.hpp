// SPDX-License-Identifier: MIT
// A value of one writer that many read: the newest one, whole. Layout and protocol.
//
//   byte offset                                                    written by     mapped writable
//   by 0                 +------------------------------------------+
//                     | segment_header: magic, layout, type      | its creator    nobody
//   4096              +------------------------------------------+
//                     | subscribers_page: asleep                 | all readers    readers
//   12288             +------------------------------------------+
//                     | doorbell_page: bell                      | the writer     the writer
//   16384             +------------------------------------------+
//                     | latest_page: claims, closed              | the writer     the writer
//                     |   + 64: begun, + 128: newest             |
//   20480             +------------------------------------------+
//                     | buffer 0, capacity bytes: length, value  | the writer     the writer
//                     | buffer 1 …                               |
//                     +------------------------------------------+
//
// Version v lies in buffer v modulo their number. The writer says in `begun` which version it is
// about to write, writes it, and then says so in `newest`: it never waits, and when it is killed in
// between, the version before is still the newest. A reader copies the newest version and then
// looks whether one that overwrites it was begun: that is the seqlock of broadcast.hpp with
// versions for positions, and the words of a value are stored and loaded as there, for the same
// reason. With more than two buffers a reader has to start again only if it was slower than several
// writes.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/broadcast.hpp>
#include <parley/shm/broadcast_bell.hpp>

#include <cstddef>
#include <cstdint>

namespace parley {
inline namespace v1 {
namespace shm_layout {

inline constexpr std::size_t buffers_count = 4;

struct latest_page {
    std::uint32_t claims;  // how often a writer came
    std::uint32_t pid;
    std::uint64_t pid_namespace;
    std::uint64_t sender;
    std::uint32_t signal;
    std::uint32_t closed;                      // the last claim that ended in good order
    alignas(line_bytes) std::uint64_t begun;   // versions before begun - buffers are overwritten
    alignas(line_bytes) std::uint64_t newest;  // the version to read; 0: there is none yet
};

static_assert(offsetof(latest_page, closed) == offsetof(publisher_page, closed));
static_assert(offsetof(latest_page, pid) == offsetof(lane_page, pid));
static_assert(offsetof(latest_page, begun) == 64 && offsetof(latest_page, newest) == 128);

}  // namespace shm_layout

namespace detail {

/// The buffers of a value.
template <class Byte>
struct value_buffers {
    Byte* at = nullptr;
    std::size_t capacity = 0;

    /// The length of version v; the value comes behind it.
    [[nodiscard]] auto& length(std::uint64_t v) const noexcept {
        using word = std::conditional_t<std::is_const_v<Byte>, const std::uint64_t, std::uint64_t>;
        return *reinterpret_cast<word*>(at + v % shm_layout::buffers_count * capacity);
    }
    [[nodiscard]] Byte* value(std::uint64_t v) const noexcept {
        return reinterpret_cast<Byte*>(&length(v) + 1);
    }
    [[nodiscard]] std::size_t bytes_max() const noexcept { return capacity - 8; }
};

/// The writer's side. One thread.
template <class Atomics>
class value_writer {
public:
    value_writer() = default;
    /// Goes on behind the last version that was finished.
    value_writer(std::byte* buffers, std::size_t capacity, shm_layout::latest_page& own,
                 const shm_layout::subscribers_page& all) noexcept
        : buffers_{buffers, capacity},
          own_(&own),
          all_(&all),
          version_(Atomics::load(own.newest, std::memory_order_relaxed)) {}

    /// Returns the `asleep` of the readers. m is at most bytes_max() long.
    [[nodiscard]] std::uint64_t write(bytes m) noexcept {
        const auto v = version_ + 1;
        // Releases, all of them: whoever loads a word of this version sees that it was begun.
        Atomics::store(own_->begun, v, std::memory_order_release);
        Atomics::store(buffers_.length(v), std::uint64_t{m.size()}, std::memory_order_release);
        store_words<Atomics>(buffers_.value(v), m.data(), m.size());
        version_ = v;
        return publish_to_all<Atomics>(all_->asleep, enrolled_, own_->newest, v);
    }
    [[nodiscard]] std::size_t bytes_max() const noexcept { return buffers_.bytes_max(); }
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }

private:
    value_buffers<std::byte> buffers_;
    shm_layout::latest_page* own_ = nullptr;
    const shm_layout::subscribers_page* all_ = nullptr;
    bool enrolled_ = Atomics::enrol();
    std::uint64_t version_ = 0;
};

/// A reader's side; nothing in the segment is trusted. Any number of threads.
template <class Atomics>
class value_reader {
public:
    value_reader() = default;
    value_reader(const std::byte* buffers, std::size_t capacity,
                 const shm_layout::latest_page& writer) noexcept
        : buffers_{buffers, capacity}, writer_(&writer) {}

    struct copy {
        std::uint64_t version = 0;  // 0: there is none
        bytes value;                // in the room that was given
        bool broken = false;        // its writer wrote what is no value
    };

    [[nodiscard]] std::uint64_t newest(std::memory_order order) const noexcept {
        return Atomics::load(writer_->newest, order);
    }
    /// Copies the newest version into `room` (bytes_max).
    [[nodiscard]] copy read(std::byte* room) const noexcept {
        for (int tries = 0; tries < tries_max; ++tries) {
            const auto v = newest(std::memory_order_acquire);
            if (v == 0) return {};
            const auto n = Atomics::load(buffers_.length(v), std::memory_order_acquire);
            const bool sane = n <= buffers_.bytes_max();
            if (sane) load_words<Atomics>(room, buffers_.value(v), static_cast<std::size_t>(n));
            // Ordered after the loads of the value, which are acquires.
            const auto begun = Atomics::load(writer_->begun, std::memory_order_acquire);
            if (begun - v >= shm_layout::buffers_count) continue;
            if (!sane) break;
            return {v, {room, static_cast<std::size_t>(n)}, false};
        }
        return {0, {}, true};
    }

private:
    static constexpr int tries_max = 10'000;

    value_buffers<const std::byte> buffers_;
    const shm_layout::latest_page* writer_ = nullptr;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
