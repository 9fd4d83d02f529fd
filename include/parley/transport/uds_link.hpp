// SPDX-License-Identifier: MIT
// Two-way connections over Unix domain sockets.
#pragma once

#include <parley/transport/socket_link.hpp>
#include <parley/transport/uds_socket.hpp>

#include <algorithm>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// What links over Unix domain sockets are made of.
struct uds_family {
    using door = uds_door;
    using reader = socket_reader;
    using writer = socket_writer;

    std::size_t packet_bytes_max = 0;  ///< 0: a stream
    std::size_t header_bytes = 0;      ///< of a packet

    void fit(int fd, stream_options& out) const noexcept {
        if (packet_bytes_max == 0) return;
        const std::size_t room = room_for_packets(fd, packet_bytes_max);
        out.message_bytes_max = std::min(out.message_bytes_max, room - header_bytes);
    }
    [[nodiscard]] reader read_from(unique_fd fd) const noexcept {
        return reader(std::move(fd), packet_bytes_max);
    }
    [[nodiscard]] static writer write_to(unique_fd fd) { return writer::of_link(std::move(fd)); }
    [[nodiscard]] static peer_id who(int fd) noexcept { return credentials(fd); }
};

using uds_link = socket_link<uds_family>;
using uds_listener = socket_listener<uds_family>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
