// SPDX-License-Identifier: MIT
// Writing a stream of frames as signals: the sender's half of signals://. Above it stands the sink
// of all streams.
#pragma once

#include <parley/transport/signals_wire.hpp>
#include <parley/transport/stream_sink.hpp>

#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A slot in a receiver's post, and a number for what the receiver answers.
class signal_writer {
public:
    static constexpr short event_of_room = POLLIN;

    /// Enters a found post. Errors: would_block (a slot will be free soon, or the receiver has just
    /// closed), out_of_resources (all slots, all numbers or descriptors are taken), unsupported.
    [[nodiscard]] static result<signal_writer> enter(found_post at, const signals_notice& notice,
                                                     std::size_t lane, const std::string& path,
                                                     diagnostics& why) {
        signal_writer w(std::move(at), notice, path);
        w.lane_ = notice.numbers[lane];
        const auto slot = w.take_slot(why);
        if (!slot) return slot.error();
        auto own = claimed_signals::claim(1, why);
        if (!own) return own.error();
        w.own_ = std::move(*own);
        if (!w.watch()) return why.fail(last_error(), explain("watching signals", errno));
        const signal_slot record{.id = w.id_,
                                 .pid = static_cast<std::uint32_t>(w.process_),
                                 .uid = static_cast<std::uint32_t>(w.user_),
                                 .number = static_cast<std::uint32_t>(w.own_.number()),
                                 .first = w.next_,
                                 .released = 0};
        if (!record.write(w.at_.file.get(), w.slot_)) {
            return why.fail(last_error(), explain("writing to " + path, errno));
        }
        // A receiver that closes drops its lock, then looks at the slots: it saw this one, or here
        // the lock is seen to be gone.
        if (!w.at_.owned()) return why.fail(errc::would_block, "the receiver has just closed");
        w.entered_ = true;
        return w;
    }
    signal_writer(signal_writer&&) noexcept = default;
    signal_writer& operator=(signal_writer&&) = delete;

    [[nodiscard]] int descriptor() const noexcept { return set_.get(); }

    ssize_t write(const std::byte* from, std::size_t n, bool) noexcept {
        const bool goodbye =
            n == frame::header_bytes && from[4] == static_cast<std::byte>(frame::kind::end);
        if (blocked_ || unheard_ >= look_apart || goodbye) hear();
        std::size_t done = 0;
        while (done < n && left_ == leaving::nobody) {
            if (under_way() >= notice_.window) hear();
            if (left_ != leaving::nobody) break;
            if (under_way() >= notice_.window) {
                pause(signal_liveness);
                break;
            }
            const auto part = std::min<std::size_t>(n - done, notice_.payload_bytes);
            if (const int number = send_chunk(from + done, part); number == 0) {
                done += part;
            } else if (number == EAGAIN) {
                pause(signal_retry);
                break;
            } else {
                left_ = leaving::died;
            }
        }
        if (left_ != leaving::nobody) return errno = EPIPE, -1;
        if (done == 0) return errno = EAGAIN, -1;
        if (blocked_ && done == n) resume();
        ended_ = goodbye && done == n;
        return static_cast<ssize_t>(done);
    }
    error_code verdict(const message_type&, diagnostics& why) const {
        switch (left_) {
            case leaving::closed:
                return why.fail(errc::closed, "the receiver of " + path_ +
                                                  " closed; what it had not taken is lost");
            case leaving::refused:
                return why.fail(errc::peer_lost,
                                "the receiver refused this sender: what came was "
                                "no frame of its type; its why() says more");
            default: break;
        }
        remove_post_if_dead(path_, at_.file.get());
        return why.fail(errc::peer_lost, "the receiver, process " + std::to_string(at_.page.pid()) +
                                             ", died; what it had not taken is lost");
    }
    [[nodiscard]] static constexpr bool handed_over() noexcept { return false; }
    static result<int> hand_over() noexcept { return errc::unsupported; }
    void close() noexcept {
        if (!at_.file) return;
        if (process_ == ::getpid() && entered_ && !ended_ && left_ == leaving::nobody) {
            (void)send({.what = signal_word::kind::gone, .sequence = next_}, id_);
        }
        own_.release();
        set_.reset();
        clock_.reset();
        bell_.reset();
        at_.pidfd.reset();
        at_.file.reset();
    }

private:
    enum class leaving : std::uint8_t { nobody, closed, died, refused };
    static constexpr unsigned look_apart = 64;  // chunks

