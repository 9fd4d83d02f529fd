// SPDX-License-Identifier: MIT
// POSIX message queues: kept by the kernel, with priorities, beyond the life of both ends.
#pragma once

#include <parley/detail/owner.hpp>
#include <parley/transport/kernel_queue_sink.hpp>
#include <parley/transport/kernel_queue_source.hpp>

#include <mqueue.h>
#include <sys/resource.h>

#include <charconv>
#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {

using detail::framing;

namespace detail {

/// A descriptor of a POSIX queue. It is in blocking mode: a call that is not to block has a
/// deadline that passed long ago, and costs no more.
class posix_queue : public kernel_queue<posix_queue>, public polled_queue {
public:
    posix_queue(unique_fd fd, std::size_t messages, std::size_t message_bytes) noexcept
        : fd_(std::move(fd)), messages_(messages), message_bytes_(message_bytes) {}

    [[nodiscard]] int places() const noexcept { return fd_.get(); }
    [[nodiscard]] int descriptor() const noexcept { return fd_.get(); }
    [[nodiscard]] std::size_t record_bytes_max() const noexcept { return message_bytes_; }
    [[nodiscard]] std::string too_large() const {
        return "its queue was made for " + std::to_string(message_bytes_) +
               " bytes each; remove the queue (parley clean mq://…) and make it again with "
               "?message_bytes=, at most what /proc/sys/fs/mqueue/msgsize_max says";
    }

    int send(const std::byte* at, std::size_t n, std::uint32_t priority, bool may_block) noexcept {
        const auto* text = reinterpret_cast<const char*>(at);
        const auto sent = retried([&] {
            return may_block ? ::mq_send(fd_.get(), text, n, priority)
                             : ::mq_timedsend(fd_.get(), text, n, priority, &long_ago);
        });
        if (sent == 0) {
            if (free_ > 0) --free_;
            return 0;
        }
        free_ = 0;
        return errno == ETIMEDOUT ? EAGAIN : errno;
    }
    ssize_t receive(std::byte* at, std::size_t n, std::uint32_t& priority,
                    bool may_block) noexcept {
        auto* text = reinterpret_cast<char*>(at);
        const auto got = retried([&] {
            return may_block ? ::mq_receive(fd_.get(), text, n, &priority)
                             : ::mq_timedreceive(fd_.get(), text, n, &priority, &long_ago);
        });
        if (got < 0 && errno == ETIMEDOUT) errno = EAGAIN;
        return got;
    }
    /// Asks the kernel only when what it said last is used up.
    bool has_room(std::size_t) noexcept {
        mq_attr now{};
        if (free_ == 0 && ::mq_getattr(fd_.get(), &now) == 0) {
            free_ = messages_ - std::min(messages_, static_cast<std::size_t>(now.mq_curmsgs));
        }
        return free_ > 0;
    }
    bool has_message() noexcept { return wait_for(fd_.get(), POLLIN, expired).has_value(); }
    result<void> wait_for_room(patience, time_point until) noexcept {
        return wait_for(fd_.get(), POLLOUT, until);
    }
    result<void> wait_for_message(patience, time_point until) noexcept {
        return wait_for(fd_.get(), POLLIN, until);
    }
    static error_code failure(int number, std::string what, diagnostics& why) {
        return why.fail(from_errno(number), explain(std::move(what), number));
    }
    void close() noexcept { fd_.reset(); }

private:
    static constexpr timespec long_ago{0, 0};

    unique_fd fd_;
    std::size_t messages_, message_bytes_;
    std::size_t free_ = 0;  // of messages_, as last heard; others may have used them
};

}  // namespace detail

/// The sending end. `priority(n)` holds for the messages committed from then on; higher ones
/// overtake lower ones, equal ones keep their order.
class mq_sink : public detail::queue_sink<detail::posix_queue> {
public:
    using queue_sink::queue_sink;
    static constexpr std::uint32_t priority_max = 32767;
    /// At most priority_max.
    void priority(std::uint32_t n) noexcept { set_rank(std::min(n, priority_max)); }
};
/// The receiving end.
class mq_source : public detail::queue_source<detail::posix_queue> {
public:
    using queue_source::queue_source;
    /// Of the message that was received last.
    [[nodiscard]] std::uint32_t priority() const noexcept { return rank(); }
};

