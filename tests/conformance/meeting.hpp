// SPDX-License-Identifier: MIT
// A place for transports whose ends must both work before the first byte passes, as those over TLS
// do: while a test opens a sender in the thread of its receiver, the place works for the receiver.
#pragma once

#include "conformance/transport.hpp"

#include <memory>
#include <mutex>
#include <utility>

namespace conformance {

/// A source that its place may work with between two calls of the test.
template <class Source>
class lent_source {
public:
    using view = typename Source::view;
    struct state {
        explicit state(Source s) : source(std::move(s)) {}
        std::mutex mutex;  // held by a thread that waits in it
        Source source;
    };

    explicit lent_source(std::shared_ptr<state> s) : state_(std::move(s)) {}

    result<view> try_receive() {
        const std::scoped_lock lock(state_->mutex);
        return state_->source.try_receive();
    }
    result<void> wait(parley::time_point until) {
        const std::scoped_lock lock(state_->mutex);
        return state_->source.wait(until);
    }
    result<int> pollable() { return state_->source.pollable(); }
    result<void> close(parley::time_point until) { return state_->source.close(until); }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return state_->source.peers_lost(); }
    [[nodiscard]] parley::detail::peer_watch& peers() noexcept { return state_->source.peers(); }
    [[nodiscard]] parley::limits limits() const noexcept { return state_->source.limits(); }
    [[nodiscard]] const parley::diagnostics& why() const noexcept { return state_->source.why(); }
    [[nodiscard]] parley::uri address() const { return state_->source.address(); }

private:
    std::shared_ptr<state> state_;
};

template <class Address>
class meeting_place final : public place {
    using opened = decltype(std::declval<const Address&>().open_source(parley::open_request{}));
    using lent = lent_source<typename opened::value_type>;

public:
    template <class Make>
    explicit meeting_place(Make make) : at_(make(name_.text(), dir_)) {}

    result<ends> open(parley::message_type out, parley::message_type in,
                      parley::diagnostics& why) override {
        auto first = receiver(in, why);
        if (!first) return first.error();
        auto second = sender(out, parley::clock::now() + 20s, why);
        if (!second) return second.error();
        return ends{std::move(*second), std::move(*first)};
    }
    result<any_sink> sender(parley::message_type type, parley::time_point until,
                            parley::diagnostics& why) override {
        auto s = at_.open_sink({type, until, &why});
        if (!s) return s.error();
        const auto here = last();
        // What the receiver does not take in so many turns, it takes when the test works with it.
        for (int turn = 0; here && turn < 200 && !s->flush(parley::expired); ++turn) {
            std::unique_lock lock(here->mutex, std::try_to_lock);
            if (lock) (void)here->source.wait(parley::clock::now() + 1ms);
        }
        return any_sink(std::move(*s));
    }
    result<any_source> receiver(parley::message_type type, parley::diagnostics& why) override {
        auto s = at_.open_source({type, parley::expired, &why});
        if (!s) return s.error();
        auto shared = std::make_shared<typename lent::state>(std::move(*s));
        const std::scoped_lock lock(mutex_);
        last_ = shared;
        owner_ = ::getpid();
        return any_source(lent(std::move(shared)));
    }

private:
    /// The receiver that was opened last, if that was in this process.
    std::shared_ptr<typename lent::state> last() {
        const std::scoped_lock lock(mutex_);
        return owner_ == ::getpid() ? last_.lock() : nullptr;
    }

    parley_test::unique_name name_{"conf"};
    parley_test::temporary_directory dir_;
    Address at_;
    std::mutex mutex_;  // a sender may be opened in a thread of its own
    std::weak_ptr<typename lent::state> last_;
    pid_t owner_ = 0;
};

template <class Make>
model by_meeting(std::string name, Make make) {
    using address =
        std::invoke_result_t<Make, const std::string&, parley_test::temporary_directory&>;
    return {std::move(name), [make] { return std::make_unique<meeting_place<address>>(make); }};
}

}  // namespace conformance
