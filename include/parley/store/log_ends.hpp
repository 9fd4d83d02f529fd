// SPDX-License-Identifier: MIT
// Joining the ends of a log: the page is mapped, a role is taken, the log is made if need be.
#pragma once

#include <parley/store/ends.hpp>
#include <parley/store/log_format.hpp>

#include <string>

namespace parley {
inline namespace v1 {
namespace store {

/// What an end of a log holds while it is open. Movable; its mapping stays where it is.
class log_ends {
public:
    [[nodiscard]] ends_page& page() const noexcept { return map_.as<ends_page>(); }
    explicit operator bool() const noexcept { return static_cast<bool>(map_); }
    /// Whether a sender is there that is not number `gone`.
    [[nodiscard]] bool has_sender(std::uint32_t gone) const noexcept {
        return store::has_sender(page(), file_.get(), gone);
    }
    [[nodiscard]] detail::socket_bell::name sender_bell() const noexcept {
        return {page().id, 0, 0};
    }

    /// Maps path.ends, and makes it and the log if they are not there. Others that make or mend the
    /// log wait until mended(). Errors: not_found (the directory), denied, out_of_resources (a full
    /// disk), corrupt (other people's files).
    [[nodiscard]] result<void> join(const log_names& names, const message_type& type,
                                    const detail::known_permissions& mode, diagnostics& why) {
        real_files fs;
        log_header found;
        {  // Beside what is no log nothing is made.
            unique_fd there;
            const int e = fs.open(names.path, false, there);
            if (is_no_file(e)) return refuse(names.path, why);
            if (e == 0) {
                if (auto r = read_log_header(fs, there, names.path, found, why); !r) return r;
            }
        }
        const ends_page fresh = fresh_ends();
        if (auto r = open_or_make(fs, names.ends(), bytes_of(fresh), mode, why); !r) return r;
        if (auto r = map(names.ends(), PROT_READ | PROT_WRITE, why); !r) return r;
        if (!lock_and_wait(file_.get(), mending_lock)) {
            return why.fail(detail::last_error(),
                            detail::explain("locking " + names.ends(), errno));
        }
        unique_fd log;
        const log_header header = make_log_header(type, 0, 1);
        std::swap(log, file_);
        auto made = open_or_make(fs, names.path, bytes_of(header), mode, why);
        std::swap(log, file_);
        if (!made) return made;
        return read_log_header(fs, log, names.path, found, why);
    }
    /// Maps path.ends for who only follows; false if it is not there.
    bool look_at(const log_names& names) {
        diagnostics unasked;
        file_.reset(::open(names.ends().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        if (file_ && map(names.ends(), PROT_READ, unasked)) return true;
        file_.reset();
        return false;
    }
    void mended() noexcept { detail::unlock(file_.get(), mending_lock); }

    /// Takes the sender's or the receiver's place: would_block if it has somebody.
    [[nodiscard]] result<void> take(off_t role) noexcept {
        return detail::try_lock(file_.get(), role);
    }
    /// Leaves: every lock falls.
    void leave() noexcept { file_.reset(); }
    [[nodiscard]] bool joined() const noexcept { return static_cast<bool>(file_); }

private:
    using unique_fd = detail::unique_fd;

    [[nodiscard]] static bool is_no_file(int e) noexcept { return e == EISDIR || e == ELOOP; }
    static error_code refuse(const std::string& path, diagnostics& why) {
        return why.fail(errc::corrupt, path + " is no file of parley; it is left alone");
    }

    result<void> open_or_make(real_files& fs, const std::string& path, bytes content,
                              const detail::known_permissions& mode, diagnostics& why) {
        for (;;) {
            int e = fs.open(path, true, file_);
            if (e == 0) return {};
            if (is_no_file(e)) return refuse(path, why);
            if (e == ENOENT) {
                e = publish(fs, path, content, mode);
                if (e == 0 || e == EEXIST) continue;
                return why.fail(from_errno(e), detail::explain("making " + path, e));
            }
            return why.fail(from_errno(e), detail::explain("opening " + path, e));
        }
    }
    result<void> map(const std::string& path, int protection, diagnostics& why) {
        struct stat s {};
        ends_page seen{};
        const bool whole = ::fstat(file_.get(), &s) == 0 && s.st_size == sizeof(ends_page) &&
                           ::pread(file_.get(), &seen, sizeof seen, 0) == sizeof seen;
        if (!whole || seen.magic != ends_magic || seen.layout != ends_layout) {
            return why.fail(errc::corrupt,
                            path +
                                " is not what parley keeps there, or of another layout; if the "
                                "log is good, remove it: the receiver then begins at the first "
                                "message");
        }
        void* at = nullptr;
        unique_fd own(::open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(),
                             ((protection & PROT_WRITE) != 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC));
        if (own) {
            at = ::mmap(nullptr, sizeof(ends_page), protection, MAP_SHARED, own.get(), 0);
        }
        if (at == nullptr || at == MAP_FAILED) {
            return why.fail(detail::last_error(), detail::explain("mapping " + path, errno));
        }
        map_ = detail::mapping(at, sizeof(ends_page));
        return {};
    }

    unique_fd file_;
    detail::mapping map_;
};

}  // namespace store
}  // namespace v1
}  // namespace parley
