// SPDX-License-Identifier: MIT
// The last value, in a file: whoever looks sees it whole, now or after a crash.
#pragma once

#include <parley/store/report.hpp>
#include <parley/transport/snapshot_sink.hpp>
#include <parley/transport/snapshot_source.hpp>
#include <parley/transport/transport.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using store::level;

/// The address of a snapshot.
///
///     auto out = parley::open_sender<state>(parley::snapshot{"/var/lib/app/state"}).value();
///     out.send(now).value();                            // on stable storage, in place of the old
///     auto in = parley::open_receiver<state>(parley::snapshot{"/var/lib/app/state"}).value();
///     state s = in.receive().value();                   // the last one; then each newer one
///
/// One sender at a time, any number of receivers, each of which gets the value that is there and
/// then the newest one whenever it was replaced. Values that were replaced before a receiver could
/// look are skipped, which is the point; `in.end().skipped()` counts them (limits(): lossy).
///
/// A value is written to a file beside, synced, renamed, and the directory synced: a crash at any
/// moment leaves the old value or the new one. `?await=visible` leaves the syncing out: then only
/// the death of processes does no harm.
///
/// Thread safety: as any end, one thread at a time. Lifetime: one view at a time. Blocking: `send`
/// waits for the disk, never for receivers; a receiver sleeps until the file is replaced (inotify).
/// Ends: the value stays, so no end is told. Errors of open: invalid_argument; not_found
/// (directory); denied; out_of_resources (a live sender); incompatible (the value is of another
/// type: both are named); corrupt (no snapshot; receivers: a damaged one, which the next value
/// mends). Of send: out_of_resources, denied: the old value stays.
struct snapshot {
    struct options {
        std::size_t message_bytes_max = 64 << 20;  ///< longer values are refused
        level await = level::synced;               ///< visible: without syncing
        parley::permissions permissions = {};      ///< of the files that are made

        friend bool operator==(const options&, const options&) = default;
    };

    std::string path;
    options with = {};

    using sink = detail::snapshot_sink;
    using source = detail::snapshot_source;
    static constexpr std::string_view scheme = "snapshot";

    snapshot() = default;
    explicit snapshot(std::string at) : path(std::move(at)) {}
    explicit snapshot(const char* at) : path(at) {}
    snapshot(std::string at, options o) : path(std::move(at)), with(o) {}

    [[nodiscard]] static result<snapshot> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        const auto checked = check(*request.why);
        if (!checked) return checked.error();
        if (auto r = check(request.type, *request.why); !r) return r.error();
        return sink::open(path, request, plan(*checked), to_uri());
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        const auto checked = check(*request.why);
        if (!checked) return checked.error();
        if (auto r = check(request.type, *request.why); !r) return r.error();
        return source::open(path, request, plan(*checked), to_uri());
    }
    /// Removes the value. Errors: not_found, denied, corrupt (no snapshot: left alone).
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt.
    [[nodiscard]] result<store_report> report(diagnostics& why) const;

    friend bool operator==(const snapshot&, const snapshot&) = default;

private:
    [[nodiscard]] detail::snapshot_plan plan(const detail::known_permissions& mode) const noexcept {
        return {with.message_bytes_max, mode, with.await != level::visible};
    }
    [[nodiscard]] static result<void> check(const message_type& type, diagnostics& why) {
        if (store::fits_snapshot(type)) return {};
        return why.fail(errc::unsupported, "a snapshot aligns its value to 512 KiB at most, " +
                                               std::string(type.description) + " wants " +
                                               std::to_string(type.alignment) + " bytes");
    }
    [[nodiscard]] result<detail::known_permissions> check(diagnostics& why) const {
        if (!path.empty() && path.back() != '/' && path.size() <= 4000) {
            return detail::known_permissions::of(with.permissions, why);
        }
        return why.fail(errc::invalid_argument, "snapshot path '" + path +
                                                    "': wants the path of a file, "
                                                    "snapshot:///var/x");
    }
};

inline result<snapshot> snapshot::from(const uri& text, diagnostics& why) {
    snapshot at;
    uri_reader r(text, why);
    at.path = r.body();
    if (at.path.empty()) r.fail_body("wants a path as in snapshot:///var/x");
    r.number("message_bytes_max", at.with.message_bytes_max, 1, UINT32_MAX);
    r.choice("await", at.with.await, {{"visible", level::visible}, {"synced", level::synced}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri snapshot::to_uri() const {
    const options usual;
    uri_writer w(scheme, path);
    if (with.message_bytes_max != usual.message_bytes_max) {
        w.option("message_bytes_max", with.message_bytes_max);
    }
    if (with.await != usual.await) w.option("await", "visible");
    detail::write_permissions(w, with.permissions);
    return w.done();
}

inline result<store_report> snapshot::report(diagnostics& why) const {
    store::real_files fs;
    detail::unique_fd f;
    if (const int e = fs.open(path, false, f); e != 0) {
        return why.fail(from_errno(e), detail::explain("opening " + path, e));
    }
    store::snapshot_image image(any_type);
    const auto value = image.read(fs, f, path, std::numeric_limits<std::uint64_t>::max(), why);
    if (!value) return value.error();
    store_report seen;
    if (auto r = seen.look_at_file(path, why); !r) return r.error();
    seen.look_at_roles(path + ".lock");
    seen.type = image.description();
    seen.holds = "value " + std::to_string(image.stamp()->sequence) + ", of " +
                 std::to_string(value->size()) + " bytes";
    seen.limits = plan({}).limits();
    return seen;
}

inline result<void> snapshot::remove(diagnostics& why) const {
    store::real_files fs;
    detail::unique_fd f;
    std::uint64_t magic = 0;
    int e = fs.open(path, false, f);
    if (e == 0) {
        (void)fs.read_at(f, 0, {reinterpret_cast<std::byte*>(&magic), sizeof magic});
        if (magic != store::snapshot_magic) {
            return why.fail(errc::corrupt, path + " is no snapshot of parley; it is left alone");
        }
        (void)fs.unlink(path + ".next");
        (void)fs.unlink(path + ".lock");
        e = fs.unlink(path);
    }
    if (e == 0) return {};
    return why.fail(from_errno(e), detail::explain("removing " + path, e));
}

}  // namespace v1
}  // namespace parley
