// SPDX-License-Identifier: MIT
// The receiving end of a snapshot, which sees the last value.
#pragma once

#include <parley/detail/changes.hpp>
#include <parley/transport/snapshot_sink.hpp>
#include <parley/transport/stream_source.hpp>

#include <cstring>
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
        if (!c.find(false)) {
            c.ready.lower();
            return errc::would_block;
        }
        c.found = false;
        if (c.verdict) return std::exchange(c.verdict, error_code());
        return view(&c.borrowed, c.value);
    }
    /// The next value, if it is as long and nothing else is to be looked at.
    result<placement> receive_into(mutable_bytes into, time_point until) {
        core& c = *core_;
        const bool special = c.borrowed || c.found || c.failed || c.ready.made() || !c.armed;
        if (special) return placement::not_placed;
        if (!c.renamed) {
            if (auto r = c.await_rename(until); !r) return r.error();
        }
        c.renamed = false;
        c.found = c.look();
        if (!c.found || c.verdict || c.value.size() != into.size()) return placement::not_placed;
        c.found = false;
        if (!into.empty()) std::memcpy(into.data(), c.value.data(), into.size());
        return placement::placed;
    }
    static constexpr bool straight = true;  ///< also what is small

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.borrowed) return wait_for(c.renames.descriptor(), POLLIN, until);
        while (!c.failed && !c.find(true)) {
            c.ready.lower();
            if (auto r = c.await_rename(until); !r) return r;
            c.renamed = true;
        }
        return {};
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (c.ready.made()) return c.ready.get();
        auto fd = c.ready.add(c.renames.descriptor(), EPOLLIN);
        if (fd && (c.found || !c.armed)) (void)c.ready.raise();
        return fd;
    }
    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// The number of the value that was received last, and when it was written.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->sequence; }
    [[nodiscard]] std::uint64_t time() const noexcept { return core_->time; }
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
              image(t) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            const std::string directory = store::directory_of(path);
            if (auto r = renames.look_at(directory.c_str(), IN_MOVED_TO); !r) {
                return words.fail(r.error(), explain("watching " + directory, errno));
            }
            // A value of another type, or none of ours, is refused here and now.
            if (find(false) && verdict) {
                words = why;
                return verdict;
            }
            return {};
        }
        /// True if there is a value that was not received, or an error to tell. `waits`: if not,
        /// the next rename is awaited.
        bool find(bool waits) {
            if (found) return true;
            if (armed && !std::exchange(renamed, false) && (waits || !await_rename(expired))) {
                return false;
            }
            armed = true;
            found = look();
            if (found) (void)ready.raise();
            return found;
        }
        bool look() {
            // What is no file cannot be read, or is no snapshot.
            unique_fd f(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
            if (f) return read(f);
            if (errno == ENOENT) return false;
            failed = verdict = why.fail(last_error(), explain("opening " + path, errno));
            return true;
        }
        bool read(unique_fd& f) {
            const auto got = image.read(files, f, path, plan.message_bytes_max, why);
            if (!got) {
                verdict = got.error();
                return true;
            }
            const auto& h = image.header();
            if (!accepts(type, h.fingerprint)) {
                verdict =
                    why.fail(errc::incompatible,
                             path + ": " + type_mismatch(type.description, image.description()));
            } else if (h.sequence == sequence && h.time == time) {
                return false;
            } else {
                value = *got;
                if (sequence != 0 && h.sequence > sequence) skipped += h.sequence - sequence - 1;
                sequence = h.sequence;
                time = h.time;
            }
            return true;
        }
        /// Waits until our name is given to another file.
        result<void> await_rename(time_point until) noexcept {
            for (bool ours = false; !ours;) {
                auto r = renames.take(until, [&](const inotify_event& e, const char* moved) {
                    const std::size_t n = name.size() + 1;  // with the zero behind it
                    ours |= (e.mask & IN_Q_OVERFLOW) != 0 ||
                            (e.len >= n && std::memcmp(moved, name.c_str(), n) == 0);
                });
                if (!r) return r;
            }
            return {};
        }
        void shut() noexcept {
            ready.reset();
            renames.reset();
            failed = errc::closed;
        }

        store::real_files files;
        std::string path, name;
        message_type type;
        snapshot_plan plan;
        uri address;
        diagnostics why;
        store::snapshot_image image;
        readiness ready;
        change_watch renames;
        std::uint64_t sequence = 0, time = 0;  // of the last value
        bytes value;
        std::uint64_t skipped = 0;
        error_code verdict, failed;
        bool found = false;
        bool armed = false;    // it was looked at: only a rename brings another one
        bool renamed = false;  // one was told of since
        bool borrowed = false;
    };

    explicit snapshot_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
