// SPDX-License-Identifier: MIT
// What the conformance suite of the transport contract is made of: the list of models, and words
// for the tests. The bullets stand in sink_test.cpp, source_test.cpp, ends_test.cpp and
// waiting_test.cpp; each runs over every model. A model is one line in models().
#pragma once

#include <parley/base/random.hpp>
#include <parley/channel.hpp>
#include <parley/detail/posix.hpp>
#include <parley/transport/any.hpp>

#include "support/catch.hpp"
#include "support/resources.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace conformance {

using parley::any_sink;
using parley::any_source;
using parley::bytes;
using parley::errc;
using parley::result;
using ends = parley::both_ends<any_sink, any_source>;
using namespace std::chrono_literals;

inline constexpr parley::message_type apples{0xa991e5, "apples {u32 @0} 4/4", 8};
inline constexpr parley::message_type oranges{0x04a49e5, "oranges {f64 @0} 8/8", 8};

/// A fresh address of some model.
class place {
public:
    place() = default;
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    virtual ~place() = default;

    /// Opens both ends; `unsupported` if ends of two types cannot meet in this way at all.
    virtual result<ends> open(parley::message_type out, parley::message_type in,
                              parley::diagnostics& why) = 0;
    /// Opens an end at a named address.
    virtual result<any_sink> sender(parley::message_type, parley::time_point,
                                    parley::diagnostics&) {
        return errc::unsupported;
    }
    virtual result<any_source> receiver(parley::message_type, parley::diagnostics&) {
        return errc::unsupported;
    }
    /// What a successful close leaves behind, if anything: names below /dev/shm or in a directory.
    [[nodiscard]] virtual std::vector<std::string> leftovers() const { return {}; }
    /// Removes what is persistent.
    virtual void remove() {}

    [[nodiscard]] ends open() {
        parley::diagnostics why;
        auto both = open(apples, apples, why);
        INFO(why.text());
        REQUIRE(both);
        return std::move(*both);
    }
    /// One more sender, which finds its receiver there.
    [[nodiscard]] any_sink sender() {
        parley::diagnostics why;
        auto s = sender(apples, parley::clock::now() + 20s, why);
        INFO(why.text());
        REQUIRE(s);
        return std::move(*s);
    }
};

struct model {
    std::string name;
    std::function<std::unique_ptr<place>()> make;
    bool named = true;           ///< both ends can be opened one by one
    bool across = true;          ///< works between processes
    bool pid_namespaces = true;  ///< works between processes of two PID namespaces
    bool variation = false;      ///< of a model above it: long tests make it short
    bool steady = true;          ///< allocates nothing, once it runs
    bool quick = true;           ///< a GiB passes in seconds
};

/// Every model. Defined in models.cpp: a new one is one line there.
const std::vector<model>& models();

template <class Address>
class named_place final : public place {
public:
    template <class Make>
    explicit named_place(Make make) : name_("conf"), at_(make(name_.text(), dir_)) {}
    ~named_place() override {
        if (owner_ == ::getpid()) remove();
    }
    void remove() final {
        if constexpr (removable) {
            parley::diagnostics unasked;
            (void)at_.remove(unasked);
        }
    }

    result<ends> open(parley::message_type out, parley::message_type in,
                      parley::diagnostics& why) override {
        auto source = receiver(in, why);
        if (!source) return source.error();
        auto sink = sender(out, parley::clock::now() + 20s, why);
        if (!sink) return sink.error();
        return ends{std::move(*sink), std::move(*source)};
    }
    result<any_sink> sender(parley::message_type type, parley::time_point until,
                            parley::diagnostics& why) override {
        auto s = at_.open_sink({type, until, &why});
        if (!s) return s.error();
        return any_sink(std::move(*s));
    }
    result<any_source> receiver(parley::message_type type, parley::diagnostics& why) override {
        auto s = at_.open_source({type, parley::expired, &why});
        if (!s) return s.error();
        return any_source(std::move(*s));
    }
    std::vector<std::string> leftovers() const override {
        if constexpr (removable) return {};  // persistent: it stays until somebody removes it
        auto found = parley_test::leftovers(name_.text());
        for (const auto& entry : std::filesystem::directory_iterator(dir_.path())) {
            found.push_back(entry.path().string());
        }
        return found;
    }

private:
    static constexpr bool removable = requires(const Address& at, parley::diagnostics& why) {
        at.remove(why);
    };

