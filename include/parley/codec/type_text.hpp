// SPDX-License-Identifier: MIT
// The text that stands for a message type: hashed as a whole, kept as far as people can read it.
#pragma once

#include <parley/base/type.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace detail {

/// Collects the canonical text of a type at compile time. The fingerprint is FNV-1a with 64 bits
/// (Fowler, Noll, Vo 1991) over every byte of it; the description is the text itself, its end
/// replaced by an ellipsis if it is long. Neither ever holds a compiler's spelling of a name.
class type_text {
public:
    constexpr type_text& put(std::string_view words) {
        for (const char c : words) {
            hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
            if (size_ < capacity) {
                text_[size_++] = c;
            } else {
                cut_ = true;
            }
        }
        return *this;
    }
    constexpr type_text& put(std::uint64_t number) {
        char digits[20] = {};
        std::size_t first = sizeof digits;
        do {
            digits[--first] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        return put({digits + first, sizeof digits - first});
    }
    constexpr type_text& put_hex(std::uint64_t number) {
        for (int shift = 60; shift >= 0; shift -= 4) {
            const char digit = "0123456789abcdef"[(number >> shift) & 15];
            put({&digit, 1});
        }
        return *this;
    }
    /// Ends the text.
    constexpr type_text& finish() {
        if (cut_) {
            for (const char c : {'\xe2', '\x80', '\xa6'}) text_[size_++] = c;
        }
        return *this;
    }

    /// Never 0, which means "any type".
    [[nodiscard]] constexpr std::uint64_t fingerprint() const { return hash_ == 0 ? 1 : hash_; }
    [[nodiscard]] constexpr std::string_view words() const { return {text_, size_}; }

private:
    static constexpr std::size_t capacity = 237;

    char text_[capacity + 3] = {};  // three more for the ellipsis
    std::size_t size_ = 0;
    std::uint64_t hash_ = 0xcbf29ce484222325ULL;
    bool cut_ = false;
};

}  // namespace detail

/// A message type that its author names: for a `codec` written by hand, whose layout nobody else
/// can see. Change the words whenever the layout changes: `named_type("picture, version 2")`.
/// `words` must have static storage.
[[nodiscard]] constexpr message_type named_type(std::string_view words, std::size_t alignment = 1) {
    return {detail::type_text().put("named ").put(words).fingerprint(), words, alignment};
}

}  // namespace v1
}  // namespace parley
