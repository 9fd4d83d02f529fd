// SPDX-License-Identifier: MIT
// A directory of messages, one file each: persistent, shared by several receivers, and open to
// shell scripts.
#pragma once

#include <parley/store/report.hpp>
#include <parley/transport/kernel_queue_sink.hpp>
#include <parley/transport/kernel_queue_source.hpp>
#include <parley/transport/maildir_queue.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using store::level;

/// The address of a mail directory.
///
///     auto out = parley::open_sender<std::string>(parley::maildir{"/var/spool/app"}).value();
///     out.send("print page 7").value();                 // a file in /var/spool/app/new
///     auto in = parley::open_receiver<std::string>(parley::maildir{"/var/spool/app"}).value();
///
/// With a script, `frame` none makes the message the whole content of its file:
///
///     parley recv 'maildir:///var/spool/app?frame=none'
///     echo hello >/var/spool/app/tmp/x && mv /var/spool/app/tmp/x /var/spool/app/new/
///
/// A receiver claims a message by moving it to cur/, so several that are all `shared` share the
/// work; each message goes to one of them. It counts as received, and its file goes (or with `keep`
/// stays in cur/, marked as seen), before it is handed out. What a killed receiver had claimed and
/// not yet handed out waits again when the next one opens.
///
/// It is made by whoever comes first and outlives all; `remove` and `parley clean` take it away.
/// Order: FIFO for each sender. Ends: as of kernel queues: an end record follows what a sender that
/// closes has sent, if frames travel; deaths are not noticed.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Lifetime: one view at a
/// time. Blocking: `send` makes a file, and with `await` synced waits for the disk; it waits for
/// room if `messages` of them wait. A receiver sleeps until something is moved in.
/// Errors of open: invalid_argument (the path), not_found (the directory above), denied, in_use (a
/// live receiver; `shared` ones go together). Of send: out_of_resources (a full disk; nothing of
/// the message is there; open again). Of receive: incompatible, corrupt: that file is gone, the
/// next call goes on behind it.
struct maildir {
    struct options {
        std::size_t messages = 0;                 ///< that may wait before senders do; 0: any
        std::size_t message_bytes_max = 1 << 20;  ///< longer messages are refused
        bool shared = false;                      ///< receivers that all say so share the work
        bool keep = false;                        ///< received messages stay in cur/
        detail::framing frame = detail::framing::parley;
        level await = level::visible;          ///< synced: every send waits for stable storage
        parley::permissions permissions = {};  ///< of what is made

        friend bool operator==(const options&, const options&) = default;
    };

    std::string path;
    options with = {};

    using sink = detail::queue_sink<detail::maildir_queue>;
    using source = detail::queue_source<detail::maildir_queue>;
    static constexpr std::string_view scheme = "maildir";

    maildir() = default;
    explicit maildir(std::string at) : path(std::move(at)) {}
    explicit maildir(const char* at) : path(at) {}
    maildir(std::string at, options o) : path(std::move(at)), with(o) {}

    [[nodiscard]] static result<maildir> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    /// Removes the directory and all messages. Errors: not_found, denied, corrupt (other files
    /// stand in it: they are left alone).
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt.
    [[nodiscard]] result<store_report> report(diagnostics& why) const;

    friend bool operator==(const maildir&, const maildir&) = default;

private:
    [[nodiscard]] bool framed() const noexcept { return with.frame == detail::framing::parley; }
    [[nodiscard]] result<detail::maildir_queue> open(bool receives, diagnostics& why) const {
        if (path.empty() || path.size() > 3800) {
            return why.fail(errc::invalid_argument,
                            "maildir path '" + path + "': wants a directory, maildir:///var/x");
        }
        const auto to = detail::known_permissions::of(with.permissions, why);
        if (!to) return to.error();
        const std::size_t header = framed() ? detail::queue_record::header_bytes : 0;
        detail::maildir_queue q({path, with.message_bytes_max + header, with.messages, *to,
                                 with.await == level::synced, with.keep},
                                receives);
        if (auto r = q.open(why); !r) return r.error();
        return q;
    }
    [[nodiscard]] detail::queue_options for_ends() const noexcept {
        return {.framed = framed(), .shared = with.shared};
    }
};

