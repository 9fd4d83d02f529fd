// SPDX-License-Identifier: MIT
// Message queues by hand: POSIX, System V, Boost.Interprocess, and the signals that wait for a
// process.
#pragma once

#include "harness.hpp"

#include <boost/interprocess/ipc/message_queue.hpp>

#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

namespace bare {

/// A POSIX queue of the system's default shape, and blocking calls.
template <class Message>
class posix_queue {
public:
    posix_queue() {
        const std::string name = "/bare-" + std::to_string(::getpid());
        queue_ = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, nullptr);
        mq_attr is{};
        if (queue_ == -1 || ::mq_unlink(name.c_str()) != 0 || ::mq_getattr(queue_, &is) != 0 ||
            is.mq_msgsize > static_cast<long>(sizeof room_)) {
            std::abort();
        }
    }
    posix_queue(const posix_queue&) = delete;
    posix_queue& operator=(const posix_queue&) = delete;
    ~posix_queue() { ::mq_close(queue_); }

    void send(const Message& v) {
        if (::mq_send(queue_, reinterpret_cast<const char*>(&v), sizeof v, 0) != 0) std::abort();
    }
    void receive(Message& v) {
        if (::mq_receive(queue_, room_, sizeof room_, nullptr) != sizeof v) std::abort();
        std::memcpy(static_cast<void*>(&v), room_, sizeof v);
    }

private:
    mqd_t queue_;
    char room_[65536];
};

/// A System V queue, and blocking calls.
template <class Message>
class sysv_queue {
public:
    sysv_queue() : queue_(::msgget(IPC_PRIVATE, IPC_CREAT | 0600)) {
        if (queue_ == -1) std::abort();
    }
    sysv_queue(const sysv_queue&) = delete;
    sysv_queue& operator=(const sysv_queue&) = delete;
    ~sysv_queue() { ::msgctl(queue_, IPC_RMID, nullptr); }

    void send(const Message& v) {
        std::memcpy(room_.message, &v, sizeof v);
        if (::msgsnd(queue_, &room_, sizeof v, 0) != 0) std::abort();
    }
    void receive(Message& v) {
        if (::msgrcv(queue_, &room_, sizeof v, 0, 0) != sizeof v) std::abort();
        std::memcpy(static_cast<void*>(&v), room_.message, sizeof v);
    }

private:
    int queue_;
    struct {
        long type = 1;
        char message[sizeof(Message)];
    } room_;
};

/// A queue of Boost's, of as many messages as parley's, and its blocking calls.
template <class Message>
class boost_queue {
public:
    boost_queue() : boost_queue("bare-boost-" + std::to_string(::getpid())) {}

    void send(const Message& v) { queue_.send(&v, sizeof v, 0); }
    void receive(Message& v) {
        std::size_t n = 0;
        unsigned priority = 0;
        queue_.receive(&v, sizeof v, n, priority);
        if (n != sizeof v) std::abort();
    }

private:
    using queue = boost::interprocess::message_queue;
    explicit boost_queue(const std::string& name)
        : queue_(boost::interprocess::create_only, name.c_str(), 64, sizeof(Message)) {
        queue::remove(name.c_str());
    }

    queue queue_;
};

/// Real-time signals that carry 24 bytes each, taken by sigwaitinfo. Who finds the queue full gives
/// way and tries again.
template <class Message>
class signal_queue {
public:
    signal_queue() : number_(SIGRTMIN + 1 + made_++ % 16), receiver_(bench::shared<process>()) {
        sigemptyset(&set_);
        sigaddset(&set_, number_);
        ::sigprocmask(SIG_BLOCK, &set_, nullptr);
    }
    signal_queue(const signal_queue&) = delete;
    signal_queue& operator=(const signal_queue&) = delete;
    ~signal_queue() {
        constexpr timespec none{};
        while (::sigtimedwait(&set_, nullptr, &none) > 0) {
        }
        bench::drop(receiver_);
    }

    void open_receiver() { receiver_->store(::getpid()); }
    void send(const Message& v) {
        pid_t to = 0;
        while ((to = receiver_->load()) == 0) ::sched_yield();
        siginfo_t info;
        std::memset(&info, 0, sizeof info);
        info.si_code = SI_QUEUE;
        info.si_pid = ::getpid();
        for (std::size_t at = 0; at < sizeof v; at += payload) {
            std::memcpy(in(info), reinterpret_cast<const std::byte*>(&v) + at, part(at));
            while (::syscall(SYS_rt_sigqueueinfo, to, number_, &info) != 0) {
                if (errno != EAGAIN) std::abort();
                ::sched_yield();
            }
        }
    }
    void receive(Message& v) {
        if (receiver_->load() == 0) open_receiver();
        for (std::size_t at = 0; at < sizeof v; at += payload) {
            siginfo_t info;
            while (::sigwaitinfo(&set_, &info) < 0) {
            }
            std::memcpy(reinterpret_cast<std::byte*>(&v) + at, in(info), part(at));
        }
    }

private:
    using process = std::atomic<pid_t>;
    static constexpr std::size_t payload = 24;

    static std::byte* in(siginfo_t& info) { return reinterpret_cast<std::byte*>(&info) + 24; }
    static std::size_t part(std::size_t at) { return std::min(payload, sizeof(Message) - at); }

    static inline int made_ = 0;
    int number_;
    process* receiver_;
    sigset_t set_;
};

}  // namespace bare
