// SPDX-License-Identifier: MIT
// The sending end of a file log. What is committed is written by flush, all of it in one call; so
// many messages may share one write, and one sync.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/store/log_ends.hpp>
#include <parley/store/log_writer.hpp>
#include <parley/transport/file_plan.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The sink of `file`.
class file_sink {
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
        if (!c.has_room()) {
            c.want_room();
            if (!c.room->rearm([&c] { return c.has_room(); })) return errc::would_block;
        }
        c.room->show();
        if (auto r = c.make_ready(n); !r) return r.error();
        c.loaned = true;
        return loan(&c, {c.payload, n});
    }

    result<void> try_commit(loan l) {
        core& c = *core_;
        PARLEY_ASSERT(l.belongs_to(c));
        l.give_back();
        if (c.failed) return c.failed;
        c.seal(store::record_kind::message, l.bytes().size());
        return {};
    }

    /// A message as a whole, behind what was committed.
    [[gnu::always_inline]] result<void> send_from(bytes m, time_point until) {
        core& c = *core_;
        if (!c.is_ready(m.size())) [[unlikely]]
            return send_slowly(m, until);
        c.put(m);
        return c.write_one();
    }
    static constexpr bool straight = true;  ///< also what is small

    /// Writes what is committed, and awaits the level of the address.
    result<void> flush(time_point) {
        core& c = *core_;
        if (c.failed) return c.failed == errc::closed ? result<void>() : c.failed;
        if (!c.has_pending()) return {};
        return c.reach(c.plan.await);
    }

    /// All that was committed so far, however many messages, reaches `l` at once: one call of the
    /// kernel for them all. Blocks as long as the device takes.
    result<void> await(store::level l) {
        core& c = *core_;
        if (c.failed) return c.failed;
        return c.reach(l);
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        if (!c.failed) c.want_room();
        return c.room->wait([&c] { return c.failed || c.has_room(); }, until);
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        auto fd = c.room->pollable();
        if (!fd) return c.why.fail(fd.error(), explain("binding a bell", errno));
        return fd;
    }
    result<void> close(time_point) {
        core& c = *core_;
        if (c.failed) {
            const error_code ec = c.failed;
            c.shut();
            return ec == errc::closed ? result<void>() : ec;
        }
        return c.close();
    }

    /// The number that the last committed message has in the log.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->next.sequence - 1; }
    /// What recovery had to cut off when this end was opened, in words; mostly nothing.
    [[nodiscard]] const std::string& note() const noexcept { return core_->log.note(); }
    [[nodiscard]] parley::limits limits() const noexcept { return core_->plan.limits(false); }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    file_sink(file_sink&&) noexcept = default;
    file_sink& operator=(file_sink&& other) noexcept {
        if (this != &other) {
            if (core_) (void)close(expired);
            core_ = std::move(other.core_);
        }
        return *this;
    }
    ~file_sink() {
        if (core_) (void)close(expired);
    }

    [[nodiscard]] static result<file_sink> open(const std::string& path,
                                                const open_request& request, const file_plan& plan,
                                                uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return file_sink(std::move(c));
    }

