// SPDX-License-Identifier: MIT
// The sending end of a snapshot, which replaces the value.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/shm/segment.hpp>
#include <parley/store/snapshot.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <limits>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

struct snapshot_plan {
    std::size_t message_bytes_max = 0;
    known_permissions mode = {};
    bool durable = true;

    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = message_bytes_max,
                .readers_max = std::numeric_limits<std::size_t>::max(),
                .lossy = true,
                .persistent = true,
                .reports_peer_loss = false,
                .successors = true};
    }
};

/// The sink of `snapshot`.
class snapshot_sink {
    struct core;

public:
    /// Belongs to its sink, also to one that is moved meanwhile.
    using loan = core_loan<core>;

    result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (c.closed) return errc::closed;
        if (n > c.plan.message_bytes_max) {
            return c.why.fail(errc::message_too_large,
                              "a message of " + std::to_string(n) + " bytes; " + c.address.text() +
                                  " takes at most " + std::to_string(c.plan.message_bytes_max) +
                                  " (?message_bytes_max=)");
        }
        if (c.loaned) {
            return c.why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
        }
        if (auto r = flush(expired); !r) return r.error();
        c.loaned = true;
        c.idle = false;
        return loan(&c, {c.image.room_for(n), n});
    }
    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        l.give_back();
        c.length = l.bytes().size();
        c.pending = true;
        return {};
    }
    /// A value as a whole.
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (!c.idle || m.size() > c.plan.message_bytes_max) [[unlikely]]
            if (auto l = try_loan(m.size()); !l) return l.error();
        if (std::byte* const to = c.image.room_for(m.size()); !m.empty()) {
            std::memcpy(to, m.data(), m.size());
        }
        return c.write(m.size());
    }
    static constexpr bool straight = true;  ///< also what is small

    /// Replaces the value. out_of_resources (a full disk), denied: it is the old one still, and the
    /// next flush tries again.
    result<void> flush(time_point) {
        core& c = *core_;
        return c.pending ? c.write(c.length) : result<void>();
    }
    /// There is always room for the next value.
    result<void> wait(time_point) { return {}; }
    result<int> pollable() {
        core& c = *core_;
        if (c.closed) return errc::closed;
        if (c.ready.made()) return c.ready.get();
        c.always.reset(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!c.always) return last_error();
        return c.ready.add(c.always.get(), EPOLLIN);
    }
    result<void> close(time_point) {
        core& c = *core_;
        if (auto r = flush(expired); !r && !c.closed) return r;
        c.shut();
        return {};
    }

    /// The number of the value that was written last.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->sequence; }
    [[nodiscard]] parley::limits limits() const noexcept { return core_->plan.limits(); }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    snapshot_sink(snapshot_sink&&) noexcept = default;
    snapshot_sink& operator=(snapshot_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(expired);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~snapshot_sink() {
        if (core_) (void)close(expired);
    }

    [[nodiscard]] static result<snapshot_sink> open(const std::string& path,
                                                    const open_request& request,
                                                    const snapshot_plan& plan, uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return snapshot_sink(std::move(c));
    }

private:
    struct core final : fork_sensitive {
        core(std::string p, const message_type& t, const snapshot_plan& o, uri a)
            : path(std::move(p)),
              next(path + ".next"),
              type(t),
              plan(o),
              address(std::move(a)),
              image(t) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            const std::string name = path + ".lock";
            if (const int e = store::open_or_create(files, name, plan.mode, lock); e != 0) {
                return words.fail(from_errno(e), explain("opening " + name, e));
            }
            if (auto r = try_lock(lock.get(), writer_lock(0)); !r) {
                return words.fail(r.error() == errc::would_block
                                      ? make_error_code(errc::out_of_resources)
                                      : r.error(),
                                  path + " has a live sender, and a snapshot has one at a time");
            }
            unique_fd f;
            const int e = files.open(path, false, f);
            if (e == ENOENT) return {};
            if (e != 0) return words.fail(from_errno(e), explain("opening " + path, e));
            const auto old =
                image.read(files, f, path, std::numeric_limits<std::uint64_t>::max(), words);
            const auto& h = image.head();
            if (h.magic != store::snapshot_magic || h.layout != store::snapshot_layout) {
                return old.error();
            }
            // A damaged value is mended by writing it anew.
            if (const auto* stamp = image.stamp()) sequence = stamp->sequence;
            if (!old || h.fingerprint == type.fingerprint) return {};
            return words.fail(errc::incompatible,
                              path + ": " + type_mismatch(image.description(), type.description));
        }
        /// The value of n bytes that lies in the image becomes the file's.
        [[gnu::always_inline]] result<void> write(std::size_t n) {
            const int e = store::replace(files, path, next, image.seal(sequence + 1, n), plan.mode,
                                         plan.durable);
            if (e != 0) [[unlikely]]
                return keep(n, e);
            ++sequence;
            pending = false;
            idle = true;
            return {};
        }
        [[gnu::noinline, gnu::cold]] error_code keep(std::size_t n, int why_not) {
            length = n;
            pending = true;
            idle = false;
            return why.fail(from_errno(why_not),
                            explain("replacing " + path + " (its old value stays)", why_not));
        }
        void shut() noexcept {
            ready.reset();
            always.reset();
            lock.reset();
            pending = idle = false;
            closed = true;
        }

        store::real_files files;
        std::string path, next;
        message_type type;
        snapshot_plan plan;
        uri address;
        diagnostics why;
        store::snapshot_image image;
        readiness ready;
        unique_fd lock, always;
        std::size_t length = 0;  // of the value in the image
        std::uint64_t sequence = 0;
        bool loaned = false;
        bool pending = false;
        bool closed = false;
        bool idle = false;  // open, nothing on loan, nothing pending
    };

    explicit snapshot_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
