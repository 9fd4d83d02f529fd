// SPDX-License-Identifier: MIT
#include "drawing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace peers {
namespace {

constexpr int left = 190, width = 560, bar_height = 16, gap = 14, top = 56;

/// Lengths grow with the logarithm: from as fast to ten thousand times as fast.
double x_of(double ratio) {
    return left + width * std::clamp((std::log10(ratio) + 0.5) / 4.5, 0.0, 1.0);
}

void axis(std::ofstream& out, int bottom) {
    for (const int ratio : {1, 10, 100, 1000, 10000}) {
        out << fmt::format(
            "<line x1='{0:.0f}' y1='{1}' x2='{0:.0f}' y2='{2}' stroke='{3}'/>\n"
            "<text x='{0:.0f}' y='{4}' text-anchor='middle'>{5}x</text>\n",
            x_of(ratio), top - 6, bottom, ratio == 1 ? "#444" : "#ddd", top - 12, ratio);
    }
}

}  // namespace

bool draw(const std::string& path, const std::string& title, const std::vector<group>& groups) {
    std::ofstream out(path);
    int height = top;
    for (const auto& g : groups) height += static_cast<int>(g.bars.size()) * bar_height + gap;
    out << fmt::format(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{}' height='{}' "
        "font-family='sans-serif' font-size='12'>\n<rect width='100%' "
        "height='100%' fill='white'/>\n<text x='10' y='20' font-size='15'>{}</text>\n",
        left + width + 90, height + 10, title);
    axis(out, height);
    int y = top;
    for (const auto& g : groups) {
        out << fmt::format("<text x='10' y='{}' font-weight='bold'>{}</text>\n", y + 12, g.work);
        for (const auto& b : g.bars) {
            out << fmt::format("<text x='{}' y='{}' text-anchor='end'>{}</text>\n", left - 8,
                               y + 12, b.peer);
            if (b.ratio > 0) {
                const double from = std::min(x_of(1), x_of(b.ratio));
                out << fmt::format(
                    "<rect x='{:.1f}' y='{}' width='{:.1f}' height='{}' "
                    "fill='{}'/>\n<text x='{:.1f}' y='{}'>{:.{}f}x</text>\n",
                    from, y + 2, std::max(1.0, std::abs(x_of(b.ratio) - x_of(1))), bar_height - 4,
                    b.ratio >= 1 ? "#2a7f62" : "#b5523b", std::max(x_of(1), x_of(b.ratio)) + 5,
                    y + 12, b.ratio, b.ratio < 10 ? 2 : 0);
            } else {
                out << fmt::format("<text x='{:.0f}' y='{}' fill='#888'>not measured</text>\n",
                                   x_of(1) + 5, y + 12);
            }
            y += bar_height;
        }
        y += gap;
    }
    out << "</svg>\n";
    return static_cast<bool>(out.flush());
}

}  // namespace peers
