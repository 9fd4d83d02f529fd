// SPDX-License-Identifier: MIT
// A two-way transport that loses, doubles, damages and disorders what it is given, by a seed: the
// worst that a network may do, over a real one. It promises nothing, so a delivery stack over it
// has to mend everything.
#pragma once

#include <parley/base/random.hpp>
#include <parley/delivery/delivery.hpp>
#include <parley/transport/duplex.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// How often what happens, of a thousand messages.
struct mischief {
    std::uint64_t seed = 1;
    unsigned drop = 0, duplicate = 0, damage = 0, disorder = 0;
    unsigned cut_every = 0;  ///< messages; the connection is cut then, on both sides; 0: never
    friend bool operator==(const mischief&, const mischief&) = default;
};

/// A sink that does mischief to what is committed.
template <sink S>
class chaotic_sink {
public:
    class loan {
    public:
        explicit loan(std::vector<std::byte> room) : room_(std::move(room)) {}
        [[nodiscard]] mutable_bytes bytes() const noexcept { return room_; }
        void shrink(std::size_t n) { room_.resize(n); }

    private:
        friend chaotic_sink;
        mutable std::vector<std::byte> room_;
    };

    chaotic_sink(S real, const mischief& m) : real_(std::move(real)), how_(m), dice_(m.seed) {}

    /// Room for two: what is committed may come out twice, or with what was held back.
    result<loan> try_loan(std::size_t n) {
        if (auto l = real_.try_loan(n); !l) return l.error();
        return loan(std::vector<std::byte>(n));
    }
    result<void> try_commit(loan l) {
        std::vector<std::byte> m = std::move(l.room_);
        if (how_.cut_every > 0 && ++committed_ % how_.cut_every == 0) {
            if constexpr (requires { real_.io().descriptor(); }) {
                ::shutdown(real_.io().descriptor(), SHUT_RDWR);
            }
        }
        if (strikes(how_.drop)) return {};
        if (strikes(how_.damage) && !m.empty()) {
            m[dice_.below(m.size())] ^= std::byte(1 + dice_.below(255));
        }
        if (!held_ && strikes(how_.disorder)) {
            held_ = std::move(m);
            return {};
        }
        if (auto r = pass(m); !r) return r;
        if (strikes(how_.duplicate)) (void)pass(m);
        if (held_) {
            const auto late = std::exchange(held_, std::nullopt);
            (void)pass(*late);
        }
        return {};
    }
    result<void> flush(time_point until) { return real_.flush(until); }
    result<void> wait(time_point until) { return real_.wait(until); }
    result<int> pollable() { return real_.pollable(); }
    result<void> close(time_point until) { return real_.close(until); }
    [[nodiscard]] parley::limits limits() const {
        auto l = real_.limits();
        l.message_bytes_max = std::min<std::size_t>(l.message_bytes_max, 1024);
        l.loans_max = 1;
        l.lossy = how_.drop + how_.duplicate + how_.damage + how_.disorder > 0;
        return l;
    }
    [[nodiscard]] const diagnostics& why() const { return real_.why(); }
    [[nodiscard]] uri address() const { return real_.address(); }

private:
    [[nodiscard]] bool strikes(unsigned of_thousand) { return dice_.below(1000) < of_thousand; }
    /// What finds no room is one more that is lost.
    result<void> pass(const std::vector<std::byte>& m) {
        auto l = real_.try_loan(m.size());
        if (!l) return l.error() == errc::would_block ? result<void>() : l.error();
        std::copy(m.begin(), m.end(), l->bytes().begin());
        if (auto r = real_.try_commit(std::move(*l)); !r) return r;
        auto r = real_.flush(expired);
        return !r && r.error() == errc::would_block ? result<void>() : r;
    }

    S real_;
    mischief how_;
    random dice_;
    unsigned committed_ = 0;
    std::optional<std::vector<std::byte>> held_;
};

/// `chaotic{uds{"/run/x", {.type = uds::seqpacket}}, {.seed = 7, .drop = 100}}`. `Promises`: what a
/// stack is told of it, when the mischief is only a cut now and then.
template <duplex_transport Address, delivery::facts Promises = delivery::facts{.two_way = true}>
struct chaotic {
    Address at;
    mischief how = {};

    static constexpr delivery::facts promises = Promises;

    class link {
    public:
        using sink = chaotic_sink<typename Address::link::sink>;
        using source = typename Address::link::source;

        /// The real link lives in its sink's and source's place, so it is taken apart.
        link(typename Address::link real, const mischief& m)
            : out_(std::move(real.out()), m), in_(std::move(real.in())), peer_(real.peer()) {}

        [[nodiscard]] sink& out() noexcept { return out_; }
        [[nodiscard]] source& in() noexcept { return in_; }
        [[nodiscard]] peer_id peer() const noexcept { return peer_; }
        result<void> close(time_point until) {
            auto r = out_.close(until);
            (void)in_.close(until);
            return r;
        }

    private:
        sink out_;
        source in_;
        peer_id peer_;
    };

    class listener {
    public:
        using link = chaotic::link;

        listener(typename Address::listener real, const mischief& m)
            : real_(std::move(real)), how_(m) {}

        result<link> try_accept() {
            auto l = real_.try_accept();
            if (!l) return l.error();
            ++how_.seed;
            return link(std::move(*l), how_);
        }
        result<void> wait(time_point until) { return real_.wait(until); }
        result<int> pollable() { return real_.pollable(); }
        result<void> close(time_point until) { return real_.close(until); }
        [[nodiscard]] const diagnostics& why() const { return real_.why(); }
        [[nodiscard]] uri address() const { return real_.address(); }

    private:
        typename Address::listener real_;
        mischief how_;
    };

    [[nodiscard]] result<listener> open_listener(const duplex_request& r) const {
        auto l = at.open_listener(r);
        if (!l) return l.error();
        return listener(std::move(*l), how);
    }
    [[nodiscard]] result<link> open_link(const duplex_request& r) const {
        auto l = at.open_link(r);
        if (!l) return l.error();
        return link(std::move(*l), how);
    }
    [[nodiscard]] uri to_uri() const { return at.to_uri(); }
    friend bool operator==(const chaotic&, const chaotic&) = default;
};

template <duplex_transport Address>
chaotic(Address, mischief) -> chaotic<Address>;

}  // namespace testing
}  // namespace v1
}  // namespace parley
