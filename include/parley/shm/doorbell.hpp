// SPDX-License-Identifier: MIT
// Waking a sleeper on the other side of shared memory, and only a sleeper.
//
// Two words, each written by one side only, so that either page can be mapped read-only by the
// other: `asleep` belongs to the sleeper, `bell` (a futex) to whoever rings.
//
//   sleeper                                     ringer
//     seen = bell                                 publish the message            (seq_cst)
//     asleep = seen | sleeping       (seq_cst)    a = asleep                     (seq_cst)
//     look again for messages        (seq_cst)    if sleeping: bell: seen -> seen + 1, wake
//     futex_wait(bell, seen)
//     asleep = 0
//
// The four seq_cst operations have one order: either the sleeper's second look finds the message,
// or the ringer finds the sleeper. Of many ringers one changes `bell` and makes the system call.
//
// A seq_cst store waits until all stores before it have left the processor, which costs more than
// a small message. So a sleeper that has been busy for a while says `rushing` in `asleep`: to it
// one publishes with a plain release store, and it pays for the order itself when it lies down, by
// a fence in every processor (Atomics::heavy_fence; the asymmetric fences of P1202). Where rushes
// are short, as with one message at a time, nobody says so, and nobody makes that system call.
// A sleeper that wants a descriptor says so in `asleep`, and the ringer sends an empty datagram to
// a socket in the abstract namespace: it vanishes with the sleeper, whatever kills it.
#pragma once

#include <parley/detail/atomics.hpp>
#include <parley/detail/posix.hpp>

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

inline constexpr std::uint64_t asleep_on_futex = std::uint64_t{1} << 32;
inline constexpr std::uint64_t asleep_on_bell = std::uint64_t{1} << 33;
inline constexpr std::uint64_t rushing = std::uint64_t{1} << 34;
/// After so many messages without sleep a side is in a rush.
inline constexpr unsigned rush_after = 256;

/// The sleeper's side: what it writes, and the bell it watches.
template <class Atomics>
struct sleeper {
    std::uint64_t& asleep;
    const std::uint32_t& bell;

    /// Says that this side is about to sleep. Look again for work before you do.
    [[nodiscard]] std::uint32_t lie_down(std::uint64_t how) noexcept {
        const bool rushed = Atomics::load(asleep, std::memory_order_relaxed) == rushing;
        const auto seen = Atomics::load(bell, std::memory_order_relaxed);
        Atomics::store(asleep, how | seen, std::memory_order_seq_cst);  // pairs with publish_to()
        if (rushed) Atomics::heavy_fence();
        return seen;
    }
    /// Only for a side that is enrolled, as who publishes to it must be.
    void rush() noexcept {
        if (Atomics::load(asleep, std::memory_order_relaxed) == rushing) return;
        Atomics::store(asleep, rushing, std::memory_order_relaxed);
    }
    void sleep(std::uint32_t seen, duration at_most) noexcept {
        Atomics::futex_wait(bell, seen, at_most);
    }
    /// Lies down, and sleeps unless `look_again` finds something.
    template <class LookAgain, class Sleep>
    void doze(std::uint64_t how, LookAgain&& look_again, Sleep&& sleep_on) noexcept {
        const auto seen = lie_down(how);
        if (!look_again()) sleep_on(seen);
        get_up();
    }
    void get_up() noexcept { Atomics::store(asleep, std::uint64_t{0}, std::memory_order_relaxed); }
};

/// Publishes a word to a side that may sleep. Returns what to ring for: 0 if it is awake.
/// `enrolled`: this process is.
template <class Atomics>
[[nodiscard, gnu::always_inline]] inline std::uint64_t publish_to(const std::uint64_t& asleep,
                                                                  bool enrolled, std::uint64_t& at,
                                                                  std::uint64_t word) noexcept {
    if (enrolled && Atomics::load(asleep, std::memory_order_relaxed) == rushing) [[likely]] {
        Atomics::store(at, word, std::memory_order_release);
        Atomics::light_fence();  // pairs with the heavy one in lie_down()
        if (Atomics::load(asleep, std::memory_order_relaxed) == rushing) [[likely]]
            return 0;
    }
    Atomics::store(at, word, std::memory_order_seq_cst);  // a second time, or the first
    return Atomics::load(asleep, std::memory_order_seq_cst) & ~rushing;  // pairs with lie_down()
}

/// What came of ringing.
enum class rung : std::uint8_t {
    nobody_asleep,  ///< no system call was made
    woken,          ///< a sleeper was woken
    no_answer,      ///< it says it sleeps, but nobody does, or it was rung before: alive?
};

/// Rings for a sleeper whose `asleep` is `a`. `by_socket` is called if it sleeps on a descriptor.
template <class Atomics, class BySocket>
rung rang(std::uint64_t a, std::uint32_t& bell, BySocket&& by_socket) noexcept {
    if ((a & ~rushing) == 0) return rung::nobody_asleep;
    auto seen = static_cast<std::uint32_t>(a);
    const bool mine = Atomics::compare_exchange(bell, seen, seen + 1, std::memory_order_relaxed);
    if (!mine) return rung::no_answer;
    if ((a & asleep_on_bell) != 0) return by_socket() ? rung::woken : rung::no_answer;
    return Atomics::futex_wake(bell) > 0 ? rung::woken : rung::no_answer;
}
/// Rings if the other side sleeps; to be called after publishing with seq_cst.
template <class Atomics, class BySocket>
rung ring(const std::uint64_t& asleep, std::uint32_t& bell, BySocket&& by_socket) noexcept {
    // Pairs with lie_down().
    return rang<Atomics>(Atomics::load(asleep, std::memory_order_seq_cst), bell, by_socket);
}

/// A bell that a poll can wait for: a datagram socket whose name holds the segment's random number,
/// so only who can read the segment knows it.
class socket_bell {
public:
    /// `lane` is the writer's number, or -1 for the reader.
    struct name {
        std::uint64_t segment = 0;
        int lane = -1;
        std::uint32_t claim = 0;
    };

    [[nodiscard]] int get() const noexcept { return socket_.get(); }
    explicit operator bool() const noexcept { return static_cast<bool>(socket_); }

    /// The sleeper's side.
    result<void> listen(const name& n) noexcept {
        if (auto r = make(); !r) return r;
        sockaddr_un at{};
        const auto length = fill(at, n);
        if (::bind(socket_.get(), reinterpret_cast<sockaddr*>(&at), length) != 0) {
            const auto ec = last_error();
            socket_.reset();
            return ec;
        }
        return {};
    }
    /// Rings at `n`. False if nobody listens there.
    bool ring(const name& n) noexcept {
        if (!socket_ && !make()) return false;
        sockaddr_un at{};
        const auto length = fill(at, n);
        const auto sent = ::sendto(socket_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                                   reinterpret_cast<sockaddr*>(&at), length);
        return sent == 1 || errno == EAGAIN;  // a full queue is rung already
    }
    /// Takes what was rung, so that the socket polls unreadable.
    void drain() noexcept {
        char c;
        while (::recv(socket_.get(), &c, 1, MSG_DONTWAIT) >= 0) {
        }
    }
    void reset() noexcept { socket_.reset(); }

private:
    result<void> make() noexcept {
        socket_ = unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!socket_) return last_error();
        return {};
    }
    static socklen_t fill(sockaddr_un& at, const name& n) noexcept {
        at.sun_family = AF_UNIX;
        const int text =
            std::snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "parley/%016llx/%d/%u",
                          static_cast<unsigned long long>(n.segment), n.lane, n.claim);
        return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                      static_cast<std::size_t>(text));
    }

    unique_fd socket_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
