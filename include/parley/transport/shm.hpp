// SPDX-License-Identifier: MIT
// Shared memory: a named segment, or a sealed memfd between relatives.
#pragma once

#include <parley/detail/later.hpp>
#include <parley/shm/creator.hpp>
#include <parley/shm/segment.hpp>
#include <parley/transport/shm_sink.hpp>
#include <parley/transport/shm_source.hpp>
#include <parley/transport/transport.hpp>

#include <charconv>
#include <climits>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {

/// What wakes an end that sleeps on its descriptor.
enum class bell_kind : std::uint8_t {
    socket,  ///< a datagram to a socket that it made
    signal,  ///< a real-time signal that it claimed: also where it parks, in place of a futex
};

/// The address of a segment: `shm{"ticks"}` is `shm://ticks`, the file /dev/shm/parley.ticks.
/// `shm{}` has no name: a sealed memfd, for make_channel, or for
/// whoever is handed its descriptor over a socket: its receiver's address() is `shm:?fd=n`, n a
/// descriptor to pass on, and the process that gets it as m sends to `shm{m}`.
///
///     auto in  = parley::open_receiver<tick>(parley::shm{"ticks"}).value();   // process A
///     auto out = parley::open_sender<tick>(parley::shm{"ticks"}).value();     // process B
///
/// Each sender has a lane of its own, so messages are ordered for each sender; nothing is copied
/// but by the codec, and a loan or borrow is the shared memory itself.
/// A receiver that is killed leaves its segment to the next one that opens the name with the same
/// type, lanes, capacity and bell: that one goes on with all that no sender was told was lost, and
/// its lost() counts what the dead one had in hand. Opened otherwise the name begins anew, and what
/// waited there is gone.
/// Thread safety: as any end, one thread at a time; ends are independent.
/// Blocking: as `wait` says. A dead peer is noticed within 50 ms of waiting, and by a sender that
/// never waits within 50 ms and 8 more messages.
/// Errors of open: in_use (a live receiver owns the name), denied (another user's), corrupt (the
/// file is no segment; it is left alone), incompatible (type or layout; both are named),
/// out_of_resources (the file system is full: memory is reserved at open, so no SIGBUS comes later;
/// or all lanes are taken), timed_out (no receiver came).
/// Security: a named segment is as safe as its owner and mode; who may write it may also truncate
/// it. A memfd is sealed against that.
struct shm {
    /// The receiver's options decide; a sender reads them from the segment, except `wait`, `memory`
    /// and `copy`.
    struct options {
        std::size_t capacity_bytes = 4 << 20;  ///< of each lane: a power of two, 4 KiB to 1 GiB
        std::size_t writers_max = 16;          ///< lanes; memory is taken by a lane's first writer
        waiting wait = waiting::spin_then_park;
        std::uint32_t spin_us = 50;            ///< how long spin_then_park spins, in microseconds
        parley::permissions permissions = {};  ///< of the file
        std::string directory = "/dev/shm";  ///< any tmpfs, for instance one that containers share
        /// signal: payload in shared memory, a signal as the doorbell; the ends are of one user and
        /// one PID namespace, and of their threads holds what signals.hpp says.
        bell_kind bell = bell_kind::socket;
        memory_options memory = {};               ///< each end for itself
        parley::copy copy = parley::copy::plain;  ///< a sender's, or publisher's into chunks
        /// A receiver goes on where a killed one stopped. Else it begins anew: what that one had
        /// not received is dropped, and its senders see peer_lost.
        bool resume = true;
        /// Of a topic: each publisher's `capacity_bytes` are divided into so many chunks, 1 to 64;
        /// see pubsub.hpp. 0: messages lie in a ring.
        std::size_t chunks = 0;

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};
    int fd = -1;  ///< a memfd that came from its receiver, or -1

    using sink = detail::shm_sink;
    using source = detail::shm_source;

    static constexpr std::string_view scheme = "shm";

    shm() = default;
    explicit shm(std::string n) : name(std::move(n)) {}
    explicit shm(options o) : with(std::move(o)) {}
    shm(std::string n, options o) : name(std::move(n)), with(std::move(o)) {}
    explicit shm(int memfd) : fd(memfd) {}

