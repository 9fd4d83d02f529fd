// SPDX-License-Identifier: MIT
// What a receiver of signals knows of one of its senders.
#pragma once

#include <parley/transport/frame_reader.hpp>
#include <parley/transport/signals_wire.hpp>

#include <cstdint>

namespace parley {
inline namespace v1 {
namespace detail {

struct signal_sender {
    signal_sender(const message_type& t, std::size_t most) : reader(t, most, 4096) {}

    [[nodiscard]] bool sent(const signal_packet& p) const noexcept {
        return record.pid == static_cast<std::uint32_t>(p.pid) && record.uid == p.uid;
    }

    frame_reader reader;
    signal_slot record;
    unique_fd pidfd;
    std::uint8_t slot = 0;
    std::uint16_t next = 0;   // the next chunk's sequence
    std::uint32_t taken = 0;  // chunks since the last credit
    bool owed = false;        // a credit found no room in the queue
    bool counted = false;     // said hello
    bool gone = false;        // what it sent before was taken, or lies in the queue
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
