// SPDX-License-Identifier: MIT
// Arguments of a call: portable, one behind another; what they are is told by one number.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/codec/type_text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

template <class T>
inline constexpr bool is_optional = parley::detail::kind_of<T> == parley::detail::kind::optional;

/// The arguments `A...` of a method that returns R. Optional ones at the end that hold nothing do
/// not travel, so that a method may be given more of them without a break: a call is what is sent.
template <class R, class... A>
struct arguments {
    static constexpr std::size_t most = sizeof...(A);
    /// How many always travel: all up to the last one that is not optional.
    static constexpr std::size_t least = [] {
        std::size_t n = 0, i = 0;
        ((++i, n = is_optional<A> ? n : i), ...);
        return n;
    }();
    using values = std::tuple<A...>;

private:
    static constexpr void describe_result(parley::detail::type_text& t) {
        t.put(") -> ");
        if constexpr (std::is_void_v<R>) {
            t.put("nothing");
        } else {
            parley::detail::describe_portable<R>(t);
        }
    }
    struct description {
        std::array<std::uint64_t, most + 1> prints{};
        parley::detail::type_text words;
    };
    static constexpr description make(std::string_view manner) {
        description d;
        std::size_t n = 0;
        parley::detail::type_text t;
        t.put(manner).put("(");
        const auto close = [&] {
            d.words = t;
            describe_result(d.words);
            d.words.finish();
            d.prints[n++] = d.words.fingerprint();
        };
        [[maybe_unused]] const auto add = [&]<class T>(std::type_identity<T>) {
            if (n > 1) t.put(", ");
            parley::detail::describe_portable<T>(t);
            close();
        };
        close();
        (add(std::type_identity<A>{}), ...);
        return d;
    }
    /// Calls `visit(argument)` for the first n, until one says false.
    template <class F>
    static bool each([[maybe_unused]] std::size_t n, [[maybe_unused]] F visit, const A&... a) {
        [[maybe_unused]] std::size_t i = 0;
        return ((i++ >= n || visit(a)) && ...);
    }
    template <class Tuple, std::size_t... I>
    static bool read_some([[maybe_unused]] parley::detail::portable_reader& in,
                          [[maybe_unused]] std::size_t n, [[maybe_unused]] Tuple& to,
                          std::index_sequence<I...>) {
        return ((I >= n || in.read(std::get<I>(to))) && ...);
    }

public:
    /// `manner`: what else both sides must agree on.
    static constexpr description described(std::string_view manner) { return make(manner); }

    /// How many of these arguments travel.
    [[nodiscard]] static std::size_t count(const A&... a) {
        std::size_t n = least;
        [[maybe_unused]] std::size_t i = 0;
        [[maybe_unused]] const auto look = [&](const auto& one) {
            ++i;
            if constexpr (is_optional<std::remove_cvref_t<decltype(one)>>) {
                if (one.has_value() && i > n) n = i;
            }
        };
        (look(a), ...);
        return n;
    }
    /// The bytes of the first n; `unencodable` if one has no encoding.
    [[nodiscard]] static std::size_t size(std::size_t n, const A&... a) {
        parley::detail::portable_meter meter;
        return each(
                   n, [&](const auto& one) { return meter.add(one); }, a...)
                   ? meter.bytes()
                   : unencodable;
    }
    static void write(std::size_t n, mutable_bytes out, const A&... a) {
        parley::detail::portable_writer writer(out.data());
        (void)each(
            n, [&](const auto& one) { return writer.put(one); }, a...);
        PARLEY_ASSERT(writer.at() == out.data() + out.size());
    }
    /// The first n from a message; the others are as they were. False: it is none.
    [[nodiscard]] static bool read(std::size_t n, bytes in, values& to) {
        parley::detail::portable_reader reader(in);
        return read_some(reader, n, to, std::index_sequence_for<A...>{}) && reader.done();
    }
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
