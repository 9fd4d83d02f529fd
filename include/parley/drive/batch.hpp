// SPDX-License-Identifier: MIT
// Many messages in one call. What is done is told by a number; what ended it, by the next call.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/codec/codec.hpp>
#include <parley/drive/blocking.hpp>
#include <parley/transport/transport.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

namespace parley {
inline namespace v1 {
namespace drive {

/// Sends all messages of `each` bytes from where they lie, waiting for room. How many were sent:
/// not all if the deadline passed or something went wrong, which the next call says; an error if
/// none was.
template <batching_sink S>
[[nodiscard]] result<std::size_t> send_many(S& s, bytes all, std::size_t each, deadline& d) {
    std::size_t done = 0;
    while (done < all.size()) {
        const auto n = s.send_many_from(all.subspan(done), each);
        if (n) {
            done += *n * each;
            continue;
        }
        error_code ec = n.error();
        if (ec == errc::would_block && !d.is_try()) {
            const auto w = s.wait(d.at());
            if (w) continue;
            ec = w.error();
        }
        if (done == 0) return ec;
        break;
    }
    return done / each;
}

/// Sends all values one by one, and pushes them on together. Result as send_many.
template <class T, sink S>
[[nodiscard]] result<std::size_t> send_each(S& s, std::span<const T> values, deadline& d) {
    std::size_t sent = 0;
    error_code wrong;
    for (; sent < values.size(); ++sent) {
        const std::size_t n = codec<T>::size(values[sent]);
        if (n == unencodable) wrong = errc::message_too_large;
        if (wrong) break;
        auto l = drive::loan(s, n, d);
        if (!l) wrong = l.error();
        if (wrong) break;
        codec<T>::encode(values[sent], l->bytes());
        if (auto r = s.try_commit(std::move(*l)); !r) wrong = r.error();
        if (wrong) break;
    }
    if (sent == 0 && wrong) return wrong;
    // They are the transport's: that they lie here for a while is no error.
    if (sent != 0) (void)s.flush(queueing_sink<S> || d.is_try() ? expired : d.at());
    return sent;
}

/// The next messages into `into`: waits for the first, then takes what is there. How many.
/// `put_off` is what ended the batch before, and then what ended this one.
/// Where views cost nothing all are kept until the last is there, and go from the last to the
/// first: so a lane has all of them in hand, or none.
template <class T, source S>
[[nodiscard]] result<std::size_t> receive_each(S& s, std::span<T> into, error_code& put_off,
                                               deadline& d) {
    std::optional<typename S::view> kept[in_memory<S> ? 16 : 1];
    const std::size_t most = s.limits().borrows_max;
    const std::size_t keep = most < std::size(kept) ? most : std::size(kept);
    std::size_t n = 0;
    error_code ec = std::exchange(put_off, error_code());
    while (!ec && n < into.size() && (n < keep || keep == 1)) {
        auto m = n == 0 ? drive::receive(s, d) : s.try_receive();
        if (!m) {
            ec = m.error();
            break;
        }
        auto& view = kept[keep == 1 ? 0 : n];
        view.emplace(std::move(*m));
        auto value = codec<T>::decode(view->bytes());
        if (keep == 1) view.reset();
        if (value) {
            into[n++] = std::move(*value);
        } else {
            ec = value.error();
        }
    }
    if (n == 0) return ec;
    if (ec != errc::would_block) put_off = ec;
    return n;
}

}  // namespace drive
}  // namespace v1
}  // namespace parley
