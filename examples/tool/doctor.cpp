// SPDX-License-Identifier: MIT
// parley doctor: what is wrong with channels and host, why, and the command that mends it.
#include "doctor.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace tool {

std::string text_of(const std::string& path) {
    std::ifstream file(path);
    std::stringstream all;
    all << file.rdbuf();
    std::string text = all.str();
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

std::string quoted(const std::string& word) {
    const auto plain = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '/' || c == '.' ||
               c == '_' || c == '-' || c == ':' || c == '@' || c == '=' || c == '+' || c == ',';
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
    std::string out = "'";
    for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
    return out + "'";
}

namespace {

std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

/// The command by which this process was called, so that the fix can be pasted.
constexpr const char* clean = "parley clean ";

/// From /proc/PID/stat: T stopped, Z dead. 0: no such process here.
char state_of(std::uint32_t pid) {
    const std::string text = text_of(fmt::format("/proc/{}/stat", pid));
    const auto at = text.rfind(')');
    return at == std::string::npos || at + 2 >= text.size() ? '\0' : text[at + 2];
}

void examine_dead(const channel_seen& row, findings& all) {
    const std::string owner = row.owner_pid == 0
                                  ? std::string("nobody listens there any more")
                                  : fmt::format("its owner, process {}, is gone", row.owner_pid);
    if (row.state == "stale") {
        const std::string memory =
            row.segment ? fmt::format("; it keeps {}",
                                      human_bytes(static_cast<double>(row.segment->memory_bytes)))
                        : "";
        all.push_back({verdict::wrong, "stale", row.address,
                       owner + memory + "; the next receiver takes it over, or",
                       clean + quoted(directory_of(row.path))});
    } else if (row.state == "spoilt") {
        all.push_back({verdict::wrong, "spoilt", row.address,
                       "a process died while it changed the queue: nobody can use it any more",
                       clean + quoted(row.address)});
    } else if (row.state == "other") {
        all.push_back({verdict::wrong, "layout", row.address, row.type,
                       "build both programs with the same parley"});
    } else if (row.state == "denied") {
        all.push_back({verdict::note, "denied", row.address,
                       fmt::format("it belongs to user {}, who alone may look", row.owner_uid),
                       fmt::format("sudo -u '#{}' parley doctor", row.owner_uid)});
    } else if (row.state == "alien") {
        all.push_back({verdict::note, "alien", row.address, row.type, ""});
    }
}

/// How full the descriptor table of a process is.
void examine_descriptors(const channel_seen& row, findings& all) {
    rlimit most{};
    const auto pid = static_cast<pid_t>(row.owner_pid);
    if (::prlimit(pid, RLIMIT_NOFILE, nullptr, &most) != 0) return;
    const auto used = names_in(fmt::format("/proc/{}/fd", pid), "").size();
    if (used == 0 || used * 10 < most.rlim_cur * 9) return;
    all.push_back(
        {verdict::wrong, "descriptors",
         fmt::format("process {}, the owner of {}", pid, row.address),
         fmt::format("{} of {} descriptors are in use: soon nobody can connect", used,
                     most.rlim_cur),
         fmt::format("prlimit --pid {} --nofile={}", pid, std::max<rlim_t>(most.rlim_max, 1024))});
}

void examine_live(const channel_seen& row, findings& all) {
    if (row.owner_pid != 0 && row.same_namespace) {
        const char state = state_of(row.owner_pid);
        if (state == 'T' || state == 't') {
            all.push_back({verdict::wrong, "stopped",
                           fmt::format("process {}, the owner of {}", row.owner_pid, row.address),
                           fmt::format("it is stopped (SIGSTOP, or a debugger); {} messages wait",
                                       row.waiting_messages.value_or(0)),
                           fmt::format("kill -CONT {}", row.owner_pid)});
        }
        examine_descriptors(row, all);
    }
    if (!row.segment) return;
    if (!row.same_namespace) {
        all.push_back({verdict::note, "pid_namespace", row.address,
                       fmt::format("its owner lives in another PID namespace, where it is process "
                                   "{}: its death is seen within 50 ms by its lock, not at once",
                                   row.owner_pid),
                       ""});
    }
    if (!row.segment->same_network) {
        all.push_back({verdict::note, "net_namespace", row.address,
                       "its owner lives in another network namespace: ends from here cannot be "
                       "polled through descriptors, calls that wait work as ever",
                       ""});
    }
}

const char* word_of(verdict v) {
    return v == verdict::wrong ? "WRONG" : v == verdict::note ? "note" : "good";
}

void print(const finding& f, bool json, bool first) {
    if (json) {
        fmt::print(
            "{}  {{\"check\": {}, \"verdict\": {}, \"what\": {}, \"cause\": {}, \"fix\": {}}}",
            first ? "" : ",\n", json_text(f.check),
            json_text(f.how == verdict::wrong ? "wrong" : word_of(f.how)), json_text(f.what),
            json_text(f.cause), f.fix.empty() ? "null" : json_text(f.fix));
        return;
    }
    fmt::print("{:<6} {}: {}\n", word_of(f.how), f.what, f.cause);
    if (!f.fix.empty()) fmt::print("       fix: {}\n", f.fix);
}

}  // namespace

void examine_channels(const survey& all, const std::vector<std::string>& directories,
                      findings& out) {
    for (const auto& row : all)
        row.state == "live" ? examine_live(row, out) : examine_dead(row, out);
    // Damaged ones begin as a segment does; the rest that is named so is somebody else's.
    for (auto& f : out) {
        if (f.check != "alien") continue;
        std::uint64_t magic = 0;
        std::ifstream file(f.what, std::ios::binary);
        file.read(reinterpret_cast<char*>(&magic), sizeof magic);
        if (!file || magic != parley::shm_layout::magic) continue;
        f.how = verdict::wrong;
        f.check = "damaged";
        f.fix = clean + quoted(directory_of(f.what));
    }
    if (std::none_of(out.begin(), out.end(), [](auto& f) { return f.how == verdict::wrong; })) {
        std::string where = fmt::format("{}", fmt::join(places(directories), ", "));
        out.push_back({verdict::good, "channels",
                       fmt::format("{} channels ({})", all.size(), where),
                       "nothing was left by the dead", ""});
    }
}

int run_doctor(const doctor_options& o) {
    const survey seen = look_around({.directories = o.directories});
    findings all;
    examine_channels(seen, o.directories, all);
    examine_host(seen, o.directories, all);
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.how > b.how; });
    bool first = true;
    if (o.json) fmt::print("[\n");
    for (const auto& f : all) {
        print(f, o.json, first);
        first = false;
    }
    if (o.json) fmt::print("\n]\n");
    const auto wrong = std::count_if(all.begin(), all.end(),
                                     [](const auto& f) { return f.how == verdict::wrong; });
    if (!o.json) fmt::print("{} wrong, {} looked at\n", wrong, all.size());
    return wrong > 0 ? unwell : ok;
}

}  // namespace tool
