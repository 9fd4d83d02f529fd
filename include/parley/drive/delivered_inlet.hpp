// SPDX-License-Identifier: MIT
// Where the frames of a delivery stack come in, and their receiving sides: one source, or links.
#pragma once

#include <parley/drive/delivered_way.hpp>
#include <parley/drive/link_set.hpp>
#include <parley/transport/stream_source.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// A frame of a source, and the receiving side that it is for. The frame stays as long as messages
/// of it are handed out.
template <class Receiving, class View>
struct inbound {
    explicit inbound(Receiving r) : side(std::move(r)) {}

    Receiving side;
    std::optional<View> frame = std::nullopt;
    bool fed = true;  // the side has the frame
};

}  // namespace detail
namespace drive {

/// Over a one-way transport: one source, one receiving side.
template <class Address, class Stack>
class delivered_inlet {
    using way = delivered_way<Address, Stack>;
    using source = typename Address::source;

public:
    delivered_inlet(source s, const Stack& how)
        : source_(std::move(s)),
          in_(typename way::receiving(how)),
          message_bytes_max_(way::message_bytes_max(how, source_.limits().message_bytes_max)) {}

    /// The next message of the frame that is here.
    [[nodiscard]] std::optional<bytes> at_hand() { return in_.side.next(); }
    result<bytes> next(diagnostics& why) {
        for (;;) {
            if (const auto m = at_hand()) return *m;
            in_.frame.reset();
            auto f = source_.try_receive();
            if (!f) {
                if (f.error() != errc::would_block) {
                    return why.fail(f.error(), source_.why().text());
                }
                return f.error();
            }
            in_.frame.emplace(std::move(*f));
            in_.side.on_frame(in_.frame->bytes());
        }
    }
    /// `borrowed`: a message of the frame is still looked at.
    result<void> wait(time_point until, bool borrowed) {
        if (in_.side.has_more()) return {};
        if (!borrowed) in_.frame.reset();
        return source_.wait(until);
    }
    void look() noexcept {}
    result<void> watch(parley::detail::readiness& by) {
        if (by.made()) return {};
        auto fd = source_.pollable();
        if (fd) fd = by.add(*fd, EPOLLIN);
        return fd ? result<void>() : fd.error();
    }
    [[nodiscard]] bool is_left_over() const noexcept { return false; }
    result<void> close(time_point until) { return source_.close(until); }
    [[nodiscard]] std::uint64_t peers_lost() const { return source_.peers_lost(); }
    [[nodiscard]] parley::detail::peer_watch& peers() {
        if constexpr (peer_watching_source<source>) {
            return source_.peers();
        } else {
            return nobody_;
        }
    }
    [[nodiscard]] uri address() const { return source_.address(); }
    [[nodiscard]] parley::limits limits() const {
        auto l = source_.limits();
        l.message_bytes_max = message_bytes_max_;
        return l;
    }
    [[nodiscard]] delivery::counters counters() const {
        auto c = in_.side.counters();
        if constexpr (counting_source<source>) c.lost += source_.lost();
        return c;
    }

private:
    parley::detail::peer_watch nobody_;
    source source_;
    detail::inbound<typename way::receiving, typename source::view> in_;
    std::size_t message_bytes_max_;
};

/// Over links: each sender has a link and a receiving side of its own. Under exactly_once the side
/// of a sender whose link was lost is kept for its next link; of more than `kept_max` such senders
/// the one that was lost first is forgotten.
template <class Address, class Stack>
class delivered_links {
    using way = delivered_way<Address, Stack>;
    using receiving = typename way::receiving;
    using listener = typename Address::listener;
    using link = typename listener::link;
    using inbound = detail::inbound<receiving, typename link::source::view>;
    using links = link_set<listener, inbound>;
    using member = typename links::member;

public:
    static constexpr std::size_t kept_max = 256;

    delivered_links(listener door, const Stack& how)
        : links_(std::move(door)), how_(how), pollable_(links_.is_pollable()) {}

