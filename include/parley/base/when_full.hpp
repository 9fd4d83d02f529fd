// SPDX-License-Identifier: MIT
// Who gives way when there is no more room.
#pragma once

#include <cstddef>

namespace parley {
inline namespace v1 {

/// What happens to a message when there is no room for it: under a delivery policy, when `messages`
/// wait already; for a publisher, when its slowest subscriber has not read what fills the ring
/// (whose size is the address's capacity_bytes, so `messages` stays as it is). Every message that
/// is given up is counted.
namespace when_full {

/// The sender waits; without a rule this one holds.
struct block {
    std::size_t messages = 64;
    friend bool operator==(const block&, const block&) = default;
};
/// The sender is told at once: errc::out_of_resources.
struct error {
    std::size_t messages = 64;
    friend bool operator==(const error&, const error&) = default;
};
/// The new message is given up.
struct drop_newest {
    std::size_t messages = 64;
    friend bool operator==(const drop_newest&, const drop_newest&) = default;
};
/// The message that waited longest is given up.
struct drop_oldest {
    std::size_t messages = 64;
    friend bool operator==(const drop_oldest&, const drop_oldest&) = default;
};
/// Only the newest message waits: each replaces the one before it.
struct latest_only {
    static constexpr std::size_t messages = 1;
    friend bool operator==(const latest_only&, const latest_only&) = default;
};

}  // namespace when_full

}  // namespace v1
}  // namespace parley