    parley_test::unique_name name_;
    parley_test::temporary_directory dir_;
    Address at_;
    pid_t owner_ = ::getpid();
};

template <class Address>
class paired_place final : public place {
public:
    explicit paired_place(Address at) : at_(std::move(at)) {}

    result<ends> open(parley::message_type out, parley::message_type in,
                      parley::diagnostics& why) override {
        if (out.fingerprint != in.fingerprint) return errc::unsupported;
        auto both = at_.open_both({in, parley::expired, &why});
        if (!both) return both.error();
        return ends{any_sink(std::move(both->sink)), any_source(std::move(both->source))};
    }

private:
    Address at_;
};

/// A model whose ends find each other by a name: `make(unique_text, fresh_directory)`.
template <class Make>
[[nodiscard]] model by_name(std::string name, Make make) {
    using directory = parley_test::temporary_directory;
    using address = decltype(make(std::string(), std::declval<directory&>()));
    return {std::move(name), [make] { return std::make_unique<named_place<address>>(make); }};
}
/// A model that makes both ends at once.
template <class Address>
[[nodiscard]] model by_pair(std::string name, Address at) {
    return {std::move(name), [at] { return std::make_unique<paired_place<Address>>(at); }, false};
}

// --- words for tests ----------------------------------------------------------------------------

/// What threads and processes beside the test's own say: Catch2 2 listens to one thread only.
class complaints {
public:
    static void add(std::string text) {
        const std::lock_guard lock(mutex());
        all() += text + '\n';
    }
    [[nodiscard]] static std::string take() {
        const std::lock_guard lock(mutex());
        return std::exchange(all(), {});
    }

private:
    static std::mutex& mutex() {
        static std::mutex one;
        return one;
    }
    static std::string& all() {
        static std::string one;
        return one;
    }
};
/// CHECK for any thread. (std::source_location is not there with every clang.)
inline bool expect(bool holds_true, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
    if (!holds_true) complaints::add(std::string(file) + ':' + std::to_string(line));
    return holds_true;
}

/// `each_model("test", [](const model& m) {…})`, a section for each; with a watchdog.
template <class Body>
void each_model(std::string_view test, Body body) {
    for (const auto& m : models()) {
        DYNAMIC_SECTION(m.name) {
            const parley_test::watchdog dog(std::string(test) + " / " + m.name, 20s);
            body(m);
            CHECK(complaints::take() == "");
        }
    }
}

/// A byte that tells the message and the position.
[[nodiscard]] inline std::byte pattern(std::uint64_t seed, std::size_t i) noexcept {
    return static_cast<std::byte>((seed * 131 + i * 7 + (i >> 8)) & 0xff);
}
inline void fill(parley::mutable_bytes to, std::uint64_t seed) noexcept {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = pattern(seed, i);
}
[[nodiscard]] inline bool holds(bytes b, std::size_t n, std::uint64_t seed) noexcept {
    if (b.size() != n) return false;
    for (std::size_t i = 0; i < n; ++i) {
        if (b[i] != pattern(seed, i)) return false;
    }
    return true;
}

/// Sends n bytes of the pattern; waits for room.
[[nodiscard]] inline result<void> send(any_sink& s, std::size_t n, std::uint64_t seed,
                                       parley::deadline d = parley::never) {
    auto l = parley::drive::loan(s, n, d);
    if (!l) return l.error();
    fill(l->bytes(), seed);
    return parley::drive::commit(s, std::move(*l), d);
}
[[nodiscard]] inline result<any_source::view> receive(any_source& s,
                                                      parley::deadline d = parley::never) {
    return parley::drive::receive(s, d);
}
/// True if the next message is n bytes of the pattern.
[[nodiscard]] inline bool receives(any_source& s, std::size_t n, std::uint64_t seed) {
    const auto m = receive(s);
    return m && holds(m->bytes(), n, seed);
}

