// SPDX-License-Identifier: MIT
// Request and reply: requester<Q, R> and replier<Q, R> over any two-way transport.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/drive/answerer.hpp>
#include <parley/drive/caller.hpp>
#include <parley/transport/linked.hpp>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// What both ends of request and reply say of their types; each direction names both.
template <class Q, class R>
struct conversation {
    static constexpr auto text_of(std::string_view first) {
        type_text t;
        t.put(first).put("request [").put(codec<Q>::type.description);
        t.put("] answered by [").put(codec<R>::type.description).put("]");
        t.put(" ").put_hex(codec<Q>::type.fingerprint).put_hex(codec<R>::type.fingerprint);
        return t.finish();
    }
    static constexpr auto question_text = text_of("");
    static constexpr auto answer_text = text_of("answers to a ");
    static constexpr message_type question{question_text.fingerprint(), question_text.words(), 8};
    static constexpr message_type answer{answer_text.fingerprint(), answer_text.words(), 8};
};

/// The two-way address that an address stands for: itself, or links over a one-way one.
template <class Address>
[[nodiscard]] auto two_way(const Address& at) {
    if constexpr (duplex_transport<Address>) {
        return at;
    } else {
        return linked<Address>{at};
    }
}
template <class Address>
using two_way_t = decltype(two_way(std::declval<const Address&>()));

}  // namespace detail

/// A call under way: what start() gives and finish() takes.
struct call {
    std::uint64_t id = 0;
    friend bool operator==(const call&, const call&) = default;
};

/// The asking end of a conversation: sends Q, gets R.
///
///     auto ask = parley::open_requester<query, quote>(parley::uds{"/run/desk"}).value();
///     quote q  = ask.request({"EURUSD"}, 20ms).value();
///     auto a = ask.start({"EURUSD"}, 20ms).value(), b = ask.start({"USDJPY"}, 20ms).value();
///     ask.finish(b).value();                      // many at once, in whatever order
///
/// Thread safety: distinct requesters are independent; one is used by one thread at a time.
/// Lifetime: a call is its requester's; one that is never finished or cancelled is under way until
/// its answer comes, and counts for `in_flight_max`.
/// Blocking: `request` and `finish` wait for the answer, `start` at most for room to write. The
/// deadline of start and request is that of the whole call; what is left of it travels with it.
/// Cancellation: a call that was cancelled or took too long is told to the desk, which may have
/// begun with it; its answer is dropped.
/// Errors: peer_lost (the desk died: at once, for every call under way) and closed: whether a call
/// was answered is unknown; timed_out; what the desk answered with, its words in why(); corrupt;
/// out_of_resources (in_flight_max); incompatible: the desk has other types, both are named.
template <class Q, class R, class Address>
class requester {
public:
    using question_type = Q;
    using answer_type = R;

    struct options {
        std::size_t in_flight_max = 1024;
        bool reconnect = false;  ///< after a loss the next call looks for a desk again
    };

    requester(Address at, const duplex_request& r, typename Address::link l, const options& o)
        : caller_(std::move(at), r, std::move(l), o.in_flight_max, o.reconnect) {}

    [[nodiscard]] result<R> request(const Q& question, deadline d = never) {
        auto c = start_by(question, d);
        if (!c) return c.error();
        return finish(*c);
    }
    [[nodiscard]] result<call> start(const Q& question, deadline d = never) {
        return start_by(question, d);
    }
    /// The answer to a call. timed_out or would_block by this deadline alone: it goes on.
    [[nodiscard]] result<R> finish(call c, deadline d = never) {
        auto answer = caller_.finish(c.id, d, why_);
        if (!answer) return answer.error();
        return codec<R>::decode(*answer);
    }
    [[nodiscard]] result<R> try_finish(call c) { return finish(c, expired); }
    /// Gives a call up.
    void cancel(call c) { caller_.cancel(c.id); }
    /// What is known of the call that was started, or finished, last: whether to ask again is safe.
    [[nodiscard]] outcome how() const noexcept { return caller_.how(); }
    /// Calls that are neither finished nor cancelled.
    [[nodiscard]] std::size_t under_way() const { return caller_.book().under_way(); }
    result<void> close(deadline d = never) { return caller_.close(d.at()); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }

private:
    result<call> start_by(const Q& question, deadline& d) {
        const std::size_t n = codec<Q>::size(question);
        if (n == unencodable) return errc::message_too_large;
        auto id = caller_.start(
            n, d, [&](mutable_bytes to) { codec<Q>::encode(question, to); }, why_);
        if (!id) return id.error();
        return call{*id};
    }

    drive::caller<Address> caller_;
    diagnostics why_;
};

/// A question that its desk took and did not answer yet.
template <class Q>
struct asked {
    Q question;
    std::uint64_t caller = 0, id = 0;
    time_point until = never;  ///< by when its caller wants the answer
};

/// The answering end of a conversation: gets Q, sends R. It owns the address.
///
///     auto desk = parley::open_replier<query, quote>(parley::uds{"/run/desk"}).value();
///     desk.serve([&](const query& q) -> parley::result<quote> { return book.find(q.symbol); });
///
/// or, with several questions open at once and answers in whatever order:
///
///     auto q = desk.take().value();   …   desk.answer(q, quote{1.1, 1.2});
///
/// Callers take turns. An error that is returned reaches the caller as it is, with its message; so
/// do those of the categories of parley, the system and the standard library, others arrive as
/// errc::unsupported with their words. `asked::until` tells how long an answer is worth anything:
/// the time that the caller gave it, from when it was read here; a question whose time is over, or
/// that was given up, before its turn came is never handed out. A caller that does not read its
/// answers is not read from until it does, and holds up nobody else.
///
/// Thread safety: one thread at a time.
///
/// Blocking: `take`, `serve_one` and `serve` wait for a question; an answer is never waited for.
///
/// Errors: timed_out, would_block; those of accepting (out_of_resources); message_too_large: an
/// answer that the transport does not take, which its caller is told.
template <class Q, class R, class Address>
class replier {
public:
    using question_type = Q;
    using answer_type = R;

