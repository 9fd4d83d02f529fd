// SPDX-License-Identifier: MIT
// The answering side of request and reply over links, below the codec: bytes in, bytes out.
#pragma once

#include <parley/base/peer.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/rpc/backlog.hpp>
#include <parley/rpc/correlation.hpp>
#include <parley/rpc/open_calls.hpp>
#include <parley/rpc/promises.hpp>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace drive {

/// The answering side of every caller at one address.
template <class Address>
class answerer {
    using listener = typename Address::listener;
    struct waiting {
        std::uint64_t id, message;
        time_point until;
        std::uint16_t mark;
        bool notice, together;
    };
    /// How the handlers of one caller's calls wait.
    struct hearing final : rpc::talk::pump {
        hearing(answerer& a, std::uint64_t n) noexcept : at(a), caller(n) {}
        result<void> run(const rpc::talk& t, deadline& d) override {
            return at.hear_for(caller, t.id(), d);
        }
        answerer& at;
        std::uint64_t caller;
    };
    struct side {
        std::uint64_t number;  // of this caller, never used again
        rpc::desk book = {};
        std::deque<std::vector<std::byte>> answers = {};  // that its caller has no room for
        rpc::backlog<waiting> questions = {};             // that were read before their turn
        std::size_t together = 0;                         // of them that came in a batch
        rpc::pack gathered = {};                          // answers to a batch
        rpc::open_calls open = {};                        // with streams or callbacks
        std::unique_ptr<hearing> pump = {};               // for them
        rpc::promises kept = {};                          // answers that others of `message` take
        std::uint64_t messages = 0, message = 0;          // read; the last one taken from
        bool unflushed = false;
        bool ended = false;  // nothing more comes
    };
    using links = link_set<listener, side>;
    using member = typename links::member;

public:
    /// A question and whom to answer.
    struct ticket {
        std::uint64_t caller = 0, id = 0;
        time_point until = never;
        bool notice = false;    ///< nobody waits for an answer
        bool together = false;  ///< with others of a batch
        bool kept = false;      ///< others of the batch take the answer
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
            if (!m->own.questions.empty() || (m->ready && may_read(*m))) return {};
        }
        auto r = links_.wait(until);
        // The others were not asked since the last question: theirs may be old.
        idle_ = r && links_.all().size() == 1;
        return r;
    }
    [[nodiscard]] bool is_wanted(const ticket& t) {
        member* m = find(t.caller);
        return m != nullptr && !m->own.ended && m->own.book.is_open(t.id);
    }
    /// Who asks, as far as the transport knows.
    [[nodiscard]] peer_id who(const ticket& t) {
        member* m = find(t.caller);
        return m != nullptr ? m->way.peer() : peer_id{};
    }
    /// A call that goes on after its turn. This is not moved while there are any.
    void keep(const ticket& t, std::unique_ptr<rpc::running> call) {
        member* m = find(t.caller);
        if (m == nullptr) return;
        if (!m->own.pump) m->own.pump = std::make_unique<hearing>(*this, t.caller);
        if (!m->own.open.keep(t.id, std::move(call), *m->own.pump)) m->own.ended = true;
    }
    /// Lets the calls that were kept go on; `make(ticket)` makes an answer_sink.
    template <class Make>
    void go_on(Make make) {
        for (const auto& m : links_.all()) {
            if (m->own.open.empty()) continue;
            way_line to(*this, *m);
            m->own.open.go_on(
                to, [&](auto id) { return !m->own.ended && m->own.book.is_open(id); },
                [&](auto id) {
                    return make(ticket{m->own.number, id});
                });
            unpack(*m);
        }
    }
    /// Sends an answer of n bytes that `write` writes behind `h`; answers to what came as a batch
    /// are gathered until the last of it. A caller that is gone, or does not wait, gets none.
    template <class Write>
    result<void> answer(const ticket& t, rpc::header h, std::size_t n, Write write,
                        diagnostics& why) {
        member* m = find(t.caller);
        if (m == nullptr || t.notice || !m->own.book.is_open(t.id)) return {};
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
        m->own.open.drop(t.id);
        h.id = t.id;
        const std::size_t whole = rpc::header::bytes + n;
        const auto fill = [&](std::byte* to) {
            h.write(to);
            write(mutable_bytes(to + rpc::header::bytes, n));
            if (t.kept) m->own.kept.keep(t.id, h, bytes(to + rpc::header::bytes, n));
        };
        rpc::pack& pack = m->own.gathered;
        if (!pack.empty() && pack.size_with(whole) > std::min(pack_bytes_max, most)) unpack(*m);
        // Behind what is gathered: a talk's last values, say.
        if ((t.together || !pack.empty()) &&
            pack.size_with(whole) <= std::min(pack_bytes_max, most)) {
            fill(pack.add(whole));
            if (m->own.together == 0) unpack(*m);
        } else {
            post(*m, whole, fill);
        }
        return {};
    }
    result<void> close(time_point until) {
        for (const auto& m : links_.all()) {
            unpack(*m);
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
    /// Questions whose time ran out before their turn came.
    [[nodiscard]] std::uint64_t too_late() const noexcept { return too_late_; }
    [[nodiscard]] listener& door() noexcept { return links_.door(); }

private:
    /// Where calls under way send: together with the answers, while there is room.
    class way_line final : public rpc::line {
    public:
        way_line(answerer& at, member& m) noexcept : at_(at), member_(m) {}
        result<void> send(const rpc::header& h, std::size_t n, rpc::filler fill) override {
            rpc::pack& pack = member_.own.gathered;
            const std::size_t whole = rpc::header::bytes + n;
            const std::size_t most = member_.way.out().limits().message_bytes_max;
            if (rpc::header::bytes + rpc::pack::length_bytes + whole > most) {
                return errc::message_too_large;
            }
            if (pack.size_with(whole) > std::min(pack_bytes_max, most)) at_.unpack(member_);
            if (member_.own.ended || member_.wanting) return errc::would_block;
            std::byte* to = pack.add(whole);
            h.write(to);
            fill(mutable_bytes(to + rpc::header::bytes, n));
            return {};
        }

    private:
        answerer& at_;
        member& member_;
    };
    /// Hears a caller until something has come. For a handler that blocks.
    result<void> hear_for(std::uint64_t number, std::uint64_t id, deadline& d) {
        member* m = find(number);
        if (m == nullptr || m->own.ended) return errc::peer_lost;
        way_line to(*this, *m);
        m->own.open.work(id, to);
        unpack(*m);
        if (!m->own.book.is_open(id)) return errc::closed;
        auto f = m->way.in().try_receive();
        if (f) {
            const auto nobody = [](const ticket&, bytes) {};
            (void)hear(*m, f->bytes(), nobody, false);
            return {};
        }
        m->own.ended = f.error() != errc::would_block;
        lost_ += m->own.ended && f.error() != errc::closed ? 1 : 0;
        if (m->own.ended) return f.error();
        const time_point until = d.is_try() ? expired : d.at();
        auto r = m->wanting ? wait_for_either(m->way.out(), m->way.in(), until)
                            : m->way.in().wait(until);
        if (m->wanting) send_kept(*m);
        m->ready = true;
        return r;
    }
    static void nothing(mutable_bytes) noexcept {}

    member* find(std::uint64_t number) {
        for (const auto& m : links_.all()) {
            if (m->own.number == number && !m->gone) return m.get();
        }
        return nullptr;
    }
    [[nodiscard]] static bool may_read(const member& m) noexcept {
        return !m.own.ended && m.own.answers.empty() && m.own.book.open() < open_max &&
               m.own.questions.size() < open_max;
    }
    /// Hands the next question of one caller out. What has a deadline and may have waited here is
    /// read ahead, to see what was given up before it is begun with.
    template <class Take>
    bool ask(member& m, Take& take, diagnostics& why) {
        if (m.wanting) send_kept(m);
        while (m.ready && !m.gone && may_read(m)) {
            auto f = m.way.in().try_receive();
            if (!f) {
                m.ready = false;
                if (f.error() == errc::would_block) break;
                m.own.ended = true;
                if (f.error() != errc::closed) {
                    ++lost_;
                    (void)why.fail(f.error(), m.way.in().why().text());
                }
                break;
            }
            if (hear(m, f->bytes(), take)) return true;
        }
        while (!m.own.questions.empty()) {
            if (take_kept(m, take, why)) return true;
        }
        unpack(m);
        m.gone = m.gone || m.own.ended;
        return false;
    }
    /// Takes a message in; true: the question in it was handed out at once.
    template <class Take>
    bool hear(member& m, bytes message, Take& take, bool at_once = true) {
        const bool batch = rpc::is_batch(message);
        bool taken = false;
        ++m.own.messages;
        time_point now{};
        (void)rpc::each_frame(message, [&](bytes f) {
            if (rpc::is_talk(f)) {
                const auto is_open = [&](auto id) { return m.own.book.is_open(id); };
                if (!m.own.open.on_frame(f, is_open)) m.own.ended = true;
                return !m.own.ended;
            }
            const bool timed =
                f.size() >= rpc::header::bytes && load_le<std::uint32_t>(f.data() + 8) != 0;
            if (timed && now == time_point{}) now = clock::now();
            const auto q = m.own.book.on_frame(f, now);
            if (!q) return true;
            if (at_once && !batch && q->mark == 0 && (q->until == never || idle_) &&
                m.own.questions.empty()) {
                idle_ = false;
                take(ticket{m.own.number, q->id, q->until, q->notice}, q->body);
                taken = true;
            } else {
                m.own.together += batch ? 1 : 0;
                m.own.questions.push({q->id, m.own.messages, q->until, q->mark, q->notice, batch},
                                     q->body);
            }
            return true;
        });
        return taken;
    }
    template <class Take>
    bool take_kept(member& m, Take& take, diagnostics& why) {
        const auto [q, body] = m.own.questions.pop();
        m.own.together -= q.together ? 1 : 0;
        if (!q.together || m.own.questions.empty()) m.ready = true;  // a cancel may have come
        if (std::exchange(m.own.message, q.message) != q.message) m.own.kept.clear();
        const bool kept = (q.mark & rpc::marks::kept) != 0;
        if (!q.notice && (m.own.ended || !m.own.book.is_open(q.id))) {
            rpc::header h{0, 0, rpc::kind::refusal, rpc::family::none};
            rpc::write_error(h, errc::closed);
            if (kept) m.own.kept.keep(q.id, h, as_bytes("the call was given up"));
            return false;
        }
        const ticket t{m.own.number, q.id, q.until, q.notice, q.together, kept};
        if (q.until != never && q.until <= clock::now()) {
            if (!q.notice) refuse(t, errc::timed_out, {}, why);
            ++too_late_;
            return false;
        }
        if ((q.mark & rpc::marks::filled) == 0) {
            take(t, body);
            return true;
        }
        const auto whole = m.own.kept.fill(body, m.way.out().limits().message_bytes_max);
        if (whole) {
            take(t, *whole);
        } else {
            refuse(t, whole.error(), m.own.kept.words(), why);
        }
        return whole.has_value();
    }
    void refuse(const ticket& t, error_code ec, std::string_view words, diagnostics& why) {
        rpc::header h{0, 0, rpc::kind::refusal, rpc::family::none};
        rpc::write_error(h, ec);
        (void)answer(
            t, h, words.size(),
            [&](mutable_bytes to) {
                if (!words.empty()) std::memcpy(to.data(), words.data(), words.size());
            },
            why);
    }
    /// Sends the answers to a batch that were gathered.
    void unpack(member& m) {
        rpc::pack& pack = m.own.gathered;
        if (pack.empty()) return;
        const bytes message = pack.message();
        post(m, message.size(),
             [&](std::byte* to) { std::memcpy(to, message.data(), message.size()); });
        pack.clear();
    }
    /// Sends a message of n bytes, or keeps it until there is room.
    template <class Fill>
    void post(member& m, std::size_t n, Fill fill) {
        if (m.own.answers.empty()) {
            auto l = m.way.out().try_loan(n);
            if (l) {
                fill(l->bytes().data());
                if (m.way.out().try_commit(std::move(*l))) flush(m);
                return;
            }
            if (l.error() != errc::would_block) return;  // it is gone: the next look tells
        }
        std::vector<std::byte> kept(n);
        fill(kept.data());
        m.own.answers.push_back(std::move(kept));
        m.wanting = true;
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

    static constexpr std::size_t pack_bytes_max = 32 * 1024;

    links links_;
    std::size_t turn_ = 0;
    bool idle_ = false;  // waited since the last question: what comes has just come
    std::uint64_t callers_ = 0, lost_ = 0, too_late_ = 0;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
