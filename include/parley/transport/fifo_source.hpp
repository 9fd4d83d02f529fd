// SPDX-License-Identifier: MIT
// The reading end of a named pipe: puts together what each of its writers sent in chunks.
#pragma once

#include <parley/transport/fifo_writer.hpp>
#include <parley/transport/frame_reader.hpp>
#include <parley/transport/gathering.hpp>
#include <parley/transport/stream_sink.hpp>
#include <parley/transport/stream_source.hpp>

#include <map>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {
/// The receiving end of a named pipe.
class fifo_source {
public:
    using view = buffered_view;

    fifo_source(owned_fifo at, const message_type& type, uri address, const stream_options& o)
        : core_(std::make_unique<core>(std::move(at), type, std::move(address), o)) {
        core_->guard_against_fork();
    }

    [[gnu::always_inline]] result<view> try_receive() {
        core& c = *core_;
        if (c.has_message && c.plain && !c.borrowed) [[likely]] {
            c.has_message = false;
            return view(&c.borrowed, c.message);
        }
        return try_receive_slowly();
    }

    [[gnu::always_inline]] result<void> wait(time_point until) {
        core& c = *core_;
        if (c.plain && !c.borrowed) [[likely]] {
            if (c.has_message || (!c.raw.empty() && c.take_usual())) return {};
            if (until == never && c.read_usual()) [[likely]]
                return {};
        }
        return wait_slowly(until);
    }

    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.plain = false;
        if (auto fd = c.ready.add(c.at.fd.get(), EPOLLIN); !fd) return fd;
        c.show_more();
        return c.ready.get();
    }
    result<void> close(time_point) {
        core_->shut(true);
        return {};
    }

    /// How many senders were refused so far, for another type or for garbage.
    [[nodiscard]] std::uint64_t refused() const noexcept { return core_->refused; }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->peers.lost(); }
    [[nodiscard]] peer_watch& peers() noexcept { return core_->peers; }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->options.message_bytes_max,
                .writers_max = core_->options.writers_max,
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
        if (!c.find()) {
            if (c.failed) return c.failed;
            c.ready.lower();
            return errc::would_block;
        }
        if (c.verdict) {
            c.show_more();
            return std::exchange(c.verdict, error_code());
        }
        c.has_message = false;
        c.show_more();
        return view(&c.borrowed, c.message);
    }

    [[gnu::noinline]] result<void> wait_slowly(time_point until) {
        core& c = *core_;
        // What is borrowed lies in a buffer that more would be read to.
        while (!c.failed && (c.borrowed ? !c.has_more() : !c.find(until == never))) {
            if (c.failed) break;
            // Of several writers, the death of one shows only to who looks.
            const bool look = c.writers.size() > 1;
            const auto limit = look ? std::min(until, clock::now() + core::look_apart) : until;
            if (auto r = wait_for(c.at.fd.get(), POLLIN, limit); !r) {
                if (r.error() != errc::timed_out || limit == until) return r;
            }
        }
        c.plain = c.usual != 0 && c.writers.size() == 1 && !c.ready.made() && !c.failed &&
                  !c.verdict && !c.end_due;
        c.show_more();
        return {};
    }

    /// A writer and the frames that its chunks hold.
    struct writer {
        explicit writer(const message_type& t, std::size_t most) : reader(t, most, 4096) {}
        frame_reader reader;
        bool counted = false;  // said hello
        bool gone = false;     // its lock has fallen: what it wrote lies in the pipe
        bool refused = false;
    };
    using writer_map = std::map<std::uint64_t, writer>;

    struct core final : fork_sensitive {
        core(owned_fifo f, const message_type& t, uri a, const stream_options& o)
            : at(std::move(f)), type(t), address(std::move(a)), options(o) {}
        ~core() override {
            unguard();
            shut(true);
        }
        void in_forked_child() noexcept override { shut(false); }

        /// True if there is a message or a verdict to hand out; reads what is there, or waits for
        /// it in read(2) if it may, and if that is where everything shows: with one writer.
        bool find(bool may_wait = false) {
            while (!has_message && !verdict && !failed) {
                if (current == writers.end() && take_usual()) {
                    return true;
                } else if (current != writers.end()) {
                    take();
                } else if (next_chunk() || fill(may_wait)) {
                    continue;
                } else if (end_due) {
                    verdict = std::exchange(end_due, error_code());
                } else {
                    return false;
                }
            }
            return !failed;
        }

        /// The next message of the writer whose chunk came last, or what else it has to say.
        void take() {
            writer& w = current->second;
            const auto m = w.reader.next(why);
            if (!w.counted && w.reader.greeted()) {
                w.counted = true;
                ++senders;
                peers.came(w.reader.pid());
                end_due = {};
            }
            if (m) {
                message = *m;
                has_message = true;
                return;
            }
            const auto one = std::exchange(current, writers.end());
            if (m.error() != errc::would_block) return refuse(one, m.error());
            if (w.counted && w.reader.at_end() == errc::closed) depart(one, errc::closed);
        }

        /// Hands the next whole chunk to its writer.
        bool next_chunk() {
            const bytes b = raw.pending();
            if (b.size() < fifo_chunk::header_bytes) return false;
            const std::size_t length = load_le<std::uint32_t>(b.data() + 4);
            const auto number = load_le<std::uint64_t>(b.data() + 8);
            if (load_le<std::uint32_t>(b.data()) != fifo_chunk::magic || length == 0 ||
                length > fifo_chunk::payload_bytes_max || number == 0 ||
                number >= fifo_lock::marks) {
                spoil();
                return false;
            }
            if (b.size() - fifo_chunk::header_bytes < length) return false;
            auto found = writers.find(number);
            if (found == writers.end()) {
                found = writers.try_emplace(number, type, options.message_bytes_max).first;
                plain = false;
                if (writers.size() > options.writers_max) {
                    refuse(found,
                           why.fail(errc::out_of_resources,
                                    "more senders than " + std::to_string(options.writers_max)));
                }
            }
            writer& w = found->second;
            usual = w.refused ? 0 : number;
            usual_writer = &w;
            if (!w.refused) {
                const auto to = w.reader.room(length);
                std::memcpy(to.data(), b.data() + fifo_chunk::header_bytes, length);
                w.reader.filled(length);
                current = found;
            }
            raw.consume(fifo_chunk::header_bytes + length);
            return true;
        }

        /// The usual case: the next chunk is a message of the writer that sent the last one. It is
        /// handed out where it lies.
        bool take_usual() noexcept {
            constexpr std::size_t headers = fifo_chunk::header_bytes + frame::header_bytes;
            const bytes b = raw.pending();
            if (b.size() < headers || usual == 0 || load_le<std::uint64_t>(b.data() + 8) != usual) {
                return false;
            }
            const std::size_t length = load_le<std::uint32_t>(b.data() + 4);
            const std::byte* first = b.data() + fifo_chunk::header_bytes;
            if (load_le<std::uint32_t>(b.data()) != fifo_chunk::magic ||
                length < frame::header_bytes || length > b.size() - fifo_chunk::header_bytes ||
                length > fifo_chunk::payload_bytes_max || !usual_writer->reader.at_rest() ||
                !usual_writer->reader.announces(first, length - frame::header_bytes)) {
                return false;
            }
            message = {first + frame::header_bytes, length - frame::header_bytes};
            has_message = true;
            raw.consume(fifo_chunk::header_bytes + length);
            return true;
        }
        /// Waits for it in read(2). Whatever else comes is left to find().
        [[gnu::noinline]] bool read_usual() {
            if (!raw.empty() || !patient) return false;
            rush.pause();
            const auto to = raw.room(batch_bytes);
            const auto n = ::read(patient.get(), to.data(), rush.most(to.size()));
            if (n <= 0) return false;
            raw.filled(static_cast<std::size_t>(n));
            const bool taken = take_usual();
            rush.found(static_cast<std::size_t>(n),
                       static_cast<std::size_t>(n) - raw.pending().size());
            return taken;
        }

        /// Reads once; true if that, or a look at who lives, may have made something to say.
        bool fill(bool may_wait) {
            if (failed) return false;
            const auto to = raw.room(batch_bytes);
            const int from = may_wait && writers.size() == 1 && !ready.made() ? patient_fd() : -1;
            const auto n = retried(
                [&] { return ::read(from >= 0 ? from : at.fd.get(), to.data(), to.size()); });
            if (n > 0) {
                raw.filled(static_cast<std::size_t>(n));
                return true;
            }
            if (n < 0 && errno != EAGAIN) {
                failed = why.fail(last_error(), explain("reading " + address.text(), errno));
                return false;
            }
            bool changed = false;
            for (auto i = writers.begin(); i != writers.end();) {
                const auto one = i++;
                if (n == 0 || one->second.gone) {
                    depart(one, errc::peer_lost);
                    changed = true;
                }
            }
            return n == 0 ? renew() || changed : look() || changed;
        }
        /// The same pipe, opened for reads that wait; -1 if that fails.
        int patient_fd() {
            if (patient) return patient.get();
            const std::string self = "/proc/self/fd/" + std::to_string(at.fd.get());
            // Without O_NONBLOCK the open itself would wait for a writer.
            patient.reset(::open(self.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
            if (patient) ::fcntl(patient.get(), F_SETFL, 0);
            return patient.get();
        }
        /// Nobody writes: the kernel goes on saying that the last writer left, until the pipe is
        /// opened anew. The old end stays until the new one is there, so nothing is lost.
        bool renew() {
            pollfd p{at.fd.get(), POLLIN, 0};
            if (::poll(&p, 1, 0) <= 0 || (p.revents & POLLHUP) == 0) return false;
            const std::string self = "/proc/self/fd/" + std::to_string(at.fd.get());
            unique_fd fresh(::open(self.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
            if (!fresh || (ready.made() && !ready.add(fresh.get(), EPOLLIN))) {
                failed = why.fail(last_error(), explain("opening " + address.text() +
                                                            " anew "
                                                            "through /proc/self/fd",
                                                        errno));
                return false;
            }
            at.fd = std::move(fresh);
            return true;  // somebody may have written meanwhile
        }
        /// Marks those whose lock has fallen; what they wrote is read before they are let go.
        bool look() {
            const auto now = clock::now();
            if (writers.empty() || now < next_look) return false;
            next_look = now + look_apart;
            bool any = false;
            for (auto& [number, w] : writers) {
                w.gone = !fifo_lock::held(at.fd.get(), number);
                any |= w.gone;
            }
            return any;
        }

        void depart(writer_map::iterator one, errc how) {
            usual = 0;
            plain = false;
            const bool counted = one->second.counted;
            if (counted && how == errc::peer_lost) {
                peers.died(one->second.reader.pid());
                why.fail(how, "a sender on " + address.text() + " (process " +
                                  std::to_string(one->second.reader.pid()) +
                                  ") died: its end went away without a goodbye" +
                                  (one->second.reader.empty() ? "" : ", in mid-message"));
            }
            writers.erase(one);
            if (counted && --senders == 0) end_due = how;
        }
        void refuse(writer_map::iterator one, error_code ec) {
            ++refused;
            writer& w = one->second;
            usual = 0;
            plain = false;
            why.fail(ec, "refused a sender on " + address.text() + ": " + why.text());
            (void)fifo_lock::take(at.fd.get(), F_RDLCK, fifo_lock::marks + one->first);
            if (std::exchange(w.counted, false)) --senders;
            w.refused = true;
            w.reader.drop_pending();
            if (senders == 0) {
                verdict = ec;
                end_due = {};
            }
        }
        /// Bytes between the chunks belong to nobody, and no later one can be found: the pipe is
        /// given up, which all senders see.
        void spoil() {
            shut(true);
            failed = why.fail(errc::corrupt, "not a chunk of parley in " + address.text() +
                                                 ": a program that knows nothing of parley wrote "
                                                 "there; open the receiver again");
        }

        [[nodiscard]] bool has_more() const noexcept {
            return has_message || verdict || end_due || current != writers.end() ||
                   raw.pending().size() >= fifo_chunk::header_bytes;
        }
        void show_more() {
            if (has_more()) (void)ready.raise();
        }
        void shut(bool in_order) noexcept {
            if (!at.fd) return;
            failed = errc::closed;
            has_message = false;
            in_order ? at.name.remove() : at.name.abandon();
            at.fd.reset();
            patient.reset();
            ready.reset();
            plain = false;
        }

        static constexpr duration look_apart = std::chrono::milliseconds(50);
        static constexpr std::size_t batch_bytes = 64 * 1024;

        owned_fifo at;
        message_type type;
        uri address;
        stream_options options;
        diagnostics why;
        readiness ready;
        inbound_buffer raw;
        writer_map writers;
        writer_map::iterator current = writers.end();  // its chunk came last
        std::uint64_t usual = 0;         // the number of the writer whose chunk came last, or 0
        writer* usual_writer = nullptr;  // and itself
        unique_fd patient;
        gathering rush;
        bool plain = false;  // one writer, nothing to say but its messages, nobody polls
        time_point next_look{};
        bytes message;
        error_code verdict, end_due, failed;
        std::size_t senders = 0;
        peer_watch peers;
        std::uint64_t refused = 0;
        bool has_message = false;
        bool borrowed = false;
    };

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
