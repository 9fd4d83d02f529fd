// SPDX-License-Identifier: MIT
// Forked children, killed at the end of the scope if nothing else ended them, and gates between
// processes: one side opens, the other waits.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>
#include <utility>

namespace parley_test {

/// `child c([&] { …; return 0; });` runs the body in a forked process.
class child {
public:
    template <class Body>
    explicit child(Body body) {
        const pid_t parent = ::getpid();
        const bool by_main = ::gettid() == parent;  // the death of another thread is no end
        pid_ = ::fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ == 0) {
            // What a watchdog ends is not to leave a child that holds the test's output for ever.
            if (by_main) (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (const pid_t now = ::getppid(); now != parent && now != 0) ::_exit(98);
            int status = 99;
            try {
                status = body();
            } catch (...) {
            }
            ::_exit(status);
        }
    }
    child(child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() {
        if (pid_ > 0) kill();
    }

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    void kill() noexcept {
        ::kill(pid_, SIGKILL);
        (void)wait();
    }
    /// The exit status, or 128 + the signal.
    int wait() noexcept {
        if (pid_ > 0) (void)is_over(0);
        return status_;
    }
    /// Whether it came to its end. Never waits; wait() then tells how.
    [[nodiscard]] bool is_over(int flags = WNOHANG) noexcept {
        if (pid_ <= 0) return true;
        int status = 0;
        pid_t who = 0;
        while ((who = ::waitpid(pid_, &status, flags)) < 0 && errno == EINTR) {
        }
        if (who == 0) return false;
        pid_ = -1;
        status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return true;
    }

private:
    pid_t pid_ = -1;
    int status_ = 0;
};

/// Opened once in one process, awaited in others. Made before the fork.
class gate {
public:
    gate() {
        if (::pipe(ends_) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    gate(const gate&) = delete;
    gate& operator=(const gate&) = delete;
    ~gate() {
        ::close(ends_[0]);
        ::close(ends_[1]);
    }
    /// Lets `n` waiters pass.
    void open(int n = 1) noexcept {
        for (; n > 0; --n) {
            if (::write(ends_[1], "", 1) != 1) std::abort();
        }
    }
    /// Readable once it was opened, until somebody passed.
    [[nodiscard]] int descriptor() const noexcept { return ends_[0]; }
    void pass() noexcept {
        char c;
        while (::read(ends_[0], &c, 1) != 1) {
            if (errno != EINTR) std::abort();
        }
    }

private:
    int ends_[2]{};
};

/// Memory that forked children share: what they saw.
template <class T>
class shared {
public:
    shared()
        : at_(::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                     0)) {
        if (at_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
        ::new (at_) T();
    }
    shared(const shared&) = delete;
    shared& operator=(const shared&) = delete;
    ~shared() { ::munmap(at_, sizeof(T)); }
    T* operator->() const noexcept { return static_cast<T*>(at_); }

private:
    void* at_;
};

}  // namespace parley_test
