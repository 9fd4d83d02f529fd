// SPDX-License-Identifier: MIT
// The calling side of request and reply over links, below the codec: bytes in, bytes out.
#pragma once

#include <parley/drive/blocking.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/rpc/correlation.hpp>
#include <parley/rpc/talk.hpp>
#include <parley/rpc/talkers.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

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

    /// Sends a question of n bytes that `write` writes. The number of the call. One that `takes`
    /// answers, of questions that keep() found, goes with them.
    template <class Write>
    result<std::uint64_t> start(std::size_t n, deadline& d, Write write, diagnostics& why,
                                bool takes = false) {
        how_ = outcome::not_sent;
        const time_point until = d.is_try() ? expired : d.at();
        if (until != never && until <= clock::now()) return errc::timed_out;
        result<std::uint64_t> id = errc::closed;
        auto sent = send(
            rpc::header::bytes + n, d,
            [&](std::byte* to) {
                id = book_.begin(until);
                if (!id) return false;
                const auto now = until == never ? time_point{} : clock::now();
                book_.header_of(*id, now, takes ? rpc::marks::filled : std::uint16_t{0}).write(to);
                write(mutable_bytes(to + rpc::header::bytes, n));
                return true;
            },
            why, takes);
        if (!sent && id) book_.forget(*id);
        if (!sent) return sent.error();
        if (!id) return why.fail(id.error(), "as many requests are under way as were asked for");
        return id;
    }
    /// Sends a question that nobody answers.
    template <class Write>
    result<void> notify(std::size_t n, deadline& d, Write write, diagnostics& why) {
        how_ = outcome::not_sent;
        const time_point until = d.is_try() ? expired : d.at();
        const auto sent = send(
            rpc::header::bytes + n, d,
            [&](std::byte* to) {
                const auto left =
                    until == never || d.is_try() ? 0U : rpc::budget_us(clock::now(), until);
                rpc::header{0, left, rpc::kind::notice, rpc::family::none}.write(to);
                write(mutable_bytes(to + rpc::header::bytes, n));
                return true;
            },
            why);
        if (sent) how_ = outcome::done;
        return sent;
    }
    /// The calls in which more goes to and fro.
    [[nodiscard]] rpc::talkers& talkers() noexcept { return talkers_; }
    /// Lets talkers work, and waits until something has come. Errors: timed_out or would_block by
    /// `d`; those of a lost link.
    result<void> pump(std::uint64_t id, deadline& d, diagnostics& why) {
        if (book_.is_settled(id)) return {};
        if (!link_) return lost_;
        const time_point until = earlier(d.is_try() ? expired : d.at(), book_.until(id));
        const auto heard = heard_;
        if (auto r = hasten(until, why); !r) return r;
        if (heard_ != heard) return {};  // while it waited for room
        if (auto r = await(until); r)
            return take_answers(why);
        else if (r.error() != errc::timed_out)
            return failed(r.error(), link_->in().why(), why);
        if (book_.until(id) != never) (void)end_late();
        if (book_.is_settled(id)) return {};
        return d.is_try() ? errc::would_block : errc::timed_out;
    }
    /// From now on questions are packed together; they leave with send_pack, with the first call to
    /// finish, or when they are many.
    void hold(bool on) noexcept { held_ = on; }
    /// Sends what was packed. would_block, timed_out: not yet, ask again.
    result<void> send_pack(deadline& d, diagnostics& why) {
        if (pack_.empty()) return {};
        if (!link_) return lost_;
        auto l = loan(pack_.message().size(), d, why);
        if (!l) return l.error();
        std::memcpy(l->bytes().data(), pack_.message().data(), pack_.message().size());
        pack_.clear();
        auto r = commit(std::move(*l));
        return r ? r : failed(r.error(), link_->out().why(), why);
    }

    /// Whether a question did not leave yet.
    [[nodiscard]] bool is_packed(std::uint64_t id) noexcept { return pack_.find(id) != nullptr; }
    /// Whether n bytes more would leave in one message with what is packed.
    [[nodiscard]] bool fits_pack(std::size_t n) {
        return link_ &&
               pack_.size_with(rpc::header::bytes + n) <= link_->out().limits().message_bytes_max;
    }
    /// The answer to a question that did not leave yet goes into others as well.
    void keep(std::uint64_t id) noexcept {
        std::byte* const frame = pack_.find(id);
        if (frame == nullptr) return;
        frame[14] |= std::byte(rpc::marks::kept);
        book_.lend(id);
    }

    /// Waits for the answer to a call; its bytes stay until the next start. timed_out by `d` alone
    /// leaves the call under way.
    result<bytes> finish(std::uint64_t id, deadline& d, diagnostics& why) {
        if (auto r = await_answer(id, d, why); !r) return r.error();
        auto answer = book_.settle(id);
        how_ = book_.how();
        if (!answer && !book_.answer_words().empty()) {
            return why.fail(answer.error(), std::string(book_.answer_words()));
        }
        return answer;
    }
    /// The same, and the answer stays in the book.
    result<void> await_answer(std::uint64_t id, deadline& d, diagnostics& why) {
        if (!book_.is_known(id)) {
            return why.fail(errc::invalid_argument, "no such call is under way");
        }
        while (!book_.is_settled(id)) {
            if (!link_) return errc::closed;
            const time_point until = earlier(d.is_try() ? expired : d.at(), book_.until(id));
            if (auto r = hasten(until, why); !r) return unless_settled(id, r.error());
            if (book_.is_settled(id)) break;  // while it waited for room
            if (auto r = await(until); !r && r.error() != errc::timed_out) {
                return unless_settled(id, failed(r.error(), link_->in().why(), why));
            }
            if (auto r = take_answers(why); !r) return unless_settled(id, r.error());
            if (book_.is_settled(id)) break;
            if (until == never) continue;
            const auto now = end_late();
            if (!book_.is_settled(id) && (d.is_try() || now >= d.at())) {
                return d.is_try() ? errc::would_block : errc::timed_out;
            }
        }
        return {};
    }
    void cancel(std::uint64_t id) {
        if (!book_.is_known(id)) return;
        if (!book_.is_settled(id) && !book_.is_lent(id)) tell_cancelled(id);
        book_.forget(id);
    }
    result<void> close(time_point until) {
        deadline d = until;
        diagnostics ignored;
        (void)send_pack(d, ignored);  // notices, at least, are worth it
        book_.fail_all(errc::closed);
        reconnects_ = false;
        if (!link_) return {};
        auto r = link_->close(until);
        if (r || r.error() != errc::timed_out) lost_ = errc::closed, link_.reset();
        return r;
    }
    /// Takes the answers that are there, without waiting. A lost link ends the calls.
    void look(diagnostics& why) {
        if (!link_) return;
        if (unflushed_) {
            const auto r = link_->out().flush(expired);
            unflushed_ = !r && r.error() == errc::would_block;
        }
        if (book_.under_way() == 0) return;
        do {
            if (auto r = take_answers(why); !r) return;
        } while (more_);
    }
    [[nodiscard]] const rpc::calls& book() const noexcept { return book_; }
    /// What is known of the call that was started, or finished, last.
    [[nodiscard]] outcome how() const noexcept { return how_; }
    /// How often a link was made; whether bytes for it still lie here.
    [[nodiscard]] std::uint64_t links() const noexcept { return links_; }
    [[nodiscard]] bool is_unflushed() const noexcept { return unflushed_; }
    /// The link of now; none after a loss.
    [[nodiscard]] link* way() noexcept { return link_ ? &*link_ : nullptr; }

