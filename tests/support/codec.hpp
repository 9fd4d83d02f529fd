// SPDX-License-Identifier: MIT
// What tests of codecs do all the time.
#pragma once

#include <parley/codec/codec.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace parley_test {

/// The message of `v`, in memory of exactly its size, so that a sanitizer sees a byte too many.
template <class T>
std::vector<std::byte> encoded(const T& v) {
    std::vector<std::byte> out(parley::codec<T>::size(v));
    parley::codec<T>::encode(v, out);
    return out;
}

/// The same as hexadecimal digits.
inline std::string hex(parley::bytes in) {
    std::string out;
    for (const auto b : in) {
        out += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
        out += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
    }
    return out;
}
template <class T>
std::string encoded_hex(const T& v) {
    return hex(encoded(v));
}

/// Bytes from hexadecimal digits.
inline std::vector<std::byte> from_hex(const std::string& digits) {
    std::vector<std::byte> out;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        out.push_back(static_cast<std::byte>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    return out;
}
template <class T>
parley::result<T> decoded_hex(const std::string& digits) {
    const auto message = from_hex(digits);
    return parley::codec<T>::decode(message);
}

/// True if every shorter message and one longer by a byte are refused as corrupt.
template <class T>
bool refuses_other_lengths(const std::vector<std::byte>& message) {
    for (std::size_t n = 0; n < message.size(); ++n) {
        const std::vector<std::byte> shorter(message.data(), message.data() + n);
        if (parley::codec<T>::decode(shorter).error() != parley::errc::corrupt) return false;
    }
    auto longer = message;
    longer.push_back({});
    return parley::codec<T>::decode(longer).error() == parley::errc::corrupt;
}

}  // namespace parley_test
