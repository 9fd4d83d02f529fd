// SPDX-License-Identifier: MIT
// The heap of a set of shared objects: names, types, owners, and memory for containers.
#pragma once

#include <parley/base/error.hpp>
#include <parley/codec/object_type.hpp>
#include <parley/detail/atomics.hpp>
#include <parley/shm/object_file.hpp>

#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/indexes/null_index.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <boost/interprocess/segment_manager.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>
#include <boost/version.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

// Without a lock of its own: all of it happens under the robust lock of the file.
using object_memory = boost::interprocess::segment_manager<
    char, boost::interprocess::rbtree_best_fit<boost::interprocess::null_mutex_family>,
    boost::interprocess::null_index>;

/// An object's entry in the list of names.
struct object_entry {
    static constexpr std::size_t name_bytes_max = 63;

    boost::interprocess::offset_ptr<object_entry> next;
    boost::interprocess::offset_ptr<void> object;
    std::uint64_t fingerprint = 0;
    std::uint32_t owner = 0, incarnation = 0;
    std::uint32_t description_bytes = 0;
    char name[name_bytes_max + 1] = {};
    char description[256] = {};

    [[nodiscard]] std::string_view words() const noexcept {
        return {description,
                description_bytes < sizeof description ? description_bytes : sizeof description};
    }
};
/// What lies in the header.
struct object_root {
    boost::interprocess::offset_ptr<object_entry> first;
};
static_assert(sizeof(object_root) <= sizeof(object_file_header::root));
inline constexpr std::uint32_t object_build =
    static_cast<std::uint32_t>(BOOST_VERSION) << 8 | sizeof(void*);

}  // namespace detail

/// The allocator of containers that live among shared objects; made from an object_heap.
template <class T>
using shared_allocator = boost::interprocess::allocator<T, detail::object_memory>;

/// Whose an object is.
enum class ownership : std::uint8_t { mine, another, orphaned };

/// The objects, while their lock is held: what `update` and `look` hand to a function. Pointers and
/// references into it hold until that function returns.
/// Errors: not_found, in_use (the name is taken), incompatible (the object is of another type; both
/// are named), invalid_argument (a name of 0 or more than 63 bytes), out_of_resources (the heap is
/// full; nothing was changed). Containers throw boost::interprocess::bad_alloc when it is full.
class object_heap {
public:
    object_heap(detail::object_file& file, diagnostics& why) noexcept : file_(file), why_(why) {}

    /// For the containers that are made here.
    template <class T>
    [[nodiscard]] shared_allocator<T> allocator() const noexcept {
        return shared_allocator<T>(&memory());
    }

    template <class T>
    [[nodiscard]] result<const T*> find(std::string_view name) const {
        const auto found = const_cast<object_heap*>(this)->find<T>(name);
        if (!found) return found.error();
        return *found;
    }
    template <class T>
    [[nodiscard]] result<T*> find(std::string_view name) {
        const auto* e = entry(name);
        if (e == nullptr) {
            return why_.fail(errc::not_found,
                             "no object '" + std::string(name) + "' in " + file_.path());
        }
        if (e->fingerprint != object_type<T>::type.fingerprint) {
            return why_.fail(errc::incompatible,
                             "object '" + std::string(name) + "' in " + file_.path() + " is [" +
                                 std::string(e->words()) + "], not [" +
                                 std::string(object_type<T>::type.description) + "]");
        }
        return static_cast<T*>(e->object.get());
    }
    /// Made from the arguments; this process is its owner.
    template <class T, class... Args>
    [[nodiscard]] result<T*> make(std::string_view name, Args&&... args) {
        if (entry(name) != nullptr) {
            return why_.fail(errc::in_use, "there is an object '" + std::string(name) + "' in " +
                                               file_.path() + " already");
        }
        if (name.empty() || name.size() > detail::object_entry::name_bytes_max) {
            return why_.fail(errc::invalid_argument,
                             "object '" + std::string(name) + "': wants a name of 1 to 63 bytes");
        }
        void* const place = memory().allocate_aligned(sizeof(T), aligned<T>(), std::nothrow);
        void* const listed = memory().allocate(sizeof(detail::object_entry), std::nothrow);
        if (place == nullptr || listed == nullptr) {
            memory().deallocate(place);
            memory().deallocate(listed);
            return full();
        }
        T* made = nullptr;
        try {
            made = ::new (place) T(std::forward<Args>(args)...);
        } catch (...) {
            memory().deallocate(place);
            memory().deallocate(listed);
            throw;
        }
        auto* e = ::new (listed) detail::object_entry;
        e->object = made;
        e->fingerprint = object_type<T>::type.fingerprint;
        const auto words = object_type<T>::type.description.substr(0, sizeof e->description);
        e->description_bytes = static_cast<std::uint32_t>(words.size());
        std::memcpy(e->description, words.data(), words.size());
        std::memcpy(e->name, name.data(), name.size());
        own(*e);
        e->next = root().first;
        root().first = e;
        return made;
    }
    template <class T, class... Args>
    [[nodiscard]] result<T*> find_or_make(std::string_view name, Args&&... args) {
        if (entry(name) != nullptr) return find<T>(name);
        return make<T>(name, std::forward<Args>(args)...);
    }
    /// Destroys it.
    template <class T>
    [[nodiscard]] result<void> remove(std::string_view name) {
        const auto found = find<T>(name);
        if (!found) return found.error();
        auto* link = &root().first;
        while ((*link)->object.get() != *found) link = &(*link)->next;
        detail::object_entry* const e = link->get();
        *link = e->next;
        std::destroy_at(*found);
        memory().deallocate(*found);
        memory().deallocate(e);
        return {};
    }