    result<bytes> next(diagnostics& why) {
        for (;;) {
            if (auto r = links_.accept([&](link& l) { return welcome(l); }); !r) {
                return why.fail(r.error(), links_.door().why().text());
            }
            for (std::size_t n = links_.all().size(); n > 0; --n) {
                turn_ = turn_ % links_.all().size();
                member& m = *links_.all()[turn_];
                auto said = m.gone ? result<bytes>(errc::would_block) : ask(m, why);
                if (said || said.error() != errc::would_block) return said;
                ++turn_;
            }
            const bool some_left = !links_.is_empty();
            links_.sweep();
            if (!links_.is_empty()) return errc::would_block;
            if (some_left) return std::exchange(ended_, errc::closed);
            return errc::would_block;
        }
    }
    /// Finds out who has something to say, for who asks again and does not wait.
    void look() { (void)wait(expired, false); }
    result<void> watch(parley::detail::readiness& by) { return links_.watch(by); }
    /// next() said that there is nothing now, and there may be.
    [[nodiscard]] bool is_left_over() const noexcept {
        const auto& all = const_cast<links&>(links_).all();
        return std::any_of(all.begin(), all.end(), [](const auto& m) { return m->ready; });
    }
    /// It may return early: what try_receive says then costs no system call.
    result<void> wait(time_point until, bool) {
        if (is_left_over()) return {};
        ended_last_ = 0;
        return links_.wait(until);
    }
    /// What was handed out last is done with.
    result<void> close(time_point until) {
        for (const auto& m : links_.all()) {
            if (m->own.fed) (void)m->own.side.next();
            send_back(*m, true);
            (void)m->way.close(earlier(until, clock::now() + std::chrono::seconds(1)));
        }
        links_.all().clear();
        return links_.door().close(until);
    }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return peers_.lost(); }
    [[nodiscard]] parley::detail::peer_watch& peers() noexcept { return peers_; }
    [[nodiscard]] uri address() const { return door().address(); }
    [[nodiscard]] parley::limits limits() const {
        return {.message_bytes_max = message_bytes_max_,
                .writers_max = static_cast<std::size_t>(-1),
                .pollable = pollable_,
                .successors = true};
    }
    [[nodiscard]] delivery::counters counters() const {
        delivery::counters sum = past_;
        for (const auto& m : const_cast<links&>(links_).all()) add(sum, m->own.side.counters());
        return sum;
    }

private:
    [[nodiscard]] const listener& door() const { return const_cast<links&>(links_).door(); }
    inbound welcome(link& l) {
        message_bytes_max_ = way::message_bytes_max(how_, l.in().limits().message_bytes_max);
        peers_.came(0);
        return inbound(receiving(how_));
    }
    static void add(delivery::counters& to, const delivery::counters& c) {
        to.duplicates += c.duplicates;
        to.lost += c.lost;
        to.corrupt += c.corrupt;
    }

    /// The next message of a member; would_block: none now.
    result<bytes> ask(member& m, diagnostics& why) {
        for (;;) {
            if (m.own.fed) {
                if (const auto message = m.own.side.next()) return *message;
                m.own.frame.reset();
                if (!m.ready) return errc::would_block;
                send_back(m, false);
                auto f = m.way.in().try_receive();
                if (!f) return stopped(m, f.error(), why);
                m.own.frame.emplace(std::move(*f));
                m.own.fed = false;
            }
            if constexpr (receiving::remembers) {
                if (!recognise(m)) return errc::would_block;
            }
            m.own.fed = true;
            m.own.side.on_frame(m.own.frame->bytes());
            if constexpr (receiving::tells_arrival) send_back(m, false);
        }
    }
    result<bytes> stopped(member& m, error_code ec, diagnostics& why) {
        m.ready = false;
        if (ec == errc::would_block) {
            send_back(m, true);
            return ec;
        }
        m.gone = true;
        add(past_, m.own.side.counters());
        if constexpr (receiving::remembers) {
            if (ec != errc::closed) keep(std::move(m.own.side));
        }
        if (ec == condition::gone) {
            if (ec == errc::peer_lost) peers_.died(0);
            if (is_last_end(m)) ended_ = why.fail(ec, m.way.in().why().text());
            return errc::would_block;
        }
        if (is_last_end(m)) ended_ = errc::peer_lost;
        return why.fail(ec, m.way.in().why().text());
    }
    /// Links that are found at an end together ended in the order in which they were made: a sender
    /// that was cut off makes a new one to say goodbye.
    bool is_last_end(const member& m) noexcept {
        if (m.number < ended_last_) return false;
        ended_last_ = m.number;
        return true;
    }
    void send_back(member& m, bool quiet) {
        const std::size_t n = m.own.side.wants(quiet);
        if (n == 0) return;
        auto& out = m.way.out();
        auto l = out.try_loan(n);  // no room: the sender has enough to read, and will ask again
        if (!l) return;
        l->shrink(m.own.side.transmit(l->bytes()));
        if (out.try_commit(std::move(*l))) (void)out.flush(expired);
    }

    /// The sender of a first frame may have been here over another link. False: later, since
    /// messages of that one are still to be handed out.
    bool recognise(member& m) {
        const std::uint64_t who = receiving::sender_of(m.own.frame->bytes());
        if (who == 0 || m.own.side.sender() != 0) return true;
        for (auto& k : kept_) {
            if (k.sender() == who) return resume(m, k), true;
        }
        for (const auto& other : links_.all()) {
            // Its old link did not fail yet, on this side. Which one is the old one is not said by
            // whose frame is found first.
            if (other.get() == &m || other->gone || other->own.side.sender() != who) continue;
            if (other->number > m.number) {
                m.gone = true;
                return false;
            }
            if (other->own.frame) return false;
            other->gone = true;
            return resume(m, other->own.side), true;
        }
        return true;
    }
    void resume(member& m, receiving& known) {
        m.own.side = std::exchange(known, receiving(how_));
        m.own.side.on_link();
    }
    void keep(receiving r) {
        if (r.sender() == 0) return;
        if (kept_.size() == kept_max) kept_.erase(kept_.begin());
        kept_.push_back(std::move(r));
    }

    links links_;
    Stack how_;
    std::vector<receiving> kept_;
    std::size_t turn_ = 0;
    error_code ended_ = errc::closed;
    std::uint64_t ended_last_ = 0;  // whose end that was, of those found since the last wait
    parley::detail::peer_watch peers_;
    std::size_t message_bytes_max_ = 0;  // known from the first link on
    const bool pollable_;
    delivery::counters past_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
