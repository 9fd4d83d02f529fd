// SPDX-License-Identifier: MIT
// How far a message came, as its sender may learn.
#pragma once

#include <parley/delivery/delivery.hpp>

namespace parley {
inline namespace v1 {

/// How far a message came. That it was accepted, into the queue of this process, is what a send
/// that returns says.
enum class receipt : std::uint8_t {
    delivered,  ///< a receiver's process has it; it is lost if that process dies
    consumed,   ///< its receiver asked for the next one: it is done with it
};

/// Receivers also say at once what arrived, with an acknowledgement more for each message that
/// comes alone. Without this policy senders still learn what was consumed, and both in one.
struct receipts {
    static constexpr delivery::terms terms{delivery::role::receipt, {}, {}};
    friend bool operator==(const receipts&, const receipts&) = default;
};

}  // namespace v1
}  // namespace parley
