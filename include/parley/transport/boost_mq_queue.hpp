// SPDX-License-Identifier: MIT
// A boost::interprocess::message_queue, used without waiting for its lock. Boost's own calls, also
// try_send and timed_receive, first wait for the mutex in the queue, whatever their deadline, and
// follow the pointers in it wherever they lead. So Boost lays the queue out, and here it is filled
// and emptied, under the same mutex, which is only ever tried.
//
//   /dev/shm/name, offset    0          16         + header      + index
//                           +----------+----------+-------------+-- - - - -+-- - - - - - - - - - -+
//                           | state    | mq_hdr_t | index       | message 0 | message 1 …         |
//                           +----------+----------+-------------+-- - - - -+-- - - - - - - - - - -+
//
// The index is a ring of pointers to messages: from m_cur_first_msg on m_cur_num_msg that wait, by
// rising priority and of one priority the youngest first, then the free ones. The last one that
// waits is received next.
//
// The mutex is a robust one, so the kernel tells that its holder died. What the holder was changing
// is then half changed, and like Boost we give such a queue up for good: `corrupt`, for every end.
// A holder that is stopped is waited for, as long as the deadline says.
//
// A foreign program that is killed while it blocks in Boost's receive() or send() leaves glibc's
// condition as if it still waited there, and notifying it may then hang in glibc. Parley never
// waits there; it notifies only with ?frame=none, if Boost counts somebody who waits.
#pragma once

#include <parley/transport/kernel_queue.hpp>

#include <boost/interprocess/ipc/message_queue.hpp>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <limits>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The mutex in a Boost queue, tried and never waited for.
class boost_queue_lock {
public:
    boost_queue_lock() = default;
    explicit boost_queue_lock(boost::interprocess::interprocess_mutex& m) noexcept
        : mutex_(reinterpret_cast<pthread_mutex_t*>(&m)) {
        static_assert(sizeof m == sizeof *mutex_);
    }

    /// 0: it is ours. EAGAIN: somebody has it now. EOWNERDEAD: who had it died. EBADMSG: it is no
    /// mutex of Boost's.
    [[nodiscard]] int try_lock() noexcept {
        // A holder copies one message; if it does not run just now, it may have this processor.
        constexpr int tries = 100, spins = 60;
        for (int i = 0; i < tries; ++i) {
            // Shared memory is input: glibc trusts the kind that stands in it.
            if (!usable()) return EBADMSG;
            if (given_up()) return EOWNERDEAD;
            switch (::pthread_mutex_trylock(mutex_)) {
                case 0: return 0;
                case EBUSY: break;
                case EOWNERDEAD: ::pthread_mutex_unlock(mutex_); return EOWNERDEAD;
                case ENOTRECOVERABLE: return EOWNERDEAD;
                default: return EBADMSG;
            }
            if (i >= spins) ::sched_yield();
        }
        return EAGAIN;
    }
    void unlock() noexcept { ::pthread_mutex_unlock(mutex_); }
    /// Whether it is of the kind that Boost makes here.
    [[nodiscard]] bool usable() const noexcept {
        static const int kind = [] {
            boost::interprocess::interprocess_mutex fresh;
            return reinterpret_cast<pthread_mutex_t*>(&fresh)->__data.__kind;
        }();
        return std::atomic_ref(mutex_->__data.__kind).load(std::memory_order_relaxed) == kind;
    }

private:
    /// Somebody saw before us that a holder died. glibc's trylock would say ENOTRECOVERABLE too,
    /// but once only: it leaves the mutex locked (2.36), and all others would wait for ever.
    [[nodiscard]] bool given_up() const noexcept {
        constexpr int not_recoverable = std::numeric_limits<int>::max() - 1;  // glibc's
        return std::atomic_ref(mutex_->__data.__owner).load(std::memory_order_relaxed) ==
               not_recoverable;
    }

    pthread_mutex_t* mutex_ = nullptr;
};

/// A mapped queue, and the places of its ends as locks on its file.
class boost_queue : public kernel_queue<boost_queue> {
public:
    using pointer = boost::interprocess::offset_ptr<void>;
    using header = boost::interprocess::ipcdetail::mq_hdr_t<pointer>;
    using message = boost::interprocess::ipcdetail::msg_hdr_t<pointer>;
    using patience = queue_patience;

    static constexpr std::size_t prefix_bytes = 0;
    static constexpr bool pollable = false;
    static constexpr const char* no_descriptor =
        "a Boost message_queue has no descriptor to poll; use mq://, or wait in receive";
    static constexpr std::size_t header_at =
        boost::interprocess::ipcdetail::managed_open_or_create_impl<
            boost::interprocess::shared_memory_object, 0, true,
            false>::ManagedOpenOrCreateUserOffset;
    enum class state : std::uint32_t { fresh, in_the_making, done, damaged };  // as Boost counts

    /// What came of looking at a file.
    enum class found : std::uint8_t { queue, unfinished, stranger };

