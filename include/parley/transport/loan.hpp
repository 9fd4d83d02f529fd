// SPDX-License-Identifier: MIT
// The loan of every sink that lends one at a time.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/base/bytes.hpp>

#include <cstddef>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Room in the memory of a sink, whose `Core` has `bool loaned`. It belongs to its sink, also to
/// one that is moved meanwhile; dropped uncommitted it was never there. One thread.
template <class Core>
class core_loan {
public:
    core_loan(Core* c, mutable_bytes b) noexcept : core_(c), bytes_(b) {}
    core_loan(core_loan&& other) noexcept
        : core_(std::exchange(other.core_, nullptr)), bytes_(other.bytes_) {}
    core_loan& operator=(core_loan&& other) noexcept {
        give_back();
        core_ = std::exchange(other.core_, nullptr);
        bytes_ = other.bytes_;
        return *this;
    }
    ~core_loan() { give_back(); }

    [[nodiscard]] mutable_bytes bytes() const noexcept { return bytes_; }
    void shrink(std::size_t n) noexcept {
        PARLEY_ASSERT(n <= bytes_.size());
        bytes_ = bytes_.first(n);
    }

    /// For the sink: whether it lent this.
    [[nodiscard]] bool belongs_to(const Core& c) const noexcept { return core_ == &c; }
    /// For the sink: it sees to its own `loaned`.
    void settle() noexcept { core_ = nullptr; }
    void give_back() noexcept {
        if (core_ != nullptr) core_->loaned = false;
        core_ = nullptr;
    }

private:
    Core* core_;
    mutable_bytes bytes_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
