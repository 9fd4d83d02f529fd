// SPDX-License-Identifier: MIT
// JSON texts in a stream of bytes: one on each line, or each behind a header that tells its length.
#pragma once

#include <parley/base/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {
namespace rpc {

/// Cuts a stream into texts, and frames answers as the other side frames its own:
///
///     {"jsonrpc":"2.0","method":"sum","params":[1,2],"id":1}\n
///
///     Content-Length: 54\r\n \r\n {"jsonrpc": …                       (as editors do)
///
/// What the first bytes look like decides. Nothing in a text is looked at. Lifetime: a text until
/// the next feed or next. Errors: message_too_large; corrupt: no header that tells a length; both
/// are for good.
class json_stream {
public:
    static constexpr std::size_t header_bytes_max = 4096;

    explicit json_stream(std::size_t text_bytes_max) : most_(text_bytes_max) {}

    void feed(std::string_view bytes) {
        if (at_ > 0 && (at_ == bytes_.size() || at_ > most_)) {
            bytes_.erase(0, at_);
            looked_ -= at_;
            at_ = 0;
        }
        bytes_ += bytes;
    }
    /// The next text, would_block if it is not there yet.
    [[nodiscard]] result<std::string_view> next() {
        if (broken_) return broken_;
        if (how_ == framing::unknown) decide();
        if (how_ == framing::lines) return next_line();
        if (how_ == framing::headers) return next_body();
        return errc::would_block;
    }
    /// After the end of the stream: what is left, if it is a line without an end.
    [[nodiscard]] std::optional<std::string_view> last() {
        if (broken_ || how_ == framing::headers) return std::nullopt;
        const auto rest = std::string_view(bytes_).substr(at_);
        at_ = bytes_.size();
        if (rest.find_first_not_of(" \t\r") == rest.npos) return std::nullopt;
        return rest;
    }
    /// Appends a text in its frame.
    void write(std::string_view text, std::string& to) const {
        if (how_ == framing::headers) {
            ((to += "Content-Length: ") += std::to_string(text.size())) += "\r\n\r\n";
            to += text;
        } else {
            (to += text) += '\n';
        }
    }

private:
    enum class framing : std::uint8_t { unknown, lines, headers };
    static constexpr std::string_view length_name = "content-length:";
    static constexpr std::string_view type_name = "content-type:";

    [[nodiscard]] static bool begins_with(std::string_view line, std::string_view name) noexcept {
        for (std::size_t i = 0; i < name.size() && i < line.size(); ++i) {
            const char c = line[i];
            if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != name[i]) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] static bool is_space(char c) noexcept {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
    }
    void decide() {
        while (at_ < bytes_.size() && is_space(bytes_[at_])) ++at_;
        if (at_ == bytes_.size()) return;
        const auto rest = std::string_view(bytes_).substr(at_);
        looked_ = at_;
        if (!begins_with(rest, length_name) && !begins_with(rest, type_name)) {
            how_ = framing::lines;
        } else if (rest.size() >= length_name.size()) {
            how_ = framing::headers;
        }
    }
    [[nodiscard]] result<std::string_view> next_line() {
        for (;;) {
            const auto end = bytes_.find('\n', looked_);
            if (end == bytes_.npos) {
                looked_ = bytes_.size();
                return looked_ - at_ > most_ ? fail(errc::message_too_large)
                                             : make_error_code(errc::would_block);
            }
            const auto line = std::string_view(bytes_).substr(at_, end - at_);
            at_ = looked_ = end + 1;
            if (line.size() > most_) return fail(errc::message_too_large);
            if (line.find_first_not_of(" \t\r") != line.npos) return line;
        }
    }
    [[nodiscard]] result<std::string_view> next_body() {
        const auto rest = std::string_view(bytes_).substr(at_);
        const auto end = rest.find("\r\n\r\n");
        if (end == rest.npos || end > header_bytes_max) {
            return rest.size() > header_bytes_max ? fail(errc::corrupt)
                                                  : make_error_code(errc::would_block);
        }
        const auto length = length_in(rest.substr(0, end + 2));
        if (!length) return fail(errc::corrupt);
        if (*length > most_) return fail(errc::message_too_large);
        if (rest.size() - end - 4 < *length) return errc::would_block;
        at_ += end + 4 + *length;
        return rest.substr(end + 4, *length);
    }
    /// The length that header lines tell, all of which must be known.
    [[nodiscard]] static std::optional<std::size_t> length_in(std::string_view lines) {
        std::optional<std::size_t> length;
        while (!lines.empty()) {
            const auto end = lines.find("\r\n");
            auto line = lines.substr(0, end);
            lines.remove_prefix(end + 2);
            if (line.size() > type_name.size() && begins_with(line, type_name)) continue;
            if (line.size() <= length_name.size() || !begins_with(line, length_name) || length) {
                return std::nullopt;
            }
            line.remove_prefix(length_name.size());
            while (line.starts_with(' ')) line.remove_prefix(1);
            if (line.empty() || line.size() > 10) return std::nullopt;
            length = 0;
            for (const char c : line) {
                if (c < '0' || c > '9') return std::nullopt;
                length = *length * 10 + static_cast<std::size_t>(c - '0');
            }
        }
        return length;
    }
    error_code fail(errc e) { return broken_ = make_error_code(e); }

    std::string bytes_;
    std::size_t most_, at_ = 0, looked_ = 0;  // before looked_ there is no end of line
    framing how_ = framing::unknown;
    error_code broken_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
