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
    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into, time_point until) {
        core& c = *core_;
        if (c.special || c.borrowed || c.found) return placement::not_placed;
        if (!c.renamed && !(until == never && c.renames.await_in_read())) [[unlikely]]
            if (auto r = c.renames.await(until); !r) return r.error();
        c.renamed = false;
        if (c.look(into)) [[likely]]
            return placement::placed;
        return placement::not_placed;
    }
    static constexpr bool straight = true;  ///< also what is small

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.borrowed) return wait_for(c.renames.descriptor(), POLLIN, until);
        while (!c.failed && !c.find(true)) {
            c.ready.lower();
            if (auto r = c.renames.await(until); !r) return r;
            c.renamed = true;
        }
        return {};
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (c.ready.made()) return c.ready.get();
        c.special = true;
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
              type(t),
              plan(o),
              address(std::move(a)),
              image(t),
              renames(store::name_of(path)) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            const std::string directory = store::directory_of(path);
            if (auto r = renames.look_at(directory.c_str()); !r) {
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
            if (armed && !std::exchange(renamed, false) && (waits || !renames.await(expired))) {
                return false;
            }
            armed = true;
            special = failed || ready.made();
            found = look();
            if (found) (void)ready.raise();
            return found;
        }
        [[gnu::always_inline]] int open_now() noexcept {
            // What is no file cannot be read, or is no snapshot.
            return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        }
        bool look() {
            unique_fd f(open_now());
            if (f) return read(f);
            if (errno == ENOENT) return false;
            special = true;
            failed = verdict = why.fail(last_error(), explain("opening " + path, errno));
            return true;
        }
        /// Looks, and if there is a new value of the usual kind, as long as `into`, puts it there.
        /// False: what there is, is found.
        [[gnu::always_inline]] bool look(mutable_bytes into) {
            const unique_fd f(open_now());
            const auto to = image.room();
            const auto* const usual =
                image.usual(::read(f.get(), to.data(), to.size()), into.size());
            if (usual != nullptr && is_new(*usual)) [[likely]] {
                if (!into.empty()) std::memcpy(into.data(), usual + 1, into.size());
                return true;
            }
            found = look();
            return false;
        }
        [[gnu::noinline]] bool read(unique_fd& f) {
            const auto got = image.read(files, f, path, plan.message_bytes_max, why);
            if (!got) {
                verdict = got.error();
                return true;
            }
            if (accepts(type, image.head().fingerprint)) {
                value = *got;
                return is_new(*image.stamp());
            }
            verdict = why.fail(errc::incompatible,
                               path + ": " + type_mismatch(type.description, image.description()));
            return true;
        }
        /// False if it is the value that was received last.
        [[gnu::always_inline]] bool is_new(const store::snapshot_stamp& s) noexcept {
            if (s.sequence != sequence + 1) [[unlikely]] {
                if (s.sequence == sequence && s.time == time) return false;
                if (sequence != 0 && s.sequence > sequence) skipped += s.sequence - sequence - 1;
            }
            sequence = s.sequence;
            time = s.time;
            return true;
        }
        void shut() noexcept {
            ready.reset();
            renames.reset();
            failed = errc::closed;
            special = true;
        }

        store::real_files files;
        std::string path;
        message_type type;
        snapshot_plan plan;
        uri address;
        diagnostics why;
        store::snapshot_image image;
        readiness ready;
        name_watch renames;
        std::uint64_t sequence = 0, time = 0;  // of the last value
        bytes value;
        std::uint64_t skipped = 0;
        error_code verdict, failed;
        bool found = false;
        bool armed = false;    // it was looked at: only a rename brings another one
        bool special = true;   // it was not, or somebody polls, or it failed
        bool renamed = false;  // one was told of since
        bool borrowed = false;
    };

    explicit snapshot_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
