// SPDX-License-Identifier: MIT
// A reader's end of a latest value.
#pragma once

#include <parley/detail/fork.hpp>
#include <parley/shm/latest.hpp>
#include <parley/shm/topic.hpp>
#include <parley/shm/waiting.hpp>
#include <parley/transport/transport.hpp>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A process's hold on a value as one of its readers.
template <class Atomics>
struct latest_reader_core final : fork_sensitive {
    latest_reader_core(segment s, std::string name, uri a, wait_plan p)
        : seg(std::move(s)), path(std::move(name)), address(std::move(a)), plan(p) {}
    ~latest_reader_core() override { unguard(); }

    void in_forked_child() noexcept override { drop(); }

    result<void> map(diagnostics& d) {
        namespace layout = shm_layout;
        const int file = seg.file.get();
        const auto at = seg.shape.rings_offset(), n = seg.shape.segment_bytes() - at;
        // The writer reserved this memory; a hostile one did not.
        if (auto r = reserve(file, at, n, address.text(), d); !r) return r;
        auto r = readers_map.map(file, layout::reader_offset, layout::page_bytes,
                                 PROT_READ | PROT_WRITE);
        if (r) r = writer_map.map(file, layout::doorbell_offset, 2 * layout::page_bytes, PROT_READ);
        if (r) r = buffers_map.map(file, at, n, PROT_READ);
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        writer = &writer_map.as<const layout::latest_page>(layout::page_bytes);
        value = value_reader<Atomics>(buffers_map.data(), seg.shape.capacity, *writer);
        room.make(seg.shape.capacity, seg.shape.alignment);
        guard_against_fork();
        return {};
    }

    [[nodiscard]] bool has_closed() const noexcept {
        return Atomics::load(writer->closed, std::memory_order_acquire) ==
               Atomics::load(writer->claims, std::memory_order_acquire);
    }
    /// Once for each writer: that it ended. would_block: it did not, or it was said.
    [[nodiscard]] error_code end_of_writer() {
        const auto claim = Atomics::load(writer->claims, std::memory_order_acquire);
        if (claim == claim_over) return errc::would_block;
        const bool closed = has_closed();
        if (!closed) {
            const auto t = coarse_now_ns();
            if (t - looked_ns < liveness_interval.count()) return errc::would_block;
            looked_ns = t;
            died = false;
            if (is_locked(seg.file.get(), writer_lock(0))) return errc::would_block;
        }
        // It ended after the last look at the value: what it wrote before counts.
        if (value.newest(std::memory_order_acquire) != seen) return errc::lagged;
        if (Atomics::load(writer->claims, std::memory_order_acquire) != claim) return errc::lagged;
        claim_over = claim;
        if (closed) return make_error_code(errc::closed);
        ++writers_lost;
        return why.fail(errc::peer_lost, "the writer of " + address.text() +
                                             " died; its last value can still be read");
    }
    [[nodiscard]] bool something_to_say(std::memory_order order) const noexcept {
        if (!open || value.newest(order) != seen) return true;
        const auto claim = Atomics::load(writer->claims, order);
        return claim != claim_over && (has_closed() || died);
    }
    /// Asks the kernel each 50 ms.
    void look_after_writer() noexcept {
        const auto claim = Atomics::load(writer->claims, std::memory_order_acquire);
        const auto t = coarse_now_ns();
        if (claim == claim_over || t - looked_ns < liveness_interval.count()) return;
        died = !is_locked(seg.file.get(), writer_lock(0));
        if (!died) looked_ns = t;  // else end_of_writer() looks for itself
    }
    void park(time_point until) noexcept {
        many_sleepers<Atomics> all{readers_map.template as<shm_layout::subscribers_page>().asleep,
                                   writer_map.template as<const shm_layout::doorbell_page>().bell};
        const auto rung = all.lie_down(asleep_on_futex);
        if (something_to_say(std::memory_order_seq_cst)) return;
        const duration most = liveness_interval;
        all.sleep(rung, until == never ? most : shorter(most, until - clock::now()));
    }
    void close() noexcept {
        leave_segment(path, seg.file);
        drop();
    }
    void drop() noexcept {
        seg.file.reset();
        open = false;
    }

