// SPDX-License-Identifier: MIT
// A reader of type descriptions (codec/portable_type.hpp) that writes the value along.
#include "typed_write.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace tool {
namespace {

namespace json = boost::json;

class portable_writer {
public:
    portable_writer(std::string_view text, std::vector<std::byte>& out, std::string& wrong)
        : text_(text), out_(out), wrong_(wrong) {}

    /// One type with its extents behind it, "u8[4][3]"; null: it is only read past.
    bool value(const json::value* from) {
        if (++depth_ > 64) return fail("a type that nests too deeply");
        const std::size_t start = at_;
        if (!simple(nullptr)) return false;
        std::vector<std::size_t> extents;
        while (take("[")) {
            extents.push_back(number());
            if (!take("]")) return unknown();
        }
        const std::size_t behind = at_;
        if (from != nullptr && !array(start, *from, extents, extents.size())) return false;
        at_ = behind;
        --depth_;
        return true;
    }
    [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }

private:
    bool take(std::string_view word) {
        if (!rest().starts_with(word)) return false;
        at_ += word.size();
        return true;
    }
    std::size_t number() {
        std::size_t n = 0;
        const auto* const end = text_.data() + text_.size();
        const auto [stop, ec] = std::from_chars(text_.data() + at_, end, n);
        at_ = static_cast<std::size_t>(stop - text_.data());
        return ec == std::errc() ? n : 0;
    }
    bool fail(std::string words) {
        if (wrong_.empty()) wrong_ = std::move(words);
        return false;
    }
    bool unknown() { return fail("nobody can write a '" + std::string(rest()) + "' from JSON"); }
    bool is_no(const json::value& from, const char* what) {
        return fail(json::serialize(from) + " is no " + what);
    }
    void put(const void* from, std::size_t n) {
        const auto* b = static_cast<const std::byte*>(from);
        out_.insert(out_.end(), b, b + n);
    }
    void put_count(std::size_t n) {
        std::byte b[4];
        parley::store_le(b, static_cast<std::uint32_t>(n));
        put(b, sizeof b);
    }

