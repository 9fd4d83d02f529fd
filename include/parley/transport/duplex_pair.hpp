// SPDX-License-Identifier: MIT
// Two one-way addresses joined to a two-way one, for transports that know only one way.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/transport/duplex.hpp>

#include <memory>
#include <optional>
#include <utility>

namespace parley {
inline namespace v1 {

/// `duplex{there, back}`: who links sends on `there` and receives on `back`; the listener the other
/// way round. Two rings of shared memory become a link:
///
///     parley::duplex at{parley::shm{"desk.questions"}, parley::shm{"desk.answers"}};
///     auto door = at.open_listener({answer, question, never, &why});     // process A
///     auto link = at.open_link({question, answer, never, &why});         // process B
///
/// One link at a time: the one who links owns `back`, so a second one is told in_use, and the
/// listener accepts again once the last link is gone on both sides. Each address stays what it is:
/// limits, ends and errors are those of its ends. The listener has no descriptor to poll, and its
/// wait looks again at most 20 ms after the other side came.
/// Thread safety: one listener, one direction of a link, belong to one thread at a time.
template <transport Address>
struct duplex {
    Address there, back;

    class link {
    public:
        using sink = typename Address::sink;
        using source = typename Address::source;

        link(sink out, source in) : out_(std::move(out)), in_(std::move(in)) {}

        [[nodiscard]] sink& out() noexcept { return out_; }
        [[nodiscard]] source& in() noexcept { return in_; }
        /// Nobody, since one-way transports do not tell.
        [[nodiscard]] peer_id peer() const noexcept { return {}; }
        result<void> close(time_point until) {
            auto r = out_.close(until);
            (void)in_.close(until);
            return r;
        }

    private:
        sink out_;
        source in_;
    };

    /// Owns `there` while no link does.
    class listener {
    public:
        using link = duplex::link;

        listener(duplex at, const duplex_request& r, typename Address::source in)
            : core_(std::make_unique<core>(std::move(at), r, std::move(in))) {}

        /// Errors: would_block (nobody came, or the last link lives), those of opening.
        result<link> try_accept() {
            core& c = *core_;
            if (c.closed) return errc::closed;
            if (auto r = c.find(expired); !r) return flow(r.error());
            link made(std::move(*c.out), std::move(*c.in));
            c.out.reset();
            c.in.reset();
            return made;
        }
        result<void> wait(time_point until) {
            for (detail::backoff pause;;) {
                auto r = core_->find(expired);
                if (r || flow(r.error()) != errc::would_block) return {};  // try_accept tells
                if (auto s = pause.sleep(until); !s) return s.error();
            }
        }
        result<int> pollable() { return errc::unsupported; }
        result<void> close(time_point until) {
            core& c = *core_;
            c.closed = true;
            c.out.reset();
            return c.in ? c.in->close(until) : result<void>();
        }
        [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
        [[nodiscard]] uri address() const { return core_->at.there.to_uri(); }

    private:
        struct core {
            core(duplex a, const duplex_request& r, typename Address::source i)
                : at(std::move(a)), request(r), in(std::move(i)) {}

            result<void> find(time_point until) {
                if (closed || out) return {};
                if (!in) {
                    auto again =
                        detail::anew(at.there).open_source({request.receives, until, &why});
                    if (!again) return again.error();
                    in.emplace(std::move(*again));
                }
                auto to_peer = at.back.open_sink({request.sends, until, &why});
                if (!to_peer) return to_peer.error();
                out.emplace(std::move(*to_peer));
                return {};
            }

            duplex at;
            duplex_request request;
            diagnostics why;
            std::optional<typename Address::source> in;
            std::optional<typename Address::sink> out;
            bool closed = false;
        };

        /// The last link still has `there`, or nobody has `back` yet.
        static error_code flow(error_code ec) noexcept {
            const bool later = ec == errc::in_use || ec == errc::timed_out;
            return later ? make_error_code(errc::would_block) : ec;
        }

        std::unique_ptr<core> core_;
    };

    [[nodiscard]] result<listener> open_listener(const duplex_request& r) const {
        auto in = detail::anew(there).open_source({r.receives, r.until, r.why});
        if (!in) return in.error();
        return listener(*this, r, std::move(*in));
    }
    /// Errors: those of opening both; in_use: another link lives.
    [[nodiscard]] result<link> open_link(const duplex_request& r) const {
        auto in = detail::anew(back).open_source({r.receives, r.until, r.why});
        if (!in) return in.error();
        auto out = there.open_sink({r.sends, r.until, r.why});
        if (!out) return out.error();
        return link(std::move(*out), std::move(*in));
    }

    friend bool operator==(const duplex&, const duplex&) = default;
};

template <transport Address>
duplex(Address, Address) -> duplex<Address>;

}  // namespace v1
}  // namespace parley
