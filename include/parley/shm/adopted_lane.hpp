// SPDX-License-Identifier: MIT
// What the reader of a segment holds: the name, and its lanes.
#pragma once

#include <parley/detail/later.hpp>
#include <parley/detail/posix.hpp>
#include <parley/shm/lane.hpp>
#include <parley/shm/waiting.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

using lane_page = shm_layout::lane_page;
using lane_cursor = shm_layout::lane_cursor;

/// The name of a segment: a file to remove at the end, or something else to let go of then.
template <class Atomics>
struct segment_label {
    std::string path;
    std::shared_ptr<later<void, Atomics>> registration = nullptr;
};

/// A lane with a writer, from its claim until all it sent was let go.
template <class Atomics>
struct adopted_lane {
    lane_reader<Atomics> lane;
    const lane_page* page;
    lane_cursor* cursor;
    std::size_t number;
    std::uint32_t claim;
    std::size_t borrowed = 0;
    bool over = false;  // ended or dead: free it once nothing is borrowed
    unique_fd pidfd = {};

    /// The writer's process, 0 if that number means nothing here.
    [[nodiscard]] std::uint32_t pid() const noexcept {
        return pid_here(page->pid, page->pid_namespace);
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
