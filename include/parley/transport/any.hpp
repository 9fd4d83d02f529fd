// SPDX-License-Identifier: MIT
// A transport chosen at run time: one erased sink, one erased source, and the list of transports
// that a URI may name. Nobody pays for a transport that is not in the list.
#pragma once

#include <parley/detail/later.hpp>
#include <parley/transport/transport.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// Holds one small movable object of any type, without allocation.
class small_object {
public:
    template <class Object>
    explicit small_object(Object object) noexcept : kind_(&kind_of<Object>) {
        static_assert(sizeof(Object) <= sizeof memory_ && alignof(Object) <= alignof(void*),
                      "a loan or view of a transport must stay small: 6 words at most");
        static_assert(std::is_nothrow_move_constructible_v<Object>);
        ::new (static_cast<void*>(memory_)) Object(std::move(object));
    }
    small_object(small_object&& other) noexcept : kind_(std::exchange(other.kind_, nullptr)) {
        if (kind_ != nullptr) kind_->move(memory_, other.memory_);
    }
    small_object& operator=(small_object&& other) noexcept {
        if (this != &other) {
            this->~small_object();
            ::new (this) small_object(std::move(other));
        }
        return *this;
    }
    ~small_object() {
        if (kind_ != nullptr) kind_->destroy(memory_);
    }

    template <class Object>
    [[nodiscard]] Object& as() noexcept {
        return *std::launder(reinterpret_cast<Object*>(memory_));
    }

private:
    struct kind {
        void (*move)(void* to, void* from) noexcept;
        void (*destroy)(void*) noexcept;
    };
    template <class Object>
    static constexpr kind kind_of{
        [](void* to, void* from) noexcept {
            auto& object = *static_cast<Object*>(from);
            ::new (to) Object(std::move(object));
            object.~Object();
        },
        [](void* object) noexcept { static_cast<Object*>(object)->~Object(); }};

    const kind* kind_;
    alignas(void*) std::byte memory_[6 * sizeof(void*)];
};

// Templates, so that who never opens an end by URI does not compile them.

template <class Lazy>
class erased_sink {
public:
    class loan {
    public:
        [[nodiscard]] mutable_bytes bytes() const noexcept { return bytes_; }
        void shrink(std::size_t n) noexcept {
            shrink_(object_, n);
            bytes_ = bytes_.first(n);
        }

    private:
        friend erased_sink;
        template <class Loan>
        explicit loan(Loan l) noexcept
            : bytes_(l.bytes()), shrink_(&shrink_as<Loan>), object_(std::move(l)) {}
        template <class Loan>
        static void shrink_as(detail::small_object& object, std::size_t n) noexcept {
            object.as<Loan>().shrink(n);
        }

        mutable_bytes bytes_;
        void (*shrink_)(detail::small_object&, std::size_t) noexcept;
        detail::small_object object_;
    };

    template <class S>
    requires(!std::same_as<S, erased_sink> && sink<S>) explicit erased_sink(S s)
        : end_(std::make_unique<end_of<S>>(std::move(s))) {}

    result<loan> try_loan(std::size_t n) { return end_->try_loan(n); }
    result<void> try_commit(loan l) { return end_->try_commit(std::move(l)); }
    result<void> flush(time_point until) { return end_->flush(until); }
    result<void> wait(time_point until) { return end_->wait(until); }
    result<int> pollable() { return end_->pollable(); }
    result<void> close(time_point until) { return end_->close(until); }
    [[nodiscard]] parley::limits limits() const { return end_->limits(); }
    [[nodiscard]] const diagnostics& why() const { return end_->why(); }
    [[nodiscard]] uri address() const { return end_->address(); }

private:
    struct end {
        virtual ~end() = default;
        virtual result<loan> try_loan(std::size_t n) = 0;
        virtual result<void> try_commit(loan l) = 0;
        virtual result<void> flush(time_point until) = 0;
        virtual result<void> wait(time_point until) = 0;
        virtual result<int> pollable() = 0;
        virtual result<void> close(time_point until) = 0;
        virtual parley::limits limits() const = 0;
        virtual const diagnostics& why() const = 0;
        virtual uri address() const = 0;
    };
    template <class S>
    struct end_of final : end {
        explicit end_of(S s) : real(std::move(s)) {}
        result<loan> try_loan(std::size_t n) override {
            auto l = real.try_loan(n);
            if (!l) return l.error();
            return loan(std::move(*l));
        }
        result<void> try_commit(loan l) override {
            auto& inner = l.object_.template as<typename S::loan>();
            return real.try_commit(std::move(inner));
        }
        result<void> flush(time_point until) override { return real.flush(until); }
        result<void> wait(time_point until) override { return real.wait(until); }
        result<int> pollable() override { return real.pollable(); }
        result<void> close(time_point until) override { return real.close(until); }
        parley::limits limits() const override { return real.limits(); }
        const diagnostics& why() const override { return real.why(); }
        uri address() const override { return real.address(); }
        S real;
    };

