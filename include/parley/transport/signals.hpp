// SPDX-License-Identifier: MIT
// Real-time signals as a transport: many senders, one receiver, on any Linux, with nothing but the
// queue of signals that every process has.
#pragma once

#include <parley/transport/signals_sink.hpp>
#include <parley/transport/signals_source.hpp>
#include <parley/transport/transport.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {

/// What can be read of a receiver's post by looking on; nothing of it changes.
struct signals_report {
    bool alive = false;  ///< its receiver lives
    std::uint32_t owner_pid = 0, owner_uid = 0;
    std::vector<std::uint32_t> writers;  ///< the processes that send
    std::vector<int> numbers;            ///< of the lanes
    std::size_t payload_bytes = 0;       ///< of one signal
    std::string type;
    parley::limits limits;
};

/// The address of a channel over signals: `signals{"alarms"}` is `signals://alarms`.
///
///     auto in  = parley::open_receiver<alarm>(parley::signals{"alarms", {.lanes = 2}}).value();
///     auto out = parley::open_sender<alarm>(parley::signals{"alarms", {.lane = 1}}).value();
///     out.send({42}).value();       // up to 16 bytes: one signal
///
/// A signal carries 24 bytes (8 where the kernel carries no more), a message of frames as many
/// signals as it takes. Each lane is a signal number: a receiver of several takes what lies in a
/// lower lane first, order holds for each sender. A sender has at most `window` signals under way
/// until the receiver gives credit; a queue that is full (RLIMIT_SIGPENDING counts for all
/// processes of a user together) makes it wait and never loses a message.
///
/// Payload in shared memory with a signal as its doorbell is `shm{"x", {.bell =
/// bell_kind::signal}}`, shm://x?bell=signal: one signal for each sleep, never one a message.
///
/// The receiver is found by a small file, /dev/shm/parley-signals.alarms, which is locked while it
/// lives; both sides address each other by pidfd, so a PID that was used again is never hit. Both
/// must be of one user and in one PID namespace. Signals of others on its numbers are counted
/// (`in.end().foreign()`) and ignored, told by si_code, si_pid, si_uid and sequence; these are the
/// sender's words, so a process of the same user can forge them: trust your user's processes.
///
/// Numbers: an end claims what nobody in its process has (a sender one, a receiver one for each
/// lane; 27 in all, the last four stay yours) and blocks them in the thread that opens. Every other
/// thread must block them too, or a signal would end the process: open before starting threads,
/// which inherit it, or call parley::reserve_signals() first of all in main; open looks, and
/// refuses with `unsupported` if a thread would take them. What is exec'd inherits the mask.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: waits are epoll
/// on a signalfd. A death is noticed at once; that the receiver closed too, or if the queue is full
/// within 250 ms of waiting.
/// Errors of open: invalid_argument (the name, an option), in_use (a live receiver), denied
/// (another user), unsupported (another PID namespace, an unblocked thread), incompatible (type,
/// lane), corrupt (the file is no post), out_of_resources (numbers, places of senders,
/// descriptors), timed_out (nobody receives there).
struct signals {
    struct options {
        std::size_t message_bytes_max = 64 << 10;  ///< receiver: longer messages are refused
        std::size_t writers_max = 16;              ///< receiver: up to 64
        std::size_t window = 256;                  ///< receiver: signals under way of one sender
        std::size_t lanes = 1;                     ///< receiver: numbers, up to 16
        std::size_t lane = 0;                      ///< sender: which one; 0 is the most urgent
        std::size_t payload_bytes = 0;  ///< receiver: of one signal, 1 to 24; 0: what passes here
        std::string directory = "/dev/shm";  ///< of the file

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};

    using sink = detail::stream_sink<detail::signal_writer>;
    using source = detail::signal_source;
    static constexpr std::string_view scheme = "signals";

    signals() = default;
    explicit signals(std::string n) : name(std::move(n)) {}
    explicit signals(const char* n) : name(n) {}
    signals(std::string n, options o) : name(std::move(n)), with(std::move(o)) {}

