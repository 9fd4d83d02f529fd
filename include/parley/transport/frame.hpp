// SPDX-License-Identifier: MIT
// The frames of parley on byte streams and in packets, as they are laid out.
//
//   byte   0        4      5       6        8
//          +--------+------+-------+--------+------------------- - -
//   frame  | length | kind | layout| magic  | payload, length bytes
//          | u32    | u8   | u8    | u16    |
//          +--------+------+-------+--------+------------------- - -
//
//   byte   0                8                16              24      28       32
//          +----------------+----------------+---------------+-------+--------+------------- - -
//   hello  | frame, kind 1  | fingerprint    | sender        | pid   | answer | description
//          |                | u64            | u64, random   | u32   | u32    | text, <= 1024 bytes
//          +----------------+----------------+---------------+-------+--------+------------- - -
//
// All numbers are little-endian. A sender's first frame is its hello, its last one is `end`; the
// receiver of a two-way connection that refuses the sender, or its type, answers with a hello of
// its own; `answer` says which.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/type.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace frame {

inline constexpr std::size_t header_bytes = 8;
inline constexpr std::size_t hello_bytes = 32;  ///< without the description
inline constexpr std::size_t description_bytes_max = 1024;
inline constexpr std::size_t hello_bytes_max = hello_bytes + description_bytes_max;
inline constexpr std::uint8_t layout = 1;
inline constexpr std::uint16_t magic = 0x5950;  // "PY"

enum class kind : std::uint8_t {
    hello = 1,    ///< who speaks and what type it carries
    message = 2,  ///< one message
    end = 3,      ///< the sender closes in good order; nothing follows unless it says hello again
};

/// The eight bytes of a header as one little-endian number.
[[nodiscard]] constexpr std::uint64_t header_word(kind k, std::size_t length) noexcept {
    return std::uint64_t{static_cast<std::uint32_t>(length)} |
           std::uint64_t{static_cast<std::uint8_t>(k)} << 32 | std::uint64_t{layout} << 40 |
           std::uint64_t{magic} << 48;
}
inline void write_header(std::byte* to, kind k, std::size_t length) noexcept {
    store_le(to, header_word(k, length));
}

/// What a hello answers.
enum class answer : std::uint32_t {
    none = 0,    ///< a sender's own hello, or a receiver that refuses what came
    denied = 1,  ///< the receiver does not let this peer in
};

inline constexpr std::string_view denied_words =
    "the receiver does not let in this process's user: its `allow` (?allow_users=, ?allow_groups=) "
    "names others";

/// Writes a hello at `to` and returns its length, at most hello_bytes_max.
inline std::size_t write_hello(std::byte* to, const message_type& type, std::uint64_t sender,
                               std::uint32_t pid, answer a = answer::none) noexcept {
    const auto text = as_bytes(type.description.substr(0, description_bytes_max));
    write_header(to, kind::hello, hello_bytes - header_bytes + text.size());
    store_le(to + 8, type.fingerprint);
    store_le(to + 16, sender);
    store_le(to + 24, pid);
    store_le(to + 28, static_cast<std::uint32_t>(a));
    std::copy(text.begin(), text.end(), to + hello_bytes);
    return hello_bytes + text.size();
}

/// What a hello says. `description` borrows from the payload.
struct hello {
    std::uint64_t fingerprint = 0;
    std::uint64_t sender = 0;
    std::uint32_t pid = 0;
    answer what = answer::none;
    std::string_view description;
};

/// Reads the payload of a hello frame (without its header); nothing if it is too short.
[[nodiscard]] inline bool read_hello(bytes payload, hello& out) noexcept {
    constexpr std::size_t fixed = hello_bytes - header_bytes;
    if (payload.size() < fixed || payload.size() > hello_bytes_max - header_bytes) return false;
    out.fingerprint = load_le<std::uint64_t>(payload.data());
    out.sender = load_le<std::uint64_t>(payload.data() + 8);
    out.pid = load_le<std::uint32_t>(payload.data() + 16);
    out.what = answer{load_le<std::uint32_t>(payload.data() + 20)};
    out.description = as_text(payload.subspan(fixed));
    return true;
}

}  // namespace frame

}  // namespace v1
}  // namespace parley