    std::unique_ptr<end> end_;
};

template <class Lazy>
class erased_source {
public:
    class view {
    public:
        [[nodiscard]] parley::bytes bytes() const noexcept { return bytes_; }

    private:
        friend erased_source;
        template <class View>
        explicit view(View v) noexcept : bytes_(v.bytes()), object_(std::move(v)) {}

        parley::bytes bytes_;
        detail::small_object object_;
    };

    template <class S>
    requires(!std::same_as<S, erased_source> && source<S>) explicit erased_source(S s)
        : end_(std::make_unique<end_of<S>>(std::move(s))), in_memory_(parley::in_memory<S>) {}

    result<view> try_receive() { return end_->try_receive(); }
    result<void> wait(time_point until) { return end_->wait(until); }
    /// Whether try_receive of the real transport costs no system call.
    [[nodiscard]] bool is_in_memory() const noexcept { return in_memory_; }
    result<int> pollable() { return end_->pollable(); }
    result<void> close(time_point until) { return end_->close(until); }
    [[nodiscard]] std::uint64_t peers_lost() const { return end_->peers_lost(); }
    [[nodiscard]] std::uint64_t lost() const { return end_->lost(); }
    /// Of a transport that does not report the death of peers: nothing is ever told.
    [[nodiscard]] detail::peer_watch& peers() { return end_->peers(); }
    [[nodiscard]] peer_type sender_type() const { return end_->sender_type(); }
    [[nodiscard]] parley::limits limits() const { return end_->limits(); }
    [[nodiscard]] const diagnostics& why() const { return end_->why(); }
    [[nodiscard]] uri address() const { return end_->address(); }

private:
    struct end {
        virtual ~end() = default;
        virtual result<view> try_receive() = 0;
        virtual result<void> wait(time_point until) = 0;
        virtual result<int> pollable() = 0;
        virtual result<void> close(time_point until) = 0;
        virtual std::uint64_t peers_lost() const = 0;
        virtual detail::peer_watch& peers() = 0;
        virtual std::uint64_t lost() const = 0;
        virtual peer_type sender_type() const = 0;
        virtual parley::limits limits() const = 0;
        virtual const diagnostics& why() const = 0;
        virtual uri address() const = 0;
    };
    template <class S>
    struct end_of final : end {
        explicit end_of(S s) : real(std::move(s)) {}
        result<view> try_receive() override {
            auto m = real.try_receive();
            if (!m) return m.error();
            return view(std::move(*m));
        }
        result<void> wait(time_point until) override { return real.wait(until); }
        result<int> pollable() override { return real.pollable(); }
        result<void> close(time_point until) override { return real.close(until); }
        std::uint64_t peers_lost() const override { return real.peers_lost(); }
        detail::peer_watch& peers() override {
            if constexpr (peer_watching_source<S>) {
                return real.peers();
            } else {
                return nobody;
            }
        }
        std::uint64_t lost() const override {
            if constexpr (counting_source<S>) {
                return real.lost();
            } else {
                return 0;
            }
        }
        peer_type sender_type() const override {
            if constexpr (type_telling_source<S>) {
                return real.sender_type();
            } else {
                return {};
            }
        }
        parley::limits limits() const override { return real.limits(); }
        const diagnostics& why() const override { return real.why(); }
        uri address() const override { return real.address(); }
        S real;
        detail::peer_watch nobody;
    };

    std::unique_ptr<end> end_;
    bool in_memory_;
};

}  // namespace detail

/// A sink of any transport. One virtual call for each verb; the same contract.
using any_sink = detail::erased_sink<void>;
/// A source of any transport. One virtual call for each verb; the same contract.
using any_source = detail::erased_source<void>;

/// The transports that a URI may name, in the order in which schemes are looked up.
template <transport... Transports>
struct transport_list {
    using list = transport_list;
};