    bool array(std::size_t start, const json::value& from, const std::vector<std::size_t>& extents,
               std::size_t level) {
        if (level == 0) {
            at_ = start;
            return simple(&from);
        }
        const auto* all = from.if_array();
        if (all == nullptr || all->size() != extents[level - 1]) {
            return is_no(from, ("array of " + std::to_string(extents[level - 1])).c_str());
        }
        for (const auto& one : *all) {
            if (!array(start, one, extents, level - 1)) return false;
        }
        return true;
    }
    bool simple(const json::value* from) {
        if (take("bool")) return from == nullptr || boolean(*from);
        if (take("text")) return from == nullptr || text(*from);
        if (take("bytes")) return from == nullptr || hex_bytes(*from);
        if (take("{")) return structure(from);
        if (take("optional<")) return optional(from);
        if (take("list<") || take("set<") || take("multiset<")) return elements(from, 1);
        if (take("map<") || take("multimap<")) return elements(from, 2);
        if (take("enum:u") || take("u")) return integer<std::uint64_t>(from);
        if (take("enum:i") || take("i")) return integer<std::int64_t>(from);
        if (take("f")) return real(from);
        return unknown();
    }
    bool boolean(const json::value& from) {
        if (!from.is_bool()) return is_no(from, "true or false");
        const std::uint8_t b = from.get_bool() ? 1 : 0;
        put(&b, 1);
        return true;
    }
    bool text(const json::value& from) {
        if (!from.is_string()) return is_no(from, "text");
        put_count(from.get_string().size());
        put(from.get_string().data(), from.get_string().size());
        return true;
    }
    bool hex_bytes(const json::value& from) {
        if (!from.is_string() || from.get_string().size() % 2 != 0) return is_no(from, "hex text");
        const auto& s = from.get_string();
        put_count(s.size() / 2);
        for (std::size_t i = 0; i < s.size(); i += 2) {
            std::uint8_t b = 0;
            const auto [stop, ec] = std::from_chars(s.data() + i, s.data() + i + 2, b, 16);
            if (ec != std::errc() || stop != s.data() + i + 2) return is_no(from, "hex text");
            put(&b, 1);
        }
        return true;
    }
    template <class Int>
    bool integer(const json::value* from) {
        const std::size_t n = number() / 8;
        if (n != 1 && n != 2 && n != 4 && n != 8) return unknown();
        if (from == nullptr) return true;
        boost::system::error_code ec;
        const auto v = from->is_number() ? from->to_number<Int>(ec) : Int();
        const unsigned unused = 64 - static_cast<unsigned>(n) * 8;
        const auto top = static_cast<Int>(std::numeric_limits<Int>::max() >> unused);
        const auto low = static_cast<Int>(std::numeric_limits<Int>::min() >> unused);
        if (!from->is_number() || ec || v > top || v < low) {
            return is_no(*from, ("whole number of " + std::to_string(n) + " bytes").c_str());
        }
        std::byte b[8];
        parley::store_le(b, static_cast<std::uint64_t>(v));
        put(b, n);
        return true;
    }
    bool real(const json::value* from) {
        const std::size_t n = number() / 8;
        if (n != 4 && n != 8) return unknown();
        if (from == nullptr) return true;
        if (!from->is_number()) return is_no(*from, "number");
        const auto d = from->to_number<double>();
        const auto f = static_cast<float>(d);
        put(n == 4 ? static_cast<const void*>(&f) : &d, n);  // little-endian hosts only
        return true;
    }
    bool structure(const json::value* from) {
        const auto* all = from != nullptr ? from->if_array() : nullptr;
        if (from != nullptr && all == nullptr) return is_no(*from, "array of members");
        std::size_t n = 0;
        for (; !take("}"); ++n) {
            if (n > 0 && !take(", ")) return unknown();
            if (all != nullptr && n >= all->size()) return is_no(*from, "array of so many members");
            if (!value(all != nullptr ? &(*all)[n] : nullptr)) return false;
        }
        return all == nullptr || n == all->size() || is_no(*from, "array of so many members");
    }
    bool optional(const json::value* from) {
        const std::uint8_t there = from != nullptr && !from->is_null() ? 1 : 0;
        if (from != nullptr) put(&there, 1);
        return value(there == 1 ? from : nullptr) && (take(">") || unknown());
    }
    /// A list, or a map: an object, or an array of pairs.
    bool elements(const json::value* from, std::size_t parts) {
        const std::size_t start = at_;
        for (std::size_t i = 0; i < parts; ++i) {
            if ((i > 0 && !take(", ")) || !value(nullptr)) return unknown();
        }
        if (!take(">")) return unknown();
        if (from == nullptr) return true;
        const std::size_t behind = at_;
        json::array pairs;
        if (parts == 2 && from->is_object()) {
            for (const auto& [key, v] : from->get_object()) pairs.push_back(json::array{key, v});
        }
        const auto* all = from->is_array() ? &from->get_array() : &pairs;
        if (!from->is_array() && !(parts == 2 && from->is_object())) return is_no(*from, "list");
        put_count(all->size());
        for (const auto& one : *all) {
            at_ = start;
            const auto* pair = one.if_array();
            if (parts == 1 && !value(&one)) return false;
            if (parts == 1) continue;
            if (pair == nullptr || pair->size() != 2) return is_no(one, "pair");
            if (!value(&(*pair)[0]) || !take(", ") || !value(&(*pair)[1])) return false;
        }
        at_ = behind;
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    std::vector<std::byte>& out_;
    std::string& wrong_;
    unsigned depth_ = 0;
};

}  // namespace

bool append_portable(std::vector<std::byte>& out, std::string_view& description,
                     const boost::json::value& from, std::string& wrong) {
    portable_writer w(description, out, wrong);
    if (!w.value(&from)) return false;
    description = w.rest();
    return true;
}

}  // namespace tool
