// SPDX-License-Identifier: MIT
// What the commands of the tool share: exit codes, options, words on stderr, files, progress.
#pragma once

#include <parley/base/error.hpp>
#include <parley/base/time.hpp>
#include <parley/base/uri.hpp>

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// The promise of `parley --help`: never renumber these.
enum exit_code : int {
    ok = 0,
    wrong_usage = 1,
    cannot_open = 2,
    peer_lost = 3,
    timed_out = 4,
    refused = 5,
    file_failed = 6,
    unwell = 7,         // what doctor found
    interrupted = 128,  // plus the signal's number
};

/// Options that recv and send share.
struct common_options {
    std::string address;
    double timeout_seconds = 0;  // 0: as long as it takes
    bool quiet = false;
};

struct take_options : common_options {
    std::uint64_t count = 0;  // 0: no limit
    bool follow = false;
};
struct recv_options : take_options {
    std::string out = "-";
};
struct echo_options : take_options {
    bool json = false;
    std::size_t bytes_max = 256;  // of a message that is shown as bytes
};
struct hz_options : take_options {
    double interval_seconds = 1;
    bool json = false;
};
struct record_options : take_options {
    std::string file;
    bool json = false;
};
struct replay_options : common_options {
    std::string file;
    std::string speed = "1";
    bool fast = false;
    bool json = false;
};
struct send_options : common_options {
    std::string in = "-";
    std::size_t chunk_bytes = 0;  // 0: what suits the transport
};
struct list_options {
    std::vector<std::string> directories;
    bool json = false;
};
struct info_options {
    std::string address;
};
struct top_options {
    std::vector<std::string> directories;
    double interval_seconds = 1;
    bool once = false;
    bool json = false;
};
struct doctor_options {
    std::vector<std::string> directories;
    bool json = false;
};
struct clean_options {
    std::vector<std::string> places;  // directories, or addresses of queues
    bool dry_run = false;
    bool json = false;
};
/// What a bench measured, for who asks from within.
struct bench_result {
    double round_trip_us = 0;  ///< the median
    double messages_per_s = 0;
};
struct bench_options {
    std::string address;
    std::size_t size = 64;
    double seconds = 1;
    bool json = false;
    bench_result* result = nullptr;  ///< instead of printing
};

struct transports_options {
    double seconds = 0;  ///< of measuring each; 0: only what the limits say
};

struct serve_options {
    std::string address;
    bool native = false;  ///< as parley's services speak, not JSON-RPC
};
struct call_options {
    std::string address, method, params;
    double timeout_seconds = 0;
    bool notify = false;
    bool native = false;
};

int run_recv(const recv_options&);
int run_send(const send_options&);
int run_echo(const echo_options&);
int run_hz(const hz_options&);
int run_record(const record_options&);
int run_replay(const replay_options&);
int run_list(const list_options&);
int run_top(const top_options&);
int run_doctor(const doctor_options&);
int run_info(const info_options&);
int run_bench(const bench_options&);
int run_transports(const transports_options&);
int run_clean(const clean_options&);
int run_call(const call_options&);
int run_serve(const serve_options&);

/// "parley: words" on stderr; returns `code`, so that a command can end with it.
int fail(exit_code code, std::string_view words);
/// The same with an error of the library, and the diagnostics that belong to it.
int fail(exit_code code, const parley::error_code& ec, const parley::diagnostics& why);
/// The exit code of an error while messages flow.
[[nodiscard]] exit_code code_of(const parley::error_code& ec);
/// Why an end could not be opened: an address that means nothing is wrong usage.
int fail_to_open(const parley::error_code& ec, const parley::diagnostics& why);

/// SIGINT and SIGTERM end a command in good order: it looks at this now and then.
[[nodiscard]] int signal_caught();
void catch_signals();

/// How long a wait may last before the command looks at signals and deadlines again.
inline constexpr std::chrono::milliseconds slice{100};

/// Counts down from the last thing that happened.
class patience {
public:
    explicit patience(double seconds);
    void reset();
    [[nodiscard]] bool over() const;
    [[nodiscard]] parley::time_point until() const noexcept { return until_; }
    /// At most this long in one go, so that signals are looked at.
    [[nodiscard]] parley::time_point in_slices() const {
        const auto next = parley::clock::now() + slice;
        return next < until_ ? next : until_;
    }

private:
    parley::duration each_;
    parley::time_point until_ = parley::never;
};

/// Sleeps until then; false if a signal came.
[[nodiscard]] bool sleep_until(parley::time_point then);

/// A file, or "-" for stdin or stdout.
class file {
public:
    file() = default;
    file(const file&) = delete;
    file& operator=(const file&) = delete;
    ~file();

    /// Errors are errno values; 0 is success.
    [[nodiscard]] int open_to_read(const std::string& path);
    /// Nothing is cut off before truncate(): an address that cannot be opened must not cost a file.
    [[nodiscard]] int open_to_write(const std::string& path);
    [[nodiscard]] int truncate();
    [[nodiscard]] int write_all(std::span<const std::byte> from);
    /// Reads up to `to.size()` bytes, as many as there are without waiting for more; got 0: the
    /// end. EINTR if a signal came first.
    [[nodiscard]] int read_some(std::span<std::byte> to, std::size_t& got);
    [[nodiscard]] int close();
    /// How many bytes are left to read; 0 if nobody knows.
    [[nodiscard]] std::uint64_t size() const;
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

private:
    int fd_ = -1;
    bool ours_ = false;
    bool regular_ = false;
    std::string name_;
};

/// A line on a terminal's stderr that counts messages and bytes; silent elsewhere.
class progress {
public:
    progress(std::string_view verb, bool quiet, std::uint64_t expected_bytes = 0);
    ~progress();
    void add(std::size_t bytes) {
        ++messages_;
        bytes_ += bytes;
        if (shown_ && messages_ % 16 == 0) maybe_show();
    }
    void maybe_show();
    /// Ends the line, so that other words can follow.
    void clear();

private:
    void show();

    std::string_view verb_;
    bool shown_;
    bool line_open_ = false;
    std::uint64_t expected_, messages_ = 0, bytes_ = 0;
    parley::time_point start_ = parley::clock::now(), next_ = start_;
};

/// Text as JSON has it, with its quotes.
[[nodiscard]] std::string json_text(std::string_view text);
/// 1536 as "1.5 KiB".
[[nodiscard]] std::string human_bytes(double n);

}  // namespace tool
