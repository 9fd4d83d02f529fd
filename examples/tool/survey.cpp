// SPDX-License-Identifier: MIT
#include "survey.hpp"

#include "sockets.hpp"

#include <parley/shm/object_file.hpp>
#include <parley/transport/boost_mq.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/signals.hpp>
#include <parley/transport/sysv.hpp>

#include <algorithm>
#include <filesystem>

namespace tool {

std::string channel_seen::owner() const {
    const std::string pid = owner_pid == 0 ? "-" : fmt::format("{}", owner_pid);
    return fmt::format("{}{} u{}", pid, same_namespace ? "" : "*", owner_uid);
}
std::string channel_seen::lanes() const {
    return writers ? fmt::format("{}/{}", *writers, *writers_max) : "-";
}

std::vector<std::string> places(const std::vector<std::string>& asked) {
    return asked.empty() ? std::vector<std::string>{"/dev/shm"} : asked;
}

std::vector<std::string> names_in(const std::string& directory, std::string_view prefix) {
    std::vector<std::string> all;
    std::error_code ec;
    for (std::filesystem::directory_iterator at(directory, ec), end; !ec && at != end;
         at.increment(ec)) {
        const std::string name = at->path().filename().string();
        if (name.starts_with(prefix)) all.push_back(name.substr(prefix.size()));
    }
    std::sort(all.begin(), all.end());
    return all;
}

namespace {

std::string address_of(const std::string& path, const std::string& directory) {
    const std::string name =
        path.substr(directory.size() + 1 + parley::detail::segment_name::prefix.size());
    parley::uri_writer w("shm", name);
    if (directory != "/dev/shm") w.option("directory", directory);
    return w.done().text();
}

void add_traffic(channel_seen& row, const parley::segment_report& seen, bool earlier) {
    if (seen.kind != parley::shm_layout::segment_kind::channel) return;  // no lane, no backlog
    std::uint64_t messages = 0, bytes = 0, passed = 0, passed_bytes = 0;
    for (const auto& lane : seen.lanes) {
        messages += lane.waiting;
        bytes += lane.written - std::min(lane.written, lane.head);
        passed += lane.passed;
        passed_bytes += lane.passed_bytes;
        row.estimated = row.estimated || lane.estimated;
    }
    row.waiting_messages = messages;
    row.waiting_bytes = bytes;
    row.room_bytes = seen.capacity_bytes * std::max<std::size_t>(seen.writers.size(), 1);
    if (!earlier) return;
    row.passed_messages = passed;
    row.passed_bytes = passed_bytes;
}

channel_seen segment_at(const std::string& path, const std::string& directory,
                        const survey* before) {
    const parley::segment_report* earlier = nullptr;
    for (std::size_t i = 0; before != nullptr && i < before->size(); ++i) {
        if ((*before)[i].path == path && (*before)[i].segment) earlier = &*(*before)[i].segment;
    }
    channel_seen row;
    row.path = path;
    parley::diagnostics why;
    const auto seen = parley::segment_report::of(path, why, earlier);
    if (seen) {
        row.address = address_of(path, directory);
        row.state = seen->alive ? "live" : "stale";
        row.type = seen->type;
        row.owner_pid = seen->owner_pid;
        row.same_namespace = seen->same_namespace;
        row.owner_uid = seen->owner_uid;
        row.writers = seen->writers.size();
        row.writers_max = seen->writers_max;
        add_traffic(row, *seen, earlier != nullptr && earlier->id == seen->id);
        row.segment = std::move(*seen);
        return row;
    }
    parley::diagnostics unused;
    if (const auto set = parley::object_report::of(path, unused)) {
        row.address = path;
        row.state = !set->members.empty() ? "live" : set->kept ? "kept" : "stale";
        row.type = fmt::format("shared objects in {} bytes{}", set->capacity_bytes,
                               set->half_changed ? ", half changed" : "");
        row.owner_uid = set->owner_uid;
        row.owner_pid = set->members.empty() ? 0 : set->members.front();
        row.writers = set->members.size();
        row.writers_max = parley::detail::object_members_max;
        return row;
    }
    struct stat s {};
    (void)::lstat(path.c_str(), &s);
    row.address = path;
    row.state = seen.error() == parley::errc::denied         ? "denied"
                : seen.error() == parley::errc::incompatible ? "other"
                                                             : "alien";
    row.type = why.text();
    row.owner_uid = s.st_uid;
    return row;
}

template <class Address>
void add_queue(survey& all, const Address& at) {
    parley::diagnostics why;
    const auto seen = at.look(why);
    if (!seen) return;  // went meanwhile, or another user's
    channel_seen row;
    row.address = at.to_uri().text();
    row.state = seen->spoiled ? "spoilt" : seen->receiver || seen->sender ? "live" : "kept";
    row.type = fmt::format("a queue, {} messages wait", seen->messages);
    row.owner_uid = seen->owner_uid;
    row.waiting_messages = seen->messages;
    if (seen->bytes_max > 0) {
        row.waiting_bytes = seen->bytes;
        row.room_bytes = seen->bytes_max;
    }
    all.push_back(std::move(row));
}

void add_signals(survey& all, const parley::signals& at) {
    parley::diagnostics why;
    const auto seen = at.look(why);
    if (!seen) return;  // went meanwhile, or another user's
    channel_seen row;
    row.address = at.to_uri().text();
    row.state = seen->alive ? "live" : "stale";
    row.type = seen->type;
    row.owner_pid = seen->owner_pid;
    row.owner_uid = seen->owner_uid;
    row.writers = seen->writers.size();
    row.writers_max = seen->limits.writers_max;
    row.path = at.with.directory + '/' + std::string(signal_posts[0]) + at.name;
    all.push_back(std::move(row));
}

void add_sockets(survey& all, const std::vector<std::string>& directories) {
    for (const auto& s : live_sockets()) {
        channel_seen row;
        row.address = s.path.empty()
                          ? fmt::format("unix: inode {}", s.inode)
                          : parley::uri_writer("unix", s.path).option("type", s.kind).done().text();
        row.state = "live";
        row.type = s.type;
        row.owner_pid = s.owner_pid;
        row.owner_uid = s.owner_uid;
        row.path = s.path;
        all.push_back(std::move(row));
    }
    for (const auto& directory : directories) {
        for (const auto& path : dead_sockets(directory)) {
            channel_seen row;
            row.address = "unix://" + path;
            row.state = "stale";
            row.type = "a socket without a listener";
            row.path = path;
            struct stat s {};
            if (::lstat(path.c_str(), &s) == 0) row.owner_uid = s.st_uid;
            all.push_back(std::move(row));
        }
    }
}

}  // namespace

survey look_around(const how_to_look& how) {
    survey all;
    const auto directories = places(how.directories);
    for (const auto& directory : directories) {
        for (const auto& path : parley::segment_files(directory)) {
            all.push_back(segment_at(path, directory, how.before));
        }
    }
    // Where the kernel shows them; `parley info mq://name` needs no mount.
    for (const auto& name : names_in("/dev/mqueue", "")) add_queue(all, parley::mq(name));
    for (const auto& directory : directories) {
        for (const auto& name : names_in(directory, parley::detail::sysv_file::prefix)) {
            parley::sysv::options with;
            with.directory = directory;
            add_queue(all, parley::sysv(name, with));
        }
    }
    for (const auto& directory : directories) {
        for (const auto& name : names_in(directory, signal_posts[0])) {
            parley::signals::options with;
            with.directory = directory;
            add_signals(all, parley::signals(name, with));
        }
    }
    // Of what else lies there, whatever is laid out as Boost does.
    for (const auto& name : names_in("/dev/shm", "")) {
        if (how.boost_queues && !name.starts_with("parley."))
            add_queue(all, parley::boost_mq(name));
    }
    add_sockets(all, how.directories);
    return all;
}

}  // namespace tool
