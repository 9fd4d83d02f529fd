// SPDX-License-Identifier: MIT
// Messages as JSON, by nothing but the description of their type.
#pragma once

#include <parley/base/bytes.hpp>

#include <string>
#include <string_view>

namespace tool {

/// Appends the value of a message: members, which have no names in a description, as an array.
/// False, and nothing is appended, if the description does not tell enough (it was cut, there is a
/// codec by hand) or the bytes are none of this type. Trusts neither.
///
///     append_value(out, "raw {u32 @0, f64 @8} size 16 align 8 little-endian", bytes);  //
///     [7, 99.5]
[[nodiscard]] bool append_value(std::string& out, std::string_view description,
                                parley::bytes message);

/// "68 65 6c 6c 6f"
[[nodiscard]] std::string hex(parley::bytes b, std::size_t most, std::string_view between);

}  // namespace tool
