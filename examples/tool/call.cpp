// SPDX-License-Identifier: MIT
// parley call, parley serve: JSON-RPC 2.0 from the command line, with any server and any client.
#include "call.hpp"

#include <parley/jsonrpc.hpp>

#include <boost/json/src.hpp>

#include <cstdio>
#include <numeric>
#include <optional>
#include <type_traits>

namespace tool {
namespace {

namespace json = boost::json;
using parley::result;

/// Calls `f(address)` with the uds or tcp that the text stands for; its exit code.
template <class F>
int with_socket(const std::string& text, F f) {
    parley::diagnostics why;
    const parley::uri at(text);
    const auto run = [&](auto address) {
        return address ? f(*address) : fail_to_open(address.error(), why);
    };
    if (at.scheme() == parley::uds::scheme) return run(parley::uds::from(at, why));
    if (at.scheme() == parley::tcp::scheme) return run(parley::tcp::from(at, why));
    return fail(wrong_usage,
                text + ": JSON-RPC is spoken over unix:// and tcp://; --native over others");
}
result<parley::detail::unique_fd> connect(const parley::uds& at, parley::time_point until,
                                          parley::diagnostics& why) {
    return parley::detail::reach(at.name, at.with.type, until, why);
}
result<parley::detail::unique_fd> connect(const parley::tcp& at, parley::time_point until,
                                          parley::diagnostics& why) {
    return at.connected(until, why);
}

/// The response to the request with id 1, if this is it; other texts are notifications of the
/// server. An id that is null: it could not read ours.
result<json::value> response_in(std::string_view text) {
    parley::error_code ec;
    auto v = json::parse({text.data(), text.size()}, ec);
    if (ec || !v.is_object()) return parley::errc::corrupt;
    const auto* id = v.get_object().if_contains("id");
    if (id == nullptr || !(*id == 1 || id->is_null())) return parley::errc::would_block;
    return v;
}

result<json::value> answer_from(int fd, patience& left) {
    parley::rpc::json_stream in(std::size_t{64} * 1024 * 1024);
    std::string buffer(64 * 1024, '\0');
    while (signal_caught() == 0 && !left.over()) {
        const auto until = std::min(left.until(), parley::clock::now() + slice);
        if (auto r = parley::detail::wait_for(fd, POLLIN, until); !r) {
            if (r.error() == parley::errc::timed_out) continue;
            return r.error();
        }
        const auto n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return parley::from_errno(errno);
        if (n > 0) in.feed({buffer.data(), static_cast<std::size_t>(n)});
        for (;;) {
            const auto text = in.next();
            auto response = text ? response_in(*text) : result<json::value>(text.error());
            if (response || response.error() != parley::errc::would_block) return response;
            if (!text) break;
        }
        if (n != 0) continue;
        const auto last = in.last();
        return last ? response_in(*last) : result<json::value>(parley::errc::peer_lost);
    }
    return parley::errc::timed_out;
}

int print(const json::value& answer) {
    const auto& object = answer.get_object();
    if (const auto* r = object.if_contains("result")) {
        const auto text = json::serialize(*r);
        const bool ok_ = std::printf("%s\n", text.c_str()) > 0 && std::fflush(stdout) == 0;
        return ok_ ? ok : fail(file_failed, "writing to stdout failed");
    }
    const auto* e = object.if_contains("error");
    return fail(refused, e != nullptr ? json::serialize(*e) : "an answer without a result");
}

int call_over(int fd, const call_options& o, const json::value& params, patience& left) {
    json::object request{{"jsonrpc", "2.0"}, {"method", o.method}};
    if (!params.is_null()) request["params"] = params;
    if (!o.notify) request["id"] = 1;
    const auto text = json::serialize(request) + "\n";
    for (std::size_t at = 0; at < text.size();) {
        const auto n = ::send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR && signal_caught() == 0) continue;
        if (n < 0) return fail(peer_lost, "the server hung up");
        at += static_cast<std::size_t>(n);
    }
    if (o.notify) return ok;
    const auto answer = answer_from(fd, left);
    if (signal_caught() != 0) return interrupted + signal_caught();
    if (!answer) return fail(code_of(answer.error()), answer.error(), {});
    return print(*answer);
}

demo implementation() {
    return {.add = [](double a, double b) { return a + b; },
            .sum =
                [](const std::vector<std::int64_t>& all) {
                    return std::accumulate(all.begin(), all.end(), std::int64_t{0});
                },
            .echo = [](const std::string& text) { return text; },
            .fail = [](parley::call_context& c, const std::string& words) -> result<void> {
                return c.fail(parley::errc::denied, words);
            }};
}

}  // namespace

int run_call(const call_options& o) {
    json::value params;
    if (!o.params.empty()) {
        parley::error_code ec;
        params = json::parse(o.params, ec);
        if (ec) return fail(wrong_usage, "parameters '" + o.params + "': " + ec.message());
        if (!params.is_array() && !params.is_object()) params = json::array{params};
    }
    if (o.native) return call_natively(o, params);
    return with_socket(o.address, [&](const auto& at) {
        parley::diagnostics why;
        patience left(o.timeout_seconds);
        result<parley::detail::unique_fd> fd = parley::errc::timed_out;
        do {  // in slices, so that a signal ends the waiting for a server
            fd = connect(at, std::min(left.until(), parley::clock::now() + slice), why);
        } while (!fd && fd.error() == parley::errc::timed_out && !left.over() &&
                 signal_caught() == 0);
        if (signal_caught() != 0) return interrupted + signal_caught();
        if (!fd) return fail_to_open(fd.error(), why);
        return call_over(fd->get(), o, params, left);
    });
}

int run_serve(const serve_options& o) {
    if (o.native) return serve_natively(o.address, implementation());
    return with_socket(o.address, [](const auto& at) {
        parley::diagnostics why;
        auto server = parley::open_json_server(at, implementation(), std::chrono::seconds(1), &why);
        if (!server) return fail_to_open(server.error(), why);
        while (signal_caught() == 0) {
            const auto r = server->serve_some(slice);
            if (!r && r.error() != parley::errc::timed_out) {
                return fail(cannot_open, r.error(), {});
            }
        }
        return interrupted + signal_caught();
    });
}

}  // namespace tool
