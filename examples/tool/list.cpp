// SPDX-License-Identifier: MIT
// parley list and parley clean: what there is, and what dead owners left.
#include "sockets.hpp"
#include "survey.hpp"
#include "tool.hpp"

#include <parley/shm/inspect.hpp>
#include <parley/shm/object_file.hpp>
#include <parley/transport/boost_mq.hpp>
#include <parley/transport/file.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/signals.hpp>
#include <parley/transport/snapshot.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/uds_name.hpp>

#include <ctime>

#include <algorithm>
#include <filesystem>
#include <optional>

namespace tool {
namespace {

/// A segment under construction on a file system without O_TMPFILE: its owner has no lock yet.
bool is_in_the_making(const std::string& path) {
    struct stat s {};
    return path.find(".new.") != std::string::npos && ::lstat(path.c_str(), &s) == 0 &&
           ::time(nullptr) - s.st_mtime < 60;
}

void print(const channel_seen& row, bool json, bool first) {
    if (json) {
        fmt::print(
            "{}  {{\"address\": {}, \"state\": {}, \"owner\": {}, \"lanes\": {}, \"type\": {}}}",
            first ? "" : ",\n", json_text(row.address), json_text(row.state),
            json_text(row.owner()), json_text(row.lanes()), json_text(row.type));
        return;
    }
    constexpr auto* line = "{:<32} {:<6} {:>14} {:>7}  {}\n";
    if (first) fmt::print(line, "ADDRESS", "STATE", "OWNER", "LANES", "TYPE");
    fmt::print(line, row.address, row.state, row.owner(), row.lanes(), row.type);
}

}  // namespace

int run_list(const list_options& o) {
    bool first = true;
    if (o.json) fmt::print("[\n");
    for (const auto& row : look_around({.directories = o.directories})) {
        print(row, o.json, first);
        first = false;
    }
    if (o.json) fmt::print("{}]\n", first ? "" : "\n");
    if (first && !o.json) fmt::print("nothing: no segment, socket or queue of parley\n");
    return ok;
}

namespace {

/// What came of cleaning, to be told at the end.
struct cleaning {
    bool dry_run;
    bool json;
    int removed = 0, live = 0, left = 0;

