// SPDX-License-Identifier: MIT
// The tools of the tests are tested too: a watchdog that never barks would go unnoticed.
#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/assert.hpp>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

using namespace std::chrono_literals;

namespace {

struct outcome {
    int signal = 0;
    int exit_code = -1;
    std::string words;
};

/// Runs `body` in a child whose standard error is read here.
template <class Body>
outcome in_child(Body body) {
    std::array<int, 2> fds{};
    REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::dup2(fds[1], STDERR_FILENO);
        ::signal(SIGABRT, SIG_DFL);  // no report of Catch2 from the child
        body();
        ::_exit(0);
    }
    ::close(fds[1]);
    outcome out;
    std::array<char, 512> part{};
    for (ssize_t n = 0; (n = ::read(fds[0], part.data(), part.size())) > 0;) {
        out.words.append(part.data(), static_cast<std::size_t>(n));
    }
    ::close(fds[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) out.signal = WTERMSIG(status);
    if (WIFEXITED(status)) out.exit_code = WEXITSTATUS(status);
    return out;
}

}  // namespace

TEST_CASE("watchdog: a hang ends with the name of the test", "[support]") {
    const auto out = in_child([] {
        ::setenv("PARLEY_TEST_SLOW", "1", 1);
        parley_test::watchdog dog("the test that hangs", 1s);
        for (;;) ::pause();
    });
    CHECK(out.signal == SIGABRT);
    CHECK_THAT(out.words, parley_test::contains("'the test that hangs' hangs after 1 s"));
}

TEST_CASE("watchdog: a scope that ends in time is left alone, nested ones too", "[support]") {
    parley_test::watchdog outer("outer", 60s);
    for (int i = 0; i < 1000; ++i) parley_test::watchdog inner("inner", 60s);
    SUCCEED();
}

TEST_CASE("unique name: no two are equal, and what bears one is removed", "[support]") {
    std::string text;
    {
        const parley_test::unique_name a("lane");
        const parley_test::unique_name b("lane");
        CHECK(a.text() != b.text());
        text = a.text();
        CHECK(parley_test::leftovers(text).empty());
        std::ofstream("/dev/shm/" + text) << "left behind";
        CHECK(parley_test::leftovers(text).size() == 1);
    }
    CHECK(parley_test::leftovers(text).empty());
}

TEST_CASE("temporary directory: it is there, and gone at the end, but not by a child",
          "[support]") {
    std::filesystem::path path;
    {
        parley_test::temporary_directory dir;
        path = dir.path();
        CHECK(dir.entries() == 0);
        std::ofstream(dir / "file") << "content";
        CHECK(dir.entries() == 1);
        const auto out = in_child([&] { dir.~temporary_directory(); });
        CHECK(out.exit_code == 0);
        CHECK(dir.entries() == 1);
    }
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("assert: a broken rule ends the process with the place and the rule", "[base]") {
    const auto out = in_child([] { PARLEY_ASSERT(1 + 1 == 3); });
    CHECK(out.signal == SIGABRT);
    CHECK_THAT(out.words, parley_test::contains("support_test.cpp:"));
    CHECK_THAT(out.words, parley_test::contains("1 + 1 == 3"));
    const auto fine = in_child([] { PARLEY_ASSERT(1 + 1 == 2); });
    CHECK(fine.exit_code == 0);
}
