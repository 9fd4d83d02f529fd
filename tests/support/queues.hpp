// SPDX-License-Identifier: MIT
// Queues of the kernel that no other test uses, removed at the end.
#pragma once

#include <parley/base/error.hpp>

#include "support/unique.hpp"

#include <unistd.h>

#include <utility>

namespace parley_test {

/// An address of its own; its queue goes with the scope, in the process that made it.
template <class Address>
class own_queue {
public:
    explicit own_queue(typename Address::options with = {}) : at_(name_.text(), std::move(with)) {}
    own_queue(const own_queue&) = delete;
    own_queue& operator=(const own_queue&) = delete;
    ~own_queue() {
        parley::diagnostics unasked;
        if (owner_ == ::getpid()) (void)at_.remove(unasked);
    }

    [[nodiscard]] operator const Address&() const noexcept { return at_; }
    [[nodiscard]] const Address& operator*() const noexcept { return at_; }
    [[nodiscard]] const Address* operator->() const noexcept { return &at_; }
    /// The same queue, asked for in another way.
    [[nodiscard]] Address with(typename Address::options o) const {
        return Address(at_.name, std::move(o));
    }

private:
    unique_name name_{"queue"};
    Address at_;
    pid_t owner_ = ::getpid();
};

}  // namespace parley_test
