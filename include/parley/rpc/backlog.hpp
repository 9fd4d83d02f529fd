// SPDX-License-Identifier: MIT
// Messages that were read before their turn, one behind another in one piece of memory.
#pragma once

#include <parley/base/bytes.hpp>

#include <cstddef>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// A queue of byte strings, each with a `Tag`. It keeps the memory that it once needed.
template <class Tag>
class backlog {
public:
    struct entry {
        Tag tag;
        bytes body;  ///< until the next push
    };

    void push(Tag tag, bytes body) {
        if (empty()) clear();
        if (first_ > 1024 && first_ > slots_.size() / 2) compact();
        slots_.push_back({std::move(tag), bytes_.size(), body.size()});
        bytes_.insert(bytes_.end(), body.begin(), body.end());
    }
    /// The oldest; there must be one.
    [[nodiscard]] entry pop() {
        slot& s = slots_[first_++];
        return {std::move(s.tag), bytes(bytes_).subspan(s.at, s.size)};
    }
    void clear() noexcept {
        slots_.clear();
        bytes_.clear();
        first_ = 0;
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == slots_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return slots_.size() - first_; }

private:
    struct slot {
        Tag tag;
        std::size_t at, size;
    };

    void compact() {
        const std::size_t at = slots_[first_].at;
        slots_.erase(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(first_));
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
        for (slot& s : slots_) s.at -= at;
        first_ = 0;
    }

    std::vector<slot> slots_;
    std::vector<std::byte> bytes_;
    std::size_t first_ = 0;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
