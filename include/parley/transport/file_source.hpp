// SPDX-License-Identifier: MIT
// The receiving end of a file log: the one receiver, whose place is kept in path.ends, or one of
// any number of followers. What is in the file counts; inotify tells when to look.
#pragma once

#include <parley/detail/changes.hpp>
#include <parley/detail/fork.hpp>
#include <parley/store/log_ends.hpp>
#include <parley/store/log_reader.hpp>
#include <parley/transport/file_sink.hpp>
#include <parley/transport/stream_source.hpp>

#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// Where a source of a log begins.
enum class log_start : std::uint8_t {
    receiver,  ///< as the one receiver: behind what it, or the one before it, received last
    first,     ///< as a follower, at the first message that is there
    next,      ///< as a follower, at the next message that is sent
};

/// The source of `file`.
class file_source {
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
        if (c.verdict) return std::exchange(c.verdict, error_code());
        c.has_message = false;
        c.received = {c.head.sequence, c.head.time};
        c.move_on();
        c.plain = c.is_plain();
        return view(&c.borrowed, c.message);
    }
    /// The next message, if it is as long and nothing else is to be looked at.
    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into, time_point until) {
        core& c = *core_;
        if (c.borrowed || !c.plain) return placement::not_placed;
        if (c.knows_no_more()) {
            if (auto r = c.watch.take(until); !r) return r.error();
            c.heard();
        }
        const auto* const h = c.log.next_message();
        if (h == nullptr) {
            c.heard_at = core::unheard;  // what was heard is still to be looked into
            return placement::not_placed;
        }
        const auto* const payload = reinterpret_cast<const std::byte*>(h + 1);
        if (h->length != into.size()) {
            c.head = *h;
            c.message = {payload, h->length};
            c.has_message = true;
            c.plain = false;
            return placement::not_placed;
        }
        if (!into.empty()) std::memcpy(into.data(), payload, into.size());
        c.received = {h->sequence, h->time};
        c.move_on();
        return placement::placed;
    }
    static constexpr bool straight = true;  ///< also what is small

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.borrowed)
            return c.failed ? result<void>() : wait_for(c.watch.descriptor(), POLLIN, until);
        while (!c.failed && !c.find(true)) {
            c.ready.lower();
            if (auto r = c.watch.take(until); !r) return r;
            c.heard();
        }
        return {};
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        c.plain = false;
        if (!c.ready.made()) {
            auto fd = c.ready.add(c.watch.descriptor(), EPOLLIN);
            if (!fd) return fd;
            if (!c.armed) (void)c.ready.raise();
        }
        return c.ready.get();
    }
    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// Of the message that was received last: its number in the log, and when it was committed, in
    /// nanoseconds since 1970.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->received.sequence; }
    [[nodiscard]] std::uint64_t time() const noexcept { return core_->received.time; }
    /// The next message will be the first one whose number, or time, is at least this. The one
    /// receiver may be put back or forth like this, too. No view may be open. Errors: not_found
    /// (there is none yet: the place is the log's end), those of reading.
    result<void> seek_sequence(std::uint64_t n) {
        return core_->seek([n](const store::record_header& h) { return h.sequence >= n; });
    }
    result<void> seek_time(std::uint64_t ns) {
        return core_->seek([ns](const store::record_header& h) { return h.time >= ns; });
    }

    /// The type of all messages of the log.
    [[nodiscard]] peer_type sender_type() const {
        // A log that we made knows its type since its first sender came.
        diagnostics unasked;
        if (core_->log.header().fingerprint == 0) (void)core_->log.reread_header(unasked);
        const auto& h = core_->log.header();
        return {h.fingerprint, std::string(h.description, h.description_bytes)};
    }
    /// A log does not tell; always 0.
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return 0; }
    [[nodiscard]] parley::limits limits() const noexcept {
        return core_->plan.limits(core_->start != log_start::receiver);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    [[nodiscard]] static result<file_source> open(const std::string& path,
                                                  const open_request& request,
                                                  const file_plan& plan, log_start start,
                                                  uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, start, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return file_source(std::move(c));
    }

private:
    struct core final : fork_sensitive {
        core(const std::string& path, const message_type& t, const file_plan& p, log_start s, uri a)
            : names{path}, type(t), plan(p), start(s), address(std::move(a)), log(files, path) {}
        ~core() override { unguard(); }
        void in_forked_child() noexcept override { shut(); }

        result<void> open(diagnostics& words) {
            if (start == log_start::receiver) {
                if (auto r = join(words); !r) return r;
            } else {
                if (auto r = log.open_first(words); !r) return r;
                (void)ends.look_at(names);
            }
            if (auto r = watch_file(); !r) {
                return words.fail(r.error(), explain("watching " + log.where(), errno));
            }
            if (start == log_start::next) {
                (void)seek([](const store::record_header&) { return false; });
            }
            return check_type(words);
        }
        result<void> join(diagnostics& words) {
            if (auto r = ends.join(names, type, plan.mode, words); !r) return r;
            if (auto r = ends.take(reader_lock); !r) {
                return words.fail(
                    r.error() == errc::would_block ? make_error_code(errc::in_use) : r.error(),
                    names.path +
                        " has a live receiver; any number may follow it "
                        "(?from=first, ?from=next)");
            }
            told = std_atomics::load(ends.page().head, std::memory_order_acquire);
            auto r = log.open_at(told, words);
            if (!r && r.error() == errc::not_found && told == 0) r = log.open_first(words);
            ends.mended();
            return r;
        }
        result<void> check_type(diagnostics& words) {
            const auto& h = log.header();
            if (h.fingerprint == 0 || accepts(type, h.fingerprint)) return {};
            return words.fail(
                errc::incompatible,
                names.path + ": " +
                    type_mismatch(type.description, {h.description, h.description_bytes}));
        }
        result<void> watch_file() {
            watched = log.turns();
            return watch.look_at(log.now().get());
        }

        /// What inotify knew was taken from it.
        void heard() noexcept {
            armed = false;
            heard_at = log.reads();
        }
        /// All that was read was handed out: inotify knows what came since.
        [[nodiscard]] bool knows_no_more() const noexcept {
            return log.exhausted() && (armed || log.reads() > heard_at);
        }
        /// There is nothing to say or to look at besides the next message.
        [[nodiscard]] bool is_plain() const noexcept {
            return !has_message && !end_due && !failed && !verdict && !ready.made() &&
                   log.header().fingerprint == type.fingerprint;
        }
        /// True if there is something to say. `waits`: if not, inotify is asked next.
        bool find(bool waits) {
            bool looked = false;
            plain = false;
            while (!has_message && !verdict) {
                armed = armed || (!end_due && knows_no_more());
                if (armed) {
                    if (waits || !watch.take(expired)) return false;
                    heard();
                    looked = true;
                }
                const auto tail = known_tail();
                const auto r = log.next(head, message);
                if (log.turns() != watched) {
                    if (auto w = watch_file(); !w) return give_up(w.error(), "watching ");
                    looked = false;
                    heard_at = unheard;
                }
                if (r == store::next_record::found) {
                    take();
                } else if (r == store::next_record::failed) {
                    return give_up(last_error(), "reading ");
                } else if (!looked) {
                    (void)watch.take(expired);
                    heard();
                    looked = true;
                } else if (!at_end(r, tail)) {
                    return armed = !verdict, static_cast<bool>(verdict);
                }
            }
            (void)ready.raise();
            return true;
        }
        void take() {
            if (head.kind == store::record_kind::message) {
                has_message = true;
                if (type.fingerprint != 0 && log.header().fingerprint == 0) learn_type();
            } else {
                ended = head.sender;
                end_due = true;
                move_on();
            }
        }
        /// Nothing good comes next. True if it is worth another look.
        bool at_end(store::next_record r, std::uint64_t tail) {
            if (r == store::next_record::gone) {
                verdict = why.fail(errc::lagged, names.path + ": what came next was removed; " +
                                                     "this reader goes on with what is there");
                if (!log.open_first(why)) failed = verdict;
                return true;
            }
            if (start == log_start::receiver) {
                // A sender that mends the log puts its reader back before what it cut off.
                const auto put = std_atomics::load(ends.page().head, std::memory_order_acquire);
                if (put != told && log.open_at(told = put, why)) return true;
            }
            const bool missing = tail > log.position() || r == store::next_record::truncated;
            if (missing) {
                verdict = why.fail(errc::corrupt, damage(r));
            } else if (end_due && !ends.has_sender(ended)) {
                end_due = false;
                verdict = errc::closed;
            } else {
                return false;
            }
            (void)ready.raise();
            return false;
        }
        [[nodiscard]] std::string damage(store::next_record r) {
            const std::string place =
                log.where() +
                (r == store::next_record::bad ? " is damaged at byte "
                                              : " was cut off at or before byte ") +
                std::to_string(log.offset());
            return place +
                   ": all before it was good; behind it committed messages are missing "
                   "(restore the file, or let the next sender cut it off there)";
        }
        [[nodiscard]] std::uint64_t known_tail() const noexcept {
            return ends ? std_atomics::load(ends.page().tail, std::memory_order_acquire) : 0;
        }
        /// A log of any type became one of its first sender's.
        void learn_type() {
            if (auto r = log.reread_header(why); !r || !(r = check_type(why))) {
                failed = verdict = r.error();
                has_message = false;
            }
        }
        /// What was handed out is never handed out again, whoever reads next.
        void move_on() noexcept {
            if (start != log_start::receiver) return;
            auto& s = ends.page();
            told = log.position();
            std_atomics::store(s.head, told, std::memory_order_seq_cst);
            const auto asleep = std_atomics::load(s.room_asleep, std::memory_order_seq_cst);
            if (asleep == 0) return;
            if (told < std_atomics::load(s.room_wanted, std::memory_order_relaxed)) return;
            store::ring_for<std_atomics>(s.room_asleep, s.room_bell, bell,
                                         [&] { return ends.sender_bell(); });
        }
        bool give_up(error_code ec, const char* what) {
            failed = why.fail(ec, what + log.where() + ": " + ec.message());
            verdict = failed;
            return true;
        }

        template <class Wanted>
        result<void> seek(Wanted wanted) {
            if (failed) return failed;
            if (auto r = log.open_first(why); !r) return r;
            has_message = end_due = armed = plain = false;
            heard_at = unheard;
            verdict = error_code();
            bool found = false;
            for (std::uint64_t at = log.position(); !found; at = log.position()) {
                if (log.next(head, message) != store::next_record::found) break;
                found = wanted(head);
                if (!found) continue;
                if (auto r = log.open_at(at, why); !r) return r;
            }
            if (auto r = watch_file(); !r) return r;
            move_on();
            (void)ready.raise();
            if (found) return {};
            return why.fail(errc::not_found, names.path + " has no such message yet");
        }
        void shut() noexcept {
            ready.reset();
            watch.reset();
            log.close();
            ends.leave();
            bell.reset();
            failed = errc::closed;
            plain = false;
        }

        store::real_files files;
        store::log_names names;
        message_type type;
        file_plan plan;
        log_start start;
        uri address;
        diagnostics why;
        store::log_ends ends;
        store::log_reader<store::real_files> log;
        file_watch watch;
        socket_bell bell;
        readiness ready;
        store::record_header head{};  // of the message that comes next
        struct {
            std::uint64_t sequence = 0, time = 0;
        } received;  // of the last one
        bytes message;
        static constexpr auto unheard = std::numeric_limits<std::uint64_t>::max();

        std::uint64_t watched = 0;
        std::uint64_t heard_at = unheard;  // log.reads() when inotify knew nothing
        std::uint64_t told = 0;            // the receiver's place, as path.ends has it from here
        std::uint32_t ended = 0;
        error_code verdict, failed;
        bool has_message = false;
        bool end_due = false;
        bool armed = false;  // nothing was there, and inotify knew of nothing since
        bool borrowed = false;
        bool plain = false;  // as is_plain() says
    };

    explicit file_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
