// SPDX-License-Identifier: MIT
// What is promised of messages where the way itself promises nothing.
#pragma once

namespace parley {
inline namespace v1 {

/// Each message arrives once or not at all, in the order of its sender, and the receiver counts
/// those that did not come: `receiver::lost()`. Transports that may lose messages open only with
/// such a guarantee named:
///
///     parley::open_receiver<tick>(parley::udp{":7001"}, parley::at_most_once{});
///     parley::udp{":7001", parley::at_most_once{}};         // udp://:7001?delivery=at_most_once
struct at_most_once {
    friend bool operator==(const at_most_once&, const at_most_once&) = default;
};

}  // namespace v1
}  // namespace parley
