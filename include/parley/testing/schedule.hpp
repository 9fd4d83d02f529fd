// SPDX-License-Identifier: MIT
// The choices of one execution, depth first through all of them, and the states that were seen.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// A set of hashes, which are random enough to be their own.
class hash_set {
public:
    /// False: it was there.
    bool insert(std::uint64_t h) {
        if (2 * ++size_ > slots_.size()) grow();
        h |= 1;
        std::uint64_t& at = slot(h);
        if (at == h) return --size_, false;
        at = h;
        return true;
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void clear() {
        std::fill(slots_.begin(), slots_.end(), 0);
        size_ = 0;
    }

private:
    std::uint64_t& slot(std::uint64_t h) noexcept {
        std::size_t i = h >> 7;
        while (slots_[i & (slots_.size() - 1)] != 0 && slots_[i & (slots_.size() - 1)] != h) ++i;
        return slots_[i & (slots_.size() - 1)];
    }
    void grow() {
        const auto old = std::exchange(slots_, std::vector<std::uint64_t>(4 * slots_.size()));
        for (const auto h : old) {
            if (h != 0) slot(h) = h;
        }
    }

    std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(1024);
    std::size_t size_ = 0;
};

/// A sequence of choices. An execution takes them from the front; behind the last it takes the
/// first of each, and next() says what to try then.
class schedule {
public:
    static constexpr std::size_t options_max = 64;

    /// One of n, at most options_max.
    std::size_t choose(std::size_t n) {
        if (is_new()) choices_.push_back({static_cast<std::uint8_t>(n), 0});
        return choices_[depth_++].taken;
    }
    /// Whether the choices so far are all that were given.
    [[nodiscard]] bool is_new() const noexcept { return depth_ == choices_.size(); }
    void rewind() noexcept { depth_ = 0; }
    void clear() noexcept { choices_.clear(); }
    /// To the next sequence. False: there is none.
    bool next() noexcept {
        while (!choices_.empty() && choices_.back().taken + 1 >= choices_.back().options) {
            choices_.pop_back();
        }
        if (choices_.empty()) return false;
        ++choices_.back().taken;
        return true;
    }

    [[nodiscard]] std::string text() const {
        std::string out;
        for (const auto& c : choices_) out += digits[c.taken];
        return out;
    }
    void read(std::string_view text) {
        choices_.clear();
        for (const char c : text) {
            choices_.push_back({options_max, static_cast<std::uint8_t>(digits.find(c))});
        }
    }

private:
    struct choice {
        std::uint8_t options, taken;
    };
    static constexpr std::string_view digits =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-+";

    std::vector<choice> choices_;
    std::size_t depth_ = 0;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
