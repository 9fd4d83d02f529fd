// SPDX-License-Identifier: MIT
// A file system that loses power: the policy of store/files.hpp over memory, which remembers every
// call and tells in what states a crash after any of them may leave the disk.
//
// Durable is what a sync made so. Of the rest, any subset may have reached the disk: each write in
// sectors of 512 or 4096 bytes, each of which may be there or not; a file's new length with or
// without its bytes (zeros); each change of a name by itself, a rename as one. That is more than
// any Linux file system does, as in the models of ALICE (OSDI 2014) and CrashMonkey (OSDI 2018).
#pragma once

#include <parley/base/assert.hpp>
#include <parley/base/bytes.hpp>
#include <parley/base/random.hpp>
#include <parley/detail/owner.hpp>

#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// The disk after a crash: names, and what their files hold.
struct disk {
    std::map<std::string, std::size_t> names;
    std::vector<std::vector<std::byte>> files;

    friend bool operator==(const disk&, const disk&) = default;
};

/// See above. Copyable; a file is a number, valid in every copy.
/// Thread safety: one thread at a time.
class crash_files {
public:
    using file = std::size_t;

    crash_files() = default;
    /// What an opener after the crash finds.
    explicit crash_files(disk d) : now_(d), first_(std::move(d)) {}

    int open(const std::string& path, bool, file& out) {
        const auto at = now_.names.find(path);
        if (at == now_.names.end()) return ENOENT;
        out = at->second;
        return 0;
    }
    int create(const std::string& path, const detail::known_permissions& mode, file& out) {
        if (now_.names.contains(path)) return EEXIST;
        (void)create_nameless(path, mode, out);
        return give_name(out, path);
    }
    int create_nameless(const std::string&, const detail::known_permissions&, file& out) {
        out = now_.files.size();
        return log({what::make, out, 0, {}, {}, {}});
    }
    int give_name(file& f, const std::string& path) {
        if (now_.names.contains(path)) return EEXIST;
        return log({what::name, f, 0, {}, path, {}});
    }
    int write_at(file& f, std::uint64_t offset, bytes b) {
        return log({what::write, f, offset, {b.begin(), b.end()}, {}, {}});
    }
    ssize_t read_at(const file& f, std::uint64_t offset, mutable_bytes to) const {
        const auto& all = now_.files[f];
        if (offset >= all.size()) return 0;
        const auto n = std::min(to.size(), all.size() - static_cast<std::size_t>(offset));
        std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(offset), n, to.begin());
        return static_cast<ssize_t>(n);
    }
    [[nodiscard]] std::uint64_t size(const file& f) const { return now_.files[f].size(); }
    int truncate(file& f, std::uint64_t n) { return log({what::cut, f, n, {}, {}, {}}); }
    int reserve(file&, std::uint64_t, std::uint64_t) { return 0; }
    int allocate(file& f, std::uint64_t n) { return log({what::cut, f, n, {}, {}, {}}); }
    int push(file&, std::uint64_t) { return 0; }
    int sync(file& f) { return log({what::sync, f, 0, {}, {}, {}}); }
    int link(const std::string& from, const std::string& to) {
        if (!now_.names.contains(from)) return ENOENT;
        if (now_.names.contains(to)) return EEXIST;
        return log({what::name, now_.names[from], 0, {}, to, {}});
    }
    int rename(const std::string& from, const std::string& to) {
        if (!now_.names.contains(from)) return ENOENT;
        return log({what::name, now_.names[from], 0, {}, to, from});
    }
    int unlink(const std::string& path) {
        if (!now_.names.contains(path)) return ENOENT;
        return log({what::unname, now_.names[path], 0, {}, {}, path});
    }
    int sync_names(const std::string&) { return log({what::sync_names, 0, 0, {}, {}, {}}); }
    [[nodiscard]] std::vector<std::string> beginning_with(const std::string& path) const {
        std::vector<std::string> found;
        for (const auto& [name, id] : now_.names) {
            if (name.starts_with(path)) found.push_back(name.substr(name.rfind('/') + 1));
        }
        return found;
    }

    /// How many calls that change something were made so far.
    [[nodiscard]] std::size_t calls() const noexcept { return calls_.size(); }
    [[nodiscard]] const disk& live() const noexcept { return now_; }

    /// Visits the states in which a crash after the first `calls` calls may leave the disk; all of
    /// them, or of more than `most` so many by chance. How many were visited.
    template <class Visit>
    std::size_t crash(std::size_t calls, std::size_t sector, std::size_t most, random& r,
                      Visit visit) const {
        disk durable = first_;
        const auto pending = split(calls, sector, durable);
        const std::size_t bits = pending.size();
        const bool all = bits < 40 && (std::uint64_t{1} << bits) <= most;
        const std::size_t count = all ? std::size_t{1} << bits : most;
        std::vector<bool> chosen(bits);
        for (std::size_t i = 0; i < count; ++i) {
            std::uint64_t word = i;
            for (std::size_t b = 0; b < bits; ++b) {
                if (!all && b % 64 == 0) word = r();
                chosen[b] = (word >> (all ? b : b % 64) & 1) != 0;
            }
            disk state = durable;
            for (std::size_t b = 0; b < bits; ++b) {
                if (chosen[b]) apply(state, pending[b]);
            }
            visit(std::move(state));
        }
        return count;
    }

