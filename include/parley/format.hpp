// SPDX-License-Identifier: MIT
// fmt prints the words of parley: the only header that needs fmt.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/uri.hpp>

#include <fmt/format.h>

#include <string_view>

/// `fmt::print("{:>30}", parley::errc::closed)`: what the error means, in words. Each formatter
/// here takes the format of text: width, alignment, precision.
template <>
struct fmt::formatter<parley::errc> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(parley::errc e, Context& out) const {
        return fmt::formatter<std::string_view>::format(parley::describe(e), out);
    }
};

/// The message of an error code of any category.
template <>
struct fmt::formatter<parley::error_code> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const parley::error_code& ec, Context& out) const {
        return fmt::formatter<std::string_view>::format(ec.message(), out);
    }
};

template <>
struct fmt::formatter<parley::uri> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const parley::uri& address, Context& out) const {
        return fmt::formatter<std::string_view>::format(address.text(), out);
    }
};

template <>
struct fmt::formatter<parley::diagnostics> : fmt::formatter<std::string_view> {
    template <class Context>
    auto format(const parley::diagnostics& diag, Context& out) const {
        return fmt::formatter<std::string_view>::format(diag.text(), out);
    }
};
