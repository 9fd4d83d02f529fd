// SPDX-License-Identifier: MIT
// The receiving end of a mapped ring. It trusts nothing in it: every record is judged before it is
// shown.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/store/ring_file.hpp>
#include <parley/transport/mmap_sink.hpp>
#include <parley/transport/transport.hpp>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The source of `mmap`.
class mmap_source {
    struct core;

public:
    static constexpr bool in_memory = true;

    /// A message where it lies; its room is the sender's again when this is destroyed.
    class view {
    public:
        view(view&& other) noexcept
            : core_(std::exchange(other.core_, nullptr)), bytes_(other.bytes_) {}
        view& operator=(view&& other) noexcept {
            let_go();
            core_ = std::exchange(other.core_, nullptr);
            bytes_ = other.bytes_;
            return *this;
        }
        ~view() { let_go(); }

        [[nodiscard]] parley::bytes bytes() const noexcept { return bytes_; }

    private:
        friend mmap_source;
        view(core* c, parley::bytes b) noexcept : core_(c), bytes_(b) { c->borrowed = true; }
        void let_go() noexcept {
            if (core_ != nullptr) core_->release();
            core_ = nullptr;
        }

        core* core_;
        parley::bytes bytes_;
    };

    result<view> try_receive() {
        core& c = *core_;
        if (c.borrowed) {
            return c.why.fail(errc::out_of_resources, "one borrow at a time: the last one is open");
        }
        if (c.failed) return c.failed;
        parley::bytes message;
        if (c.take(message)) return view(&c, message);
        if (c.verdict) return std::exchange(c.verdict, error_code());
        if (c.failed) return c.failed;
        return errc::would_block;
    }
    /// The next message, if it is as long and nothing else is to be looked at.
    [[gnu::always_inline]] result<placement> receive_into(mutable_bytes into, time_point) {
        core& c = *core_;
        return c.swift != 0 && c.take_into(into) ? placement::placed : placement::not_placed;
    }
    static constexpr bool straight = true;  ///< also what is small

    result<void> wait(time_point until) {
        core& c = *core_;
        if (c.failed) return {};
        if (c.end_due && !c.sees_more() && !c.other_sender()) return {};
        return c.data->wait([&c] { return c.sees_more(); }, until);
    }
    result<int> pollable() {
        core& c = *core_;
        if (c.failed) return c.failed;
        auto fd = c.data->pollable();
        if (!fd) return c.why.fail(fd.error(), explain("binding a bell", errno));
        return fd;
    }
    result<void> close(time_point) {
        core_->shut();
        return {};
    }

