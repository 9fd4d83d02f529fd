// SPDX-License-Identifier: MIT
// What this process holds of the machine: to compare before and after.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <string>
#include <system_error>

namespace parley_test {

/// Open descriptors, shared mappings, threads and children of this process. Memory of the heap is
/// left to the sanitizers: it grows in steps of its own.
struct resources {
    std::size_t descriptors = 0;
    std::size_t shared_mappings = 0;
    std::size_t threads = 0;
    std::string children;

    [[nodiscard]] static resources now() {
        resources r;
        r.descriptors = entries("/proc/self/fd");
        r.threads = entries("/proc/self/task");
        std::ifstream maps("/proc/self/maps");
        for (std::string line; std::getline(maps, line);) {
            const auto rights = line.find(' ');
            r.shared_mappings +=
                rights != std::string::npos && line.size() > rights + 4 && line[rights + 4] == 's';
        }
        std::error_code ec;
        for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", ec)) {
            std::ifstream in(task.path() / "children");
            std::string text;
            std::getline(in, text);
            r.children += text;
        }
        return r;
    }
    friend bool operator==(const resources&, const resources&) = default;
    friend std::ostream& operator<<(std::ostream& to, const resources& r) {
        return to << r.descriptors << " descriptors, " << r.shared_mappings << " mappings, "
                  << r.threads << " threads, children [" << r.children << ']';
    }

private:
    static std::size_t entries(const char* folder) {
        std::size_t n = 0;
        std::error_code ec;
        for (std::filesystem::directory_iterator at(folder, ec), end; !ec && at != end;
             at.increment(ec)) {
            ++n;
        }
        return n;
    }
};

}  // namespace parley_test
