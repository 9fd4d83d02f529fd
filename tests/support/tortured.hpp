// SPDX-License-Identifier: MIT
// Messages that tell whether they are whole and which they are, and what processes know of them
// whatever kills those: for tests of what is stored.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/type.hpp>

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace parley_test {

inline constexpr parley::message_type tortured_type{0x7071, "tortured", 8};

/// What the processes of a torture tell each other, whatever kills them.
struct board {
    std::uint64_t begun;     // messages that a sender began to send, ever
    std::uint64_t sent;      // messages whose send succeeded; after a loss of power: was synced
    std::uint64_t received;  // messages that a receiver has seen
    std::uint64_t wrong;
};
class shared_board {
public:
    shared_board()
        : at_(static_cast<board*>(::mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE,
                                         MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
    shared_board(const shared_board&) = delete;
    shared_board& operator=(const shared_board&) = delete;
    ~shared_board() { ::munmap(at_, sizeof(board)); }
    board* operator->() const noexcept { return at_; }

private:
    board* at_;
};

inline std::size_t length_of(std::uint64_t i) {
    return 8 + i * 2654435761U % (i % 50 == 0 ? 9000 : 200);
}
inline void fill(parley::mutable_bytes to, std::uint64_t i) {
    parley::store_le(to.data(), i);
    for (std::size_t k = 8; k < to.size(); ++k) to[k] = static_cast<std::byte>(i * 31 + k);
}
inline bool holds(parley::bytes b, std::uint64_t i) {
    if (b.size() != length_of(i) || parley::load_le<std::uint64_t>(b.data()) != i) return false;
    for (std::size_t k = 8; k < b.size(); ++k) {
        if (b[k] != static_cast<std::byte>(i * 31 + k)) return false;
    }
    return true;
}

}  // namespace parley_test