    [[nodiscard]] uri to_uri() const;
    // Templates, so that only who opens an end compiles what that takes; see detail::later. For the
    // same reason they say `auto& why`.
    template <std::same_as<uri> Uri = uri>
    [[nodiscard]] static result<detail::later<shm, Uri>> from(const Uri& text, diagnostics& why);
    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<detail::later<sink, Request>> open_sink(const Request& request) const;
    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<detail::later<source, Request>> open_source(const Request& request) const;
    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<detail::later<both_ends<sink, source>, Request>> open_both(
        const Request& request) const;

    friend bool operator==(const shm&, const shm&) = default;

    /// For those that make other segments at such an address.
    [[nodiscard]] detail::segment_name file() const {
        return {with.directory, name, with.permissions};
    }
    [[nodiscard]] detail::wait_plan plan() const {
        return {with.wait, std::chrono::microseconds(with.spin_us)};
    }

private:
    template <class Request>
    [[nodiscard]] result<detail::later<sink, Request>> try_open_sink(const Request& request) const;
    template <class Request>
    [[nodiscard]] result<detail::later<source, Request>> open_nameless(
        const Request& request, const detail::segment_plan& planned) const;
};

namespace detail {

/// The plan of a segment with these options, checked.
[[nodiscard]] inline result<void> plan_segment(segment_plan& out, std::size_t lanes,
                                               std::size_t capacity, const message_type& type,
                                               diagnostics& why) {
    out = {{lanes, capacity, type.alignment < 8 ? 8 : type.alignment}, type};
    if (out.shape.sane()) return {};
    return why.fail(errc::invalid_argument,
                    "a segment of " + std::to_string(lanes) + " lanes of " +
                        std::to_string(capacity) + " bytes: wants 1 to " +
                        std::to_string(shm_layout::lanes_max) +
                        " lanes, and a power of two from 4096 to 1073741824 bytes");
}

/// Only topics have chunks.
[[nodiscard]] inline result<void> without_chunks(std::size_t chunks, diagnostics& why) {
    if (chunks == 0) return {};
    return why.fail(errc::invalid_argument,
                    "chunks=" + std::to_string(chunks) +
                        ": only topics have chunks, as open_publisher makes them; loans and "
                        "borrows of a channel lie in its lanes, and are not copied either");
}

inline constexpr std::pair<std::string_view, waiting> waiting_words[] = {
    {"park", waiting::park}, {"spin_then_park", waiting::spin_then_park}, {"spin", waiting::spin}};
[[nodiscard]] inline std::string_view word_of(waiting w) noexcept {
    return waiting_words[static_cast<std::size_t>(w)].first;
}

template <class Reader>
void read_memory(Reader& r, memory_options& m) {
    constexpr std::pair<std::string_view, bool> words[] = {{"on", true}, {"off", false}};
    r.choice("prefault", m.prefault, words);
    r.choice("locked", m.locked, words);
    r.choice("huge_pages", m.huge_pages, words);
    r.number("numa_node", m.numa_node, 0, 1023);
}
inline void write_memory(uri_writer& w, const memory_options& m) {
    if (m.prefault) w.option("prefault", "on");
    if (m.locked) w.option("locked", "on");
    if (m.huge_pages) w.option("huge_pages", "on");
    if (m.numa_node >= 0) w.option("numa_node", static_cast<std::uint64_t>(m.numa_node));
}

/// Signals go to processes of the same user and PID namespace, on the word of the segment's owner.
[[nodiscard]] inline result<void> may_ring(const segment& seg, const std::string& path,
                                           diagnostics& why) {
    struct stat s {};
    if (!seg.rung_by_signals) return {};
    if (::fstat(seg.file.get(), &s) != 0 || s.st_uid != ::geteuid()) {
        return why.fail(errc::denied, path + " is rung by signals and belongs to user " +
                                          std::to_string(s.st_uid) +
                                          "; both ends must be of one user");
    }
    if (seg.pid_namespace == namespace_id("pid")) return {};
    return why.fail(errc::unsupported, path +
                                           " is rung by signals, and its receiver lives in "
                                           "another PID namespace; use ?bell=socket");
}

/// Calls `open` until it says something else than would_block, or the deadline passes. There is no
/// event for "this lock was taken", so it looks again, less and less often.
template <class Open>
[[nodiscard]] auto opened_by_and_by(const open_request& request, Open&& open) -> decltype(open()) {
    for (duration pause = std::chrono::milliseconds(1);;) {
        auto s = open();
        if (s || s.error() != errc::would_block || request.until == expired) return s;
        const auto now = clock::now();
        if (request.until != never && now >= request.until) return errc::timed_out;
        (void)poll_until(nullptr, 0, earlier(now + pause, request.until));
        pause = shorter(pause * 2, std::chrono::milliseconds(16));
    }
}

}  // namespace detail

