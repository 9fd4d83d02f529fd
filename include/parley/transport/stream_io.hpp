// SPDX-License-Identifier: MIT
// What a stream sink may ask of the descriptor that it writes to, where it can more than write.
#pragma once

#include <parley/detail/posix.hpp>

#include <poll.h>
#include <sys/types.h>

#include <concepts>
#include <cstddef>

namespace parley {
inline namespace v1 {
namespace detail {

/// An `Io` that writes two parts behind one another in one call.
template <class Io>
concept writes_two_parts = requires(Io io, const std::byte* at, std::size_t n) {
    { io.write(at, n, at, n, true) } -> std::same_as<ssize_t>;
};

/// What poll says of an Io's descriptor when it has room: mostly POLLOUT.
template <class Io>
[[nodiscard]] consteval short event_of_room() {
    if constexpr (requires { Io::event_of_room; }) return Io::event_of_room;
    return POLLOUT;
}

/// How many bytes before those that it is to write an Io may overwrite, to put something in front
/// of them: room of the buffer, or what was written before.
template <class Io>
[[nodiscard]] consteval std::size_t bytes_in_front() {
    if constexpr (requires { Io::bytes_in_front; }) return Io::bytes_in_front;
    return 0;
}

/// An `Io` that at times has to read before it can write: awaits() is what poll is to wait for.
template <class Io>
concept awaits_events = requires(const Io io) {
    { io.awaits() } -> std::same_as<short>;
};
/// What poll is to wait for now, until an Io takes something.
template <class Io>
[[nodiscard]] short awaited_event(const Io& io) noexcept {
    if constexpr (awaits_events<Io>) {
        return io.awaits();
    } else {
        return event_of_room<Io>();
    }
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
