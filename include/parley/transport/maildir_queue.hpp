// SPDX-License-Identifier: MIT
// A mail directory as a queue of files: what kernel_queue_sink.hpp and kernel_queue_source.hpp move
// records through.
//
//   dir/new/<time>.<place>.<count>            a message that waits: one file, complete
//   dir/cur/<name>:parley.<n>                 claimed by receiver n, which is about to hand it out
//   dir/cur/<name>:2,S                        handed out, and kept (?keep=yes)
//   dir/tmp/                                  where programs write what they then move to new/
//   dir/.parley                               bears the locks: places as in kernel_queue.hpp;
//                                             byte 2^40 + n: receiver n lives
//
// A file holds a record as drawn in kernel_queue.hpp, or with ?frame=none the message itself. Names
// begin with 20 digits of nanoseconds, and those of one sender grow, so their order is its order.
#pragma once

#include <parley/detail/changes.hpp>
#include <parley/store/files.hpp>
#include <parley/transport/kernel_queue.hpp>

#include <dirent.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace parley {
inline namespace v1 {
namespace detail {

/// The names in a directory, without allocation once there is room for them.
class name_list {
public:
    using name = std::array<char, 256>;

    /// Reads the directory anew; sorted. False, with errno, if it cannot.
    bool read(int directory) {
        names_.clear();
        next_ = 0;
        if (::lseek(directory, 0, SEEK_SET) < 0) return false;
        alignas(8) char raw[16384];
        for (;;) {
            const long n = ::syscall(SYS_getdents64, directory, raw, sizeof raw);
            if (n < 0) return false;
            if (n == 0) break;
            for (long at = 0; at < n;) {
                unsigned short length;
                std::memcpy(&length, raw + at + 16, sizeof length);  // d_reclen
                const char* text = raw + at + 19;                    // d_name
                if (text[0] != '.') {
                    const std::size_t most = std::tuple_size_v<name> - 1;
                    const std::size_t bytes = std::min(std::strlen(text), most);
                    std::memcpy(names_.emplace_back().data(), text, bytes);
                }
                at += length;
            }
        }
        std::sort(names_.begin(), names_.end(),
                  [](const name& a, const name& b) { return std::strcmp(a.data(), b.data()) < 0; });
        return true;
    }
    [[nodiscard]] std::size_t size() const noexcept { return names_.size() - next_; }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] const char* front() const noexcept { return names_[next_].data(); }
    void pop() noexcept { ++next_; }

private:
    std::vector<name> names_;
    std::size_t next_ = 0;
};

/// What a mail directory is asked for.
struct maildir_plan {
    std::string path;
    std::size_t record_bytes_max = 0;
    std::size_t messages = 0;  // that may wait; 0: any number
    known_permissions mode = {};
    bool synced = false;
    bool keep = false;
};

/// An open mail directory, for a sender or for a receiver. One thread.
class maildir_queue : public kernel_queue<maildir_queue> {
public:
    static constexpr std::size_t prefix_bytes = 0;
    static constexpr bool pollable = true;
    static constexpr bool says_full = false;
    struct patience {};

    maildir_queue(maildir_plan plan, bool receives) : plan_(std::move(plan)), receives_(receives) {}

    /// Opens the directory, and makes it if it is not there.
    [[nodiscard]] result<void> open(diagnostics& why) {
        known_permissions rights = plan_.mode;
        rights.mode |= (rights.mode & 0444) >> 2;  // to read is to enter
        constexpr int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
        for (const char* part : {"", "/new", "/cur", "/tmp"}) {
            const std::string path = plan_.path + part;
            const bool made = ::mkdir(path.c_str(), 0700) == 0;
            if (!made && errno != EEXIST) return no(path, why);
            if (!made) continue;
            const unique_fd d(::open(path.c_str(), how));
            if (!d) return no(path, why);
            if (auto r = rights.apply(d.get(), path, why); !r) return r;
        }
        new_.reset(::open((plan_.path + "/new").c_str(), how));
        cur_.reset(::open((plan_.path + "/cur").c_str(), how));
        if (!new_ || !cur_) return no(plan_.path, why);
        const std::string ends = plan_.path + "/.parley";
        store::real_files fs;
        errno = store::open_or_create(fs, ends, plan_.mode, places_);
        if (errno != 0) return no(ends, why);
        const std::uint32_t what = receives_ ? IN_CREATE | IN_MOVED_TO : IN_DELETE | IN_MOVED_FROM;
        const std::string box = plan_.path + "/new";
        if (!changes_.look_at(box.c_str(), what)) return no("watching " + box, why);
        return receives_ ? settle(why) : result<void>();
    }
    void set_place(std::uint32_t place) noexcept { place_ = place; }

    [[nodiscard]] int places() const noexcept { return places_.get(); }
    [[nodiscard]] int descriptor() const noexcept { return changes_.descriptor(); }
    [[nodiscard]] std::size_t record_bytes_max() const noexcept { return plan_.record_bytes_max; }
    [[nodiscard]] std::string too_large() const { return "?message_bytes_max= decides"; }

    /// Never full for who knows there is room: another sender may have taken the last place.
    int send(std::byte* to, std::size_t n, std::uint32_t, bool) noexcept {
        stamp_ = std::max(store::wall_time(), stamp_ + 1);
        char name[64] = "00000000000000000000.";
        char* at = name + 20;
        for (std::uint64_t left = stamp_; left > 0; left /= 10) {
            *--at = static_cast<char>('0' + left % 10);
        }
        char* const end = name + sizeof name - 1;
        at = std::to_chars(name + 21, end, place_).ptr;
        *at++ = '.';
        *std::to_chars(at, end, ++count_).ptr = '\0';
        unique_fd f(::openat(new_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        const bool named = !f;
        char temporary[80];
        if (named) {  // a file system without nameless files
            std::snprintf(temporary, sizeof temporary, "../tmp/%s", name);
            f.reset(::openat(new_.get(), temporary, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
        }
        if (!f) return errno;
        store::real_files fs;
        int e = fs.give(f, plan_.mode);
        if (e == 0) e = fs.write_at(f, 0, {to, n});
        if (e == 0 && plan_.synced && ::fsync(f.get()) != 0) e = errno;
        if (e == 0) e = give_name(f.get(), named ? temporary : nullptr, name);
        if (e != 0 && named) (void)::unlinkat(new_.get(), temporary, 0);
        if (e == 0 && plan_.synced && ::fsync(new_.get()) != 0) e = errno;
        if (e == 0 && credit_ > 0) --credit_;
        return e;
    }
    bool has_room(std::size_t) {
        while (plan_.messages != 0 && credit_ == 0) {
            if (!names_.read(new_.get())) return true;  // the send says so
            credit_ = plan_.messages - std::min(plan_.messages, names_.size());
            if (credit_ == 0 && !changes_.take(expired)) {
                room_.lower();
                return false;
            }
        }
        (void)room_.raise();
        return true;
    }
    /// Readable while there is room.
    result<int> room_descriptor() {
        if (room_.made()) return room_.get();
        auto fd = room_.add(descriptor(), EPOLLIN);
        if (fd) (void)has_room(0);
        return fd;
    }
    result<void> wait_for_room(patience&, time_point until) noexcept {
        return wait_for(descriptor(), POLLIN, until);
    }

    ssize_t receive(std::byte* to, std::size_t n, std::uint32_t&, bool may_block) {
        for (;;) {
            while (!names_.empty()) {
                const auto got = claim(names_.front(), to, n);
                names_.pop();
                if (got >= 0 || errno != ENOENT) return got;  // else another receiver has it
            }
            // What came since the directory was read, inotify knows.
            if (listed_ && !changes_.take(may_block ? never : expired)) return errno = EAGAIN, -1;
            listed_ = false;
            if (!names_.read(new_.get())) return -1;
            listed_ = true;
        }
    }
    /// Whether names were read ahead, of which inotify knows no more.
    [[nodiscard]] bool has_more() const noexcept { return !names_.empty(); }
    bool has_message() {
        if (names_.empty()) (void)names_.read(new_.get());
        return !names_.empty();
    }
    result<void> wait_for_message(patience&, time_point until) noexcept {
        return wait_for(descriptor(), POLLIN, until);
    }

    error_code failure(int number, std::string what, diagnostics& why) {
        if (number == EMSGSIZE) {
            return why.fail(errc::corrupt, std::move(what) + ": " + too_long_ +
                                               " is longer than ?message_bytes_max= allows; it "
                                               "was left in cur/");
        }
        return why.fail(from_errno(number), explain(std::move(what), number));
    }
    void close() noexcept {
        room_.reset();
        changes_.reset();
        for (auto* fd : {&new_, &cur_, &places_}) fd->reset();
    }

private:
    static constexpr off_t alive_byte = off_t{1} << 40;
    static constexpr std::string_view claimed = ":parley.";

    static error_code no(const std::string& what, diagnostics& why) {
        return why.fail(from_errno(errno), explain("mail directory: " + what, errno));
    }
    int give_name(int fd, const char* temporary, const char* name) noexcept {
        if (temporary != nullptr) {
            return ::renameat(new_.get(), temporary, new_.get(), name) == 0 ? 0 : errno;
        }
        char from[32];
        std::snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
        return ::linkat(AT_FDCWD, from, new_.get(), name, AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
    }

    /// Takes a number that says that this receiver lives, and gives back what dead ones claimed.
    result<void> settle(diagnostics& why) {
        for (int attempt = 0;; ++attempt) {
            place_ = static_cast<std::uint32_t>(fresh_id() % queue_places::sender_max) + 1;
            if (try_lock(alive_byte + place_)) break;
            if (attempt == 100) return no("locking " + plan_.path + "/.parley", why);
        }
        name_list all;
        if (!all.read(cur_.get())) return no(plan_.path + "/cur", why);
        for (; !all.empty(); all.pop()) {
            const std::string_view name(all.front());
            const auto colon = name.rfind(claimed);
            if (colon == std::string_view::npos) continue;
            const auto n = std::strtoul(name.data() + colon + claimed.size(), nullptr, 10);
            if (is_locked(alive_byte + static_cast<off_t>(n))) continue;
            const std::string plain(name.substr(0, colon));
            (void)::renameat(cur_.get(), all.front(), new_.get(), plain.c_str());
        }
        return {};
    }
    bool try_lock(off_t at) noexcept { return change(F_OFD_SETLK, at); }
    bool is_locked(off_t at) noexcept {
        return at == alive_byte + place_ || !change(F_OFD_GETLK, at);
    }
    bool change(int how, off_t at) noexcept {
        struct flock l {};
        l.l_type = F_WRLCK;
        l.l_whence = SEEK_SET;
        l.l_start = at;
        l.l_len = 1;
        if (::fcntl(places_.get(), how, &l) != 0) return false;
        return how == F_OFD_SETLK || l.l_type == F_UNLCK;
    }

    bool mark_seen(const char* mine, const char* name) noexcept {
        char seen[320];
        std::snprintf(seen, sizeof seen, "%s:2,S", name);
        return ::renameat(cur_.get(), mine, cur_.get(), seen) == 0;
    }
    static char* put(char* to, std::string_view text) noexcept {
        return std::copy(text.begin(), text.end(), to);
    }
    /// The message of this name; -1 and ENOENT if another receiver was faster. It counts as
    /// received when it is unlinked, or marked as seen: before it is handed out.
    ssize_t claim(const char* name, std::byte* to, std::size_t n) noexcept {
        char mine[320];
        char* const end = put(put(mine, name), claimed);
        *std::to_chars(end, end + 10, place_).ptr = '\0';
        if (::renameat(new_.get(), name, cur_.get(), mine) != 0) return -1;
        unique_fd f(::openat(cur_.get(), mine, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (!f) return -1;
        const auto got = retried([&] { return ::pread(f.get(), to, n, 0); });
        bool fits = true;
        if (got < 0 || got == static_cast<ssize_t>(n)) {  // no file, or there may be more
            const int number = errno;
            struct stat s {};
            if (::fstat(f.get(), &s) != 0) return -1;
            fits = S_ISREG(s.st_mode) && s.st_size <= static_cast<off_t>(n);
            if (fits && got < 0) return errno = number, -1;
        }
        if (!fits) std::snprintf(too_long_, sizeof too_long_, "%.255s", name);
        const bool kept = plan_.keep || !fits;
        if (kept ? !mark_seen(mine, name) : ::unlinkat(cur_.get(), mine, 0) != 0) return -1;
        return fits ? got : (errno = EMSGSIZE, -1);
    }

    maildir_plan plan_;
    bool receives_;
    unique_fd new_, cur_, places_;
    change_watch changes_;
    readiness room_;
    name_list names_;
    bool listed_ = false;  // `names_` is of now, as far as `changes_` does not say otherwise
    std::uint64_t stamp_ = 0;
    std::size_t credit_ = 0;
    std::uint32_t place_ = 0, count_ = 0;
    char too_long_[256]{};
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
