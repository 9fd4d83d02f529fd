// SPDX-License-Identifier: MIT
// Writing chunks into a named pipe that many share.
//
//   byte   0        4        8                16
//          +--------+--------+----------------+------------------- - -
//   chunk  | magic  | length | writer         | length bytes of the writer's frames
//          | u32    | u32    | u64            |
//          +--------+--------+----------------+------------------- - -
//
// All numbers are little-endian. A chunk is at most PIPE_BUF long, so the kernel writes it whole
// or not at all; what one writer's chunks hold, one behind the other, are frames as in frame.hpp.
#pragma once

#include <parley/transport/fifo_name.hpp>
#include <parley/transport/frame.hpp>

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {
namespace fifo_chunk {

inline constexpr std::size_t header_bytes = 16;
inline constexpr std::size_t payload_bytes_max = PIPE_BUF - header_bytes;
inline constexpr std::uint32_t magic = 0x43465950;  // "PYFC"

}  // namespace fifo_chunk

/// Writes chunks. The descriptor never blocks; a send that may waits in poll(2).
class fifo_writer {
public:
    fifo_writer(unique_fd fd, std::uint64_t number, std::string path)
        : fd_(std::move(fd)), number_(number), path_(std::move(path)) {}

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }

    /// For the header of each chunk.
    static constexpr std::size_t bytes_in_front = fifo_chunk::header_bytes;

    ssize_t write(std::byte* from, std::size_t n, bool may_block) noexcept {
        // Only a look tells that the receiver refused this writer; it comes after 1, 2, 4, … calls
        // and before the goodbye.
        const bool goodbye =
            n == frame::header_bytes && from[4] == static_cast<std::byte>(frame::kind::end);
        if (is_power_of_two(++written_) || goodbye) {
            refused_ = fifo_lock::held(fd_.get(), fifo_lock::marks + number_);
            if (refused_) return errno = EPIPE, -1;
        }
        if (n <= fifo_chunk::payload_bytes_max && write_chunk(from, n)) [[likely]]
            return static_cast<ssize_t>(n);
        return write_chunks(from, n, may_block);
    }
    error_code verdict(const message_type&, diagnostics& why) const {
        if (refused_) {
            return why.fail(errc::peer_lost,
                            "the receiver refused this sender: it takes another type, or no "
                            "messages of that length; its why() says which");
        }
        remove_fifo_if_dead(path_);
        return why.fail(errc::peer_lost,
                        "the receiver is gone: it died or closed; what it had not taken is lost");
    }
    [[nodiscard]] static constexpr bool handed_over() noexcept { return false; }
    static result<int> hand_over() noexcept { return errc::unsupported; }
    void close() noexcept { fd_.reset(); }

private:
    [[nodiscard]] bool write_chunk(std::byte* from, std::size_t n) const noexcept {
        std::byte* const chunk = from - fifo_chunk::header_bytes;
        store_le(chunk, fifo_chunk::magic);
        store_le(chunk + 4, static_cast<std::uint32_t>(n));
        store_le(chunk + 8, number_);
        return ::write(fd_.get(), chunk, fifo_chunk::header_bytes + n) > 0;
    }

    [[gnu::noinline]] ssize_t write_chunks(std::byte* from, std::size_t n,
                                           bool may_block) const noexcept {
        std::size_t done = 0;
        while (done < n) {
            const auto part = std::min(n - done, fifo_chunk::payload_bytes_max);
            if (write_chunk(from + done, part)) {
                done += part;
            } else if (errno == EAGAIN && may_block) {
                (void)wait_for(fd_.get(), POLLOUT, never);
            } else if (errno != EINTR) {
                break;
            }
        }
        return done > 0 ? static_cast<ssize_t>(done) : -1;
    }

    unique_fd fd_;
    std::uint64_t number_;
    std::string path_;
    std::uint64_t written_ = 0;
    bool refused_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
