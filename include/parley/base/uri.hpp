// SPDX-License-Identifier: MIT
// Addresses as text: parse, read the options with their positions, print back.
#pragma once

#include <parley/base/error.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// An address as text, `scheme://body?key=value&…` or `scheme:?key=value`. A regular value: it
/// holds any text and never fails; `uri_reader` and every `open` check it.
class uri {
public:
    uri() = default;
    explicit uri(std::string text) : text_(std::move(text)) {}
    explicit uri(std::string_view text) : text_(text) {}
    explicit uri(const char* text) : text_(text) {}

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    /// What stands before the first colon; empty if there is none.
    [[nodiscard]] std::string_view scheme() const noexcept {
        const auto colon = text_.find(':');
        return colon == std::string::npos ? std::string_view{}
                                          : std::string_view(text_).substr(0, colon);
    }
    friend bool operator==(const uri&, const uri&) = default;

private:
    std::string text_;
};

/// Writes a URI option by option: `uri_writer("shm", name).option("slots", 4).done()`.
/// Bytes that would end a part are percent-encoded.
class uri_writer {
public:
    uri_writer(std::string_view scheme, std::string_view body) : text_(scheme) {
        text_ += "://";
        escape(body);
    }
    /// For addresses without a body: `pipe:?fd=3`.
    explicit uri_writer(std::string_view scheme) : text_(scheme) { text_ += ':'; }

    uri_writer& option(std::string_view key, std::string_view value) {
        text_ += std::exchange(separator_, '&');
        text_ += key;
        text_ += '=';
        escape(value);
        return *this;
    }
    uri_writer& option(std::string_view key, std::uint64_t value) {
        return option(key, std::to_string(value));
    }
    [[nodiscard]] uri done() const { return uri(text_); }

private:
    void escape(std::string_view part) {
        constexpr std::string_view hex = "0123456789abcdef";
        for (const char c : part) {
            const auto u = static_cast<unsigned char>(c);
            if (u <= 0x20 || u >= 0x7f || c == '?' || c == '&' || c == '%' || c == '#') {
                text_ += '%';
                text_ += hex[u >> 4];
                text_ += hex[u & 15];
            } else {
                text_ += c;
            }
        }
    }

    std::string text_;
    char separator_ = '?';
};

namespace detail {

/// See uri_reader. A template, so that only who reads a URI compiles it.
template <class Lazy>
class basic_uri_reader {
public:
    basic_uri_reader(const uri& from, diagnostics& diag) : text_(from.text()), diag_(diag) {
        parse();
    }
    basic_uri_reader(const basic_uri_reader&) = delete;  // scheme() points into the text within
    basic_uri_reader& operator=(const basic_uri_reader&) = delete;

    [[nodiscard]] std::string_view scheme() const noexcept { return scheme_; }
    /// Between `//` and `?`, decoded; empty if there is none.
    [[nodiscard]] const std::string& body() const noexcept { return body_; }

    /// The value of an option, or nullptr if it is not there. It counts as known from now on.
    [[nodiscard]] const std::string* option(std::string_view key) {
        for (auto& o : options_) {
            if (o.key == key) {
                o.known = true;
                return &o.value;
            }
        }
        return nullptr;
    }
    /// Reads a whole number within [low, high] into `out` if the option is there.
    template <class Number>
    void number(std::string_view key, Number& out, std::uint64_t low, std::uint64_t high) {
        const auto* text = option(key);
        if (text == nullptr) return;
        std::uint64_t n = 0;
        const auto* last = text->data() + text->size();
        const auto [end, ec] = std::from_chars(text->data(), last, n);
        if (ec != std::errc{} || end != last || n < low || n > high) {
            fail_option(key, "wants a whole number from " + std::to_string(low) + " to " +
                                 std::to_string(high));
            return;
        }
        out = static_cast<Number>(n);
    }
    /// Reads one of some words into `out` if the option is there.
    template <class Value, std::size_t N>
    void choice(std::string_view key, Value& out,
                const std::pair<std::string_view, Value> (&words)[N]) {
        const auto* text = option(key);
        if (text == nullptr) return;
        std::string all;
        for (const auto& [word, value] : words) {
            if (*text == word) {
                out = value;
                return;
            }
            (all += all.empty() ? "" : ", ") += word;
        }
        fail_option(key, "wants one of: " + all);
    }
    /// Records a mistake in the value of an option, at its position.
    void fail_option(std::string_view key, std::string_view why) {
        for (const auto& o : options_) {
            if (o.key == key) {
                fail(o.position, std::string("option '") + o.key + "' " + std::string(why) +
                                     ", not '" + o.value + "'");
            }
        }
    }
    /// Records a mistake in the body, at its position.
    void fail_body(std::string_view why) { fail(body_position_, why); }

