// SPDX-License-Identifier: MIT
// A copy past the caches: of what the copying processor will not look at again.
#pragma once

#include <parley/base/bytes.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace parley {
inline namespace v1 {
namespace detail {

#if defined(__SSE2__)
// By the compiler's own words: <emmintrin.h> costs whoever includes this as much as a small header.
using sixteen_bytes = long long __attribute__((vector_size(16)));
[[gnu::always_inline]] inline void stream_sixteen(std::byte* to, const std::byte* from) noexcept {
    sixteen_bytes part;
    std::memcpy(&part, from, sizeof part);
#if defined(__clang__)
    __builtin_nontemporal_store(part, reinterpret_cast<sixteen_bytes*>(to));
#else
    __builtin_ia32_movntdq(reinterpret_cast<sixteen_bytes*>(to), part);
#endif
}
#endif

/// Copies m to `to` by stores that do not read the lines they fill and leave none of them in this
/// processor's caches. They are weakly ordered: a fence at the end puts them before whatever is
/// stored next. Where there are none it is memcpy.
inline void streaming_copy(std::byte* to, bytes m) noexcept {
    if (m.empty()) return;
    const std::byte* from = m.data();
    std::size_t n = m.size();
#if defined(__SSE2__)
    if (const std::size_t odd = -reinterpret_cast<std::uintptr_t>(to) & 63; odd != 0) {
        const std::size_t head = odd < n ? odd : n;
        std::memcpy(to, from, head);
        to += head, from += head, n -= head;
    }
    for (; n >= 64; n -= 64, to += 64, from += 64) {
        for (std::size_t i = 0; i < 64; i += 16) stream_sixteen(to + i, from + i);
    }
    __builtin_ia32_sfence();
#endif
    std::memcpy(to, from, n);
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
