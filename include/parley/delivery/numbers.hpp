// SPDX-License-Identifier: MIT
// The guarantees, and the numbers that they write into frames.
//
//   byte    0              8            12        14
//           +--------------+------------+---------+---------------- - -
//   frame   | sender u64   | number u32 | lag u16 | what it carries
//           | (*)          |            | (**)    |
//           +--------------+------------+---------+---------------- - -
//
//   byte    0              8            12         14           22            24
//           +--------------+------------+----------+------------+-------------+
//   acknow- | sender u64   | next u32   | room u16 | beyond u64 | arrived u16 |
//   ledge   | (*)          |            |          |            | (***)       |
//           +--------------+------------+----------+------------+-------------+
//
// (*)  where the way has no connections, and under exactly_once everywhere.
// (**) under at_least_once and exactly_once: how many numbers the oldest frame that is not yet
//      acknowledged lies behind this one, so that a receiver that knows nothing can begin.
// (***) with receipts: so many frames, from `next` on, are there.
//
// `next` is the number of the first frame that the receiver still wants: all before it were handed
// out and done with. Bit i of `beyond`: frame next + 1 + i is there too. `room` is the receiver's
// window, its credit. Numbers run round at 2^32: of two, the one less than 2^31 ahead is the later.
#pragma once

#include <parley/delivery/batched.hpp>
#include <parley/delivery/checksum.hpp>
#include <parley/delivery/delivery.hpp>
#include <parley/delivery/fragmented.hpp>
#include <parley/delivery/prioritized.hpp>
#include <parley/delivery/receipts.hpp>

#include <bit>

namespace parley {
inline namespace v1 {

/// Each message arrives at least once: what is not acknowledged in time is sent again. While both
/// sides live and one connection lasts it arrives once, in order. After a new connection, or a
/// receiver's death, the messages that were not acknowledged come (again). A message is
/// acknowledged when its receiver asks for the next one: it may rely on having been done with it.
struct at_least_once {
    std::size_t window = 64;  ///< frames that may be unacknowledged, up to 16384
    duration resend_after = std::chrono::milliseconds(20);  ///< doubled each time, up to
    duration resend_after_max = std::chrono::milliseconds(1000);

    static constexpr delivery::terms terms{delivery::role::guarantee,
                                           {.intact = true, .two_way = true},
                                           {.once = true, .ordered = true, .lossless = true},
                                           true};
    friend bool operator==(const at_least_once&, const at_least_once&) = default;
};

/// As at_least_once, and what came before is known again after a new connection: while both sides
/// live, each message is handed out once. Who wants that across the death of a receiver too has to
/// store, with the effect of a message, that it was done.
struct exactly_once {
    std::size_t window = 64;
    duration resend_after = std::chrono::milliseconds(20);
    duration resend_after_max = std::chrono::milliseconds(1000);

    static constexpr delivery::terms terms{delivery::role::guarantee,
                                           {.intact = true, .two_way = true},
                                           {.once = true, .ordered = true, .lossless = true},
                                           true};
    friend bool operator==(const exactly_once&, const exactly_once&) = default;
};

/// Under at_least_once and exactly_once a message is handed out as soon as it is there, also before
/// one that is late.
struct unordered {
    static constexpr delivery::terms terms{delivery::role::order, {}, {}};
    friend bool operator==(const unordered&, const unordered&) = default;
};

namespace delivery {

enum class guarantee : std::uint8_t { none, at_most_once, at_least_once, exactly_once };

/// What a stack over a way has to write; what the way gives anyhow is left out.
template <class Stack, facts Way>
struct plan {
    static constexpr guarantee promise =
        Stack::template has<exactly_once>                                 ? guarantee::exactly_once
        : Stack::template has<at_least_once>                              ? guarantee::at_least_once
        : Stack::template has<at_most_once> && !(Way.once && Way.ordered) ? guarantee::at_most_once
                                                                          : guarantee::none;
    using sealer = typename Stack::template playing<role::integrity>;
    static constexpr bool sealed = [] {
        if constexpr (std::is_void_v<sealer>) {
            return false;
        } else {
            return !Way.intact || sealer::sealing::if_intact;
        }
    }();
    /// What is at the top of a sending side.
    static constexpr bool ranks = Stack::template has<v1::prioritized>;
    using queue_type = std::conditional_t<ranks, ranked_outbox, outbox>;
    static constexpr bool batches = Stack::template has<v1::batched>;
    static constexpr bool in_parts = Stack::template has<v1::fragmented>;
    static constexpr bool in_order = !Stack::template has<unordered>;
    static constexpr bool acknowledges = promise >= guarantee::at_least_once;
    static constexpr bool names_sender =
        promise == guarantee::exactly_once || (promise != guarantee::none && !Way.connected);
    static constexpr bool names_parts = !names_sender && !Way.connected;
    static constexpr bool tells_arrival = acknowledges && Stack::template has<v1::receipts>;
    static constexpr std::size_t acknowledgement_bytes =
        (names_sender ? 8 : 0) + 14 + (tells_arrival ? 2 : 0);
    static constexpr bool loses = !Way.lossless;
};

/// The options that both acknowledging guarantees have.
struct numbering {
    std::size_t window = 1;
    duration resend_after{}, resend_after_max{};

    template <class Guarantee>
    static numbering of(const Guarantee& g) noexcept {
        constexpr std::size_t most = 16384;
        return {std::bit_ceil(std::clamp<std::size_t>(g.window, 1, most)), g.resend_after,
                std::max(g.resend_after, g.resend_after_max)};
    }
};

inline constexpr std::uint16_t lag_max = 32767;

/// How far `a` is ahead of `b`; negative: behind.
[[nodiscard]] constexpr std::int32_t ahead(std::uint32_t a, std::uint32_t b) noexcept {
    return static_cast<std::int32_t>(a - b);
}

}  // namespace delivery
}  // namespace v1
}  // namespace parley
