// SPDX-License-Identifier: MIT
// Both sides of request and reply over links, below the codec: bytes in, bytes out, one thread.
#pragma once

#include <parley/drive/blocking.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/rpc/correlation.hpp>

#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace drive {

/// The calling side over one link at a time.
template <class Address>
class caller {
    using link = typename Address::link;

public:
    caller(Address at, const duplex_request& r, link l, std::size_t in_flight_max, bool reconnects)
        : at_(std::move(at)),
          request_(r),
          link_(std::move(l)),
          book_(in_flight_max),
          reconnects_(reconnects) {}

    /// Sends a question of n bytes that `write` writes. The number of the call.
    template <class Write>
    result<std::uint64_t> start(std::size_t n, deadline& d, Write write, diagnostics& why) {
        if (auto r = connected(d, why); !r) return r.error();
        const time_point until = d.is_try() ? expired : d.at();
        if (until != never && until <= clock::now()) return errc::timed_out;
        auto l = link_->out().try_loan(rpc::header::bytes + n);
        while (!l && l.error() == errc::would_block) {
            // The other side may wait until its answers are read.
            if (auto r = take_answers(why); !r) return r.error();
            if (auto r = wait_for_either(link_->out(), link_->in(), until); !r) return r.error();
            l = link_->out().try_loan(rpc::header::bytes + n);
        }
        if (!l) return failed(l.error(), link_->out().why(), why);
        const auto id = book_.begin(until);
        if (!id) return why.fail(id.error(), "as many requests are under way as were asked for");
        const auto now = until == never ? time_point{} : clock::now();
        book_.header_of(*id, now).write(l->bytes().data());
        write(l->bytes().subspan(rpc::header::bytes));
        if (auto r = commit(std::move(*l)); !r) {
            book_.forget(*id);
            return failed(r.error(), link_->out().why(), why);
        }
        return *id;
    }

    /// Waits for the answer to a call; its bytes stay until the next start. timed_out by `d` alone
    /// leaves the call under way.
    result<bytes> finish(std::uint64_t id, deadline& d, diagnostics& why) {
        if (!book_.is_known(id)) {
            return why.fail(errc::invalid_argument, "no such call is under way");
        }
        while (!book_.is_settled(id)) {
            if (!link_) return errc::closed;
            const time_point until = earlier(d.is_try() ? expired : d.at(), book_.until(id));
            if (auto r = await(until); !r && r.error() != errc::timed_out) {
                (void)failed(r.error(), link_->in().why(), why);
                break;
            }
            if (auto r = take_answers(why); !r) break;
            if (book_.is_settled(id)) break;
            if (until == never) continue;
            const auto now = clock::now();
            while (const auto late = book_.expire(now)) tell_cancelled(*late);
            if (!book_.is_settled(id) && (d.is_try() || now >= d.at())) {
                return d.is_try() ? errc::would_block : errc::timed_out;
            }
        }
        auto answer = book_.settle(id);
        if (!answer && !book_.answer_words().empty()) {
            return why.fail(answer.error(), std::string(book_.answer_words()));
        }
        return answer;
    }
    void cancel(std::uint64_t id) {
        if (!book_.is_known(id)) return;
        if (!book_.is_settled(id)) tell_cancelled(id);
        book_.forget(id);
    }
    result<void> close(time_point until) {
        book_.fail_all(errc::closed);
        reconnects_ = false;
        if (!link_) return {};
        auto r = link_->close(until);
        if (r || r.error() != errc::timed_out) lost_ = errc::closed, link_.reset();
        return r;
    }
    [[nodiscard]] const rpc::calls& book() const noexcept { return book_; }

private:
    result<void> connected(deadline& d, diagnostics& why) {
        if (link_) return {};
        if (!reconnects_) return lost_;
        request_.until = d.is_try() ? expired : d.at();
        request_.why = &why;
        auto made = at_.open_link(request_);
        if (!made) return made.error();
        link_.emplace(std::move(*made));
        unflushed_ = false;
        return {};
    }
    template <class Loan>
    result<void> commit(Loan l) {
        if (auto r = link_->out().try_commit(std::move(l)); !r) return r;
        auto r = link_->out().flush(expired);
        unflushed_ = !r && r.error() == errc::would_block;
        // It may have been answered already by a desk that is gone now: the source tells.
        return unflushed_ || (!r && r.error() == condition::gone) ? result<void>() : r;
    }
    /// Waits until take_answers may have something to take.
    result<void> await(time_point until) {
        auto& in = link_->in();
        if (unflushed_) {
            auto r = link_->out().flush(expired);
            unflushed_ = !r && r.error() == errc::would_block;
            if (!r && !unflushed_) return {};  // the source tells why, after the last answers
            if (unflushed_) return wait_for_either(link_->out(), in, until);
        }
        if (asks_first(in)) {
            auto f = in.try_receive();
            if (f) return book_.on_frame(f->bytes()) ? result<void>() : errc::corrupt;
            if (f.error() != errc::would_block) return f.error();
        }
        return in.wait(until);
    }
    result<void> take_answers(diagnostics& why) {
        for (;;) {
            auto f = link_->in().try_receive();
            if (!f && f.error() == errc::would_block) return {};
            if (!f) return failed(f.error(), link_->in().why(), why);
            if (!book_.on_frame(f->bytes())) {
                return failed(errc::corrupt, link_->in().why(), why);
            }
            // What waits behind it is taken when it is asked for; reading on costs a system call.
            if (!asks_first(link_->in())) return {};
        }
    }
    void tell_cancelled(std::uint64_t id) {
        if (!link_) return;
        auto l = link_->out().try_loan(rpc::header::bytes);
        if (!l) return;  // it will find out when it answers
        rpc::header{id, 0, rpc::kind::cancel, rpc::family::none}.write(l->bytes().data());
        (void)commit(std::move(*l));
    }
    /// The link is over, and with it every call.
    error_code failed(error_code ec, const diagnostics& words, diagnostics& why) {
        if (ec == errc::message_too_large || ec == errc::out_of_resources) {
            return why.fail(ec, words.text());
        }
        lost_ = why.fail(ec, words.text());
        // What was answered before is there still, and behind it whether the desk closed or died.
        for (auto& in = link_->in(); ec == condition::gone;) {
            auto f = in.try_receive();
            if (f && book_.on_frame(f->bytes())) continue;
            if (!f && f.error() == condition::gone) lost_ = why.fail(f.error(), in.why().text());
            break;
        }
        book_.fail_all(lost_);
        link_.reset();
        return lost_;
    }

