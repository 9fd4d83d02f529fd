// SPDX-License-Identifier: MIT
// A ring in a mapped file: shared memory that outlives its processes, and the machine's power.
#pragma once

#include <parley/store/report.hpp>
#include <parley/transport/mmap_sink.hpp>
#include <parley/transport/mmap_source.hpp>
#include <parley/transport/transport.hpp>

#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

using store::level;

/// The address of a ring in a mapped file.
///
///     auto out = parley::open_sender<tick>(parley::mmap{"/var/lib/app/ring"}).value();
///     out.send({7, 99.5}).value();                      // and exit
///     out.end().await(parley::level::synced).value();   // or first wait for stable storage
///     auto in = parley::open_receiver<tick>(parley::mmap{"/var/lib/app/ring"}).value();  // later
///
/// The file is made by whoever comes first, with all its room reserved, and outlives all, until
/// `remove` or `parley clean`. It has one sender and one receiver at a time; the next receiver goes
/// on where the last one stopped. A message counts as received when it is handed out.
///
/// A loan and a borrow are the memory of the file itself. Whoever is killed leaves whole messages;
/// after a loss of power at least those that were synced are there, in order, none torn (see
/// store/ring.hpp); the receiver may then get again what it received last. `?await=synced` makes
/// every send wait for the disk; better, send many and `await(level::synced)` once.
///
/// Thread safety: as any end, one thread at a time; ends are independent. Lifetime: one view at a
/// time, valid until destroyed. Blocking: `send` waits while the ring is full. Ends: when a sender
/// closed and everything was received, the receiver says `closed`; a death is not noticed.
/// A ring of up to 16 MiB is brought into memory when it is opened, so that no message of the first
/// lap waits for a page.
/// pollable(): who rings is a process; if it is killed between a commit and the bell, the
/// descriptor shows the message with the next one or the next sender, a `receive` within 50 ms.
/// Errors of open: invalid_argument (path, capacity); not_found (directory); denied; in_use (a live
/// receiver); out_of_resources (a live sender, or no room for the file); incompatible (type,
/// capacity or layout, named); corrupt (no ring, truncated, or damaged in what was synced). Of
/// receive: corrupt, with the place; everything before it was delivered.
///
/// A file that somebody truncates is refused at open and noticed soon; whoever may write it could
/// still do so between a look and a touch, which is SIGBUS, as with a named segment of `shm`.
struct mmap {
    struct options {
        std::size_t capacity_bytes = 0;  ///< a power of two; 0: as it is, or 4 MiB if it is made
        parley::permissions permissions = {};  ///< of a file that is made
        waiting wait = waiting::spin_then_park;
        level await = level::visible;  ///< what every send waits for

        friend bool operator==(const options&, const options&) = default;
    };

    std::string path;
    options with = {};

    using sink = detail::mmap_sink;
    using source = detail::mmap_source;
    static constexpr std::string_view scheme = "mmap";
    static constexpr std::size_t usual_capacity_bytes = std::size_t{4} << 20;

    mmap() = default;
    explicit mmap(std::string at) : path(std::move(at)) {}
    explicit mmap(const char* at) : path(at) {}
    mmap(std::string at, options o) : path(std::move(at)), with(o) {}

    [[nodiscard]] static result<mmap> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        const auto checked = check(request.type, *request.why);
        if (!checked) return checked.error();
        return sink::open(path, request, plan(request.type, *checked), to_uri());
    }
    [[nodiscard]] result<source> open_source(const open_request& request) const {
        const auto checked = check(request.type, *request.why);
        if (!checked) return checked.error();
        return source::open(path, request, plan(request.type, *checked), to_uri());
    }
    /// Removes the file. Ends that are open keep what they have. Errors: not_found, denied, corrupt
    /// (no ring of parley: left alone).
    result<void> remove(diagnostics& why) const;
    /// What is there now. Errors: not_found, denied, corrupt.
    [[nodiscard]] result<store_report> report(diagnostics& why) const;

    friend bool operator==(const mmap&, const mmap&) = default;

