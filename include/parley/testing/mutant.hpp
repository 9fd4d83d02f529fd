// SPDX-License-Identifier: MIT
// Mutants of a lock-free part, made while it runs: no source is edited, nothing is compiled anew.
#pragma once

#include <parley/testing/memory_model.hpp>

#include <atomic>
#include <cstdint>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// Where an operation stands in the source.
struct place {
    const char* file;
    unsigned line;
};

/// What an operation of the program under test is, and what an edit makes of it.
struct operation {
    std::string_view file;
    unsigned line = 0;
    std::string_view what;
    std::memory_order order = std::memory_order_relaxed;

    friend bool operator==(const operation&, const operation&) = default;
};
struct mutant {
    operation of;
    bool removed = false;
    std::memory_order becomes = std::memory_order_relaxed;

    friend bool operator==(const mutant&, const mutant&) = default;
};
[[nodiscard]] inline const char* word_of(std::memory_order o) noexcept {
    constexpr const char* words[] = {"relaxed", "consume", "acquire",
                                     "release", "acq_rel", "seq_cst"};
    return words[static_cast<int>(o)];
}

/// The operations that a program was seen to do, and the one of them that is done otherwise.
class edits {
public:
    void choose(const mutant& m) { edit_ = m; }
    /// What becomes of this operation.
    [[nodiscard]] mutant of(std::string_view what, std::memory_order order, place p) {
        if (edit_.of.line != 0) {
            const bool here = p.line == edit_.of.line && order == edit_.of.order &&
                              what == edit_.of.what && p.file == edit_.of.file;
            return here ? edit_ : mutant{{}, false, order};
        }
        const auto key = mixed(mixed(reinterpret_cast<std::uintptr_t>(p.file), p.line),
                               static_cast<std::uint64_t>(order) << 8 |
                                   static_cast<std::uint64_t>(what.front() + what.back()));
        if (recorded_.insert(key).second) operations_.push_back({p.file, p.line, what, order});
        return {{}, false, order};
    }
    /// The single edits of what was seen, where the path of the source has `part` in it: each
    /// order a step weaker, each store, fence and wake removed.
    [[nodiscard]] std::vector<mutant> mutants(std::string_view part) const {
        std::vector<mutant> all;
        using enum std::memory_order;
        for (const auto& o : operations_) {
            if (o.file.find(part) == o.file.npos) continue;
            const auto to = [&](std::memory_order weaker) { all.push_back({o, false, weaker}); };
            const bool reads = o.what == "load", writes = o.what == "store";
            if (o.order == seq_cst) to(reads ? acquire : writes ? release : acq_rel);
            if (o.order == acq_rel) to(acquire), to(release);
            if (o.order == acquire || o.order == release) to(relaxed);
            if (!reads && o.what != "futex_wait") all.push_back({o, true, o.order});
        }
        return all;
    }

private:
    mutant edit_;
    std::vector<operation> operations_;
    std::unordered_set<std::uint64_t> recorded_;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