/// The address of a POSIX message queue. `mq{"jobs"}`, `mq://jobs`, is the queue /jobs of mq_open.
///
///     auto out = parley::open_sender<job>(parley::mq{"jobs"}).value();   // nobody need be there
///     out.send({42}).value();
///     out.end().priority(9);  out.send({43}).value();                    // overtakes the first
///     auto in = parley::open_receiver<job>(parley::mq{"jobs"}).value();  // perhaps tomorrow
///
/// The queue is persistent: made by whoever comes first, it outlives both ends, until the system
/// stops or somebody removes it: `mq{"jobs"}.remove(why)`, `parley clean mq://jobs`. Ends that are
/// open then go on with a queue that no longer has a name.
///
/// Ends: a sender that closes leaves an end record in the queue, of priority 0, so that it comes
/// behind all that this sender sent. When the last one was received and no other sender is there,
/// the receiver says `closed`. The death of a sender is not noticed; a sender never learns of its
/// receiver. With `shared` any number of receivers compete for the messages, and none hears of
/// ends.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: `send` waits
/// while the queue is full; waits are polls by the monotonic clock, those without deadline mq_send
/// and mq_receive. Lifetime: a view is valid until it is destroyed, one at a time. Errors of open:
/// invalid_argument (the name); incompatible (a queue of another shape has the name); in_use (it
/// has a receiver); denied; out_of_resources (a limit of the kernel, named with the remedy). A
/// message of another type is `incompatible`, one that is not parley's `corrupt`; it is gone from
/// the queue, and the next call goes on behind it.
struct mq {
    struct options {
        std::size_t messages = 0;  ///< that the queue holds; 0: as it is, or the system's default
        std::size_t message_bytes = 0;         ///< of each, a header of 16 included; 0: likewise
        parley::permissions permissions = {};  ///< of a queue that is made
        std::uint32_t priority = 0;            ///< of a sender's messages, up to 32767
        bool shared = false;  ///< receivers that all say so compete for the messages
        framing frame = framing::parley;

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};

    using sink = mq_sink;
    using source = mq_source;
    static constexpr std::string_view scheme = "mq";

    mq() = default;
    explicit mq(std::string queue) : name(std::move(queue)) {}
    explicit mq(const char* queue) : name(queue) {}
    mq(std::string queue, options o) : name(std::move(queue)), with(o) {}

    [[nodiscard]] static result<mq> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    /// Removes the queue and all that waits in it. Errors: not_found, denied.
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied.
    [[nodiscard]] result<queue_report> look(diagnostics& why) const;

    friend bool operator==(const mq&, const mq&) = default;

private:
    [[nodiscard]] std::string path() const { return '/' + name; }
    [[nodiscard]] result<detail::posix_queue> open(int access, diagnostics& why) const;
    [[nodiscard]] result<detail::unique_fd> open_or_make(int access, diagnostics& why) const;
    [[nodiscard]] mq_attr shape() const;
    [[nodiscard]] error_code cannot_make(int number, diagnostics& why) const;
    [[nodiscard]] error_code cannot_open(int number, diagnostics& why) const;
    [[nodiscard]] detail::queue_options for_ends() const {
        return {.framed = with.frame == framing::parley,
                .shared = with.shared,
                .rank = std::min(with.priority, mq_sink::priority_max)};
    }
};