private:
    [[nodiscard]] store::ring_shape shape(const message_type& type) const noexcept {
        return {with.capacity_bytes == 0 ? usual_capacity_bytes : with.capacity_bytes,
                std::max<std::size_t>(8, type.alignment)};
    }
    [[nodiscard]] detail::ring_plan plan(const message_type& type,
                                         const detail::known_permissions& mode) const noexcept {
        return {.shape = shape(type),
                .any_capacity = with.capacity_bytes == 0,
                .mode = mode,
                .waits = {.how = with.wait},
                .await = with.await};
    }
    [[nodiscard]] result<detail::known_permissions> check(const message_type& type,
                                                          diagnostics& why) const {
        if (path.empty() || path.back() == '/' || path.size() > 4000) {
            return why.fail(errc::invalid_argument,
                            "mmap path '" + path + "': wants the path of a file, mmap:///var/x");
        }
        if (shape(type).sane()) return detail::known_permissions::of(with.permissions, why);
        return why.fail(errc::invalid_argument,
                        "capacity_bytes wants a power of two from 4096 on, not " +
                            std::to_string(with.capacity_bytes) +
                            ", and a type an alignment of at most 1024");
    }
};

inline result<mmap> mmap::from(const uri& text, diagnostics& why) {
    mmap at;
    uri_reader r(text, why);
    at.path = r.body();
    if (at.path.empty()) r.fail_body("wants a path as in mmap:///var/x");
    r.number("capacity_bytes", at.with.capacity_bytes, store::ring_capacity_min,
             store::ring_capacity_max);
    if ((at.with.capacity_bytes & (at.with.capacity_bytes - 1)) != 0) {
        r.fail_option("capacity_bytes", "wants a power of two");
    }
    r.choice("wait", at.with.wait,
             {{"park", waiting::park},
              {"spin_then_park", waiting::spin_then_park},
              {"spin", waiting::spin}});
    r.choice("await", at.with.await,
             {{"visible", level::visible}, {"written", level::written}, {"synced", level::synced}});
    detail::read_permissions(r, at.with.permissions);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri mmap::to_uri() const {
    const options usual;
    uri_writer w(scheme, path);
    if (with.capacity_bytes != 0) w.option("capacity_bytes", with.capacity_bytes);
    if (with.wait != usual.wait) w.option("wait", with.wait == waiting::park ? "park" : "spin");
    if (with.await != usual.await) {
        w.option("await", with.await == level::written ? "written" : "synced");
    }
    detail::write_permissions(w, with.permissions);
    return w.done();
}

inline result<store_report> mmap::report(diagnostics& why) const {
    store::real_files fs;
    detail::unique_fd f;
    if (const int e = fs.open(path, false, f); e != 0) {
        return why.fail(from_errno(e), detail::explain("opening " + path, e));
    }
    store::ring_header h{};
    store::ends_page p{};
    const auto n = ::pread(f.get(), &h, sizeof h, 0);
    const auto shape =
        store::ring_file::check(h, n < 0 ? 0 : static_cast<std::size_t>(n), fs.size(f), path, why);
    if (!shape) return shape.error();
    store_report seen;
    if (auto r = seen.look_at_file(path, why); !r) return r.error();
    seen.look_at_roles(path);
    seen.type.assign(h.description, h.description_bytes);
    (void)!::pread(f.get(), &p, sizeof p, store::ring_page_bytes);
    seen.holds = std::to_string(p.tail - std::min(p.tail, p.head)) + " of " +
                 std::to_string(shape->capacity) + " bytes not received; " +
                 std::to_string(p.count) + " records ever";
    seen.limits = detail::ring_limits(*shape);
    return seen;
}

inline result<void> mmap::remove(diagnostics& why) const {
    store::real_files fs;
    detail::unique_fd f;
    std::uint64_t magic = 0;
    int e = fs.open(path, false, f);
    if (e == 0) {
        (void)!::pread(f.get(), &magic, sizeof magic, 0);
        if (magic != store::ring_magic) {
            return why.fail(errc::corrupt, path + " is no ring of parley; it is left alone");
        }
        e = fs.unlink(path);
    }
    if (e == 0) return {};
    return why.fail(from_errno(e), detail::explain("removing " + path, e));
}

}  // namespace v1
}  // namespace parley