template <std::same_as<uri> Uri>
result<detail::later<shm, Uri>> shm::from(const Uri& text, diagnostics& why) {
    shm at;
    detail::later<uri_reader, Uri> r(text, why);
    at.name = r.body();
    r.number("fd", at.fd, 0, INT_MAX);
    if (at.fd >= 0 && !at.name.empty()) r.fail_option("fd", "goes without a name, as in shm:?fd=3");
    r.number("capacity_bytes", at.with.capacity_bytes, shm_layout::capacity_bytes_min,
             shm_layout::capacity_bytes_max);
    r.number("writers_max", at.with.writers_max, 1, shm_layout::lanes_max);
    r.choice("wait", at.with.wait, detail::waiting_words);
    r.number("spin_us", at.with.spin_us, 0, 1'000'000);
    detail::read_permissions(r, at.with.permissions);
    if (const auto* d = r.option("directory")) at.with.directory = *d;
    r.choice("bell", at.with.bell, {{"socket", bell_kind::socket}, {"signal", bell_kind::signal}});
    detail::read_memory(r, at.with.memory);
    r.choice("copy", at.with.copy, {{"plain", copy::plain}, {"streaming", copy::streaming}});
    r.choice("resume", at.with.resume, {{"on", true}, {"off", false}});
    r.number("chunks", at.with.chunks, 1, shm_layout::chunks_max);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri shm::to_uri() const {
    const options usual;
    uri_writer w = fd < 0 ? uri_writer(scheme, name) : uri_writer(scheme);
    if (fd >= 0) w.option("fd", static_cast<std::uint64_t>(fd));
    if (with.capacity_bytes != usual.capacity_bytes)
        w.option("capacity_bytes", with.capacity_bytes);
    if (with.writers_max != usual.writers_max) w.option("writers_max", with.writers_max);
    if (with.wait != usual.wait) w.option("wait", detail::word_of(with.wait));
    if (with.spin_us != usual.spin_us) w.option("spin_us", with.spin_us);
    detail::write_permissions(w, with.permissions);
    if (with.directory != usual.directory) w.option("directory", with.directory);
    if (with.bell != usual.bell) w.option("bell", "signal");
    detail::write_memory(w, with.memory);
    if (with.copy != usual.copy) w.option("copy", "streaming");
    if (!with.resume) w.option("resume", "off");
    if (with.chunks != 0) w.option("chunks", with.chunks);
    return w.done();
}

template <std::same_as<open_request> Request>
result<detail::later<shm::source, Request>> shm::open_source(const Request& request) const {
    auto& why = *request.why;
    detail::segment_plan planned;
    if (auto r =
            detail::plan_segment(planned, with.writers_max, with.capacity_bytes, request.type, why);
        !r) {
        return r.error();
    }
    if (auto r = detail::without_chunks(with.chunks, why); !r) return r.error();
    planned.rung_by_signals = with.bell == bell_kind::signal;
    planned.resumes = with.resume;
    // Whoever may write the segment says which process is signalled: only ourselves may.
    if (planned.rung_by_signals &&
        (name.empty() || (with.permissions.mode & 0022) != 0 || !with.permissions.owner.empty())) {
        return why.fail(errc::invalid_argument,
                        "bell=signal wants a name, and a mode by which only its user writes");
    }
    if (name.empty()) return open_nameless(request, planned);
    detail::segment_creator creator(file(), planned, why);
    detail::segment seg;
    seg.memory = with.memory;
    if (auto r = creator.create(seg, detail::fresh_id()); !r) return r.error();
    using end = detail::later<source, Request>;
    return end::own(std::move(seg), {file().path()}, to_uri(), plan(), why);
}

/// A receiver without a name: who is given its descriptor can send.
template <class Request>
result<detail::later<shm::source, Request>> shm::open_nameless(
    const Request& request, const detail::segment_plan& planned) const {
    auto& why = *request.why;
    if (fd >= 0) {
        return why.fail(errc::invalid_argument,
                        "shm:?fd=n is for senders: the receiver makes its segment itself");
    }
    detail::segment seg;
    seg.memory = with.memory;
    if (auto r = detail::anonymous_segment(seg, planned, detail::fresh_id(), why); !r) {
        return r.error();
    }
    if (auto r = detail::try_lock(seg.file.get(), detail::reader_lock); !r) {
        return why.fail(r.error(), detail::explain("locking a memfd", errno));
    }
    // Others get a description of their own, or theirs would hold our lock when we are dead.
    auto invitation = std::make_shared<detail::unique_fd>();
    if (auto r = detail::reopen(seg.file.get(), *invitation); !r) {
        return why.fail(r.error(), detail::explain("reopening a memfd", errno));
    }
    const uri at = shm(invitation->get()).to_uri();
    using end = detail::later<source, Request>;
    return end::own(std::move(seg), {{}, std::move(invitation)}, at, plan(), why);
}

template <class Request>
result<detail::later<shm::sink, Request>> shm::try_open_sink(const Request& request) const {
    auto& why = *request.why;
    const std::string path = fd < 0 ? file().path() : "/proc/self/fd/" + std::to_string(fd);
    detail::segment seg;
    seg.memory = with.memory;
    seg.copy = with.copy;
    // What lies behind a descriptor is reached through a link of /proc, so links are followed
    // there.
    const int link = fd < 0 ? O_NOFOLLOW : 0;
    seg.file.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC | link));
    if (!seg.file) {
        const error_code ec = detail::last_error();
        return why.fail(ec == errc::not_found ? make_error_code(errc::would_block) : ec,
                        detail::explain("no receiver at " + path, errno));
    }
    if (auto r = seg.adopt(request.type, path, why); !r) {
        return r.error();
    }
    if (auto r = detail::may_ring(seg, path, why); !r) return r.error();
    if (!detail::is_locked(seg.file.get(), detail::reader_lock)) {
        return why.fail(errc::would_block,
                        "the receiver of " + path + " is dead and nobody took its place");
    }
    using end = detail::later<sink, Request>;
    return end::claim(std::move(seg), fd < 0 ? path : std::string(), to_uri(), plan(), false, why);
}

