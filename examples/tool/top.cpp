// SPDX-License-Identifier: MIT
// parley top: every channel of this host and what flows through it, again and again. The rates come
// from the cursors that readers and writers keep anyway, so nobody notices.
#include "survey.hpp"
#include "tool.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <utility>

namespace tool {
namespace {

/// What a channel did in the time between two looks.
struct flow {
    std::optional<double> messages_per_s, bytes_per_s;
};
flow flow_of(const channel_seen& row, double seconds) {
    const auto per_second = [&](const std::optional<std::uint64_t>& n) {
        return n ? std::optional(static_cast<double>(*n) / seconds) : std::nullopt;
    };
    return {per_second(row.passed_messages), per_second(row.passed_bytes)};
}

template <class Number>
std::string json_number(const std::optional<Number>& n) {
    return n ? fmt::format("{}", *n) : "null";
}
std::string json_number(const std::optional<double>& n) {
    return n ? fmt::format("{:.1f}", *n) : "null";
}

void print_json(const survey& all, double seconds) {
    fmt::print("{{\"time\": {}, \"interval_s\": {:.3f}, \"channels\": [", ::time(nullptr), seconds);
    bool first = true;
    for (const auto& row : all) {
        const flow f = flow_of(row, seconds);
        const auto pid = row.owner_pid == 0 ? std::nullopt : std::optional(row.owner_pid);
        fmt::print(
            "{}{{\"address\": {}, \"state\": {}, \"type\": {}, \"owner_pid\": {}, "
            "\"owner_uid\": {}, \"same_pid_namespace\": {}, \"writers\": {}, \"writers_max\": {}, "
            "\"waiting_messages\": {}, \"waiting_bytes\": {}, \"room_bytes\": {}, "
            "\"messages_per_s\": {}, \"bytes_per_s\": {}, \"estimated\": {}}}",
            first ? "" : ", ", json_text(row.address), json_text(row.state), json_text(row.type),
            json_number(pid), row.owner_uid, row.same_namespace, json_number(row.writers),
            json_number(row.writers_max), json_number(row.waiting_messages),
            json_number(row.waiting_bytes), json_number(row.room_bytes),
            json_number(f.messages_per_s), json_number(f.bytes_per_s), row.estimated);
        first = false;
    }
    fmt::print("]}}\n");
}

/// 12345678 as "12.3M".
std::string human_count(double n) {
    static constexpr const char* units[] = {"", "k", "M", "G"};
    std::size_t unit = 0;
    for (; n >= 9999.5 && unit + 1 < std::size(units); ++unit) n /= 1000;
    return fmt::format("{:.{}f}{}", n, unit > 0 && n < 100 ? 1 : 0, units[unit]);
}
std::string cut(std::string text, std::size_t columns) {
    if (text.size() <= columns) return text;
    text.resize(columns - 1);
    return text + '~';
}

void print_table(const survey& all, double seconds, std::size_t columns) {
    constexpr auto* line = "{:<30} {:<6} {:>12} {:>7} {:>10} {:>10} {:>5} {:>9} {:>12}  {}";
    const auto put = [&](std::string text) { fmt::print("{}\n", cut(std::move(text), columns)); };
    put(fmt::format(line, "CHANNEL", "STATE", "OWNER", "WRITERS", "WAITING", "BYTES", "FULL",
                    "MSG/S", "BYTES/S", "TYPE"));
    for (const auto& row : all) {
        const flow f = flow_of(row, seconds);
        const auto number = [&](const auto& n, const auto& words) {
            return n ? words(static_cast<double>(*n)) : std::string("-");
        };
        const auto count = [&](double n) {
            return (row.estimated && n > 0 ? "~" : "") + human_count(n);
        };
        const auto full = row.waiting_bytes && row.room_bytes.value_or(0) > 0
                              ? fmt::format("{}%", *row.waiting_bytes * 100 / *row.room_bytes)
                              : "-";
        put(fmt::format(line, cut(row.address, 30), row.state, row.owner(), row.lanes(),
                        number(row.waiting_messages, count), number(row.waiting_bytes, human_bytes),
                        full, number(f.messages_per_s, count), number(f.bytes_per_s, human_bytes),
                        row.type));
    }
    if (all.empty()) put("nothing: no segment, socket or queue of parley");
}

}  // namespace

int run_top(const top_options& o) {
    const bool screen = !o.json && !o.once && ::isatty(STDOUT_FILENO) == 1;
    const auto interval = std::chrono::duration_cast<parley::duration>(
        std::chrono::duration<double>(o.interval_seconds));
    how_to_look how{.directories = o.directories, .boost_queues = false};
    survey seen = look_around(how);
    for (auto at = parley::clock::now(); sleep_until(at + interval);) {
        how.before = &seen;
        survey next = look_around(how);
        const auto now = parley::clock::now();
        const double seconds = std::chrono::duration<double>(now - at).count();
        at = now;
        std::size_t columns = 1000;
        if (winsize w{}; screen && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20) {
            columns = w.ws_col;
        }
        if (screen) fmt::print("\033[H\033[2J");
        if (o.json) {
            print_json(next, seconds);
        } else {
            print_table(next, seconds, columns);
        }
        if (std::fflush(stdout) != 0) return fail(file_failed, "stdout cannot be written");
        if (o.once) return ok;
        seen = std::move(next);
    }
    return interrupted + signal_caught();
}

}  // namespace tool
