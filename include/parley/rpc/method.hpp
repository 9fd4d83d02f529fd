// SPDX-License-Identifier: MIT
// A method of a service: one type for who implements it and for who calls it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/codec/members.hpp>
#include <parley/rpc/arguments.hpp>
#include <parley/rpc/name.hpp>
#include <parley/rpc/remote.hpp>

#include <concepts>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// Manners of a method, as its third argument: see rpc::manner.
struct at_most_once_call {
    static constexpr rpc::manner how = rpc::manner::at_most_once;
};
struct idempotent {
    static constexpr rpc::manner how = rpc::manner::idempotent;
};
struct once {
    static constexpr rpc::manner how = rpc::manner::once;
};
struct one_way {
    static constexpr rpc::manner how = rpc::manner::one_way;
};

/// The answer to a call: a result, and what is known of the call whatever the result is.
template <class R>
class reply : public result<R> {
public:
    reply(result<R> r, outcome how) : result<R>(std::move(r)), how_(how) {}
    [[nodiscard]] outcome how() const noexcept { return how_; }

private:
    outcome how_;
};

namespace rpc {

template <class R>
[[nodiscard]] result<R> decode_answer(bytes in) {
    if constexpr (std::is_void_v<R>) {
        return in.empty() ? result<void>() : result<void>(errc::corrupt);
    } else {
        static_assert(!portable<R>::borrows,
                      "parley: an answer outlives its message: return a std::string, a vector");
        return portable<R>::decode(in);
    }
}

/// The way into a method for those who connect or serve it.
struct access {
    template <class Method>
    static void connect(Method& m, remote* to) noexcept {
        m.far_ = to;
    }
    template <class Method>
    [[nodiscard]] static const auto& handler(const Method& m) noexcept {
        return m.near_;
    }
};

}  // namespace rpc

/// A call that was started: finish it, or let it go, which gives it up.
///
/// Thread safety: its client's thread. Lifetime: it must not outlive its client.
template <class R>
class pending {
public:
    using answer_type = R;

    pending() = default;
    pending(rpc::remote* at, std::uint64_t id) noexcept : far_(at), id_(id) {}
    pending(pending&& other) noexcept : far_(std::exchange(other.far_, nullptr)), id_(other.id_) {}
    pending& operator=(pending&& other) noexcept {
        if (this != &other) {
            cancel();
            far_ = std::exchange(other.far_, nullptr);
            id_ = other.id_;
        }
        return *this;
    }
    ~pending() { cancel(); }

    /// The answer. timed_out or would_block by this deadline alone: it goes on, ask again.
    [[nodiscard]] reply<R> finish(deadline d = never) {
        if (far_ == nullptr) return {errc::invalid_argument, outcome::unknown};
        auto answer = far_->finish(id_, d);
        if (!answer) {
            if (far_->is_known(id_)) return {answer.error(), outcome::unknown};
            return {answer.error(), std::exchange(far_, nullptr)->how()};
        }
        auto value = rpc::decode_answer<R>(*answer);
        far_ = nullptr;
        const outcome how = value ? outcome::done : outcome::failed;
        return {std::move(value), how};
    }
    [[nodiscard]] reply<R> try_finish() { return finish(expired); }
    /// Gives the call up, and tells the server.
    void cancel() noexcept {
        if (far_ != nullptr) std::exchange(far_, nullptr)->cancel(id_);
    }
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
    /// Takes the call out, for who finishes it elsewhere.
    std::uint64_t release() noexcept {
        far_ = nullptr;
        return id_;
    }

private:
    rpc::remote* far_ = nullptr;
    std::uint64_t id_ = 0;
};

