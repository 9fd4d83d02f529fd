// SPDX-License-Identifier: MIT
// The writer's end of a latest value.
#pragma once

#include <parley/base/assert.hpp>
#include <parley/detail/fork.hpp>
#include <parley/shm/latest.hpp>
#include <parley/shm/topic.hpp>
#include <parley/transport/loan.hpp>
#include <parley/transport/transport.hpp>

#include <memory>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

/// A process's hold on a value as its writer.
template <class Atomics>
struct latest_writer_core final : fork_sensitive {
    latest_writer_core(segment s, std::string name, uri a)
        : seg(std::move(s)), path(std::move(name)), address(std::move(a)) {}
    ~latest_writer_core() override { unguard(); }

    void in_forked_child() noexcept override { drop(); }

    result<void> map(diagnostics& d) {
        namespace layout = shm_layout;
        constexpr int rights = PROT_READ | PROT_WRITE;
        const int file = seg.file.get();
        if (auto r = try_lock(file, writer_lock(0)); !r) {
            return d.fail(r.error() == errc::would_block ? errc::in_use : r.error(),
                          address.text() + " has a live writer");
        }
        const auto at = seg.shape.rings_offset(), n = seg.shape.segment_bytes() - at;
        if (auto r = reserve(file, at, n, address.text(), d); !r) return r;
        auto r = readers_map.map(file, layout::reader_offset, layout::page_bytes, PROT_READ);
        if (r) r = bell_map.map(file, layout::doorbell_offset, layout::page_bytes, rights);
        if (r) r = page_map.map(file, layout::lanes_offset, layout::page_bytes, rights);
        if (r) r = buffers_map.map(file, at, n, rights);
        if (!r) return d.fail(r.error(), explain("mapping " + address.text(), errno));
        all = &readers_map.as<const layout::subscribers_page>();
        me = &page_map.as<layout::latest_page>();
        value = value_writer<Atomics>(buffers_map.data(), seg.shape.capacity, *me, *all);
        claim = Atomics::load(me->claims, std::memory_order_relaxed) + 1;
        me->pid = static_cast<std::uint32_t>(::getpid());
        me->pid_namespace = namespace_id("pid");
        Atomics::store(me->claims, claim, std::memory_order_release);
        wake(Atomics::load(all->asleep, std::memory_order_seq_cst));
        guard_against_fork();
        return {};
    }
    [[gnu::noinline]] void wake(std::uint64_t a) noexcept {
        rung_for = a;
        ring_all<Atomics>(a, bell_map.template as<shm_layout::doorbell_page>().bell, [] {});
    }
    [[gnu::noinline, gnu::cold]] result<void> refuse(std::size_t n) {
        if (!open) return errc::closed;
        if (loaned) return why.fail(errc::out_of_resources, "one loan at a time");
        return why.fail(errc::message_too_large, "a value of " + std::to_string(n) + " bytes; " +
                                                     address.text() + " takes at most " +
                                                     std::to_string(value.bytes_max()) +
                                                     ": raise ?capacity_bytes=… at the writer");
    }
    void close() noexcept {
        if (open) {
            Atomics::store(me->closed, claim, std::memory_order_seq_cst);
            wake(Atomics::load(all->asleep, std::memory_order_seq_cst));
            leave_segment(path, seg.file);
        }
        drop();
    }
    void drop() noexcept {
        seg.file.reset();
        open = false;
    }

    segment seg;
    std::string path;
    uri address;
    diagnostics why;
    mapping readers_map, bell_map, page_map, buffers_map;
    const shm_layout::subscribers_page* all = nullptr;
    shm_layout::latest_page* me = nullptr;
    value_writer<Atomics> value;
    own_room staged;
    std::uint64_t rung_for = 0;
    std::uint32_t claim = 0;
    bool loaned = false;
    bool open = true;
};

template <class Atomics>
class latest_value_sink {
    using core = latest_writer_core<Atomics>;

public:
    static constexpr bool in_memory = true, straight = true;

    using loan = core_loan<core>;

    [[gnu::always_inline]] result<void> send_from(bytes m, time_point) {
        core& c = *core_;
        if (!c.open || c.loaned || m.size() > c.value.bytes_max()) [[unlikely]]
            return c.refuse(m.size());
        const auto asleep = c.value.write(m);
        if (asleep != c.rung_for) [[unlikely]]
            c.wake(asleep);
        return {};
    }
    [[nodiscard]] result<loan> try_loan(std::size_t n) {
        core& c = *core_;
        if (!c.open || c.loaned || n > c.value.bytes_max()) return c.refuse(n).error();
        c.staged.make(c.value.bytes_max(), c.seg.shape.alignment);
        c.loaned = true;
        return loan(&c, {c.staged.get(), n});
    }
    result<void> try_commit(loan l) {
        PARLEY_ASSERT(l.belongs_to(*core_));
        l.give_back();
        return send_from(l.bytes(), expired);
    }
    result<void> flush(time_point) { return {}; }
    result<void> wait(time_point) { return {}; }  // there is always room
    result<int> pollable() {
        return core_->why.fail(errc::unsupported, "a writer that never waits has no descriptor");
    }
    result<void> close(time_point) {
        core_->close();
        return {};
    }

    [[nodiscard]] std::uint64_t version() const noexcept { return core_->value.version(); }
    [[nodiscard]] parley::limits limits() const noexcept {
        return {.message_bytes_max = core_->value.bytes_max(),
                .readers_max = ~std::size_t{0},
                .lossy = true,
                .pollable = false,
                .reports_peer_loss = false};
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    [[nodiscard]] uri address() const { return core_->address; }

    latest_value_sink(latest_value_sink&&) noexcept = default;
    latest_value_sink& operator=(latest_value_sink&& other) noexcept {
        if (core_) core_->close();
        core_ = std::move(other.core_);
        return *this;
    }
    ~latest_value_sink() {
        if (core_) core_->close();
    }
    [[nodiscard]] static result<latest_value_sink> claim(segment seg, std::string path, uri address,
                                                         diagnostics& why) {
        auto c = std::make_unique<core>(std::move(seg), std::move(path), std::move(address));
        if (auto r = c->map(why); !r) {
            leave_segment(c->path, c->seg.file);
            return r.error();
        }
        return latest_value_sink(std::move(c));
    }

private:
    explicit latest_value_sink(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    std::unique_ptr<core> core_;
};

using latest_sink = latest_value_sink<std_atomics>;

}  // namespace detail
}  // namespace v1
}  // namespace parley