private:
    /// Where talkers send: into the pack, which leaves when it is long, and when all have worked.
    class packed_line final : public rpc::line {
    public:
        explicit packed_line(caller& c) noexcept : caller_(c) {}
        result<void> send(const rpc::header& h, std::size_t n, rpc::filler fill) override {
            caller& c = caller_;
            if (!c.link_) return errc::would_block;
            const std::size_t whole = rpc::header::bytes + n;
            const std::size_t longest = c.link_->out().limits().message_bytes_max;
            if (rpc::header::bytes + rpc::pack::length_bytes + whole > longest) {
                return errc::message_too_large;
            }
            if (!c.pack_.empty() && c.pack_.size_with(whole) > std::min(pack_bytes_max, longest)) {
                deadline now = expired;
                diagnostics ignored;
                if (auto r = c.send_pack(now, ignored); !r) return errc::would_block;
                if (!c.link_) return errc::would_block;
            }
            std::byte* to = c.pack_.add(whole);
            h.write(to);
            fill(mutable_bytes(to + rpc::header::bytes, n));
            return {};
        }

    private:
        caller& caller_;
    };
    /// Lets talkers work, and sends what is packed, until they have nothing to send.
    result<void> hasten(time_point until, diagnostics& why) {
        do {
            packed_line to(*this);
            talkers_.work(to, [this](auto id) { return link_ && !book_.is_settled(id); });
            if (!link_) return lost_;
            if (pack_.empty()) return {};
            deadline by = until;
            const auto r = send_pack(by, why);
            if (!r && r.error() == condition::flow) return {};
            if (!r) return r;
        } while (!talkers_.empty());
        return {};
    }
    time_point end_late() {
        const auto now = clock::now();
        while (const auto late = book_.expire(now)) tell_cancelled(*late);
        return now;
    }
    [[nodiscard]] bool hear_frame(bytes f) {
        return rpc::is_talk(f) ? talkers_.on_frame(f) : book_.on_frame(f);
    }
    /// Room in the transport, or an error; answers are read meanwhile, since the other side may
    /// wait until they are.
    result<typename link::sink::loan> loan(std::size_t n, deadline& d, diagnostics& why) {
        auto l = link_->out().try_loan(n);
        while (!l && l.error() == errc::would_block) {
            if (auto r = take_answers(why); !r) return r.error();
            const time_point until = d.is_try() ? expired : d.at();
            if (auto r = wait_for_either(link_->out(), link_->in(), until); !r) return r.error();
            l = link_->out().try_loan(n);
        }
        if (!l) return failed(l.error(), link_->out().why(), why);
        return l;
    }
    /// The loss of a link settles every call, other errors none.
    [[nodiscard]] result<void> unless_settled(std::uint64_t id, error_code ec) const noexcept {
        return book_.is_settled(id) ? result<void>() : result<void>(ec);
    }
    /// Sends a frame of n bytes that `write` writes, alone or in the pack; false from it: not. One
    /// that `belongs` to what is packed goes there, as long as a message may be.
    template <class Write>
    result<void> send(std::size_t n, deadline& d, Write write, diagnostics& why,
                      bool belongs = false) {
        if (auto r = connected(d, why); !r) return r.error();
        if (held_ || !pack_.empty()) {
            const std::size_t longest = link_->out().limits().message_bytes_max;
            const std::size_t most = belongs ? longest : std::min(pack_bytes_max, longest);
            if (pack_.size_with(n) > most) {
                if (auto r = send_pack(d, why); !r) return r;
            }
            if ((held_ || belongs) && pack_.size_with(n) <= most) {
                if (!write(pack_.add(n))) pack_.drop(n);
                return {};
            }
            if (auto r = send_pack(d, why); !r) return r;
        }
        auto l = loan(n, d, why);
        if (!l) return l.error();
        if (!write(l->bytes().data())) return {};
        auto r = commit(std::move(*l));
        return r ? r : failed(r.error(), link_->out().why(), why);
    }

    result<void> connected(deadline& d, diagnostics& why) {
        if (link_) return {};
        if (!reconnects_) return lost_;
        request_.until = d.is_try() ? expired : d.at();
        request_.why = &why;
        auto made = at_.open_link(request_);
        if (!made) return made.error();
        link_.emplace(std::move(*made));
        unflushed_ = false;
        pack_.clear();
        ++links_;
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
            if (f) return hear(f->bytes()) ? result<void>() : errc::corrupt;
            if (f.error() != errc::would_block) return f.error();
        }
        return in.wait(until);
    }
    [[nodiscard]] bool hear(bytes message) {
        ++heard_;
        return rpc::each_frame(message, [this](bytes f) { return hear_frame(f); });
    }
    result<void> take_answers(diagnostics& why) {
        for (more_ = false;;) {
            auto f = link_->in().try_receive();
            if (!f && f.error() == errc::would_block) return {};
            if (!f) return failed(f.error(), link_->in().why(), why);
            if (!hear(f->bytes())) return failed(errc::corrupt, link_->in().why(), why);
            // What waits behind it is taken when it is asked for; reading on costs a system call.
            more_ = !asks_first(link_->in());
            if (more_) return {};
        }
    }
    void tell_cancelled(std::uint64_t id) {
        if (!link_) return;
        if (!pack_.empty()) {  // it may be the question's
            rpc::header{id, 0, rpc::kind::cancel, rpc::family::none}.write(
                pack_.add(rpc::header::bytes));
            return;
        }
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
        pack_.clear();
        // What was answered before is there still, and behind it whether the desk closed or died.
        for (auto& in = link_->in(); ec == condition::gone;) {
            auto f = in.try_receive();
            if (f && hear(f->bytes())) continue;
            if (!f && f.error() == condition::gone) lost_ = why.fail(f.error(), in.why().text());
            break;
        }
        book_.fail_all(lost_);
        link_.reset();
        return lost_;
    }

    static constexpr std::size_t pack_bytes_max = 32 * 1024;

    Address at_;
    duplex_request request_;
    std::optional<link> link_;
    rpc::calls book_;
    rpc::pack pack_;
    std::uint64_t links_ = 1;
    error_code lost_ = errc::closed;
    outcome how_ = outcome::done;
    bool reconnects_;
    rpc::talkers talkers_;
    std::uint64_t heard_ = 0;  // messages
    bool held_ = false;        // questions go into the pack
    bool unflushed_ = false;   // the transport did not take all of what was committed
    bool more_ = false;        // answers may wait in the transport
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
