// SPDX-License-Identifier: MIT
// What one end of a channel can do, as its transport states it for this very address.
#pragma once

#include <cstddef>

namespace parley {
inline namespace v1 {

/// Stated by `limits()` of every sink and source. The conformance suite and the README's table
/// read it, so it cannot drift from what the code does.
struct limits {
    std::size_t message_bytes_max =
        0;                          ///< the longest message, in bytes; such a message always fits
    std::size_t loans_max = 1;      ///< loans that a sink may have open at once
    std::size_t borrows_max = 1;    ///< received views that a source may have open at once
    std::size_t writers_max = 1;    ///< senders that may be open at once
    std::size_t readers_max = 1;    ///< receivers that may be open at once
    bool in_place = false;          ///< a loan is the memory that the reader sees
    bool lossy = false;             ///< may lose messages, and counts them: lost()
    bool persistent = false;        ///< messages outlive both processes
    bool pollable = true;           ///< pollable() gives a descriptor
    bool reports_peer_loss = true;  ///< the death of the other side is noticed
    bool successors = false;        ///< after an end, further senders may come
    bool spoilable = false;         ///< a death inside its lock ends it for all: errc::corrupt
};

}  // namespace v1
}  // namespace parley
