// SPDX-License-Identifier: MIT
// The file of a set of shared objects: who is in it, who comes first, who leaves last.
//
//   byte offset
//   0       +---------------------------------------------------------+
//           | object_file_header: magic, layout, build, capacity,     |  written before it can be
//           |   id                                                    |  found
//           | lock, changing, generation                              |  under the lock
//   4096    +---------------------------------------------------------+
//           | member 0 … 63, 64 bytes each: incarnation, pid, PID     |  each its own
//           |   namespace                                             |
//   8192    +---------------------------------------------------------+
//           | the heap, `capacity` bytes: the objects                 |  under the lock
//           +---------------------------------------------------------+
//
// Who lives: a member holds byte 16 + its number of the file, by a lock of an open file description
// that it opened itself (see segment.hpp). Byte 0 is the door: whoever comes or goes holds it, so
// the last one out removes the name, and nobody comes in while it does.
#pragma once

#include <parley/base/error.hpp>
#include <parley/detail/fork.hpp>
#include <parley/shm/memory.hpp>
#include <parley/shm/robust_lock.hpp>
#include <parley/shm/segment.hpp>

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

struct object_file_facts {
    static constexpr std::uint64_t magic_word =
        0x316a626f'79617250;  // "Prayobj1", in its own order
    static constexpr std::uint32_t layout_now = 1;

    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t build;  // word size and version of Boost: what containers look like inside
    std::uint64_t capacity;
    std::uint64_t id;    // random, to tell this file from its successor
    std::uint64_t kept;  // 1: it outlives its members
};
struct object_file_header {
    object_file_facts facts;
    std::uint64_t generation;  // how often it was emptied
    std::uint32_t changing;    // 1: somebody is in the middle of a change
    std::uint32_t made;        // 1: the heap is laid out
    robust_lock lock;
    alignas(16) std::byte root[64];  // where the list of names begins
};
struct alignas(64) object_member {
    std::uint32_t incarnation;
    std::uint32_t pid;
    std::uint64_t pid_namespace;
};
inline constexpr std::size_t object_members_max = 64;
inline constexpr std::size_t object_members_offset = 4096, object_heap_offset = 8192;

static_assert(offsetof(object_file_facts, capacity) == 16 &&
              offsetof(object_file_header, generation) == 40 &&
              offsetof(object_file_header, lock) == 56);
static_assert(sizeof(object_file_header) <= object_members_offset);
static_assert(sizeof(object_member) * object_members_max <=
              object_heap_offset - object_members_offset);

/// What a new file is to be, and what is asked of an existing one.
struct object_file_plan {
    segment_name at;
    std::size_t capacity = 0;
    std::uint32_t build = 0;
    bool keep = false;
    memory_options memory = {};
};

/// A member's hold on the file: opened or made, mapped, locked in.
class object_file final : fork_sensitive {
public:
    explicit object_file(object_file_plan plan) : plan_(std::move(plan)), path_(plan_.at.path()) {}
    ~object_file() override {
        unguard();
        leave();
    }

    /// Comes in, as the first or as one of many. Errors: invalid_argument (name), denied,
    /// out_of_resources (memory, or all members are there), corrupt (no such file of ours),
    /// incompatible (another layout or build), timed_out.
    [[nodiscard]] result<void> enter(deadline d, diagnostics& why) {
        if (auto r = plan_.at.check(why); !r) return r;
        for (;;) {
            auto r = find(d, why);
            if (!r && r.error() == errc::not_found) r = make(why);
            if (r || r.error() != errc::would_block) return r;
            file_.reset();  // it was removed or made meanwhile
        }
    }
    /// Goes; the last one removes the name, unless it is to be kept.
    void leave() noexcept {
        if (!file_) return;
        // The door is in use for microseconds only; whoever dies in it opens it.
        if (wait_for_door(never)) {
            unlock(file_.get(), own_lock());
            if (!plan_.keep && !somebody_lives()) remove_name(path_, file_.get());
        }
        drop();
    }

