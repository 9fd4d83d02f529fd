// SPDX-License-Identifier: MIT
// parley record and parley replay: the messages of a channel in a log of parley, with their times
// and their type, and back again with the same spacing.
#include "taking.hpp"

#include <parley/drive/blocking.hpp>
#include <parley/store/crc32c.hpp>
#include <parley/store/log_reader.hpp>
#include <parley/transport/file.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>

namespace tool {
namespace {

using seconds = std::chrono::duration<double>;

/// What went through: equal at both ends if and only if lengths and bytes were.
class tally {
public:
    void add(parley::bytes m) {
        const std::uint64_t words[] = {sum_, m.size()};
        const parley::bytes before(reinterpret_cast<const std::byte*>(words), sizeof words);
        sum_ = parley::detail::crc32c(before, m);
        bytes_ += m.size();
        ++messages_;
    }
    void print(bool json, const char* verb, const parley::peer_type& type,
               parley::time_point start) const {
        const double took = seconds(parley::clock::now() - start).count();
        if (json) {
            fmt::print(
                "{{\"messages\": {}, \"bytes\": {}, \"checksum\": \"{:08x}\", "
                "\"fingerprint\": \"{:016x}\", \"type\": {}, \"seconds\": {:.3f}}}\n",
                messages_, bytes_, sum_, type.fingerprint, json_text(type.description), took);
        } else {
            fmt::print("{} {} messages, {} in {:.3f} s, checksum {:08x}, type {} ({:016x})\n", verb,
                       messages_, human_bytes(static_cast<double>(bytes_)), took, sum_,
                       type.description, type.fingerprint);
        }
    }

private:
    std::uint64_t messages_ = 0, bytes_ = 0, sum_ = 0;
};

/// The type as an end says it; raw ones tell their alignment. `told` must outlive what comes of it.
parley::message_type type_of(const parley::peer_type& told) {
    parley::message_type type{told.fingerprint, told.description, 8};
    constexpr std::string_view word = " align ";
    const auto at = told.description.rfind(word);
    if (told.description.starts_with("raw ") && at != std::string::npos) {
        const auto* const from = told.description.data() + at + word.size();
        (void)std::from_chars(from, told.description.data() + told.description.size(),
                              type.alignment);
    }
    if (!std::has_single_bit(type.alignment) || type.alignment > 1024) type.alignment = 8;
    return type;
}
/// Where nobody told a type they are bytes, as of `parley send`.
parley::peer_type or_bytes(parley::peer_type told) {
    if (told.fingerprint != 0) return told;
    constexpr auto bytes = parley::codec<std::vector<std::byte>>::type;
    return {bytes.fingerprint, std::string(bytes.description)};
}

std::string path_of(const std::string& where) {
    constexpr std::string_view scheme = "file://";
    return where.starts_with(scheme) ? where.substr(scheme.size()) : where;
}

/// One message on its way into any sink.
template <class Sink>
parley::result<void> put(Sink& out, parley::bytes m, parley::deadline until) {
    auto l = parley::drive::loan(out, m.size(), until);
    if (!l) return l.error();
    if (!m.empty()) std::memcpy(l->bytes().data(), m.data(), m.size());
    return parley::drive::commit(out, std::move(*l), until);
}

}  // namespace

int run_record(const record_options& o) {
    const parley::file log(path_of(o.file));
    std::optional<parley::file::sink> out;
    parley::peer_type type;  // of the log; its sink keeps a view of the words
    tally all;
    const auto start = parley::clock::now();
    taking how;
    how.message = [&](taker& in, parley::bytes payload) -> int {
        auto told = or_bytes(in.sender_type());
        if (!out) {
            type = std::move(told);
            parley::diagnostics why;
            auto opened = log.open_sink({type_of(type), parley::never, &why});
            if (!opened) return fail_to_open(opened.error(), why);
            out.emplace(std::move(*opened));
        } else if (told != type) {
            return fail(refused, fmt::format("{} holds messages of [{}], a sender comes with [{}]: "
                                             "a log has one type",
                                             o.file, type.description, told.description));
        }
        if (auto r = put(*out, payload, parley::never); !r) {
            return fail(file_failed, r.error(), out->why());
        }
        all.add(payload);
        return ok;
    };
    const int code = take_messages(o, "recorded", how);
    if (out) {
        if (auto r = out->close(parley::never); !r) return fail(file_failed, r.error(), out->why());
    }
    all.print(o.json, "recorded", type, start);
    return code;
}

namespace {

using log_reader = parley::store::log_reader<parley::store::real_files>;
using parley::store::next_record;

/// "10" or "10x"; 0 if it is no speed.
double speed_of(std::string text) {
    if (text.ends_with('x')) text.pop_back();
    double x = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), x);
    return ec == std::errc() && end == text.data() + text.size() && x > 0 && std::isfinite(x) ? x
                                                                                              : 0;
}