    boost_queue() = default;
    boost_queue(boost_queue&& other) noexcept : kernel_queue(std::move(other)) { take(other); }
    boost_queue& operator=(boost_queue&& other) noexcept {
        if (this != &other) {
            close();
            kernel_queue::operator=(std::move(other));
            take(other);
        }
        return *this;
    }
    ~boost_queue() { close(); }

    /// Lays out a new queue in an empty file. False, with errno, if there is no room for it.
    [[nodiscard]] bool make(unique_fd file, std::size_t messages, std::size_t message_bytes) {
        const std::size_t n = header::get_mem_size(message_bytes, messages);
        const auto reserved =
            retried([&] { return ::fallocate(file.get(), 0, 0, static_cast<off_t>(n)); });
        if (reserved != 0 || !map(std::move(file), n)) return false;
        boost::interprocess::ipcdetail::msg_queue_initialization_func_t<pointer>(
            messages, message_bytes)(memory_ + header_at, n - header_at, true);
        std::atomic_ref(*reinterpret_cast<std::uint32_t*>(memory_))
            .store(static_cast<std::uint32_t>(state::done), std::memory_order_release);
        return check() == found::queue;
    }
    [[nodiscard]] found open(unique_fd file) {
        struct stat s {};
        if (::fstat(file.get(), &s) != 0 || !S_ISREG(s.st_mode)) return found::stranger;
        const auto n = static_cast<std::size_t>(s.st_size);
        if (n <= 1) return found::unfinished;  // Boost leaves 1 after an accident
        if (n < header_at + sizeof(header) || !map(std::move(file), n)) return found::stranger;
        return check();
    }

    [[nodiscard]] int places() const noexcept { return file_.get(); }
    [[nodiscard]] int descriptor() const noexcept { return -1; }
    [[nodiscard]] std::size_t messages() const noexcept { return messages_; }
    [[nodiscard]] std::size_t record_bytes_max() const noexcept { return message_bytes_; }
    [[nodiscard]] std::string too_large() const {
        return "the queue was made for " + std::to_string(message_bytes_) +
               " bytes, the header included (?message_bytes=)";
    }
    [[nodiscard]] parley::limits limits(const queue_options& o) const noexcept {
        auto l = kernel_queue::limits(o);
        l.spoilable = true;
        return l;
    }
    void serve(std::string name, bool foreign) {
        name_ = std::move(name);
        foreign_ = foreign;
    }

    int send(const std::byte* from, std::size_t n, std::uint32_t priority, bool) noexcept {
        if (const int e = lock_.try_lock()) return e;
        const int e = put(from, n, priority);
        const bool awaited = foreign_ && head_->m_blocked_receivers != 0;
        lock_.unlock();
        if (e == 0 && awaited) head_->m_cond_recv.notify_one();
        return e;
    }
    ssize_t receive(std::byte* to, std::size_t n, std::uint32_t& priority, bool) noexcept {
        if (const int e = lock_.try_lock()) return failed_with(e);
        const auto got = take(to, n, priority);
        const int e = errno;
        const bool awaited = foreign_ && head_->m_blocked_senders != 0;
        lock_.unlock();
        if (got >= 0 && awaited) head_->m_cond_send.notify_one();
        errno = e;
        return got;
    }
    /// Looks only when what was seen last is used up. A queue that is spoiled has room for the
    /// error.
    bool has_room(std::size_t) noexcept {
        if (free_ == 0) {
            if (const int e = lock_.try_lock()) return e != EAGAIN;
            free_ = messages_ - std::min<std::size_t>(messages_, head_->m_cur_num_msg);
            lock_.unlock();
        }
        return free_ > 0;
    }
    bool has_message() noexcept {
        if (waiting() > 0) return true;
        const int e = lock_.try_lock();
        if (e == 0) lock_.unlock();
        return e != 0 && e != EAGAIN;
    }
    /// As it is at this moment, without the lock.
    [[nodiscard]] std::size_t waiting() const noexcept {
        return std::atomic_ref(head_->m_cur_num_msg).load(std::memory_order_relaxed);
    }
    /// Whether it is of no use any more, and why.
    [[nodiscard]] bool spoiled(diagnostics& why) {
        const int e = lock_.try_lock();
        if (e == 0) lock_.unlock();
        if (e != 0 && e != EAGAIN) failure(e, "the queue", why);
        return e != 0 && e != EAGAIN;
    }
    result<void> wait_for_room(patience& p, time_point until) noexcept { return p.pause(until); }
    result<void> wait_for_message(patience& p, time_point until) noexcept { return p.pause(until); }
    error_code failure(int number, std::string what, diagnostics& why) const {
        what += number == EOWNERDEAD
                    ? ": a process was killed while it held the queue's lock, in the middle of a "
                      "change"
                    : ": what stands in the queue was written by no Boost";
        return why.fail(errc::corrupt, std::move(what) +
                                           "; remove the queue with all that waits in it: parley "
                                           "clean boost_mq://" +
                                           name_);
    }
    void close() noexcept {
        if (memory_ != nullptr) ::munmap(memory_, bytes_);
        memory_ = nullptr;
        file_.reset();
    }

private:
    [[nodiscard]] bool map(unique_fd file, std::size_t n) noexcept {
        void* at = ::mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
        if (at == MAP_FAILED) return false;
        close();
        memory_ = static_cast<std::byte*>(at);
        bytes_ = n;
        file_ = std::move(file);
        return true;
    }
    void take(boost_queue& other) noexcept {
        file_ = std::move(other.file_);
        memory_ = std::exchange(other.memory_, nullptr);
        bytes_ = other.bytes_;
        head_ = other.head_;
        index_ = other.index_;
        messages_ = other.messages_;
        message_bytes_ = other.message_bytes_;
        first_message_ = other.first_message_;
        lock_ = other.lock_;
        name_ = std::move(other.name_);
        foreign_ = other.foreign_;
    }
    /// Reads the shape, once, and whether it is the one that Boost gives to a file of this size.
    [[nodiscard]] found check() noexcept {
        const auto is = std::atomic_ref(*reinterpret_cast<std::uint32_t*>(memory_))
                            .load(std::memory_order_acquire);
        if (is > static_cast<std::uint32_t>(state::damaged)) return found::stranger;
        if (is != static_cast<std::uint32_t>(state::done)) return found::unfinished;
        head_ = reinterpret_cast<header*>(memory_ + header_at);
        messages_ = head_->m_max_num_msg;
        message_bytes_ = head_->m_max_msg_size;
        if (messages_ == 0 || message_bytes_ > bytes_ ||
            messages_ > bytes_ / (message_bytes_ + sizeof(message)) ||
            header::get_mem_size(message_bytes_, messages_) != bytes_) {
            return found::stranger;
        }
        first_message_ = bytes_ - messages_ * stride();
        index_ = reinterpret_cast<index_entry*>(memory_ + header_at + sizeof(header));
        if (static_cast<void*>(head_->mp_index.get()) != index_) return found::stranger;
        lock_ = boost_queue_lock(head_->m_mutex);
        return lock_.usable() ? found::queue : found::stranger;
    }

