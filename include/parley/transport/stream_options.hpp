// SPDX-License-Identifier: MIT
// What the address of a stream decides for both of its ends.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// How a stream is framed.
enum class framing : std::uint8_t {
    parley,  ///< as drawn in frame.hpp
    none,    ///< bytes as they are, for programs that know nothing of parley
};

/// Options of a stream end that its address decides.
struct stream_options {
    std::size_t message_bytes_max = 64 << 20;
    framing frames = framing::parley;
    bool used_at_once = true;     ///< false: made before a fork, belongs to whoever uses it first
    std::string tag = {};         ///< in front of each packet: datagrams, which have no connection
    std::size_t writers_max = 1;  ///< of the address, for limits()
};

/// Only ends that are opened by their descriptor can be handed over.
[[nodiscard]] inline result<void> names_descriptor(const uri& address, diagnostics& why) {
    diagnostics unasked;
    if (uri_reader(address, unasked).option("fd") != nullptr) return {};
    return why.fail(errc::unsupported,
                    address.text() + " is no end of a pair: the other program opens it by name");
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
