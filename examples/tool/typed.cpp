// SPDX-License-Identifier: MIT
// A reader of type descriptions (codec/raw_type.hpp, codec/portable_type.hpp) that reads the
// message along: in a raw one members lie where "@" says, in a portable one behind each other.
#include "typed.hpp"

#include "tool.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace tool {
namespace {

/// What a type takes in memory; of raw ones.
struct extent {
    std::size_t size = 0, align = 1;
};

class interpreter {
public:
    interpreter(std::string_view text, parley::bytes message, bool raw, std::string& out)
        : text_(text), message_(message), raw_(raw), out_(out) {}

    /// The value at the beginning. False: something was not as it should be.
    bool all(std::string_view rest) {
        const extent e = value();
        return !bad_ && text_.substr(at_) == rest && (raw_ ? e.size : here_) <= message_.size() &&
               (raw_ || here_ == message_.size());
    }

private:
    // --- the text --------------------------------------------------------------------------
    bool take(std::string_view word) {
        if (!text_.substr(at_).starts_with(word)) return false;
        at_ += word.size();
        return true;
    }
    void want(std::string_view word) {
        if (!take(word)) bad_ = true;
    }
    std::size_t number() {
        std::size_t n = 0;
        const auto* const end = text_.data() + text_.size();
        const auto [stop, ec] = std::from_chars(text_.data() + at_, end, n);
        if (ec != std::errc()) bad_ = true;
        at_ = static_cast<std::size_t>(stop - text_.data());
        return n;
    }

    // --- the message -----------------------------------------------------------------------
    /// The next n bytes; empty, and bad, if there are not so many.
    parley::bytes next(std::size_t n) {
        if (dry_) return {};
        if (here_ > message_.size() || n > message_.size() - here_) {
            bad_ = true;
            return {};
        }
        const auto b = message_.subspan(here_, n);
        here_ += n;
        return b;
    }
    std::size_t count() {
        const auto b = next(4);
        return b.empty() ? 0 : parley::load_le<std::uint32_t>(b.data());
    }
    void put(std::string_view words) {
        if (!dry_) out_ += words;
        if (out_.size() > most_text) bad_ = true;
    }

