// SPDX-License-Identifier: MIT
// The file of a mapped ring: made whole, checked, mapped; the roles of its ends.
#pragma once

#include <parley/shm/memory.hpp>
#include <parley/store/ring.hpp>

#include <sys/mman.h>

#include <string>

namespace parley {
inline namespace v1 {
namespace store {

/// Makes parts of a mapped ring durable.
struct mapped_storage {
    std::byte* page = nullptr;
    std::byte* ring = nullptr;
    std::size_t capacity = 0;

    int sync(std::uint64_t from, std::uint64_t to) noexcept {
        if (from >= to) return 0;
        const std::size_t first = from & (capacity - 1) & ~(ring_page_bytes - 1);
        const std::size_t last = static_cast<std::size_t>(to - from + (from & (capacity - 1)));
        return ::msync(ring + first, last - first, MS_SYNC) == 0 ? 0 : errno;
    }
    int sync_page() noexcept { return ::msync(page, ring_page_bytes, MS_SYNC) == 0 ? 0 : errno; }
};

/// An open ring. Movable; its mappings stay where they are.
class ring_file {
public:
    [[nodiscard]] const ring_memory& memory() const noexcept { return memory_; }
    [[nodiscard]] ends_page& page() const noexcept { return *memory_.page; }
    [[nodiscard]] const ring_header& header() const noexcept { return map_.as<ring_header>(); }
    [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
    [[nodiscard]] mapped_storage storage() const noexcept {
        return {map_.data() + ring_page_bytes, memory_.ring, memory_.shape.capacity};
    }
    /// False once somebody has cut the file: what lies behind would be SIGBUS.
    [[nodiscard]] bool is_whole() const noexcept {
        struct stat s {};
        return ::fstat(file_.get(), &s) == 0 &&
               s.st_size >= static_cast<off_t>(memory_.shape.file_bytes());
    }

    /// Opens the ring at `path`, or makes it. Others that make or mend it wait until mended().
    /// Errors: not_found (the directory), denied, out_of_resources (a full disk), corrupt,
    /// incompatible (layout, capacity, alignment).
    [[nodiscard]] result<void> open(const std::string& path, const ring_shape& wanted,
                                    bool any_capacity, const message_type& type,
                                    const detail::known_permissions& mode, diagnostics& why) {
        real_files fs;
        for (int e; (e = fs.open(path, true, file_)) != 0;) {
            if (e == EISDIR || e == ELOOP) return foreign(path, why);
            if (e != ENOENT) return why.fail(from_errno(e), detail::explain("opening " + path, e));
            if (auto r = make(fs, path, wanted, type, mode, why); !r) return r;
        }
        if (!lock_and_wait(file_.get(), mending_lock)) {
            return why.fail(detail::last_error(), detail::explain("locking " + path, errno));
        }
        return adopt(path, wanted, any_capacity, type, why);
    }
    void mended() noexcept { detail::unlock(file_.get(), mending_lock); }
    [[nodiscard]] result<void> take(off_t role) noexcept {
        return detail::try_lock(file_.get(), role);
    }
    void leave() noexcept { file_.reset(); }

    /// Of a ring that was made without a type: the first sender's type is its type.
    [[nodiscard]] int set_type(const message_type& type) noexcept {
        map_.as<ring_header>() = make_ring_header(memory_.shape, type);
        return ::msync(map_.data(), ring_page_bytes, MS_SYNC) == 0 ? 0 : errno;
    }
    [[nodiscard]] std::string type_text() const {
        const ring_header h = header();
        return {h.description, std::min<std::size_t>(h.description_bytes, sizeof h.description)};
    }

    /// Reads and checks a header. `file_bytes`: of its file.
    [[nodiscard]] static result<ring_shape> check(const ring_header& h, std::size_t bytes_read,
                                                  std::uint64_t file_bytes, const std::string& path,
                                                  diagnostics& why) {
        if (bytes_read < 16 || h.magic != ring_magic) return foreign(path, why);
        if (h.layout != ring_layout) {
            return why.fail(errc::incompatible, path + " has layout " + std::to_string(h.layout) +
                                                    ", this program speaks layout " +
                                                    std::to_string(ring_layout) +
                                                    ": build both with the same parley");
        }
        const ring_shape s{static_cast<std::size_t>(h.capacity), h.alignment};
        if (bytes_read < sizeof h || h.check != ring_header_check(h) || !s.sane() ||
            h.description_bytes > sizeof h.description) {
            return why.fail(errc::corrupt, path +
                                               " is damaged: the checksum of its header is "
                                               "wrong; restore it, or remove it and begin a "
                                               "new one");
        }
        if (file_bytes != s.file_bytes()) {
            return why.fail(errc::corrupt, path + " was truncated: it has " +
                                               std::to_string(file_bytes) + " bytes of " +
                                               std::to_string(s.file_bytes()) +
                                               "; restore it, or remove it and begin a new one");
        }
        return s;
    }

private:
    static constexpr std::size_t prefaulted_bytes_max = std::size_t{16} << 20;

    static error_code foreign(const std::string& path, diagnostics& why) {
        return why.fail(errc::corrupt, path +
                                           " is no ring of parley (or of a machine with another "
                                           "byte order); it is left alone");
    }
    result<void> make(real_files& fs, const std::string& path, const ring_shape& shape,
                      const message_type& type, const detail::known_permissions& mode,
                      diagnostics& why) {
        std::byte first[ring_offset]{};
        const ring_header h = make_ring_header(shape, type);
        ends_page p = fresh_ends();
        p.tail = p.head = p.released = shape.first();
        std::memcpy(first, &h, sizeof h);
        std::memcpy(first + ring_page_bytes, &p, sizeof p);
        const int e = publish(fs, path, first, mode, shape.file_bytes());
        if (e == 0 || e == EEXIST) return {};
        return why.fail(
            from_errno(e),
            detail::explain("making " + path + " of " + std::to_string(shape.file_bytes()) +
                                " bytes (a smaller ?capacity_bytes= helps if there "
                                "is no room)",
                            e));
    }
    result<void> adopt(const std::string& path, const ring_shape& wanted, bool any_capacity,
                       const message_type& type, diagnostics& why) {
        ring_header h{};
        struct stat s {};
        const auto n = ::pread(file_.get(), &h, sizeof h, 0);
        if (n < 0 || ::fstat(file_.get(), &s) != 0) {
            return why.fail(detail::last_error(), detail::explain("reading " + path, errno));
        }
        const auto shape =
            check(h, static_cast<std::size_t>(n), static_cast<std::uint64_t>(s.st_size), path, why);
        if (!shape) return shape.error();
        if (!any_capacity && shape->capacity != wanted.capacity) {
            return why.fail(errc::incompatible,
                            path + " has a capacity of " + std::to_string(shape->capacity) +
                                " bytes, not " + std::to_string(wanted.capacity) +
                                "; ask for what it is, or remove it first");
        }
        // Who takes messages of any type looks at bytes.
        if (type.fingerprint != 0 && type.alignment > shape->alignment) {
            return why.fail(errc::incompatible, path + " aligns messages to " +
                                                    std::to_string(shape->alignment) + " bytes; [" +
                                                    std::string(type.description) + "] wants " +
                                                    std::to_string(type.alignment));
        }
        constexpr int rights = PROT_READ | PROT_WRITE;
        auto r = map_.map(file_.get(), 0, ring_offset, rights);
        if (r) r = ring_.map_twice(file_.get(), ring_offset, shape->capacity, rights);
        if (!r) return why.fail(r.error(), detail::explain("mapping " + path, errno));
        // So that the first lap is as fast as the next; a large ring is worth no such wait.
        if (shape->capacity <= prefaulted_bytes_max) (void)detail::populate(ring_, false);
        memory_ = {*shape, ring_.data(), &map_.as<ends_page>(ring_page_bytes)};
        if (page().magic == ends_magic && page().layout == ends_layout) return {};
        return why.fail(errc::corrupt, path + " is damaged: its second page is none of parley's");
    }

    detail::unique_fd file_;
    detail::mapping map_, ring_;
    ring_memory memory_;
};

}  // namespace store
}  // namespace v1
}  // namespace parley
