// SPDX-License-Identifier: MIT
// The ratios as bars, in SVG.
#pragma once

#include <string>
#include <vector>

namespace peers {

/// So many times as fast as that peer at that work; 0: not measured.
struct bar {
    std::string peer;
    double ratio;
};
struct group {
    std::string work;
    std::vector<bar> bars;
};

/// False if the file cannot be written.
[[nodiscard]] bool draw(const std::string& path, const std::string& title,
                        const std::vector<group>& groups);

}  // namespace peers
