// SPDX-License-Identifier: MIT
// Objects in shared memory: found by name, of any type, with containers that grow.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/permissions.hpp>
#include <parley/base/time.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/object_heap.hpp>
#include <parley/shm/object_file.hpp>

#include <boost/interprocess/exceptions.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;

}  // namespace detail

/// What a set of shared objects is to be. Who comes first decides, but for `memory`.
struct object_options {
    std::size_t capacity_bytes = std::size_t{16} << 20;  ///< of the heap, at least 64 KiB
    parley::permissions permissions = {};
    std::string directory = "/dev/shm";  ///< any file system whose files can be mapped
    /// The objects outlive the processes; else they go with the last one, however it ends.
    bool keep = false;
    memory_options memory = {};
};

/// Mends the objects after a process died in the middle of a change; may clear() them.
using object_repair = std::function<result<void>(object_heap&)>;

/// Objects of any type in shared memory, found by name by all processes that open the same set.
///
///     struct order { std::uint32_t id; double price; };
///     using book = boost::interprocess::vector<order, parley::shared_allocator<order>>;
///
///     auto world = parley::open_objects("market").value();
///     world.update([](parley::object_heap& heap) {
///         auto* orders = heap.find_or_make<book>("orders", heap.allocator<order>()).value();
///         orders->push_back({7, 99.5});
///     }).value();
///
/// Whoever comes first makes the set; the last one to go removes it, also if it is killed (then the
/// next one to come does), unless it is to be kept. All changes and looks happen under one lock for
/// the set, which survives the death of its holder. One who dies in a look breaks nothing. One who
/// dies in an update leaves what it was changing half changed: the next one runs the repair given
/// at open; where there is none, update and look say `corrupt` until somebody calls reset(). For
/// data that must not wait for others, use a channel or a latest cell: nobody locks there.
///
/// Thread safety: update and look from all threads and processes. Lifetime: references into the
/// heap hold until the function that got the heap returns; an object stays at its address in this
/// process, but only under the lock is it safe to touch. In a forked child it is closed: open it
/// there again. Blocking: until the lock is free, or the deadline passes.
/// Errors of open: denied, out_of_resources (memory; or 64 members), corrupt (the file is something
/// else), incompatible (made with another word size, Boost or parley), invalid_argument, timed_out.
/// Errors of update and look: timed_out, would_block (a deadline of zero), corrupt, closed,
/// out_of_resources (the heap is full: from a container), and what the function returns.
/// Security: members trust each other; who may write the file may break the objects in it.
/// Source: the segment manager and containers of Boost.Interprocess (Gaztanaga), without its locks.
class shared_objects {
public:
    /// Calls f(object_heap&) with the right to change everything. f returns nothing, a value, or a
    /// result. What f throws comes out of here, its changes stay.
    template <std::invocable<object_heap&> F>
    auto update(F&& f, deadline d = never) {
        using value = std::invoke_result_t<F, object_heap&>;
        return locked<value>(d, [&](object_heap& heap) -> value {
            const marked change(core_->file.header().changing);
            return std::invoke(f, heap);
        });
    }
    /// Calls f(const object_heap&) while nobody changes anything.
    template <std::invocable<const object_heap&> F>
    auto look(F&& f, deadline d = never) {
        using value = std::invoke_result_t<F, const object_heap&>;
        return locked<value>(
            d, [&](const object_heap& heap) -> value { return std::invoke(f, heap); });
    }
    /// Empties the set, whatever state it is in. Errors: timed_out, closed.
    result<void> reset(deadline d = never) {
        auto held = hold(d);
        if (!held) return held.error();
        const marked change(core_->file.header().changing);
        object_heap(core_->file, core_->why).clear();
        return {};
    }