private:
    [[gnu::noinline]] result<void> send_slowly(bytes m, time_point until) {
        if (auto l = try_loan(m.size()); !l) return l.error();
        core_->put(m);
        return flush(until);
    }

    struct core final : fork_sensitive {
        core(const std::string& path, const message_type& t, const file_plan& p, uri a)
            : names{path},
              type(t),
              plan(p),
              address(std::move(a)),
              log(files, path, p.mode),
              most(p.limits(false).message_bytes_max),
              rotate_at(p.rotate_bytes != 0 ? p.rotate_bytes
                                            : std::numeric_limits<std::uint64_t>::max()) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { leave(); }

        [[nodiscard]] store::ends_page& state() const noexcept { return ends.page(); }

        result<void> open(diagnostics& words) {
            if (auto r = ends.join(names, type, plan.mode, words); !r) return r;
            if (auto r = ends.take(store::sender_lock); !r) {
                return words.fail(r.error() == errc::would_block
                                      ? make_error_code(errc::out_of_resources)
                                      : r.error(),
                                  names.path + " has a live sender, and a log has one at a time");
            }
            auto& s = state();
            if (auto r = log.open(type, {s.synced, s.openings}, words); !r) return r;
            next = log.expected();
            last_time = log.last_time();
            using a = std_atomics;
            s.openings = next.sender;
            s.count = next.sequence - 1;
            if (s.synced > next.position) s.synced = next.position;
            a::store(s.tail, next.position, std::memory_order_release);
            // Of a reader that got further than what a loss of power left.
            if (a::load(s.head, std::memory_order_acquire) > next.position) {
                a::store(s.head, next.position, std::memory_order_release);
            }
            a::store(s.sender, next.sender, std::memory_order_release);
            room.emplace(s.room_asleep, s.room_bell, ends.sender_bell(), wait_plan{});
            ends.mended();
            return {};
        }

        [[nodiscard]] error_code too_large(std::size_t n) {
            return why.fail(errc::message_too_large,
                            "a message of " + std::to_string(n) + " bytes; " + address.text() +
                                " takes at most " + std::to_string(most) +
                                " (?message_bytes_max= and ?capacity_bytes= decide)");
        }
        /// How far the reader must be before n bytes fit, end record included.
        [[nodiscard]] std::uint64_t head_for(std::size_t n) const noexcept {
            const std::uint64_t end =
                next.position + store::record_stride(n) + store::record_header_bytes;
            return end > plan.capacity_bytes ? end - plan.capacity_bytes : 0;
        }
        void want_room() noexcept {
            std_atomics::store(state().room_wanted, head_for(refused), std::memory_order_relaxed);
        }
        [[nodiscard]] bool has_room() const noexcept {
            if (plan.capacity_bytes == 0) return true;
            const auto head = std_atomics::load(state().head, std::memory_order_seq_cst);
            return head >= head_for(refused);
        }

        /// There is all that try_loan would look after, and nothing but to write it follows.
        [[nodiscard]] bool is_ready(std::size_t n) const noexcept {
            const std::size_t stride = store::record_stride(n);
            return n < ready_end && !loaned && !failed && !has_pending() &&
                   log.file_bytes() < rotate_at && log.has_reserved(stride + end_bytes);
        }
        /// Memory and disk for a record of n bytes, in the file that is to have it.
        result<void> make_ready(std::size_t n) {
            stash();
            if (failed) return failed;
            if (log.file_bytes() + held_bytes >= rotate_at) {
                if (auto r = rotate(); !r) return r;
            }
            const std::size_t bytes = store::record_stride(n) + end_bytes;
            if (const int e = log.reserve(held_bytes + bytes); e != 0) {
                return why.fail(from_errno(e),
                                explain("room for " + std::to_string(bytes) + " bytes in " +
                                            names.path + " (nothing of the message was written)",
                                        e));
            }
            make_scratch(n);
            return {};
        }
        /// The header stands right before the payload, which is aligned as the type wants.
        void make_scratch(std::size_t n) {
            const std::size_t alignment = std::max<std::size_t>(64, type.alignment);
            const std::size_t wanted = store::record_stride(n) + end_bytes + 2 * alignment;
            if (wanted <= scratch_bytes) return;
            const std::size_t bytes = std::max(wanted, 2 * scratch_bytes);
            scratch = std::make_unique_for_overwrite<std::byte[]>(bytes);
            scratch_bytes = bytes;
            const auto first = reinterpret_cast<std::uintptr_t>(scratch.get());
            const auto at = (first + store::record_header_bytes + alignment - 1) / alignment;
            payload = scratch.get() + (at * alignment - first);
            if (plan.capacity_bytes != 0 || plan.await != store::level::visible) return;
            const auto behind = static_cast<std::size_t>(scratch.get() + bytes - payload);
            ready_end = std::min(behind & ~std::size_t{7}, most) + 1;
        }
        [[gnu::always_inline]] void put(bytes m) noexcept {
            if (!m.empty()) std::memcpy(payload, m.data(), m.size());
            seal(store::record_kind::message, m.size());
        }
        [[gnu::always_inline]] void seal(store::record_kind kind, std::size_t n) noexcept {
            const std::size_t stride = store::record_stride(n);
            const std::uint64_t now = std::max(wall.now(), last_time);
            // Field by field: one that is copied as a whole waits for all stores before it.
            auto& h = *(reinterpret_cast<store::record_header*>(payload) - 1);
            h.length = static_cast<std::uint32_t>(n);
            h.position = next.position;
            h.sequence = next.sequence;
            h.time = now;
            h.sender = next.sender;
            h.kind = kind;
            std::memset(h.zero, 0, sizeof h.zero);
            store::seal_record(h, stride);
            last_time = now;
            in_scratch = stride;
            next.position += stride;
            ++next.sequence;
        }
        [[nodiscard]] bool has_pending() const noexcept { return held_bytes + in_scratch > 0; }
        /// A record that was not flushed gives way to the next one.
        void stash() {
            if (in_scratch == 0) return;
            if (held_bytes + in_scratch > held_bytes_max) {
                (void)write_out();
                return;
            }
            if (!held) held = std::make_unique_for_overwrite<std::byte[]>(held_bytes_max);
            std::memcpy(held.get() + held_bytes, payload - store::record_header_bytes, in_scratch);
            held_last = held_bytes;
            held_bytes += in_scratch;
            in_scratch = 0;
        }
        result<void> write_out() {
            if (held_bytes > 0) {
                if (auto r = write(held.get(), held_bytes, held_last); !r) return r;
                held_bytes = 0;
            }
            return in_scratch > 0 ? write_one() : show();
        }
        /// The one in the scratch, behind all others.
        [[gnu::always_inline]] result<void> write_one() {
            if (auto r = write(payload - store::record_header_bytes, in_scratch, 0); !r) return r;
            in_scratch = 0;
            return show();
        }
        /// n bytes of records, the last one of which lies at `last`.
        [[gnu::always_inline]] result<void> write(const std::byte* at, std::size_t n,
                                                  std::size_t last) {
            const auto& h = *reinterpret_cast<const store::record_header*>(at + last);
            if (const int e = log.append({at, n}, h); e != 0) return fail(e, "writing to ");
            return {};
        }
        result<void> show() noexcept {
            state().count = next.sequence - 1;
            std_atomics::store(state().tail, next.position, std::memory_order_release);
            return {};
        }
        result<void> reach(store::level l) {
            if (auto r = write_out(); !r) return r;
            int e = 0;
            if (l == store::level::written) e = log.push(pushed);
            if (l == store::level::synced) e = log.sync();
            if (e != 0) return fail(e, "syncing ");
            if (l != store::level::visible) pushed = next.position;
            if (l == store::level::synced) {
                std_atomics::store(state().synced, next.position, std::memory_order_release);
            }
            return {};
        }
        result<void> rotate() {
            if (auto r = write_out(); !r) return r;
            if (const int e = log.turn(type); e != 0) {
                return why.fail(from_errno(e),
                                explain("going on in a new file behind " + names.path +
                                            " (nothing of the message was written)",
                                        e));
            }
            next = log.expected();
            last_time = log.last_time();
            std_atomics::store(state().tail, next.position, std::memory_order_release);
            const auto older = names.all_older(files);
            const auto head = std_atomics::load(state().head, std::memory_order_acquire);
            for (std::size_t i = 0; i + plan.keep < older.size(); ++i) {
                const auto end = i + 1 == older.size() ? log.first_position() : older[i + 1];
                if (end > head) break;  // the reader has not had all of it
                (void)files.unlink(names.older(older[i]));
            }
            return {};
        }
        result<void> close() {
            if (auto r = write_out(); !r) return r;
            make_scratch(0);
            // From now on this sender is none that the reader waits for.
            std_atomics::store(state().sender, std::uint32_t{0}, std::memory_order_seq_cst);
            seal(store::record_kind::end, 0);
            auto r = reach(plan.await);
            shut();
            return r;
        }
        error_code fail(int number, const char* what) {
            return failed = why.fail(from_errno(number), explain(what + names.path, number));
        }
        void shut() noexcept {
            log.close();
            leave();
        }
        void leave() noexcept {
            if (room) room->reset();
            log.leave();
            ends.leave();
            held_bytes = in_scratch = 0;
            failed = errc::closed;
        }

        static constexpr std::size_t held_bytes_max = 256 << 10;
        static constexpr std::size_t end_bytes = store::record_header_bytes;  // room for the end

        store::real_files files;
        store::log_names names;
        message_type type;
        file_plan plan;
        uri address;
        diagnostics why;
        store::log_ends ends;
        store::log_writer<store::real_files> log;
        std::optional<store::bell_waiter<std_atomics>> room;
        const std::size_t most;
        const std::uint64_t rotate_at;
        store::wall_clock wall;
        store::expectation next;      // of the record that is committed next
        std::uint64_t last_time = 0;  // of the record that was committed last
        std::unique_ptr<std::byte[]> scratch, held;
        std::byte* payload = nullptr;
        std::size_t scratch_bytes = 0;
        std::size_t held_last = 0;   // where the last one of these begins:
        std::size_t held_bytes = 0;  // of records that are committed and not written …
        std::size_t in_scratch = 0;  // … and of the one behind them
        std::size_t refused = 0;
        std::size_t ready_end = 0;  // below it there is scratch, and nobody is to be awaited
        std::uint64_t pushed = 0;
        error_code failed;
        bool loaned = false;
    };

    explicit file_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
