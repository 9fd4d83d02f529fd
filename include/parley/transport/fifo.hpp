// SPDX-License-Identifier: MIT
// Named pipes: many senders, one receiver, by a name in the file system.
#pragma once

#include <parley/transport/fifo_name.hpp>
#include <parley/transport/fifo_source.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/transport.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// The address of a named pipe.
///
///     auto in  = parley::open_receiver<tick>(parley::fifo{"/run/app/ticks"}).value();
///     auto out = parley::open_sender<tick>(parley::fifo{"/run/app/ticks"}).value();    // waits
///     parley::fifo{"/run/app/ticks", {.permissions = {.mode = 0620}}};     //
///     fifo:///run/app/ticks?mode=620
///
/// The receiver makes the pipe and removes it on close; one that nobody reads, left by a dead
/// receiver or made by hand, is replaced. Messages travel in chunks of at most PIPE_BUF bytes,
/// which the kernel keeps whole, so several senders share the pipe; it is no faster than a Unix
/// domain socket, which is the better choice where there is one.
///
/// A receiver of another type refuses a sender alone, which sees `peer_lost` at a later send. Who
/// writes other bytes into the pipe spoils it for all: the receiver says `corrupt` and gives up.
///
/// The death of the last sender, and of the receiver, shows at once; that of one among several
/// within 50 ms of waiting, or at the next try_receive after that time.
///
/// Thread safety: as any end, one thread at a time; sender and receiver are independent.
/// Blocking: a send without deadline is a write(2) for each chunk, with poll(2) if there is no
/// room.
/// Errors of open: invalid_argument (the path; no named pipe), not_found (directory), denied
/// (permissions), in_use (a live receiver, or a file that is no pipe), timed_out (nobody receives
/// there), out_of_resources (descriptors), denied (a capacity above the system's limit).
struct fifo {
    struct options {
        /// Of the kernel's buffer, set by the receiver. 0: 256 KiB where the kernel grants it, else
        /// its own default.
        std::size_t capacity_bytes = 0;
        std::size_t message_bytes_max = 64 << 20;  ///< longer messages are refused
        std::size_t writers_max = 1024;            ///< further senders are refused
        parley::permissions permissions = {};      ///< of the pipe; senders need to write

        friend bool operator==(const options&, const options&) = default;
    };

    std::string path;
    options with = {};

    using sink = detail::stream_sink<detail::fifo_writer>;
    using source = detail::fifo_source;

    static constexpr std::string_view scheme = "fifo";

    fifo() = default;
    explicit fifo(std::string at) : path(std::move(at)) {}
    explicit fifo(const char* at) : path(at) {}
    fifo(std::string at, options o) : path(std::move(at)), with(o) {}

    [[nodiscard]] static result<fifo> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    friend bool operator==(const fifo&, const fifo&) = default;

private:
    [[nodiscard]] detail::stream_options stream() const {
        return {with.message_bytes_max, detail::framing::parley, true, {}, with.writers_max};
    }
};

inline result<fifo> fifo::from(const uri& text, diagnostics& why) {
    fifo at;
    uri_reader r(text, why);
    at.path = r.body();
    r.number("capacity_bytes", at.with.capacity_bytes, 4096, std::size_t{1} << 30);
    r.number("message_bytes_max", at.with.message_bytes_max, 1, UINT32_MAX);
    r.number("writers_max", at.with.writers_max, 1, 65536);
    detail::read_permissions(r, at.with.permissions);
    if (at.path.empty()) r.fail_body("wants a path as in fifo:///run/x");
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri fifo::to_uri() const {
    const options usual;
    uri_writer w(scheme, path);
    if (with.capacity_bytes != usual.capacity_bytes) {
        w.option("capacity_bytes", with.capacity_bytes);
    }
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.writers_max != usual.writers_max) w.option("writers_max", with.writers_max);
    detail::write_permissions(w, with.permissions);
    return w.done();
}

inline result<fifo::sink> fifo::open_sink(const open_request& request) const {
    auto fd = detail::reach_fifo(path, request.until, *request.why);
    if (!fd) return fd.error();
    const auto number = detail::fifo_lock::fresh_number();
    if (!detail::fifo_lock::take(fd->get(), F_WRLCK, number)) {
        return request.why->fail(detail::last_error(),
                                 detail::explain("a lock on '" + path + "'", errno));
    }
    detail::ignore_sigpipe_if_default();
    return sink(detail::fifo_writer(std::move(*fd), number, path), request.type, to_uri(),
                stream());
}

inline result<fifo::source> fifo::open_source(const open_request& request) const {
    auto at =
        detail::take_fifo(detail::socket_path(path), with.permissions, request.until, *request.why);
    if (!at) return at.error();
    if (!detail::size_pipe(at->fd.get(), with.capacity_bytes)) {
        return request.why->fail(detail::last_error(),
                                 detail::size_pipe_failed(with.capacity_bytes, errno));
    }
    return source(std::move(*at), request.type, to_uri(), stream());
}

}  // namespace v1
}  // namespace parley
