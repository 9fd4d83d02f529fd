// SPDX-License-Identifier: MIT
// The memory of a segment: reserved, mapped, and laid where its options say.
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/posix.hpp>
#include <parley/shm/layout.hpp>

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {

/// What an end asks of the memory of its lanes; all of it happens at open, none at a message:
/// `shm{"frames", {.memory = {.prefault = true, .locked = true}}}`, in a URI
/// `?prefault=on&locked=on&huge_pages=on&numa_node=1`. Each end asks for itself, since each has
/// page tables of its own; the pages themselves belong to whoever touches them first, the first
/// sender of a lane. Regular; distinct objects are independent.
///
/// Errors of the open that applies them: out_of_resources (locked: the limit of locked memory is
/// too low; the words name it), unsupported (the kernel has no huge pages, no such NUMA
/// node, or is older than Linux 5.14 and cannot prefault).
struct memory_options {
    /// Pages are mapped at open: the first lap through a ring costs no page faults, which are
    /// dearer than the messages.
    bool prefault = false;
    /// They stay in memory (mlock), so no message waits for a disk. Implies prefault.
    bool locked = false;
    /// Asks for pages of 2 MiB, which want fewer entries in the processor's table, for lanes of as
    /// much. The kernel gives them where it may: for nameless segments
    /// /sys/kernel/mm/transparent_hugepage/shmem_enabled, for named ones the option `huge=` of the
    /// tmpfs, says `advise`, `within_size` or `always`. Small pages are no error.
    bool huge_pages = false;
    /// The node whose memory is preferred: the reader's. -1: the one on which the sender runs.
    int numa_node = -1;

    friend bool operator==(const memory_options&, const memory_options&) = default;
};

/// How a sender copies large messages into shared memory.
enum class copy : std::uint8_t {
    plain,  ///< as memcpy does
    /// Past the caches, from 16 KiB on: for processors that share none, for readers that come late,
    /// and where what the sender works on is to stay in its own. It costs where the reader finds
    /// plain copies in a cache: `parley bench` tells what it is on a machine.
    streaming,
};
inline constexpr std::size_t streaming_bytes_min = 16 << 10;

namespace detail {

/// A description of the same file that this process opened itself, so that its locks are its own.
/// (Here and below, what is made goes into `out`: each result<…> of one more type costs whoever
/// includes this as much as a small header.)
[[nodiscard]] inline result<void> reopen(int fd, unique_fd& out, int access = O_RDWR) noexcept {
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    out.reset(::open(path, access | O_CLOEXEC));
    if (!out) return last_error();
    return {};
}

/// A stretch of shared memory, unmapped at the end. A mapping keeps its open file description
/// alive, and with it every lock of that description: a closed end would seem to live, and a forked
/// child would keep its parent's locks. So mappings have descriptions of their own.
class mapping {
public:
    mapping() = default;
    mapping(void* at, std::size_t n) noexcept : at_(at), bytes_(n) {}
    mapping(mapping&& other) noexcept
        : at_(std::exchange(other.at_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    mapping& operator=(mapping&& other) noexcept {
        std::swap(at_, other.at_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~mapping() {
        if (at_ != nullptr) ::munmap(at_, bytes_);
    }

    [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(at_); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_; }
    explicit operator bool() const noexcept { return at_ != nullptr; }
    template <class Page>
    [[nodiscard]] Page& as(std::size_t offset = 0) const noexcept {
        return *reinterpret_cast<Page*>(data() + offset);
    }

    /// Becomes n bytes of a file.
    [[nodiscard]] result<void> map(int fd, std::size_t offset, std::size_t n,
                                   int protection) noexcept {
        unique_fd own;
        const int access = (protection & PROT_WRITE) != 0 ? O_RDWR : O_RDONLY;
        if (auto r = reopen(fd, own, access); !r) return r;
        void* at =
            ::mmap(nullptr, n, protection, MAP_SHARED, own.get(), static_cast<off_t>(offset));
        if (at == MAP_FAILED) return last_error();
        *this = mapping(at, n);
        return {};
    }
    /// The same n bytes twice, back to back, where huge pages fit if they are to.
    [[nodiscard]] result<void> map_twice(int fd, std::size_t offset, std::size_t n,
                                         int protection) noexcept {
        unique_fd own;
        const int access = (protection & PROT_WRITE) != 0 ? O_RDWR : O_RDONLY;
        if (auto r = reopen(fd, own, access); !r) return r;
        const std::size_t spare = n < shm_layout::huge_page_bytes ? 0 : shm_layout::huge_page_bytes;
        void* at = ::mmap(nullptr, 2 * n + spare, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) return last_error();
        mapping both(at, 2 * n);
        if (spare != 0) {
            const auto first = reinterpret_cast<std::uintptr_t>(at);
            const std::size_t before = (spare - first % spare) % spare;
            both.at_ = both.data() + before;
            if (before != 0) ::munmap(at, before);
            if (before != spare) ::munmap(both.data() + 2 * n, spare - before);
        }
        for (std::size_t i = 0; i < 2; ++i) {
            if (::mmap(both.data() + i * n, n, protection, MAP_SHARED | MAP_FIXED, own.get(),
                       static_cast<off_t>(offset)) == MAP_FAILED) {
                return last_error();
            }
        }
        *this = std::move(both);
        return {};
    }

private:
    void* at_ = nullptr;
    std::size_t bytes_ = 0;
};

/// Reserves memory for a part of the segment now, so that a full file system is an error here and
/// not a SIGBUS later.
[[nodiscard]] inline result<void> reserve(int fd, std::size_t offset, std::size_t n,
                                          const std::string& where, diagnostics& why) {
    const int r = retried(
        [&] { return ::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(n)); });
    if (r == 0) return {};
    return why.fail(last_error(),
                    explain("reserving " + std::to_string(n) + " bytes for " + where +
                                " (a smaller ?capacity_bytes=… or a larger tmpfs helps)",
                            errno));
}

/// Brings the pages of a mapping into this process's page tables, and makes those that are not
/// there yet. Never a SIGBUS: where there is no memory for them it fails.
[[nodiscard]] inline bool populate(const mapping& m, bool writable) noexcept {
    constexpr int populate_read = 22, populate_write = 23;  // of Linux 5.14
    const int advice = writable ? populate_write : populate_read;
    return retried([&] { return ::madvise(m.data(), m.size(), advice); }) == 0;
}

/// Reserves the n bytes of a file that a mapping shows, and does with them what the options ask
/// for.
[[nodiscard]] inline result<void> furnish(mapping& m, int fd, std::size_t offset, std::size_t n,
                                          bool writable, const memory_options& o,
                                          const std::string& where, diagnostics& why) {
    const auto failed = [&](errc e, const std::string& doing) {
        return why.fail(e, explain(doing + " the memory of " + where, errno));
    };
    if (o.numa_node >= 0) {
        constexpr int bits = 8 * sizeof(unsigned long), words = 16;
        unsigned long nodes[words] = {};
        const auto node = static_cast<unsigned>(o.numa_node);
        if (node < bits * words) nodes[node / bits] = 1UL << node % bits;
        if (::syscall(SYS_mbind, m.data(), m.size(), MPOL_PREFERRED, nodes, bits * words, 0) != 0) {
            return failed(errc::unsupported,
                          "preferring NUMA node " + std::to_string(o.numa_node) + " for");
        }
    }
    if (o.huge_pages) {
        if (::madvise(m.data(), m.size(), MADV_HUGEPAGE) != 0) {
            return failed(errc::unsupported, "asking for huge pages for");
        }
        // Before anything makes small ones: fallocate knows nothing of this advice.
        if (writable) (void)populate(m, true);
    }
    if (auto r = reserve(fd, offset, n, where, why); !r) return r;
    if ((o.prefault || o.locked || o.huge_pages) && !populate(m, writable)) {
        // Linux before 5.14 does not know how: said, not passed over.
        return failed(errno == EINVAL ? errc::unsupported : errc::out_of_resources, "prefaulting");
    }
    if (o.locked && ::mlock(m.data(), n) != 0) {
        const int number = errno;
        rlimit most{};
        ::getrlimit(RLIMIT_MEMLOCK, &most);
        errno = number;
        return failed(errc::out_of_resources,
                      "locking (this process may lock " + std::to_string(most.rlim_cur >> 10) +
                          " KiB: raise `ulimit -l`, or LimitMEMLOCK= of its unit)");
    }
    return {};
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
