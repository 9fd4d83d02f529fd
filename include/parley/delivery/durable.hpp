// SPDX-License-Identifier: MIT
// Messages that outlive the process that sent them.
#pragma once

#include <parley/delivery/delivery.hpp>

#include <string>

namespace parley {
inline namespace v1 {

/// What is sent lies in a file until it is acknowledged, and send returns as soon as it lies there:
/// whoever opens the sender with the same file after a death sends what is left, first and in order
/// (what a receiver was done with and could not acknowledge any more comes to it again). Opening
/// waits for no receiver. An attempt to reach one takes up to 50 ms of a call, every 200 ms at most
/// (over tcp also the resolver's time, if the host has a name). A queue of `when_full` is full when
/// the file is, whatever it says of messages. The file is a ring as that of `mmap`; one sender has
/// it at a time.
struct durable {
    std::string path;
    std::size_t capacity_bytes = std::size_t{16} << 20;  ///< up to a power of two; of a new file
    bool synced = false;  ///< each send waits for stable storage, and survives a loss of power

    static constexpr delivery::terms terms{delivery::role::persistence, {}, {}};
    friend bool operator==(const durable&, const durable&) = default;
};

}  // namespace v1
}  // namespace parley
