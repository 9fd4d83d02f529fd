// SPDX-License-Identifier: MIT
// parley call --native, parley serve --native: services of parley itself, by what they say of their
// methods.
#include "call.hpp"
#include "typed.hpp"
#include "typed_write.hpp"

#include <parley/rpc_any.hpp>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace tool {
namespace {

namespace json = boost::json;
namespace rpc = parley::rpc;
using parley::result;

/// Stands for a service that nobody here knows.
struct some_service {
    parley::method<"nothing", void()> nothing;
};
using methods = std::vector<rpc::described_method>;

result<methods> describe(parley::client<some_service>& c, parley::deadline d) {
    const auto nothing = [](parley::mutable_bytes) {};
    const rpc::called what{rpc::call_header::describing, 0, rpc::manner::idempotent, "describe",
                           "()"};
    const auto said = c.link().call(what, 0, rpc::filler(nothing), d);
    if (!said) return said.error();
    return parley::portable<methods>::decode(*said);
}
std::string list(const methods& all) {
    std::string words;
    for (const auto& m : all) ((words += "\n  ") += m.name) += m.signature;
    return words;
}

/// The arguments in the order of the method. False, and why.
bool in_order(const rpc::described_method& m, const json::value& params, json::array& to,
              std::string& wrong) {
    if (const auto* given = params.if_array()) {
        to = *given;
        return true;
    }
    const auto* named = params.if_object();
    if (named == nullptr) return true;
    std::size_t used = 0;
    for (const auto& name : m.parameters) {
        const auto* one = named->if_contains(name);
        used += one != nullptr ? 1 : 0;
        to.push_back(one != nullptr ? *one : json::value());
    }
    if (used < named->size()) wrong = m.name + " has no parameter of one of these names";
    return wrong.empty();
}
/// "(T, U) -> R", perhaps behind "once ": the arguments as bytes, and what comes back.
bool encode(const rpc::described_method& m, const json::value& params, std::vector<std::byte>& out,
            std::string_view& answer, std::string& wrong) {
    json::array given;
    if (!in_order(m, params, given, wrong)) return false;
    std::string_view types = m.signature;
    types.remove_prefix(std::min(types.find('(') + 1, types.size()));
    std::size_t n = 0;
    for (; !types.empty() && !types.starts_with(")"); ++n) {
        if (n > 0 && types.starts_with(", ")) types.remove_prefix(2);
        static const json::value none;
        if (!append_portable(out, types, n < given.size() ? given[n] : none, wrong)) {
            wrong = m.name + m.signature + ", argument " + std::to_string(n + 1) + ": " + wrong;
            return false;
        }
    }
    if (n < given.size()) {
        wrong = m.name + m.signature + " takes no " + std::to_string(given.size()) + " arguments";
        return false;
    }
    constexpr std::string_view arrow = ") -> ";
    answer = types.starts_with(arrow) ? types.substr(arrow.size()) : std::string_view();
    return true;
}
int print(std::string_view type, parley::bytes answer) {
    std::string text;
    if (type == "nothing") {
        text = "null";
    } else if (!append_value(text, "portable " + std::string(type), answer)) {
        text = json_text(hex(answer, answer.size(), ""));
    }
    const bool done = std::printf("%s\n", text.c_str()) > 0 && std::fflush(stdout) == 0;
    return done ? ok : fail(file_failed, "writing to stdout failed");
}

}  // namespace

int call_natively(const call_options& o, const json::value& params) {
    parley::diagnostics why;
    patience left(o.timeout_seconds);
    result<parley::client<some_service>> c = parley::errc::timed_out;
    do {  // in slices, so that a signal ends the waiting for a server
        c = parley::open_client<some_service>(parley::uri(o.address), left.in_slices(), &why);
    } while (!c && c.error() == parley::errc::timed_out && !left.over() && signal_caught() == 0);
    if (signal_caught() != 0) return interrupted + signal_caught();
    if (!c) return fail_to_open(c.error(), why);
    const auto all = describe(*c, left.until());
    if (!all) return fail(code_of(all.error()), all.error(), c->why());
    const auto m = std::find_if(all->begin(), all->end(),
                                [&](const auto& one) { return one.name == o.method; });
    if (m == all->end()) return fail(refused, "no method " + o.method + "; it has" + list(*all));
    if (m->is_live || m->how == static_cast<std::uint8_t>(rpc::manner::once)) {
        return fail(refused, m->name + m->signature +
                                 ": streams, callbacks and what runs once "
                                 "are not called from here");
    }
    std::vector<std::byte> arguments;
    std::string_view answer;
    std::string wrong;
    if (!encode(*m, params, arguments, answer, wrong)) return fail(wrong_usage, wrong);
    const auto write = [&](parley::mutable_bytes to) {
        if (!to.empty()) std::memcpy(to.data(), arguments.data(), to.size());
    };
    const rpc::called what{m->method, m->print, static_cast<rpc::manner>(m->how), m->name,
                           m->signature};
    const rpc::filler fill(write);
    if (o.notify || what.how == rpc::manner::one_way) {
        const auto r = c->link().notify(what, arguments.size(), fill, left.until());
        const auto closed = c->close(left.until());
        return r && closed ? ok : fail(peer_lost, "the server hung up");
    }
    const auto r = c->link().call(what, arguments.size(), fill, left.until());
    if (!r) {
        const bool answered = c->link().how() == parley::outcome::failed ||
                              c->link().how() == parley::outcome::not_started;
        return fail(answered ? refused : code_of(r.error()), r.error(), c->why());
    }
    return print(answer, *r);
}

int serve_natively(const std::string& address, demo implementation) {
    parley::diagnostics why;
    auto s = parley::open_server(parley::uri(address), std::move(implementation),
                                 std::chrono::seconds(1), &why);
    if (!s) return fail_to_open(s.error(), why);
    while (signal_caught() == 0) {
        const auto r = s->serve_one(slice);
        if (!r && r.error() != parley::errc::timed_out) return fail(cannot_open, r.error(), {});
    }
    return interrupted + signal_caught();
}

}  // namespace tool
