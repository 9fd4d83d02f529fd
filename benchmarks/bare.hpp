// SPDX-License-Identifier: MIT
// The raw mechanisms, written by hand as one would without a library: what parley is measured
// beside. Each is a pair of ends that send and receive messages of N bytes.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace bare {

/// A ring of slots in shared memory: each side keeps a copy of the other's index and publishes its
/// own after each message ("cached peer index, publish each").
template <class Message>
class ring {
public:
    ring() {
        void* at = ::mmap(nullptr, sizeof(memory), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) std::abort();
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

private:
    static constexpr std::size_t bytes = sizeof(Message) <= 1024    ? 256 << 10
                                         : sizeof(Message) <= 65536 ? 1 << 20
                                                                    : 4 << 20;
    static constexpr std::size_t slots = bytes / sizeof(Message);
    struct memory {
        alignas(64) std::atomic<std::uint64_t> tail{0};
        alignas(64) std::atomic<std::uint64_t> head{0};
        alignas(64) Message slot[slots];
    };

    memory* m_;
    std::uint64_t tail_ = 0, head_seen_ = 0;
    std::uint64_t head_ = 0, tail_seen_ = 0;
};

/// Two descriptors and blocking calls; streams are read until the message is whole.
template <class Message>
class descriptors {
public:
    enum class kind { pipe, stream, seqpacket, datagram };

    explicit descriptors(kind k) : kind_(k) {
        int fd[2];
        int made = 0;
        switch (k) {
            case kind::pipe: made = ::pipe2(fd, O_CLOEXEC); break;
            case kind::stream: made = ::socketpair(AF_UNIX, SOCK_STREAM, 0, fd); break;
            case kind::seqpacket: made = ::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd); break;
            case kind::datagram: made = ::socketpair(AF_UNIX, SOCK_DGRAM, 0, fd); break;
        }
        if (made != 0) std::abort();
        in_ = fd[0];
        out_ = fd[1];
        if (k != kind::pipe) {
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
            const auto n = kind_ == kind::pipe ? ::write(out_, at, left)
                                               : ::send(out_, at, left, MSG_NOSIGNAL);
            if (n <= 0) std::abort();
            at += n;
            left -= static_cast<std::size_t>(n);
        }
    }
    void receive(Message& v) {
        auto* at = reinterpret_cast<std::byte*>(&v);
        for (std::size_t left = sizeof v; left > 0;) {
            const auto n = kind_ == kind::pipe ? ::read(in_, at, left) : ::recv(in_, at, left, 0);
            if (n <= 0) std::abort();
            at += n;
            left -= static_cast<std::size_t>(n);
        }
    }

private:
    kind kind_;
    int in_, out_;
};

}  // namespace bare
