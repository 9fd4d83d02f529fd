// SPDX-License-Identifier: MIT
// Why a receiver hung up on a connected socket: what sockets of every family tell their senders.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/type.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/frame.hpp>

#include <sys/socket.h>

namespace parley {
inline namespace v1 {
namespace detail {

/// What a receiver that hung up left to read, n bytes of it: its hello, if it refused this sender's
/// type.
[[nodiscard]] inline error_code why_hung_up(const std::byte* answer, ssize_t n,
                                            const message_type& own, diagnostics& why) {
    frame::hello h;
    const bool answered =
        n > static_cast<ssize_t>(frame::header_bytes) &&
        answer[4] == static_cast<std::byte>(frame::kind::hello) &&
        frame::read_hello(bytes(answer, static_cast<std::size_t>(n)).subspan(frame::header_bytes),
                          h);
    if (answered && h.what == frame::answer::denied) {
        return why.fail(errc::denied, std::string(frame::denied_words));
    }
    if (answered && !accepts({h.fingerprint, h.description}, own.fingerprint)) {
        return why.fail(errc::incompatible, type_mismatch(h.description, own.description));
    }
    if (answered) {
        return why.fail(errc::peer_lost,
                        "the receiver hung up on this sender, whose frames it does not take: is "
                        "its message_bytes_max smaller than a message of this sender?");
    }
    return why.fail(errc::peer_lost,
                    "the receiver is gone: it died or closed; what it had not taken is lost");
}
[[nodiscard]] inline error_code why_hung_up(int fd, const message_type& own, diagnostics& why) {
    std::byte answer[frame::hello_bytes_max];
    const auto look = [&] {
        return retried([&] { return ::recv(fd, answer, sizeof answer, MSG_DONTWAIT); });
    };
    auto n = look();
    // A socket of packets first reports, once, that its peer left something unread.
    if (n < 0 && errno == ECONNRESET) n = look();
    return why_hung_up(answer, n, own, why);
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
