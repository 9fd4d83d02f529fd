// SPDX-License-Identifier: MIT
// Worlds that are explored, and the mutants of the code in them. A program lists its worlds and
// calls explore_all: `PROGRAM` explores them, `PROGRAM mutants SOURCES LIST EVERY` also makes each
// edit of the operations in files whose path has SOURCES in it, and wants a world that catches it.
#pragma once

#include <parley/testing/explorer.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parley_test {

using parley::testing::exploration;
using parley::testing::exploration_plan;
using parley::testing::explorer;
using parley::testing::mutant;

/// One world, of which an explorer is made. `long_run`: only for campaigns.
struct world_to_explore {
    const char* name;
    exploration_plan plan;
    std::function<std::shared_ptr<void>(explorer&)> put_into;
    bool long_run = false;
};
template <class World>
[[nodiscard]] auto world_of(typename World::variation v) {
    return [v](explorer& e) -> std::shared_ptr<void> {
        auto w = std::make_shared<World>(v);
        w->put_into(e);
        return w;
    };
}

class explore_all {
public:
    explicit explore_all(std::vector<world_to_explore> all) : worlds_(std::move(all)) {
        const char* text = std::getenv("PARLEY_CAMPAIGN");
        campaign_ = text != nullptr && *text != '\0' && std::string_view(text) != "0";
    }

    int main(int argc, char** argv) {
        const std::vector<std::string> words(argv + 1, argv + argc);
        if (words.empty()) return explore();
        if (words.size() == 4 && words[0] == "mutants") {
            return try_mutants(words[1], words[2], std::stoul(words[3]));
        }
        std::puts("usage: PROGRAM [mutants SOURCES LIST EVERY]");
        return 2;
    }

private:
    int explore() {
        bool failed = false;
        for (const auto& w : worlds_) {
            explorer e(w.plan);
            const auto kept = put_into(e, w);
            if (kept && !holds(e, w)) failed = true;
        }
        return failed ? 1 : 0;
    }
    /// Null: it is left to campaigns.
    std::shared_ptr<void> put_into(explorer& e, const world_to_explore& w) const {
        return w.long_run && !campaign_ ? nullptr : w.put_into(e);
    }
    static bool holds(explorer& e, const world_to_explore& w) {
        const auto start = std::chrono::steady_clock::now();
        const auto seen = e.run();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        std::printf("%-44s %9llu states %9llu executions %7.2f s\n", w.name,
                    static_cast<unsigned long long>(seen.states),
                    static_cast<unsigned long long>(seen.executions), took.count());
        std::fflush(stdout);
        if (seen.wrong.empty()) return true;
        std::printf("%s: %s\nschedule %s\n%s", w.name, seen.wrong.c_str(), seen.schedule.c_str(),
                    seen.trace.c_str());
        return false;
    }

    // --- mutants ---------------------------------------------------------------------------
    /// An edit that changes nothing that matters, and why.
    struct equivalent {
        std::string line, edit, reason;
        bool used = false;
    };

    struct candidate {
        mutant edit;
        std::vector<const world_to_explore*> faced_by;  // those that do the operation at all
    };

    int try_mutants(const std::string& sources, const std::string& list, std::size_t every) {
        if (campaign_) every = 1;
        auto known = read_list(list);
        std::size_t number = 0, tried = 0, caught = 0;
        bool failed = false;
        for (const auto& c : all_mutants(sources, failed)) {
            const mutant& m = c.edit;
            const std::string line = line_of(m), edit = words_of(m);
            const std::string name = std::string(m.of.file.substr(m.of.file.rfind('/') + 1)) + ':' +
                                     std::to_string(m.of.line) + ": " + edit;
            bool excused = false;
            for (auto& k : known) {
                if (line.find(k.line) == line.npos || edit.find(k.edit) != 0) continue;
                excused = k.used = true;
            }
            if (excused || ++number % every != 0) continue;
            ++tried;
            const std::string words = face(c);
            std::printf("%s: %s\n", name.c_str(), words.empty() ? "SURVIVES" : words.c_str());
            std::fflush(stdout);
            words.empty() ? void(failed = true) : void(++caught);
        }
        for (const auto& k : known) {
            if (k.used) continue;
            std::printf("the list excuses what there is not: %s | %s\n", k.line.c_str(),
                        k.edit.c_str());
            failed = true;
        }
        std::printf("%zu of %zu mutants were tried, %zu caught\n", tried, number, caught);
        return failed || tried == 0 ? 1 : 0;
    }
    /// Explores all worlds as they are, which is a test too, to find the operations in them.
    std::vector<candidate> all_mutants(const std::string& sources, bool& failed) {
        std::vector<candidate> all;
        for (const auto& w : worlds_) {
            explorer e(w.plan);
            const auto kept = put_into(e, w);
            if (!kept) continue;
            if (!holds(e, w)) failed = true;
            for (const auto& m : e.mutants(sources)) {
                auto known = std::find_if(all.begin(), all.end(),
                                          [&](const auto& o) { return o.edit == m; });
                if (known == all.end()) known = all.insert(known, {m, {}});
                known->faced_by.push_back(&w);
            }
        }
        return all;
    }
    /// What the first world says that notices it.
    static std::string face(const candidate& c) {
        for (const auto* w : c.faced_by) {
            explorer e(w->plan);
            const auto kept = w->put_into(e);
            e.mutate(c.edit);
            const auto seen = e.run();
            if (!seen.wrong.empty()) return std::string(w->name) + ": " + seen.wrong;
        }
        return {};
    }
    static std::string words_of(const mutant& m) {
        const std::string what = std::string(m.of.what) + ' ';
        if (m.removed) return what + "removed";
        return what + parley::testing::word_of(m.of.order) + " -> " +
               parley::testing::word_of(m.becomes);
    }
    static std::string line_of(const mutant& m) {
        std::ifstream in{std::string(m.of.file)};
        std::string line;
        for (unsigned i = 0; i < m.of.line; ++i) std::getline(in, line);
        return line;
    }
    static std::vector<equivalent> read_list(const std::string& path) {
        std::ifstream in(path);
        std::vector<equivalent> all;
        for (std::string line; std::getline(in, line);) {
            const auto a = line.find(" | "), b = line.find(" | ", a + 3);
            if (line.empty() || line[0] == '#' || b == line.npos) continue;
            all.push_back({line.substr(0, a), line.substr(a + 3, b - a - 3), line.substr(b + 3)});
        }
        return all;
    }

    std::vector<world_to_explore> worlds_;
    bool campaign_ = false;
};

}  // namespace parley_test