    /// Of the message that was received last: its number in the ring, and when it was committed, in
    /// nanoseconds since 1970.
    [[nodiscard]] std::uint64_t sequence() const noexcept { return core_->last.sequence; }
    [[nodiscard]] std::uint64_t time() const noexcept { return core_->last.time; }
    /// A ring does not tell; always 0.
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return 0; }
    [[nodiscard]] peer_type sender_type() const {
        const auto& h = core_->file.header();
        const auto length = std::min<std::size_t>(h.description_bytes, sizeof h.description);
        return {h.fingerprint, std::string(h.description, length)};
    }
    [[nodiscard]] parley::limits limits() const noexcept {
        return ring_limits(core_->file.memory().shape);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    [[nodiscard]] static result<mmap_source> open(const std::string& path,
                                                  const open_request& request,
                                                  const ring_plan& plan, uri address) {
        auto c = std::make_unique<core>(path, request.type, plan, std::move(address));
        if (auto r = c->open(*request.why); !r) return r.error();
        c->guard_against_fork();
        return mmap_source(std::move(c));
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
            if (auto taken = file.take(reader_lock); !taken) {
                return words.fail(taken.error() == errc::would_block ? make_error_code(errc::in_use)
                                                                     : taken.error(),
                                  path + " has a live receiver");
            }
            if (auto known = learn_type(words); !known) return known;
            auto& s = file.page();
            next = {std_atomics::load(s.head, std::memory_order_acquire), 0,
                    std_atomics::load(s.from, std::memory_order_acquire),
                    file.memory().shape.alignment};
            if (!file.memory().shape.is_place(next.position)) {
                return words.fail(errc::corrupt, path +
                                                     " is damaged: its receiver's place means "
                                                     "nothing; remove it, begin a new one");
            }
            data.emplace(s.data_asleep, s.data_bell, socket_bell::name{s.id, -1, 0}, plan.waits);
            std_atomics::store(s.released, next.position, std::memory_order_seq_cst);
            ring_sender(next.position);
            file.mended();
            return {};
        }
        result<void> learn_type(diagnostics& words) {
            const auto fingerprint = file.header().fingerprint;
            usable = type.fingerprint == 0 || type.fingerprint == fingerprint;
            if (fingerprint == 0 || usable) return {};
            return words.fail(errc::incompatible,
                              path + ": " + type_mismatch(type.description, file.type_text()));
        }

        [[nodiscard]] bool sees_more() const noexcept {
            return std_atomics::load(file.page().tail, std::memory_order_seq_cst) != next.position;
        }
        [[nodiscard]] bool other_sender() const noexcept {
            return store::has_sender(file.page(), file.descriptor(), ended);
        }
        /// True with the next message; else `verdict` or `failed` may be set.
        bool take(bytes& message) {
            for (;;) {
                const auto tail = std_atomics::load(file.page().tail, std::memory_order_acquire);
                if (tail == next.position) {
                    if (end_is_told()) return false;
                    if (data->is_polled()) halt();  // what comes next is to be shown
                    if (!data->rearm([this] { return sees_more(); })) return false;
                    continue;
                }
                halt();
                data->show();
                if (!judge(tail)) return false;
                next.step_over(last);
                // In this order: at no moment a record of an earlier sender would be taken for it.
                std_atomics::store(file.page().from, last.sender, std::memory_order_release);
                std_atomics::store(file.page().head, next.position, std::memory_order_release);
                if (last.kind == store::record_kind::message) {
                    message = {file.memory().at(last.position) + store::record_header_bytes,
                               last.length};
                    return true;
                }
                ended = last.sender;
                end_due = true;
                release();
            }
        }
        /// The short way of take(): false, and nothing is changed, for whatever is not a message of
        /// this length.
        [[nodiscard]] bool take_into(mutable_bytes into) noexcept {
            const auto tail = std_atomics::load(file.page().tail, std::memory_order_acquire);
            const auto& m = file.memory();
            store::record_header h;
            const auto there = tail - next.position;  // what else it may be is judged below
            if (there == 0 || there > m.shape.capacity ||
                store::judge_header(m.from(next.position, tail), next, h) != store::judged::whole ||
                h.kind != store::record_kind::message || h.length != into.size()) [[unlikely]] {
                return false;
            }
            const auto* const payload = m.at(h.position) + store::record_header_bytes;
            if (store::record_copy(h, payload, into.data()) != h.check) [[unlikely]]
                return false;
            --swift;
            next.step_over(h);
            last.sequence = h.sequence;
            last.time = h.time;
            std_atomics::store(file.page().from, h.sender, std::memory_order_release);
            std_atomics::store(file.page().head, next.position, std::memory_order_release);
            give_room();
            return true;
        }
        bool end_is_told() {
            if (!end_due || other_sender()) return false;
            end_due = false;
            verdict = errc::closed;
            data->show();
            return true;
        }
        bool judge(std::uint64_t tail) {
            const auto& m = file.memory();
            const bool placed = tail > next.position && tail - next.position <= m.shape.capacity &&
                                m.shape.is_place(tail);
            if (!file_is_whole()) return false;
            if (!placed || m.judge(next, tail, last) != store::judged::whole) {
                verdict = why.fail(
                    errc::corrupt,
                    path + " is damaged at byte " +
                        std::to_string(store::ring_offset + next.position % m.shape.capacity) +
                        ": all before it was good; committed messages are missing "
                        "from there on (the next sender goes on behind the last "
                        "good one)");
                return false;
            }
            if (usable) return true;
            if (auto r = learn_type(why); !r) failed = r.error();
            return !failed;
        }
        /// A look at the file's size now and then: a page that is gone is SIGBUS to touch.
        bool file_is_whole() {
            if (before_look != 0) return --before_look, true;
            before_look = look_every - 1;
            data->show(before_look);  // which the short way leaves out
            if (file.is_whole()) return true;
            failed = why.fail(errc::corrupt, path + " was truncated while it was open");
            return false;
        }
        /// No message goes the short way until the next release().
        void halt() noexcept { before_look += std::exchange(swift, 0U); }
        void release() noexcept {
            borrowed = false;
            if (failed) return;
            if (usable) swift += std::exchange(before_look, 0U);
            give_room();
        }
        [[gnu::always_inline]] void give_room() noexcept {
            auto& s = file.page();
            if (publish_to<std_atomics>(s.room_asleep, enrolled, s.released, next.position) != 0) {
                ring_sender(next.position);
            }
        }
        void ring_sender(std::uint64_t released) noexcept {
            auto& s = file.page();
            if (std_atomics::load(s.room_asleep, std::memory_order_seq_cst) == 0) return;
            if (released < std_atomics::load(s.room_wanted, std::memory_order_relaxed)) return;
            store::ring_for<std_atomics>(s.room_asleep, s.room_bell, bell, [&] {
                return socket_bell::name{s.id, 0, 0};
            });
        }
        void shut() noexcept {
            if (data) data->reset();
            bell.reset();
            file.leave();
            failed = errc::closed;
            halt();
        }

        std::string path;
        message_type type;
        ring_plan plan;
        uri address;
        diagnostics why;
        store::ring_file file;
        std::optional<store::bell_waiter<std_atomics>> data;
        socket_bell bell;
        static constexpr unsigned look_every = 64;  // messages

        store::expectation next;      // of the record that comes next
        store::record_header last{};  // of the one that was judged last
        unsigned before_look = 0;     // so many until the file is looked at; 0 while they may …
        unsigned swift = 0;           // … go the short way
        bool enrolled = std_atomics::enrol();
        std::uint32_t ended = 0;
        error_code verdict, failed;
        bool end_due = false;
        bool borrowed = false;
        bool usable = true;  // the ring is known to be of our type
    };

    explicit mmap_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
