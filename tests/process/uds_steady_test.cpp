// SPDX-License-Identifier: MIT
// What a message over a Unix domain socket costs once all is warm: no allocation, and the system
// calls of a loop written by hand.
#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/ptrace.h>
#include <sys/syscall.h>

#include <string>

using namespace parley_test;

namespace {

/// The system calls of `uds_steady_helper calls …` between its two getppid(2): it moves a thousand
/// messages there.
long calls_of(const temporary_directory& dir, const char* where, const char* kind, int burst) {
    const std::string program = helper_program("uds_steady_helper");
    const std::string folder = dir.path().string(), bursts = std::to_string(burst);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // looking for leaks wants to trace, too
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::execl(program.c_str(), program.c_str(), "calls", folder.c_str(), where, kind,
                bursts.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    REQUIRE(WIFSTOPPED(status));
    ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
    long calls = 0;
    int marks = 0;
    for (long signal = 0;;) {
        REQUIRE(::ptrace(PTRACE_SYSCALL, pid, nullptr, signal) == 0);
        REQUIRE(::waitpid(pid, &status, 0) == pid);
        if (!WIFSTOPPED(status)) break;
        signal = WSTOPSIG(status);
        if (signal != (SIGTRAP | 0x80)) continue;
        signal = 0;
        __ptrace_syscall_info info{};
        REQUIRE(::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0);
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
        if (info.entry.nr == SYS_getppid) {
            ++marks;
        } else if (marks == 1) {
            ++calls;
        }
    }
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    CHECK(marks == 2);
    return calls;
}

}  // namespace

TEST_CASE("uds: a message costs the system calls of a loop written by hand") {
    watchdog dog("uds: system calls", std::chrono::seconds(120));
    const temporary_directory dir;
    for (const char* kind : {"stream", "seqpacket", "datagram"}) {
        INFO(kind);
        // One send, one recv.
        CHECK(calls_of(dir, "pair", kind, 1) == 2000);
        // While messages keep coming the kernel is asked only now and then who else came: by the
        // clock, so more often where a tracer and a busy machine make each call slow.
        CHECK(calls_of(dir, "named", kind, 1) <= 2500);
        CHECK(calls_of(dir, "named", kind, 8) <= (std::string(kind) == "stream" ? 1600 : 2500));
    }
    CHECK(calls_of(dir, "pair", "stream", 8) <= 1130);
}
