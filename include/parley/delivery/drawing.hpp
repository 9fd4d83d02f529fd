// SPDX-License-Identifier: MIT
// The header of a stack, as it is written and as a drawing.
#pragma once

#include <parley/delivery/machine.hpp>

#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace delivery {

/// What the policies of a stack put in front of a message over a way, first byte first; what the
/// way promises anyhow is not there. Under `batched` the fields behind the number stand in front of
/// each message of a batch.
template <class Stack, facts Way>
[[nodiscard]] std::vector<field> header() {
    std::vector<field> all;
    sending<Stack, Way>::fields([&](field f) { all.push_back(f); });
    return all;
}
/// The same of an acknowledgement; empty if none is ever sent.
template <class Stack, facts Way>
[[nodiscard]] std::vector<field> header_back() {
    std::vector<field> all;
    sending<Stack, Way>::fields_back([&](field f) { all.push_back(f); });
    return all;
}

/// Draws fields as the headers of parley draw layouts: four lines, with byte offsets.
[[nodiscard]] inline std::string draw(const std::vector<field>& all, std::string_view what) {
    std::string offsets = "byte", line = "    ", cells = "    ";
    std::size_t at = 0;
    for (const field& f : all) {
        const std::size_t column = line.size() + 4;
        offsets.resize(column, ' ');
        offsets += std::to_string(at);
        at += f.bytes;
        (line += "+").append(f.name.size() + 2, '-');
        ((cells += "| ") += f.name) += " ";
    }
    offsets.resize(line.size() + 4, ' ');
    (offsets += std::to_string(at)) += '\n';
    line = "    " + line + "+- - -\n";
    ((cells = "    " + cells + "| ") += what) += '\n';
    return offsets + line + cells + line;
}
template <class Stack, facts Way>
[[nodiscard]] std::string draw() {
    return draw(header<Stack, Way>(), "message");
}

}  // namespace delivery
}  // namespace v1
}  // namespace parley
