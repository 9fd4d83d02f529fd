// SPDX-License-Identifier: MIT
// Publish and subscribe over shared memory: publisher<T> and subscriber<T>.
#pragma once

#include <parley/channel.hpp>
#include <parley/transport/topic.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace parley {
inline namespace v1 {

/// The publishing end of a topic of T: each subscriber gets each message that is published while it
/// is there, in the order of its publisher.
///
///     const auto rule = parley::when_full::drop_oldest{};
///     auto feed = parley::open_publisher<tick>(parley::shm{"feed"}, rule).value();
///     feed.publish({7, 99.5}).value();
///
/// What happens when the slowest subscriber has not read what fills the ring is named at open, and
/// is the same for all publishers of a topic:
///
/// | rule | publisher | a subscriber that is too slow |
/// |---|---|---|
/// | block | waits, until the deadline | holds it up, as long as it lives |
/// | drop_newest | never waits: the message is given up for all; dropped() | loses, and lost() |
/// | drop_oldest | never waits | is overtaken: lost() counts what it missed, to the message |
/// | latest_only | never waits | gets the newest each time; lost() counts what it skipped |
///
/// Large messages, as frames of a camera, want chunks: `shm{"camera", {.capacity_bytes = 64 << 20,
/// .chunks = 16}}`, or `shm://camera?capacity_bytes=67108864&chunks=16`, divides each publisher's
/// memory into sixteen (`limits().message_bytes_max` each). A loan then is a chunk, by every rule,
/// and every subscriber's borrow is that same chunk, which stays whole for as long as one of them
/// lives: nobody copies, a mebibyte is handed over at the price of 24 bytes, and whoever looks long
/// at one frame keeps nobody from the next. What is full then are the chunks, not the ring:
/// drop_oldest and latest_only take the oldest back that nobody holds (of 16 chunks and more an
/// eighth at once), and wait, as block does, only while subscribers hold them all: let there be
/// some more than subscribers hold together.
///
/// Several publishers have a ring each. Whoever comes first makes the segment, and its options
/// hold; the last one of all publishers and subscribers removes it. Start order does not matter.
///
/// Thread safety: distinct publishers are independent; one is used by one thread at a time. It
/// belongs to the process that opened it; in a child forked later it is closed.
/// Lifetime: one loan at a time. Under block, and in chunks, it is the memory that subscribers see,
/// else it is the publisher's own, and copied once.
/// Blocking: `publish` waits under block, and for chunks that are all held; a subscriber that died
/// holds it up for 50 ms at most. Errors: would_block (try), timed_out: nothing of this message
/// will ever arrive; message_too_large (a chunk, or a ring, or half a ring where messages are
/// overwritten); out_of_resources (a second loan); closed. Of open: incompatible (another type,
/// rule, or a channel of that name: the words name both), out_of_resources (no place left, or no
/// memory), denied, invalid_argument, corrupt (the file is no segment; it is left alone).
template <class T>
class publisher {
public:
    using value_type = T;
    using sink_type = detail::topic::sink;

    explicit publisher(sender<T, detail::topic> out) noexcept : out_(std::move(out)) {}

    [[nodiscard]] result<void> publish(const T& value, deadline d = never) {
        return out_.send(value, d);
    }
    [[nodiscard]] result<void> try_publish(const T& value) { return out_.try_send(value); }
    /// Several, in order; how many, if not all had room until the deadline.
    [[nodiscard]] result<std::size_t> publish_many(std::span<const T> values, deadline d = never) {
        return out_.send_many(values, d);
    }

    /// Room for one T, or for n bytes; then `publish(std::move(it))`.
    [[nodiscard]] result<loaned<T, sink_type>> loan(
        deadline d = never) requires codec<T>::in_place {
        return out_.loan(d);
    }
    [[nodiscard]] result<loaned_bytes<sink_type>> loan_bytes(
        std::size_t n, deadline d = never) requires(codec<T>::type.description == "bytes") {
        return out_.loan_bytes(n, d);
    }
    [[nodiscard]] result<void> publish(loaned<T, sink_type> l) { return out_.send(std::move(l)); }
    [[nodiscard]] result<void> publish(loaned_bytes<sink_type> l) {
        return out_.send(std::move(l));
    }

    /// How many subscribers live now: a look at the kernel's locks.
    [[nodiscard]] std::size_t subscribers() { return out_.end().subscribers(); }
    /// Waits until so many have come. Errors: timed_out.
    [[nodiscard]] result<void> wait_for_subscribers(std::size_t n, deadline d = never) {
        detail::backoff pause(std::chrono::milliseconds(2));
        while (subscribers() < n) {
            if (auto r = pause.sleep(d.at()); !r) return r;
        }
        return {};
    }
    /// Messages of this publisher that were given up: drop_newest.
    [[nodiscard]] std::uint64_t dropped() { return out_.end().dropped(); }
    /// Tells subscribers that this publisher is done. What it published stays for them.
    result<void> close() { return out_.close(expired); }

    [[nodiscard]] parley::limits limits() const { return out_.limits(); }
    [[nodiscard]] const diagnostics& why() const { return out_.why(); }
    [[nodiscard]] uri address() const { return out_.address(); }
    [[nodiscard]] static constexpr const message_type& type() noexcept { return codec<T>::type; }

private:
    sender<T, detail::topic> out_;
};

/// The subscribing end of a topic of T: a receiver that owns no address, so whatever takes a
/// receiver takes it, `attach` among them.
///
///     auto seen = parley::open_subscriber<tick>(parley::shm{"feed"}).value();
///     while (auto t = seen.receive()) use(*t);
///     if (seen.lost() > 0) resync();
///
/// It gets what is published after it was opened. `receive_many` takes what is there in one look,
/// which is cheaper for short messages. `borrow` looks at the message in the ring under
/// block and drop_newest, and holds its publisher up meanwhile; under the other rules at a copy,
/// one at a time. In chunks it looks at the message itself by every rule, at as many as there are
/// chunks, and holds nobody up before all are held. What is written there is its publisher's word:
/// one that means harm may still change it, and a subscriber that does may hold all chunks.
///
/// Thread safety: distinct subscribers are independent; one is used by one thread at a time.
///
/// Blocking: `receive` and `borrow` wait, until the deadline; `try_receive` never. The death of a
/// publisher is noticed within 50 ms of waiting.
///
/// Errors: would_block (try), timed_out; closed or peer_lost, once, when the last publisher has
/// gone and all it published was received (call again to wait for new ones); corrupt: a publisher
/// wrote what is no message. `peers_lost()` counts publishers that died, `on_peer_lost` names them
/// (once, with 0, those whose place another one took before this end looked). Of open: as of
/// publisher, and timed_out: no publisher came.
template <class T>
class subscriber : public receiver<T, detail::topic> {
public:
    using receiver<T, detail::topic>::receiver;
    explicit subscriber(receiver<T, detail::topic> in) noexcept
        : receiver<T, detail::topic>(std::move(in)) {}
};

namespace detail {
template <class Rule>
concept topic_rule = is_topic_rule<Rule>;
}  // namespace detail

/// Opens a publisher at `at`, and with it the topic, if it is the first to come.
template <class T, detail::topic_rule Rule>
[[nodiscard]] result<publisher<T>> open_publisher(const shm& at, Rule when_full, deadline d = never,
                                                  diagnostics* why = nullptr) {
    diagnostics unasked;
    if (when_full != Rule{}) {
        return (why != nullptr ? why : &unasked)
            ->fail(errc::invalid_argument,
                   "a topic holds what fits into ?capacity_bytes=…; `.messages` of its rule says "
                   "nothing here: leave it out");
    }
    auto out = open_sender<T>(detail::topic{at, detail::rule_of(when_full)}, d, why);
    if (!out) return out.error();
    return publisher<T>(std::move(*out));
}
/// Opens a subscriber at `at`, waiting for a publisher until the deadline.
template <class T>
[[nodiscard]] result<subscriber<T>> open_subscriber(const shm& at, deadline d = never,
                                                    diagnostics* why = nullptr) {
    auto in = open_receiver<T>(detail::topic{at}, d, why);
    if (!in) return in.error();
    return subscriber<T>(std::move(*in));
}

/// The same by URI, `shm://feed`.
template <class T, detail::topic_rule Rule>
[[nodiscard]] result<publisher<T>> open_publisher(const uri& at, Rule when_full, deadline d = never,
                                                  diagnostics* why = nullptr) {
    diagnostics unasked;
    auto address = detail::topic_address(at, why != nullptr ? *why : unasked);
    if (!address) return address.error();
    return open_publisher<T>(*address, when_full, d, why);
}
template <class T>
[[nodiscard]] result<subscriber<T>> open_subscriber(const uri& at, deadline d = never,
                                                    diagnostics* why = nullptr) {
    diagnostics unasked;
    auto address = detail::topic_address(at, why != nullptr ? *why : unasked);
    if (!address) return address.error();
    return open_subscriber<T>(*address, d, why);
}

}  // namespace v1
}  // namespace parley
