// SPDX-License-Identifier: MIT
// The calls of one caller in which more goes to and fro than question and answer.
#pragma once

#include <parley/rpc/frame.hpp>
#include <parley/rpc/remote.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// Talkers by the number of their call. They may come and go while one of them works.
class talkers {
public:
    void join(std::uint64_t id, talker& t) { all_.push_back({id, &t}); }
    void leave(std::uint64_t id) noexcept {
        for (entry& e : all_) {
            if (e.id == id) e.with = nullptr;
        }
        if (!working_) sweep();
    }
    [[nodiscard]] bool contains(std::uint64_t id) const noexcept { return find(id) != nullptr; }
    [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
    /// Lets those work of whom `may(id)` is true.
    template <class May>
    void work(line& to, May may) {
        if (working_) return;
        working_ = true;
        for (std::size_t i = 0; i < all_.size(); ++i) {
            if (all_[i].with != nullptr && may(all_[i].id)) all_[i].with->work(to);
        }
        working_ = false;
        sweep();
    }
    /// A frame for one of them, or for one that has left. False: nobody who speaks this writes it.
    [[nodiscard]] bool on_frame(bytes f) {
        header h;
        if (!h.read(f)) return false;
        talker* const t = find(h.id);
        return t == nullptr || t->on_frame(h, f.subspan(header::bytes));
    }

private:
    struct entry {
        std::uint64_t id;
        talker* with;
    };

    [[nodiscard]] talker* find(std::uint64_t id) const noexcept {
        const auto at = std::find_if(all_.begin(), all_.end(), [id](const entry& e) {
            return e.id == id && e.with != nullptr;
        });
        return at == all_.end() ? nullptr : at->with;
    }
    void sweep() noexcept {
        std::erase_if(all_, [](const entry& e) { return e.with == nullptr; });
    }

    std::vector<entry> all_;
    bool working_ = false;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
