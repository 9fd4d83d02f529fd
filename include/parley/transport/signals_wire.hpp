// SPDX-License-Identifier: MIT
// What the ends of signals:// say to each other: the word of a signal, and the receiver's post.
//
//   word (si_errno)   bit 0 … 15     16 … 21     22 … 26     27 … 28
//                    +------------+-----------+-----------+---------+
//                    | sequence   | slot      | length    | kind    |
//                    +------------+-----------+-----------+---------+
//
//   chunk     sender to receiver, on the number of its lane: `length` bytes of its frames
//   (frame.hpp) look      sender to receiver: a slot may belong to a dead sender that never came
//   gone      to the other side: I leave without a goodbye; refused: you are not heard
//   credit    receiver to sender, on the sender's number: every chunk before `sequence` was taken
//
// Of gone, refused and credit the payload is the sender's id, u64: a late signal for a number that
// has a new owner means nothing to that one. A sender has at most `window` chunks under way, so it
// never takes more than its share of the queue, which the kernel bounds for all processes of a user
// together. Sequences are of 16 bits, begin anywhere, and the window is far shorter.
//
//   post, byte  40            48        56        64            72        76       80         112
//              +-------------+---------+---------+-------------+---------+--------+----------+- -
//              -+ | fingerprint | message | window, | writers_max | lanes   | text   | numbers  |
//              text | u64         | max u64 | payload | u64         | u32     | length | 32 u8    |
//              +-------------+---------+---------+-------------+---------+--------+----------+- -
//              -+
//   slot i at byte 2048 + 64 i
//        byte   0          8         12        16           20           24        32
//              +----------+---------+---------+------------+------------+- - - - -+--------------+
//              | id u64   | pid u32 | uid u32 | number u32 | first u32  |         | released u64 |
//              +----------+---------+---------+------------+------------+- - - - -+--------------+
//              written by the sender that has the lock on byte 16 + 2 i; `released` by the
//              receiver: the id that it has done with. A slot is free if both ids are equal and
//              nobody has the lock.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/limits.hpp>
#include <parley/base/type.hpp>
#include <parley/detail/signal_numbers.hpp>
#include <parley/detail/signal_post.hpp>

#include <sys/timerfd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace detail {

/// The word of a signal between two ends.
struct signal_word {
    enum class kind : std::uint8_t { chunk = 0, look = 1, gone = 2, credit = 3 };

    kind what = kind::chunk;
    std::uint16_t sequence = 0;
    std::uint8_t slot = 0;
    std::uint8_t length = 0;

    [[nodiscard]] constexpr std::uint32_t packed() const noexcept {
        return std::uint32_t{sequence} | std::uint32_t{slot} << 16 | std::uint32_t{length} << 22 |
               static_cast<std::uint32_t>(what) << 27;
    }
    [[nodiscard]] static constexpr signal_word of(std::uint32_t w) noexcept {
        return {static_cast<kind>(w >> 27 & 3), static_cast<std::uint16_t>(w),
                static_cast<std::uint8_t>(w >> 16 & 63), static_cast<std::uint8_t>(w >> 22 & 31)};
    }
};

inline constexpr std::size_t signal_slots_max = 64;
inline constexpr std::size_t signal_lanes_max = 16;
/// The `length` of a gone that says: you are refused.
inline constexpr std::uint8_t signal_refusal = 1;

/// What a receiver says of itself in its post.
struct signals_notice {
    std::uint64_t fingerprint = 0;
    std::uint64_t message_bytes_max = 0;
    std::uint32_t window = 0;
    std::uint32_t payload_bytes = 0;
    std::uint64_t writers_max = 0;
    std::uint32_t lanes = 0;
    std::array<std::uint8_t, 32> numbers{};

    static constexpr std::size_t text_at = 112, text_bytes_max = 1024;

    void write(post_page& page, std::string_view description) const noexcept {
        std::byte* const to = page.memory.data();
        store_le(to + 40, fingerprint);
        store_le(to + 48, message_bytes_max);
        store_le(to + 56, window);
        store_le(to + 60, payload_bytes);
        store_le(to + 64, writers_max);
        store_le(to + 72, lanes);
        const auto text = as_bytes(description.substr(0, text_bytes_max));
        store_le(to + 76, static_cast<std::uint32_t>(text.size()));
        std::memcpy(to + 80, numbers.data(), numbers.size());
        std::copy(text.begin(), text.end(), to + text_at);
    }
    /// False if no receiver of parley wrote that.
    [[nodiscard]] bool read(const post_page& page) noexcept {
        const std::byte* const from = page.memory.data();
        fingerprint = load_le<std::uint64_t>(from + 40);
        message_bytes_max = load_le<std::uint64_t>(from + 48);
        window = load_le<std::uint32_t>(from + 56);
        payload_bytes = load_le<std::uint32_t>(from + 60);
        writers_max = load_le<std::uint64_t>(from + 64);
        lanes = load_le<std::uint32_t>(from + 72);
        std::memcpy(numbers.data(), from + 80, numbers.size());
        const bool real_time = std::all_of(numbers.begin(), numbers.begin() + lanes_in_page(),
                                           [](int n) { return n >= SIGRTMIN && n <= SIGRTMAX; });
        return message_bytes_max <= UINT32_MAX && window >= 2 && window <= 4096 &&
               payload_bytes > 0 && payload_bytes <= signal_packet::payload_bytes_max &&
               writers_max > 0 && writers_max <= signal_slots_max && lanes > 0 &&
               lanes <= signal_lanes_max && real_time;
    }
    [[nodiscard]] static std::string_view description(const post_page& page) noexcept {
        const auto n = load_le<std::uint32_t>(page.memory.data() + 76);
        return as_text({page.memory.data() + text_at, std::min<std::size_t>(n, text_bytes_max)});
    }