/// A method of a service, named and typed. A service is a struct of them, the same on both sides:
///
///     struct calculator {
///         parley::method<"add(a, b)", double(double, double)> add;
///         parley::method<"divide", double(double, double), parley::idempotent> divide;
///         parley::method<"log", void(std::string), parley::one_way> log;
///     };
///     parley::open_server(at, calculator{.add = [](double a, double b) { return a + b; }, … });
///     auto c = parley::open_client<calculator>(at).value();
///     double sum = c->add(1, 2).value();
///     auto slow = c->add.start(1, 2).value();   …   slow.finish(20ms);
///
/// Whoever implements it assigns a handler: anything that is called with the arguments, before them
/// a call_context& if it wants, and returns R or result<R>. An exception is an answer too: an
/// error, with its words. Called where a handler was assigned, it runs that; so a
/// `const calculator&` is a calculator, near or far.
///
/// Manners: `at_most_once_call` (default), `idempotent`, `once`, `one_way`, what may be done again
/// when nobody knows whether it ran (rpc::manner).
/// Evolution: methods are known by name, in any order. Arguments may be added at the end if they
/// are std::optional; one that holds nothing does not travel, so old and new meet as long as it is
/// not used. What else changes is refused as errc::incompatible, both signatures named, and an
/// unknown name as errc::unsupported, always before anything runs. `rpc::compatible` says at
/// compile time what will be refused.
/// Thread safety: a far one belongs to its client's thread, a near one to its handler's rules.
/// Blocking: as requester; a call without deadline waits as long as it takes.
/// Errors: those of requester, those that the handler returned; `how()` tells what came of it.
template <rpc::fixed_text Spelling, class Signature, class Manner = at_most_once_call>
class method;

template <rpc::fixed_text Spelling, class R, class... Args, class Manner>
class method<Spelling, R(Args...), Manner> {
public:
    static constexpr rpc::spelling spelling = rpc::spell(Spelling.view());
    static_assert(spelling.is_right,
                  "parley: a method is spelt \"name\" or \"name(first, second)\"");
    static_assert(!spelling.names_parameters || spelling.count == sizeof...(Args),
                  "parley: a method names all of its parameters, or none");
    static constexpr rpc::manner how = Manner::how;
    static_assert(how != rpc::manner::one_way || std::is_void_v<R>,
                  "parley: nobody answers a one-way method: let it return void");

    using arguments = rpc::arguments<R, std::remove_cvref_t<Args>...>;
    using values = typename arguments::values;
    using answer_type = R;
    static constexpr std::string_view name = spelling.name;
    static constexpr std::uint64_t number = rpc::number_of(name);
    static constexpr auto description =
        arguments::described(how == rpc::manner::once ? "once " : "");
    using handler_type =
        std::function<result<R>(call_context&, const std::remove_cvref_t<Args>&...)>;

    method() = default;
    template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, method> &&
             (std::is_invocable_v<F&, const std::remove_cvref_t<Args>&...> ||
              std::is_invocable_v<F&, call_context&, const std::remove_cvref_t<Args>&...>))
        method(F f)  // NOLINT(google-explicit-constructor)
        : near_(wrapped(std::move(f))) {}
    /// A member function of an object that outlives this.
    template <class Object, class F>
    requires std::is_member_function_pointer_v<F> method(Object& of, F f)
        : method([&of, f](const std::remove_cvref_t<Args>&... a) { return (of.*f)(a...); }) {}

    /// Whether somebody answers: near or far.
    [[nodiscard]] explicit operator bool() const noexcept { return far_ != nullptr || near_; }

    /// Calls and waits for the answer; one-way, until it is sent.
    reply<R> operator()(const std::remove_cvref_t<Args>&... a, deadline d = never) const {
        if (far_ == nullptr) return call_near(d, a...);
        const auto answer = sent(
            [&](const rpc::called& what, std::size_t n, rpc::filler fill) -> result<bytes> {
                if constexpr (how == rpc::manner::one_way) {
                    auto r = far_->notify(what, n, fill, d);
                    return r ? result<bytes>(bytes()) : result<bytes>(r.error());
                } else {
                    return far_->call(what, n, fill, d);
                }
            },
            a...);
        if (!answer) return {answer.error(), far_->how()};
        auto value = rpc::decode_answer<R>(*answer);
        const outcome known = value ? outcome::done : outcome::failed;
        return {std::move(value), known};
    }
    /// Sends the call and returns; the deadline is that of the whole call. It is never sent again.
    [[nodiscard]] result<pending<R>> start(const std::remove_cvref_t<Args>&... a,
                                           deadline d = never) const {
        static_assert(how != rpc::manner::one_way, "parley: nothing comes back of a one-way call");
        if (far_ == nullptr) return errc::unsupported;
        const auto id = sent([&](const rpc::called& what, std::size_t n,
                                 rpc::filler fill) { return far_->start(what, n, fill, d); },
                             a...);
        if (!id) return id.error();
        return pending<R>(far_, *id);
    }

