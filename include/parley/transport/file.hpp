// SPDX-License-Identifier: MIT
// An append-only log in files: messages that outlive every process, for one receiver and any
// number of followers.
#pragma once

#include <parley/store/report.hpp>
#include <parley/transport/file_sink.hpp>
#include <parley/transport/file_source.hpp>
#include <parley/transport/transport.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using detail::log_start;
using store::level;

/// The address of a log.
///
///     auto out = parley::open_sender<tick>(parley::file{"/var/lib/app/ticks"}).value();
///     out.send({7, 99.5}).value();                      // nobody need be there, now or ever
///     out.end().await(parley::level::synced).value();   // all sent so far is on stable storage
///     auto in = parley::open_receiver<tick>(parley::file{"/var/lib/app/ticks"}).value();
///     auto all = parley::open_receiver<tick>(parley::uri{"file:///var/lib/app/ticks?from=first"});
///
/// The log is made by whoever comes first and outlives all, until `remove` or `parley clean`. It
/// has one sender at a time and one receiver, whose place is kept: the next receiver goes on where
/// the last one stopped, however that ended. A message counts as received when it is handed out.
/// Followers (`from` first or next) keep no place, see every message and hold nobody up.
///
/// Levels: a message whose send succeeded is `visible`: in the file, safe from the death of every
/// process. `?await=synced` makes every send wait for stable storage; better, send many and
/// `await(level::synced)` once. Messages that are sent with try_loan and try_commit alone, by a
/// driver, are written together by the next flush.
///
/// After a loss of power the log is a prefix of what was sent, with at least all that was synced;
/// the receiver may then get again what it received last. The next sender cuts off what is torn.
///
/// Rotation: with `rotate_bytes` the log goes on in a new file when that is exceeded; of the older
/// ones those that the receiver is done with are removed down to `keep`. Files and their layout
/// stand in store/log_format.hpp.
///
/// Back-pressure: with `capacity_bytes` a sender waits while so much is unread by the receiver;
/// without, only a full disk stops it: room is reserved before a loan is lent, so that
/// `out_of_resources` means that nothing of the message was written.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Blocking: `send` writes
/// a file, and syncs it if told to, which no deadline shortens. Ends: when a sender closed and
/// everything was received, the receiver says `closed`; a sender's death is not noticed.
/// Errors of open: invalid_argument (the path); not_found (directory; followers: no log yet);
/// denied; in_use (a live receiver); out_of_resources (a live sender, or a full disk); incompatible
/// (the log is of another type: both are named); corrupt (no log, or damaged in what was synced).
/// Of receive: corrupt, with the place, when committed messages are damaged or cut off; everything
/// before was delivered; lagged: a follower's next messages were removed.
struct file {
    struct options {
        std::size_t capacity_bytes = 0;            ///< unread, at which senders wait; 0: no limit
        std::size_t message_bytes_max = 64 << 20;  ///< longer messages are refused
        std::size_t rotate_bytes = 0;              ///< of one file; 0: no rotation
        std::size_t keep = 8;                  ///< older files that stay although they were read
        log_start from = log_start::receiver;  ///< where a receiver begins
        level await = level::visible;          ///< what every send waits for
        parley::permissions permissions = {};  ///< of files that are made

        friend bool operator==(const options&, const options&) = default;
    };

    std::string path;
    options with = {};

    using sink = detail::file_sink;
    using source = detail::file_source;
    static constexpr std::string_view scheme = "file";

    file() = default;
    explicit file(std::string at) : path(std::move(at)) {}
    explicit file(const char* at) : path(at) {}
    file(std::string at, options o) : path(std::move(at)), with(o) {}

    [[nodiscard]] static result<file> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        const auto checked = check(*request.why);
        if (!checked) return checked.error();
        return sink::open(path, request, plan(*checked), to_uri());
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        const auto checked = check(*request.why);
        if (!checked) return checked.error();
        return source::open(path, request, plan(*checked), with.from, to_uri());
    }
    /// Removes the log with all its files. Ends that are open keep what they have.
    /// Errors: not_found, denied, corrupt (no log of parley: left alone).
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt.
    [[nodiscard]] result<store_report> report(diagnostics& why) const;

    friend bool operator==(const file&, const file&) = default;

