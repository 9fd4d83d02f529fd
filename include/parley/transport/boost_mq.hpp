// SPDX-License-Identifier: MIT
// The message_queue of Boost.Interprocess, for those who have one: in shared memory, with
// priorities, beyond the life of both ends.
#pragma once

#include <parley/detail/owner.hpp>
#include <parley/transport/boost_mq_queue.hpp>
#include <parley/transport/kernel_queue_sink.hpp>
#include <parley/transport/kernel_queue_source.hpp>

#include <cstdint>
#include <cstdio>
#include <string>

namespace parley {
inline namespace v1 {

using detail::framing;

/// The sending end. `priority(n)` holds for the messages committed from then on; higher ones
/// overtake lower ones, equal ones keep their order.
class boost_mq_sink : public detail::queue_sink<detail::boost_queue> {
public:
    using queue_sink::queue_sink;
    void priority(std::uint32_t n) noexcept { set_rank(n); }
};
/// The receiving end.
class boost_mq_source : public detail::queue_source<detail::boost_queue> {
public:
    using queue_source::queue_source;
    /// Of the message that was received last.
    [[nodiscard]] std::uint32_t priority() const noexcept { return rank(); }
};

/// The address of a Boost message_queue. `boost_mq{"jobs"}`, `boost_mq://jobs`, is what
/// boost::interprocess::message_queue calls "jobs". Who has no such queue yet takes `mq`.
///
///     parley::boost_mq at{"jobs", {.messages = 16, .message_bytes = 1024}};
///     auto out = parley::open_sender<job>(at).value();                         // makes the queue
///     out.send({42}).value();
///     auto in = parley::open_receiver<job>(parley::boost_mq{"jobs"}).value();  // perhaps later
///     // Programs that know only Boost, on either side:
///     auto text = parley::open_receiver<std::string>(
///         parley::boost_mq{"lines", {.frame = parley::framing::none}}).value();
///
/// The queue is persistent: made by whoever comes first, it outlives both ends, until the system
/// stops or somebody removes it: `boost_mq{"jobs"}.remove(why)`, `parley clean boost_mq://jobs`.
/// Ends that are open then go on with a queue that no longer has a name.
///
/// Death: a process that is killed while it copies a message leaves the queue half changed. Every
/// end then says `corrupt` and names the remedy, which is to remove the queue with all that waits
/// in it; nobody hangs. See boost_mq_queue.hpp, also for what a foreign program may do to itself.
///
/// Ends: as those of `mq`: an end record of priority 0; `closed` when the last one was received and
/// no other sender is there; other deaths than the above are not noticed. With `shared` any number
/// of receivers compete for the messages, and none hears of ends.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: `send` waits
/// while the queue is full; nobody wakes anybody, so a wait looks at least every millisecond.
/// pollable() is `unsupported`. Lifetime: a view is valid until it is destroyed, one at a time.
/// Errors of open: invalid_argument (the name); incompatible (a queue of another shape has the
/// name); in_use (it has a receiver); denied; out_of_resources (no memory for the queue in
/// /dev/shm); corrupt (it is spoiled, or no queue: left alone). A message of another type is
/// `incompatible`, one that is not parley's `corrupt`; it is gone from the queue, and the next call
/// goes on behind it.
struct boost_mq {
    struct options {
        std::size_t messages = 0;  ///< that the queue holds; 0: as it is, or 64
        std::size_t message_bytes =
            0;  ///< of each, a header of 16 included; 0: as it is, or 16 KiB
        parley::permissions permissions = {};  ///< of a queue that is made
        std::uint32_t priority = 0;            ///< of a sender's messages
        bool shared = false;  ///< receivers that all say so compete for the messages
        framing frame = framing::parley;

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};

    using sink = boost_mq_sink;
    using source = boost_mq_source;
    static constexpr std::string_view scheme = "boost_mq";

    boost_mq() = default;
    explicit boost_mq(std::string queue) : name(std::move(queue)) {}
    explicit boost_mq(const char* queue) : name(queue) {}
    boost_mq(std::string queue, options o) : name(std::move(queue)), with(std::move(o)) {}

    [[nodiscard]] static result<boost_mq> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    /// Removes the queue and all that waits in it. Errors: not_found, denied, corrupt (no queue).
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt (no queue, or one that was never
    /// finished).
    [[nodiscard]] result<queue_report> look(diagnostics& why) const;

    friend bool operator==(const boost_mq&, const boost_mq&) = default;

private:
    static constexpr std::string_view directory = "/dev/shm";  // where Boost has it
    [[nodiscard]] std::string path() const { return std::string(directory) + '/' + name; }
    [[nodiscard]] std::string remedy() const {
        return "remove it with all that it holds: parley clean " + boost_mq(name).to_uri().text();
    }
    [[nodiscard]] result<detail::boost_queue> open(const open_request& request) const;
    [[nodiscard]] result<detail::boost_queue> open_existing(diagnostics& why) const;
    [[nodiscard]] result<detail::boost_queue> open_or_make(time_point until,
                                                           diagnostics& why) const;
    [[nodiscard]] result<detail::boost_queue> make(diagnostics& why) const;
    [[nodiscard]] detail::queue_options for_ends() const noexcept {
        return {
            .framed = with.frame == framing::parley, .shared = with.shared, .rank = with.priority};
    }
};

inline result<boost_mq> boost_mq::from(const uri& text, diagnostics& why) {
    boost_mq at;
    uri_reader r(text, why);
    at.name = r.body();
    if (at.name.empty()) r.fail_body("wants a name, as in boost_mq://jobs");
    r.number("messages", at.with.messages, 1, 1 << 20);
    r.number("message_bytes", at.with.message_bytes, 1, 1 << 30);
    r.number("priority", at.with.priority, 0, UINT32_MAX);
    r.choice("shared", at.with.shared, {{"no", false}, {"yes", true}});
    r.choice("frame", at.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri boost_mq::to_uri() const {
    uri_writer w(scheme, name);
    if (with.messages != 0) w.option("messages", with.messages);
    if (with.message_bytes != 0) w.option("message_bytes", with.message_bytes);
    if (with.priority != 0) w.option("priority", with.priority);
    if (with.shared) w.option("shared", "yes");
    if (with.frame == framing::none) w.option("frame", "none");
    detail::write_permissions(w, with.permissions);
    return w.done();
}

/// Errors: not_found; would_block (it is not finished); what is there, in words.
inline result<detail::boost_queue> boost_mq::open_existing(diagnostics& why) const {
    detail::unique_fd file(::open(path().c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file) {
        const int number = errno;
        return why.fail(from_errno(number), detail::explain("the queue " + path(), number));
    }
    detail::boost_queue q;
    switch (q.open(std::move(file))) {
        case detail::boost_queue::found::queue: return q;
        case detail::boost_queue::found::unfinished:
            return why.fail(errc::would_block,
                            path() + " was never finished: its maker died; " + remedy());
        default:
            return why.fail(errc::corrupt, path() +
                                               " is no message_queue of this Boost; it is "
                                               "left alone");
    }
}

/// Laid out before it has a name: no other end sees it half made, and a maker that is killed leaves
/// nothing. Errors: in_use if another one was quicker.
inline result<detail::boost_queue> boost_mq::make(diagnostics& why) const {
    const auto to = detail::known_permissions::of(with.permissions, why);
    if (!to) return to.error();
    const std::size_t messages = with.messages != 0 ? with.messages : 64;
    const std::size_t message_bytes = with.message_bytes != 0 ? with.message_bytes : 16384;
    detail::unique_fd file(
        ::open(std::string(directory).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    const std::string what = "making the queue " + path() + " of " + std::to_string(messages) +
                             " messages of " + std::to_string(message_bytes) + " bytes";
    if (!file) return why.fail(detail::last_error(), detail::explain(what, errno));
    if (auto r = to->apply(file.get(), path(), why); !r) return r.error();
    detail::boost_queue q;
    if (!q.make(std::move(file), messages, message_bytes)) {
        return why.fail(
            detail::last_error(),
            detail::explain(what, errno) +
                "; ask for less (?messages=, ?message_bytes=), or make /dev/shm larger");
    }
    char from[32];
    std::snprintf(from, sizeof from, "/proc/self/fd/%d", q.places());
    if (::linkat(AT_FDCWD, from, AT_FDCWD, path().c_str(), AT_SYMLINK_FOLLOW) == 0) return q;
    if (errno == EEXIST) return errc::in_use;
    return why.fail(detail::last_error(), detail::explain(what, errno));
}

inline result<detail::boost_queue> boost_mq::open_or_make(time_point until,
                                                          diagnostics& why) const {
    // A foreign program makes its queue under its name, which takes it an instant.
    const auto patience = std::min(until, clock::now() + std::chrono::seconds(2));
    detail::queue_patience p;
    for (;;) {
        auto q = open_existing(why);
        if (q || (q.error() != errc::not_found && q.error() != errc::would_block)) return q;
        if (q.error() == errc::not_found) {
            q = make(why);
            if (q || q.error() != errc::in_use) return q;
        } else if (!p.pause(patience)) {
            return errc::corrupt;
        }
    }
}

inline result<detail::boost_queue> boost_mq::open(const open_request& request) const {
    diagnostics& why = *request.why;
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    auto q = open_or_make(request.until, why);
    if (!q) return q.error();
    const std::size_t header =
        with.frame == framing::parley ? detail::queue_record::header_bytes : 0;
    const std::size_t message_bytes = q->record_bytes_max();
    if ((with.messages != 0 && with.messages != q->messages()) ||
        (with.message_bytes != 0 && with.message_bytes != message_bytes) ||
        message_bytes <= header) {
        return why.fail(errc::incompatible,
                        "the queue " + path() + " holds " + std::to_string(q->messages()) +
                            " messages of " + std::to_string(message_bytes) +
                            " bytes, not the wanted shape (the header takes " +
                            std::to_string(header) + "); ask for what it is, or " + remedy());
    }
    q->serve(name, with.frame == framing::none);
    if (q->spoiled(why)) return errc::corrupt;
    return q;
}

inline result<boost_mq::sink> boost_mq::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(request);
    if (!queue) return queue.error();
    std::uint32_t place = 0;
    if (with.frame == framing::parley) {
        const auto taken = detail::queue_places::enter_as_sender(queue->places());
        if (!taken) return why.fail(taken.error(), "taking a sender's place at " + path());
        place = *taken;
    }
    return sink(std::move(*queue), place, request.type, to_uri(), for_ends());
}

inline result<boost_mq::source> boost_mq::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(request);
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

inline result<void> boost_mq::remove(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    const auto q = open_existing(why);
    if (!q && q.error() != errc::would_block) return q.error();
    if (::unlink(path().c_str()) == 0) return {};
    return why.fail(detail::last_error(), detail::explain("removing the queue " + path(), errno));
}

inline result<queue_report> boost_mq::look(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    auto q = open_existing(why);
    if (!q) return q.error() == errc::would_block ? make_error_code(errc::corrupt) : q.error();
    struct stat s {};
    if (::fstat(q->places(), &s) != 0) {
        return why.fail(detail::last_error(), detail::explain("the queue " + path(), errno));
    }
    q->serve(name, false);
    const std::size_t message_bytes = q->record_bytes_max();
    auto ends = for_ends();
    ends.framed &= message_bytes > detail::queue_record::header_bytes;
    std::vector<std::uint32_t> nobody;
    return queue_report{.messages = q->waiting(),
                        .messages_max = q->messages(),
                        .message_bytes_max = message_bytes,
                        .receiver = detail::queue_places::has_receiver(q->places()),
                        .sender = detail::queue_places::has_sender(q->places(), nobody),
                        .spoiled = q->spoiled(why),
                        .owner_uid = s.st_uid,
                        .mode = s.st_mode & 0777,
                        .limits = q->limits(ends)};
}

}  // namespace v1
}  // namespace parley