private:
    friend rpc::access;

    /// Hands the arguments to `send(called, size, filler)`.
    template <class Send>
    static auto sent(Send send, const std::remove_cvref_t<Args>&... a)
        -> std::invoke_result_t<Send&, const rpc::called&, std::size_t, rpc::filler> {
        const std::size_t count = arguments::count(a...);
        const std::size_t n = arguments::size(count, a...);
        if (n == unencodable) return errc::message_too_large;
        const auto write = [&](mutable_bytes to) { arguments::write(count, to, a...); };
        return send(
            rpc::called{number, description.prints[count], how, name, description.words.words()}, n,
            rpc::filler(write));
    }
    reply<R> call_near(deadline d, const std::remove_cvref_t<Args>&... a) const {
        if (!near_) return {errc::unsupported, outcome::not_started};
        call_context context(d.at());
        auto r = near_(context, a...);
        const outcome known = r ? outcome::done : outcome::failed;
        return {std::move(r), known};
    }
    template <class F>
    static handler_type wrapped(F f) {
        return [f = std::move(f)]([[maybe_unused]] call_context& c,
                                  const std::remove_cvref_t<Args>&... a) mutable -> result<R> {
            const auto run = [&]() -> decltype(auto) {
                if constexpr (std::is_invocable_v<F&, call_context&,
                                                  const std::remove_cvref_t<Args>&...>) {
                    return f(c, a...);
                } else {
                    return f(a...);
                }
            };
            if constexpr (std::is_void_v<decltype(run())>) {
                run();
                return result<R>();
            } else {
                return run();
            }
        };
    }

    handler_type near_;
    rpc::remote* far_ = nullptr;
};

namespace rpc {

template <class T>
inline constexpr bool is_method = false;
template <fixed_text Spelling, class Signature, class Manner>
inline constexpr bool is_method<method<Spelling, Signature, Manner>> = true;

template <class... Methods>
consteval bool all_methods(parley::detail::types<Methods...>) {
    return sizeof...(Methods) > 0 && (is_method<Methods> && ...);
}
template <class... Methods>
consteval bool names_differ(parley::detail::types<Methods...>) {
    const std::uint64_t numbers[] = {Methods::number...};
    for (std::size_t i = 0; i < sizeof...(Methods); ++i) {
        for (std::size_t k = 0; k < i; ++k) {
            if (numbers[i] == numbers[k]) return false;
        }
    }
    return true;
}

/// Says in words why S is no service, once.
template <class S>
struct require_service {
    static_assert(all_methods(parley::detail::member_types<S>{}),
                  "parley: a service is a struct of parley::method<\"name\", R(Args...)> members "
                  "and nothing else");
    static_assert(names_differ(parley::detail::member_types<S>{}),
                  "parley: two methods of a service have the same name");
    static constexpr bool value = true;
};

template <class Old, class New>
consteval bool serves_method() {
    if constexpr (Old::number != New::number) {
        return false;
    } else if constexpr (New::arguments::least > Old::arguments::least ||
                         New::arguments::most < Old::arguments::most) {
        return false;
    } else {
        for (std::size_t k = Old::arguments::least; k <= Old::arguments::most; ++k) {
            if (Old::description.prints[k] != New::description.prints[k]) return false;
        }
        return true;
    }
}
template <class Old, class... News>
consteval bool serves_one(parley::detail::types<News...>) {
    return (serves_method<Old, News>() || ...);
}
template <class News, class... Olds>
consteval bool serves_all(parley::detail::types<Olds...>) {
    return (serves_one<Olds>(News{}) && ...);
}

/// Whether a server of `Server` answers every call that callers of `Caller` can make:
///
///     static_assert(parley::rpc::compatible<calculator_v1, calculator_v2>);
///
/// The other way round, a new caller of an old server, holds too as long as the optional arguments
/// that were added stay empty.
template <class Caller, class Server>
inline constexpr bool compatible =
    serves_all<parley::detail::member_types<Server>>(parley::detail::member_types<Caller>{});

}  // namespace rpc
}  // namespace v1
}  // namespace parley
