// SPDX-License-Identifier: MIT
// A two-way transport between two ends of one thread, over a way that takes time: virtual time,
// which passes only while the linking end waits. It is a simulation and says so: nothing is slow,
// and what a protocol costs in round trips is read off a clock that nothing else moves.
#pragma once

#include <parley/base/time.hpp>
#include <parley/transport/duplex.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// The way between both ends. `serve` lets the listening end go on; it must not wait.
struct virtual_way {
    duration delay = std::chrono::milliseconds(1);  ///< one way
    std::size_t in_flight_max = 1024;               ///< messages, each way; then it is full
    std::function<void()> serve = {};
    duration now{};              ///< since the beginning
    std::uint64_t messages = 0;  ///< that were sent, both ways

    struct message {
        duration at;
        std::vector<std::byte> body;
    };
    std::deque<message> to_listener = {}, to_linked = {};
    bool asked = false;  ///< somebody links
    bool is_cut = false;

    [[nodiscard]] double round_trips() const {
        return static_cast<double>(now.count()) / static_cast<double>(2 * delay.count());
    }
    /// Lets time pass until something arrives. False: nothing will.
    bool go_on() {
        if (serve) serve();
        const auto* next = to_listener.empty() ? nullptr : &to_listener.front();
        if (!to_linked.empty() && (next == nullptr || to_linked.front().at < next->at)) {
            next = &to_linked.front();
        }
        if (next == nullptr) return false;
        if (next->at > now) now = next->at;
        if (serve) serve();
        return true;
    }
};

/// `virtual_wire{way}`; the link's end is the one that waits.
struct virtual_wire {
    std::shared_ptr<virtual_way> way;

    class loan {
    public:
        explicit loan(std::vector<std::byte> room) : room_(std::move(room)) {}
        [[nodiscard]] mutable_bytes bytes() const noexcept { return room_; }
        void shrink(std::size_t n) { room_.resize(n); }
        [[nodiscard]] std::vector<std::byte> take() && { return std::move(room_); }

    private:
        mutable std::vector<std::byte> room_;
    };
    class view {
    public:
        explicit view(std::vector<std::byte> b) : body_(std::move(b)) {}
        [[nodiscard]] parley::bytes bytes() const noexcept { return body_; }

    private:
        std::vector<std::byte> body_;
    };

    /// What both halves of an end have in common.
    class end {
    public:
        end(std::shared_ptr<virtual_way> w, bool listens) : way_(std::move(w)), listens_(listens) {}
        result<int> pollable() { return errc::unsupported; }
        result<void> close(time_point) {
            way_->is_cut = true;
            return {};
        }
        [[nodiscard]] parley::limits limits() const {
            return {.message_bytes_max = std::size_t{1} << 20, .pollable = false};
        }
        [[nodiscard]] const diagnostics& why() const { return why_; }
        [[nodiscard]] uri address() const { return uri("virtual:"); }

    protected:
        std::shared_ptr<virtual_way> way_;
        bool listens_;
        diagnostics why_;
    };
    class sink : public end {
    public:
        using end::end;
        using loan = virtual_wire::loan;
        result<loan> try_loan(std::size_t n) {
            if (way_->is_cut) return errc::peer_lost;
            if (n > limits().message_bytes_max) return errc::message_too_large;
            if (out().size() >= way_->in_flight_max) return errc::would_block;
            return loan(std::vector<std::byte>(n));
        }
        result<void> try_commit(loan l) {
            if (way_->is_cut) return errc::peer_lost;
            ++way_->messages;
            out().push_back({way_->now + way_->delay, std::move(l).take()});
            return {};
        }
        result<void> flush(time_point) { return {}; }
        result<void> wait(time_point) { return way_->go_on() ? result<void>() : errc::timed_out; }

    private:
        [[nodiscard]] std::deque<virtual_way::message>& out() const {
            return listens_ ? way_->to_linked : way_->to_listener;
        }
    };
    class source : public end {
    public:
        using end::end;
        using view = virtual_wire::view;
        result<view> try_receive() {
            auto& in = listens_ ? way_->to_listener : way_->to_linked;
            if (in.empty() || in.front().at > way_->now) {
                return way_->is_cut ? errc::peer_lost : errc::would_block;
            }
            view v(std::move(in.front().body));
            in.pop_front();
            return v;
        }
        [[nodiscard]] std::uint64_t peers_lost() const { return way_->is_cut ? 1 : 0; }
        result<void> wait(time_point until) {
            auto& in = listens_ ? way_->to_listener : way_->to_linked;
            const auto arrived = [&] { return !in.empty() && in.front().at <= way_->now; };
            if (!listens_ && until != expired) {
                while (!arrived() && !way_->is_cut && way_->go_on()) {
                }
            }
            return arrived() || way_->is_cut ? result<void>() : errc::timed_out;
        }
    };
    class link {
    public:
        using sink = virtual_wire::sink;
        using source = virtual_wire::source;

        link(const std::shared_ptr<virtual_way>& w, bool listens)
            : out_(w, listens), in_(w, listens) {}
        [[nodiscard]] sink& out() noexcept { return out_; }
        [[nodiscard]] source& in() noexcept { return in_; }
        [[nodiscard]] peer_id peer() const noexcept { return {}; }
        result<void> close(time_point until) { return out_.close(until); }

    private:
        sink out_;
        source in_;
    };
    class listener {
    public:
        using link = virtual_wire::link;

        explicit listener(std::shared_ptr<virtual_way> w) : way_(std::move(w)) {}
        result<link> try_accept() {
            if (!std::exchange(way_->asked, false)) return errc::would_block;
            return link(way_, true);
        }
        result<void> wait(time_point) { return way_->asked ? result<void>() : errc::timed_out; }
        result<int> pollable() { return errc::unsupported; }
        result<void> close(time_point) { return {}; }
        [[nodiscard]] const diagnostics& why() const { return why_; }
        [[nodiscard]] uri address() const { return uri("virtual:"); }

    private:
        std::shared_ptr<virtual_way> way_;
        diagnostics why_;
    };

    [[nodiscard]] result<listener> open_listener(const duplex_request&) const {
        return listener(way);
    }
    [[nodiscard]] result<link> open_link(const duplex_request&) const {
        way->asked = true;
        return link(way, false);
    }
    friend bool operator==(const virtual_wire&, const virtual_wire&) = default;
};

static_assert(duplex_transport<virtual_wire>);

}  // namespace testing
}  // namespace v1
}  // namespace parley
