// SPDX-License-Identifier: MIT
// Reads portable messages and trusts nothing in them.
#pragma once

#include <parley/codec/portable_write.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Takes values off the front of a message. Every `read` returns false, and leaves a value that
/// may be destroyed but is otherwise unspecified, if the bytes are none that a writer produces.
class portable_reader {
public:
    explicit portable_reader(bytes in) : rest_(in) {}

    template <class T>
    [[nodiscard]] bool read(T& out) {
        constexpr kind k = kind_of<T>;
        if constexpr (k == kind::boolean) {
            std::uint8_t number = 0;
            if (!read_bits(number) || number > 1) return false;
            out = number != 0;
            return true;
        } else if constexpr (k == kind::integer || k == kind::real) {
            bits_of<T> bits = 0;
            if (!read_bits(bits)) return false;
            out = std::bit_cast<T>(bits);
            return true;
        } else if constexpr (k == kind::enumeration) {
            std::underlying_type_t<T> number{};
            if (!read(number) || !enum_holds<T>(number)) return false;
            out = static_cast<T>(number);
            return true;
        } else if constexpr (k == kind::text || k == kind::bytes) {
            return read_block(out);
        } else if constexpr (k == kind::array) {
            return read_array(out);
        } else if constexpr (k == kind::duration) {
            typename T::rep count{};
            if (!read(count)) return false;
            out = T(count);
            return true;
        } else if constexpr (k == kind::time) {
            typename T::duration since_epoch{};
            if (!read(since_epoch)) return false;
            out = T(since_epoch);
            return true;
        } else if constexpr (k == kind::tuple) {
            return each_of_tuple(out, [&](auto& element) { return read(element); });
        } else if constexpr (k == kind::aggregate) {
            if (depth_ == portable_depth_max) return false;
            ++depth_;
            const bool ok = each_member(out, [&](auto& member) { return read(member); });
            --depth_;
            return ok;
        } else if constexpr (k == kind::opaque) {
            return take_into(&out, sizeof out);
        } else {
            return read_container<k>(out);
        }
    }
    /// True if nothing is left.
    [[nodiscard]] bool done() const { return rest_.empty(); }

private:
    template <kind Kind, class T>
    bool read_container(T& out) {
        if constexpr (Kind == kind::optional) {
            bool there = false;
            out.reset();
            if (!read(there)) return false;
            return !there || read(out.emplace());
        } else if constexpr (Kind == kind::variant) {
            std::uint8_t index = 0;
            return read(index) &&
                   read_alternative(out, index,
                                    std::make_index_sequence<variant_traits<T>::size>{});
        } else if constexpr (Kind == kind::custom) {
            std::uint32_t n = 0;
            if (!read(n) || n > rest_.size()) return false;
            auto value = codec<T>::decode(take(n));
            if (!value) return false;
            out = std::move(*value);
            return true;
        } else if constexpr (Kind == kind::list) {
            return read_list(out);
        } else {
            return read_associative<Kind>(out);
        }
    }
    template <class T, std::size_t... I>
    bool read_alternative(T& out, std::size_t index, std::index_sequence<I...>) {
        return ((I == index && read(out.template emplace<I>())) || ...);
    }
    template <class T>
    bool read_array(T& out) {
        if constexpr (as_in_memory<typename array_traits<T>::element>) {
            return take_into(&out, sizeof out);
        } else {
            for (auto& element : out) {
                if (!read(element)) return false;
            }
            return true;
        }
    }
    template <class T>
    bool read_block(T& out) {
        using element = typename T::value_type;
        std::uint32_t n = 0;
        if (!read(n) || n > rest_.size()) return false;
        const auto* first = reinterpret_cast<const element*>(take(n).data());
        if constexpr (resizable<T>) {
            if (n > out.max_size()) return false;
            out.assign(first, first + n);
        } else {
            out = T(first, n);
        }
        return true;
    }
    /// A count of elements that the rest of the message can hold: before anything is allocated.
    template <class Element>
    bool read_count(std::uint32_t& n) {
        constexpr std::size_t least = extent_of<Element>().least;
        return read(n) && n <= rest_.size() / least;
    }
    template <class T>
    bool read_list(T& out) {
        using element = typename T::value_type;
        std::uint32_t n = 0;
        if (!read_count<element>(n) || n > out.max_size()) return false;
        if constexpr (in_one_piece<T>) {
            out.resize(n);
            return take_into(out.data(), n * sizeof(element));
        } else {
            out.clear();
            if constexpr (requires { out.reserve(n); }) out.reserve(n);
            for (; n != 0; --n) {
                element e{};
                if (!read(e)) return false;
                out.push_back(std::move(e));
            }
            return true;
        }
    }
    template <kind Kind, class T>
    bool read_associative(T& out) {
        constexpr bool maps = Kind == kind::map || Kind == kind::multimap;
        constexpr bool unique = Kind == kind::map || Kind == kind::set;
        std::uint32_t n = 0;
        if (!read_count<typename T::key_type>(n)) return false;
        out.clear();
        for (; n != 0; --n) {
            const std::size_t before = out.size();
            typename T::key_type key{};
            if (!read(key)) return false;
            if constexpr (maps) {
                typename T::mapped_type value{};
                if (!read(value)) return false;
                out.emplace_hint(out.end(), std::move(key), std::move(value));
            } else {
                out.emplace_hint(out.end(), std::move(key));
            }
            // The same key twice: no writer does that, and one of the values would be lost.
            if (unique && out.size() == before) return false;
        }
        return true;
    }
    template <class U>
    bool read_bits(U& bits) {
        if (rest_.size() < sizeof bits) return false;
        bits = load_le<U>(take(sizeof bits).data());
        return true;
    }
    bool take_into(void* to, std::size_t n) {
        if (rest_.size() < n) return false;
        if (n != 0) std::memcpy(to, take(n).data(), n);
        return true;
    }
    bytes take(std::size_t n) {
        const bytes front = rest_.first(n);
        rest_ = rest_.subspan(n);
        return front;
    }

    bytes rest_;
    unsigned depth_ = 0;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
