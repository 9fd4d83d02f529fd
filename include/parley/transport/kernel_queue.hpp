// SPDX-License-Identifier: MIT
// What the message queues of the kernel, POSIX and System V, have in common: what travels, and
// who is there. Their sink and source stand in kernel_queue_sink.hpp and kernel_queue_source.hpp.
//
//   byte      0             8            12            14      15      16
//            +-------------+------------+-------------+-------+-------+- - - - - -+- - - - - - +
//   message  | tag, u64    | sender u32 | trailer u16 | kind  | mark  | payload   | trailer    |
//            +-------------+------------+-------------+-------+-------+- - - - - -+- - - - - - +
//
// The tag is the type's fingerprint, so that every message can be judged by itself. The trailer is
// the type's description, for people; it comes with a sender's first message if there is room. An
// end record has neither payload nor trailer: its sender closed in good order.
//
// A queue outlives its users and knows none of them. So each end marks its place with locks on the
// queue's descriptor (a POSIX queue is a file to the kernel) or on a file beside it; they fall with
// the process that holds them:
//
//   flock        one receiver, exclusive; or many that share
//   byte 0       open file description lock for reading: a receiver is there
//   byte n       open file description lock for writing: sender n is there, n in 1 … 2^31 - 1
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/limits.hpp>
#include <parley/base/type.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/detail/posix.hpp>

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {

/// What can be read of a queue of the kernel by looking on; nothing of it changes.
struct queue_report {
    std::size_t messages = 0;              ///< that wait in it now, end records included
    std::size_t messages_max = 0;          ///< 0: no limit of its own
    std::size_t message_bytes_max = 0;     ///< as the kernel counts, headers included
    std::size_t bytes = 0, bytes_max = 0;  ///< of all messages, where the kernel tells; else 0
    bool receiver = false;                 ///< a receiver of parley is there
    bool sender = false;                   ///< a sender of parley is there
    bool spoiled = false;                  ///< nobody can use it any more, as why says
    std::uint32_t owner_uid = 0;
    std::uint32_t mode = 0;
    std::uint32_t key = 0;  ///< of a System V queue: its number for msgget
    parley::limits limits;  ///< of ends that are opened by this address
};

namespace detail {

/// The header of a message in a queue.
struct queue_record {
    static constexpr std::size_t header_bytes = 16;
    static constexpr std::size_t trailer_bytes_max = 1024;
    static constexpr std::uint8_t mark = 'Q';
    enum class kind : std::uint8_t { message = 1, end = 2 };

    std::uint64_t tag = 0;
    std::uint32_t sender = 0;
    std::uint16_t trailer = 0;
    kind what = kind::message;

    void write(std::byte* to) const noexcept {
        store_le(to, tag);
        store_le(to + 8, sender);
        store_le(to + 12,
                 trailer | static_cast<std::uint32_t>(what) << 16 | std::uint32_t{mark} << 24);
    }
    /// False if no end of parley wrote these bytes.
    [[nodiscard, gnu::always_inline]] bool read(bytes from) noexcept {
        if (from.size() < header_bytes) return false;
        tag = load_le<std::uint64_t>(from.data());
        sender = load_le<std::uint32_t>(from.data() + 8);
        const auto rest = load_le<std::uint32_t>(from.data() + 12);
        trailer = static_cast<std::uint16_t>(rest);
        what = static_cast<kind>(rest >> 16 & 0xff);
        if (rest >> 24 != mark) return false;
        if (what == kind::end) return from.size() == header_bytes && trailer == 0;
        return what == kind::message && trailer <= from.size() - header_bytes;
    }
    /// Nothing in it counts the messages.
    static constexpr void advance() noexcept {}
};

/// Who is there, as locks on a descriptor. Each end has a description of its own.
struct queue_places {
    static constexpr std::uint32_t sender_max = 0x7fffffff;

    /// Takes the receiver's place: in_use if another one has it.
    static result<void> enter_as_receiver(int fd, bool shared) noexcept {
        const int how = (shared ? LOCK_SH : LOCK_EX) | LOCK_NB;
        if (retried([&] { return ::flock(fd, how); }) != 0) {
            return errno == EWOULDBLOCK ? make_error_code(errc::in_use) : last_error();
        }
        return mark(fd, F_RDLCK, 0);
    }
    /// Takes a sender's place, which has a number of its own.
    static result<std::uint32_t> enter_as_sender(int fd) noexcept {
        for (int attempt = 0;; ++attempt) {
            const auto n = static_cast<std::uint32_t>(fresh_id() % sender_max) + 1;
            const auto r = mark(fd, F_WRLCK, n);
            if (r) return n;
            if (r.error() != errc::would_block || attempt == 100) return r.error();
        }
    }
    [[nodiscard]] static bool has_receiver(int fd) noexcept {
        off_t first = 0;
        return marked(fd, 0, 0, first);
    }
    /// Whether a sender is there that is none of `gone`; of those only they remain that still
    /// hold their mark: between its end record and its close a sender is there no more.
    [[nodiscard]] static bool has_sender(int fd, std::vector<std::uint32_t>& gone) {
        std::erase_if(gone, [&](std::uint32_t n) {
            off_t at = 0;
            return !marked(fd, n, n, at);
        });
        return has_sender_in(fd, 1, sender_max, gone);
    }

private:
    static result<void> mark(int fd, short how, off_t at) noexcept {
        struct flock l {};
        l.l_type = how;
        l.l_whence = SEEK_SET;
        l.l_start = at;
        l.l_len = 1;
        if (::fcntl(fd, F_OFD_SETLK, &l) == 0) return {};
        return errno == EACCES ? make_error_code(errc::would_block) : last_error();
    }
    /// The kernel names one mark of those between, not the first.
    static bool marked(int fd, off_t from, off_t to, off_t& at) noexcept {
        struct flock l {};
        l.l_type = F_WRLCK;
        l.l_whence = SEEK_SET;
        l.l_start = from;
        l.l_len = to - from + 1;
        if (::fcntl(fd, F_OFD_GETLK, &l) != 0 || l.l_type == F_UNLCK) return false;
        at = l.l_start;
        return true;
    }
    static bool has_sender_in(int fd, off_t from, off_t to,
                              const std::vector<std::uint32_t>& gone) {
        off_t at = 0;
        if (from > to || !marked(fd, from, to, at)) return false;
        const bool leaves = std::find(gone.begin(), gone.end(), at) != gone.end();
        return !leaves || has_sender_in(fd, from, at - 1, gone) ||
               has_sender_in(fd, at + 1, to, gone);
    }
};

/// A number that the kernel shows in a file, or `otherwise`.
[[nodiscard]] inline std::size_t kernel_number(const char* path, std::size_t otherwise) {
    std::ifstream file(path);
    std::size_t n = 0;
    return file >> n ? n : otherwise;
}

/// "x" is the name of a queue; what stands in the file system beside it has it too.
[[nodiscard]] inline result<void> check_queue_name(const std::string& name, std::string_view scheme,
                                                   diagnostics& why) {
    const bool dots = name == "." || name == "..";
    if (!name.empty() && name.size() <= 200 && name.find('/') == std::string::npos && !dots) {
        return {};
    }
    return why.fail(errc::invalid_argument,
                    "the name '" + name + "' of a queue: " + std::string(scheme) +
                        "://name wants 1 to 200 characters and no '/', and neither . nor ..");
}

/// What every queue of the kernel says of itself.
[[nodiscard]] inline parley::limits queue_limits(std::size_t record_bytes_max, bool framed,
                                                 bool shared, bool pollable) noexcept {
    constexpr auto any = std::numeric_limits<std::size_t>::max();
    return {.message_bytes_max = record_bytes_max - (framed ? queue_record::header_bytes : 0),
            .writers_max = any,
            .readers_max = shared ? any : 1,
            .persistent = true,
            .pollable = pollable,
            .reports_peer_loss = false,
            .successors = true};
}

/// What a queue's sink and source are told by their address.
struct queue_options {
    bool framed = true;
    bool shared = false;         ///< receivers: many compete
    std::uint32_t rank = 0;      ///< priority or type of messages
    std::uint32_t end_rank = 0;  ///< of the end record: nothing of this sender comes after it
};

/// Waiting for a queue that wakes nobody: looks about as long as a wake-up would take, then sleeps
/// of at most 1 ms between two looks. It yields to nobody: who else runs here would have its slice.
class queue_patience {
public:
    /// timed_out once `until` passed.
    result<void> pause(time_point until) noexcept {
        constexpr int looks_before_sleep = 30;
        if (until == expired) return errc::timed_out;
        const auto now = clock::now();
        if (now >= until) return errc::timed_out;
        if (looks_++ < looks_before_sleep) {
            for (int i = 0; i < 32; ++i) std_atomics::pause();
        } else {
            (void)poll_until(nullptr, 0, until - now < next_ ? until : now + next_);
            next_ = std::min<duration>(next_ * 2, std::chrono::milliseconds(1));
        }
        return {};
    }

private:
    int looks_ = 0;
    duration next_ = std::chrono::microseconds(50);
};

/// Waits with poll, for queues that have a descriptor.
struct polled_queue {
    static constexpr bool pollable = true;
    static constexpr const char* no_descriptor = "";
    static constexpr std::size_t prefix_bytes = 0;
    struct patience {};
};

/// How the queues of the kernel go about records and ends, whichever queue it is.
template <class Queue>
class kernel_queue {
public:
    using record = queue_record;
    static constexpr bool lossy = false;
    static constexpr bool says_full = true;

    [[nodiscard]] std::size_t message_bytes_max(bool framed) const noexcept {
        return self().record_bytes_max() - (framed ? record::header_bytes : 0);
    }
    [[nodiscard]] parley::limits limits(const queue_options& o) const noexcept {
        return queue_limits(self().record_bytes_max(), o.framed, o.shared, Queue::pollable);
    }
    /// Whether somebody will make room in a full queue.
    [[nodiscard]] bool awaited() const noexcept {
        return queue_places::has_receiver(self().places());
    }

    /// Whether the message behind this header is to be delivered.
    static constexpr bool admit(const record&) noexcept { return true; }
    /// A sender's end record came: false if it came before.
    bool heard_end(const record& head) {
        ended_.push_back(head.sender);
        // Most of many have left by now.
        if (ended_.size() % 64 == 0) (void)has_sender();
        return true;
    }
    [[nodiscard]] bool has_sender() { return queue_places::has_sender(self().places(), ended_); }
    /// Whether a refused message is to be an error of the receiver.
    static constexpr bool tells(errc) noexcept { return true; }
    static constexpr std::uint64_t lost() noexcept { return 0; }

private:
    [[nodiscard]] const Queue& self() const noexcept { return static_cast<const Queue&>(*this); }

    std::vector<std::uint32_t> ended_;  // their end record came and their mark remains
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
