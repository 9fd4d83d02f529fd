// SPDX-License-Identifier: MIT
// Writing a log: recovery by scan, appending, rotation, syncing. It knows nothing of readers.
#pragma once

#include <parley/store/log_reader.hpp>

#include <string>
#include <vector>

namespace parley {
inline namespace v1 {
namespace store {

/// The end of a log, open for appending. The caller sees to it that it is the only one.
///
///     store::log_writer<store::real_files> log(files, "/var/log/ticks", 0600);
///     log.open(type, {.synced = 0, .openings = 7}, why).value();
///     log.append(record, h);  log.sync();
///
/// `append` writes records that lie one behind the other, sealed for expected(). Errors of open:
/// those of the file; incompatible (another type, layout); corrupt: its header, or records before
/// `known.synced`, which were on stable storage, are damaged. Everything else that no good record
/// vouches for is cut off: a torn record of a killed sender is gone; whole bytes that are no record
/// are kept in path.cut.<position>, and `note` says so.
/// Blocking: as the file does. Of append: an errno; nothing of it counts then.
template <class Files>
class log_writer {
public:
    struct known {
        std::uint64_t synced = 0;    ///< before this position all was on stable storage
        std::uint32_t openings = 0;  ///< how often senders opened the log so far
    };

    log_writer(Files& fs, std::string path, const detail::known_permissions& mode)
        : fs_(&fs), names_{std::move(path)}, mode_(mode), reader_(fs, names_.path) {}

    [[nodiscard]] result<void> open(const message_type& type, const known& k, diagnostics& why) {
        if (auto r = reader_.open_last_file(true, why); !r) return r;
        if (auto r = meet(type, why); !r) return r;
        if (auto r = find_end(k, why); !r) return r;
        reader_.stay();
        expected_.sender = std::max(expected_.sender, k.openings) + 1;
        return {};
    }

    /// What the next record must be.
    [[nodiscard]] const expectation& expected() const noexcept { return expected_; }
    /// Of the last record; the next one's is no less.
    [[nodiscard]] std::uint64_t last_time() const noexcept { return last_time_; }
    [[nodiscard]] std::uint64_t file_bytes() const noexcept { return offset_; }
    [[nodiscard]] std::uint64_t fingerprint() const noexcept {
        return reader_.header().fingerprint;
    }
    /// What recovery cut off, in words; empty if nothing.
    [[nodiscard]] const std::string& note() const noexcept { return note_; }

    /// Sees to it that n bytes more can be written. 0 or an errno.
    [[nodiscard]] int reserve(std::uint64_t n) noexcept {
        if (has_reserved(n)) return 0;
        for (const std::uint64_t ahead : {reserve_step, std::uint64_t{0}}) {
            const int e = fs_->reserve(reader_.now(), offset_, n + ahead);
            if (e == 0) reserved_ = offset_ + n + ahead;
            if (e != ENOSPC && e != EDQUOT) return e;
        }
        return ENOSPC;
    }
    [[nodiscard]] bool has_reserved(std::uint64_t n) const noexcept {
        return offset_ + n <= reserved_;
    }
    /// Records, of which `last` is the last one.
    [[nodiscard, gnu::always_inline]] int append(bytes records,
                                                 const record_header& last) noexcept {
        if (const int e = fs_->write_at(reader_.now(), offset_, records); e != 0) return e;
        offset_ += records.size();
        expected_.position += records.size();
        expected_.sequence = last.sequence + 1;
        last_time_ = last.time;
        return 0;
    }
    [[nodiscard]] int push(std::uint64_t position) noexcept {
        const auto first = reader_.header().first_position;
        return fs_->push(reader_.now(), position < first ? 0 : position - first);
    }
    /// Everything appended is on stable storage when this returns 0.
    [[nodiscard]] int sync() noexcept { return fs_->sync(reader_.now()); }

    /// Goes on in a new file. 0 or an errno: then nothing may be appended before it succeeded.
    [[nodiscard]] int turn(const message_type& type) {
        if (!turning_) {
            if (const int e = append_turn(); e != 0) return e;
        }
        turning_ = true;
        const int e = finish_turn(type);
        turning_ = e != 0;
        return e;
    }
    /// Where the file that is written begins.
    [[nodiscard]] std::uint64_t first_position() const noexcept {
        return reader_.header().first_position;
    }
    /// Gives back what was reserved and not used.
    void close() noexcept {
        if (reserved_ > offset_) (void)fs_->truncate(reader_.now(), offset_);
        leave();
    }
    /// Closes the file as it is: in a forked child it is the parent's.
    void leave() noexcept {
        reserved_ = offset_;
        reader_.close();
    }

private:
    static constexpr std::uint64_t reserve_step = std::uint64_t{1} << 20;

    int append_turn() noexcept {
        record_header h{0,
                        0,
                        expected_.position,
                        expected_.sequence,
                        std::max(wall_time(), last_time_),
                        expected_.sender,
                        record_kind::turn,
                        {}};
        h.check = record_check(h, nullptr);
        if (const int e = reserve(sizeof h); e != 0) return e;
        return append(bytes_of(h), h);
    }

    /// A receiver of any type may have made the log: then the first sender's type is its type.
    result<void> meet(const message_type& type, diagnostics& why) {
        const log_header& h = reader_.header();
        if (h.fingerprint == type.fingerprint) return {};
        if (h.fingerprint != 0) {
            return why.fail(
                errc::incompatible,
                names_.path + ": " +
                    type_mismatch({h.description, h.description_bytes}, type.description));
        }
        const log_header now = make_log_header(type, h.first_position, h.first_sequence, h.sender);
        int e = fs_->write_at(reader_.now(), 0, bytes_of(now));
        if (e == 0) e = fs_->sync(reader_.now());
        if (e != 0) return why.fail(from_errno(e), detail::explain("writing " + names_.path, e));
        return reader_.open_last_file(true, why);
    }

    result<void> find_end(const known& k, diagnostics& why) {
        record_header h;
        bytes payload;
        next_record r;
        reader_.stay();
        while ((r = reader_.next(h, payload)) == next_record::found) last_time_ = h.time;
        expected_ = reader_.expected();
        offset_ = reader_.offset();
        if (r == next_record::failed) {
            return why.fail(detail::last_error(), detail::explain("reading " + names_.path, errno));
        }
        const auto goes_on = turn_at_end(h);
        if (goes_on) {
            expected_.step_over(h);
            last_time_ = h.time;
            offset_ += record_header_bytes;
        }
        const std::uint64_t size = fs_->size(reader_.now());
        if (expected_.position < k.synced) {
            return why.fail(errc::corrupt,
                            names_.path + " is damaged at byte " + std::to_string(offset_) +
                                (size <= offset_ ? " (cut off there)" : "") +
                                ", in what was synced: receivers read what is before it; restore "
                                "the file, or move it and " +
                                names_.ends() + " away and begin a new one");
        }
        if (size > offset_) {
            if (auto cut = cut_off(size, r, why); !cut) return cut;
        }
        reserved_ = offset_;
        if (!goes_on) return {};
        const log_header now = reader_.header();
        const int e = finish_turn({now.fingerprint, {now.description, now.description_bytes}});
        if (e == 0) return {};
        return why.fail(from_errno(e), detail::explain("going on behind " + names_.path, e));
    }
    /// Whether the record at the end is a turn that nobody finished.
    bool turn_at_end(record_header& h) noexcept {
        std::byte raw[record_header_bytes];
        const auto n = fs_->read_at(reader_.now(), offset_, raw);
        return n == static_cast<ssize_t>(sizeof raw) &&
               judge_record(raw, expected_, h) == judged::whole && h.kind == record_kind::turn;
    }
    result<void> cut_off(std::uint64_t size, next_record how, diagnostics& why) {
        int e = 0;
        if (how == next_record::bad) {
            const std::string kept = names_.cut(expected_.position);
            std::vector<std::byte> rest(static_cast<std::size_t>(size - offset_));
            typename Files::file f;
            const auto n = fs_->read_at(reader_.now(), offset_, rest);
            if (n < 0) e = errno;
            if (e == 0) e = fs_->create(kept, mode_, f);
            if (e == EEXIST) e = fs_->open(kept, true, f);
            if (e == 0) e = fs_->write_at(f, 0, rest);
            if (e == 0) e = fs_->sync(f);
            note_ = names_.path + " was damaged at byte " + std::to_string(offset_) +
                    ", behind what was synced; the rest is kept in " + kept;
        }
        if (e == 0) e = fs_->truncate(reader_.now(), offset_);
        // Else a second crash could show again what is cut off now.
        if (e == 0) e = fs_->sync(reader_.now());
        if (e == 0) return {};
        return why.fail(from_errno(e), detail::explain("mending " + names_.path, e));
    }

    /// The turn is at the end of the file: everything behind it, as log_format.hpp says.
    int finish_turn(const message_type& type) {
        const log_header next =
            make_log_header(type, expected_.position, expected_.sequence, expected_.sender);
        const std::string old = names_.older(reader_.header().first_position);
        if (reserved_ > offset_) (void)fs_->truncate(reader_.now(), offset_);
        int e = fs_->sync(reader_.now());
        if (e == 0) e = fs_->link(names_.path, old);
        if (e == EEXIST) e = 0;  // by a sender that died here
        if (e == 0) e = fs_->sync_names(old);
        if (e == 0) {
            e = replace(*fs_, names_.path, names_.fresh(), bytes_of(next), mode_);
        }
        diagnostics unasked;
        if (e != 0) return e;
        if (!reader_.open_last_file(true, unasked)) return EIO;
        reader_.stay();
        offset_ = reserved_ = log_header_bytes;
        return 0;
    }

    Files* fs_;
    log_names names_;
    detail::known_permissions mode_;
    log_reader<Files> reader_;  // of the file that is written
    expectation expected_;
    std::uint64_t offset_ = 0;    // in the file, of what comes next
    std::uint64_t reserved_ = 0;  // up to this offset there is room
    std::uint64_t last_time_ = 0;
    bool turning_ = false;
    std::string note_;
};

}  // namespace store
}  // namespace v1
}  // namespace parley
