// SPDX-License-Identifier: MIT
// A way between two processes whose ends find each other by a name: each is opened by the process
// that uses it, when it first does, and a sender waits until the receiver is there.
#pragma once

#include "harness.hpp"

#include <parley/channel.hpp>

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <string>

namespace bench {

template <class T, class Address>
class by_name {
public:
    explicit by_name(Address at) : at_(std::move(at)), meeting_(shared<meeting>()) {}
    by_name(const by_name&) = delete;
    by_name& operator=(const by_name&) = delete;
    ~by_name() {
        in_.reset();
        parley::diagnostics unasked;
        if constexpr (requires { at_.remove(unasked); }) (void)at_.remove(unasked);
        if constexpr (requires { at_.path; }) ::unlink(at_.path.c_str());
        drop(meeting_);
    }

    void send(const T& v) {
        if (!out_) open_sender();
        out_->send(v).value();
    }
    void receive(T& v) {
        if (!in_) open_receiver();
        in_->receive(v).value();
    }
    void open_receiver() {
        in_.emplace(parley::open_receiver<T>(at_).value());
        const std::string text = in_->address().text();
        std::strncpy(meeting_->address, text.c_str(), sizeof meeting_->address - 1);
        meeting_->receiver_is_there.store(true);
    }

    void open_sender() {
        while (!meeting_->receiver_is_there.load()) ::usleep(100);
        parley::diagnostics why;
        const auto there = Address::from(parley::uri(meeting_->address), why).value();
        out_.emplace(parley::open_sender<T>(there).value());
    }

    /// The first message needs both sides at once.
    static constexpr bool shakes_hands = Address::scheme == "tls";

private:
    struct meeting {
        std::atomic<bool> receiver_is_there{false};
        char address[512] = {};  // with the port that the kernel chose
    };

    Address at_;
    meeting* meeting_;
    std::optional<parley::receiver<T, Address>> in_;
    std::optional<parley::sender<T, Address>> out_;
};

/// A name that no other run has.
[[nodiscard]] inline std::string fresh_name() {
    static int n = 0;
    return "parley-bench-" + std::to_string(::getpid()) + '-' + std::to_string(++n);
}

}  // namespace bench
