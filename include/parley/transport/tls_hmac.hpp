// SPDX-License-Identifier: MIT
// Keyed sums over bytes, by OpenSSL.
#pragma once

#include <parley/base/bytes.hpp>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstddef>
#include <new>

namespace parley {
inline namespace v1 {
namespace detail {

using hmac_sum = std::array<std::byte, 32>;

/// HMAC-SHA-256 (RFC 2104).
[[nodiscard]] inline hmac_sum hmac_sha256(bytes key, bytes of) {
    hmac_sum sum{};
    unsigned n = 0;
    const auto* text = reinterpret_cast<const unsigned char*>(of.data());
    auto* to = reinterpret_cast<unsigned char*>(sum.data());
    // It fails in one way.
    if (::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()), text, of.size(), to, &n) ==
        nullptr) {
        throw std::bad_alloc();
    }
    return sum;
}
/// Compares as many bytes as `a` has, in a time that tells nothing of where they differ.
[[nodiscard]] inline bool same_sum(bytes a, const hmac_sum& b) noexcept {
    return a.size() <= b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
