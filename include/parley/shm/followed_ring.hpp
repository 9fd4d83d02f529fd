// SPDX-License-Identifier: MIT
// A ring of a topic as one of its subscribers knows it.
#pragma once

#include <parley/shm/broadcast_reader.hpp>
#include <parley/shm/segment.hpp>

#include <cstddef>
#include <cstdint>

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
    mapping memory;
    std::size_t borrowed = 0;
    bool broken = false;   // it wrote no messages
    unique_fd pidfd = {};  // of the publisher, or a clock

    [[nodiscard]] bool has_closed() const noexcept {
        return Atomics::load(page->closed, std::memory_order_acquire) == claim;
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