    [[nodiscard]] static result<signals> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;

    /// Who is there now. Errors: not_found, denied, corrupt, and those of another PID namespace or
    /// user.
    [[nodiscard]] result<signals_report> look(diagnostics& why) const;

    friend bool operator==(const signals&, const signals&) = default;

private:
    [[nodiscard]] detail::post_name post() const {
        return {with.directory, "parley-signals.", name};
    }
    [[nodiscard]] result<void> check_shape(diagnostics& why) const;
    [[nodiscard]] result<sink> try_open_sink(const open_request& request) const;
};

namespace detail {

/// How many bytes of a signal arrive in this kernel: one is sent to ourselves.
[[nodiscard]] inline std::size_t payload_that_passes(int number) noexcept {
    const unique_fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    signal_packet there{.number = number, .word = 0x5a5a1234, .pid = ::getpid(), .uid = ::getuid()};
    for (std::size_t i = 0; i < there.payload.size(); ++i) {
        there.payload[i] = static_cast<std::byte>(i * 37 + 11);
    }
    signal_packet back;
    const bool came = self && there.send(self.get()) == 0 && take_signal_now(mask_of(number), back);
    // A queue that is full now says nothing; every kernel since 2.6 carries it all.
    return !came || back.payload == there.payload ? signal_packet::payload_bytes_max
                                                  : signal_packet::payload_bytes_sure;
}

}  // namespace detail

inline result<signals> signals::from(const uri& text, diagnostics& why) {
    signals at;
    uri_reader r(text, why);
    at.name = r.body();
    if (at.name.empty()) r.fail_body("wants a name, as in signals://alarms");
    r.number("message_bytes_max", at.with.message_bytes_max, 1, 64 << 20);
    r.number("writers_max", at.with.writers_max, 1, detail::signal_slots_max);
    r.number("window", at.with.window, 2, 4096);
    r.number("lanes", at.with.lanes, 1, detail::signal_lanes_max);
    r.number("lane", at.with.lane, 0, detail::signal_lanes_max - 1);
    r.number("payload_bytes", at.with.payload_bytes, 0, detail::signal_packet::payload_bytes_max);
    if (const auto* d = r.option("directory")) at.with.directory = *d;
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri signals::to_uri() const {
    const options usual;
    uri_writer w(scheme, name);
    const auto number = [&](std::string_view word, std::size_t options::*member) {
        if (with.*member != usual.*member) w.option(word, with.*member);
    };
    number("message_bytes_max", &options::message_bytes_max);
    number("writers_max", &options::writers_max);
    number("window", &options::window);
    number("lanes", &options::lanes);
    number("lane", &options::lane);
    number("payload_bytes", &options::payload_bytes);
    if (with.directory != usual.directory) w.option("directory", with.directory);
    return w.done();
}

inline result<void> signals::check_shape(diagnostics& why) const {
    const auto within = [&](std::string_view word, std::size_t n, std::size_t least,
                            std::size_t most) -> bool {
        if (n >= least && n <= most) return true;
        why.fail(errc::invalid_argument, "signals option " + std::string(word) + " wants " +
                                             std::to_string(least) + " to " + std::to_string(most) +
                                             ", not " + std::to_string(n));
        return false;
    };
    if (within("message_bytes_max", with.message_bytes_max, 1, 64 << 20) &&
        within("writers_max", with.writers_max, 1, detail::signal_slots_max) &&
        within("window", with.window, 2, 4096) &&
        within("lanes", with.lanes, 1, detail::signal_lanes_max) &&
        within("payload_bytes", with.payload_bytes, 0, detail::signal_packet::payload_bytes_max)) {
        return {};
    }
    return errc::invalid_argument;
}

inline result<signals::sink> signals::try_open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    const auto path = post().path();
    auto found = detail::find_post(post(), detail::post_page::kind::channel, why);
    if (!found) return found.error();
    detail::signals_notice notice;
    if (!notice.read(found->page)) {
        return why.fail(errc::corrupt, path + " is a post that no receiver of parley wrote");
    }
    if (!accepts({notice.fingerprint, {}}, request.type.fingerprint)) {
        return why.fail(errc::incompatible,
                        type_mismatch(detail::signals_notice::description(found->page),
                                      request.type.description));
    }
    if (with.lane >= notice.lanes) {
        return why.fail(errc::incompatible, "lane " + std::to_string(with.lane) + " of " + path +
                                                ", which has " + std::to_string(notice.lanes) +
                                                "; raise ?lanes=… at the receiver");
    }
    auto writer = detail::signal_writer::enter(std::move(*found), notice, with.lane, path, why);
    if (!writer) return writer.error();
    return sink(std::move(*writer), request.type, to_uri(),
                {.message_bytes_max = static_cast<std::size_t>(notice.message_bytes_max),
                 .writers_max = static_cast<std::size_t>(notice.writers_max)});
}

