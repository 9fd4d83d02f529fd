// SPDX-License-Identifier: MIT
// Many links over a transport that knows only one way: each has two addresses of its own, and a
// third one, the given, is the door at which they are asked for.
#pragma once

#include <parley/codec/type_text.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/duplex.hpp>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// A transport with names: others can be made beside a given one.
template <class Address>
concept named_transport = transport<Address> && requires(Address at) {
    { at.name } -> std::same_as<std::string&>;
};

/// Links over shared memory, say: `linked{shm{"desk"}}`. The listener receives at `desk`; who links
/// takes the first k for which `desk.k.back` is free, says k at the door, waits until the listener
/// says on `desk.k.back` that it is there, and sends on `desk.k.there`. So every name is used
/// again, and nothing stays behind that the next one would not take over.
///
/// Each link is what its ends are: limits, ends and errors are theirs. The listener has no
/// descriptor, so that who serves one link may spin for it; whoever waits for links and messages
/// looks at the door now and then.
/// Thread safety: a listener, one direction of a link, belong to one thread at a time.
/// Errors of open_link: timed_out: nobody listens, or it does not look at its door;
/// out_of_resources: `links_max` live; incompatible; and those of opening.
template <named_transport Address>
struct linked {
    Address at;
    std::size_t links_max = 1024;

    class link {
    public:
        using sink = typename Address::sink;
        using source = typename Address::source;

        link(sink out, source in) : out_(std::move(out)), in_(std::move(in)) {}

        [[nodiscard]] sink& out() noexcept { return out_; }
        [[nodiscard]] source& in() noexcept { return in_; }
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

    class listener {
    public:
        using link = linked::link;

        listener(const linked& at, const duplex_request& r, typename Address::source door)
            : core_(std::make_unique<core>(at, r, std::move(door))) {}

        result<link> try_accept() {
            core& c = *core_;
            if (c.closed) return errc::closed;
            if (auto r = c.hear(); !r) return r.error();
            for (std::size_t i = 0; i < c.asked.size(); ++i) {
                auto made = c.answer(c.asked[i]);
                // in_use: this process still has the last link of that number.
                if (!made && made.error() == errc::in_use) continue;
                c.asked.erase(c.asked.begin() + static_cast<std::ptrdiff_t>(i--));
                if (made || made.error() == errc::out_of_resources) return made;
            }
            return errc::would_block;
        }
        result<void> wait(time_point until) {
            core& c = *core_;
            if (c.closed) return {};
            if (c.asked.empty()) return c.door.wait(until);
            const auto soon = clock::now() + std::chrono::milliseconds(1);
            (void)c.door.wait(earlier(until, soon));
            return until <= soon ? result<void>(errc::timed_out) : result<void>();
        }
        result<int> pollable() { return errc::unsupported; }
        result<void> close(time_point until) {
            core_->closed = true;
            return core_->door.close(until);
        }
        [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
        [[nodiscard]] uri address() const { return core_->door.address(); }

    private:
        struct core {
            core(const linked& l, const duplex_request& r, typename Address::source d)
                : at(l), request(r), door(std::move(d)) {}

            /// Who knocked since.
            result<void> hear() {
                for (;;) {
                    auto m = door.try_receive();
                    if (m) {
                        if (m->bytes().size() != 8) continue;
                        const auto k = load_le<std::uint64_t>(m->bytes().data());
                        if (k < at.links_max) asked.push_back(k);
                        continue;
                    }
                    // They come and go; who dies at the door is not missed.
                    if (m.error() == condition::gone) continue;
                    if (m.error() == errc::would_block) return {};
                    return why.fail(m.error(), door.why().text());
                }
            }
            result<link> answer(std::uint64_t k) {
                auto in = at.there(k).open_source({request.receives, expired, &why});
                if (!in) return in.error();
                auto out = at.back(k).open_sink({request.sends, expired, &why});
                if (!out) return out.error();
                if (auto r = say(*out, 0, expired); !r) return r.error();
                return link(std::move(*out), std::move(*in));
            }

            linked at;
            duplex_request request;
            typename Address::source door;
            diagnostics why;
            std::vector<std::uint64_t> asked;
            bool closed = false;
        };

        std::unique_ptr<core> core_;
    };

    [[nodiscard]] result<listener> open_listener(const duplex_request& r) const {
        auto door = at.open_source({door_type(r.receives), r.until, r.why});
        if (!door) return door.error();
        return listener(*this, r, std::move(*door));
    }
    [[nodiscard]] result<link> open_link(const duplex_request& r) const {
        auto knock = at.open_sink({door_type(r.sends), r.until, r.why});
        if (!knock) return knock.error();
        for (std::uint64_t k = 0; k < links_max; ++k) {
            auto in = back(k).open_source({r.receives, expired, r.why});
            if (!in && in.error() == errc::in_use) continue;
            if (!in) return in.error();
            if (auto said = say(*knock, k, r.until); !said) return said.error();
            if (auto heard = hear(*in, r.until); !heard) return heard.error();
            auto out = there(k).open_sink({r.sends, r.until, r.why});
            if (!out) return out.error();
            (void)knock->close(expired);
            return link(std::move(*out), std::move(*in));
        }
        return r.why->fail(errc::out_of_resources,
                           std::to_string(links_max) + " links live at " + at.to_uri().text());
    }

    friend bool operator==(const linked&, const linked&) = default;

private:
    /// Who links with other types is refused at the door.
    static message_type door_type(const message_type& questions) {
        return {parley::detail::type_text()
                    .put("door of ")
                    .put_hex(questions.fingerprint)
                    .fingerprint(),
                questions.description, 8};
    }
    [[nodiscard]] Address beside(std::uint64_t k, const char* way) const {
        Address one = at;
        ((one.name += '.') += std::to_string(k)) += way;
        return detail::anew(std::move(one));
    }
    [[nodiscard]] Address there(std::uint64_t k) const { return beside(k, ".there"); }
    [[nodiscard]] Address back(std::uint64_t k) const { return beside(k, ".back"); }

    static result<void> say(typename Address::sink& to, std::uint64_t number, time_point until) {
        auto l = to.try_loan(8);
        while (!l && l.error() == errc::would_block && until != expired) {
            if (auto r = to.wait(until); !r) return r;
            l = to.try_loan(8);
        }
        if (!l) return l.error();
        store_le(l->bytes().data(), number);
        if (auto r = to.try_commit(std::move(*l)); !r) return r;
        return to.flush(until);
    }
    static result<void> hear(typename Address::source& from, time_point until) {
        auto m = from.try_receive();
        while (!m && m.error() == errc::would_block) {
            if (auto r = from.wait(until); !r) return r;
            m = from.try_receive();
        }
        if (!m) return m.error();
        return {};
    }
};

template <named_transport Address>
linked(Address) -> linked<Address>;

}  // namespace v1
}  // namespace parley