    [[nodiscard]] bool open() const noexcept { return static_cast<bool>(file_); }
    [[nodiscard]] object_file_header& header() const noexcept {
        return map_.as<object_file_header>();
    }
    [[nodiscard]] object_member& member(std::size_t i) const noexcept {
        return map_.as<object_member>(object_members_offset + i * sizeof(object_member));
    }
    [[nodiscard]] std::byte* root() const noexcept { return header().root; }
    [[nodiscard]] std::byte* heap() const noexcept { return map_.data() + object_heap_offset; }
    [[nodiscard]] std::size_t capacity() const noexcept { return map_.size() - object_heap_offset; }
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    [[nodiscard]] std::uint32_t incarnation() const noexcept { return incarnation_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// Whether a member of some time ago lives.
    [[nodiscard]] bool lives(std::uint32_t number, std::uint32_t incarnation) const noexcept {
        if (number == number_) return incarnation == incarnation_;
        return number < object_members_max && member(number).incarnation == incarnation &&
               locked(lock_of(number));
    }

private:
    static constexpr off_t door = 0;
    [[nodiscard]] static constexpr off_t lock_of(std::size_t member) noexcept {
        return static_cast<off_t>(16 + member);
    }
    [[nodiscard]] off_t own_lock() const noexcept { return lock_of(number_); }

    [[nodiscard]] bool locked(off_t at, off_t n = 1) const noexcept {
        struct flock l {};
        l.l_type = F_WRLCK;
        l.l_whence = SEEK_SET;
        l.l_start = at;
        l.l_len = n;
        return ::fcntl(file_.get(), F_OFD_GETLK, &l) != 0 || l.l_type != F_UNLCK;
    }
    [[nodiscard]] bool somebody_lives() const noexcept {
        return locked(lock_of(0), object_members_max);
    }
    [[nodiscard]] bool wait_for_door(time_point until) const noexcept {
        for (;;) {
            const auto r = try_lock(file_.get(), door);
            if (r) return true;
            if (r.error() != errc::would_block || (until != never && clock::now() >= until)) {
                return false;
            }
            const timespec moment{0, 100'000};
            ::nanosleep(&moment, nullptr);
        }
    }
    /// True if the name still means the open file.
    [[nodiscard]] bool is_named() const noexcept {
        struct stat ours {
        }, named{};
        return ::fstat(file_.get(), &ours) == 0 && ::lstat(path_.c_str(), &named) == 0 &&
               ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
    }

    /// Joins those who are there. not_found: nobody is; would_block: look again.
    result<void> find(deadline& d, diagnostics& why) {
        file_.reset(::open(path_.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!file_) {
            const error_code ec = last_error();
            if (ec == errc::not_found) return ec;
            return why.fail(ec, explain("opening " + path_, errno));
        }
        struct stat s {};
        if (::fstat(file_.get(), &s) != 0) return why.fail(last_error(), explain(path_, errno));
        std::uint64_t first = 0;
        if (!S_ISREG(s.st_mode) || ::pread(file_.get(), &first, sizeof first, 0) != sizeof first ||
            first != object_file_facts::magic_word) {
            return refuse(errc::corrupt,
                          " exists but holds no shared objects of parley; it is "
                          "left alone: remove it or choose another name",
                          why);
        }
        if (!wait_for_door(d.at())) {
            return refuse(errc::timed_out, " has somebody in its door", why);
        }
        if (!is_named()) return errc::would_block;
        object_file_facts facts{};  // read once: the file is input
        if (::pread(file_.get(), &facts, sizeof facts, 0) != static_cast<ssize_t>(sizeof facts)) {
            return refuse(errc::corrupt, " is cut short", why);
        }
        if (facts.layout == object_file_facts::layout_now && facts.kept == 0 && !somebody_lives()) {
            remove_name(path_, file_.get());  // all who knew it are dead
            return errc::would_block;
        }
        if (auto r = check(facts, static_cast<std::size_t>(s.st_size), why); !r) return r;
        if (auto r = map(why); !r) return r;
        return come_in(why);
    }
    result<void> check(const object_file_facts& h, std::size_t bytes, diagnostics& why) {
        if (h.layout != object_file_facts::layout_now || h.build != plan_.build) {
            return refuse(errc::incompatible,
                          " was made by a program of another word size, or with another parley or "
                          "Boost: build all of them alike",
                          why);
        }
        if (h.capacity + object_heap_offset != bytes) {
            return refuse(errc::corrupt,
                          " is damaged: its " + std::to_string(bytes) +
                              " bytes are not what it says; remove it",
                          why);
        }
        plan_.capacity = static_cast<std::size_t>(h.capacity);
        plan_.keep = h.kept != 0;
        return {};
    }
    error_code refuse(errc e, const std::string& words, diagnostics& why) {
        file_.reset();
        return why.fail(e, path_ + words);
    }
    result<void> map(diagnostics& why) {
        const auto n = object_heap_offset + plan_.capacity;
        if (auto r = map_.map(file_.get(), 0, n, PROT_READ | PROT_WRITE); !r) {
            return why.fail(r.error(), explain("mapping " + path_, errno));
        }
        return furnish(map_, file_.get(), 0, n, true, plan_.memory, path_, why);
    }

    /// Makes the file and its name. would_block: somebody else was first.
    result<void> make(diagnostics& why) {
        const std::string dir = plan_.at.directory.empty() ? "." : plan_.at.directory;
        const auto to = known_permissions::of(plan_.at.permissions, why);
        if (!to) return to.error();
        file_.reset(::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        if (!file_) {
            return why.fail(last_error(), explain("making shared objects in " + dir, errno));
        }
        if (auto r = to->apply(file_.get(), path_, why); !r) return r;
        const auto n = object_heap_offset + plan_.capacity;
        if (::ftruncate(file_.get(), static_cast<off_t>(n)) != 0) {
            return why.fail(last_error(), explain("sizing " + path_, errno));
        }
        if (auto r = map(why); !r) return r;
        auto& h = *::new (static_cast<void*>(map_.data())) object_file_header{};
        h.facts = {object_file_facts::magic_word,
                   object_file_facts::layout_now,
                   plan_.build,
                   plan_.capacity,
                   fresh_id(),
                   plan_.keep ? 1U : 0U};
        if (!wait_for_door(never)) return why.fail(last_error(), explain("locking", errno));
        if (auto r = come_in(why, false); !r) return r;
        char from[32];
        std::snprintf(from, sizeof from, "/proc/self/fd/%d", file_.get());
        const int linked = ::linkat(AT_FDCWD, from, AT_FDCWD, path_.c_str(), AT_SYMLINK_FOLLOW);
        const int number = errno;
        unlock(file_.get(), door);
        if (linked == 0) return {};
        file_.reset();
        if (number == EEXIST) return errc::would_block;
        return why.fail(from_errno(number), explain("creating " + path_, number));
    }

    /// Takes a member's place, with the door held, and opens the door.
    result<void> come_in(diagnostics& why, bool leave_door = true) {
        for (std::uint32_t i = 0; i < object_members_max; ++i) {
            if (locked(lock_of(i)) || !try_lock(file_.get(), lock_of(i))) continue;
            number_ = i;
            auto& m = member(i);
            incarnation_ = ++m.incarnation;
            m.pid = static_cast<std::uint32_t>(::getpid());
            m.pid_namespace = namespace_id("pid");
            if (leave_door) unlock(file_.get(), door);
            guard_against_fork();
            return {};
        }
        return refuse(errc::out_of_resources,
                      " has " + std::to_string(object_members_max) + " members, which is the most",
                      why);
    }
    void in_forked_child() noexcept override { drop(); }
    void drop() noexcept { file_.reset(); }

    object_file_plan plan_;
    std::string path_;
    unique_fd file_;
    mapping map_;
    std::uint32_t number_ = 0, incarnation_ = 0;
};

}  // namespace detail

/// A set of shared objects as an onlooker sees it: for tools. Errors of `of`: not_found, denied,
/// corrupt (no such file of ours).
struct object_report {
    std::uint64_t capacity_bytes = 0;
    std::uint64_t generation = 0;
    std::uint32_t owner_uid = 0;
    bool kept = false;
    bool half_changed = false;           ///< somebody is changing it, or died while he did
    std::vector<std::uint32_t> members;  ///< process of each that lives

    [[nodiscard]] static result<object_report> of(const std::string& path, diagnostics& why) {
        const detail::unique_fd fd(
            ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!fd) return why.fail(detail::last_error(), detail::explain(path, errno));
        return of_open(fd.get(), path, why);
    }
    /// Removes the set if nobody lives in it, kept or not: success too if it is gone by now.
    /// Errors: in_use, and those of `of`.
    [[nodiscard]] static result<void> remove(const std::string& path, diagnostics& why) {
        const detail::unique_fd fd(
            ::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        if (!fd && errno == ENOENT) return {};
        if (!fd) return why.fail(detail::last_error(), detail::explain(path, errno));
        // Nobody comes in while the door is held.
        const auto door = detail::try_lock(fd.get(), 0);
        const auto seen = of_open(fd.get(), path, why);
        if (!seen) return seen.error();
        if (!door || !seen->members.empty()) {
            return why.fail(errc::in_use, path + " has members, or somebody comes just now");
        }
        detail::remove_name(path, fd.get());
        return {};
    }

private:
    [[nodiscard]] static result<object_report> of_open(int fd, const std::string& path,
                                                       diagnostics& why) {
        constexpr std::size_t head = offsetof(detail::object_file_header, made);
        std::uint64_t words[head / 8 + 1] = {};
        detail::object_file_facts facts{};
        struct stat s {};
        if (::pread(fd, words, head, 0) != static_cast<ssize_t>(head) || ::fstat(fd, &s) != 0) {
            return why.fail(errc::corrupt, path + " is too short for shared objects");
        }
        std::memcpy(&facts, words, sizeof facts);
        if (facts.magic != detail::object_file_facts::magic_word) {
            return why.fail(errc::corrupt, path + " holds no shared objects");
        }
        object_report seen{.capacity_bytes = facts.capacity,
                           .generation = words[sizeof facts / 8],
                           .owner_uid = s.st_uid,
                           .kept = facts.kept != 0,
                           .half_changed = (words[sizeof facts / 8 + 1] & 0xffffffffU) != 0,
                           .members = {}};
        for (std::size_t i = 0; i < detail::object_members_max; ++i) {
            struct flock l {};
            l.l_type = F_WRLCK;
            l.l_whence = SEEK_SET;
            l.l_start = static_cast<off_t>(16 + i);
            l.l_len = 1;
            if (::fcntl(fd, F_OFD_GETLK, &l) != 0 || l.l_type == F_UNLCK) continue;
            detail::object_member m{};
            const auto at = detail::object_members_offset + i * sizeof m;
            (void)!::pread(fd, &m, sizeof m, static_cast<off_t>(at));
            seen.members.push_back(m.pid);
        }
        return seen;
    }
};

}  // namespace v1
}  // namespace parley