    using index_entry = boost::interprocess::offset_ptr<message>;
    static_assert(sizeof(header) % alignof(index_entry) == 0);

    [[nodiscard]] std::size_t stride() const noexcept {
        constexpr std::size_t to = alignof(message);
        return (message_bytes_ + to - 1) / to * to + sizeof(message);
    }
    /// Where message `i` of the ring lies; nothing if its pointer is no message.
    [[nodiscard]] message* at(std::size_t i) const noexcept {
        auto* m = reinterpret_cast<std::byte*>(index_[i % messages_].get());
        const auto offset = reinterpret_cast<std::uintptr_t>(m) -
                            reinterpret_cast<std::uintptr_t>(memory_ + first_message_);
        const bool one = offset < bytes_ - first_message_ && offset % stride() == 0;
        return one ? reinterpret_cast<message*>(m) : nullptr;
    }

    [[nodiscard]] int put(const std::byte* from, std::size_t n, std::uint32_t priority) noexcept {
        const std::size_t count = head_->m_cur_num_msg, first = head_->m_cur_first_msg;
        if (count > messages_ || first >= messages_) return EBADMSG;
        free_ = messages_ - count;
        if (free_ == 0) return EAGAIN;
        const std::size_t start = (first + messages_ - 1) % messages_;
        message* const place = at(start);
        if (place == nullptr) return EBADMSG;
        // Those of lower priority come later: they move up by one.
        std::size_t i = 0;
        for (; i < count; ++i) {
            message* const other = at(first + i);
            if (other == nullptr) return EBADMSG;
            if (other->priority >= priority) break;
            index_[(start + i) % messages_] = other;
        }
        index_[(start + i) % messages_] = place;
        place->len = n;
        place->priority = priority;
        std::memcpy(place->data(), from, n);
        head_->m_cur_first_msg = start;
        head_->m_cur_num_msg = count + 1;
        --free_;
        return 0;
    }
    [[nodiscard]] ssize_t take(std::byte* to, std::size_t n, std::uint32_t& priority) noexcept {
        const std::size_t count = head_->m_cur_num_msg, first = head_->m_cur_first_msg;
        if (count > messages_ || first >= messages_) return failed_with(EBADMSG);
        if (count == 0) return failed_with(EAGAIN);
        message* const m = at(first + count - 1);
        const std::size_t length = m == nullptr ? n + 1 : m->len;
        if (length > n) return failed_with(EBADMSG);
        priority = m->priority;
        std::memcpy(to, m->data(), length);
        m->len = 0;  // as Boost wants it
        m->priority = 0;
        head_->m_cur_num_msg = count - 1;
        return static_cast<ssize_t>(length);
    }
    [[nodiscard]] static ssize_t failed_with(int number) noexcept {
        errno = number;
        return -1;
    }

    unique_fd file_;
    std::byte* memory_ = nullptr;
    std::size_t bytes_ = 0;
    header* head_ = nullptr;
    index_entry* index_ = nullptr;
    std::size_t messages_ = 0, message_bytes_ = 0, first_message_ = 0;
    boost_queue_lock lock_;
    std::string name_;
    bool foreign_ = false;  // others may wait in Boost's own way
    std::size_t free_ = 0;  // of messages_, as last seen; others may have used them
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
