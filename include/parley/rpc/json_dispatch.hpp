// SPDX-License-Identifier: MIT
// The answering side of a service in JSON-RPC 2.0: a text in, a text out. Written after the
// specification of 2010-03-26 (updated 2013-01-04) at jsonrpc.org.
#pragma once

#include <parley/rpc/dispatch.hpp>

#include <boost/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

/// The codes of the specification, and the one of handlers.
enum class json_error : int {
    parse_error = -32700,
    invalid_request = -32600,
    method_not_found = -32601,
    invalid_params = -32602,
    failed = -32000,  ///< the handler's error, whose category and value are in `data`
};

/// Answers the calls of an implementation of S. Arguments and answers are converted by Boost.JSON:
/// numbers, strings, containers, tuples, optionals, variants, structs with Boost.Describe, and what
/// has a tag_invoke of its own; a conversion that loses something is invalid_params. Parameters are
/// taken by position, or by the names in the method's spelling; optional ones may be left out;
/// three dots behind the last name take all positions that are left: `"sum(numbers...)"`.
///
/// Thread safety: one thread at a time. Errors are answers, never more.
template <class S>
class json_dispatcher {
    static_assert(require_service<S>::value);

public:
    static constexpr std::size_t depth_max = 64;

    explicit json_dispatcher(S implementation) : service_(std::move(implementation)) {}

    /// Answers a text: a request, a notification, a batch of them, or anything else. Empty: there
    /// is nothing to say. `make` makes a call_context for each call: `make()`.
    template <class Make>
    [[nodiscard]] std::string run(std::string_view text, Make make) {
        error_code ec;
        boost::json::parse_options how;
        how.max_depth = depth_max;
        const auto asked = boost::json::parse({text.data(), text.size()}, ec, {}, how);
        boost::json::value out;
        if (ec) {
            out = failure(nullptr, json_error::parse_error, "Parse error", value(ec.message()));
        } else if (const auto* batch = asked.if_array(); batch != nullptr && !batch->empty()) {
            boost::json::array all;
            for (const auto& one : *batch) {
                auto answer = run_one(one, make);
                if (!answer.is_null()) all.push_back(std::move(answer));
            }
            if (!all.empty()) out = std::move(all);
        } else {
            out = run_one(asked, make);
        }
        return out.is_null() ? std::string() : boost::json::serialize(out);
    }
    /// The answer to what is no text, because it is too long.
    [[nodiscard]] static std::string too_long() {
        return boost::json::serialize(
            failure(nullptr, json_error::invalid_request, "Invalid Request", "a text too long"));
    }
    [[nodiscard]] S& service() noexcept { return service_; }

private:
    using value = boost::json::value;

    static value failure(const value& id, json_error code, std::string_view message, value data) {
        boost::json::object error{{"code", static_cast<int>(code)},
                                  {"message", boost::json::string_view(message)}};
        if (!data.is_null()) error["data"] = std::move(data);
        return boost::json::object{{"jsonrpc", "2.0"}, {"error", std::move(error)}, {"id", id}};
    }
    static value invalid_request(const char* words) {
        return failure(nullptr, json_error::invalid_request, "Invalid Request", words);
    }
    /// The response; null if there is none.
    template <class Make>
    value run_one(const value& asked, Make& make) {
        const auto* request = asked.if_object();
        if (request == nullptr) return invalid_request("a request is an object");
        const auto* version = request->if_contains("jsonrpc");
        if (version == nullptr || *version != value("2.0")) {
            return invalid_request("\"jsonrpc\" must be \"2.0\"");
        }
        const auto* id = request->if_contains("id");
        if (id != nullptr && !id->is_string() && !id->is_number() && !id->is_null()) {
            return invalid_request("\"id\" is a string, a number or null");
        }
        const auto* name = request->if_contains("method");
        if (name == nullptr || !name->is_string()) {
            return invalid_request("\"method\" must be a string");
        }
        static const value none = boost::json::array();
        const auto* params = request->if_contains("params");
        if (params == nullptr) params = &none;
        if (!params->is_array() && !params->is_object()) {
            return invalid_request("\"params\" is an array or an object");
        }
        value answer = call(name->get_string(), *params, id != nullptr ? *id : value(), make);
        return id != nullptr ? answer : value();
    }
    template <class Make>
    value call(const boost::json::string& name, const value& params, const value& id, Make& make) {
        value answer;
        bool found = false;
        parley::detail::each_member(service_, [&](auto& m) {
            if (!m || name != boost::json::string_view(m.name)) return true;
            // JSON has no streams, and no way to call back.
            if constexpr (!std::remove_cvref_t<decltype(m)>::is_live) {
                found = true;
                answer = call_method(m, params, id, make);
            }
            return false;
        });
        if (!found) return failure(id, json_error::method_not_found, "Method not found", name);
        return answer;
    }
    template <class Method, class Make>
    static value call_method(Method& m, const value& params, const value& id, Make& make) {
        using R = typename Method::answer_type;
        typename Method::values arguments{};
        std::string wrong;
        if (const auto* list = params.if_array()) {
            read_list<Method>(*list, arguments, wrong);
        } else {
            read_names<Method>(params.get_object(), arguments, wrong);
        }
        if (!wrong.empty()) {
            return failure(id, json_error::invalid_params, "Invalid params", value(wrong));
        }
        auto context = make();
        const auto r = run_guarded<R>(context, [&] {
            return std::apply([&](const auto&... a) { return access::handler(m)(context, a...); },
                              arguments);
        });
        if (!r) {
            const auto& words = context.why().text();
            return failure(id, json_error::failed, words.empty() ? r.error().message() : words,
                           boost::json::object{{"category", r.error().category().name()},
                                               {"value", r.error().value()}});
        }
        boost::json::object out{{"jsonrpc", "2.0"}};
        if constexpr (std::is_void_v<R>) {
            out["result"] = nullptr;
        } else {
            out["result"] = boost::json::value_from(*r);
        }
        out["id"] = id;
        return out;
    }