    signal_writer(found_post at, const signals_notice& notice, std::string path)
        : at_(std::move(at)), notice_(notice), path_(std::move(path)) {}

    result<void> take_slot(diagnostics& why) {
        bool leaves = false;
        for (std::size_t i = 0; i < notice_.writers_max; ++i) {
            const auto lock = writer_lock(i);
            if (!try_lock(at_.file.get(), lock)) continue;
            signal_slot there;
            if (there.read(at_.file.get(), i) && !there.taken()) {
                slot_ = static_cast<std::uint8_t>(i);
                return {};
            }
            leaves = true;
            unlock(at_.file.get(), lock);
        }
        // Whoever had it may have died before its first signal: only a look tells.
        if (leaves) (void)send({.what = signal_word::kind::look}, id_);
        return why.fail(leaves ? errc::would_block : errc::out_of_resources,
                        "all " + std::to_string(notice_.writers_max) + " places of senders at " +
                            path_ + " are taken; raise ?writers_max=… at the receiver");
    }
    [[nodiscard]] bool watch() noexcept {
        bell_ = signal_descriptor(own_.mask());
        return bell_ && set_.add(bell_.get(), EPOLLIN) && set_.add(at_.pidfd.get(), EPOLLIN) &&
               clock_.watch_in(set_, 0) && set_.raise();
    }

    [[nodiscard]] unsigned under_way() const noexcept {
        return static_cast<std::uint16_t>(next_ - taken_);
    }
    [[nodiscard]] int send(signal_word w, std::uint64_t id) const noexcept {
        w.slot = slot_;
        signal_packet p{.number = lane_, .word = w.packed(), .pid = process_, .uid = user_};
        store_le(p.payload.data(), id);
        return p.send(at_.pidfd.get());
    }
    [[nodiscard]] int send_chunk(const std::byte* from, std::size_t n) noexcept {
        const signal_word w{
            .sequence = next_, .slot = slot_, .length = static_cast<std::uint8_t>(n)};
        signal_packet p{.number = lane_, .word = w.packed(), .pid = process_, .uid = user_};
        std::memcpy(p.payload.data(), from, n);
        const int number = p.send(at_.pidfd.get());
        if (number == 0) {
            ++next_;
            ++unheard_;
        }
        return number;
    }

    /// What the receiver said meanwhile, and whether it lives.
    void hear() noexcept {
        unheard_ = 0;
        for (signal_packet p; take_signal_now(own_.mask(), p);) {
            const auto w = signal_word::of(p.word);
            const bool his = p.queued && static_cast<std::uint32_t>(p.pid) == at_.page.pid() &&
                             p.uid == at_.page.uid() && w.slot == slot_ &&
                             load_le<std::uint64_t>(p.payload.data()) == id_;
            if (!his) continue;
            if (w.what == signal_word::kind::credit) {
                const auto more = static_cast<std::uint16_t>(w.sequence - taken_);
                if (more <= under_way()) taken_ = w.sequence;
            } else if (w.what == signal_word::kind::gone) {
                left_ = w.length == signal_refusal ? leaving::refused : leaving::closed;
            }
        }
        const bool rung = clock_.stop();
        if (left_ != leaving::nobody) return;
        if (has_exited(at_.pidfd.get())) {
            left_ = leaving::died;
        } else if (rung && !at_.owned()) {  // it closed, and its word found no room in the queue
            left_ = leaving::closed;
        }
    }
    void pause(duration longest) noexcept {
        blocked_ = true;
        set_.lower();
        clock_.set(longest);
    }
    void resume() noexcept {
        blocked_ = false;
        (void)clock_.stop();
        (void)set_.raise();
    }

    found_post at_;
    signals_notice notice_;
    std::string path_;
    claimed_signals own_;
    unique_fd bell_;
    readiness set_;
    retry_clock clock_;
    pid_t process_ = ::getpid();
    uid_t user_ = ::getuid();
    std::uint64_t id_ = fresh_id();
    std::uint16_t next_ = static_cast<std::uint16_t>(id_ >> 16);  // the next chunk's sequence
    std::uint16_t taken_ = next_;                                 // the receiver took all before it
    unsigned unheard_ = 0;
    std::uint8_t slot_ = 0;
    int lane_ = 0;
    leaving left_ = leaving::nobody;
    bool entered_ = false;
    bool blocked_ = false;
    bool ended_ = false;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
