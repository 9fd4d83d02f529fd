// SPDX-License-Identifier: MIT
// The raw mechanisms, written by hand as one would without a library: what parley is measured
// beside. Each is a pair of ends that send and receive messages of N bytes.
#pragma once

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace bare {

/// A ring of slots in shared memory, or in a mapped file: each side keeps a copy of the other's
/// index and publishes its own after each message ("cached peer index, publish each").
template <class Message>
class ring {
public:
    explicit ring(int file = -1) {
        const int how = file >= 0 ? 0 : MAP_ANONYMOUS;
        if (file >= 0 && ::posix_fallocate(file, 0, sizeof(memory)) != 0) std::abort();
        void* at = ::mmap(nullptr, sizeof(memory), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_POPULATE | how, file, 0);
        if (at == MAP_FAILED) std::abort();
        if (file >= 0) ::close(file);
        m_ = new (at) memory;
    }
    ring(ring&& other) noexcept : m_(other.m_) { other.m_ = nullptr; }
    ~ring() {
        if (m_ != nullptr) ::munmap(m_, sizeof(memory));
    }

    void send(const Message& v) {
        while (tail_ - head_seen_ == slots) {
            head_seen_ = m_->head.load(std::memory_order_acquire);
        }
        std::memcpy(&m_->slot[tail_ & (slots - 1)], &v, sizeof v);
        m_->tail.store(++tail_, std::memory_order_release);
    }
    void receive(Message& v) {
        while (tail_seen_ == head_) tail_seen_ = m_->tail.load(std::memory_order_acquire);
        std::memcpy(&v, &m_->slot[head_ & (slots - 1)], sizeof v);
        m_->head.store(++head_, std::memory_order_release);
    }

    static constexpr std::size_t bytes = sizeof(Message) <= 1024    ? 256 << 10
                                         : sizeof(Message) <= 65536 ? 1 << 20
                                                                    : 4 << 20;

private:
    static constexpr std::size_t slots = std::bit_floor(bytes / sizeof(Message));
    struct memory {
        alignas(64) std::atomic<std::uint64_t> tail{0};
        alignas(64) std::atomic<std::uint64_t> head{0};
        alignas(64) Message slot[slots];
    };

    memory* m_;
    std::uint64_t tail_ = 0, head_seen_ = 0;
    std::uint64_t head_ = 0, tail_seen_ = 0;
};

/// A broadcast ring of frames, a length and so many bytes: the publisher publishes per 2 KiB and
/// looks at the slowest reader once a lap; readers take what is there once it is 64 KiB, or the
/// last of it, and yield else.
template <class Message, int Readers>
class broadcast {
public:
    explicit broadcast(std::uint64_t messages) : messages_(messages) {
        void* at = ::mmap(nullptr, sizeof(memory), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) std::abort();
        m_ = new (at) memory;
    }
    broadcast(const broadcast&) = delete;
    broadcast& operator=(const broadcast&) = delete;
    ~broadcast() { ::munmap(m_, sizeof(memory)); }

    void publish(const Message& v) {
        while (tail_ - slowest_ == slots) look_at_readers();
        frame& f = m_->slot[tail_ & (slots - 1)];
        f.length = sizeof v;
        std::memcpy(&f.message, &v, sizeof v);
        ++tail_;
        if (tail_ % batch == 0 || tail_ == messages_) {
            m_->tail.store(tail_, std::memory_order_release);
        }
    }
    void receive(int reader, Message& v) {
        if (head_ == tail_seen_) wait_for_more(reader);
        const frame& f = m_->slot[head_ & (slots - 1)];
        if (f.length > sizeof v) std::abort();
        std::memcpy(&v, &f.message, f.length);
        ++head_;
    }
    void finish(int reader) { m_->head[reader].at.store(head_, std::memory_order_release); }

private:
    struct frame {
        std::uint64_t length;
        Message message;
    };
    static constexpr std::size_t slots = (4 << 20) / sizeof(Message);
    static constexpr std::size_t batch = sizeof(Message) >= 2048 ? 1 : 2048 / sizeof(Message);
    static constexpr std::size_t lag = sizeof(Message) >= 65536 ? 1 : 65536 / sizeof(Message);
    struct alignas(64) cursor {
        std::atomic<std::uint64_t> at{0};
    };
    struct memory {
        alignas(64) std::atomic<std::uint64_t> tail{0};
        cursor head[Readers];
        alignas(64) frame slot[slots];
    };

    void look_at_readers() {
        slowest_ = tail_;
        for (const auto& h : m_->head) {
            const auto at = h.at.load(std::memory_order_acquire);
            if (at < slowest_) slowest_ = at;
        }
    }
    void wait_for_more(int reader) {
        finish(reader);
        for (;;) {
            tail_seen_ = m_->tail.load(std::memory_order_acquire);
            if (tail_seen_ - head_ >= lag || (tail_seen_ == messages_ && head_ < messages_)) return;
            ::sched_yield();
        }
    }

    memory* m_;
    std::uint64_t messages_;
    std::uint64_t tail_ = 0, slowest_ = 0;
    std::uint64_t head_ = 0, tail_seen_ = 0;
};

/// Binds a socket to a free port of the loopback address.
inline sockaddr_in bound(int fd) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof at;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&at), n) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &n) != 0) {
        std::abort();
    }
    return at;
}
/// Both ends of a TCP connection: fd[0] was accepted, fd[1] connected.
inline int connect_tcp(int* fd) {
    const int door = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in at = bound(door);
    fd[1] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    if (::listen(door, 1) != 0 ||
        ::connect(fd[1], reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        return -1;
    }
    fd[0] = ::accept4(door, nullptr, nullptr, SOCK_CLOEXEC);
    ::close(door);
    return fd[0] < 0 ? -1 : 0;
}

/// Two descriptors and blocking calls; streams are read until the message is whole.
template <class Message>
class descriptors {
public:
    enum class kind { pipe, stream, seqpacket, datagram, fifo, tcp, udp };

    /// A named pipe without its name: fd[0] reads, fd[1] writes.
    static int open_fifo(int* fd) {
        const std::string path = "/tmp/bare-" + std::to_string(::getpid());
        if (::mkfifo(path.c_str(), 0600) != 0) return -1;
        fd[0] = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        fd[1] = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
        ::unlink(path.c_str());
        return ::fcntl(fd[0], F_SETFL, 0);
    }

    explicit descriptors(kind k) : kind_(k) {
        int fd[2];
        int made = 0;
        switch (k) {
            case kind::pipe: made = ::pipe2(fd, O_CLOEXEC); break;
            case kind::stream: made = ::socketpair(AF_UNIX, SOCK_STREAM, 0, fd); break;
            case kind::seqpacket: made = ::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd); break;
            case kind::datagram: made = ::socketpair(AF_UNIX, SOCK_DGRAM, 0, fd); break;
            case kind::fifo: made = open_fifo(fd); break;
            case kind::tcp: made = connect_tcp(fd); break;
            case kind::udp: made = connect_udp(fd); break;
        }
        if (made != 0) std::abort();
        in_ = fd[0];
        out_ = fd[1];
        if (k == kind::stream || k == kind::seqpacket || k == kind::datagram) {
            const int room = 256 << 10;  // as parley: the kernel doubles it
            ::setsockopt(out_, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        }
    }
    descriptors(descriptors&& other) noexcept
        : kind_(other.kind_), in_(other.in_), out_(other.out_) {
        other.in_ = other.out_ = -1;
    }
    ~descriptors() {
        if (in_ >= 0) ::close(in_);
        if (out_ >= 0) ::close(out_);
    }

    void send(const Message& v) {
        const auto* at = reinterpret_cast<const std::byte*>(&v);
        for (std::size_t left = sizeof v; left > 0;) {
            const auto n =
                is_file() ? ::write(out_, at, left) : ::send(out_, at, left, MSG_NOSIGNAL);
            if (n <= 0) std::abort();
            at += n;
            left -= static_cast<std::size_t>(n);
        }
    }
    void receive(Message& v) {
        auto* at = reinterpret_cast<std::byte*>(&v);
        for (std::size_t left = sizeof v; left > 0;) {
            const auto n = is_file() ? ::read(in_, at, left) : ::recv(in_, at, left, 0);
            if (n <= 0) std::abort();
            at += n;
            left -= static_cast<std::size_t>(n);
        }
    }

private:
    [[nodiscard]] bool is_file() const { return kind_ == kind::pipe || kind_ == kind::fifo; }

    static int connect_udp(int* fd) {
        fd[0] = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const sockaddr_in at = bound(fd[0]);
        fd[1] = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return ::connect(fd[1], reinterpret_cast<const sockaddr*>(&at), sizeof at);
    }

    kind kind_;
    int in_, out_;
};

/// A named pipe that several may write to, for messages longer than the kernel writes whole: pieces
/// of PIPE_BUF, each with its length and its writer's number.
template <class Message>
class shared_fifo {
public:
    shared_fifo() {
        int fd[2];
        if (descriptors<Message>::open_fifo(fd) != 0) std::abort();
        in_ = fd[0];
        out_ = fd[1];
    }
    shared_fifo(const shared_fifo&) = delete;
    shared_fifo& operator=(const shared_fifo&) = delete;
    ~shared_fifo() {
        ::close(in_);
        ::close(out_);
    }

    void send(const Message& v) {
        const auto* at = reinterpret_cast<const std::byte*>(&v);
        for (std::size_t left = sizeof v; left > 0;) {
            const std::size_t n = std::min(left, PIPE_BUF - sizeof(header));
            header h{n, 1};
            iovec parts[] = {{&h, sizeof h}, {const_cast<std::byte*>(at), n}};
            if (::writev(out_, parts, 2) != static_cast<ssize_t>(sizeof h + n)) std::abort();
            at += n;
            left -= n;
        }
    }
    void receive(Message& v) {
        auto* at = reinterpret_cast<std::byte*>(&v);
        for (std::size_t left = sizeof v; left > 0;) {
            header h;
            take(&h, sizeof h);
            if (h.writer != 1 || h.length > left) std::abort();
            take(at, h.length);
            at += h.length;
            left -= h.length;
        }
    }

private:
    struct header {
        std::uint64_t length, writer;
    };

    void take(void* to, std::size_t n) {
        for (auto* at = static_cast<std::byte*>(to); n > 0;) {
            if (begin_ == end_) {
                const auto got = ::read(in_, read_, sizeof read_);
                if (got <= 0) std::abort();
                begin_ = 0;
                end_ = static_cast<std::size_t>(got);
            }
            const std::size_t part = std::min(n, end_ - begin_);
            std::memcpy(at, read_ + begin_, part);
            begin_ += part;
            at += part;
            n -= part;
        }
    }

    int in_, out_;
    std::size_t begin_ = 0, end_ = 0;
    std::byte read_[64 << 10];  // what a pipe holds
};

}  // namespace bare
