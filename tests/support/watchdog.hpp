// SPDX-License-Identifier: MIT
// A watchdog for tests that may block: a hang becomes a failure with a name.
#pragma once

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace parley_test {

/// How much slower than usual this build runs: 1, more under sanitizers (PARLEY_TEST_SLOW).
inline int slowness() noexcept {
    const char* text = std::getenv("PARLEY_TEST_SLOW");
    const int factor = text == nullptr ? 1 : std::atoi(text);
    return factor < 1 ? 1 : factor;
}

/// True in long campaigns (PARLEY_CAMPAIGN=1); tests then run their full counts.
inline bool campaign() noexcept {
    const char* text = std::getenv("PARLEY_CAMPAIGN");
    return text != nullptr && *text != '\0' && std::string_view(text) != "0";
}

/// `watchdog dog("shm: a sender waits");` ends the process with the name if the scope is not left
/// within the seconds, times slowness(). It is a timer of the kernel: there is no thread that would
/// disturb a fork, and a forked child inherits none, so a child makes its own.
class watchdog {
public:
    explicit watchdog(std::string_view name,
                      std::chrono::seconds limit = std::chrono::seconds(60)) {
        const time_t seconds = limit.count() * slowness();
        std::snprintf(words_.data(), words_.size(), "\nwatchdog: '%.*s' hangs after %ld s\n",
                      static_cast<int>(name.size()), name.data(), seconds);
        struct sigaction action {};
        action.sa_sigaction = &watchdog::bark;
        action.sa_flags = SA_SIGINFO;
        ::sigaction(bark_signal(), &action, nullptr);
        start(bark_, bark_signal(), seconds);
        // Whoever blocks every signal is killed without words, a little later.
        start(bite_, SIGKILL, seconds + 10);
    }
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;
    ~watchdog() {
        if (owner_ != ::getpid()) return;  // timers do not survive a fork
        ::timer_delete(bark_);
        ::timer_delete(bite_);
    }

private:
    static int bark_signal() noexcept { return SIGRTMAX - 1; }

    static void bark(int, siginfo_t* info, void*) {
        const auto* dog = static_cast<const watchdog*>(info->si_value.sival_ptr);
        [[maybe_unused]] const auto n =
            ::write(STDERR_FILENO, dog->words_.data(), std::strlen(dog->words_.data()));
        std::abort();
    }

    void start(timer_t& timer, int number, time_t seconds) {
        sigevent event{};
        event.sigev_notify = SIGEV_SIGNAL;
        event.sigev_signo = number;
        event.sigev_value.sival_ptr = this;
        itimerspec when{};
        when.it_value.tv_sec = seconds;
        if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
            ::timer_settime(timer, 0, &when, nullptr) != 0) {
            std::perror("watchdog");
            std::abort();
        }
    }

    pid_t owner_ = ::getpid();
    timer_t bark_{};
    timer_t bite_{};
    std::array<char, 256> words_{};
};

}  // namespace parley_test
