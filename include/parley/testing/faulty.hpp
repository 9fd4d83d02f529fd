// SPDX-License-Identifier: MIT
// A transport that fails when told to: the n-th call of one verb returns an error instead of doing
// anything. For n = 0, 1, … until a run passes without the fault, every path of an error is walked.
#pragma once

#include <parley/transport/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace parley {
inline namespace v1 {
namespace testing {

/// The calls that can fail.
enum class verb : std::uint8_t {
    open_sink,
    open_source,
    try_loan,
    try_commit,
    flush,
    sink_wait,
    sink_pollable,
    sink_close,
    try_receive,
    source_wait,
    source_pollable,
    source_close,
};
inline constexpr std::uint8_t verbs = 12;

/// What is to fail, and whether it did. It outlives every end that was opened with it; its ends
/// share a thread.
///
///     faults plan{verb::try_loan, 3, errc::would_block};
///     auto out = open_sender<tick>(faulty<shm>{shm{"ticks"}, &plan}).value();
struct faults {
    verb where = verb::try_loan;
    std::uint64_t nth = ~std::uint64_t{0};  ///< 0 is the first call
    error_code with = errc::would_block;
    std::uint64_t calls = 0;  ///< of that verb so far

    [[nodiscard]] bool struck() const noexcept { return calls > nth; }
    [[nodiscard]] bool strikes(verb v) noexcept { return v == where && calls++ == nth; }
};

[[nodiscard]] inline bool strikes(faults* plan, verb v) noexcept {
    return plan != nullptr && plan->strikes(v);
}

/// A sink that fails by plan.
template <sink S>
class faulty_sink {
public:
    using loan = typename S::loan;

    faulty_sink(S real, faults* plan) : real_(std::move(real)), plan_(plan) {}

    result<loan> try_loan(std::size_t n) {
        if (strikes(plan_, verb::try_loan)) return plan_->with;
        return real_.try_loan(n);
    }
    /// A commit that fails was none: the loan is dropped.
    result<void> try_commit(loan l) {
        if (strikes(plan_, verb::try_commit)) return plan_->with;
        return real_.try_commit(std::move(l));
    }
    result<void> flush(time_point until) {
        if (strikes(plan_, verb::flush)) return plan_->with;
        return real_.flush(until);
    }
    result<void> wait(time_point until) {
        if (strikes(plan_, verb::sink_wait)) return plan_->with;
        return real_.wait(until);
    }
    result<int> pollable() {
        if (strikes(plan_, verb::sink_pollable)) return plan_->with;
        return real_.pollable();
    }
    result<void> close(time_point until) {
        if (strikes(plan_, verb::sink_close)) return plan_->with;
        return real_.close(until);
    }
    [[nodiscard]] parley::limits limits() const { return real_.limits(); }
    [[nodiscard]] const diagnostics& why() const { return real_.why(); }
    [[nodiscard]] uri address() const { return real_.address(); }

private:
    S real_;
    faults* plan_;
};

/// A source that fails by plan.
template <source S>
class faulty_source {
public:
    using view = typename S::view;
    static constexpr bool in_memory = v1::in_memory<S>;

    faulty_source(S real, faults* plan) : real_(std::move(real)), plan_(plan) {}

    result<view> try_receive() {
        if (strikes(plan_, verb::try_receive)) return plan_->with;
        return real_.try_receive();
    }
    result<void> wait(time_point until) {
        if (strikes(plan_, verb::source_wait)) return plan_->with;
        return real_.wait(until);
    }
    result<int> pollable() {
        if (strikes(plan_, verb::source_pollable)) return plan_->with;
        return real_.pollable();
    }
    result<void> close(time_point until) {
        if (strikes(plan_, verb::source_close)) return plan_->with;
        return real_.close(until);
    }
    [[nodiscard]] std::uint64_t peers_lost() const { return real_.peers_lost(); }
    [[nodiscard]] parley::detail::peer_watch& peers() requires peer_watching_source<S> {
        return real_.peers();
    }
    [[nodiscard]] std::uint64_t lost() const requires counting_source<S> { return real_.lost(); }
    [[nodiscard]] parley::limits limits() const { return real_.limits(); }
    [[nodiscard]] const diagnostics& why() const { return real_.why(); }
    [[nodiscard]] uri address() const { return real_.address(); }

private:
    S real_;
    faults* plan_;
};

/// Wraps the address `at`; without a plan nothing fails.
template <transport Transport>
struct faulty {
    Transport at;
    faults* plan = nullptr;

    using sink = faulty_sink<typename Transport::sink>;
    using source = faulty_source<typename Transport::source>;
    static constexpr std::string_view scheme = Transport::scheme;

    [[nodiscard]] static result<faulty> from(const uri& text, diagnostics& why) {
        auto real = Transport::from(text, why);
        if (!real) return real.error();
        return faulty{std::move(*real)};
    }
    [[nodiscard]] uri to_uri() const { return at.to_uri(); }
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        if (strikes(plan, verb::open_sink)) return request.why->fail(plan->with, "as planned");
        auto real = at.open_sink(request);
        if (!real) return real.error();
        return sink(std::move(*real), plan);
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        if (strikes(plan, verb::open_source)) return request.why->fail(plan->with, "as planned");
        auto real = at.open_source(request);
        if (!real) return real.error();
        return source(std::move(*real), plan);
    }
    [[nodiscard]] result<both_ends<sink, source>> open_both(
        const open_request& request) const requires pairing_transport<Transport> {
        if (strikes(plan, verb::open_sink)) return request.why->fail(plan->with, "as planned");
        auto real = at.open_both(request);
        if (!real) return real.error();
        return both_ends<sink, source>{sink(std::move(real->sink), plan),
                                       source(std::move(real->source), plan)};
    }
    friend bool operator==(const faulty&, const faulty&) = default;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
