// SPDX-License-Identifier: MIT
// How much the reader of a stream of bytes is to take at once, and when to hold back for a moment.
#pragma once

#include <parley/base/time.hpp>
#include <parley/detail/atomics.hpp>

#include <chrono>
#include <cstddef>

namespace parley {
inline namespace v1 {
namespace detail {

/// A reader that is back at once for each message fights with the writer over the kernel's lock,
/// pulls the bytes out of its cache, and goes to sleep so often that the writer spends its time
/// waking it: small messages through a pipe pass 2.5 times as fast if some gather first. So a read
/// that found several, and yet only a few, is followed by some microseconds of pause, a fraction of
/// what a sleep and a wake-up cost. Who gets one at a time is not held up.
/// Of messages that cost a copy of some length anyway, and follow each other in equal length, one
/// a read is best: a reader that takes what there is comes back too soon, finds one and a part,
/// and holds the kernel's lock just when the writer wants it (of 512 B and 1 KiB: 0.8 of the rate).
/// Measured up to where taking all is as good (2 KiB), or better (4 KiB: by a quarter).
class gathering {
public:
    /// A read found so many bytes; the first message in them, with its frame, is `first` long, or 0
    /// if it is not whole.
    void found(std::size_t bytes, std::size_t first) noexcept {
        rush_ = first != 0 && bytes > first && bytes < enough_bytes;
        single_ = first == last_ && first >= single_min && first <= single_max;
        last_ = first;
    }
    /// How much the next read is to take, of so much room.
    [[nodiscard]] std::size_t most(std::size_t room) const noexcept {
        return single_ && last_ < room ? last_ : room;
    }
    /// Before the next read, if it may wait.
    void pause() const noexcept {
        if (rush_) linger();
    }

private:
    [[gnu::noinline]] static void linger() noexcept {
        const auto until = clock::now() + pause_for;
        do {
            for (int i = 0; i < 16; ++i) std_atomics::pause();
        } while (clock::now() < until);
    }
    static constexpr std::size_t enough_bytes = std::size_t{2} << 10;
    static constexpr std::size_t single_min = 512, single_max = 1536;
    static constexpr auto pause_for = std::chrono::microseconds(5);

    std::size_t last_ = 0;
    bool rush_ = false;
    bool single_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
