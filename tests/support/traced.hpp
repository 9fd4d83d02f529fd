// SPDX-License-Identifier: MIT
// A forked child that is killed right after its k-th system call: between two of them nothing that
// others can see changes in the kernel.
#pragma once

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace parley_test {

/// What became of it.
enum class traced : std::uint8_t { killed, passed, failed, untraceable };

/// Runs `body` in a child and kills it after its k-th call; k = 0 lets it run. `body` returns an
/// exit status.
template <class Body>
[[nodiscard]] traced killed_after_call(std::uint64_t k, Body body) {
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
        int status = 99;
        if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(77);
        ::raise(SIGSTOP);
        try {
            status = body();
        } catch (...) {
        }
        ::_exit(status);
    }
    std::uint64_t stops = 0;  // two for each call
    for (int status = 0;;) {
        if (::waitpid(pid, &status, 0) < 0) {
            if (errno == EINTR) continue;
            throw std::system_error(errno, std::generic_category(), "waitpid");
        }
        if (WIFSIGNALED(status)) return traced::killed;
        if (WIFEXITED(status)) {
            return WEXITSTATUS(status) == 0    ? traced::passed
                   : WEXITSTATUS(status) == 77 ? traced::untraceable
                                               : traced::failed;
        }
        const int number = WSTOPSIG(status);
        if (number == SIGTRAP && ++stops == 2 * k) ::kill(pid, SIGKILL);
        // The stop that the child made itself, and those of calls, are not for its ears.
        const long pass_on = number == SIGTRAP || number == SIGSTOP ? 0 : number;
        ::ptrace(PTRACE_SYSCALL, pid, nullptr, pass_on);
    }
}

}  // namespace parley_test