inline result<signals::sink> signals::open_sink(const open_request& request) const {
    if (auto ok = post().check(*request.why); !ok) return ok.error();
    return detail::opened_in_time(request.until, [&] { return try_open_sink(request); });
}

inline result<signals::source> signals::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    if (auto ok = post().check(why); !ok) return ok.error();
    if (auto ok = check_shape(why); !ok) return ok.error();
    auto numbers = detail::claimed_signals::claim(with.lanes, why);
    if (!numbers) return numbers.error();
    detail::signals_notice notice{.fingerprint = request.type.fingerprint,
                                  .message_bytes_max = with.message_bytes_max,
                                  .window = static_cast<std::uint32_t>(with.window),
                                  .writers_max = with.writers_max,
                                  .lanes = static_cast<std::uint32_t>(with.lanes)};
    const std::size_t passes = detail::payload_that_passes(numbers->number());
    notice.payload_bytes = static_cast<std::uint32_t>(
        with.payload_bytes == 0 ? passes : std::min(with.payload_bytes, passes));
    for (std::size_t i = 0; i < with.lanes; ++i) {
        notice.numbers[i] = static_cast<std::uint8_t>(numbers->number(i));
    }
    detail::post_page page;
    page.sign(detail::post_page::kind::channel);
    notice.write(page, request.type.description);
    auto file = detail::make_post(
        post(), page,
        detail::post_page::bytes + detail::signal_slots_max * detail::signal_slot::bytes, why);
    if (!file) return file.error();
    return source::open({std::move(*numbers), std::move(*file), post().path()}, notice,
                        request.type, to_uri(), why);
}

inline result<signals_report> signals::look(diagnostics& why) const {
    if (auto ok = post().check(why); !ok) return ok.error();
    const auto path = post().path();
    detail::found_post found;
    if (auto r = found.open(path, detail::post_page::kind::channel, why); !r) {
        return r.error() == errc::would_block ? make_error_code(errc::not_found) : r.error();
    }
    detail::signals_notice notice;
    if (!notice.read(found.page)) {
        return why.fail(errc::corrupt, path + " is a post that no receiver of parley wrote");
    }
    signals_report seen{.alive = found.owned(),
                        .owner_pid = found.page.pid(),
                        .owner_uid = found.page.uid(),
                        .writers = {},
                        .numbers = {notice.numbers.begin(), notice.numbers.begin() + notice.lanes},
                        .payload_bytes = notice.payload_bytes,
                        .type = std::string(detail::signals_notice::description(found.page)),
                        .limits = notice.limits()};
    for (std::size_t i = 0; i < notice.writers_max; ++i) {
        detail::signal_slot one;
        if (detail::is_locked(found.file.get(), detail::writer_lock(i)) &&
            one.read(found.file.get(), i) && one.taken()) {
            seen.writers.push_back(one.pid);
        }
    }
    return seen;
}

}  // namespace v1
}  // namespace parley