    segment seg;
    std::string path;
    uri address;
    wait_plan plan;
    diagnostics why;
    mapping readers_map, writer_map, buffers_map;
    const shm_layout::latest_page* writer = nullptr;
    value_reader<Atomics> value;
    own_room room;
    std::uint64_t seen = 0;  // the version that was handed out last
    std::uint64_t lost = 0;
    std::uint64_t writers_lost = 0;
    std::uint32_t claim_over = 0;  // the writer whose end was told
    std::int64_t looked_ns = 0;
    bool died = false;
    bool borrowed = false;
    bool open = true;
};

template <class Atomics>
class latest_value_source {
    using core = latest_reader_core<Atomics>;

public:
    static constexpr bool in_memory = true;

    /// A copy of the value, in memory of its reader.
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
        friend latest_value_source;
        view(core* c, parley::bytes b) noexcept : core_(c), bytes_(b) { c->borrowed = true; }
        void let_go() noexcept {
            if (core_ != nullptr) core_->borrowed = false;
            core_ = nullptr;
        }
        core* core_;
        parley::bytes bytes_;
    };

    /// The newest version, if it was not handed out yet.
    [[nodiscard]] result<view> try_receive() {
        core& c = *core_;
        if (!c.open) return errc::closed;
        for (;;) {
            if (c.value.newest(std::memory_order_acquire) != c.seen) return current();
            const auto end = c.end_of_writer();
            if (end != errc::lagged) return end;
        }
    }
    /// The newest version, also once more. would_block: there is none yet.
    [[nodiscard]] result<view> current() {
        core& c = *core_;
        if (!c.open) return errc::closed;
        if (c.borrowed) return c.why.fail(errc::out_of_resources, "one borrow at a time");
        const auto v = c.value.read(c.room.get());
        if (v.broken) {
            return c.why.fail(errc::corrupt, "process " + std::to_string(c.writer->pid) +
                                                 " wrote no value at " + c.address.text());
        }
        if (v.version == 0) return errc::would_block;
        // Who comes late has missed nothing of what was there before.
        if (c.seen != 0 && v.version > c.seen + 1) c.lost += v.version - c.seen - 1;
        c.seen = v.version;
        return view(&c, v.value);
    }

    result<void> wait(time_point until) {
        core& c = *core_;
        const time_point spin_until = c.plan.spin_until(until);
        while (c.open) {
            for (int i = 0; i < 64; ++i) {
                if (c.something_to_say(std::memory_order_acquire)) return {};
                Atomics::pause();
            }
            c.look_after_writer();
            if (spin_until != expired && clock::now() < spin_until) continue;
            if (until != never && clock::now() >= until) return errc::timed_out;
            c.park(until);
        }
        return {};
    }
    result<int> pollable() {
        return core_->why.fail(errc::unsupported, "a latest value has no descriptor to poll");
    }
    result<void> close(time_point) {
        core_->close();
        return {};
    }

    [[nodiscard]] std::uint64_t version() const noexcept { return core_->seen; }
    [[nodiscard]] std::uint64_t peers_lost() const noexcept { return core_->writers_lost; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return core_->lost; }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->seg.shape.capacity - 8,
                .readers_max = ~std::size_t{0},
                .lossy = true,
                .pollable = false,
                .successors = true};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    latest_value_source(latest_value_source&&) noexcept = default;
    latest_value_source& operator=(latest_value_source&& other) noexcept {
        if (core_) core_->close();
        core_ = std::move(other.core_);
        return *this;
    }
    ~latest_value_source() {
        if (core_) core_->close();
    }
    [[nodiscard]] static result<latest_value_source> claim(segment seg, std::string path,
                                                           uri address, wait_plan plan,
                                                           diagnostics& why) {
        auto c = std::make_unique<core>(std::move(seg), std::move(path), std::move(address), plan);
        if (auto r = c->map(why); !r) {
            c->close();
            return r.error();
        }
        return latest_value_source(std::move(c));
    }

private:
    explicit latest_value_source(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

using latest_source = latest_value_source<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