    // --- types -----------------------------------------------------------------------------
    /// One type with its extents behind it, "u8[4][3]", and its value, unless this is a dry run.
    extent value() {
        if (bad_ || ++depth_ > 64) {
            bad_ = true;
            return {};
        }
        const std::size_t from = at_, start = here_;
        const bool was_dry = std::exchange(dry_, true);
        extent one = simple();
        std::vector<std::size_t> extents;
        while (!bad_ && take("[")) {
            extents.push_back(number());
            want("]");
        }
        const std::size_t behind = at_;
        dry_ = was_dry;
        here_ = start;
        if (!dry_ && !bad_) array(from, one, extents, extents.size());
        at_ = behind;
        for (const auto n : extents) one.size *= std::min<std::size_t>(n, 1U << 24);
        --depth_;
        return one;
    }
    /// The outermost `level` of the extents.
    void array(std::size_t from, extent one, const std::vector<std::size_t>& extents,
               std::size_t level) {
        at_ = from;
        if (level == 0) {
            (void)simple();
            return;
        }
        const std::size_t n = extents[level - 1], start = here_;
        if (level == 1 && (text_.substr(from).starts_with("char[") ||
                           (text_.substr(from).starts_with("u8[") && n > 32))) {
            const auto b = next(n);
            const auto text = parley::as_text(b);
            put(text_[from] == 'c' ? json_text(text.substr(0, text.find('\0')))
                                   : json_text(hex(b, n, "")));
            return;
        }
        std::size_t stride = one.size;
        for (std::size_t i = 0; i + 1 < level; ++i) stride *= extents[i];
        put("[");
        for (std::size_t i = 0; i < n && !bad_; ++i) {
            put(i == 0 ? "" : ", ");
            if (raw_) here_ = start + i * stride;
            array(from, one, extents, level - 1);
        }
        put("]");
    }
    extent simple() {
        if (take("{")) return structure();
        if (take("^")) return outer(number());
        if (take("bool"))
            return scalar(1, [&](auto b) { put(b[0] != std::byte{0} ? "true" : "false"); });
        if (take("char")) return scalar(1, [&](auto b) { put(json_text(parley::as_text(b))); });
        if (take("wchar") || take("enum:u") || take("u")) return integer(false);
        if (take("enum:i") || take("i")) return integer(true);
        if (take("enum:char")) return scalar(1, [&](auto b) { put(fmt::format("{}", int(b[0]))); });
        if (take("f")) return real();
        if (take("duration<")) return duration();
        if (take("time<")) return inside();
        if (take("opaque ")) return opaque();
        if (!raw_) return container();
        bad_ = true;
        return {};
    }
    template <class Put>
    extent scalar(std::size_t n, Put&& put_it) {
        if (const auto b = next(n); !b.empty()) put_it(b);
        return {n, n};
    }
    extent integer(bool is_signed) {
        const std::size_t n = number() / 8;
        if (n != 1 && n != 2 && n != 4 && n != 8) bad_ = true;
        if (bad_) return {};
        return scalar(n, [&](parley::bytes b) {
            std::uint64_t v = 0;
            std::memcpy(&v, b.data(), n);  // little-endian; another order is refused before
            const unsigned unused = 64 - static_cast<unsigned>(n) * 8;
            put(is_signed ? fmt::format("{}", static_cast<std::int64_t>(v << unused) >> unused)
                          : fmt::format("{}", v));
        });
    }
    extent real() {
        const std::size_t n = number() / 8;
        if (n != 4 && n != 8) bad_ = true;
        if (bad_) return {};
        return scalar(n, [&](parley::bytes b) {
            float f = 0;
            double d = 0;
            std::memcpy(n == 4 ? static_cast<void*>(&f) : &d, b.data(), n);
            if (n == 4) put(std::isfinite(f) ? fmt::format("{}", f) : "null");
            if (n == 8) put(std::isfinite(d) ? fmt::format("{}", d) : "null");
        });
    }
    extent duration() {
        const extent e = value();
        want(" ");
        (void)number();
        want("/");
        (void)number();
        want(">");
        return e;
    }
    extent inside() {
        const extent e = value();
        want(">");
        return e;
    }
    extent opaque() {
        const std::size_t n = number();
        want("/");
        const std::size_t align = number();
        if (!raw_) want(" little-endian");
        put(json_text(hex(next(n), n, "")));
        return {n, std::max<std::size_t>(align, 1)};
    }
    extent structure() {
        const std::size_t start = here_;
        extent whole{0, 1};
        structs_.push_back(at_);
        put("[");
        for (bool first = true; !bad_ && !take("}"); first = false) {
            if (!first) want(", ");
            put(first ? "" : ", ");
            const extent member = raw_ ? placed(start) : value();
            whole.size = std::max(whole.size, member.size);
            whole.align = std::max(whole.align, member.align);
        }
        put("]");
        structs_.pop_back();
        whole.size = (whole.size + whole.align - 1) / whole.align * whole.align;
        return whole;
    }
    /// "u32 @4": the place is known only behind the type. What it reaches up to is the size.
    extent placed(std::size_t start) {
        const std::size_t from = at_;
        const bool was_dry = std::exchange(dry_, true);
        extent e = value();
        dry_ = was_dry;
        want(" @");
        const std::size_t offset = number();
        const std::size_t behind = at_;
        if (!dry_ && !bad_) {
            at_ = from;
            here_ = start + offset;
            (void)value();
            at_ = behind;
        }
        e.size += offset;
        return e;
    }
    /// A type that contains itself: the struct so many levels out, once more.
    extent outer(std::size_t levels) {
        if (levels == 0 || levels > structs_.size()) bad_ = true;
        if (bad_ || dry_) return {};
        const std::size_t behind = at_;
        auto kept = structs_;
        at_ = structs_[structs_.size() - levels];
        structs_.resize(structs_.size() - levels);
        (void)structure();
        structs_ = std::move(kept);
        at_ = behind;
        return {};
    }

