// SPDX-License-Identifier: MIT
// What the two ends of a channel say of their message type to each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// The identity of a message type below the codec. Made by the codec at compile time; everything
/// below handles bytes and only compares fingerprints. `description` has static storage.
struct message_type {
    std::uint64_t fingerprint = 0;  ///< equal on both ends, or they refuse each other; 0: any type
    std::string_view description;   ///< for people: "raw {u32 @0, f64 @8} 16/8"
    std::size_t alignment = 8;      ///< of the message's bytes, wanted by loans and borrows
};

/// An end that looks at bytes and takes a message of any type (recorders, tools). Only receivers.
/// It does not know whom it will meet, so it aligns for every type but the over-aligned ones.
inline constexpr message_type any_type{0, "any type", 64};

/// What a sender told of its message type; for ends that take any. Fingerprint 0: it told nothing.
struct peer_type {
    std::uint64_t fingerprint = 0;
    std::string description = {};

    friend bool operator==(const peer_type&, const peer_type&) = default;
};

/// True if a receiver of type `in` may read what a sender of type `out` wrote.
[[nodiscard]] constexpr bool accepts(const message_type& in, std::uint64_t out) noexcept {
    return in.fingerprint == out || in.fingerprint == 0;
}

/// One sentence that names both types, for diagnostics.
[[nodiscard]] inline std::string type_mismatch(std::string_view receiver, std::string_view sender) {
    std::string text = "the types of the two ends differ: the receiver expects [";
    ((text += receiver) += "], the sender carries [") += sender;
    return text += "]; give both ends the same message type";
}

}  // namespace v1
}  // namespace parley
