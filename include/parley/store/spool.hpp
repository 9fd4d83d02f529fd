// SPDX-License-Identifier: MIT
// A mapped ring (ring.hpp) whose sender is its reader too: what it keeps is read in order, and let
// go later, as far as somebody says. What was not let go is there for the next who opens it.
#pragma once

#include <parley/shm/segment.hpp>
#include <parley/store/ring_file.hpp>

#include <algorithm>
#include <bit>
#include <string>

namespace parley {
inline namespace v1 {
namespace store {

/// One thread. What may fail says why.
template <class Atomics>
class basic_spool {
public:
    /// Errors: those of ring_file::open; in_use (a live process has it), incompatible (it keeps
    /// messages of another type), corrupt.
    [[nodiscard]] result<void> open(const std::string& path, std::size_t capacity_bytes,
                                    const message_type& type, diagnostics& why) {
        path_ = path;
        const ring_shape shape{
            std::bit_ceil(std::clamp(capacity_bytes, ring_capacity_min, ring_capacity_max)),
            std::max<std::size_t>(8, type.alignment)};
        if (auto r = file_.open(path, shape, true, type, {}, why); !r) return r;
        for (const off_t role : {sender_lock, detail::reader_lock}) {
            const auto taken = file_.take(role);
            if (taken) continue;
            const bool busy = taken.error() == errc::would_block;
            return why.fail(busy ? make_error_code(errc::in_use) : taken.error(),
                            path + " belongs to a sender that lives");
        }
        if (file_.header().fingerprint == 0) {
            if (const int e = file_.set_type(type); e != 0) return failed("writing ", e, why);
        } else if (file_.header().fingerprint != type.fingerprint) {
            return why.fail(errc::incompatible, path + " keeps messages of another type: [" +
                                                    file_.type_text() + "], not [" +
                                                    std::string(type.description) + "]");
        }
        ring_end found;
        std::uint64_t at = 0;
        if (!recover_ring(file_.memory(), found, at)) {
            return why.fail(errc::corrupt, path + " is damaged at position " + std::to_string(at) +
                                               ", in what was synced: restore it, or remove it "
                                               "and begin a new one");
        }
        auto& p = file_.page();
        kept_ = read_ = {Atomics::load(p.head, std::memory_order_acquire), 0,
                         Atomics::load(p.from, std::memory_order_acquire),
                         file_.memory().shape.alignment};
        Atomics::store(p.released, read_.position, std::memory_order_seq_cst);
        if (const int e = ring_.take_over(file_.memory(), found, file_.storage()); e != 0) {
            return failed("syncing ", e, why);
        }
        release_up_to(read_.position);
        waiting_ = count();
        file_.mended();
        return {};
    }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::size_t message_bytes_max() const noexcept {
        return file_.memory().shape.message_bytes_max();
    }
    /// Messages that were not read yet.
    [[nodiscard]] std::uint64_t waiting() const noexcept { return waiting_; }
    [[nodiscard]] bool has_room(std::size_t n) noexcept { return ring_.has_room(n); }

    /// Keeps a message for which there is room; `synced`: and waits until it is on stable storage.
    [[nodiscard]] result<void> put(bytes m, bool synced, diagnostics& why) {
        if (auto r = look_at_file(why); !r) return r;
        if (!ring_.put(m)) return errc::would_block;
        ++waiting_;
        if (!synced) return {};
        const int e = ring_.sync();
        return e == 0 ? result<void>() : failed("syncing ", e, why);
    }
    /// The next message, where it lies until it is let go. Errors: would_block (there is none),
    /// corrupt (somebody else wrote into the file, or cut it).
    [[nodiscard]] result<bytes> next(diagnostics& why) {
        if (auto r = look_at_file(why); !r) return r.error();
        record_header h;
        while (waiting_ > 0) {
            if (!read(read_, h)) {
                return damaged(read_.position, why);
            }
            if (h.kind != record_kind::message) continue;
            --waiting_;
            return bytes(file_.memory().at(h.position) + record_header_bytes, h.length);
        }
        return errc::would_block;
    }
    /// The place behind the message that next() gave last.
    [[nodiscard]] std::uint64_t place() const noexcept { return read_.position; }
    /// Of all before a place the room is free. Errors: corrupt.
    [[nodiscard]] result<void> let_go(std::uint64_t before, diagnostics& why) {
        if (auto r = look_at_file(why); !r) return r;
        release_up_to(before);
        return kept_.position >= before ? result<void>() : damaged(kept_.position, why);
    }
    /// Lets go of the file, of which nothing more is said or asked.
    void leave() noexcept {
        file_.leave();
        left_ = true;
    }

private:
    [[nodiscard]] bool read(expectation& at, record_header& h) const noexcept {
        const std::uint64_t end = ring_.next().position;
        if (at.position == end || file_.memory().judge(at, end, h) != judged::whole) return false;
        at.step_over(h);
        return true;
    }
    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t n = 0;
        record_header h;
        for (expectation at = read_; read(at, h);) n += h.kind == record_kind::message ? 1 : 0;
        return n;
    }
    /// Record by record, and what is no message with those before it: at each moment a crash finds
    /// at `head` a record of the sender `from`, or of a later one.
    void release_up_to(std::uint64_t place) noexcept {
        auto& p = file_.page();
        const std::uint64_t end = ring_.next().position;
        record_header h;
        while (kept_.position != end &&
               judge_header(file_.memory().from(kept_.position, end), kept_, h) == judged::whole &&
               (kept_.position < place || h.kind != record_kind::message)) {
            kept_.step_over(h);
            Atomics::store(p.from, h.sender, std::memory_order_release);
            Atomics::store(p.head, kept_.position, std::memory_order_release);
        }
        Atomics::store(p.released, kept_.position, std::memory_order_seq_cst);
    }
    /// Now and then: a page that is gone is SIGBUS to touch.
    result<void> look_at_file(diagnostics& why) {
        if (left_) return errc::closed;
        if (before_look_ != 0) return --before_look_, result<void>();
        if (!file_.is_whole()) {
            return why.fail(errc::corrupt, path_ + " was truncated while it was open");
        }
        before_look_ = look_every;
        return {};
    }
    error_code damaged(std::uint64_t position, diagnostics& why) const {
        return why.fail(errc::corrupt, path_ + " was damaged at position " +
                                           std::to_string(position) +
                                           " while it was open; what is behind it is not sent: "
                                           "restore the file, or remove it and begin a new one");
    }
    error_code failed(const char* doing, int number, diagnostics& why) const {
        return why.fail(from_errno(number), detail::explain(doing + path_, number));
    }

    static constexpr unsigned look_every = 64;  // calls

    std::string path_;
    ring_file file_;
    ring_writer<Atomics, mapped_storage> ring_;
    expectation kept_;  // of the first record that is kept
    expectation read_;  // of the record that is read next
    std::uint64_t waiting_ = 0;
    unsigned before_look_ = 0;
    bool left_ = false;
};
using spool = basic_spool<detail::std_atomics>;

}  // namespace store
}  // namespace v1
}  // namespace parley
