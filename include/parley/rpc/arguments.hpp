// SPDX-License-Identifier: MIT
// Arguments of a call: portable, one behind another; what they are is told by one number.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/codec/type_text.hpp>
#include <parley/rpc/live.hpp>

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

/// Stands for an argument that is the answer to an earlier call.
struct hole {
    std::uint64_t call = 0;
};

template <class T>
inline constexpr bool is_optional = parley::detail::kind_of<T> == parley::detail::kind::optional;

/// Writes what an argument or an answer is.
template <class T>
struct description_of {
    static constexpr void put(parley::detail::type_text& t) {
        if constexpr (std::is_void_v<T>) {
            t.put("nothing");
        } else {
            parley::detail::describe_portable<T>(t);
        }
    }
};
template <class T>
struct description_of<stream<T>> {
    static constexpr void put(parley::detail::type_text& t) {
        t.put("stream<");
        description_of<T>::put(t);
        t.put(">");
    }
};
template <class R, class... A>
struct description_of<callback<R(A...)>> {
    static constexpr void put(parley::detail::type_text& t) {
        t.put("callback (");
        [[maybe_unused]] std::size_t n = 0;
        ((t.put(n++ > 0 ? ", " : ""), description_of<A>::put(t)), ...);
        t.put(") -> ");
        description_of<R>::put(t);
    }
};

/// The arguments `A...` of a method that returns R. Optional ones at the end that hold nothing do
/// not travel, so that a method may be given more of them without a break: a call is what is sent.
/// Streams and callbacks never do: their values go in a talk.
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
    /// Whether a value that was read looks into its message.
    static constexpr bool borrows = [] {
        [[maybe_unused]] const auto one = []<class T>(std::type_identity<T>) {
            if constexpr (is_live<T>) {
                return false;
            } else {
                return parley::detail::borrows_from_message<T>();
            }
        };
        return (false || ... || one(std::type_identity<A>{}));
    }();

private:
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
            d.words.put(") -> ");
            description_of<R>::put(d.words);
            d.words.finish();
            d.prints[n++] = d.words.fingerprint();
        };
        [[maybe_unused]] const auto add = [&]<class T>(std::type_identity<T>) {
            if (n > 1) t.put(", ");
            description_of<T>::put(t);
            close();
        };
        close();
        (add(std::type_identity<A>{}), ...);
        return d;
    }
    /// Calls `visit(argument)` for the first n, until one says false.
    template <class F, class... P>
    static bool each([[maybe_unused]] std::size_t n, [[maybe_unused]] F visit, const P&... a) {
        [[maybe_unused]] std::size_t i = 0;
        return ((i++ >= n || visit(a)) && ...);
    }
    template <class Tuple, std::size_t... I>
    static bool read_some([[maybe_unused]] parley::detail::portable_reader& in,
                          [[maybe_unused]] std::size_t n, [[maybe_unused]] Tuple& to,
                          std::index_sequence<I...>) {
        return ((I >= n || read_one(in, std::get<I>(to))) && ...);
    }
    template <class T>
    static bool read_one(parley::detail::portable_reader& in, T& to) {
        if constexpr (is_live<T>) {
            return true;
        } else {
            return in.read(to);
        }
    }
    template <class T>
    static constexpr bool travels = !is_live<T> && !std::is_same_v<T, hole>;

public:
    /// `manner`: what else both sides must agree on.
    static constexpr description described(std::string_view manner) { return make(manner); }

    // Each of these takes an A, or a hole, for each argument.

    /// How many of these arguments travel.
    template <class... P>
    [[nodiscard]] static std::size_t count(const P&... a) {
        std::size_t n = least;
        [[maybe_unused]] std::size_t i = 0;
        [[maybe_unused]] const auto look = [&](const auto& one) {
            ++i;
            using one_type = std::remove_cvref_t<decltype(one)>;
            if constexpr (std::is_same_v<one_type, hole>) {
                if (i > n) n = i;
            } else if constexpr (is_optional<one_type>) {
                if (one.has_value() && i > n) n = i;
            }
        };
        (look(a), ...);
        return n;
    }
    /// The bytes of the first n; `unencodable` if one has no encoding. `visit(hole, bytes before
    /// it)` is called for each hole.
    template <class F, class... P>
    [[nodiscard]] static std::size_t size(std::size_t n, F visit, const P&... a) {
        parley::detail::portable_meter meter;
        const auto add = [&](const auto& one) {
            using one_type = std::remove_cvref_t<decltype(one)>;
            if constexpr (std::is_same_v<one_type, hole>) visit(one, meter.bytes());
            if constexpr (travels<one_type>) {
                return meter.add(one);
            } else {
                return true;
            }
        };
        return each(n, add, a...) ? meter.bytes() : unencodable;
    }
    template <class... P>
    static void write(std::size_t n, mutable_bytes out, const P&... a) {
        parley::detail::portable_writer writer(out.data());
        const auto put = [&](const auto& one) {
            if constexpr (travels<std::remove_cvref_t<decltype(one)>>) {
                return writer.put(one);
            } else {
                return true;
            }
        };
        (void)each(n, put, a...);
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
