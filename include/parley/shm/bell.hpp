// SPDX-License-Identifier: MIT
// The bell of one end of a segment: a socket, as in doorbell.hpp, or a real-time signal. Whoever
// sleeps on a signal has claimed a number and says which in its page; a ringer sends it with
// pidfd_send_signal(2) in the way of kill(2), which needs no place in the queue of signals, so a
// queue that is full loses no ring.
#pragma once

#include <parley/detail/signal_numbers.hpp>
#include <parley/detail/signal_post.hpp>
#include <parley/shm/doorbell.hpp>

#include <cstdint>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Where a signal rings. The lock says that the PID still means that process.
struct signal_address {
    std::uint32_t number = 0;  ///< 0: it sleeps on a socket
    std::uint32_t pid = 0;
    int file = -1;
    off_t lock = 0;
};

class lane_bell {
public:
    using name = socket_bell::name;

    /// From now on this end sleeps on a signal. Errors: as claimed_signals::claim.
    [[nodiscard]] result<std::uint32_t> claim_signal(diagnostics& why) {
        auto own = claimed_signals::claim(1, why);
        if (!own) return own.error();
        own_ = std::move(*own);
        descriptor_ = signal_descriptor(own_.mask());
        if (!descriptor_) return why.fail(last_error(), explain("making a signalfd", errno));
        return static_cast<std::uint32_t>(own_.number());
    }
    [[nodiscard]] bool is_signal() const noexcept { return own_.mask() != 0; }

    [[nodiscard]] int get() const noexcept {
        return is_signal() ? descriptor_.get() : socket_.get();
    }
    result<void> listen(const name& n) noexcept {
        return is_signal() ? result<void>() : socket_.listen(n);
    }
    /// Rings at `n`, or at the signal there. False if nobody listens there.
    bool ring(const name& n, const signal_address& to) noexcept {
        if (to.number == 0) return socket_.ring(n);
        // What the other side wrote is input: a number that is no real-time one would be a weapon.
        if (static_cast<int>(to.number) < SIGRTMIN || static_cast<int>(to.number) > SIGRTMAX) {
            return false;
        }
        if (!peer_ || to.pid != peer_pid_ || n.lane != peer_name_.lane ||
            n.claim != peer_name_.claim) {
            peer_ = pidfd_vouched_for(to.pid, [&] { return is_locked(to.file, to.lock); });
            peer_name_ = n;
            peer_pid_ = to.pid;
        }
        return peer_ && ::syscall(SYS_pidfd_send_signal, peer_.get(), static_cast<int>(to.number),
                                  nullptr, 0) == 0;
    }
    void drain() noexcept { is_signal() ? drop_signals(own_.mask()) : socket_.drain(); }
    /// Sleeps on the signal until it rings, or for so long.
    void sleep(duration at_most) noexcept {
        (void)wait_for(descriptor_.get(), POLLIN, clock::now() + at_most);
    }
    void reset() noexcept {
        socket_.reset();
        descriptor_.reset();
        peer_.reset();
        own_.release();
    }

private:
    socket_bell socket_;
    claimed_signals own_;
    unique_fd descriptor_;
    unique_fd peer_;  // whom it rang last
    name peer_name_;
    std::uint32_t peer_pid_ = 0;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
