// SPDX-License-Identifier: MIT
// Names and directories that no other test, run or process uses, and that are gone at the end.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace parley_test {

namespace detail {

inline std::string unique_text(std::string_view stem) {
    static std::atomic<unsigned> counter{0};
    // Process ids come round again; the clock tells runs apart.
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    return "parley_test_" + std::string(stem) + '_' + std::to_string(::getpid()) + '_' +
           std::to_string(now % 1'000'000'000) + '_' + std::to_string(++counter);
}

}  // namespace detail

/// Files under /dev/shm and /dev/mqueue whose names contain `part`: what a test left behind.
inline std::vector<std::string> leftovers(std::string_view part) {
    std::vector<std::string> found;
    for (const char* folder : {"/dev/shm", "/dev/mqueue"}) {
        std::error_code ec;
        for (std::filesystem::directory_iterator at(folder, ec), end; !ec && at != end;
             at.increment(ec)) {
            if (at->path().filename().string().find(part) != std::string::npos) {
                found.push_back(at->path().string());
            }
        }
    }
    return found;
}

/// A name for segments and queues. At the end of the scope everything under /dev/shm and
/// /dev/mqueue that bears it is removed: a test that wants to assert cleanliness does so before.
class unique_name {
public:
    explicit unique_name(std::string_view stem = "name") : text_(detail::unique_text(stem)) {}
    unique_name(const unique_name&) = delete;
    unique_name& operator=(const unique_name&) = delete;
    ~unique_name() {
        if (owner_ != ::getpid()) return;
        std::error_code ec;
        for (const auto& path : leftovers(text_)) std::filesystem::remove_all(path, ec);
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    operator const std::string&() const noexcept { return text_; }

private:
    std::string text_;
    pid_t owner_ = ::getpid();
};

/// A directory of its own under $TMPDIR or /tmp; it is removed with all content by the process
/// that made it, not by forked children. Its path is short enough for socket names.
class temporary_directory {
public:
    temporary_directory() {
        const char* base = ::getenv("TMPDIR");
        std::string pattern = (base != nullptr && *base != '\0' ? std::string(base) : "/tmp");
        pattern += "/parley_XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) {
            throw std::system_error(errno, std::generic_category(), "mkdtemp " + pattern);
        }
        path_ = pattern;
    }
    temporary_directory(const temporary_directory&) = delete;
    temporary_directory& operator=(const temporary_directory&) = delete;
    ~temporary_directory() {
        if (owner_ != ::getpid()) return;
        std::error_code ec;
        std::filesystem::remove_all(path_, ec);
    }

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    /// The path of a file in it: `dir / "socket"`.
    [[nodiscard]] std::string operator/(std::string_view file) const {
        return (path_ / file).string();
    }
    /// How many entries it holds: zero if everything was cleaned up.
    [[nodiscard]] std::size_t entries() const {
        std::size_t n = 0;
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            n += !entry.path().empty();
        return n;
    }

private:
    std::filesystem::path path_;
    pid_t owner_ = ::getpid();
};

/// Found out before any test leaves the mount namespace in which this path means something.
inline const std::filesystem::path own_folder =
    std::filesystem::read_symlink("/proc/self/exe").parent_path();
/// The path of a program built from process/<name>.cpp (`name` ends in _helper): it lies beside
/// the test binary.
inline std::string helper_program(std::string_view name) { return (own_folder / name).string(); }

}  // namespace parley_test
