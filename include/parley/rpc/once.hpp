// SPDX-License-Identifier: MIT
// What was answered already: calls that are sent again run once.
//
// The design is RIFL's (Lee et al., SOSP 2015): a caller numbers its calls, tells with each the
// first that it has no answer to yet, and whose answers before are forgotten; a caller that is
// silent for the length of a lease is forgotten as a whole, and does not ask again after half of
// it.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// What goes before the arguments of such a call.
///
///   byte    0              8              16              24                 32
///           +--------------+--------------+---------------+------------------+
///           | server u64   | caller u64   | sequence u64  | first open u64   |
///           +--------------+--------------+---------------+------------------+
struct once_header {
    static constexpr std::size_t bytes = 32;

    std::uint64_t server = 0, caller = 0, sequence = 0, first_open = 0;

    void write(std::byte* to) const noexcept {
        store_le(to, server);
        store_le(to + 8, caller);
        store_le(to + 16, sequence);
        store_le(to + 24, first_open);
    }
    [[nodiscard]] bool read(parley::bytes from) noexcept {
        if (from.size() < bytes) return false;
        server = load_le<std::uint64_t>(from.data());
        caller = load_le<std::uint64_t>(from.data() + 8);
        sequence = load_le<std::uint64_t>(from.data() + 16);
        first_open = load_le<std::uint64_t>(from.data() + 24);
        return first_open <= sequence;
    }
};

/// The answers of one server, by caller and number.
///
///     switch (seen.begin(h, now)) {
///         case answers::fresh: run it; seen.keep(h, answer); break;
///         case answers::answered: send *seen.find(h) again; …
///
/// Bounds: `callers_max` callers with `open_max` answers each; more are refused, not forgotten.
class answers {
public:
    enum class verdict : std::uint8_t {
        fresh,     ///< run it, then keep the answer
        answered,  ///< find() has the answer
        over,      ///< its caller said that it had the answer: nobody can wait for it
        full,      ///< no room for another caller, or for another open call of this one
    };
    static constexpr std::size_t callers_max = 4096, open_max = 4096;
    static constexpr duration lease = std::chrono::minutes(10);

    [[nodiscard]] verdict begin(const once_header& h, time_point now) {
        auto at = callers_.find(h.caller);
        if (at == callers_.end()) {
            if (callers_.size() >= callers_max) forget_silent(now);
            if (callers_.size() >= callers_max) return verdict::full;
            at = callers_.emplace(h.caller, caller{}).first;
        }
        caller& c = at->second;
        c.heard = now;
        if (h.first_open > c.first_open) {
            c.first_open = h.first_open;
            c.answered.erase(c.answered.begin(), c.answered.lower_bound(h.first_open));
        }
        if (h.sequence < c.first_open) return verdict::over;
        if (c.answered.contains(h.sequence)) return verdict::answered;
        return c.answered.size() < open_max ? verdict::fresh : verdict::full;
    }
    void keep(const once_header& h, bytes answer) {
        const auto at = callers_.find(h.caller);
        if (at == callers_.end() || h.sequence < at->second.first_open) return;
        at->second.answered[h.sequence].assign(answer.begin(), answer.end());
    }
    [[nodiscard]] std::optional<bytes> find(const once_header& h) const {
        const auto at = callers_.find(h.caller);
        if (at == callers_.end()) return std::nullopt;
        const auto found = at->second.answered.find(h.sequence);
        if (found == at->second.answered.end()) return std::nullopt;
        return bytes(found->second);
    }
    [[nodiscard]] std::size_t callers() const noexcept { return callers_.size(); }

private:
    struct caller {
        time_point heard{};
        std::uint64_t first_open = 0;
        std::map<std::uint64_t, std::vector<std::byte>> answered;
    };

    void forget_silent(time_point now) {
        std::erase_if(callers_, [&](const auto& c) { return now - c.second.heard >= lease; });
    }

    std::map<std::uint64_t, caller> callers_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