/// When each message is due, by the monotonic clock, counted from the first one.
class schedule {
public:
    explicit schedule(double speed) : speed_(speed) {}

    [[nodiscard]] parley::time_point due(std::uint64_t recorded_ns) {
        if (first_ns_ == 0) {
            first_ns_ = recorded_ns;
            start_ = parley::clock::now();
        }
        const double ns = static_cast<double>(recorded_ns - first_ns_) / speed_;
        return start_ + std::chrono::nanoseconds(static_cast<std::int64_t>(ns));
    }

private:
    double speed_;
    std::uint64_t first_ns_ = 0;
    parley::time_point start_{};
};

int lost(parley::any_sink& out, const parley::error_code& ec) {
    if (signal_caught() != 0) return interrupted + signal_caught();
    if (ec == parley::errc::closed) {
        return fail(peer_lost, "the receiver closed before everything was sent");
    }
    return fail(code_of(ec), ec, out.why());
}

/// What does not go out at once is tried again, so that signals and --timeout are looked at.
template <class Attempt>
parley::result<void> patiently(patience& left, Attempt&& attempt) {
    left.reset();
    for (;;) {
        auto r = attempt(left.in_slices());
        const bool later =
            !r && (r.error() == parley::errc::timed_out || r.error() == parley::errc::would_block);
        if (!later || left.over() || signal_caught() != 0) return r;
    }
}

int play(log_reader& log, parley::any_sink& out, const replay_options& o, double speed,
         tally& all) {
    schedule when(speed);
    patience left(o.timeout_seconds);
    progress line("replayed", o.quiet);
    for (;;) {
        parley::store::record_header h;
        parley::bytes payload;
        const next_record what = log.next(h, payload);
        if (what == next_record::nothing) return ok;
        if (what != next_record::found) {
            line.clear();
            return fail(refused, fmt::format("{} is damaged at byte {}: what came before was sent",
                                             log.where(), log.offset()));
        }
        if (h.kind != parley::store::record_kind::message) continue;
        if (!o.fast && !sleep_until(when.due(h.time))) return interrupted + signal_caught();
        auto r =
            patiently(left, [&](parley::time_point until) { return put(out, payload, until); });
        if (!r) {
            line.clear();
            return lost(out, r.error());
        }
        all.add(payload);
        line.add(payload.size());
    }
}

}  // namespace

int run_replay(const replay_options& o) {
    const double speed = speed_of(o.speed);
    if (speed == 0) {
        return fail(wrong_usage,
                    fmt::format("--speed {}: wants a number above 0, as 10x", o.speed));
    }
    parley::store::real_files files;
    log_reader log(files, path_of(o.file));
    parley::diagnostics why;
    if (auto r = log.open_first(why); !r) return fail(cannot_open, r.error(), why);
    const auto& h = log.header();
    const auto type = or_bytes({h.fingerprint, std::string(h.description, h.description_bytes)});

    patience left(o.timeout_seconds);
    parley::result<any_address::sink> out = parley::errc::timed_out;
    (void)patiently(left, [&](parley::time_point until) -> parley::result<void> {
        out = any_address(parley::uri{o.address}).open_sink({type_of(type), until, &why});
        if (!out) return out.error();
        return {};
    });
    if (!out) return fail_to_open(out.error(), why);
    tally all;
    const auto start = parley::clock::now();
    int code = play(log, *out, o, speed, all);
    if (code == ok) {
        auto r = patiently(left, [&](parley::time_point until) { return out->close(until); });
        if (!r) code = lost(*out, r.error());
    }
    all.print(o.json, "replayed", type, start);
    return code;
}

}  // namespace tool