inline result<maildir> maildir::from(const uri& text, diagnostics& why) {
    maildir at;
    uri_reader r(text, why);
    at.path = r.body();
    if (at.path.empty()) r.fail_body("wants a directory as in maildir:///var/x");
    r.number("messages", at.with.messages, 0, UINT32_MAX);
    r.number("message_bytes_max", at.with.message_bytes_max, 1, 1 << 30);
    r.choice("shared", at.with.shared, {{"no", false}, {"yes", true}});
    r.choice("keep", at.with.keep, {{"no", false}, {"yes", true}});
    r.choice("frame", at.with.frame,
             {{"parley", detail::framing::parley}, {"none", detail::framing::none}});
    r.choice("await", at.with.await, {{"visible", level::visible}, {"synced", level::synced}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri maildir::to_uri() const {
    const options usual;
    uri_writer w(scheme, path);
    if (with.messages != 0) w.option("messages", with.messages);
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.shared) w.option("shared", "yes");
    if (with.keep) w.option("keep", "yes");
    if (!framed()) w.option("frame", "none");
    if (with.await != usual.await) w.option("await", "synced");
    detail::write_permissions(w, with.permissions);
    return w.done();
}

inline result<maildir::sink> maildir::open_sink(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(false, why);
    if (!queue) return queue.error();
    const auto taken = detail::queue_places::enter_as_sender(queue->places());
    if (!taken) return why.fail(taken.error(), "taking a sender's place at " + path);
    queue->set_place(*taken);
    return sink(std::move(*queue), *taken, request.type, to_uri(), for_ends());
}

inline result<maildir::source> maildir::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    auto queue = open(true, why);
    if (!queue) return queue.error();
    const auto r = detail::queue_places::enter_as_receiver(queue->places(), with.shared);
    if (!r) {
        return why.fail(r.error(), r.error() == errc::in_use
                                       ? path +
                                             " has a live receiver; several may share the work "
                                             "if all of them say ?shared=yes"
                                       : "taking the receiver's place at " + path);
    }
    return source(std::move(*queue), request.type, to_uri(), for_ends());
}

inline result<store_report> maildir::report(diagnostics& why) const {
    store_report seen;
    if (auto r = seen.look_at_file(path, why); !r) return r.error();
    const std::string box = path + "/new";
    const detail::unique_fd d(::open(box.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    detail::name_list all;
    if (!d || !all.read(d.get())) {
        return why.fail(from_errno(errno), detail::explain("looking at " + box, errno));
    }
    seen.holds = std::to_string(all.size()) + " messages that wait";
    const detail::unique_fd places(::open((path + "/.parley").c_str(), O_RDWR | O_CLOEXEC));
    std::vector<std::uint32_t> nobody;
    seen.receiver = places && detail::queue_places::has_receiver(places.get());
    seen.sender = places && detail::queue_places::has_sender(places.get(), nobody);
    const std::size_t header = framed() ? detail::queue_record::header_bytes : 0;
    seen.limits =
        detail::queue_limits(with.message_bytes_max + header, framed(), with.shared, true);
    return seen;
}

inline result<void> maildir::remove(diagnostics& why) const {
    const auto failed = [&](const std::string& what) {
        return why.fail(errno == ENOTEMPTY ? make_error_code(errc::corrupt) : from_errno(errno),
                        detail::explain("removing " + what, errno));
    };
    detail::name_list all;
    for (const char* part : {"/new", "/cur", "/tmp"}) {
        const std::string box = path + part;
        const detail::unique_fd d(::open(box.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!d || !all.read(d.get())) return failed(box);
        for (; !all.empty(); all.pop()) (void)::unlinkat(d.get(), all.front(), 0);
        if (::rmdir(box.c_str()) != 0) return failed(box);
    }
    (void)::unlink((path + "/.parley").c_str());
    return ::rmdir(path.c_str()) == 0 ? result<void>() : failed(path);
}

}  // namespace v1
}  // namespace parley