    Address at_;
    duplex_request request_;
    std::optional<link> link_;
    rpc::calls book_;
    error_code lost_ = errc::closed;
    bool reconnects_;
    bool unflushed_ = false;
};

/// The answering side of every caller at one address.
template <class Address>
class answerer {
    using listener = typename Address::listener;
    struct side {
        std::uint64_t number;  // of this caller, never used again
        rpc::desk book = {};
        std::deque<std::vector<std::byte>> answers = {};  // that its caller has no room for
        bool unflushed = false;
    };
    using links = link_set<listener, side>;
    using member = typename links::member;

public:
    /// A question and whom to answer.
    struct ticket {
        std::uint64_t caller = 0, id = 0;
        time_point until = never;
    };
    /// Questions of one caller that may be open at once; it is not read from before.
    static constexpr std::size_t open_max = 4096;

    explicit answerer(listener door) : links_(std::move(door)) {}

    /// The next question, in turn; `take(ticket, bytes)` is called with it. would_block: none now.
    template <class Take>
    result<void> next(Take take, diagnostics& why) {
        auto r = links_.accept([&](auto&) { return side{++callers_}; });
        if (!r) return why.fail(r.error(), links_.door().why().text());
        for (std::size_t n = links_.all().size(); n > 0; --n) {
            turn_ = (turn_ + 1) % links_.all().size();
            if (ask(*links_.all()[turn_], take, why)) return {};
        }
        links_.sweep();
        return errc::would_block;
    }
    result<void> wait(time_point until) {
        for (const auto& m : links_.all()) {
            if (m->ready && m->own.answers.empty() && m->own.book.open() < open_max) return {};
        }
        return links_.wait(until);
    }
    [[nodiscard]] bool is_wanted(const ticket& t) {
        member* m = find(t.caller);
        return m != nullptr && m->own.book.is_open(t.id);
    }
    /// Sends an answer of n bytes that `write` writes behind `h`. A caller that is gone, or does
    /// not wait any more, gets none.
    template <class Write>
    result<void> answer(const ticket& t, rpc::header h, std::size_t n, Write write,
                        diagnostics& why) {
        member* m = find(t.caller);
        if (m == nullptr || !m->own.book.is_open(t.id)) return {};
        auto& out = m->way.out();
        const std::size_t most = out.limits().message_bytes_max;
        if (rpc::header::bytes + n > most) {
            rpc::header instead;
            rpc::write_error(instead, errc::message_too_large);
            (void)answer(t, instead, 0, &nothing, why);
            return why.fail(errc::message_too_large, "an answer of " + std::to_string(n) +
                                                         " bytes; its caller takes " +
                                                         std::to_string(most - rpc::header::bytes));
        }
        (void)m->own.book.close(t.id);
        h.id = t.id;
        if (m->own.answers.empty()) {
            auto l = out.try_loan(rpc::header::bytes + n);
            if (l) {
                h.write(l->bytes().data());
                write(l->bytes().subspan(rpc::header::bytes));
                if (out.try_commit(std::move(*l))) flush(*m);
                return {};
            }
            if (l.error() != errc::would_block) return {};  // it is gone: the next look tells
        }
        std::vector<std::byte> kept(rpc::header::bytes + n);
        h.write(kept.data());
        write(mutable_bytes(kept).subspan(rpc::header::bytes));
        m->own.answers.push_back(std::move(kept));
        m->wanting = true;
        return {};
    }
    result<void> close(time_point until) {
        for (const auto& m : links_.all()) {
            while (!m->own.answers.empty() && clock::now() < until) {
                if (auto r = m->way.out().wait(until); !r) break;
                send_kept(*m);
            }
            (void)m->way.close(until);
        }
        links_.all().clear();
        return links_.door().close(until);
    }
    [[nodiscard]] std::size_t callers() const noexcept {
        return const_cast<links&>(links_).all().size();
    }
    [[nodiscard]] std::uint64_t callers_lost() const noexcept { return lost_; }
    [[nodiscard]] listener& door() noexcept { return links_.door(); }

private:
    static void nothing(mutable_bytes) noexcept {}

