// SPDX-License-Identifier: MIT
// Services for everybody else: JSON-RPC 2.0 over Unix domain and TCP sockets. Needs Boost.JSON:
// link Boost::json, or say `#include <boost/json/src.hpp>` in one source file of the program.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/rpc/json_dispatch.hpp>
#include <parley/rpc/json_stream.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// An address at whose door strangers may connect.
template <class A>
concept has_door = requires(const A at, const open_request& request) {
    at.open_door(request).value().descriptor();
};

/// Serves a service to JSON-RPC clients. It owns the address.
///
///     auto s = parley::open_json_server(parley::tcp{":7000"}, calculator{ … }).value();
///     s.serve();
///
///     $ echo '{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1}' | nc -q1 host 7000
///     {"jsonrpc":"2.0","result":3,"id":1}
///
/// Framing is the client's: one text on each line, or `Content-Length:` headers. Each connection
/// gets its answers in the order of its requests. A client that does not read its answers is not
/// read from either; a text longer than `text_bytes_max` ends its connection, after a word.
///
/// Thread safety: one thread at a time. Blocking: `serve_some` and `serve` wait for clients,
/// handlers take as long as they do. Errors: those of accepting (out_of_resources), timed_out.
template <class Service, has_door Address>
class json_server {
public:
    struct options {
        std::size_t text_bytes_max = 1024 * 1024;
        std::size_t clients_max = 1024;  ///< others wait at the door
    };
    using door_type =
        typename decltype(std::declval<const Address&>().open_door(open_request{}))::value_type;

    json_server(door_type door, Service implementation, const options& o)
        : door_(std::make_unique<door_type>(std::move(door))),
          calls_(std::move(implementation)),
          with_(o) {}

    /// Waits until something is to be done, and does it.
    result<void> serve_some(deadline d = never) {
        polled_.clear();
        const bool full = clients_.size() >= with_.clients_max;
        polled_.push_back({full ? -1 : door_->descriptor(), POLLIN, 0});
        for (const auto& c : clients_) polled_.push_back({c.fd.get(), c.awaits(), 0});
        const auto n =
            detail::poll_until(polled_.data(), polled_.size(), d.is_try() ? expired : d.at());
        if (!n) return n.error();
        if (*n == 0) return d.is_try() ? errc::would_block : errc::timed_out;
        for (std::size_t i = 0; i < clients_.size(); ++i) {
            if (polled_[i + 1].revents != 0) attend(clients_[i]);
        }
        std::erase_if(clients_, [](const client& c) { return c.is_over(); });
        return polled_[0].revents != 0 ? accept() : result<void>();
    }
    /// Until a handler says stop(), or the address fails.
    result<void> serve() {
        for (stopped_ = false; !stopped_;) {
            if (auto r = serve_some(); !r) return r;
        }
        return {};
    }
    void stop() noexcept { stopped_ = true; }

    [[nodiscard]] std::size_t clients() const noexcept { return clients_.size(); }
    [[nodiscard]] int port() const {
        return detail::ip_address::of(door_->descriptor(), &::getsockname).port();
    }
    /// Nobody can connect any more; connections end.
    void close() noexcept {
        clients_.clear();
        door_->close();
    }

private:
    struct client {
        detail::unique_fd fd;
        rpc::json_stream in;
        std::string out = {};
        std::size_t sent = 0;
        bool ended = false;  ///< nothing more is read
        bool lost = false;

        [[nodiscard]] bool writes() const noexcept { return sent < out.size(); }
        [[nodiscard]] bool is_over() const noexcept { return lost || (ended && !writes()); }
        [[nodiscard]] short awaits() const noexcept {
            return static_cast<short>((writes() ? POLLOUT : 0) |
                                      (ended || out.size() - sent > kept_bytes_max ? 0 : POLLIN));
        }
    };
    class context final : public call_context {
    public:
        context(json_server& s, int fd) : server_(s), fd_(fd) {}
        [[nodiscard]] peer_id caller() override { return detail::credentials(fd_); }
        void stop() override { server_.stop(); }

    private:
        json_server& server_;
        int fd_;
    };
    static constexpr std::size_t kept_bytes_max = 1024 * 1024, read_bytes = 64 * 1024;

    result<void> accept() {
        while (clients_.size() < with_.clients_max) {
            detail::unique_fd fd(detail::retried([&] {
                return ::accept4(door_->descriptor(), nullptr, nullptr,
                                 SOCK_CLOEXEC | SOCK_NONBLOCK);
            }));
            if (!fd) {
                const bool exhausted = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
                return exhausted && clients_.empty() ? detail::last_error() : result<void>();
            }
            if (!door_->admits(fd.get())) continue;
            clients_.push_back({std::move(fd), rpc::json_stream(with_.text_bytes_max)});
        }
        return {};
    }
    void attend(client& c) {
        write(c);
        if (c.lost || c.ended || c.out.size() - c.sent > kept_bytes_max) return;
        buffer_.resize(read_bytes);
        const auto n = detail::retried(
            [&] { return ::recv(c.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT); });
        if (n < 0) {
            c.lost = errno != EAGAIN;
            return;
        }
        c.in.feed({buffer_.data(), static_cast<std::size_t>(n)});
        answer(c);
        if (n == 0) {
            if (const auto text = c.in.last()) answer(c, *text);
            c.ended = true;
        }
        write(c);
    }
    void answer(client& c) {
        for (;;) {
            const auto text = c.in.next();
            if (text) {
                answer(c, *text);
                continue;
            }
            if (text.error() == errc::would_block) return;
            c.in.write(calls_.too_long(), c.out);
            c.ended = true;
            return;
        }
    }
    void answer(client& c, std::string_view text) {
        const auto said = calls_.run(text, [&] { return context(*this, c.fd.get()); });
        if (!said.empty()) c.in.write(said, c.out);
    }
    static void write(client& c) {
        while (c.writes()) {
            const auto n = detail::retried([&] {
                return ::send(c.fd.get(), c.out.data() + c.sent, c.out.size() - c.sent,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
            });
            if (n < 0) {
                c.lost = errno != EAGAIN;
                return;
            }
            c.sent += static_cast<std::size_t>(n);
        }
        c.out.clear();
        c.sent = 0;
    }

    std::unique_ptr<door_type> door_;
    rpc::json_dispatcher<Service> calls_;
    options with_;
    std::vector<client> clients_;
    std::vector<pollfd> polled_;
    std::string buffer_;
    bool stopped_ = false;
};

/// Opens a server, and with it creates the address. Errors: those of open_receiver.
template <class Service, has_door Address>
[[nodiscard]] result<json_server<Service, Address>> open_json_server(
    const Address& at, Service implementation, deadline d = never, diagnostics* why = nullptr,
    typename json_server<Service, Address>::options o = {}) {
    diagnostics unasked;
    auto door = at.open_door({any_type, d.at(), why != nullptr ? why : &unasked});
    if (!door) return door.error();
    return json_server<Service, Address>(std::move(*door), std::move(implementation), o);
}

}  // namespace v1
}  // namespace parley
