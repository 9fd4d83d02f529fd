// SPDX-License-Identifier: MIT
// A check sum over each frame, for ways that may damage what they carry.
#pragma once

#include <parley/delivery/delivery.hpp>

#include <boost/crc.hpp>

#include <optional>
#include <utility>

namespace parley {
inline namespace v1 {

/// A frame that was damaged on its way is dropped and counted (`counters().corrupt`), as if it had
/// been lost. CRC-32 (ISO-HDLC) finds every damage of up to 32 bits in a row and misses one in 2^32
/// of the others; it is no protection from somebody who means to.
struct checksum {
    static constexpr delivery::terms terms{delivery::role::integrity, {}, {.intact = true}};
    friend bool operator==(const checksum&, const checksum&) = default;
};

namespace delivery {

//   byte    0          4
//           +----------+-------------- - -
//   frame   | CRC-32   | what it is of
//           | u32      |
//           +----------+-------------- - -

/// Puts the sum of what follows it at the front of a frame.
inline void seal(mutable_bytes frame) noexcept {
    boost::crc_32_type sum;
    sum.process_bytes(frame.data() + 4, frame.size() - 4);
    store_le(frame.data(), static_cast<std::uint32_t>(sum.checksum()));
}
/// What a frame is of, if its sum says that it is whole.
[[nodiscard]] inline std::optional<bytes> unseal(bytes frame) noexcept {
    if (frame.size() < 4) return std::nullopt;
    boost::crc_32_type sum;
    sum.process_bytes(frame.data() + 4, frame.size() - 4);
    if (load_le<std::uint32_t>(frame.data()) != sum.checksum()) return std::nullopt;
    return frame.subspan(4);
}

}  // namespace delivery
}  // namespace v1
}  // namespace parley
