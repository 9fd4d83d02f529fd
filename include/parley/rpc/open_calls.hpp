// SPDX-License-Identifier: MIT
// The calls of one caller that are under way at the server, and what is said in them.
#pragma once

#include <parley/rpc/frame.hpp>
#include <parley/rpc/running.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// Calls that go on after their turn. Frames may come before a call has begun, since its caller
/// does not wait for that: they are kept, up to 64 MiB, which honest callers, who have credit for
/// 256 KiB in each call, do not reach.
class open_calls {
public:
    static constexpr std::size_t early_bytes_max = std::size_t{64} * 1024 * 1024;

    /// False: what came for it before is wrong.
    [[nodiscard]] bool keep(std::uint64_t id, std::unique_ptr<running> call, talk::pump& by) {
        call->begin(id, by);
        bool right = true;
        for (const frame& f : early_) {
            if (f.head.id == id) right = right && call->on_frame(f.head, bytes(f.body));
        }
        drop(id);
        all_.push_back({id, std::move(call)});
        return right;
    }
    /// False: nobody who speaks this writes it. `is_open(id)`: asked, and not answered.
    template <class IsOpen>
    [[nodiscard]] bool on_frame(bytes f, IsOpen is_open) {
        header h;
        if (!h.read(f)) return false;
        const bytes body = f.subspan(header::bytes);
        for (const entry& e : all_) {
            if (e.id == h.id) return e.what->on_frame(h, body);
        }
        if (!is_open(h.id)) return true;  // it was given up, or answered
        early_bytes_ += f.size();
        early_.push_back({h, {body.begin(), body.end()}});
        return early_bytes_ <= early_bytes_max;
    }
    /// Lets them go on that are still open; the others end. `make(id)` makes an answer_sink.
    template <class IsOpen, class Make>
    void go_on(line& to, IsOpen is_open, Make make) {
        for (std::size_t i = 0; i < all_.size(); ++i) {
            if (is_open(all_[i].id)) {
                auto out = make(all_[i].id);
                if (!all_[i].what->go_on(to, out)) continue;
            }
            all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(i--));
        }
    }
    /// Sends what one of them has to send.
    void work(std::uint64_t id, line& to) {
        for (const entry& e : all_) {
            if (e.id == id) e.what->work(to);
        }
    }
    /// Forgets what came for a call that is none of these.
    void drop(std::uint64_t id) {
        if (early_.empty()) return;
        std::erase_if(early_, [&](const frame& f) {
            if (f.head.id != id) return false;
            early_bytes_ -= f.body.size() + header::bytes;
            return true;
        });
    }
    [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }

private:
    struct entry {
        std::uint64_t id;
        std::unique_ptr<running> what;
    };
    struct frame {
        header head;
        std::vector<std::byte> body;
    };

    std::vector<entry> all_;
    std::vector<frame> early_;
    std::size_t early_bytes_ = 0;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
