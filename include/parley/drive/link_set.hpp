// SPDX-License-Identifier: MIT
// The links of one listener, served in one thread: who came, who has something to say, and one wait
// for all of them.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/duplex.hpp>
#include <parley/transport/stream_io.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace drive {

/// A descriptor that is readable when the source, which just said would_block, has something to
/// say. Sockets are asked themselves: what pollable() adds is for what was read ahead.
template <source S>
[[nodiscard]] result<int> descriptor_of(S& s) {
    if constexpr (requires { s.io().descriptor(); }) {
        return s.io().descriptor();
    } else {
        return s.pollable();
    }
}

/// What to poll to learn that a sink that was full may take something.
template <sink S>
[[nodiscard]] pollfd room_of(S& s) {
    if constexpr (requires { s.io().descriptor(); }) {
        return {s.io().descriptor(), parley::detail::awaited_event(s.io()), 0};
    } else {
        const auto fd = s.pollable();
        return {fd ? *fd : -1, POLLIN, 0};
    }
}

/// Waits until the sink may take something, or the source has something to say: timed_out if
/// neither.
template <sink Out, source In>
result<void> wait_for_either(Out& out, In& in, time_point until) {
    const auto readable = descriptor_of(in);
    pollfd fds[] = {{readable ? *readable : -1, POLLIN, 0}, room_of(out)};
    if (fds[0].fd < 0 || fds[1].fd < 0) {
        (void)detail::poll_until(nullptr, 0,
                                 earlier(until, clock::now() + std::chrono::milliseconds(1)));
        return {};
    }
    const auto n = detail::poll_until(fds, 2, until);
    if (!n) return n.error();
    return *n > 0 ? result<void>() : result<void>(errc::timed_out);
}

/// The links that a listener accepted, each with an `Own` beside it. A member that stops being of
/// use is marked `gone` and removed by the next sweep().
template <listener Listener, class Own>
class link_set {
public:
    using link = typename Listener::link;
    struct member {
        link way;
        Own own;
        std::uint64_t number;  ///< of those that were accepted, from 1
        bool ready = true;     ///< may have something to say
        bool wanting = false;  ///< waits for room to write
        bool gone = false;
    };

    explicit link_set(Listener door) : door_(std::move(door)) {}

    [[nodiscard]] Listener& door() noexcept { return door_; }
    [[nodiscard]] std::vector<std::unique_ptr<member>>& all() noexcept { return all_; }
    [[nodiscard]] bool is_empty() const noexcept { return all_.empty(); }

    /// Takes everybody in who is at the door. `make(link&)` makes what is kept beside a link. Who
    /// comes may come in the place of a member whose link was cut: all are asked anew.
    template <class Make>
    result<void> accept(Make make) {
        if (!knock_) return {};
        for (;;) {
            auto came = door_.try_accept();
            if (!came) {
                if (came.error() != errc::would_block) return came.error();
                knock_ = false;
                return {};
            }
            auto own = make(*came);
            for (const auto& m : all_) m->ready = true;
            all_.push_back(
                std::make_unique<member>(member{std::move(*came), std::move(own), ++accepted_}));
        }
    }
    void sweep() {
        std::erase_if(all_, [](const auto& m) { return m->gone; });
    }

    /// Waits until somebody is ready, or comes: timed_out if nobody. Called when nobody is.
    result<void> wait(time_point until) {
        fds_.clear();
        const auto door = door_.pollable();
        polls_door_ = door.has_value();
        if (polls_door_) fds_.push_back({*door, POLLIN, 0});
        if (polls_door_) return wait_for_members(until);
        if (all_.empty()) {
            knock_ = true;
            return door_.wait(until);
        }
        // Nobody is told who comes to such a door: it is looked at now and then.
        auto r = wait_for_members(earlier(until, look_again_));
        const bool look = clock::now() >= look_again_;
        if (look) {
            knock_ = true;
            look_again_ = clock::now() + std::chrono::milliseconds(20);
        }
        return look && !r && r.error() == errc::timed_out ? result<void>() : r;
    }

    /// Whether the door tells by a descriptor that somebody came.
    [[nodiscard]] bool is_pollable() { return door_.pollable().has_value(); }
    /// Adds the door, and every link that was accepted since the last call.
    result<void> watch(detail::readiness& by) {
        if (watched_ == accepted_ && by.made()) return {};
        if (!by.made()) watched_ = 0;
        auto door = door_.pollable();
        if (!door) return door.error();
        if (auto r = by.add(*door, EPOLLIN); !r) return r.error();
        for (const auto& m : all_) {
            if (m->number <= watched_ || m->gone) continue;
            auto in = descriptor_of(m->way.in());
            if (in) in = by.add(*in, EPOLLIN);
            if (!in) return in.error();
        }
        watched_ = accepted_;
        return {};
    }

private:
    result<void> wait_for_members(time_point until) {
        if (all_.size() == 1 && fds_.empty() && !all_[0]->wanting) {
            all_[0]->ready = true;
            return all_[0]->way.in().wait(until);
        }
        const std::size_t first = fds_.size();
        bool blind = false;
        for (const auto& m : all_) {
            // Who is known to have something to say waits for something else.
            auto in = m->ready ? result<int>(-1) : descriptor_of(m->way.in());
            blind = blind || !in;
            fds_.push_back({in ? *in : -1, POLLIN, 0});
            fds_.push_back({-1, POLLIN, 0});
            if (m->wanting) fds_.back() = room_of(m->way.out());
        }
        if (blind) until = earlier(until, clock::now() + std::chrono::milliseconds(1));
        const auto n = detail::poll_until(fds_.data(), fds_.size(), until);
        if (!n) return n.error();
        for (std::size_t i = 0; i < all_.size(); ++i) {
            all_[i]->ready = all_[i]->ready || blind || fds_[first + 2 * i].revents != 0;
        }
        if (first > 0) knock_ = knock_ || fds_[0].revents != 0;
        return *n > 0 || blind ? result<void>() : result<void>(errc::timed_out);
    }

    Listener door_;
    std::vector<std::unique_ptr<member>> all_;
    std::vector<pollfd> fds_;
    std::uint64_t accepted_ = 0, watched_ = 0;
    time_point look_again_{};
    bool knock_ = true;  // somebody may be at the door
    bool polls_door_ = false;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