    // --- what only portable messages have --------------------------------------------------
    extent container() {
        if (take("text")) {
            const auto b = next(count());
            if (!dry_) put(json_text(parley::as_text(b)));
        } else if (take("bytes") || take("custom #")) {
            while (at_ < text_.size() && std::isxdigit(static_cast<unsigned char>(text_[at_])) != 0)
                ++at_;
            const auto b = next(count());
            if (!dry_) put(json_text(hex(b, b.size(), "")));
        } else if (take("list<") || take("set<") || take("multiset<")) {
            elements(1);
        } else if (take("map<") || take("multimap<")) {
            elements(2);
        } else if (take("optional<")) {
            const auto there = next(1);
            const bool empty = dry_ || there.empty() || there[0] == std::byte{0};
            if (empty) put("null");
            in_turn(1, empty ? 1 : 0);
        } else if (take("variant<")) {
            const auto index = next(1);
            in_turn(256, index.empty() ? 256 : static_cast<std::size_t>(index[0]));
        } else {
            bad_ = true;
        }
        return {};
    }
    /// Of up to `most` types the one with this number has a value, the others are skipped.
    void in_turn(std::size_t most, std::size_t which) {
        bool found = dry_ || which >= most;
        for (std::size_t i = 0; i < most && !bad_; ++i) {
            if (i > 0 && !take(", ")) break;
            const bool was_dry = dry_;
            dry_ = dry_ || i != which;
            found = found || i == which;
            (void)value();
            dry_ = was_dry;
        }
        want(">");
        if (!found) bad_ = true;
    }
    /// As many as the count says, each of `parts` types: a list, or a map as a list of pairs.
    void elements(std::size_t parts) {
        const std::size_t n = count(), from = at_;
        put("[");
        for (std::size_t i = 0; i < n && !bad_; ++i) {
            at_ = from;
            const std::size_t before = here_;
            put(i == 0 ? "" : ", ");
            put(parts == 2 ? "[" : "");
            for (std::size_t p = 0; p < parts && !bad_; ++p) {
                if (p > 0) want(", ");
                put(p > 0 ? ", " : "");
                (void)value();
            }
            put(parts == 2 ? "]" : "");
            if (here_ == before) bad_ = true;  // elements of no bytes are not counted
        }
        put("]");
        at_ = from;
        const bool was_dry = std::exchange(dry_, true);
        for (std::size_t p = 0; p < parts && !bad_; ++p) {
            if (p > 0) want(", ");
            (void)value();
        }
        dry_ = was_dry;
        want(">");
    }

    static constexpr std::size_t most_text = 16 << 20;

    std::string_view text_;
    parley::bytes message_;
    bool raw_;
    std::string& out_;
    std::size_t at_ = 0, here_ = 0;  // in the text, in the message
    std::vector<std::size_t> structs_;
    std::size_t depth_ = 0;
    bool dry_ = false;
    bool bad_ = false;
};

}  // namespace

bool append_value(std::string& out, std::string_view description, parley::bytes message) {
    if constexpr (std::endian::native != std::endian::little) return false;
    if (description == "text") {
        out += json_text(parley::as_text(message));
        return true;
    }
    const std::size_t before = out.size();
    bool good = false;
    if (constexpr std::string_view portable = "portable "; description.starts_with(portable)) {
        good = interpreter(description.substr(portable.size()), message, false, out).all("");
    } else if (constexpr std::string_view raw = "raw "; description.starts_with(raw)) {
        const auto end = std::min(description.find(" size "), description.size());
        const std::string rest =
            fmt::format(" size {} align ", message.size());  // and the alignment, and the order
        if (description.substr(end).starts_with(rest) && description.ends_with(" little-endian")) {
            good = interpreter(description.substr(raw.size(), end - raw.size()), message, true, out)
                       .all("");
        }
    }
    if (!good) out.resize(before);
    return good;
}

std::string hex(parley::bytes b, std::size_t most, std::string_view between) {
    std::string out;
    for (std::size_t i = 0; i < std::min(most, b.size()); ++i) {
        out += fmt::format("{}{:02x}", i == 0 ? "" : between, static_cast<unsigned>(b[i]));
    }
    return out;
}

}  // namespace tool