inline result<mq> mq::from(const uri& text, diagnostics& why) {
    mq at;
    uri_reader r(text, why);
    at.name = r.body();
    if (at.name.empty()) r.fail_body("wants a name, as in mq://jobs");
    r.number("messages", at.with.messages, 1, 65536);
    r.number("message_bytes", at.with.message_bytes, 1, 16 << 20);
    r.number("priority", at.with.priority, 0, mq_sink::priority_max);
    r.choice("shared", at.with.shared, {{"no", false}, {"yes", true}});
    r.choice("frame", at.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri mq::to_uri() const {
    const options usual;
    uri_writer w(scheme, name);
    if (with.messages != usual.messages) w.option("messages", with.messages);
    if (with.message_bytes != usual.message_bytes) w.option("message_bytes", with.message_bytes);
    if (with.priority != usual.priority) w.option("priority", with.priority);
    if (with.shared) w.option("shared", "yes");
    if (with.frame == framing::none) w.option("frame", "none");
    detail::write_permissions(w, with.permissions);
    return w.done();
}

/// What a new queue is asked to be.
inline mq_attr mq::shape() const {
    const auto usual = [](const char* usually, const char* most, std::size_t otherwise) {
        return std::min(detail::kernel_number(usually, otherwise),
                        detail::kernel_number(most, otherwise));
    };
    mq_attr a{};
    a.mq_maxmsg = static_cast<long>(with.messages != 0 ? with.messages
                                                       : usual("/proc/sys/fs/mqueue/msg_default",
                                                               "/proc/sys/fs/mqueue/msg_max", 10));
    a.mq_msgsize =
        static_cast<long>(with.message_bytes != 0 ? with.message_bytes
                                                  : usual("/proc/sys/fs/mqueue/msgsize_default",
                                                          "/proc/sys/fs/mqueue/msgsize_max", 8192));
    return a;
}

inline error_code mq::cannot_make(int number, diagnostics& why) const {
    const mq_attr asked = shape();
    std::string words = "making the queue " + path() + " of " + std::to_string(asked.mq_maxmsg) +
                        " messages of " + std::to_string(asked.mq_msgsize) + " bytes";
    const auto limit = [](const char* file) {
        const std::string path = std::string("/proc/sys/fs/mqueue/") + file;
        return path + " is " + std::to_string(detail::kernel_number(path.c_str(), 0));
    };
    words = detail::explain(std::move(words), number);
    switch (number) {
        case EINVAL:
            words += "; " + limit("msg_max") + ", " + limit("msgsize_max") +
                     ": ask for less (?messages=, ?message_bytes=), or let root raise them with "
                     "sysctl fs.mqueue.msg_max= and fs.mqueue.msgsize_max=";
            return why.fail(errc::out_of_resources, std::move(words));
        case ENOSPC:
            words += "; " + limit("queues_max") +
                     ": remove queues (parley list, parley clean mq://…), or let root raise it "
                     "with sysctl fs.mqueue.queues_max=";
            break;
        case EMFILE:
        case ENOMEM: {
            rlimit all{};
            ::getrlimit(RLIMIT_MSGQUEUE, &all);
            words += "; the queues of one user may take " + std::to_string(all.rlim_cur) +
                     " bytes (ulimit -q, RLIMIT_MSGQUEUE), or no descriptor is left (ulimit -n): "
                     "ask for less (?messages=, ?message_bytes=), remove queues, or raise it";
            return why.fail(errc::out_of_resources, std::move(words));
        }
        case ENOSYS: words += "; this kernel was built without POSIX message queues"; break;
        default: break;
    }
    return why.fail(from_errno(number), std::move(words));
}

inline error_code mq::cannot_open(int number, diagnostics& why) const {
    std::string words = detail::explain("the queue " + path(), number);
    if (number == EACCES) words += "; a sender needs to write it, a receiver to read it";
    return why.fail(from_errno(number), std::move(words));
}

inline result<detail::unique_fd> mq::open_or_make(int access, diagnostics& why) const {
    const int how = access | O_CLOEXEC;
    for (;;) {
        detail::unique_fd fd(::mq_open(path().c_str(), how));
        if (fd) return fd;
        if (errno != ENOENT) return cannot_open(errno, why);
        mq_attr asked = shape();
        const auto to = detail::known_permissions::of(with.permissions, why);
        if (!to) return to.error();
        fd.reset(::mq_open(path().c_str(), how | O_CREAT | O_EXCL, 0600, &asked));
        if (fd) {
            if (auto r = to->apply(fd.get(), "the queue " + path(), why); !r) {
                ::mq_unlink(path().c_str());
                return r.error();
            }
            return fd;
        }
        if (errno != EEXIST) return cannot_make(errno, why);
    }
}

inline result<detail::posix_queue> mq::open(int access, diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    auto fd = open_or_make(access, why);
    if (!fd) return fd.error();
    mq_attr is{};
    if (::mq_getattr(fd->get(), &is) != 0) return cannot_open(errno, why);
    const auto messages = static_cast<std::size_t>(is.mq_maxmsg);
    const auto message_bytes = static_cast<std::size_t>(is.mq_msgsize);
    const std::size_t header =
        with.frame == framing::parley ? detail::queue_record::header_bytes : 0;
    if ((with.messages != 0 && with.messages != messages) ||
        (with.message_bytes != 0 && with.message_bytes != message_bytes) ||
        message_bytes <= header) {
        const mq_attr asked = shape();
        return why.fail(errc::incompatible,
                        "the queue " + path() + " holds " + std::to_string(messages) +
                            " messages of " + std::to_string(message_bytes) +
                            " bytes, not the wanted " + std::to_string(asked.mq_maxmsg) + " of " +
                            std::to_string(asked.mq_msgsize) + " (the header takes " +
                            std::to_string(header) +
                            "); ask for what it is, or remove it first: parley clean " +
                            mq(name).to_uri().text());
    }
    return detail::posix_queue(std::move(*fd), messages, message_bytes);
}

inline result<mq::sink> mq::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(O_WRONLY, why);
    if (!queue) return queue.error();
    std::uint32_t place = 0;
    if (with.frame == framing::parley) {
        const auto taken = detail::queue_places::enter_as_sender(queue->places());
        if (!taken) return why.fail(taken.error(), "taking a sender's place at " + path());
        place = *taken;
    }
    return sink(std::move(*queue), place, request.type, to_uri(), for_ends());
}

inline result<mq::source> mq::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(O_RDONLY, why);
    if (!queue) return queue.error();
    if (auto r = detail::queue_places::enter_as_receiver(queue->places(), with.shared); !r) {
        return why.fail(r.error(), r.error() == errc::in_use
                                       ? "the queue " + path() +
                                             " has a live receiver; several may compete if all of "
                                             "them say ?shared=yes"
                                       : "taking the receiver's place at " + path());
    }
    return source(std::move(*queue), request.type, to_uri(), for_ends());
}