    /// How often the set was emptied: a change tells that everything in it is new.
    [[nodiscard]] std::uint64_t generation() const noexcept {
        return std_generation(core_->file.header().generation);
    }
    [[nodiscard]] const diagnostics& why() const noexcept { return core_->why; }
    /// Goes; as the last one it removes the set. The destructor does the same.
    void close() noexcept { core_->file.leave(); }

private:
    friend result<shared_objects> open_objects(std::string, object_options, object_repair, deadline,
                                               diagnostics*);
    struct core {
        core(detail::object_file_plan plan, object_repair r)
            : file(std::move(plan)), repair(std::move(r)) {}
        detail::object_file file;
        object_repair repair;
        diagnostics why;
    };
    /// Says for as long as it lives that a change is under way. Who is killed leaves it so: stores
    /// are seen in order by a process that comes later, and the compiler must not move them.
    class marked {
    public:
        explicit marked(std::uint32_t& at) noexcept : at_(at) {
            detail::std_atomics::store(at_, std::uint32_t{1}, std::memory_order_seq_cst);
        }
        marked(const marked&) = delete;
        marked& operator=(const marked&) = delete;
        ~marked() { detail::std_atomics::store(at_, std::uint32_t{0}, std::memory_order_seq_cst); }

    private:
        std::uint32_t& at_;
    };

    explicit shared_objects(std::unique_ptr<core> c) noexcept : core_(std::move(c)) {}

    [[nodiscard]] static std::uint64_t std_generation(const std::uint64_t& at) noexcept {
        return detail::std_atomics::load(at, std::memory_order_acquire);
    }
    [[nodiscard]] result<robust_lock::guard> hold(deadline d) {
        if (!core_->file.open()) return errc::closed;
        // The lock itself is sound after a death; whether the objects are, `changing` says.
        return core_->file.header().lock.lock([] { return result<void>(); }, d);
    }
    /// Mends what a dead one left.
    result<void> mend(object_heap& heap) {
        auto& h = core_->file.header();
        if (h.changing == 0) return {};
        if (!core_->repair) {
            return core_->why.fail(errc::corrupt,
                                   "a process died while it changed the objects of " +
                                       core_->file.path() +
                                       ": give open_objects a repair, or call reset()");
        }
        if (auto r = core_->repair(heap); !r) return r;
        h.changing = 0;
        return {};
    }
    template <class Value, class F>
    auto locked(deadline d, F&& f) {
        using plain = std::conditional_t<detail::is_result<Value>, Value, result<Value>>;
        const auto held = hold(d);
        if (!held) return plain(boost::system::in_place_error, held.error());
        object_heap heap(core_->file, core_->why);
        if (auto r = mend(heap); !r) return plain(boost::system::in_place_error, r.error());
        try {
            if constexpr (std::is_void_v<Value>) {
                f(heap);
                return plain();
            } else {
                return plain(f(heap));
            }
        } catch (const boost::interprocess::bad_alloc&) {
            return plain(boost::system::in_place_error, heap.full());
        }
    }

    std::unique_ptr<core> core_;
};

/// Opens a set of objects: /dev/shm/parley.NAME, or a file of that name in another directory.
[[nodiscard]] inline result<shared_objects> open_objects(std::string name,
                                                         object_options options = {},
                                                         object_repair repair = {},
                                                         deadline d = never,
                                                         diagnostics* why = nullptr) {
    diagnostics own;
    diagnostics& words = why == nullptr ? own : *why;
    constexpr std::size_t least = std::size_t{64} << 10;
    if (options.capacity_bytes < least) {
        return words.fail(
            errc::invalid_argument,
            "objects in " + std::to_string(options.capacity_bytes) + " bytes: the least is 65536");
    }
    const std::size_t page = 4096;
    auto c = std::make_unique<shared_objects::core>(
        detail::object_file_plan{
            .at = {std::move(options.directory), std::move(name), std::move(options.permissions)},
            .capacity = (options.capacity_bytes + page - 1) / page * page,
            .build = detail::object_build,
            .keep = options.keep,
            .memory = options.memory},
        std::move(repair));
    if (auto r = c->file.enter(d, words); !r) return r.error();
    shared_objects made(std::move(c));
    auto held = made.hold(d);
    if (!held) return held.error();
    object_heap heap(made.core_->file, made.core_->why);
    // Who was first may have died before it was laid out.
    if (made.core_->file.header().made == 0) heap.clear();
    return made;
}

}  // namespace v1
}  // namespace parley
