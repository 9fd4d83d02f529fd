// SPDX-License-Identifier: MIT
// The source of Unix domain datagrams: one socket, any number of senders, no connections.
//
//   byte     0             8                16
//           +-------------+----------------+------------------- - -
//   packet  | tag, u64    | frame header   | payload: message, or the rest of a hello
//           +-------------+----------------+------------------- - -
//
// The tag is the type's fingerprint, so that every packet can be judged by itself. A sender's hello
// brings along one end of a socket pair, its private line: on it the sender writes its end frame,
// or the line falls when the sender dies; on it the receiver answers a wrong type before it hangs
// up. A line event counts once all packets that were queued before it are delivered.
#pragma once

#include <parley/transport/hub_connection.hpp>
#include <parley/transport/uds_socket.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

class datagram_source {
public:
    using view = buffered_view;

    [[nodiscard]] static result<datagram_source> open(uds_door at, const message_type& type,
                                                      uri address, const stream_options& options,
                                                      diagnostics& why) {
        datagram_source made(
            std::make_unique<core>(std::move(at), type, std::move(address), options));
        made.core_->guard_against_fork();
        if (auto r = made.core_->ready.add(made.core_->at.descriptor(), EPOLLIN, socket_tag); !r) {
            return why.fail(r.error(), explain("making an epoll set", errno));
        }
        return made;
    }

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.has_message && !c.borrowed && !c.shown) [[likely]] {
            c.has_message = false;
            return view(&c.borrowed, c.message);
        }
        return try_receive_slowly();
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.failed) return {};
        if (c.borrowed) return wait_for(c.at.descriptor(), POLLIN, until);
        while (!c.find()) {
            c.ready.lower();
            const auto events = c.ask(until);
            if (!events) return events.error();
            if (*events == 0) return errc::timed_out;
        }
        c.show_more();
        return {};
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.shown = true;
        c.show_more();
        return c.ready.get();
    }
    result<void> close(time_point) {
        core_->shut(true);
        return {};
    }

    /// How many senders, and packets without one, were refused so far.
    [[nodiscard]] std::uint64_t refused() const noexcept { return core_->refused; }
    [[nodiscard]] std::size_t senders() const noexcept { return core_->senders.size(); }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    [[nodiscard]] parley::limits limits() const noexcept {
        const bool framed = core_->options.frames == framing::parley;
        return {.message_bytes_max = core_->options.message_bytes_max,
                .writers_max = std::numeric_limits<std::size_t>::max(),
                .reports_peer_loss = framed,
                .successors = true};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

private:
    [[gnu::noinline]] result<view> try_receive_slowly() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        while (!c.find()) {
            const auto events = c.ask(expired);
            if (!events) return events.error();
            if (*events == 0) {
                c.ready.lower();
                return errc::would_block;
            }
        }
        if (c.verdict) {
            c.show_more();
            return std::exchange(c.verdict, error_code());
        }
        c.has_message = false;
        c.show_more();
        return view(&c.borrowed, c.message);
    }

    static constexpr std::uint64_t socket_tag = 0;
    static constexpr std::size_t prefix = socket_writer::tag_bytes + frame::header_bytes;

    /// A sender, as its private line.
    struct sender {
        unique_fd line;
        std::size_t index = 0;
        std::uint32_t pid = 0;
        bool ended = false;
    };

    struct core final : fork_sensitive {
        core(uds_door s, const message_type& t, uri a, const stream_options& o)
            : at(std::move(s)),
              type(t),
              address(std::move(a)),
              options(o),
              capacity(prefix + std::max(o.message_bytes_max, frame::hello_bytes_max)),
              memory(std::make_unique_for_overwrite<std::byte[]>(capacity + 64)) {
            // The payload, behind tag and header, is aligned to 64.
            const std::size_t skip = options.frames == framing::parley ? prefix : 0;
            const auto payload = reinterpret_cast<std::uintptr_t>(memory.get()) + skip;
            buffer = memory.get() + (64 - payload % 64) % 64;
            const int on = at.allow().everybody() ? 0 : 1;
            ::setsockopt(at.descriptor(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
        }
        ~core() override {
            unguard();
            shut(true);
        }
        void in_forked_child() noexcept override { shut(false); }

        bool find() {
            while (!has_message && !verdict) {
                if (socket_ready) {
                    if (++reads_since_asked > reads_max) (void)ask(expired);
                    read();
                } else if (end_due) {
                    verdict = std::exchange(end_due, error_code());
                } else {
                    return false;
                }
            }
            return true;
        }

        /// Takes one packet.
        void read() {
            iovec part{buffer, capacity};
            alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))];
            msghdr m{};
            m.msg_iov = &part;
            m.msg_iovlen = 1;
            m.msg_control = control;
            m.msg_controllen = sizeof control;
            const auto n = retried([&] {
                return ::recvmsg(at.descriptor(), &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
            });
            if (n < 0) {
                socket_ready = false;
                more.after_failure();
                if (errno != EAGAIN) {
                    verdict = why.fail(last_error(), explain("reading " + address.text(), errno));
                }
                return;
            }
            socket_ready = more.after_success() || end_due;
            if (m.msg_controllen == 0 && take_message(static_cast<std::size_t>(n))) [[likely]]
                return;
            if (!at.allow().everybody()) {
                const auto from = credentials_of(m);
                if (!at.allow().admits(from)) return turn_away(from, descriptor_of(m));
            }
            const bool line_lost = (m.msg_flags & MSG_CTRUNC) != 0;
            judge(static_cast<std::size_t>(n), descriptor_of(m), line_lost);
        }

        /// The usual case: a message of our very type.
        [[gnu::always_inline]] bool take_message(std::size_t n) noexcept {
            const std::size_t length = n - prefix;  // huge, if there is no whole frame
            if (length > options.message_bytes_max || options.frames != framing::parley ||
                load_le<std::uint64_t>(buffer) != type.fingerprint ||
                load_le<std::uint64_t>(buffer + socket_writer::tag_bytes) !=
                    frame::header_word(frame::kind::message, length)) {
                return false;
            }
            deliver({buffer + prefix, length});
            return true;
        }

        /// A stranger disturbs nobody: it is counted, and why() knows.
        void turn_away(const peer_id& who, unique_fd line) {
            ++refused;
            why.fail(errc::denied, "turned away at " + address.text() + ": " + describe(who) +
                                       ", whom `allow` does not let in");
            if (line) answer_with_hello(line.get(), type, frame::answer::denied);
        }

        void judge(std::size_t n, unique_fd line, bool line_lost) {
            const bytes packet(buffer, std::min(n, capacity));
            if (n > capacity) {
                return drop(errc::corrupt, "a packet of " + std::to_string(n) + " bytes; " +
                                               std::to_string(capacity) + " fit");
            }
            if (options.frames == framing::none) return deliver(packet);
            const bytes framed = packet.subspan(std::min(n, socket_writer::tag_bytes));
            if (framed.size() < frame::header_bytes || framed[5] != std::byte{frame::layout} ||
                load_le<std::uint16_t>(&framed[6]) != frame::magic ||
                load_le<std::uint32_t>(framed.data()) != framed.size() - frame::header_bytes) {
                return drop(errc::corrupt, "a packet that is no frame of parley");
            }
            const bytes payload = framed.subspan(frame::header_bytes);
            const auto tag = load_le<std::uint64_t>(packet.data());
            if (framed[4] == static_cast<std::byte>(frame::kind::hello)) {
                return greet(payload, std::move(line), line_lost);
            }
            if (!accepts(type, tag)) {
                return drop(errc::incompatible,
                            "a packet of another type, tag " + std::to_string(tag));
            }
            if (framed[4] != static_cast<std::byte>(frame::kind::message) ||
                payload.size() > options.message_bytes_max) {
                return drop(errc::corrupt, "a frame that has no place here");
            }
            deliver(payload);
        }

        void deliver(bytes payload) noexcept {
            message = payload;
            has_message = true;
            garbage_told = false;
        }
        /// A packet that belongs to no sender. Told once if there is no good sender either.
        void drop(errc e, std::string words) {
            ++refused;
            const error_code ec =
                why.fail(e, "refused at " + address.text() + ": " + std::move(words));
            if (senders.empty() && !std::exchange(garbage_told, true)) verdict = ec;
        }

        void greet(bytes payload, unique_fd line, bool line_lost) {
            frame::hello h;
            if (!frame::read_hello(payload, h)) return drop(errc::corrupt, "a hello too short");
            if (line_lost && !line) {
                verdict =
                    why.fail(errc::out_of_resources,
                             "process " + std::to_string(h.pid) + " sends to " + address.text() +
                                 ", but no descriptor is left for its line: its messages "
                                 "come, its end goes unnoticed; raise ulimit -n");
                return;
            }
            if (!accepts(type, h.fingerprint)) {
                if (line) answer_with_hello(line.get(), type);
                garbage_told = false;
                drop(errc::incompatible, type_mismatch(type.description, h.description));
                garbage_told = true;  // its packets follow; they are counted only
                return;
            }
            int kind = 0;
            socklen_t length = sizeof kind;
            if (!line || ::getsockopt(line.get(), SOL_SOCKET, SO_TYPE, &kind, &length) != 0) {
                return drop(errc::corrupt, "a hello without a private line");
            }
            auto made = std::make_unique<sender>(sender{std::move(line), senders.size(), h.pid});
            if (!ready.add(
                    made->line.get(), EPOLLIN,
                    static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(made.get())))) {
                return drop(errc::corrupt, "a hello whose line cannot be watched");
            }
            senders.push_back(std::move(made));
            peers.came(h.pid);
            end_due = {};
        }

        result<int> ask(time_point until) {
            reads_since_asked = 0;
            epoll_event events[events_max];
            const auto n = epoll_until(ready.get(), events, events_max, until);
            if (!n) {
                why.fail(n.error(), "waiting for " + address.text());
                return n;
            }
            for (int i = 0; i < *n; ++i) {
                const auto tag = events[i].data.u64;
                if (tag == socket_tag) {
                    socket_ready = true;
                } else if (tag != readiness::flag_tag) {
                    hear(*reinterpret_cast<sender*>(tag));
                }
            }
            return *n == 1 && events[0].data.u64 == readiness::flag_tag ? 0 : *n;
        }

        /// What came over a sender's line: its end frame, or the end of the line.
        void hear(sender& s) {
            std::byte got[64];
            const auto n =
                retried([&] { return ::recv(s.line.get(), got, sizeof got, MSG_DONTWAIT); });
            if (n < 0 && errno == EAGAIN) return;
            if (n > 0) {
                s.ended =
                    n == frame::header_bytes && got[4] == static_cast<std::byte>(frame::kind::end);
                if (s.ended) return;  // the hang-up follows
            }
            const errc how = s.ended ? errc::closed : errc::peer_lost;
            if (how == errc::peer_lost) {
                peers.died(s.pid);
                why.fail(how, "a sender on " + address.text() + " (" +
                                  describe(credentials(s.line.get())) +
                                  ") died: its line went away without a goodbye");
            }
            ::epoll_ctl(ready.get(), EPOLL_CTL_DEL, s.line.get(), nullptr);
            const std::size_t index = s.index;
            senders.back()->index = index;
            std::swap(senders[index], senders.back());
            senders.pop_back();
            if (senders.empty()) {
                end_due = how;
                socket_ready = true;  // what was sent before the end comes first
            }
        }

        void show_more() {
            if (shown && (has_message || verdict || end_due)) (void)ready.raise();
        }
        void shut(bool in_order) noexcept {
            if (failed) return;
            failed = errc::closed;
            has_message = false;
            in_order ? at.close() : at.abandon();
            ready.reset();
            for (auto& s : senders) s->line.reset();
        }

        static constexpr int events_max = 64;
        static constexpr unsigned reads_max = 64;

        uds_door at;
        message_type type;
        uri address;
        stream_options options;
        diagnostics why;
        readiness ready;
        std::vector<std::unique_ptr<sender>> senders;
        std::size_t capacity;
        std::unique_ptr<std::byte[]> memory;
        std::byte* buffer = nullptr;
        bytes message;
        error_code verdict, end_due, failed;
        peer_watch peers;
        std::uint64_t refused = 0;
        unsigned reads_since_asked = 0;
        eagerness more;
        bool socket_ready = true;
        bool has_message = false;
        bool borrowed = false;
        bool shown = false;
        bool garbage_told = false;
    };

    explicit datagram_source(std::unique_ptr<core> c) : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
