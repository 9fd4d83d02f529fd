// SPDX-License-Identifier: MIT
// A method of a service: one type for who implements it and for who calls it.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/codec/members.hpp>
#include <parley/rpc/arguments.hpp>
#include <parley/rpc/name.hpp>
#include <parley/rpc/near.hpp>
#include <parley/rpc/pending.hpp>
#include <parley/rpc/remote.hpp>

#include <array>
#include <concepts>
#include <functional>
#include <memory>
#include <span>
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

namespace rpc {

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

template <class T>
inline constexpr bool is_pending = false;
template <class R>
inline constexpr bool is_pending<pending<R>> = true;
template <class... G>
concept with_promises = (false || ... || is_pending<std::remove_cvref_t<G>>);

/// What is sent for an argument: it, or a hole for an answer.
template <class T>
[[nodiscard]] const T& part(const std::type_identity_t<T>& v) noexcept {
    return v;
}
template <class T, class R>
[[nodiscard]] hole part(const pending<R>& p) noexcept {
    static_assert(portable<T>::type.fingerprint == portable<R>::type.fingerprint,
                  "parley: the answer to that call is no argument of this one: other types");
    return {p.id()};
}

}  // namespace rpc

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

    static constexpr bool is_live =
        rpc::is_stream<R> || (false || ... || rpc::is_live<std::remove_cvref_t<Args>>);
    static_assert(!is_live || how == rpc::manner::at_most_once,
                  "parley: a call with a stream or a callback is answered, and not made again");
    static_assert(!rpc::is_callback<R>, "parley: a callback is an argument, no answer");

    using arguments = rpc::arguments<R, std::remove_cvref_t<Args>...>;
    using values = typename arguments::values;
    using answer_type = R;
    static constexpr std::string_view name = spelling.name;
    static constexpr std::uint64_t number = rpc::number_of(name);
    static constexpr auto description =
        arguments::described(how == rpc::manner::once ? "once " : "");
    using handled_type = std::conditional_t<is_live, eventual<R>, result<R>>;
    using handler_type =
        std::function<handled_type(call_context&, const std::remove_cvref_t<Args>&...)>;

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
        if constexpr (rpc::is_stream<R>) {
            return call_for_stream(d, a...);
        } else if constexpr (is_live) {
            return finished(start(a..., d));
        } else {
            return call_far(d, a...);
        }
    }
    /// The same with answers to earlier calls for arguments: see start.
    template <class... G>
    requires rpc::with_promises<G...> reply<R>
    operator()(G&&... given) const { return finished(start(std::forward<G>(given)...)); }
    /// Sends the call and returns; the deadline is that of the whole call. It is never sent again.
    [[nodiscard]] result<pending<R>> start(const std::remove_cvref_t<Args>&... a,
                                           deadline d = never) const {
        static_assert(how != rpc::manner::one_way, "parley: nothing comes back of a one-way call");
        static_assert(!rpc::is_stream<R>,
                      "parley: a method that answers with a stream returns at "
                      "once when it is called");
        if (far_ == nullptr) return errc::unsupported;
        return start_far(d, a...);
    }
    /// The same, with answers to earlier calls, which may not have come, for some of the arguments:
    ///
    ///     const auto together = c.batch();
    ///     auto a = c->add.start(1, 2).value();
    ///     auto b = c->add.start(a, 3).value();
    ///     double six = c->add(b, 0).value();          // leaves now: one round trip for all three
    ///
    /// Calls of one batch that leave in one message take each other's answers over there; an answer
    /// that has come is sent along; any other is waited for first. A call whose argument is a call
    /// that failed ends in the error of that, outcome::not_started. Dropped, a call that is an
    /// argument of another goes on.
    template <class... G>
    requires rpc::with_promises<G...>
    [[nodiscard]] result<pending<R>> start(G&&... given) const {
        constexpr std::size_t n = sizeof...(Args);
        static_assert(sizeof...(G) == n || sizeof...(G) == n + 1,
                      "parley: as many arguments as the method has, and a deadline if you like");
        static_assert(!is_live && how != rpc::manner::one_way,
                      "parley: answers are arguments of calls that are answered and have neither "
                      "streams nor callbacks");
        if (far_ == nullptr) return errc::unsupported;
        auto all = std::forward_as_tuple(std::forward<G>(given)...);
        deadline d = never;
        if constexpr (sizeof...(G) == n + 1) d = deadline(std::get<n>(all));
        return start_with(d, all, std::index_sequence_for<Args...>{});
    }

