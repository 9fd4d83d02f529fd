// SPDX-License-Identifier: MIT
// Datagrams of the network, as udp and udp_multicast send them: what each carries, and what a
// receiver knows of its senders. Their sink and source are those of the kernel's queues.
//
//   byte       0          8            16           24            26     27     28      32
//             +----------+------------+------------+-------------+------+------+-------+- - - - -
//   datagram  | tag, u64 | sender u64 | number u64 | trailer u16 | kind | mark | 0 u32 | payload,
//             +----------+------------+------------+-------------+------+------+-------+ trailer
//
// All numbers are little-endian. The tag is the type's fingerprint. The sender is a random number,
// never 0, another one for each sender that was ever opened; it numbers its messages from 0. The
// trailer is the type's description, for people; it comes with the hello and with the first message
// that leaves room. A hello is said at open, an end at close: neither has a payload, and the number
// of an end is that of the messages before it. Each may be lost like any other datagram.
#pragma once

#include <parley/transport/kernel_queue.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>

namespace parley {
inline namespace v1 {
namespace detail {

/// The header of a datagram.
struct datagram_record {
    static constexpr std::size_t header_bytes = 32;
    static constexpr std::size_t trailer_bytes_max = 1024;
    static constexpr std::uint8_t mark = 'U';
    static constexpr std::uint64_t number_max = std::uint64_t{1} << 48;
    enum class kind : std::uint8_t { message = 1, end = 2, hello = 3 };

    std::uint64_t tag = 0;
    std::uint64_t sender = 0;
    std::uint64_t number = 0;
    std::uint16_t trailer = 0;
    kind what = kind::message;

    void write(std::byte* to) const noexcept {
        store_le(to, tag);
        store_le(to + 8, sender);
        store_le(to + 16, number);
        store_le(to + 24,
                 trailer | static_cast<std::uint64_t>(what) << 16 | std::uint64_t{mark} << 24);
    }
    /// False if no end of parley wrote these bytes.
    [[nodiscard, gnu::always_inline]] bool read(bytes from) noexcept {
        if (from.size() < header_bytes) return false;
        tag = load_le<std::uint64_t>(from.data());
        sender = load_le<std::uint64_t>(from.data() + 8);
        number = load_le<std::uint64_t>(from.data() + 16);
        const auto word = load_le<std::uint64_t>(from.data() + 24);
        trailer = static_cast<std::uint16_t>(word);
        what = static_cast<kind>(word >> 16 & 0xff);
        const std::size_t rest = from.size() - header_bytes;
        if (word >> 24 != mark || number > number_max) return false;
        if (what == kind::message) [[likely]]
            return trailer <= rest;
        switch (what) {
            case kind::message: break;
            case kind::end: return rest == 0 && trailer == 0;
            case kind::hello: return trailer == rest;
        }
        return false;
    }
    void advance() noexcept { ++number; }
};

/// What a receiver knows of each sender that it heard of: which message comes next.
class datagram_senders {
public:
    /// More than these, and the one that was heard of longest ago is forgotten, those that ended
    /// first. Whoever may write datagrams cannot make this grow without bound.
    static constexpr std::size_t remembered_max = 1024;

    /// Whether a message is newer than all that came of its sender; the gap before it is lost.
    [[gnu::always_inline]] bool admit(const datagram_record& head) {
        if (head.what == datagram_record::kind::hello) return of(head.sender), false;
        sender& s = of(head.sender);
        if (head.number != s.next && !admit_gap(head.number, s)) [[unlikely]]
            return false;
        s.next = head.number + 1;
        return true;
    }
    /// False if the sender ended before.
    bool heard_end(const datagram_record& head) {
        sender& s = of(head.sender);
        if (s.next == ended) return ++late_, false;
        lost_ += std::max(head.number, s.next) - s.next;
        s.next = ended;
        --alive_;
        return true;
    }

    [[nodiscard]] std::size_t alive() const noexcept { return alive_; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    [[nodiscard]] std::uint64_t late() const noexcept { return late_; }

private:
    struct sender {
        std::uint64_t next = 0;   // the number of the message that is to come
        std::uint64_t heard = 0;  // last; counted in changes from one to another
    };
    static constexpr auto ended = std::numeric_limits<std::uint64_t>::max();  // no number is next

    [[gnu::always_inline]] sender& of(std::uint64_t id) {
        if (id != last_id_) find(id);
        return *last_;
    }
    [[gnu::noinline]] bool admit_gap(std::uint64_t number, const sender& s) noexcept {
        if (number < s.next) return ++late_, false;
        lost_ += number - s.next;
        return true;
    }
    [[gnu::noinline]] void find(std::uint64_t id) {
        if (last_id_ != 0) last_->heard = ++changes_;
        if (id == 0) {
            last_id_ = 0;
            last_ = &nobody_;
            return;
        }
        auto at = all_.find(id);
        if (at == all_.end()) {
            if (all_.size() == remembered_max) forget_one();
            at = all_.emplace(id, sender{}).first;
            ++alive_;
        }
        last_id_ = id;
        last_ = &at->second;
    }
    void forget_one() {
        const auto oldest = std::min_element(all_.begin(), all_.end(), [](auto& a, auto& b) {
            const bool over = a.second.next == ended;
            if (over != (b.second.next == ended)) return over;
            return a.second.heard < b.second.heard;
        });
        if (oldest->second.next != ended) --alive_;
        all_.erase(oldest);
    }

    std::unordered_map<std::uint64_t, sender> all_;
    // Most datagrams are of the same sender as the one before. 0 is nobody, who has ended, so that
    // nothing of it is taken and nothing is written here.
    static inline sender nobody_{ended, 0};
    std::uint64_t last_id_ = 0;
    sender* last_ = &nobody_;
    std::size_t alive_ = 0;
    std::uint64_t changes_ = 0, lost_ = 0, late_ = 0;
};

/// A socket of datagrams, connected where it sends, bound where it receives, as the queue of a
/// queue_sink or a queue_source.
class datagram_socket : public polled_queue {
public:
    using record = datagram_record;
    static constexpr bool lossy = true;
    static constexpr bool says_full = false;
    /// The longest datagram of IPv4: 64 KiB less its headers.
    static constexpr std::size_t bytes_max = 65507;

    /// `readers_max`: receivers that may be there at once.
    datagram_socket(unique_fd fd, std::size_t message_bytes_max, std::size_t readers_max) noexcept
        : fd_(std::move(fd)), message_bytes_max_(message_bytes_max), readers_max_(readers_max) {}
    datagram_socket(datagram_socket&&) noexcept = default;
    datagram_socket& operator=(datagram_socket&&) noexcept = default;

    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] static constexpr std::size_t record_bytes_max() noexcept { return bytes_max; }
    [[nodiscard]] std::size_t message_bytes_max(bool) const noexcept { return message_bytes_max_; }
    [[nodiscard]] parley::limits limits(const queue_options&) const noexcept {
        return {.message_bytes_max = message_bytes_max_,
                .writers_max = std::numeric_limits<std::size_t>::max(),
                .readers_max = readers_max_,
                .lossy = true,
                .reports_peer_loss = false,
                .successors = true};
    }
    [[nodiscard]] static std::string too_large() {
        return "a message is one datagram, of at most " + std::to_string(bytes_max) +
               " bytes with its header of " + std::to_string(record::header_bytes) +
               "; use tcp, or send it in parts";
    }

    /// What the network sent back concerns an earlier datagram, which is lost; the kernel tells it
    /// once, in place of this call.
    [[gnu::always_inline]] int send(const std::byte* at, std::size_t n, std::uint32_t,
                                    bool) noexcept {
        if (::send(fd_.get(), at, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) [[likely]]
            return 0;
        return send_again(at, n);
    }
    ssize_t receive(std::byte* at, std::size_t n, std::uint32_t&, bool may_block) noexcept {
        const int flags = MSG_TRUNC | (may_block ? 0 : MSG_DONTWAIT);
        return retried([&] { return ::recv(fd_.get(), at, n, flags); });
    }
    static constexpr bool has_room(std::size_t) noexcept { return true; }
    [[nodiscard]] bool has_message() const noexcept {
        return wait_for(fd_.get(), POLLIN, expired).has_value();
    }
    result<void> wait_for_room(patience, time_point until) const noexcept {
        return wait_for(fd_.get(), POLLOUT, until);
    }
    result<void> wait_for_message(patience, time_point until) const noexcept {
        return wait_for(fd_.get(), POLLIN, until);
    }
    static constexpr bool awaited() noexcept { return false; }
    static error_code failure(int number, std::string what, diagnostics& why) {
        std::string words = explain(std::move(what), number);
        if (number == ENETUNREACH || number == EHOSTUNREACH || number == ENETDOWN) {
            words += "; no way leads there now (`ip route`); this message is not sent";
        } else if (number == EPERM || number == EACCES) {
            words += "; a firewall of this host forbids it";
        } else if (number == EMSGSIZE) {
            words += "; the network takes no datagram that long, see ?message_bytes_max=";
        }
        return why.fail(from_errno(number), std::move(words));
    }
    void close() noexcept { fd_.reset(); }

    [[gnu::always_inline]] bool admit(const record& head) {
        const bool fresh = senders_.admit(head);
        if (fresh) told_corrupt_ = told_incompatible_ = false;
        return fresh;
    }
    bool heard_end(const record& head) { return senders_.heard_end(head); }
    [[nodiscard]] bool has_sender() const noexcept { return senders_.alive() > 0; }
    /// Strangers do not disturb: they are told of once, and only while nobody else is there.
    bool tells(errc e) noexcept {
        bool& told = e == errc::corrupt ? told_corrupt_ : told_incompatible_;
        return !has_sender() && !std::exchange(told, true);
    }
    [[nodiscard]] std::uint64_t lost() const noexcept { return senders_.lost(); }
    [[nodiscard]] std::uint64_t late() const noexcept { return senders_.late(); }
    [[nodiscard]] std::uint64_t unreached() const noexcept { return unreached_; }

private:
    [[gnu::noinline]] int send_again(const std::byte* at, std::size_t n) noexcept {
        for (int attempt = 0; attempt < 4 && errno != EAGAIN && errno != EBADF; ++attempt) {
            unreached_ += errno == ECONNREFUSED ? 1 : 0;
            if (::send(fd_.get(), at, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
        }
        return errno;
    }

    unique_fd fd_;
    std::size_t message_bytes_max_, readers_max_;
    datagram_senders senders_;
    std::uint64_t unreached_ = 0;
    bool told_corrupt_ = false, told_incompatible_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
