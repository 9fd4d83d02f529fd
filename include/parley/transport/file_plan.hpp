// SPDX-License-Identifier: MIT
// What the ends of a file log are told by their address.
#pragma once

#include <parley/base/limits.hpp>
#include <parley/detail/owner.hpp>
#include <parley/store/record.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>

namespace parley {
inline namespace v1 {
namespace detail {

/// What both ends of a file log are told by their address.
struct file_plan {
    std::size_t capacity_bytes = 0;
    std::size_t rotate_bytes = 0;
    std::size_t keep = 0;
    std::size_t message_bytes_max = 0;
    known_permissions mode = {};
    store::level await = store::level::visible;

    [[nodiscard]] parley::limits limits(bool follows) const noexcept {
        constexpr auto any = std::numeric_limits<std::size_t>::max();
        // Behind every message there is room for an end record.
        constexpr std::size_t around = 2 * store::record_header_bytes + 8;
        const std::size_t most = capacity_bytes == 0
                                     ? message_bytes_max
                                     : std::min(message_bytes_max, capacity_bytes - around);
        return {.message_bytes_max = most,
                .readers_max = follows ? any : 1,
                .persistent = true,
                .reports_peer_loss = false,
                .successors = true};
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
