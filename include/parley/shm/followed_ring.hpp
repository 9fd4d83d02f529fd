// SPDX-License-Identifier: MIT
// A ring of a topic as one of its subscribers knows it.
#pragma once

#include <parley/shm/broadcast_reader.hpp>
#include <parley/shm/chunks.hpp>
#include <parley/shm/segment.hpp>
#include <parley/shm/waiting.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

/// A ring that this subscriber reads, whoever publishes into it.
template <class Atomics>
struct followed_ring {
    broadcast_reader<Atomics> ring;
    const shm_layout::publisher_page* page;
    std::size_t number;
    std::uint32_t claim;   // the publisher that we know of
    std::uint32_t deaths;  // of its predecessors, as far as they are counted
    bool active;           // it is there, and not known to be over
    mapping memory, chunk_memory = {};
    chunk_reader<Atomics> chunks = {};
    std::size_t borrowed = 0;
    bool broken = false;   // it wrote no messages
    unique_fd pidfd = {};  // of the publisher, or a clock

    /// The publisher's process, 0 if that number means nothing here.
    [[nodiscard]] std::uint32_t pid() const noexcept {
        return pid_here(page->pid, page->pid_namespace);
    }
    /// The next message in its chunk, which is held until let_go(): whoever looks at one message
    /// keeps nobody from what comes behind it. `room` as of broadcast_reader::take, null where
    /// nothing is overwritten. `ring_for(asleep)`: the publisher may be to be rung.
    template <class RingFor>
    [[nodiscard]] typename broadcast_reader<Atomics>::item take_chunk(std::byte* room,
                                                                      RingFor&& ring_for) noexcept {
        using held = typename chunk_reader<Atomics>::held;
        for (;;) {
            auto item = ring.take(room);
            if (item.kind != taken::message) return item;
            shm_layout::chunk_note note{};
            if (item.payload.size() != sizeof note) return {taken::broken, {}};
            if (room != nullptr) {
                std::memcpy(&note, room, sizeof note);
            } else {
                Atomics::read(reinterpret_cast<std::byte*>(&note), item.payload.data(),
                              sizeof note);
            }
            std::uint64_t asleep = 0;
            const auto how = chunks.hold(note, item.payload, asleep);
            if (asleep == 0) asleep = ring.release();  // behind the hold: chunks.hpp
            if (asleep != 0) [[unlikely]]
                ring_for(asleep);
            if (how == held::whole) return item;
            if (how == held::broken) return {taken::broken, {}};
            ring.miss();
        }
    }
    /// A view of these bytes is gone. Returns the publisher's `asleep` as broadcast_reader does.
    [[nodiscard]] std::uint64_t let_go(bytes payload) noexcept {
        const bool last = --borrowed == 0;
        if (chunks) return chunks.let_go(payload);
        return last ? ring.release() : ring.release_oldest(payload);
    }

    [[nodiscard]] bool has_closed() const noexcept {
        return Atomics::load(page->closed, std::memory_order_acquire) == claim;
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