    explicit replier(typename Address::listener door) : desk_(std::move(door)) {}

    /// The next question.
    [[nodiscard]] result<asked<Q>> take(deadline d = never) {
        for (bool looked = false;; looked = d.is_try()) {
            std::optional<asked<Q>> got;
            auto r = desk_.next(
                [&](const typename desk::ticket& t, bytes body) { read(t, body, got); }, why_);
            if (got) return std::move(*got);
            if (r) {  // one that could not be read
                looked = false;
                continue;
            }
            if (r.error() != errc::would_block || looked) return r.error();
            if (auto w = desk_.wait(d.at()); !w && !d.is_try()) return w.error();
        }
    }
    [[nodiscard]] result<asked<Q>> try_take() { return take(expired); }
    /// Whether the caller still waits: it did not cancel, die or run out of time, as far as is
    /// known here.
    [[nodiscard]] bool is_wanted(const asked<Q>& q) { return desk_.is_wanted(ticket_of(q)); }
    result<void> answer(const asked<Q>& q, const result<R>& with) {
        if (!with) return refuse(ticket_of(q), with.error());
        const std::size_t n = codec<R>::size(*with);
        if (n == unencodable) return refuse(ticket_of(q), errc::message_too_large);
        auto r = desk_.answer(
            ticket_of(q), {0, 0, rpc::kind::value, rpc::family::none}, n,
            [&](mutable_bytes to) { codec<R>::encode(*with, to); }, why_);
        return r;
    }

    /// Takes one question and answers it with what `f(question)` returns: R or result<R>.
    template <class F>
    result<void> serve_one(F&& f, deadline d = never) {
        auto q = take(d);
        if (!q) return q.error();
        return answer(*q, result<R>(f(std::as_const(q->question))));
    }
    template <class F>
    result<void> try_serve(F&& f) {
        return serve_one(std::forward<F>(f), expired);
    }
    /// Serves until `f` calls stop(), or the address fails.
    template <class F>
    result<void> serve(F&& f) {
        for (stopped_ = false; !stopped_;) {
            if (auto r = serve_one(f); !r && r.error() != errc::message_too_large) return r;
        }
        return {};
    }
    void stop() noexcept { stopped_ = true; }

    /// Callers that are connected, and those that died.
    [[nodiscard]] std::size_t callers() const { return desk_.callers(); }
    [[nodiscard]] std::uint64_t callers_lost() const { return desk_.callers_lost(); }
    /// Questions whose time was over before their turn came.
    [[nodiscard]] std::uint64_t too_late() const noexcept { return desk_.too_late(); }
    result<void> close(deadline d = never) { return desk_.close(d.at()); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }
    [[nodiscard]] uri address() { return desk_.door().address(); }

private:
    using desk = drive::answerer<Address>;

    static typename desk::ticket ticket_of(const asked<Q>& q) noexcept {
        return {q.caller, q.id, q.until};
    }
    void read(const typename desk::ticket& t, bytes body, std::optional<asked<Q>>& got) {
        auto value = codec<Q>::decode(body);
        if (value) {
            got.emplace(asked<Q>{std::move(*value), t.caller, t.id, t.until});
        } else {
            (void)refuse(t, value.error(), rpc::kind::refusal);
        }
    }
    result<void> refuse(const typename desk::ticket& t, error_code ec,
                        rpc::kind how = rpc::kind::failure) {
        rpc::header h{0, 0, how, rpc::family::none};
        rpc::write_error(h, ec);
        const std::string words = ec.message();
        return desk_.answer(
            t, h, words.size(),
            [&](mutable_bytes to) { std::memcpy(to.data(), words.data(), words.size()); }, why_);
    }

    desk desk_;
    diagnostics why_;
    bool stopped_ = false;
};

/// Opens the asking end, waiting for the desk until the deadline. Errors: timed_out: nobody
/// answers there; incompatible; invalid_argument; denied; out_of_resources.
template <class Q, class R, class Address>
[[nodiscard]] auto open_requester(
    const Address& at, deadline d = never, diagnostics* why = nullptr,
    typename requester<Q, R, detail::two_way_t<Address>>::options o = {}) {
    using end = requester<Q, R, detail::two_way_t<Address>>;
    using types = detail::conversation<Q, R>;
    diagnostics unasked;
    const auto both = detail::two_way(at);
    const duplex_request r{types::question, types::answer, d.at(), why != nullptr ? why : &unasked};
    auto l = both.open_link(r);
    if (!l) return result<end>(l.error());
    return result<end>(end(both, r, std::move(*l), o));
}

/// Opens the answering end, and with it creates the address. Errors: in_use: another desk lives
/// there; and those of open_requester.
template <class Q, class R, class Address>
[[nodiscard]] auto open_replier(const Address& at, deadline d = never, diagnostics* why = nullptr) {
    using end = replier<Q, R, detail::two_way_t<Address>>;
    using types = detail::conversation<Q, R>;
    diagnostics unasked;
    auto door = detail::two_way(at).open_listener(
        {types::answer, types::question, d.at(), why != nullptr ? why : &unasked});
    if (!door) return result<end>(door.error());
    return result<end>(end(std::move(*door)));
}

}  // namespace v1
}  // namespace parley
