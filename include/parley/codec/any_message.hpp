// SPDX-License-Identifier: MIT
// Messages of any type, as the bytes they are: for recorders and tools.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/codec/codec.hpp>
#include <parley/detail/later.hpp>

#include <concepts>

namespace parley {
inline namespace v1 {

/// A message whatever its type, looked at and not understood. A receiver of it refuses no sender.
///
///     auto in = parley::open_receiver<parley::any_message>(at).value();
///     while (auto m = in.borrow()) record((*m)->payload);
///
/// There is no sender of it: a message has a type. Lifetimes: `payload` lies where the message
/// lies and is gone with what `borrow` returned. Errors of decoding: none.
struct any_message {
    bytes payload;
};

template <>
struct codec<any_message> {
    static constexpr message_type type = any_type;
    static constexpr bool in_place = false;
    static constexpr bool borrows = true;
    // A template, so that only recorders compile it.
    template <std::same_as<bytes> Bytes>
    [[nodiscard]] static result<detail::later<any_message, Bytes>> decode(Bytes in) noexcept {
        return any_message{in};
    }
};

}  // namespace v1
}  // namespace parley
