// SPDX-License-Identifier: MIT
// Who of the other side died and who came after, counted and told.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Kept by an end with many at its other side. One thread at a time.
class peer_watch {
public:
    /// Calls then(pid) from now on, each time.
    template <class Then>
    void on_lost(Then then) {
        lost_told_ = std::make_unique<told_to<Then>>(std::move(then));
    }
    template <class Then>
    void on_back(Then then) {
        back_told_ = std::make_unique<told_to<Then>>(std::move(then));
    }
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

    /// Somebody died; 0: nobody here knows its number. `times`: as many did, unseen; that is told
    /// once, since it may be anybody's word.
    void died(std::uint32_t pid, std::uint32_t times = 1) {
        if (times == 0) return;
        lost_ += times;
        missing_ += times;
        if (lost_told_) (*lost_told_)(static_cast<pid_t>(pid));
    }
    /// Somebody came; it takes the place of one who died, if one is missing.
    void came(std::uint32_t pid) {
        if (missing_ == 0) return;
        --missing_;
        if (back_told_) (*back_told_)(static_cast<pid_t>(pid));
    }

private:
    struct told {
        virtual ~told() = default;
        virtual void operator()(pid_t) = 0;
    };
    template <class Then>
    struct told_to final : told {
        explicit told_to(Then t) : then(std::move(t)) {}
        void operator()(pid_t pid) override { then(pid); }
        Then then;
    };

    std::unique_ptr<told> lost_told_, back_told_;
    std::uint64_t lost_ = 0;
    std::uint64_t missing_ = 0;  // died, and nobody came since
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