private:
    friend rpc::access;

    /// Hands the arguments to `send(called, size, filler, holes)`.
    template <class Send, class... P>
    static auto sent(Send send, const P&... a)
        -> std::invoke_result_t<Send&, const rpc::called&, std::size_t, rpc::filler,
                                std::span<const rpc::taken>> {
        std::array<rpc::taken, sizeof...(Args) + 1> takes;
        std::size_t taken = 0;
        const std::size_t count = arguments::count(a...);
        const auto note = [&](const rpc::hole& h, std::size_t at) {
            takes[taken++] = {h.call, static_cast<std::uint32_t>(at)};
        };
        const std::size_t n = arguments::size(count, note, a...);
        if (n == unencodable) return errc::message_too_large;
        const auto write = [&](mutable_bytes to) { arguments::write(count, to, a...); };
        return send(
            rpc::called{number, description.prints[count], how, name, description.words.words()}, n,
            rpc::filler(write), std::span<const rpc::taken>(takes.data(), taken));
    }
    reply<R> call_far(deadline d, const std::remove_cvref_t<Args>&... a) const {
        const auto answer = sent(
            [&](const rpc::called& what, std::size_t n, rpc::filler fill, auto) -> result<bytes> {
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
    template <class... P>
    result<std::uint64_t> send_start(deadline d, const P&... a) const {
        return sent([&](const rpc::called& what, std::size_t n, rpc::filler fill,
                        auto takes) { return far_->start(what, n, fill, takes, d); },
                    a...);
    }
    result<pending<R>> start_far(deadline d, const std::remove_cvref_t<Args>&... a) const {
        if constexpr (!is_live) {
            const auto id = send_start(d, a...);
            if (!id) return id.error();
            return pending<R>(far_, *id);
        } else {
            auto talking = started_talk(d, a...);
            if (!talking) return talking.error();
            const auto id = (*talking)->frames()->id();
            return pending<R>(far_, id, std::move(*talking));
        }
    }
    result<std::shared_ptr<rpc::conversation>> started_talk(
        deadline d, const std::remove_cvref_t<Args>&... a) const {
        auto talking = std::make_shared<rpc::conversation>(*far_, sizeof...(Args) + 1);
        [[maybe_unused]] std::size_t channel = 0;
        [[maybe_unused]] const auto add = [&](const auto& one) {
            ++channel;
            if constexpr (rpc::is_live<std::remove_cvref_t<decltype(one)>>) {
                talking->add(one, channel);
            }
        };
        (add(a), ...);
        const auto id = send_start(d, a...);
        if (!id) return id.error();
        talking->begin(*id);
        return talking;
    }
    reply<R> call_for_stream(deadline d, const std::remove_cvref_t<Args>&... a) const {
        auto talking = started_talk(d, a...);
        if (!talking) return {talking.error(), far_->how()};
        using source = rpc::answered_stream<typename R::value_type>;
        return {R(std::make_shared<source>(std::move(*talking))), outcome::done};
    }
    template <class All, std::size_t... I>
    result<pending<R>> start_with(deadline d, All& all, std::index_sequence<I...>) const {
        const auto ours = [this](const auto& given) {
            if constexpr (rpc::is_pending<std::remove_cvref_t<decltype(given)>>) {
                return given.at() == far_;
            } else {
                return true;
            }
        };
        if (!(ours(std::get<I>(all)) && ...)) return errc::invalid_argument;
        const auto id =
            send_start(d, rpc::part<std::remove_cvref_t<Args>>(std::get<I>(std::move(all)))...);
        if (!id) return id.error();
        return pending<R>(far_, *id);
    }
    [[nodiscard]] reply<R> finished(result<pending<R>> p) const {
        if (!p) return {p.error(), far_ != nullptr ? far_->how() : outcome::not_started};
        return p->finish();
    }
    reply<R> call_near(deadline d, const std::remove_cvref_t<Args>&... a) const {
        if (!near_) return {errc::unsupported, outcome::not_started};
        if constexpr (!is_live) {
            call_context context(d.at());
            auto r = near_(context, a...);
            const outcome known = r ? outcome::done : outcome::failed;
            return {std::move(r), known};
        } else {
            // A stream may go on when this has returned, and with it the arguments.
            auto kept = std::make_shared<rpc::near_call<values>>(d.at(), values(a...));
            auto t = std::apply([&](const auto&... x) { return near_(kept->context, x...); },
                                kept->arguments);
            auto r = t.pull();
            while (!r) {
                if (auto w = t.wait(d); !w) return {w.error(), outcome::unknown};
                r = t.pull();
            }
            const outcome known = *r ? outcome::done : outcome::failed;
            if constexpr (rpc::is_stream<R>) {
                if (*r) *r = rpc::keeping(std::move(**r), std::move(kept));
            }
            return {std::move(*r), known};
        }
    }
    template <class F>
    static handler_type wrapped(F f) {
        return [f = std::move(f)]([[maybe_unused]] call_context& c,
                                  const std::remove_cvref_t<Args>&... a) mutable -> handled_type {
            const auto run = [&]() -> decltype(auto) {
                if constexpr (std::is_invocable_v<F&, call_context&,
                                                  const std::remove_cvref_t<Args>&...>) {
                    return f(c, a...);
                } else {
                    return f(a...);
                }
            };
            using returned = decltype(run());
            static_assert(is_live || !rpc::is_eventual<std::remove_cvref_t<returned>>,
                          "parley: a handler that waits is for methods with streams or callbacks");
            if constexpr (std::is_void_v<returned>) {
                run();
                return result<R>();
            } else if constexpr (std::is_same_v<returned, handled_type>) {
                return run();
            } else {
                return result<R>(run());
            }
        };
    }

    handler_type near_;
    rpc::remote* far_ = nullptr;
};

}  // namespace v1
}  // namespace parley
