// SPDX-License-Identifier: MIT
// How a method is spelt: `"subtract(minuend, subtrahend)"`, a text that is part of its type.
#pragma once

#include <parley/codec/type_text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace rpc {

/// A literal as a template argument.
template <std::size_t N>
struct fixed_text {
    char text[N]{};

    constexpr fixed_text(const char (&words)[N]) noexcept {  // NOLINT(google-explicit-constructor)
        for (std::size_t i = 0; i < N; ++i) text[i] = words[i];
    }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {text, N - 1}; }
};

/// The parts of a spelling: a name, and in parentheses the names of parameters, if they are named.
/// Three dots behind the last one: in JSON, it takes all that are left.
struct spelling {
    std::string_view name;
    std::array<std::string_view, 32> parameters{};
    std::size_t count = 0;
    bool names_parameters = false, takes_rest = false;
    bool is_right = true;
};

[[nodiscard]] constexpr bool is_name(std::string_view s) noexcept {
    if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
    for (const char c : s) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '/') return false;
    }
    return true;
}

/// string_view::find; that one is no constant in g++ 12 with -fsanitize=undefined.
[[nodiscard]] constexpr std::size_t position_of(char c, std::string_view in) noexcept {
    for (std::size_t i = 0; i < in.size(); ++i) {
        if (in[i] == c) return i;
    }
    return std::string_view::npos;
}

[[nodiscard]] constexpr spelling spell(std::string_view text) noexcept {
    spelling s;
    const auto open = position_of('(', text);
    s.name = text.substr(0, open);
    s.is_right = is_name(s.name);
    if (open == std::string_view::npos) return s;
    s.names_parameters = true;
    text.remove_prefix(open + 1);
    s.is_right = s.is_right && text.ends_with(')');
    if (!s.is_right) return s;
    text.remove_suffix(1);
    while (!text.empty() && s.is_right) {
        const auto comma = position_of(',', text);
        auto one = text.substr(0, comma);
        while (one.starts_with(' ')) one.remove_prefix(1);
        s.is_right = !s.takes_rest && s.count < s.parameters.size();
        if (one.ends_with("...")) {
            s.takes_rest = true;
            one.remove_suffix(3);
        }
        s.is_right = s.is_right && is_name(one) &&
                     !(comma != std::string_view::npos && comma + 1 == text.size());
        if (s.is_right) s.parameters[s.count++] = one;
        text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    }
    return s;
}

/// The number by which a method is called.
[[nodiscard]] constexpr std::uint64_t number_of(std::string_view name) noexcept {
    return parley::detail::type_text().put("method ").put(name).fingerprint();
}

}  // namespace rpc
}  // namespace v1
}  // namespace parley