    /// Calls `visit(index, argument)` for each.
    template <class Values, class F, std::size_t... I>
    static void each([[maybe_unused]] Values& of, [[maybe_unused]] F visit,
                     std::index_sequence<I...>) {
        (visit(I, std::get<I>(of)), ...);
    }
    template <class Values, class F>
    static void each(Values& of, F visit) {
        each(of, visit, std::make_index_sequence<std::tuple_size_v<Values>>{});
    }
    template <class T>
    static void convert(const value& from, T& to, std::string_view name, std::string& wrong) {
        auto made = boost::json::try_value_to<T>(from);
        if (made) {
            to = std::move(*made);
        } else if (wrong.empty()) {
            wrong = std::string(name) + ": " + made.error().message();
        }
    }
    template <class Method>
    static std::string name_of(std::size_t i) {
        return Method::spelling.names_parameters ? std::string(Method::spelling.parameters[i])
                                                 : "parameter " + std::to_string(i + 1);
    }
    template <class Method>
    static void read_list(const boost::json::array& list, typename Method::values& to,
                          std::string& wrong) {
        constexpr bool takes_rest = Method::spelling.takes_rest;
        constexpr std::size_t most = Method::arguments::most,
                              least = Method::arguments::least - (takes_rest ? 1 : 0);
        if (list.size() < least || (!takes_rest && list.size() > most)) {
            wrong = std::to_string(list.size()) + " parameters; " + std::string(Method::name) +
                    " takes " + std::to_string(least) +
                    (takes_rest      ? " or more"
                     : most != least ? " to " + std::to_string(most)
                                     : "");
            return;
        }
        each(to, [&](std::size_t i, auto& argument) {
            if (takes_rest && i + 1 == most) {
                boost::json::array rest;
                for (std::size_t k = i; k < list.size(); ++k) rest.push_back(list[k]);
                convert(rest, argument, name_of<Method>(i), wrong);
            } else if (i < list.size()) {
                convert(list[i], argument, name_of<Method>(i), wrong);
            }
        });
    }
    template <class Method>
    static void read_names(const boost::json::object& named, typename Method::values& to,
                           std::string& wrong) {
        if (!Method::spelling.names_parameters) {
            wrong = std::string(Method::name) + " takes its parameters by position";
            return;
        }
        std::size_t used = 0;
        each(to, [&](std::size_t i, auto& argument) {
            const auto name = Method::spelling.parameters[i];
            const auto* given = named.if_contains({name.data(), name.size()});
            if (given != nullptr) {
                ++used;
                convert(*given, argument, name, wrong);
            } else if (!is_optional<std::remove_reference_t<decltype(argument)>> && wrong.empty()) {
                wrong = std::string(name) + ": missing";
            }
        });
        if (used < named.size() && wrong.empty()) {
            wrong = std::string(Method::name) + " has no parameter of one of these names";
        }
    }

    S service_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
