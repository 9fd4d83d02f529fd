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
    class sealing;
    friend bool operator==(const checksum&, const checksum&) = default;
};

//   byte    0          4
//           +----------+-------------- - -
//   frame   | CRC-32   | what it is of
//           | u32      |
//           +----------+-------------- - -

/// How frames are sealed: see delivery.hpp.
class checksum::sealing {
public:
    static constexpr delivery::field header{"crc u32", 4};
    static constexpr bool if_intact = false;

    sealing(const checksum&, bool) noexcept {}
    void seal(mutable_bytes frame) const noexcept { store_le(frame.data(), sum_of(frame)); }
    [[nodiscard]] std::optional<bytes> unseal(bytes frame) const noexcept {
        if (frame.size() < header.bytes) return std::nullopt;
        if (load_le<std::uint32_t>(frame.data()) != sum_of(frame)) return std::nullopt;
        return frame.subspan(header.bytes);
    }

private:
    [[nodiscard]] static std::uint32_t sum_of(bytes frame) noexcept {
        boost::crc_32_type sum;
        sum.process_bytes(frame.data() + header.bytes, frame.size() - header.bytes);
        return static_cast<std::uint32_t>(sum.checksum());
    }
};

}  // namespace v1
}  // namespace parley
