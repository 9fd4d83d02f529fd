// SPDX-License-Identifier: MIT
// The sending end of a mapped ring: loans are lent in the ring itself.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/store/ring_file.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// What both ends of a mapped ring are told by their address.
struct ring_plan {
    store::ring_shape shape;
    bool any_capacity = true;  ///< of a ring that is there already
    known_permissions mode = {};
    wait_plan waits;
    store::level await = store::level::visible;
};

[[nodiscard]] inline parley::limits ring_limits(const store::ring_shape& shape) noexcept {
    return {.message_bytes_max = shape.message_bytes_max(),
            .in_place = true,
            .persistent = true,
            .reports_peer_loss = false,
            .successors = true};
}

/// The sink of `mmap`.
class mmap_sink {
    struct core;

public:
    /// Belongs to its sink, also to one that is moved meanwhile.
    using loan = core_loan<core>;

    result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (c.failed) return c.failed;
        if (n > c.most) return c.too_large(n);
        if (c.loaned) {
            return c.why.fail(errc::out_of_resources, "one loan at a time: the last one is open");
        }
        c.refused = n;
        if (!c.ring.has_room(n)) {
            if (auto r = c.look_at_file(); !r) return r.error();
            c.want_room();
            c.swift = 0;  // what is sent next is to be shown
            if (!c.room->rearm([&c] { return c.ring.has_room(c.refused); })) {
                return errc::would_block;
            }
        }
        c.room->show();
        c.loaned = true;
        c.swift = 0;
        return loan(&c, c.ring.loan(n));
    }
    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        l.give_back();
        if (c.failed) return c.failed;
        c.ring.commit(store::record_kind::message, l.bytes().size());
        c.unsynced = true;
        return {};
    }
    /// A message as a whole.
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (c.swift == 0 || m.size() > c.most || !c.ring.put(m)) [[unlikely]] {
            if (auto l = try_loan(m.size()); !l) return l.error();
            (void)c.ring.put(m);
            c.room->show(core::look_every - 1);  // which the short way leaves out
            c.swift = core::look_every;
        }
        --c.swift;
        c.unsynced = true;
        c.ring_reader();
        return c.plan.await == store::level::visible ? result<void>() : c.reach(c.plan.await);
    }
    static constexpr bool straight = true;  ///< also what is small

    /// Wakes the receiver if it sleeps, and awaits the level of the address.
    result<void> flush(time_point) {
        core& c = *core_;
        if (c.failed) return c.failed == errc::closed ? result<void>() : c.failed;
        c.ring_reader();
        return c.plan.await == store::level::visible ? result<void>() : c.reach(c.plan.await);
    }
    /// All that was committed so far, however many messages, reaches `l`. Blocks as long as the
    /// device takes. (Of a mapping, `written` is as much as `synced`.)
    result<void> await(store::level l) {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.ring_reader();
        return c.reach(l);
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.failed || c.ring.has_room(c.refused)) return {};
        c.want_room();
        return c.room->wait([&c] { return c.ring.has_room(c.refused); }, until);
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        auto fd = c.room->pollable();
        if (!fd) return c.why.fail(fd.error(), explain("binding a bell", errno));
        return fd;
    }
    /// Never waits for the receiver: the end record always has room.
    result<void> close(time_point) {
        core& c = *core_;
        if (c.failed) {
            const error_code ec = c.failed;
            c.shut();
            return ec == errc::closed ? result<void>() : ec;
        }
        return c.close();
    }

    /// The number that the last committed message has in the ring.
    [[nodiscard]] std::uint64_t sequence() const noexcept {
        return core_->ring.next().sequence - 1;
    }
    /// What recovery found missing when this end was opened, in words; mostly nothing.
    [[nodiscard]] const std::string& note() const noexcept { return core_->note; }
    [[nodiscard]] parley::limits limits() const noexcept {
        return ring_limits(core_->file.memory().shape);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    mmap_sink(mmap_sink&&) noexcept = default;
    mmap_sink& operator=(mmap_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(expired);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~mmap_sink() {
        if (core_) (void)close(expired);
    }

    [[nodiscard]] static result<mmap_sink> open(const std::string& path,
                                                const open_request& request, const ring_plan& plan,
                                                uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return mmap_sink(std::move(c));
    }

private:
    struct core final : fork_sensitive {
        core(std::string p, const message_type& t, const ring_plan& o, uri a)
            : path(std::move(p)), type(t), plan(o), address(std::move(a)) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            auto r = file.open(path, plan.shape, plan.any_capacity, type, plan.mode, words);
            if (!r) return r;
            if (auto taken = file.take(store::sender_lock); !taken) {
                return words.fail(taken.error() == errc::would_block
                                      ? make_error_code(errc::out_of_resources)
                                      : taken.error(),
                                  path + " has a live sender, and a ring has one at a time");
            }
            if (file.header().fingerprint == 0 && type.fingerprint != 0) {
                if (const int e = file.set_type(type); e != 0) {
                    return words.fail(from_errno(e), explain("writing " + path, e));
                }
            } else if (file.header().fingerprint != type.fingerprint) {
                return words.fail(errc::incompatible,
                                  path + ": " + type_mismatch(file.type_text(), type.description));
            }
            if (auto recovered = recover(words); !recovered) return recovered;
            auto& s = file.page();
            room.emplace(s.room_asleep, s.room_bell, socket_bell::name{s.id, 0, 0}, plan.waits);
            file.mended();
            ring_reader();  // one that died may have committed and not rung
            return {};
        }
        result<void> recover(diagnostics& words) {
            store::ring_end found;
            std::uint64_t at = 0;
            if (!store::recover_ring(file.memory(), found, at)) {
                return words.fail(errc::corrupt,
                                  path + " is damaged at position " + std::to_string(at) +
                                      ", in what was synced: the receiver gets what is before it; "
                                      "restore the file, or remove it and begin a new one");
            }
            if (found.something_lost) {
                note = path + ": what was committed and not synced behind position " +
                       std::to_string(at) + " was lost";
            }
            const int e = ring.take_over(file.memory(), found, file.storage());
            most = file.memory().shape.message_bytes_max();
            return e == 0 ? result<void>()
                          : words.fail(from_errno(e), explain("syncing " + path, e));
        }

        [[nodiscard]] error_code too_large(std::size_t n) {
            return why.fail(errc::message_too_large,
                            "a message of " + std::to_string(n) + " bytes; " + address.text() +
                                " takes at most " + std::to_string(most) +
                                " (?capacity_bytes= of a new one decides)");
        }
        void want_room() noexcept {
            std_atomics::store(file.page().room_wanted, ring.wanted(refused),
                               std::memory_order_relaxed);
        }
        void ring_reader() noexcept {
            auto& s = file.page();
            store::ring_for<std_atomics>(s.data_asleep, s.data_bell, bell, [&] {
                return socket_bell::name{s.id, -1, 0};
            });
        }
        result<void> look_at_file() {
            if (file.is_whole()) return {};
            return fail(errc::corrupt, path + " was truncated while it was open");
        }
        result<void> reach(store::level l) {
            if (l == store::level::visible || !unsynced) return {};
            if (auto r = look_at_file(); !r) return r;
            const int e = ring.sync();
            if (e == 0) return unsynced = false, result<void>();
            return fail(from_errno(e), explain("syncing " + path, e));
        }
        error_code fail(error_code e, std::string words) {
            swift = 0;
            return failed = why.fail(e, std::move(words));
        }
        result<void> close() {
            // From now on this sender is none that the reader waits for.
            std_atomics::store(file.page().sender, std::uint32_t{0}, std::memory_order_seq_cst);
            ring.commit(store::record_kind::end, 0);
            unsynced = true;
            ring_reader();
            auto r = reach(plan.await);
            shut();
            return r;
        }
        void shut() noexcept {
            if (room) room->reset();
            bell.reset();
            file.leave();
            failed = errc::closed;
            swift = 0;
        }

        std::string path;
        message_type type;
        ring_plan plan;
        uri address;
        diagnostics why;
        std::string note;
        store::ring_file file;
        store::ring_writer<std_atomics, store::mapped_storage> ring;
        std::optional<store::bell_waiter<std_atomics>> room;
        socket_bell bell;
        std::size_t most = 0;
        std::size_t refused = 0;
        error_code failed;
        static constexpr unsigned look_every = 64;  // messages
        unsigned swift = 0;  // so many may go the short way: nothing failed, nothing is lent
        bool loaned = false;
        bool unsynced = false;
    };

    explicit mmap_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
