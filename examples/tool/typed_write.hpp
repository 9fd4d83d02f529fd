// SPDX-License-Identifier: MIT
// JSON as messages, by nothing but the description of their type.
#pragma once

#include <parley/base/bytes.hpp>

#include <boost/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// Appends a value in the portable layout. `description` begins with that of its type, which is
/// taken off; members, which have no names in a description, are an array, bytes are hex, what is
/// optional may be null. False, and why: the value is no such, or nobody can write one by its
/// description.
///
///     std::string_view types = "f64, list<text>";
///     append_portable(out, types, 9.5, wrong);          // types: ", list<text>"
[[nodiscard]] bool append_portable(std::vector<std::byte>& out, std::string_view& description,
                                   const boost::json::value& from, std::string& wrong);

}  // namespace tool