inline result<void> mq::remove(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    if (::mq_unlink(path().c_str()) == 0) return {};
    return cannot_open(errno, why);
}

inline result<queue_report> mq::look(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    const detail::unique_fd fd(::mq_open(path().c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    mq_attr is{};
    struct stat s {};
    if (!fd || ::mq_getattr(fd.get(), &is) != 0 || ::fstat(fd.get(), &s) != 0) {
        return cannot_open(errno, why);
    }
    const auto message_bytes = static_cast<std::size_t>(is.mq_msgsize);
    // Too small for a header: only without one.
    const bool framed =
        with.frame == framing::parley && message_bytes > detail::queue_record::header_bytes;
    std::vector<std::uint32_t> nobody;
    return queue_report{.messages = static_cast<std::size_t>(is.mq_curmsgs),
                        .messages_max = static_cast<std::size_t>(is.mq_maxmsg),
                        .message_bytes_max = message_bytes,
                        .receiver = detail::queue_places::has_receiver(fd.get()),
                        .sender = detail::queue_places::has_sender(fd.get(), nobody),
                        .owner_uid = s.st_uid,
                        .mode = s.st_mode & 0777,
                        .limits = detail::queue_limits(message_bytes, framed, with.shared, true)};
}

}  // namespace v1
}  // namespace parley