    /// Success, or `invalid_argument` with the first mistake and its position in the diagnostics.
    [[nodiscard]] result<void> finish() {
        for (const auto& o : options_) {
            if (!o.known) fail(o.position, "unknown option '" + o.key + "'");
        }
        if (error_.empty()) return {};
        return diag_.fail(errc::invalid_argument, "address '" + text_ + "', position " +
                                                      std::to_string(position_) + ": " + error_);
    }

private:
    struct part {
        std::string key, value;
        std::size_t position = 0;
        bool known = false;
    };

    void fail(std::size_t position, std::string_view why) {
        if (!error_.empty()) return;
        error_ = why;
        position_ = position;
    }

    static int hex_digit(char c) noexcept {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    }

    std::string decode(std::size_t from, std::size_t to) {
        std::string out;
        for (std::size_t i = from; i < to; ++i) {
            if (text_[i] != '%') {
                out += text_[i];
                continue;
            }
            const int high = digit_at(i + 1, to);
            const int low = digit_at(i + 2, to);
            if (high < 0 || low < 0) {
                fail(i, "'%' wants two hexadecimal digits after it");
                return out;
            }
            out += static_cast<char>(high * 16 + low);
            i += 2;
        }
        if (out.find('\0') != std::string::npos) fail(from, "a zero byte has no place here");
        return out;
    }
    int digit_at(std::size_t i, std::size_t end) const noexcept {
        return i < end ? hex_digit(text_[i]) : -1;
    }

    std::size_t find_or_end(char c, std::size_t from) const noexcept {
        const auto at = text_.find(c, from);
        return at == std::string::npos ? text_.size() : at;
    }

    void parse() {
        const auto colon = text_.find(':');
        if (colon == std::string::npos || colon == 0) {
            return fail(0, "wants a scheme first, as in shm://name");
        }
        for (std::size_t i = 0; i < colon; ++i) {
            const char c = text_[i];
            const bool letter = (c >= 'a' && c <= 'z') || c == '_';
            if (!letter && !(i > 0 && c >= '0' && c <= '9')) {
                return fail(i, "a scheme is made of lower-case letters, digits and '_'");
            }
        }
        scheme_ = std::string_view(text_).substr(0, colon);
        std::size_t at = colon + 1;
        const auto question = find_or_end('?', at);
        if (std::string_view(text_).substr(at, 2) == "//") {
            at += 2;
            body_position_ = at;
            body_ = decode(at, question);
        } else if (at != question) {
            return fail(at, "wants '//' or '?' after the scheme");
        }
        for (at = question; at < text_.size();) {
            at = parse_option(at + 1);
        }
    }

    std::size_t parse_option(std::size_t at) {
        const auto end = find_or_end('&', at);
        const auto equals = text_.find('=', at);
        if (equals == std::string::npos || equals >= end || equals == at) {
            fail(at, "wants options as key=value");
            return text_.size();
        }
        part o{decode(at, equals), decode(equals + 1, end), at, false};
        for (const auto& other : options_) {
            if (other.key == o.key) fail(at, "option '" + o.key + "' stands twice");
        }
        options_.push_back(std::move(o));
        return end;
    }

    std::string text_;
    diagnostics& diag_;
    std::string_view scheme_;
    std::string body_;
    std::size_t body_position_ = 0;
    std::vector<part> options_;
    std::string error_;
    std::size_t position_ = 0;
};

}  // namespace detail

/// Reads a URI part by part and remembers the first mistake with its position, in characters from
/// the start: read everything, then ask `finish()` once. An option nobody asked for is a mistake.
using uri_reader = detail::basic_uri_reader<void>;

}  // namespace v1
}  // namespace parley
