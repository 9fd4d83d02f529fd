// SPDX-License-Identifier: MIT
// Messages in files by hand: an append-only log and a mapped ring, a value that is replaced, a mail
// directory. Who waits sleeps in a read of inotify's descriptor.
#pragma once

#include "bare.hpp"

#include <boost/crc.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace bare {

/// A directory of its own.
class directory {
public:
    directory() {
        if (::mkdtemp(path_) == nullptr) std::abort();
    }
    directory(const directory&) = delete;
    directory& operator=(const directory&) = delete;
    ~directory() {
        const std::string command = "rm -rf " + std::string(path_);
        if (std::system(command.c_str()) != 0) std::perror("rm");
    }
    [[nodiscard]] std::string operator/(const char* name) const {
        return std::string(path_) + '/' + name;
    }

private:
    char path_[32] = "/dev/shm/bare-XXXXXX";
};

/// A path in a directory of its own: who watches a directory hears of every name in it.
[[nodiscard]] inline std::string path_apart() {
    static std::deque<directory> made;
    return made.emplace_back() / "value";
}

/// What inotify tells of a path, of files in it or of itself.
class watch {
public:
    watch(const std::string& path, std::uint32_t what) : fd_(::inotify_init1(IN_CLOEXEC)) {
        if (fd_ < 0 || ::inotify_add_watch(fd_, path.c_str(), what) < 0) std::abort();
    }
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;
    ~watch() { ::close(fd_); }
    void wait() const {
        alignas(inotify_event) char events[4096];
        if (::read(fd_, events, sizeof events) <= 0) std::abort();
    }

private:
    int fd_;
};

/// CRC-32C, as whoever wants to know after a crash what is whole has it in each record.
#if defined(__x86_64__)
[[gnu::target("sse4.2")]] inline std::uint32_t check_of(const void* from, std::size_t n) {
    std::uint64_t s = 0xffffffff;
    const auto* at = static_cast<const std::byte*>(from);
    for (; n >= 8; n -= 8, at += 8) {
        std::uint64_t word;
        std::memcpy(&word, at, sizeof word);
        s = __builtin_ia32_crc32di(s, word);
    }
    return static_cast<std::uint32_t>(s);
}
#else
inline std::uint32_t check_of(const void* from, std::size_t n) {
    boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> sum;
    sum.process_bytes(from, n);
    return sum.checksum();
}
#endif

/// A message as it is stored: what a reader needs to tell a whole one from what a crash left.
template <class Message>
struct record {
    std::uint64_t check;
    std::uint64_t number;
    Message message;

    void seal(std::uint64_t n, const Message& v) {
        number = n;
        std::memcpy(static_cast<void*>(&message), &v, sizeof v);
        check = check_of(&number, sizeof *this - sizeof check);
    }
    void open(std::uint64_t n, Message& v) const {
        if (number != n || check != check_of(&number, sizeof *this - sizeof check)) std::abort();
        std::memcpy(static_cast<void*>(&v), &message, sizeof v);
    }
};

/// Records behind each other in a file. The reader reads ahead as much as there is; a read that
/// gave less than it asked for says that the next thing to do is to wait.
template <class Message>
class append_log {
public:
    append_log()
        : out_(::open((in_ / "log").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)),
          fd_(::open((in_ / "log").c_str(), O_RDONLY | O_CLOEXEC)),
          changes_(in_ / "log", IN_MODIFY) {
        if (out_ < 0 || fd_ < 0) std::abort();
    }
    ~append_log() {
        ::close(out_);
        ::close(fd_);
    }

    void send(const Message& v) {
        out_record_->seal(sent_++, v);
        if (::write(out_, out_record_.get(), sizeof(one)) != sizeof(one)) std::abort();
    }
    void receive(Message& v) {
        while (end_ - begin_ < sizeof(one)) {
            if (at_end_) changes_.wait();
            const auto n = ::pread(fd_, ahead_.data(), ahead_.size(), offset_);
            if (n < 0) std::abort();
            begin_ = 0;
            end_ = static_cast<std::size_t>(n);
            at_end_ = end_ < ahead_.size();
        }
        reinterpret_cast<const one*>(ahead_.data() + begin_)->open(received_++, v);
        begin_ += sizeof(one);
        offset_ += sizeof(one);
    }

private:
    using one = record<Message>;

