// SPDX-License-Identifier: MIT
// A typed channel: sender<T> and receiver<T> over any transport.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/codec/any_message.hpp>
#include <parley/codec/codec.hpp>
#include <parley/detail/later.hpp>
#include <parley/drive/batch.hpp>
#include <parley/drive/blocking.hpp>
#include <parley/drive/held.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/transport.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace parley {
inline namespace v1 {

/// The sending end of a channel of T.
///
///     auto out = parley::open_sender<tick>(parley::shm{"ticks"}).value();
///     out.send({7, 99.5}, 10ms).value();
///
/// Thread safety: distinct senders are independent; one sender is used by one thread at a time.
/// It belongs to the process that first uses it; in a child forked later it is closed.
/// Blocking: `send` waits while the transport is full, `try_send` never does.
/// Errors: would_block (try), timed_out: nothing of this message will ever arrive; peer_lost: the
/// receiver is gone; message_too_large; incompatible: the receiver carries another type; `why()`
/// has more words. A message whose send succeeded is the transport's: it is delivered unless the
/// receiver, or on streams this process, dies first; `close` waits for it.
template <class T, transport Address>
class sender {
public:
    using value_type = T;
    using sink_type = typename Address::sink;

    explicit sender(sink_type s) noexcept : sink_(std::move(s)) {}

    [[nodiscard]] result<void> send(const T& value, deadline d = never) {
        const std::size_t n = codec<T>::size(value);
        if constexpr (!codec<T>::in_place) {
            if (n == unencodable) [[unlikely]]
                return errc::message_too_large;
        }
        if constexpr (gathering_sink<sink_type> && requires { codec<T>::bytes_of(value); }) {
            if (drive::goes_straight<sink_type>(n))
                return drive::send_from(sink_, codec<T>::bytes_of(value), d);
        }
        auto l = drive::loan(sink_, n, d);
        if (!l) return l.error();
        codec<T>::encode(value, l->bytes());
        return drive::commit(sink_, std::move(*l), d);
    }
    [[nodiscard]] result<void> try_send(const T& value) { return send(value, expired); }

    /// Sends all of `values`, in order, as one send does each. Where memory is shared those for
    /// which there is room appear at once, and elsewhere they travel together. How many were sent:
    /// all, unless the deadline passed or something went wrong, which the next call then says; an
    /// error only if none was.
    [[nodiscard]] result<std::size_t> send_many(std::span<const T> values, deadline d = never) {
        if constexpr (batching_sink<sink_type> && codec<T>::in_place) {
            return drive::send_many(sink_, std::as_bytes(values), sizeof(T), d);
        } else {
            return drive::send_each(sink_, values, d);
        }
    }

    /// Room for one T in the memory that travels.
    [[nodiscard]] result<loaned<T, sink_type>> loan(
        deadline d = never) requires codec<T>::in_place {
        auto l = drive::loan(sink_, sizeof(T), d);
        if (!l) return l.error();
        return loaned<T, sink_type>(std::move(*l));
    }
    /// Room for n bytes in the memory that travels, n up to limits().message_bytes_max.
    [[nodiscard]] result<loaned_bytes<sink_type>> loan_bytes(
        std::size_t n, deadline d = never) requires(codec<T>::type.description == "bytes") {
        auto l = drive::loan(sink_, n, d);
        if (!l) return l.error();
        return loaned_bytes<sink_type>(std::move(*l));
    }
    [[nodiscard]] result<void> send(loaned<T, sink_type> l) {
        deadline d = expired;
        return drive::commit(sink_, std::move(l).release(), d);
    }
    [[nodiscard]] result<void> send(loaned_bytes<sink_type> l) {
        deadline d = expired;
        return drive::commit(sink_, std::move(l).release(), d);
    }

    /// Waits until everything sent is on its way, then tells the receiver that this sender is done.
    /// timed_out: something is still here; close again, or destroy the sender and lose it.
    result<void> close(deadline d = never) { return sink_.close(d.at()); }

    /// Readable (to poll, epoll, a reactor) while a send may succeed; owned by the sender.
    [[nodiscard]] result<int> pollable() { return sink_.pollable(); }
    [[nodiscard]] parley::limits limits() const { return sink_.limits(); }
    [[nodiscard]] const diagnostics& why() const { return sink_.why(); }
    [[nodiscard]] uri address() const { return sink_.address(); }
    /// Lets this end survive exec and gives the address under which the program that inherits it
    /// opens it; close this copy unused.
    [[nodiscard]] result<detail::later<uri, T>> hand_over() requires requires(sink_type s) {
        s.hand_over();
    }
    { return sink_.hand_over(); }

    [[nodiscard]] static constexpr const message_type& type() noexcept { return codec<T>::type; }
    /// The transport's end below, for drivers.
    [[nodiscard]] sink_type& end() noexcept { return sink_; }

private:
    sink_type sink_;
};

/// The receiving end of a channel of T. It owns the address: it creates and removes it.
///
///     auto in = parley::open_receiver<tick>(parley::shm{"ticks"}).value();
///     while (auto t = in.receive()) use(*t);
///
/// Thread safety: distinct receivers are independent; one receiver is used by one thread at a time.
/// Blocking: `receive` and `borrow` wait as long as it takes, or until the deadline; `try_receive`
/// never.
/// Errors: would_block (try), timed_out; closed or peer_lost, once, when the last sender has gone
/// and everything it sent was received (call again to wait for new senders); incompatible: a sender
/// carries another type; corrupt: bytes that no sender of T writes; `why()` has more words.
template <class T, transport Address>
class receiver {
public:
    using value_type = T;
    using source_type = typename Address::source;
    using borrowed_type = borrowed<T, source_type>;

    explicit receiver(source_type s) noexcept : source_(std::move(s)) {}

    [[nodiscard]] result<T> receive(deadline d = never) requires(!codec<T>::borrows) {
        if (put_off_) [[unlikely]]
            return std::exchange(put_off_, error_code());
        auto m = drive::receive(source_, d);
        if (!m) return m.error();
        return codec<T>::decode(m->bytes());
    }
    [[nodiscard]] result<T> try_receive() requires(!codec<T>::borrows) { return receive(expired); }

    /// The next message, into `into`, without a copy in between where the transport can. On an
    /// error `into` is as it was, or, if any bytes are a T, any T.
    [[nodiscard]] result<void> receive(T& into, deadline d = never) requires(!codec<T>::borrows) {
        if constexpr (scattering_source<source_type> &&
                      drive::goes_straight<source_type>(sizeof(T)) &&
                      requires { requires codec<T>::any_bytes; }) {
            if (batches_in_place || !put_off_) [[likely]] {
                auto r = drive::receive_into(source_,
                                             {reinterpret_cast<std::byte*>(&into), sizeof(T)}, d);
                if (r && *r == placement::placed) [[likely]]
                    return {};
                if (!r) return r.error();
            }
        }
        return receive_slowly(into, d);
    }

    /// The next messages into `into`, as many as are there and fit: waits for the first only. How
    /// many; what ended them is said by the next call. Of a channel in shared memory they are in
    /// hand until the next call, as in a `lost()` of who comes after.
    [[nodiscard]] result<std::size_t> receive_many(std::span<T> into, deadline d = never) requires(
        !codec<T>::borrows) {
        if (into.empty()) return std::size_t{0};
        if constexpr (batches_in_place) {
            if (const std::size_t n =
                    source_.receive_many_into(std::as_writable_bytes(into), sizeof(T));
                n != 0)
                return n;
            if (auto r = receive_slowly(into.front(), d); !r) return r.error();
            return std::size_t{1};
        } else {
            return drive::receive_each(source_, into, put_off_, d);
        }
    }

    /// The next message where it lies: nothing is copied. At most limits().borrows_max at once.
    [[nodiscard]] result<borrowed_type> borrow(deadline d = never) {
        if (put_off_) [[unlikely]]
            return std::exchange(put_off_, error_code());
        auto m = drive::receive(source_, d);
        if (!m) return m.error();
        return look_at(std::move(*m));
    }
    [[nodiscard]] result<borrowed_type> try_borrow() { return borrow(expired); }

    result<void> close(deadline d = never) { return source_.close(d.at()); }

    /// Readable (to poll, epoll, a reactor) from the moment a message can be received until a
    /// try_receive has returned would_block; owned by the receiver.
    [[nodiscard]] result<int> pollable() { return source_.pollable(); }
    /// How many senders died so far without closing.
    [[nodiscard]] std::uint64_t peers_lost() const { return source_.peers_lost(); }
    /// Calls `then(pid)` for each sender that dies without closing (or is dropped because it wrote
    /// no messages), also one among several, once all it sent was received; on_peer_back for each
    /// that comes after one died, at the latest when nothing more is there to receive. pid: the
    /// process as it said, 0 where no number is known here (another PID namespace). The call comes
    /// from within a verb of this receiver, on its thread: it must not use the receiver, nor throw.
    /// A second `then` replaces the first. Where limits().reports_peer_loss says no nothing is
    /// told.
    template <class Then>
    void on_peer_lost(Then then) requires peer_watching_source<source_type> {
        source_.peers().on_lost(std::move(then));
    }
    template <class Then>
    void on_peer_back(Then then) requires peer_watching_source<source_type> {
        source_.peers().on_back(std::move(then));
    }
    /// How many messages of its senders never came: what receivers before this one had in hand when
    /// they were killed (shm), or what the way lost (udp); 0 where neither can be.
    [[nodiscard]] std::uint64_t lost() const {
        if constexpr (counting_source<source_type>) {
            return source_.lost();
        } else {
            return 0;
        }
    }
    /// While a message is borrowed: the type of its sender, where the transport knows; for those
    /// who take any_message.
    [[nodiscard]] peer_type sender_type() const {
        if constexpr (type_telling_source<source_type>) {
            return source_.sender_type();
        } else {
            return {};
        }
    }
    [[nodiscard]] parley::limits limits() const { return source_.limits(); }
    [[nodiscard]] const diagnostics& why() const { return source_.why(); }
    [[nodiscard]] uri address() const { return source_.address(); }
    /// As sender::hand_over.
    [[nodiscard]] result<detail::later<uri, T>> hand_over() requires requires(source_type s) {
        s.hand_over();
    }
    { return source_.hand_over(); }

    [[nodiscard]] static constexpr const message_type& type() noexcept { return codec<T>::type; }
    /// Makes what one received view holds into what `borrow` returns; for drivers.
    [[nodiscard]] result<borrowed_type> look_at(typename source_type::view m) {
        if constexpr (codec<T>::in_place) {
            bytes b = m.bytes();
            if (reinterpret_cast<std::uintptr_t>(b.data()) % alignof(T) != 0) b = aligned(b);
            auto seen = codec<T>::view(b);
            if (!seen) return seen.error();
            return borrowed_type(std::move(m), *seen);
        } else {
            auto value = codec<T>::decode(m.bytes());
            if (!value) return value.error();
            return borrowed_type(std::move(m), std::move(*value));
        }
    }
    /// The transport's end below, for drivers.
    [[nodiscard]] source_type& end() noexcept { return source_; }

private:
    /// The transport makes batches itself; then nothing is ever put off.
    static constexpr bool batches_in_place =
        batching_source<source_type> && codec<T>::in_place && requires {
        requires codec<T>::any_bytes;
    };

    /// Kept out of the way of a message that can be had at once.
    [[gnu::noinline]] result<void> receive_slowly(T& into, deadline d) {
        if (put_off_) return std::exchange(put_off_, error_code());
        auto m = drive::receive(source_, d);
        if (!m) return m.error();
        if constexpr (requires { requires codec<T>::any_bytes; }) {
            if (m->bytes().size() != sizeof(T)) return errc::corrupt;
            std::memcpy(static_cast<void*>(&into), m->bytes().data(), sizeof(T));
        } else {
            auto value = codec<T>::decode(m->bytes());
            if (!value) return value.error();
            into = std::move(*value);
        }
        return {};
    }
    /// A stream packs frames without padding, so a message may lie at any address: one that lies
    /// badly is moved to a place that is made once and kept.
    bytes aligned(bytes b) {
        if (b.size() > sizeof(T)) return b;  // the codec refuses it by its length
        if (!scratch_) scratch_ = std::make_unique<aligned_room>();
        std::memcpy(scratch_->room, b.data(), b.size());
        return {scratch_->room, b.size()};
    }
    struct aligned_room {
        alignas(T) std::byte room[sizeof(T)];
    };

    source_type source_;
    std::unique_ptr<aligned_room> scratch_;
    error_code put_off_;  // what ended the last batch
};

/// Opens the sending end at `at`, waiting for the receiver until the deadline.
/// Errors: timed_out: no receiver came; incompatible; invalid_argument: the address means nothing;
/// denied; out_of_resources; `why`, if given, gets more words.
template <class T, transport Address>
[[nodiscard]] result<sender<T, Address>> open_sender(const Address& at, deadline d = never,
                                                     diagnostics* why = nullptr) {
    diagnostics unasked;
    auto s = at.open_sink({codec<T>::type, d.at(), why != nullptr ? why : &unasked});
    if (!s) return s.error();
    return sender<T, Address>(std::move(*s));
}

/// Opens the receiving end at `at`, and with it creates the address.
/// Errors: in_use: another live receiver owns the address; and those of open_sender.
template <class T, transport Address>
[[nodiscard]] result<receiver<T, Address>> open_receiver(const Address& at, deadline d = never,
                                                         diagnostics* why = nullptr) {
    diagnostics unasked;
    auto s = at.open_source({codec<T>::type, d.at(), why != nullptr ? why : &unasked});
    if (!s) return s.error();
    return receiver<T, Address>(std::move(*s));
}

/// The same with a guarantee, where messages may be lost and an open without one is refused:
/// `open_sender<tick>(udp{"127.0.0.1:7001"}, at_most_once{})`.
template <class T, lossy_transport Address>
[[nodiscard]] result<sender<T, Address>> open_sender(const Address& at, at_most_once how,
                                                     deadline d = never,
                                                     diagnostics* why = nullptr) {
    return open_sender<T>(at.delivered(how), d, why);
}
template <class T, lossy_transport Address>
[[nodiscard]] result<receiver<T, Address>> open_receiver(const Address& at, at_most_once how,
                                                         deadline d = never,
                                                         diagnostics* why = nullptr) {
    return open_receiver<T>(at.delivered(how), d, why);
}

/// Both ends of a new channel: `auto [tx, rx] = make_channel<tick>(pipe{}).value();`
template <class T, transport Address>
struct channel {
    sender<T, Address> tx;
    receiver<T, Address> rx;
};

/// Makes both ends at once, for threads or for a fork: each process then closes the end it does
/// not use. Errors: unsupported (no such pair over this transport), out_of_resources.
template <class T, pairing_transport Address>
[[nodiscard]] result<channel<T, Address>> make_channel(const Address& at,
                                                       diagnostics* why = nullptr) {
    diagnostics unasked;
    auto b = at.open_both({codec<T>::type, expired, why != nullptr ? why : &unasked});
    if (!b) return b.error();
    return channel<T, Address>{sender<T, Address>(std::move(b->sink)),
                               receiver<T, Address>(std::move(b->source))};
}

/// The transports that a URI may name when the program names no list: all of them.
/// `#include <parley/transport/all.hpp>` has them; who names a transport_list<…> needs no such
/// include.
struct all_transports;

/// The same, with the endpoint chosen at run time: `open_receiver<tick>(uri{argv[1]})`, or, to pay
/// only for what is named, `open_receiver<tick>(uri{argv[1]}, transport_list<shm, uds>{})`.
template <class T, transport_choice Choice>
[[nodiscard]] auto open_sender(const uri& at, Choice, deadline d = never,
                               diagnostics* why = nullptr) {
    return open_sender<T>(any_transport<Choice>(at), d, why);
}
template <class T, class All = all_transports>
[[nodiscard]] auto open_sender(const uri& at, deadline d = never, diagnostics* why = nullptr) {
    return open_sender<T>(any_transport<All>(at), d, why);
}
template <class T, transport_choice Choice>
[[nodiscard]] auto open_receiver(const uri& at, Choice, deadline d = never,
                                 diagnostics* why = nullptr) {
    return open_receiver<T>(any_transport<Choice>(at), d, why);
}
template <class T, class All = all_transports>
[[nodiscard]] auto open_receiver(const uri& at, deadline d = never, diagnostics* why = nullptr) {
    return open_receiver<T>(any_transport<All>(at), d, why);
}
template <class T, transport_choice Choice>
[[nodiscard]] auto make_channel(const uri& at, Choice, diagnostics* why = nullptr) {
    return make_channel<T>(any_transport<Choice>(at), why);
}
template <class T, class All = all_transports>
[[nodiscard]] auto make_channel(const uri& at, diagnostics* why = nullptr) {
    return make_channel<T>(any_transport<All>(at), why);
}

}  // namespace v1
}  // namespace parley
