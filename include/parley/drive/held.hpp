// SPDX-License-Identifier: MIT
// What a channel holds for its user without a copy: messages under construction, and received ones.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/codec/codec.hpp>
#include <parley/transport/transport.hpp>

#include <cstddef>
#include <new>
#include <utility>

namespace parley {
inline namespace v1 {

/// A message under construction, in the memory that travels: fill it, then `send(std::move(it))`.
/// Dropped, it was never there. `T` is trivially copyable; its members hold whatever the memory
/// held before, so fill them all.
template <class T, sink S>
class loaned {
public:
    explicit loaned(typename S::loan l) noexcept : loan_(std::move(l)) {}

    [[nodiscard]] T* operator->() const noexcept { return get(); }
    [[nodiscard]] T& operator*() const noexcept { return *get(); }
    [[nodiscard]] T* get() const noexcept {
        return std::launder(reinterpret_cast<T*>(loan_.bytes().data()));
    }
    [[nodiscard]] typename S::loan release() && noexcept { return std::move(loan_); }

private:
    typename S::loan loan_;
};

/// Bytes under construction, for channels of bytes; `shrink(n)` keeps the first n.
template <sink S>
class loaned_bytes {
public:
    explicit loaned_bytes(typename S::loan l) noexcept : loan_(std::move(l)) {}

    [[nodiscard]] mutable_bytes bytes() const noexcept { return loan_.bytes(); }
    void shrink(std::size_t n) noexcept { loan_.shrink(n); }
    [[nodiscard]] typename S::loan release() && noexcept { return std::move(loan_); }

private:
    typename S::loan loan_;
};

/// A received message, looked at where it lies and let go when this is destroyed. What it points
/// to (also a string_view or span inside a T) lives exactly as long. It belongs to the thread of
/// its receiver and must not outlive it. Over shared memory the writer can still change it: a
/// hostile one may do so after the check, so copy first what must not move.
template <class T, source S>
class borrowed {
public:
    borrowed(typename S::view v, const T* in_place) noexcept
        : view_(std::move(v)), in_place_(in_place) {}

    [[nodiscard]] const T* operator->() const noexcept { return in_place_; }
    [[nodiscard]] const T& operator*() const noexcept { return *in_place_; }

private:
    typename S::view view_;
    const T* in_place_;
};

template <class T, source S>
requires(!codec<T>::in_place) class borrowed<T, S> {
public:
    borrowed(typename S::view v, T value) : view_(std::move(v)), value_(std::move(value)) {}

    [[nodiscard]] const T* operator->() const noexcept { return &value_; }
    [[nodiscard]] const T& operator*() const noexcept { return value_; }

private:
    typename S::view view_;
    T value_;
};

}  // namespace v1
}  // namespace parley
