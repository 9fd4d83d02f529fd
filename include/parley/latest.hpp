// SPDX-License-Identifier: MIT
// State in shared memory: the newest value of one writer, for any number of readers.
#pragma once

#include <parley/channel.hpp>
#include <parley/transport/latest_value.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace parley {
inline namespace v1 {

/// Writes a value that others read: each write replaces the one before.
///
///     auto pose = parley::open_latest_writer<position>(parley::shm{"pose"}).value();
///     pose.write({x, y, z}).value();
///
/// One writer at a time, any number of readers. The segment lives as long as any of them: a writer
/// that comes back finds its readers and goes on. The value is as large as T; of types whose
/// length varies it takes up to ?capacity_bytes=, four times.
///
/// Thread safety: distinct ends are independent; one is used by one thread at a time. It belongs to
/// the process that opened it; in a child forked later it is closed.
/// Blocking: never, whatever readers do: a write is a copy, and a system call if a reader sleeps.
/// Errors: message_too_large; closed. Of open: in_use (another writer lives), incompatible (readers
/// of another type live there, or a topic or channel of that name), denied, out_of_resources,
/// invalid_argument, corrupt (the file is no segment; it is left alone).
template <class T>
class latest_writer {
public:
    using value_type = T;

    explicit latest_writer(sender<T, detail::latest_value> out) noexcept : out_(std::move(out)) {}

    [[nodiscard]] result<void> write(const T& value) { return out_.try_send(value); }
    /// How many values were written so far, by all writers of the segment.
    [[nodiscard]] std::uint64_t version() { return out_.end().version(); }
    /// Tells readers that this writer is done. The last value stays as long as one of them lives.
    result<void> close() { return out_.close(expired); }

    [[nodiscard]] const diagnostics& why() const { return out_.why(); }
    [[nodiscard]] uri address() const { return out_.address(); }

private:
    sender<T, detail::latest_value> out_;
};

/// Reads what a latest_writer writes: always a whole value, and the newest.
///
///     auto pose = parley::open_latest_reader<position>(parley::shm{"pose"}).value();
///     position p = pose.read().value();            // as it is now
///     while (auto q = pose.read_newer()) use(*q);  // each time it has changed
///
/// Thread safety and processes: as latest_writer.
///
/// Blocking: `read` waits until there is any value at all; `read_newer` for one that was not read
/// yet; both until the deadline. `try_read` and `try_read_newer` never wait. A reader starts its
/// copy again when several writes overtook it.
///
/// Errors: would_block (try), timed_out; of read_newer closed or peer_lost, once, when the writer
/// has gone (the death within 50 ms of waiting; call again to wait for another writer); `read` goes
/// on giving the last value. corrupt: the writer wrote what is no value of T. Of open: as of
/// latest_writer, and timed_out: no writer came.
template <class T>
class latest_reader {
    static_assert(!codec<T>::borrows, "parley: a latest value is copied: T owns what it has");

public:
    using value_type = T;

    explicit latest_reader(receiver<T, detail::latest_value> in) noexcept : in_(std::move(in)) {}

    /// The value as it is now.
    [[nodiscard]] result<T> read(deadline d = never) {
        for (;;) {
            {
                const auto v = in_.end().current();
                if (v) return codec<T>::decode(v->bytes());
                if (v.error() != errc::would_block || d.is_try()) return v.error();
            }
            if (auto w = in_.end().wait(d.at()); !w) return w.error();
            // There is a value, or the writer has gone without one: its end is told.
            auto newer = in_.try_receive();
            if (newer || newer.error() != errc::would_block) return newer;
        }
    }
    [[nodiscard]] result<T> try_read() { return read(expired); }
    /// The value, once it is another than was read last.
    [[nodiscard]] result<T> read_newer(deadline d = never) { return in_.receive(d); }
    [[nodiscard]] result<T> try_read_newer() { return in_.try_receive(); }

    /// The number of the value that was read last: how often it had been written.
    [[nodiscard]] std::uint64_t version() { return in_.end().version(); }
    /// How many values were replaced before they were read, since the first read.
    [[nodiscard]] std::uint64_t skipped() const { return in_.lost(); }
    /// How many writers died so far.
    [[nodiscard]] std::uint64_t peers_lost() const { return in_.peers_lost(); }
    result<void> close() { return in_.close(expired); }

    [[nodiscard]] const diagnostics& why() const { return in_.why(); }
    [[nodiscard]] uri address() const { return in_.address(); }

private:
    receiver<T, detail::latest_value> in_;
};

/// Opens the writer of the value at `at`, and with it creates it, if nobody is there.
template <class T>
[[nodiscard]] result<latest_writer<T>> open_latest_writer(const shm& at, deadline d = never,
                                                          diagnostics* why = nullptr) {
    constexpr bool fixed = codec<T>::in_place;
    auto out = open_sender<T>(
        detail::latest_value{at, fixed ? sizeof(T) : at.with.capacity_bytes - 8}, d, why);
    if (!out) return out.error();
    return latest_writer<T>(std::move(*out));
}
/// Opens a reader, waiting for a writer until the deadline.
template <class T>
[[nodiscard]] result<latest_reader<T>> open_latest_reader(const shm& at, deadline d = never,
                                                          diagnostics* why = nullptr) {
    auto in = open_receiver<T>(detail::latest_value{at}, d, why);
    if (!in) return in.error();
    return latest_reader<T>(std::move(*in));
}

/// The same by URI, `shm://pose`.
template <class T>
[[nodiscard]] result<latest_writer<T>> open_latest_writer(const uri& at, deadline d = never,
                                                          diagnostics* why = nullptr) {
    diagnostics unasked;
    auto address = detail::topic_address(at, why != nullptr ? *why : unasked);
    if (!address) return address.error();
    return open_latest_writer<T>(*address, d, why);
}
template <class T>
[[nodiscard]] result<latest_reader<T>> open_latest_reader(const uri& at, deadline d = never,
                                                          diagnostics* why = nullptr) {
    diagnostics unasked;
    auto address = detail::topic_address(at, why != nullptr ? *why : unasked);
    if (!address) return address.error();
    return open_latest_reader<T>(*address, d, why);
}

}  // namespace v1
}  // namespace parley
