// SPDX-License-Identifier: MIT
// Text and bytes as messages of their own: the message is what the container holds, no count.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/codec/kind.hpp>
#include <parley/codec/type_text.hpp>

#include <cstddef>
#include <cstring>

namespace parley {
inline namespace v1 {

/// The message is the text or the bytes, and nothing else.
///
/// For std::string and std::string_view the type is "text" (any bytes; nobody checks UTF-8), for
/// std::vector and std::span<const …> of std::byte or unsigned char it is "bytes". Owners and
/// views share a fingerprint, so one end may send a view and the other receive an owner.
/// Thread safety: all functions are pure. Lifetimes: a decoded view looks into `in`. Errors: none.
template <class T>
struct whole {
    using made_by_parley = void;

    static constexpr bool in_place = false;
    static constexpr bool borrows = !detail::resizable<T>;
    static constexpr message_type type =
        detail::plain_kind<T> == detail::kind::text
            ? message_type{detail::type_text().put("text").fingerprint(), "text", 1}
            : message_type{detail::type_text().put("bytes").fingerprint(), "bytes", 1};

    [[nodiscard]] static std::size_t size(const T& v) noexcept { return v.size(); }
    static void encode(const T& v, mutable_bytes out) noexcept {
        if (!out.empty()) std::memcpy(out.data(), v.data(), out.size());
    }
    [[nodiscard]] static bytes bytes_of(const T& v) noexcept {
        return {reinterpret_cast<const std::byte*>(v.data()), v.size()};
    }
    [[nodiscard]] static result<T> decode(bytes in) {
        using element = typename T::value_type;
        const auto* first = reinterpret_cast<const element*>(in.data());
        if constexpr (borrows) {
            return T(first, in.size());
        } else {
            if (in.size() > T().max_size()) return errc::corrupt;
            return T(first, first + in.size());
        }
    }
};

}  // namespace v1
}  // namespace parley
