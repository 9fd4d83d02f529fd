// SPDX-License-Identifier: MIT
// When the next connection is tried after one that was lost.
#pragma once

#include <parley/base/time.hpp>

namespace parley {
inline namespace v1 {
namespace drive {

/// At once after a connection that did some good; else after 1 ms, doubled each time up to 200.
class redial {
public:
    void lost(bool did_good) noexcept {
        if (!did_good) return later();
        patience_ = first;
        next_ = clock::now();
    }
    void later() noexcept {
        next_ = clock::now() + patience_;
        patience_ = shorter(patience_ * 2, most);
    }
    [[nodiscard]] time_point next() const noexcept { return next_; }

private:
    static constexpr duration first = std::chrono::milliseconds(1);
    static constexpr duration most = std::chrono::milliseconds(200);

    duration patience_ = first;
    time_point next_{};
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