    member* find(std::uint64_t number) {
        for (const auto& m : links_.all()) {
            if (m->own.number == number && !m->gone) return m.get();
        }
        return nullptr;
    }
    template <class Take>
    bool ask(member& m, Take& take, diagnostics& why) {
        if (m.wanting) send_kept(m);
        while (m.ready && !m.gone && m.own.answers.empty() && m.own.book.open() < open_max) {
            auto f = m.way.in().try_receive();
            if (!f) {
                m.ready = false;
                if (f.error() == errc::would_block) return false;
                m.gone = true;
                if (f.error() != errc::closed) {
                    ++lost_;
                    (void)why.fail(f.error(), m.way.in().why().text());
                }
                return false;
            }
            const bool timed = f->bytes().size() >= rpc::header::bytes &&
                               load_le<std::uint32_t>(f->bytes().data() + 8) != 0;
            const auto q = m.own.book.on_frame(f->bytes(), timed ? clock::now() : time_point{});
            if (!q) continue;
            take(ticket{m.own.number, q->id, q->until}, q->body);
            return true;
        }
        return false;
    }
    void flush(member& m) {
        auto r = m.way.out().flush(expired);
        m.own.unflushed = !r && r.error() == errc::would_block;
        m.wanting = m.own.unflushed || !m.own.answers.empty();
    }
    void send_kept(member& m) {
        flush(m);
        while (!m.own.unflushed && !m.own.answers.empty()) {
            const auto& kept = m.own.answers.front();
            auto l = m.way.out().try_loan(kept.size());
            if (!l) {
                if (l.error() != errc::would_block) m.own.answers.clear();
                break;
            }
            std::memcpy(l->bytes().data(), kept.data(), kept.size());
            m.own.answers.pop_front();
            if (m.way.out().try_commit(std::move(*l))) flush(m);
        }
        m.wanting = m.own.unflushed || !m.own.answers.empty();
    }

    links links_;
    std::size_t turn_ = 0;
    std::uint64_t callers_ = 0, lost_ = 0;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