private:
    enum class what : std::uint8_t { make, write, cut, grow, name, unname, sync, sync_names };
    struct call {
        what kind;
        file on;
        std::uint64_t offset;  // or the length
        std::vector<std::byte> data;
        std::string to, from;
    };

    int log(call c) {
        apply(now_, c);
        calls_.push_back(std::move(c));
        return 0;
    }

    static void apply(disk& d, const call& c) {
        switch (c.kind) {
            case what::make: d.files.resize(std::max(d.files.size(), c.on + 1)); break;
            case what::write: {
                auto& all = d.files[c.on];
                const auto at = static_cast<std::size_t>(c.offset);
                all.resize(std::max(all.size(), at + c.data.size()));
                std::copy(c.data.begin(), c.data.end(),
                          all.begin() + static_cast<std::ptrdiff_t>(at));
                break;
            }
            case what::grow: {
                auto& all = d.files[c.on];
                all.resize(std::max(all.size(), static_cast<std::size_t>(c.offset)));
                break;
            }
            case what::cut: d.files[c.on].resize(static_cast<std::size_t>(c.offset)); break;
            case what::name:
                if (!c.from.empty()) d.names.erase(c.from);
                d.names[c.to] = c.on;
                break;
            case what::unname: d.names.erase(c.from); break;
            case what::sync:
            case what::sync_names: break;
        }
    }

    /// What the first calls left to chance, part by part, in order; the rest is in `durable`.
    std::vector<call> split(std::size_t calls, std::size_t sector, disk& durable) const {
        std::vector<call> pending;
        PARLEY_ASSERT(calls <= calls_.size());
        for (std::size_t i = 0; i < calls; ++i) {
            const call& c = calls_[i];
            if (c.kind == what::make) {
                apply(durable, c);  // a file without a name and without bytes is nothing yet
            } else if (c.kind == what::write) {
                tear(c, sector, pending);
            } else if (c.kind == what::sync) {
                settle(pending, durable, [&](const call& p) {
                    return p.on == c.on &&
                           (p.kind == what::write || p.kind == what::cut || p.kind == what::grow);
                });
            } else if (c.kind == what::sync_names) {
                settle(pending, durable, [](const call& p) {
                    return p.kind == what::name || p.kind == what::unname;
                });
            } else {
                pending.push_back(c);
            }
        }
        return pending;
    }
    static void tear(const call& c, std::size_t sector, std::vector<call>& pending) {
        const auto end = c.offset + c.data.size();
        pending.push_back({what::grow, c.on, end, {}, {}, {}});
        for (auto at = c.offset; at < end;) {
            const auto next = std::min<std::uint64_t>(end, (at / sector + 1) * sector);
            const auto first = c.data.begin() + static_cast<std::ptrdiff_t>(at - c.offset);
            const auto last = first + static_cast<std::ptrdiff_t>(next - at);
            pending.push_back({what::write, c.on, at, {first, last}, {}, {}});
            at = next;
        }
    }
    template <class Which>
    static void settle(std::vector<call>& pending, disk& durable, Which which) {
        std::erase_if(pending, [&](const call& p) {
            if (!which(p)) return false;
            apply(durable, p);
            return true;
        });
    }

    disk now_, first_;
    std::vector<call> calls_;
};

}  // namespace testing
}  // namespace v1
}  // namespace parley