template <std::same_as<open_request> Request>
result<detail::later<shm::sink, Request>> shm::open_sink(const Request& request) const {
    if (fd < 0) {
        if (auto r = file().check(*request.why); !r) return r.error();
    }
    return detail::opened_by_and_by(request, [&] { return try_open_sink(request); });
}

template <std::same_as<open_request> Request>
result<detail::later<both_ends<shm::sink, shm::source>, Request>> shm::open_both(
    const Request& request) const {
    auto& why = *request.why;
    if (!name.empty()) {
        return why.fail(errc::invalid_argument,
                        "make_channel wants shm{} without a name; a named segment is opened by "
                        "open_receiver and open_sender");
    }
    if (auto r = detail::without_chunks(with.chunks, why); !r) return r.error();
    // Nobody else can find it, so there is one writer, whatever the options allow.
    detail::segment_plan planned;
    if (auto r = detail::plan_segment(planned, 1, with.capacity_bytes, request.type, why); !r) {
        return r.error();
    }
    detail::segment seg;
    seg.memory = with.memory;
    if (auto r = detail::anonymous_segment(seg, planned, detail::fresh_id(), why); !r) {
        return r.error();
    }
    // Each end has a description of its own, which a fork shares until the end is used.
    detail::segment writing = {
        {}, seg.shape, seg.id, seg.net_namespace, seg.owner_pid, seg.pid_namespace};
    writing.memory = with.memory;
    writing.copy = with.copy;
    writing.type = request.type;
    if (auto r = detail::reopen(seg.file.get(), writing.file); !r) {
        return why.fail(r.error(), detail::explain("reopening a memfd", errno));
    }
    if (auto r = detail::try_lock(seg.file.get(), detail::reader_lock + 1); !r) {
        return why.fail(r.error(), detail::explain("locking a memfd", errno));
    }
    using in_end = detail::later<source, Request>;
    auto in = in_end::own(std::move(seg), {}, to_uri(), plan(), why);
    if (!in) return in.error();
    using out_end = detail::later<sink, Request>;
    auto out = out_end::claim(std::move(writing), {}, to_uri(), plan(), true, why);
    if (!out) return out.error();
    return both_ends<sink, source>{std::move(*out), std::move(*in)};
}

}  // namespace v1
}  // namespace parley
