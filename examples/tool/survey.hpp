// SPDX-License-Identifier: MIT
// Every channel of parley that this host shows, looked at from outside: what list, top and doctor
// work on. Files are opened for reading only; no lane, no connection and no lock is taken.
#pragma once

#include "tool.hpp"

#include <parley/shm/inspect.hpp>

#include <optional>

namespace tool {

/// What can be told of one channel. A number that nobody can know from outside is absent.
struct channel_seen {
    std::string address;
    std::string state;            // live, stale, kept, spoilt, denied, other, alien
    std::string type;             // of its messages, or what is the matter
    std::uint32_t owner_pid = 0;  // 0: nobody knows
    bool same_namespace = true;   // owner_pid means the same here
    std::uint32_t owner_uid = 0;
    std::optional<std::size_t> writers = {}, writers_max = {};
    std::optional<std::uint64_t> waiting_messages = {}, waiting_bytes = {}, room_bytes = {};
    bool estimated = false;  // the numbers of messages are
    std::optional<std::uint64_t> passed_messages = {}, passed_bytes = {};  // since the earlier look
    std::optional<parley::segment_report> segment = {};
    std::string path = {};  // of what lies in the file system

    [[nodiscard]] std::string owner() const;
    [[nodiscard]] std::string lanes() const;
};
using survey = std::vector<channel_seen>;

struct how_to_look {
    /// Where segments, posts of signals, names of queues and dead sockets lie; none: /dev/shm.
    std::vector<std::string> directories = {};
    /// An earlier look: what went through the segments since is counted.
    const survey* before = nullptr;
    /// A queue of Boost tells whether it is whole only to who takes its lock, for an instant. Who
    /// looks again and again may be killed just then, and leaves those alone.
    bool boost_queues = true;
};

/// Segments first, then queues, signals and sockets.
[[nodiscard]] survey look_around(const how_to_look& how);

/// The directories in which segments are looked for.
[[nodiscard]] std::vector<std::string> places(const std::vector<std::string>& asked);
/// The names in a directory that begin with `prefix`, without it, sorted.
[[nodiscard]] std::vector<std::string> names_in(const std::string& directory,
                                                std::string_view prefix);
/// What the posts of those who take signals are called.
inline constexpr std::string_view signal_posts[] = {"parley-signals.", "parley-ast."};

}  // namespace tool
