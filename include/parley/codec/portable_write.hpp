// SPDX-License-Identifier: MIT
// Writes portable messages: first measured, then written, never allocating.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/codec/portable_type.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// What `codec<T>::size` returns for a value that has no encoding: more than 2^32-1 elements,
/// structs nested beyond `portable_depth_max`, a variant that lost its value in an exception.
inline constexpr std::size_t unencodable = std::numeric_limits<std::size_t>::max();

namespace detail {

template <class T>
using bits_of = std::conditional_t<
    sizeof(T) == 1, std::uint8_t,
    std::conditional_t<sizeof(T) == 2, std::uint16_t,
                       std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>>;

template <class T, class F, std::size_t... I>
bool each_of_tuple(T& of, F visit, std::index_sequence<I...>) {
    using std::get;  // found for std::tuple where its header is known, at the call
    return (visit(get<I>(of)) && ...);
}
template <class T, class F>
bool each_of_tuple(T& of, F visit) {
    using plain = std::remove_const_t<T>;
    return each_of_tuple(of, visit, std::make_index_sequence<std::tuple_size<plain>::value>{});
}

template <class T, class F, std::size_t... I>
bool visit_alternative(T& of, std::size_t index, F visit, std::index_sequence<I...>) {
    return ((I == index && visit(*get_if<I>(&of))) || ...);
}
/// Calls `visit` with the value in a variant.
template <class T, class F>
bool visit_alternative(T& of, std::size_t index, F visit) {
    using plain = std::remove_const_t<T>;
    return visit_alternative(of, index, visit,
                             std::make_index_sequence<variant_traits<plain>::size>{});
}

template <class T>
concept in_one_piece = contiguous<T> && as_in_memory<std::remove_cv_t<typename T::value_type>>;

/// Adds up what values take in a message.
class portable_meter {
public:
    template <class T>
    bool add(const T& v) {
        constexpr kind k = kind_of<T>;
        constexpr extent e = extent_of<T>();
        if constexpr (e.fixed) {
            bytes_ += e.least;
            return true;
        } else if constexpr (k == kind::text || k == kind::bytes) {
            bytes_ += v.size();
            return add_count(v.size());
        } else if constexpr (k == kind::optional) {
            bytes_ += 1;
            return !v.has_value() || add(*v);
        } else if constexpr (k == kind::variant) {
            bytes_ += 1;
            return visit_alternative(v, v.index(), [&](const auto& a) { return add(a); });
        } else if constexpr (k == kind::tuple) {
            return each_of_tuple(v, [&](const auto& element) { return add(element); });
        } else if constexpr (k == kind::aggregate) {
            if (depth_ == portable_depth_max) return false;
            ++depth_;
            const bool ok = each_member(v, [&](const auto& member) { return add(member); });
            --depth_;
            return ok;
        } else if constexpr (k == kind::custom) {
            const std::size_t n = codec<T>::size(v);
            bytes_ += n;
            return add_count(n);
        } else {
            return add_elements<k>(v);
        }
    }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    template <kind Kind, class T>
    bool add_elements(const T& v) {
        if constexpr (Kind == kind::map || Kind == kind::multimap) {
            for (const auto& [key, value] : v) {
                if (!add(key) || !add(value)) return false;
            }
            return add_count(v.size());
        } else if constexpr (Kind == kind::array) {
            for (const auto& element : v) {
                if (!add(element)) return false;
            }
            return true;
        } else {
            constexpr extent each = extent_of<typename T::value_type>();
            if constexpr (each.fixed) {
                bytes_ += each.least * v.size();
            } else {
                for (const auto& element : v) {
                    if (!add(element)) return false;
                }
            }
            return add_count(v.size());
        }
    }
    bool add_count(std::size_t n) {
        bytes_ += 4;
        return n <= std::numeric_limits<std::uint32_t>::max();
    }

    std::size_t bytes_ = 0;
    unsigned depth_ = 0;
};

/// Writes values that were measured, one behind another.
class portable_writer {
public:
    explicit portable_writer(std::byte* at) : at_(at) {}

    template <class T>
    bool put(const T& v) {
        constexpr kind k = kind_of<T>;
        if constexpr (k <= kind::real) {
            put_bits(std::bit_cast<bits_of<T>>(v));
        } else if constexpr (k == kind::enumeration) {
            put(static_cast<std::underlying_type_t<T>>(v));
        } else if constexpr (k == kind::text || k == kind::bytes) {
            put_count(v.size());
            put_block(v.data(), v.size());
        } else if constexpr (k == kind::duration) {
            put(v.count());
        } else if constexpr (k == kind::time) {
            put(v.time_since_epoch());
        } else if constexpr (k == kind::optional) {
            put(v.has_value());
            if (v.has_value()) put(*v);
        } else if constexpr (k == kind::variant) {
            put(static_cast<std::uint8_t>(v.index()));
            visit_alternative(v, v.index(), [&](const auto& a) { return put(a); });
        } else if constexpr (k == kind::tuple) {
            each_of_tuple(v, [&](const auto& element) { return put(element); });
        } else if constexpr (k == kind::aggregate) {
            each_member(v, [&](const auto& member) { return put(member); });
        } else if constexpr (k == kind::opaque) {
            put_block(&v, sizeof v);
        } else if constexpr (k == kind::custom) {
            const std::size_t n = codec<T>::size(v);
            put_count(n);
            codec<T>::encode(v, {at_, n});
            at_ += n;
        } else {
            put_elements<k>(v);
        }
        return true;
    }
    [[nodiscard]] const std::byte* at() const { return at_; }

private:
    template <kind Kind, class T>
    void put_elements(const T& v) {
        if constexpr (Kind == kind::array) {
            if constexpr (as_in_memory<typename array_traits<T>::element>) {
                put_block(&v, sizeof v);
            } else {
                for (const auto& element : v) put(element);
            }
        } else {
            put_count(v.size());
            if constexpr (Kind == kind::map || Kind == kind::multimap) {
                for (const auto& [key, value] : v) {
                    put(key);
                    put(value);
                }
            } else if constexpr (in_one_piece<T>) {
                put_block(v.data(), v.size() * sizeof(typename T::value_type));
            } else {
                // The element type is named for vector<bool>, whose elements are no bool.
                for (const typename T::value_type& element : v) put(element);
            }
        }
    }
    template <class U>
    void put_bits(U bits) {
        store_le(at_, bits);
        at_ += sizeof bits;
    }
    void put_count(std::size_t n) { put_bits(static_cast<std::uint32_t>(n)); }
    void put_block(const void* from, std::size_t n) {
        if (n != 0) std::memcpy(at_, from, n);
        at_ += n;
    }

    std::byte* at_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
