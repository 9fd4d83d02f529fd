// SPDX-License-Identifier: MIT
// What parley doctor finds.
#pragma once

#include "survey.hpp"
#include "tool.hpp"

namespace tool {

enum class verdict { good, note, wrong };

/// One thing that was looked at: how it is, what follows from that, and what to do.
struct finding {
    verdict how;
    std::string check;  // one word, for programs
    std::string what;   // what was seen, of which object
    std::string cause;  // why it is so, or what it will do
    std::string fix;    // a command; empty if there is nothing to do
};
using findings = std::vector<finding>;

/// What the channels say: dead owners, readers that stand still, other namespaces.
void examine_channels(const survey& all, const std::vector<std::string>& directories, findings&);
/// What the host says: memory, limits, queues, namespaces, the kernel's abilities.
void examine_host(const survey& all, const std::vector<std::string>& directories, findings&);

/// A file's text without the newline at its end; empty if it cannot be read.
[[nodiscard]] std::string text_of(const std::string& path);
/// A word of a shell.
[[nodiscard]] std::string quoted(const std::string& word);

}  // namespace tool