    /// Of either end.
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = static_cast<std::size_t>(message_bytes_max),
                .writers_max = static_cast<std::size_t>(writers_max),
                .successors = true};
    }

private:
    [[nodiscard]] std::ptrdiff_t lanes_in_page() const noexcept {
        return static_cast<std::ptrdiff_t>(std::min<std::size_t>(lanes, numbers.size()));
    }
};

/// A sender's place in the post.
struct signal_slot {
    static constexpr std::size_t bytes = 64, released_at = 32;

    std::uint64_t id = 0;
    std::uint32_t pid = 0, uid = 0, number = 0, first = 0;
    std::uint64_t released = 0;

    [[nodiscard]] static off_t at(std::size_t i) noexcept {
        return static_cast<off_t>(post_page::bytes + i * bytes);
    }
    [[nodiscard]] bool read(int file, std::size_t i) noexcept {
        std::byte from[bytes];
        if (::pread(file, from, bytes, at(i)) != static_cast<ssize_t>(bytes)) return false;
        id = load_le<std::uint64_t>(from);
        pid = load_le<std::uint32_t>(from + 8);
        uid = load_le<std::uint32_t>(from + 12);
        number = load_le<std::uint32_t>(from + 16);
        first = load_le<std::uint32_t>(from + 20);
        released = load_le<std::uint64_t>(from + released_at);
        return true;
    }
    /// The sender's part.
    [[nodiscard]] bool write(int file, std::size_t i) const noexcept {
        std::byte to[24];
        store_le(to, id);
        store_le(to + 8, pid);
        store_le(to + 12, uid);
        store_le(to + 16, number);
        store_le(to + 20, first);
        return ::pwrite(file, to, sizeof to, at(i)) == static_cast<ssize_t>(sizeof to);
    }
    static void release(int file, std::size_t i, std::uint64_t id) noexcept {
        std::byte to[8];
        store_le(to, id);
        (void)!::pwrite(file, to, sizeof to, at(i) + static_cast<off_t>(released_at));
    }
    /// Queues a word to the sender behind this slot. EAGAIN: its user's queue is full.
    [[nodiscard]] int tell(int pidfd, signal_word w) const noexcept {
        signal_packet p{.number = static_cast<int>(number),
                        .word = w.packed(),
                        .pid = ::getpid(),
                        .uid = ::getuid()};
        store_le(p.payload.data(), id);
        return p.send(pidfd);
    }
    [[nodiscard]] bool taken() const noexcept { return id != released; }
    [[nodiscard]] bool real() const noexcept {
        return number >= static_cast<std::uint32_t>(SIGRTMIN) &&
               number <= static_cast<std::uint32_t>(SIGRTMAX);
    }
};

/// What a receiver owns: its numbers, and the post that tells them.
struct owned_signals {
    claimed_signals numbers;
    unique_fd post;
    std::string path;
};

/// One more look after this long, where the kernel tells nobody: that a queue has room again, that
/// a lock fell.
inline constexpr duration signal_retry = std::chrono::milliseconds(1);
inline constexpr duration signal_liveness = std::chrono::milliseconds(250);

/// The receiver's last word to all who have a slot. Who cannot be told for a while, since the queue
/// is full, sees that the lock fell.
inline void tell_all_gone(int post, std::size_t writers_max) noexcept {
    backoff pause(signal_retry);
    const auto patience = clock::now() + signal_liveness;
    for (std::size_t i = 0; i < writers_max; ++i) {
        const auto holds = [&] { return is_locked(post, writer_lock(i)); };
        signal_slot r;
        if (!holds() || !r.read(post, i) || !r.taken() || !r.real()) continue;
        const auto pidfd = pidfd_vouched_for(r.pid, holds);
        const signal_word w{.what = signal_word::kind::gone, .slot = static_cast<std::uint8_t>(i)};
        while (pidfd && r.tell(pidfd.get(), w) == EAGAIN && pause.sleep(patience)) {
        }
    }
}

/// A clock that rings once, in an epoll set.
class retry_clock {
public:
    result<void> watch_in(readiness& set, std::uint64_t tag) noexcept {
        timer_ = unique_fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
        if (!timer_) return last_error();
        if (auto r = set.add(timer_.get(), EPOLLIN, tag); !r) return r.error();
        return {};
    }
    void set(duration in) noexcept {
        itimerspec t{};
        t.it_value.tv_nsec =
            static_cast<long>(std::chrono::duration_cast<std::chrono::nanoseconds>(in).count());
        ::timerfd_settime(timer_.get(), 0, &t, nullptr);
        running_ = true;
    }
    /// Stops it, rung or not; true if it had rung.
    bool stop() noexcept {
        if (!std::exchange(running_, false)) return false;
        std::uint64_t ticks = 0;
        const bool rung = ::read(timer_.get(), &ticks, sizeof ticks) == sizeof ticks;
        constexpr itimerspec never_again{};
        if (!rung) ::timerfd_settime(timer_.get(), 0, &never_again, nullptr);
        return rung;
    }
    void reset() noexcept { timer_.reset(); }

private:
    unique_fd timer_;
    bool running_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
