// SPDX-License-Identifier: MIT
// The receiving end of a snapshot, which sees the last value.
#pragma once

#include <parley/transport/snapshot_sink.hpp>
#include <parley/transport/stream_source.hpp>

#include <sys/inotify.h>

#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The source of `snapshot`.
class snapshot_source {
    struct core;

public:
    using view = buffered_view;

    result<view> try_receive() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        if (!c.find()) {
            c.ready.lower();
            return errc::would_block;
        }
        c.found = false;
        if (c.verdict) return std::exchange(c.verdict, error_code());
        return view(&c.borrowed, c.value);
    }
    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.borrowed) return wait_for(c.inotify.get(), POLLIN, until);
        while (!c.failed && !c.find()) {
            c.ready.lower();
            if (auto r = wait_for(c.inotify.get(), POLLIN, until); !r) return r;
        }
        return {};
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (c.ready.made()) return c.ready.get();
        auto fd = c.ready.add(c.inotify.get(), EPOLLIN);
        if (fd && (c.found || !c.armed)) (void)c.ready.raise();
        return fd;
    }
    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// The number of the value that was received last, and when it was written.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->seen.sequence; }
    [[nodiscard]] std::uint64_t time() const noexcept { return core_->seen.time; }
    /// How many values were replaced before this end, since its first one, could see them.
    [[nodiscard]] std::uint64_t skipped() const noexcept { return core_->skipped; }
    /// A snapshot does not tell; always 0.
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return 0; }
    [[nodiscard]] parley::limits limits() const noexcept { return core_->plan.limits(); }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    [[nodiscard]] static result<snapshot_source> open(const std::string& path,
                                                      const open_request& request,
                                                      const snapshot_plan& plan, uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return snapshot_source(std::move(c));
    }

private:
    struct core final : fork_sensitive {
        core(std::string p, const message_type& t, const snapshot_plan& o, uri a)
            : path(std::move(p)),
              name(store::name_of(path)),
              type(t),
              plan(o),
              address(std::move(a)),
              room(t.alignment) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            inotify.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
            const std::string directory = store::directory_of(path);
            if (!inotify ||
                ::inotify_add_watch(inotify.get(), directory.c_str(), IN_MOVED_TO) < 0) {
                return words.fail(last_error(), explain("watching " + directory, errno));
            }
            // A value of another type, or none of ours, is refused here and now.
            if (find() && verdict) {
                words = why;
                return verdict;
            }
            return {};
        }
        /// True if there is a value that was not received, or an error to tell.
        bool find() {
            if (found) return true;
            if (armed && !renamed()) return false;
            (void)renamed();  // what is looked at now is not older than this
            armed = true;
            found = look();
            if (found) (void)ready.raise();
            return found;
        }
        bool look() {
            unique_fd f;
            const int e = files.open(path, false, f);
            if (e == ENOENT) return false;
            if (e != 0) {
                failed = verdict = why.fail(from_errno(e), explain("opening " + path, e));
                return true;
            }
            return read(f);
        }
        bool read(unique_fd& f) {
            store::snapshot_header h;
            const auto got = store::read_snapshot(
                files, f, path, h,
                [this](std::size_t n) {
                    return n > plan.message_bytes_max ? nullptr : room.get(n);
                },
                why);
            if (!got) {
                verdict = got.error();
            } else if (!accepts(type, h.fingerprint)) {
                verdict = why.fail(
                    errc::incompatible,
                    path + ": " +
                        type_mismatch(type.description, {h.description, h.description_bytes}));
            } else if (h.sequence == seen.sequence && h.time == seen.time) {
                return false;
            } else {
                value = *got;
                if (seen.sequence != 0 && h.sequence > seen.sequence) {
                    skipped += h.sequence - seen.sequence - 1;
                }
                seen = h;
            }
            return true;
        }
        /// Takes all that inotify knows; true if our name was among it.
        bool renamed() noexcept {
            alignas(inotify_event) char events[8192];
            bool ours = false;
            for (ssize_t n; (n = ::read(inotify.get(), events, sizeof events)) > 0;) {
                for (ssize_t at = 0; at < n;) {
                    inotify_event e;
                    std::memcpy(&e, events + at, sizeof e);
                    ours |= (e.mask & IN_Q_OVERFLOW) != 0 ||
                            (e.len > 0 && name == events + at + sizeof e);
                    at += static_cast<ssize_t>(sizeof e + e.len);
                }
            }
            return ours;
        }
        void shut() noexcept {
            ready.reset();
            inotify.reset();
            failed = errc::closed;
        }

        store::real_files files;
        std::string path, name;
        message_type type;
        snapshot_plan plan;
        uri address;
        diagnostics why;
        value_room room;
        readiness ready;
        unique_fd inotify;
        store::snapshot_header seen{};
        bytes value;
        std::uint64_t skipped = 0;
        error_code verdict, failed;
        bool found = false;
        bool armed = false;  // it was looked at, and inotify knew of nothing since
        bool borrowed = false;
    };

    explicit snapshot_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