/// The error of a result, or no error.
template <class T>
[[nodiscard]] parley::error_code error_of(const result<T>& r) {
    return r ? parley::error_code() : r.error();
}

/// Whether a sender meets a full channel: what may lose messages never says that it is.
[[nodiscard]] inline bool fills_up(const any_sink& s) { return !s.limits().lossy; }

/// Whether a sender waits for its receiver, and learns that it went: not where what is sent stays,
/// nor where it may be lost.
[[nodiscard]] inline bool hears_of_receiver(const any_sink& s) {
    return !s.limits().persistent && !s.limits().lossy;
}

/// Sends until the channel is full; how many messages it took. Message i has seed i.
/// What is never full takes a few.
[[nodiscard]] inline std::uint64_t fill_up(any_sink& s, std::size_t n) {
    for (std::uint64_t i = 0;; ++i) {
        if (i == 5 && !fills_up(s)) return i;
        if (auto r = send(s, n, i, parley::expired); !r) {
            REQUIRE(r.error() == errc::would_block);
            return i;
        }
    }
}
/// Waits until `fd` is readable, and works for the receiver meanwhile: over some transports a
/// sender's first byte needs that.
inline void serve_until_readable(any_source& in, int fd) {
    while (!parley::detail::wait_for(fd, POLLIN, parley::expired)) {
        (void)in.wait(parley::clock::now() + 1ms);
    }
}
/// A length that every model takes, large enough to fill it soon.
[[nodiscard]] inline std::size_t handy(const any_sink& s) {
    return std::min<std::size_t>(s.limits().message_bytes_max, 1000);
}

/// Keeps senders close to their receiver where the way would lose what is too much for it: nothing
/// is lost then between two threads of one host. Elsewhere nothing is held up.
class pace {
public:
    explicit pace(const any_sink& s) : bounded_(!fills_up(s)) {}

    void before_send() {
        const auto mine = sent_.fetch_add(1);
        while (bounded_ && mine > received_.load() + ahead_max) std::this_thread::yield();
    }
    void received() { received_.fetch_add(1); }

private:
    static constexpr std::uint64_t ahead_max = 16;

    bool bounded_;
    std::atomic<std::uint64_t> sent_{0}, received_{0};
};

/// A thread that a test can wait for until the kernel says it sleeps.
class worker {
public:
    template <class Body>
    explicit worker(Body body)
        : thread_([this, body = std::move(body)]() mutable {
              tid_.store(static_cast<pid_t>(::syscall(SYS_gettid)));
              body();
              done_.store(true);
          }) {}

    /// Returns when the thread sleeps in the kernel, or has finished.
    void until_asleep() const {
        for (int seen = 0; seen < 3 && !done_.load();) {
            seen = sleeps() ? seen + 1 : 0;
            std::this_thread::yield();
        }
    }
    [[nodiscard]] bool done() const noexcept { return done_.load(); }
    void join() { thread_.join(); }

private:
    [[nodiscard]] bool sleeps() const {
        const pid_t tid = tid_.load();
        if (tid == 0) return false;
        char path[64], text[512];
        std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", static_cast<int>(tid));
        std::FILE* f = std::fopen(path, "re");
        if (f == nullptr) return false;
        const std::size_t n = std::fread(text, 1, sizeof text, f);
        std::fclose(f);
        const std::string_view line(text, n);
        const auto name_end = line.rfind(')');
        return name_end != std::string_view::npos && name_end + 2 < n && line[name_end + 2] == 'S';
    }

    std::atomic<pid_t> tid_{0};
    std::atomic<bool> done_{false};
    std::jthread thread_;  // last: it uses the others
};

}  // namespace conformance
