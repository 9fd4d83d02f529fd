// SPDX-License-Identifier: MIT
// Arguments and answers that do not travel in a call but live as long as it does: streams and
// callbacks. Here is only what their types are; stream.hpp and callback.hpp are what they do.
#pragma once

#include <cstddef>

namespace parley {
inline namespace v1 {

template <class T>
class stream;
template <class Signature>
class callback;
template <class R>
class eventual;

namespace rpc {

template <class T>
inline constexpr bool is_stream = false;
template <class T>
inline constexpr bool is_stream<stream<T>> = true;
template <class T>
inline constexpr bool is_callback = false;
template <class S>
inline constexpr bool is_callback<callback<S>> = true;
template <class T>
inline constexpr bool is_live = is_stream<T> || is_callback<T>;
template <class T>
inline constexpr bool is_eventual = false;
template <class R>
inline constexpr bool is_eventual<eventual<R>> = true;

}  // namespace rpc
}  // namespace v1
}  // namespace parley