/// What names transports: a transport_list, or a struct that has one as its member `list`.
template <class Choice>
concept transport_choice = requires {
    typename Choice::list;
};

/// An address that is a URI: opens an end of the transport in `Choice::list` that has its scheme.
/// Its three openings compile every transport of the list. They are compiled once for a program
/// that declares `extern template class parley::any_transport<Choice>;` in a header and defines it
/// (the same without `extern`) in one source; the other sources need not even know the list.
/// <parley/transport/all.hpp> says how that is had for all transports.
/// Errors of open: unsupported (no transport of the list has this scheme), invalid_argument (with
/// the position of the mistake), and those of the transport.
template <class Choice>
class any_transport {
public:
    // any_sink and any_source
    using sink = detail::erased_sink<detail::later<void, Choice>>;
    using source = detail::erased_source<detail::later<void, Choice>>;
    static constexpr std::string_view scheme = "any";

    any_transport() = default;
    explicit any_transport(uri at) : at_(std::move(at)) {}
    [[nodiscard]] static result<any_transport> from(const uri& at, diagnostics&) {
        return any_transport(at);
    }
    [[nodiscard]] uri to_uri() const { return at_; }

    // Not inline: what is inline cannot be compiled elsewhere.
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    [[nodiscard]] result<both_ends<sink, source>> open_both(const open_request& request) const;

    friend bool operator==(const any_transport&, const any_transport&) = default;

private:
    uri at_;
};

namespace detail {

template <class Choice>
struct list_of {
    static_assert(transport_choice<Choice>,
                  "to open by URI, include <parley/transport/all.hpp> or name a transport_list<…>; "
                  "with delivery policies and PARLEY_SEPARATE_COMPILATION, include "
                  "<parley/transport/all_list.hpp>");
    using type = typename Choice::list;
};

/// What `open_real` makes of the transport of the list that has the scheme of `at`.
template <class Result, class Open, class... Transports>
Result open_listed(const uri& at, transport_list<Transports...>, diagnostics& why,
                   Open&& open_real) {
    error_code ec = errc::unsupported;
    bool found = false;
    Result out = ec;
    const auto attempt = [&]<class A>(std::type_identity<A>) {
        if (found || at.scheme() != A::scheme) return;
        found = true;
        auto real = A::from(at, why);
        if (real) {
            out = open_real(*real);
        } else {
            out = real.error();
        }
    };
    (attempt(std::type_identity<Transports>{}), ...);
    if (!found) {
        std::string known;
        ((((known += known.empty() ? "" : ", ") += Transports::scheme)), ...);
        why.fail(ec, "address '" + at.text() + "', position 0: no transport for scheme '" +
                         std::string(at.scheme()) + "' in this program's list (" + known + ")");
    }
    return out;
}

}  // namespace detail

template <class Choice>
auto any_transport<Choice>::open_sink(const open_request& request) const -> result<sink> {
    return detail::open_listed<result<sink>>(at_, typename detail::list_of<Choice>::type{},
                                             *request.why, [&](const auto& real) -> result<sink> {
                                                 auto s = real.open_sink(request);
                                                 if (!s) return s.error();
                                                 return sink(std::move(*s));
                                             });
}
template <class Choice>
auto any_transport<Choice>::open_source(const open_request& request) const -> result<source> {
    return detail::open_listed<result<source>>(at_, typename detail::list_of<Choice>::type{},
                                               *request.why,
                                               [&](const auto& real) -> result<source> {
                                                   auto s = real.open_source(request);
                                                   if (!s) return s.error();
                                                   return source(std::move(*s));
                                               });
}
template <class Choice>
auto any_transport<Choice>::open_both(const open_request& request) const
    -> result<both_ends<sink, source>> {
    using both = result<both_ends<sink, source>>;
    return detail::open_listed<both>(
        at_, typename detail::list_of<Choice>::type{}, *request.why, [&](const auto& real) -> both {
            if constexpr (pairing_transport<std::remove_cvref_t<decltype(real)>>) {
                auto b = real.open_both(request);
                if (!b) return b.error();
                return both_ends<sink, source>{sink(std::move(b->sink)),
                                               source(std::move(b->source))};
            } else {
                return request.why->fail(errc::unsupported,
                                         "this transport cannot make both ends at once");
            }
        });
}

}  // namespace v1
}  // namespace parley