    void remove_segment(const std::string& path) {
        parley::diagnostics why;
        const auto seen = parley::segment_report::of(path, why);
        parley::diagnostics unused;
        if (const auto set = parley::object_report::of(path, unused); !seen && set) {
            return set->kept || !set->members.empty() ? void(++live) : remove_objects(path);
        }
        if (seen ? seen->alive : is_in_the_making(path)) {
            ++live;
            return;
        }
        if (!seen && (seen.error() == parley::errc::denied || !is_ours(path))) {
            return leave(path, why.text());
        }
        if (!dry_run) {
            if (auto r = parley::remove_stale_segment(path, why); !r)
                return leave(path, why.text());
        }
        told(path, seen ? fmt::format("process {} is gone", seen->owner_pid) : "its owner is gone");
    }
    void remove_objects(const std::string& path) {
        parley::diagnostics why;
        if (!dry_run) {
            if (auto r = parley::object_report::remove(path, why); !r) {
                return leave(path, why.text());
            }
        }
        told(path, "nobody is left who knows these objects");
    }
    void remove_post(const std::string& path) {
        parley::diagnostics why;
        const parley::detail::unique_fd fd(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
        if (fd && parley::detail::is_locked(fd.get(), 0)) {
            ++live;
            return;
        }
        if (!dry_run) {
            if (auto r = parley::detail::remove_stale_post(path, why); !r) {
                return leave(path, why.text());
            }
        }
        told(path, "its owner is gone");
    }
    void remove_socket(const std::string& path) {
        if (!dry_run) {
            parley::detail::remove_if_dead(path);
            struct stat s {};
            if (::lstat(path.c_str(), &s) == 0) return leave(path, "it could not be removed");
        }
        told(path, "nobody listens");
    }

    template <class Address>
    void remove_queue(const Address& at) {
        parley::diagnostics why;
        const auto seen = at.look(why);
        const bool gone = !seen && seen.error() == parley::errc::not_found;
        // What is damaged may go, if remove() finds that it is a queue.
        if (!seen && !gone && (dry_run || seen.error() != parley::errc::corrupt)) {
            return leave(at.to_uri().text(), why.text());
        }
        if (!dry_run || gone) {  // of a queue that is gone its name may be left
            if (dry_run) return leave(at.to_uri().text(), why.text());
            if (auto r = at.remove(why); !r) return leave(at.to_uri().text(), why.text());
        }
        told(at.to_uri().text(), seen   ? fmt::format("{} messages waited", seen->messages)
                                 : gone ? "its queue was gone"
                                        : "it was never finished");
    }

    /// What is stored in files, if no end of it is open.
    template <class Address>
    requires requires(const Address& at, parley::diagnostics& why) { at.report(why); }
    void remove_store(const Address& at) {
        parley::diagnostics why;
        const std::string text = at.to_uri().text();
        const auto seen = at.report(why);
        if (!seen && seen.error() != parley::errc::corrupt) return leave(text, why.text());
        if (seen && (seen->sender || seen->receiver)) {
            ++live;
            return;
        }
        if (!dry_run) {
            if (auto r = at.remove(why); !r) return leave(text, why.text());
        }
        told(text, seen ? "it held " + seen->holds : std::string("it was damaged"));
    }

private:
    /// Damaged, but it begins as a segment does: it may go. Anything else is somebody else's.
    static bool is_ours(const std::string& path) {
        const parley::detail::unique_fd fd(
            ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
        std::uint64_t magic = 0;
        return fd && ::pread(fd.get(), &magic, sizeof magic, 0) == sizeof magic &&
               magic == parley::shm_layout::magic;
    }
    void told(const std::string& path, std::string_view because) {
        ++removed;
        say(dry_run ? "would remove" : "removed", path, because);
    }
    void leave(const std::string& path, std::string_view because) {
        ++left;
        say("left", path, because);
    }
    void say(std::string_view what, const std::string& path, std::string_view because) {
        if (!json) {
            fmt::print("{} {}: {}\n", what, path, because);
        } else {
            fmt::print("{}\n    {{\"what\": {}, \"where\": {}, \"because\": {}}}",
                       removed + left > 1 ? "," : "", json_text(what), json_text(path),
                       json_text(because));
        }
    }
};

template <class Address>
int clean_queue(const parley::uri& text, cleaning& done) {
    parley::diagnostics why;
    const auto at = Address::from(text, why);
    if (!at) return fail_to_open(at.error(), why);
    if constexpr (requires { at->report(why); }) {
        done.remove_store(*at);
    } else {
        done.remove_queue(*at);
    }
    return ok;
}

/// Removes what is at the address; nothing if it is of none of these.
template <class... Kept>
std::optional<int> clean_one_of(const parley::uri& at, cleaning& done) {
    std::optional<int> code;
    ((at.scheme() == Kept::scheme ? void(code = clean_queue<Kept>(at, done)) : void()), ...);
    return code;
}

/// Where the user says, or everywhere.
int clean_all(const clean_options& o, cleaning& done) {
    std::vector<std::string> directories;
    for (const auto& place : o.places) {
        const parley::uri at{place};
        if (place.find("://") == std::string::npos) {
            directories.push_back(place);
        } else if (const auto code =
                       clean_one_of<parley::mq, parley::sysv, parley::boost_mq, parley::file,
                                    parley::mmap, parley::snapshot, parley::maildir>(at, done)) {
            if (*code != ok) return *code;
        } else {
            return fail(wrong_usage,
                        fmt::format("'{}': wants a directory, mq:, sysv:, boost_mq:, file:, mmap:, "
                                    "snapshot: or maildir:",
                                    place));
        }
    }
    const bool usual = o.places.empty();
    for (const auto& directory : usual ? places({}) : directories) {
        for (const auto& path : parley::segment_files(directory)) done.remove_segment(path);
        for (const auto prefix : signal_posts) {
            for (const auto& name : names_in(directory, prefix)) {
                done.remove_post(directory + '/' + std::string(prefix) + name);
            }
        }
    }
    for (const auto& directory : directories) {
        for (const auto& path : dead_sockets(directory)) done.remove_socket(path);
    }
    return ok;
}

}  // namespace

int run_clean(const clean_options& o) {
    cleaning done{o.dry_run, o.json};
    if (o.json) fmt::print("{{\"actions\": [");
    const int code = clean_all(o, done);
    if (o.json) {
        fmt::print("],\n \"dry_run\": {}, \"removed\": {}, \"in_use\": {}, \"left\": {}}}\n",
                   o.dry_run, done.removed, done.live, done.left);
    } else if (code == ok) {
        fmt::print("{} {}, {} in use, {} left alone\n", done.removed,
                   o.dry_run ? "to remove" : "removed", done.live, done.left);
    }
    return code;
}

}  // namespace tool