    directory in_;
    int out_, fd_;
    watch changes_;
    std::unique_ptr<one> out_record_ = std::make_unique<one>();
    std::vector<std::byte> ahead_ =
        std::vector<std::byte>(std::max(sizeof(one), std::size_t{65536}));
    std::size_t begin_ = 0, end_ = 0;
    off_t offset_ = 0;
    bool at_end_ = true;
    std::uint64_t sent_ = 0, received_ = 0;
};

/// A ring of records in a mapped file.
template <class Message>
class mapped_ring {
public:
    void send(const Message& v) {
        out_->seal(sent_++, v);
        ring_.send(*out_);
    }
    void receive(Message& v) {
        ring_.receive(*in_);
        in_->open(received_++, v);
    }

private:
    using one = record<Message>;
    static int file(const directory& in) {
        return ::open((in / "ring").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    }

    directory at_;
    ring<one> ring_{file(at_)};
    std::unique_ptr<one> out_ = std::make_unique<one>(), in_ = std::make_unique<one>();
    std::uint64_t sent_ = 0, received_ = 0;
};

/// One value with its number and checksum, written beside and moved into its place.
template <class Message>
class replaced_value {
public:
    void send(const Message& v) {
        out_->seal(sent_++, v);
        const int fd = ::open(next_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ::write(fd, out_.get(), sizeof(one)) != sizeof(one) || ::close(fd) != 0 ||
            ::rename(next_.c_str(), path_.c_str()) != 0) {
            std::abort();
        }
    }
    void receive(Message& v) {
        renames_.wait();
        const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ::read(fd, got_.get(), sizeof(one)) != sizeof(one) || ::close(fd) != 0) {
            std::abort();
        }
        got_->open(got_->number, v);
    }

private:
    using one = record<Message>;

    directory in_;
    std::string path_ = in_ / "value", next_ = in_ / "value.next";
    watch renames_{in_ / "", IN_MOVED_TO};
    std::unique_ptr<one> out_ = std::make_unique<one>(), got_ = std::make_unique<one>();
    std::uint64_t sent_ = 0;
};

/// A file for each message, written in tmp/ and moved to new/; a receiver claims it by moving it to
/// cur/, reads it and removes it. Names sort as they were sent.
template <class Message>
class mail_directory {
public:
    void send(const Message& v) {
        char name[32], from[40], to[40];
        std::snprintf(name, sizeof name, "%020llu", static_cast<unsigned long long>(sent_++));
        std::snprintf(from, sizeof from, "tmp/%s", name);
        std::snprintf(to, sizeof to, "new/%s", name);
        const int fd = ::openat(root_, from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ::write(fd, &v, sizeof v) != sizeof v || ::close(fd) != 0 ||
            ::renameat(root_, from, root_, to) != 0) {
            std::abort();
        }
    }
    void receive(Message& v) {
        while (next_ == names_.size()) {
            moved_.wait();
            look();
        }
        const std::string& name = names_[next_++];
        const std::string from = "new/" + name, mine = "cur/" + name;
        if (::renameat(root_, from.c_str(), root_, mine.c_str()) != 0) std::abort();
        const int fd = ::openat(root_, mine.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0 || ::read(fd, &v, sizeof v) != sizeof v || ::close(fd) != 0 ||
            ::unlinkat(root_, mine.c_str(), 0) != 0) {
            std::abort();
        }
    }
    ~mail_directory() {
        ::closedir(new_);
        ::close(root_);
    }

private:
    static int made(const directory& in) {
        for (const char* part : {"tmp", "new", "cur"}) {
            if (::mkdir((in / part).c_str(), 0700) != 0) std::abort();
        }
        return ::open((in / "").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    void look() {
        names_.clear();
        next_ = 0;
        ::rewinddir(new_);
        while (const dirent* entry = ::readdir(new_)) {
            if (entry->d_name[0] != '.') names_.emplace_back(entry->d_name);
        }
        std::sort(names_.begin(), names_.end());
    }

    directory in_;
    int root_ = made(in_);
    DIR* new_ = ::opendir((in_ / "new").c_str());
    watch moved_{in_ / "new", IN_MOVED_TO};
    std::vector<std::string> names_;
    std::size_t next_ = 0;
    std::uint64_t sent_ = 0;
};

}  // namespace bare
