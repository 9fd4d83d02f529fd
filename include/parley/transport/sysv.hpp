// SPDX-License-Identifier: MIT
// System V message queues: kept by the kernel, with types to select by, beyond the life of both
// ends.
#pragma once

#include <parley/transport/kernel_queue_sink.hpp>
#include <parley/transport/kernel_queue_source.hpp>
#include <parley/transport/sysv_queue.hpp>

#include <charconv>
#include <cstdint>
#include <string>

namespace parley {
inline namespace v1 {

using detail::framing;

/// The sending end. `type(n)` holds for the messages committed from then on.
class sysv_sink : public detail::queue_sink<detail::sysv_queue> {
public:
    using queue_sink::queue_sink;
    static constexpr std::uint32_t type_max = 0x7fffffff;
    /// From 1 to type_max.
    void type(std::uint32_t n) noexcept { set_rank(std::clamp(n, 1U, type_max)); }
};
/// The receiving end.
class sysv_source : public detail::queue_source<detail::sysv_queue> {
public:
    using queue_source::queue_source;
    /// Of the message that was received last.
    [[nodiscard]] std::uint32_t type() const noexcept { return rank(); }
};

/// The address of a System V message queue.
///
///     auto out = parley::open_sender<job>(parley::sysv{"jobs"}).value();   // nobody need be there
///     out.end().type(2);  out.send({42}).value();
///     auto in = parley::open_receiver<job>(parley::sysv{"jobs", {.select = 2}}).value();
///
/// The queue is persistent: made by whoever comes first, it outlives both ends, until the system
/// stops or somebody removes it: `sysv{"jobs"}.remove(why)`, `parley clean sysv://jobs`. Ends that
/// are open then get peer_lost. Its name is a file, /dev/shm/parley-sysv.jobs (see sysv_queue.hpp),
/// which goes with it; the key in it, shown by `parley info`, is how foreign programs find it.
///
/// Selecting: with `select` n a receiver takes messages of type n only; with -n those of the lowest
/// type that is at most n. Such receivers, and those that are `shared`, are any number at once and
/// hear of no ends.
///
/// Ends: a sender that closes leaves an end record behind all that it sent. When the last one was
/// received and no other sender is there, the receiver says `closed`. The death of a sender is not
/// noticed; a sender never learns of its receiver.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: `send` waits
/// while the queue is full. Without deadline the kernel wakes who waits; with one it wakes nobody,
/// so a wait looks at least every millisecond.
/// pollable() is `unsupported`. Lifetime: a view is valid until it is destroyed, one at a time.
/// Errors of open: invalid_argument (the name); incompatible (the queue has another capacity);
/// in_use (it has a receiver); denied; out_of_resources (a limit of the kernel, named with the
/// remedy); corrupt (its file is somebody else's). A message of another type of T is
/// `incompatible`, one that is not parley's `corrupt`; it is gone from the queue, and the next call
/// goes on behind it.
struct sysv {
    struct options {
        std::size_t capacity_bytes = 0;  ///< of all messages; 0: as it is, or the system's default
        parley::permissions permissions = {};  ///< of a queue that is made, and of its file
        std::uint32_t type = 1;                ///< of a sender's messages, 1 to 2^31 - 1
        std::int32_t select = 0;               ///< what a receiver takes; 0: everything
        bool shared = false;  ///< receivers that all say so compete for the messages
        framing frame = framing::parley;
        std::string directory = "/dev/shm";  ///< of the file

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};

    using sink = sysv_sink;
    using source = sysv_source;
    static constexpr std::string_view scheme = "sysv";

    sysv() = default;
    explicit sysv(std::string queue) : name(std::move(queue)) {}
    explicit sysv(const char* queue) : name(queue) {}
    sysv(std::string queue, options o) : name(std::move(queue)), with(std::move(o)) {}

    [[nodiscard]] static result<sysv> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    /// Removes the queue, all that waits in it, and its file. Errors: not_found, denied, corrupt.
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt.
    [[nodiscard]] result<queue_report> look(diagnostics& why) const;

    friend bool operator==(const sysv&, const sysv&) = default;

private:
    [[nodiscard]] detail::sysv_file file() const {
        return {with.directory + '/' + std::string(detail::sysv_file::prefix) + name,
                with.permissions, with.capacity_bytes};
    }
    [[nodiscard]] result<detail::sysv_queue> open(diagnostics& why) const;
    [[nodiscard]] bool one_of_many() const noexcept { return with.shared || with.select != 0; }
    [[nodiscard]] detail::queue_options for_ends() const noexcept {
        return {.framed = with.frame == framing::parley,
                .shared = one_of_many(),
                .rank = std::clamp(with.type, 1U, sysv_sink::type_max),
                .end_rank = std::clamp(with.type, 1U, sysv_sink::type_max)};
    }
};

inline result<sysv> sysv::from(const uri& text, diagnostics& why) {
    sysv at;
    uri_reader r(text, why);
    at.name = r.body();
    if (at.name.empty()) r.fail_body("wants a name, as in sysv://jobs");
    r.number("capacity_bytes", at.with.capacity_bytes, 64, INT32_MAX);
    r.number("type", at.with.type, 1, sysv_sink::type_max);
    if (const auto* n = r.option("select")) {
        const auto* last = n->data() + n->size();
        const auto [end, ec] = std::from_chars(n->data(), last, at.with.select);
        if (ec != std::errc{} || end != last || at.with.select == INT32_MIN) {
            r.fail_option("select", "wants a type, or minus the highest type, or 0 for all");
        }
    }
    r.choice("shared", at.with.shared, {{"no", false}, {"yes", true}});
    r.choice("frame", at.with.frame, {{"parley", framing::parley}, {"none", framing::none}});
    detail::read_permissions(r, at.with.permissions);
    if (const auto* d = r.option("directory")) at.with.directory = *d;
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri sysv::to_uri() const {
    const options usual;
    uri_writer w(scheme, name);
    if (with.capacity_bytes != 0) w.option("capacity_bytes", with.capacity_bytes);
    if (with.type != usual.type) w.option("type", with.type);
    if (with.select != 0) w.option("select", std::to_string(with.select));
    if (with.shared) w.option("shared", "yes");
    if (with.frame == framing::none) w.option("frame", "none");
    detail::write_permissions(w, with.permissions);
    if (with.directory != usual.directory) w.option("directory", with.directory);
    return w.done();
}

inline result<detail::sysv_queue> sysv::open(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    auto opened = file().open_or_make(why);
    if (!opened) return opened.error();
    const auto bytes_max = static_cast<std::size_t>(opened->is.msg_qbytes);
    const std::size_t header =
        with.frame == framing::parley ? detail::queue_record::header_bytes : 0;
    if ((with.capacity_bytes != 0 && with.capacity_bytes != bytes_max) || bytes_max <= header) {
        return why.fail(errc::incompatible,
                        "the queue of " + file().path + " holds " + std::to_string(bytes_max) +
                            " bytes, not the wanted " + std::to_string(with.capacity_bytes) +
                            "; ask for what it is, or remove it first: parley clean " +
                            sysv(name).to_uri().text());
    }
    return detail::sysv_queue(std::move(opened->file), opened->at.id, bytes_max, with.select);
}

inline result<sysv::sink> sysv::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(why);
    if (!queue) return queue.error();
    std::uint32_t place = 0;
    if (with.frame == framing::parley) {
        const auto taken = detail::queue_places::enter_as_sender(queue->places());
        if (!taken) return why.fail(taken.error(), "taking a sender's place at " + file().path);
        place = *taken;
    }
    return sink(std::move(*queue), place, request.type, to_uri(), for_ends());
}

inline result<sysv::source> sysv::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(why);
    if (!queue) return queue.error();
    if (auto r = detail::queue_places::enter_as_receiver(queue->places(), one_of_many()); !r) {
        return why.fail(r.error(), r.error() == errc::in_use
                                       ? "the queue of " + file().path +
                                             " has a live receiver; several may compete if all of "
                                             "them say ?shared=yes or ?select="
                                       : "taking the receiver's place at " + file().path);
    }
    return source(std::move(*queue), request.type, to_uri(), for_ends());
}

inline result<void> sysv::remove(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    return file().remove(why);
}

inline result<queue_report> sysv::look(diagnostics& why) const {
    if (auto good = detail::check_queue_name(name, scheme, why); !good) return good.error();
    const auto seen = file().open_existing(O_RDONLY, why);
    if (!seen) return seen.error();
    const msqid_ds& is = seen->is;
    const auto most = std::min(detail::kernel_number("/proc/sys/kernel/msgmax", 8192),
                               std::size_t{is.msg_qbytes});
    std::vector<std::uint32_t> nobody;
    return queue_report{
        .messages = is.msg_qnum,
        .message_bytes_max = most,
        .bytes = is.__msg_cbytes,
        .bytes_max = is.msg_qbytes,
        .receiver = detail::queue_places::has_receiver(seen->file.get()),
        .sender = detail::queue_places::has_sender(seen->file.get(), nobody),
        .owner_uid = is.msg_perm.uid,
        .mode = static_cast<std::uint32_t>(is.msg_perm.mode) & 0777,
        .key = seen->at.key,
        .limits = detail::queue_limits(most, with.frame == framing::parley, one_of_many(), false)};
}

}  // namespace v1
}  // namespace parley
