// SPDX-License-Identifier: MIT
#include "tool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace tool {

int fail(exit_code code, std::string_view words) {
    fmt::print(stderr, "parley: {}\n", words);
    return code;
}

int fail(exit_code code, const parley::error_code& ec, const parley::diagnostics& why) {
    if (why.empty()) return fail(code, ec.message());
    return fail(code, fmt::format("{}\n        {}", ec.message(), why.text()));
}

exit_code code_of(const parley::error_code& ec) {
    if (ec == parley::errc::closed) return ok;
    if (ec == parley::errc::peer_lost) return peer_lost;
    if (ec == parley::errc::timed_out) return timed_out;
    return refused;
}

int fail_to_open(const parley::error_code& ec, const parley::diagnostics& why) {
    if (signal_caught() != 0) return interrupted + signal_caught();
    if (ec == parley::errc::timed_out) return fail(timed_out, ec, why);
    const bool usage = ec == parley::errc::invalid_argument || ec == parley::errc::unsupported;
    return fail(usage ? wrong_usage : cannot_open, ec, why);
}

namespace {

volatile std::sig_atomic_t caught = 0;

extern "C" void remember_signal(int number) { caught = number; }

}  // namespace

int signal_caught() { return caught; }

void catch_signals() {
    struct sigaction action {};
    action.sa_handler = remember_signal;  // no SA_RESTART: a blocked read is to return
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    ::signal(SIGPIPE, SIG_IGN);  // a reader of stdout that left is an exit code, not a death
}

patience::patience(double seconds)
    : each_(seconds > 0 ? std::chrono::duration_cast<parley::duration>(
                              std::chrono::duration<double>(seconds))
                        : parley::duration::zero()) {
    reset();
}
void patience::reset() {
    if (each_ != parley::duration::zero()) until_ = parley::clock::now() + each_;
}
bool patience::over() const { return until_ != parley::never && parley::clock::now() >= until_; }

bool sleep_until(parley::time_point then) {
    while (signal_caught() == 0) {
        const auto left = then - parley::clock::now();
        if (left <= parley::duration::zero()) return true;
        const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(left).count();
        const timespec t{static_cast<time_t>(ns / 1'000'000'000), ns % 1'000'000'000};
        (void)::nanosleep(&t, nullptr);  // a signal that comes just before costs one interval
    }
    return false;
}

std::string json_text(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            (out += '\\') += c;
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out += '"';
}

// --- files -------------------------------------------------------------------------------------

file::~file() { (void)close(); }

int file::open_to_read(const std::string& path) {
    name_ = path == "-" ? "stdin" : path;
    fd_ = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ours_ = path != "-";
    if (fd_ < 0) return errno;
    struct stat s {};
    if (::fstat(fd_, &s) != 0) return errno;
    if (S_ISDIR(s.st_mode)) return EISDIR;
    regular_ = S_ISREG(s.st_mode);
    return 0;
}

int file::open_to_write(const std::string& path) {
    name_ = path == "-" ? "stdout" : path;
    fd_ = path == "-" ? STDOUT_FILENO : ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    ours_ = path != "-";
    return fd_ < 0 ? errno : 0;
}

int file::truncate() {
    if (!ours_) return 0;
    return ::ftruncate(fd_, 0) == 0 || errno == EINVAL ? 0 : errno;  // EINVAL: a device, a FIFO
}

int file::write_all(std::span<const std::byte> from) {
    while (!from.empty()) {
        const auto n = ::write(fd_, from.data(), from.size());
        if (n >= 0) {
            from = from.subspan(static_cast<std::size_t>(n));
        } else if (errno == EAGAIN) {  // whoever shares our stdout may have made it non-blocking
            pollfd p{fd_, POLLOUT, 0};
            (void)::poll(&p, 1, static_cast<int>(slice.count()));
        } else if (errno != EINTR) {
            return errno;
        } else if (signal_caught() != 0) {
            return EINTR;
        }
    }
    return 0;
}

int file::read_some(std::span<std::byte> to, std::size_t& got) {
    got = 0;
    while (got < to.size()) {
        if (!regular_) {  // never sleeps where a signal could be overslept
            pollfd p{fd_, POLLIN, 0};
            while (::poll(&p, 1, got > 0 ? 0 : static_cast<int>(slice.count())) == 0) {
                if (got > 0) return 0;
                if (signal_caught() != 0) return EINTR;
            }
        }
        const auto n = ::read(fd_, to.data() + got, to.size() - got);
        if (n == 0) return 0;
        if (n > 0) {
            got += static_cast<std::size_t>(n);
        } else if (errno == EINTR && signal_caught() != 0) {
            return EINTR;
        } else if (errno != EINTR && errno != EAGAIN) {
            return errno;
        }
    }
    return 0;
}

int file::close() {
    if (fd_ < 0 || !ours_) return 0;
    const int r = ::close(fd_) == 0 ? 0 : errno;
    fd_ = -1;
    return r;
}

std::uint64_t file::size() const {
    struct stat s {};
    return regular_ && ::fstat(fd_, &s) == 0 ? static_cast<std::uint64_t>(s.st_size) : 0;
}

// --- progress ----------------------------------------------------------------------------------

std::string human_bytes(double n) {
    static constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    while (n >= 1024 && unit + 1 < std::size(units)) {
        n /= 1024;
        ++unit;
    }
    const bool whole = std::fabs(n - std::round(n)) < 0.05;
    return fmt::format("{:.{}f} {}", n, whole ? 0 : 1, units[unit]);
}

progress::progress(std::string_view verb, bool quiet, std::uint64_t expected_bytes)
    : verb_(verb), shown_(!quiet && ::isatty(STDERR_FILENO) == 1), expected_(expected_bytes) {}

progress::~progress() {
    if (shown_ && messages_ > 0) show();
    if (line_open_) fmt::print(stderr, "\n");
}

void progress::maybe_show() {
    if (!shown_ || parley::clock::now() < next_) return;
    show();
    next_ = parley::clock::now() + std::chrono::milliseconds(200);
}

void progress::show() {
    const std::chrono::duration<double> took = parley::clock::now() - start_;
    const double rate = static_cast<double>(bytes_) / std::max(took.count(), 1e-3);
    std::string share;
    if (expected_ > 0)
        share = fmt::format("{:3}% ", std::min<std::uint64_t>(bytes_ * 100 / expected_, 100));
    fmt::print(stderr, "\r\033[K{} {}{} in {} messages, {}/s", verb_, share,
               human_bytes(static_cast<double>(bytes_)), messages_, human_bytes(rate));
    line_open_ = true;
}

void progress::clear() {
    if (line_open_) fmt::print(stderr, "\r\033[K");
    line_open_ = false;
}

}  // namespace tool
