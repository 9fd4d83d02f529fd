// SPDX-License-Identifier: MIT
// parley echo and parley hz: the messages of a channel, and their rhythm.
#include "taking.hpp"
#include "typed.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace tool {
namespace {

using seconds = std::chrono::duration<double>;

/// Where a terminal would be disturbed, a dot.
std::string printable(parley::bytes b, std::size_t most) {
    std::string out;
    for (const auto c : parley::as_text(b.first(std::min(most, b.size())))) {
        out += c >= ' ' && c <= '~' ? c : '.';
    }
    return out;
}

}  // namespace

int run_echo(const echo_options& options) {
    echo_options o = options;
    o.quiet = true;  // the messages are what is to be seen
    std::uint64_t n = 0;
    const auto start = parley::clock::now();
    std::string value;
    taking how;
    how.message = [&](taker& in, parley::bytes payload) -> int {
        const double at = seconds(parley::clock::now() - start).count();
        const auto type = in.sender_type();
        value.clear();
        const bool known = append_value(value, type.description, payload);
        const bool cut = payload.size() > o.bytes_max;
        if (o.json) {
            const auto print = type.fingerprint == 0 ? std::string("null")
                                                     : fmt::format("\"{:016x}\"", type.fingerprint);
            fmt::print(
                "{{\"n\": {}, \"t\": {:.6f}, \"bytes\": {}, \"type\": {}, "
                "\"fingerprint\": {}, {}}}\n",
                ++n, at, payload.size(), json_text(type.description), print,
                known ? "\"value\": " + value
                      : fmt::format("\"hex\": \"{}\", \"cut\": {}", hex(payload, o.bytes_max, ""),
                                    cut));
        } else {
            fmt::print("{:>6} {:>12.6f} {:>8} B  {}\n", ++n, at, payload.size(),
                       known ? value
                             : fmt::format("{}{}  |{}|", hex(payload, o.bytes_max, " "),
                                           cut ? " ..." : "", printable(payload, o.bytes_max)));
        }
        return std::ferror(stdout) == 0 ? int{ok} : fail(file_failed, "stdout cannot be written");
    };
    how.idle = [] { (void)std::fflush(stdout); };
    const int code = take_messages(o, "", how);
    return std::fflush(stdout) == 0 ? code : fail(file_failed, "stdout cannot be written");
}

namespace {

/// Gaps between messages, and what they add up to. Mean and deviation as Welford (1962) has them:
/// one pass, no sum of squares that loses its digits.
class rhythm {
public:
    void add(parley::time_point now, std::size_t bytes) {
        if (messages_++ > 0) {
            const double gap = seconds(now - last_).count();
            least_ = gaps_ == 0 ? gap : std::min(least_, gap);
            most_ = std::max(most_, gap);
            const double off = gap - mean_;
            mean_ += off / static_cast<double>(++gaps_);
            squares_ += off * (gap - mean_);
        }
        bytes_ += bytes;
        last_ = now;
    }
    [[nodiscard]] std::uint64_t messages() const noexcept { return messages_; }

    void print(bool json, const char* span, double took) const {
        const double per_second = 1 / std::max(took, 1e-9);
        // From the first message to the last there is one gap less than messages.
        const bool whole = span[0] == 'a';
        const double rate = static_cast<double>(whole ? gaps_ : messages_ - before_) * per_second;
        const double flow = static_cast<double>(bytes_) * per_second;
        const double deviation = gaps_ > 1 ? std::sqrt(squares_ / static_cast<double>(gaps_)) : 0;
        if (json) {
            const auto ms = [&](double s) {
                return gaps_ == 0 ? std::string("null") : fmt::format("{:.6f}", s * 1e3);
            };
            fmt::print(
                "{{\"span\": \"{}\", \"seconds\": {:.3f}, \"messages\": {}, "
                "\"messages_per_s\": {:.1f}, \"bytes_per_s\": {:.1f}, \"gap_min_ms\": {}, "
                "\"gap_mean_ms\": {}, \"gap_max_ms\": {}, \"gap_stddev_ms\": {}}}\n",
                span, took, messages_ - before_, rate, flow, ms(least_), ms(mean_), ms(most_),
                ms(deviation));
        } else {
            fmt::print(
                "{}{:.1f} messages/s, {}/s; gaps min {:.3f} mean {:.3f} max {:.3f} stddev "
                "{:.3f} ms ({} messages)\n",
                whole ? "in all: " : "", rate, human_bytes(flow), least_ * 1e3, mean_ * 1e3,
                most_ * 1e3, deviation * 1e3, messages_ - before_);
        }
        (void)std::fflush(stdout);
    }
    /// From here on anew; the gap to the last message goes on.
    void begin() noexcept {
        before_ = messages_ > 0 ? 1 : 0;
        messages_ = before_;
        gaps_ = bytes_ = 0;
        least_ = most_ = mean_ = squares_ = 0;
    }

private:
    std::uint64_t messages_ = 0, gaps_ = 0, bytes_ = 0, before_ = 0;
    double least_ = 0, most_ = 0, mean_ = 0, squares_ = 0;
    parley::time_point last_{};
};

}  // namespace

int run_hz(const hz_options& options) {
    hz_options o = options;
    o.quiet = true;
    const auto interval = std::chrono::duration_cast<parley::duration>(seconds(o.interval_seconds));
    rhythm all, now;
    parley::time_point first{}, began{}, last{};
    taking how;
    const auto tell = [&](parley::time_point at) {
        if (all.messages() == 0 || at - began < interval) return;
        now.print(o.json, "interval", seconds(at - began).count());
        now.begin();
        began = at;
    };
    how.message = [&](taker&, parley::bytes payload) -> int {
        last = parley::clock::now();
        if (all.messages() == 0) first = began = last;
        tell(last);
        all.add(last, payload.size());
        now.add(last, payload.size());
        return ok;
    };
    how.idle = [&] { tell(parley::clock::now()); };
    const int code = take_messages(o, "", how);
    if (all.messages() > 0) all.print(o.json, "all", seconds(last - first).count());
    return std::ferror(stdout) == 0 ? code : fail(file_failed, "stdout cannot be written");
}

}  // namespace tool