    /// Whether its owner lives. Errors: not_found.
    [[nodiscard]] result<ownership> owner_of(std::string_view name) const {
        const auto* e = entry(name);
        if (e == nullptr) return errc::not_found;
        if (e->owner == file_.number() && e->incarnation == file_.incarnation()) {
            return ownership::mine;
        }
        return file_.lives(e->owner, e->incarnation) ? ownership::another : ownership::orphaned;
    }
    /// Makes an orphan this process's own. Errors: not_found, in_use (its owner lives).
    [[nodiscard]] result<void> adopt(std::string_view name) {
        auto* e = entry(name);
        const auto whose = owner_of(name);
        if (!whose) return whose.error();
        if (*whose == ownership::another) {
            return why_.fail(errc::in_use, "object '" + std::string(name) +
                                               "' belongs to process " +
                                               std::to_string(file_.member(e->owner).pid));
        }
        own(*e);
        return {};
    }
    /// Calls f(name, description) for each object.
    template <std::invocable<std::string_view, std::string_view> F>
    void for_each(F&& f) const {
        for (auto* e = root().first.get(); e != nullptr; e = e->next.get()) {
            f(std::string_view(e->name), e->words());
        }
    }

    [[nodiscard]] std::size_t free_bytes() const noexcept { return memory().get_free_memory(); }
    [[nodiscard]] std::size_t capacity_bytes() const noexcept { return memory().get_size(); }

    /// Forgets all objects without a look at them: the heap is as new. References to what was there
    /// are void, in all processes.
    void clear() noexcept {
        auto& h = file_.header();
        ::new (static_cast<void*>(file_.heap())) detail::object_memory(file_.capacity());
        ::new (static_cast<void*>(file_.root())) detail::object_root{};
        ++h.generation;
        // Last: who dies before leaves it to the next one to begin anew.
        detail::std_atomics::store(h.made, std::uint32_t{1}, std::memory_order_seq_cst);
    }

private:
    friend class shared_objects;

    template <class T>
    [[nodiscard]] static constexpr std::size_t aligned() noexcept {
        return alignof(T) < 16 ? 16 : alignof(T);
    }
    [[nodiscard]] detail::object_memory& memory() const noexcept {
        return *reinterpret_cast<detail::object_memory*>(file_.heap());
    }
    [[nodiscard]] detail::object_root& root() const noexcept {
        return *reinterpret_cast<detail::object_root*>(file_.root());
    }
    [[nodiscard]] detail::object_entry* entry(std::string_view name) const noexcept {
        for (auto* e = root().first.get(); e != nullptr; e = e->next.get()) {
            if (name == std::string_view(e->name)) return e;
        }
        return nullptr;
    }
    void own(detail::object_entry& e) noexcept {
        e.owner = file_.number();
        e.incarnation = file_.incarnation();
    }
    error_code full() const {
        return why_.fail(errc::out_of_resources,
                         file_.path() + " is full: " + std::to_string(free_bytes()) + " of " +
                             std::to_string(capacity_bytes()) +
                             " bytes are free; remove objects, or make it with a larger "
                             "capacity_bytes");
    }

    detail::object_file& file_;
    diagnostics& why_;
};

}  // namespace v1
}  // namespace parley
