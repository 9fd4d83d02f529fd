// SPDX-License-Identifier: MIT
// Reading a log from any place on, file by file, as far as it is good.
#pragma once

#include <parley/store/log_format.hpp>

#include <cstring>
#include <limits>
#include <memory>
#include <string>

namespace parley {
inline namespace v1 {
namespace store {

/// What comes next in a log.
enum class next_record : std::uint8_t {
    found,
    nothing,    ///< the end, so far; a torn record may lie there
    bad,        ///< bytes that are no record of this place
    truncated,  ///< the file ends before the place that was reached
    gone,       ///< the file in which the log goes on was removed: messages were lost
    failed,     ///< a call failed; errno tells
};

/// A place in a log, and the records from there on. Trusts nothing that it reads.
///
///     store::log_reader<store::real_files> at(files, "/var/log/ticks");
///     if (at.open_at(0, why)) while (at.next(h, payload) == next_record::found) use(payload);
///
/// Thread safety: one thread at a time. Lifetime: a payload stays until the next call.
/// Blocking: as reading a file does. Errors of open: those of the file, corrupt, incompatible.
template <class Files>
class log_reader {
public:
    using file = typename Files::file;

    log_reader(Files& fs, std::string path) : fs_(&fs), names_{std::move(path)} {}

    /// Goes to the record at `position`, in whichever file it is; not_found: it is in none.
    [[nodiscard]] result<void> open_at(std::uint64_t position, diagnostics& why) {
        for (int attempt = 0;; ++attempt) {
            auto r = open_file(names_.path, why);
            if (!r || header_.first_position <= position) {
                if (r) go_to(position, 0);
                return r;
            }
            const auto older = names_.all_older(*fs_);
            const auto behind = std::upper_bound(older.begin(), older.end(), position);
            if (behind == older.begin()) {
                return why.fail(errc::not_found, names_.path + " begins behind position " +
                                                     std::to_string(position) +
                                                     ": what was there was removed");
            }
            r = open_file(names_.older(*(behind - 1)), why);
            if (r) go_to(position, 0);
            // Between the two looks it may have been removed.
            if (r || r.error() != errc::not_found || attempt == 10) return r;
        }
    }
    /// Goes to the first record that is still there.
    [[nodiscard]] result<void> open_first(diagnostics& why) {
        const auto older = names_.all_older(*fs_);
        auto r = open_file(older.empty() ? names_.path : names_.older(older.front()), why);
        if (r) go_to(header_.first_position, header_.first_sequence);
        return r;
    }
    /// Goes to the first record of the file that is written now.
    [[nodiscard]] result<void> open_last_file(bool writable, diagnostics& why) {
        auto r = open_file(names_.path, why, writable);
        if (r) go_to(header_.first_position, header_.first_sequence);
        return r;
    }

    /// The next record, if it is whole and good; turns are followed.
    [[nodiscard]] next_record next(record_header& h, bytes& payload) {
        bool fresh = false;
        for (;;) {
            const bytes seen(room_.get() + begin_, end_ - begin_);
            const judged j = judge_record(seen, expected_, h);
            if (j == judged::whole && h.kind == record_kind::turn) {
                const next_record r = stays_ ? next_record::nothing : turn(h);
                if (r != next_record::found) return r;
                fresh = false;
            } else if (j == judged::whole) {
                payload = seen.subspan(record_header_bytes, h.length);
                begin_ += record_stride(h.length);
                expected_.step_over(h);
                return next_record::found;
            } else if (j == judged::partial && !fresh_enough(seen, h)) {
                const auto whole = static_cast<std::size_t>(whole_size(seen, h));
                if (!fetch(whole)) return next_record::failed;
            } else if (!fresh) {  // what was read ahead may have been changed since
                if (!fetch(0)) return next_record::failed;
                fresh = true;
            } else if (seen.empty() && offset() > fs_->size(file_)) {
                return next_record::truncated;
            } else {
                return j == judged::bad ? next_record::bad : next_record::nothing;
            }
        }
    }
    /// The same in short, if it is the message that is expected, in the file that is read now; else
    /// null, and next() tells.
    [[nodiscard, gnu::always_inline]] const record_header* next_message() {
        if (begin_ == end_ && !fetch(0)) return nullptr;
        const std::size_t there = end_ - begin_;
        const std::byte* const at = room_.get() + begin_;
        const auto& h = *reinterpret_cast<const record_header*>(at);
        if (there < record_header_bytes || h.position != expected_.position ||
            h.sequence != expected_.sequence || h.sender != expected_.sender ||
            h.kind != record_kind::message)
            return nullptr;
        const std::size_t stride = record_stride(h.length);
        if (!record_fits(h.length, there)) return nullptr;
        if (record_check(h, at + record_header_bytes) != h.check) return nullptr;
        begin_ += stride;
        expected_.position += stride;
        ++expected_.sequence;
        return &h;
    }
    /// The first sender of a log that was made without a type changes it.
    [[nodiscard]] result<void> reread_header(diagnostics& why) {
        return read_log_header(*fs_, file_, where_, header_, why);
    }

    /// Stops at a turn instead of following it, for who looks for the end of this very file.
    void stay() noexcept { stays_ = true; }
    [[nodiscard]] const expectation& expected() const noexcept { return expected_; }
    [[nodiscard]] std::uint64_t position() const noexcept { return expected_.position; }
    [[nodiscard]] const log_header& header() const noexcept { return header_; }
    [[nodiscard]] file& now() noexcept { return file_; }
    /// How often another file was opened: whoever watches the file looks at this.
    [[nodiscard]] std::uint64_t turns() const noexcept { return turns_; }
    [[nodiscard]] const std::string& where() const noexcept { return where_; }
    /// Where in the file the next record lies.
    [[nodiscard]] std::uint64_t offset() const noexcept {
        return expected_.position - header_.first_position + log_header_bytes;
    }
    /// All that the file had when it was read last was handed out.
    [[nodiscard]] bool exhausted() const noexcept { return begin_ == end_ && saw_end_; }
    /// How often the file was read.
    [[nodiscard]] std::uint64_t reads() const noexcept { return reads_; }
    void close() noexcept { file_ = file(); }

private:
    static constexpr std::size_t usual_bytes = 64 << 10;

    result<void> open_file(const std::string& path, diagnostics& why, bool writable = false) {
        file f;
        if (const int e = fs_->open(path, writable, f); e != 0) {
            return why.fail(from_errno(e), detail::explain("opening " + path, e));
        }
        log_header h;
        if (auto r = read_log_header(*fs_, f, path, h, why); !r) return r;
        file_ = std::move(f);
        header_ = h;
        where_ = path;
        ++turns_;
        return {};
    }
    void go_to(std::uint64_t position, std::uint64_t sequence) noexcept {
        expected_ = {position, sequence, header_.sender, 8};
        begin_ = end_ = 0;
        saw_end_ = false;
    }

    /// The file is complete before the turn is; under its final name a little later.
    next_record turn(const record_header& h) {
        const expectation before = expected_;
        expected_.step_over(h);
        const std::uint64_t goal = expected_.position;
        diagnostics unasked;
        for (const auto& path : {names_.older(goal), names_.path}) {
            file f;
            log_header found;
            if (fs_->open(path, false, f) != 0) continue;
            if (!read_log_header(*fs_, f, path, found, unasked)) continue;
            if (found.first_position != goal) continue;
            file_ = std::move(f);
            header_ = found;
            where_ = path;
            begin_ = end_ = 0;
            saw_end_ = false;
            ++turns_;
            return next_record::found;
        }
        log_header last;
        file f;
        const bool behind = fs_->open(names_.path, false, f) == 0 &&
                            read_log_header(*fs_, f, names_.path, last, unasked) &&
                            last.first_position > goal;
        expected_ = before;
        return behind ? next_record::gone : next_record::nothing;
    }

    [[nodiscard]] static std::uint64_t whole_size(bytes seen, const record_header& h) noexcept {
        if (seen.size() < record_header_bytes) return record_header_bytes;
        return record_header_bytes + ((std::uint64_t{h.length} + 7) & ~std::uint64_t{7});
    }
    /// False if more of a partial record may be in the file.
    [[nodiscard]] bool fresh_enough(bytes seen, const record_header& h) noexcept {
        const std::uint64_t whole = whole_size(seen, h);
        return whole > std::numeric_limits<std::size_t>::max() / 2 ||
               offset() + whole > fs_->size(file_);
    }
    /// Reads from the next record on, at least `needed` bytes if the file has them.
    bool fetch(std::size_t needed) {
        const std::size_t wanted = std::max(needed, usual_bytes);
        if (wanted > room_bytes_) {
            room_bytes_ = std::max(wanted, room_bytes_ * 2);
            room_ = std::make_unique_for_overwrite<std::byte[]>(room_bytes_);
        }
        begin_ = end_ = 0;
        ++reads_;
        do {
            const std::size_t room = room_bytes_ - end_;
            const auto n = fs_->read_at(file_, offset() + end_, {room_.get() + end_, room});
            if (n < 0) return false;
            end_ += static_cast<std::size_t>(n);
            saw_end_ = static_cast<std::size_t>(n) < room;
        } while (end_ < needed && !saw_end_);
        return true;
    }

    Files* fs_;
    log_names names_;
    std::string where_;
    file file_;
    log_header header_{};
    expectation expected_;
    std::unique_ptr<std::byte[]> room_;
    std::size_t room_bytes_ = 0;
    std::size_t begin_ = 0, end_ = 0;
    std::uint64_t turns_ = 0, reads_ = 0;
    bool stays_ = false;
    bool saw_end_ = false;  // the last read gave less than it asked for
};

}  // namespace store
}  // namespace v1
}  // namespace parley