private:
    static constexpr std::size_t least_bytes = 4096;

    [[nodiscard]] detail::file_plan plan(const detail::known_permissions& mode) const noexcept {
        return {with.capacity_bytes, with.rotate_bytes, with.keep, with.message_bytes_max, mode,
                with.await};
    }
    [[nodiscard]] result<detail::known_permissions> check(diagnostics& why) const {
        if (path.empty() || path.back() == '/' || path.size() > 4000) {
            return why.fail(errc::invalid_argument,
                            "file path '" + path + "': wants the path of a file, file:///var/x");
        }
        if (with.capacity_bytes == 0 || with.capacity_bytes >= least_bytes) {
            return detail::known_permissions::of(with.permissions, why);
        }
        return why.fail(errc::invalid_argument,
                        "capacity_bytes wants 0 or at least " + std::to_string(least_bytes));
    }
};

inline result<file> file::from(const uri& text, diagnostics& why) {
    file at;
    uri_reader r(text, why);
    at.path = r.body();
    if (at.path.empty()) r.fail_body("wants a path as in file:///var/x");
    r.number("capacity_bytes", at.with.capacity_bytes, least_bytes, INT64_MAX);
    r.number("message_bytes_max", at.with.message_bytes_max, 1, UINT32_MAX / 2);
    r.number("rotate_bytes", at.with.rotate_bytes, least_bytes, INT64_MAX);
    r.number("keep", at.with.keep, 0, UINT32_MAX);
    r.choice("from", at.with.from,
             {{"receiver", log_start::receiver},
              {"first", log_start::first},
              {"next", log_start::next}});
    r.choice("await", at.with.await,
             {{"visible", level::visible}, {"written", level::written}, {"synced", level::synced}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri file::to_uri() const {
    const options usual;
    uri_writer w(scheme, path);
    if (with.capacity_bytes != 0) w.option("capacity_bytes", with.capacity_bytes);
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.rotate_bytes != 0) w.option("rotate_bytes", with.rotate_bytes);
    if (with.keep != usual.keep) w.option("keep", with.keep);
    if (with.from != usual.from) w.option("from", with.from == log_start::first ? "first" : "next");
    if (with.await != usual.await) {
        w.option("await", with.await == level::written ? "written" : "synced");
    }
    detail::write_permissions(w, with.permissions);
    return w.done();
}

inline result<store_report> file::report(diagnostics& why) const {
    store::real_files fs;
    const store::log_names names{path};
    store::log_header h;
    detail::unique_fd f;
    if (const int e = fs.open(path, false, f); e != 0) {
        return why.fail(from_errno(e), detail::explain("opening " + path, e));
    }
    if (auto r = store::read_log_header(fs, f, path, h, why); !r) return r.error();
    store_report seen;
    if (auto r = seen.look_at_file(path, why); !r) return r.error();
    seen.look_at_roles(names.ends());
    seen.type.assign(h.description, h.description_bytes);
    seen.holds = "files: " + std::to_string(names.all_older(fs).size() + 1);
    store::log_ends ends;
    if (ends.look_at(names)) {
        const auto& p = ends.page();
        seen.holds += "; " + std::to_string(p.count) + " records ever, " +
                      std::to_string(p.tail - std::min(p.tail, p.head)) +
                      " bytes of them not received";
    }
    seen.limits = plan({}).limits(with.from != log_start::receiver);
    return seen;
}

inline result<void> file::remove(diagnostics& why) const {
    if (auto r = check(why); !r) return r.error();
    store::real_files fs;
    const store::log_names names{path};
    store::log_header h;
    detail::unique_fd f;
    int e = fs.open(path, false, f);
    if (e == 0) {
        if (auto r = store::read_log_header(fs, f, path, h, why);
            !r && r.error() == errc::corrupt && h.magic != store::log_magic) {
            return r;
        }
        for (const auto position : names.all_older(fs)) (void)fs.unlink(names.older(position));
        (void)fs.unlink(names.fresh());
        (void)fs.unlink(names.ends());
        e = fs.unlink(path);
    }
    if (e == 0) return {};
    return why.fail(from_errno(e), detail::explain("removing " + path, e));
}

}  // namespace v1
}  // namespace parley
