// SPDX-License-Identifier: MIT
// Between threads of one process: the lanes of shared memory, found by a name that only this
// process knows.
#pragma once

#include <parley/shm/segment.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/shm_sink.hpp>
#include <parley/transport/shm_source.hpp>
#include <parley/transport/transport.hpp>

#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {

/// The address of a channel between threads: `inproc{"frames"}` is `inproc://frames`.
///
///     auto in = parley::open_receiver<tick>(parley::inproc{"frames"}).value();
///     std::jthread worker([] {
///         auto out = parley::open_sender<tick>(parley::inproc{"frames"}).value();
///         out.send({7, 99.5}).value();
///     });
///     use(in.receive().value());
///
/// Thread safety: each end belongs to one thread at a time; senders are independent.
/// Blocking, limits and errors are those of shm; nobody dies alone here. Another process, a forked
/// child among them, has names of its own.
struct inproc {
    /// As shm::options; the receiver's decide.
    struct options {
        std::size_t capacity_bytes = 1 << 20;
        std::size_t writers_max = 16;
        waiting wait = waiting::spin_then_park;
        std::uint32_t spin_us = 50;

        friend bool operator==(const options&, const options&) = default;
    };

    std::string name;
    options with = {};

    using sink = detail::shm_sink;
    using source = detail::shm_source;

    static constexpr std::string_view scheme = "inproc";

    inproc() = default;
    explicit inproc(std::string n) : name(std::move(n)) {}
    inproc(std::string n, options o) : name(std::move(n)), with(o) {}

    [[nodiscard]] static result<inproc> from(const uri& text, diagnostics& why);
    [[nodiscard]] uri to_uri() const;
    [[nodiscard]] result<sink> open_sink(const open_request& request) const;
    [[nodiscard]] result<source> open_source(const open_request& request) const;
    [[nodiscard]] result<both_ends<sink, source>> open_both(const open_request& request) const {
        return unnamed().open_both(request);
    }

    friend bool operator==(const inproc&, const inproc&) = default;

private:
    [[nodiscard]] shm unnamed() const {
        return shm({.capacity_bytes = with.capacity_bytes,
                    .writers_max = with.writers_max,
                    .wait = with.wait,
                    .spin_us = with.spin_us});
    }
    [[nodiscard]] detail::wait_plan plan() const {
        return {with.wait, std::chrono::microseconds(with.spin_us)};
    }
};

namespace detail {

/// The names of this process. Never on a data path.
class inproc_names {
public:
    static inproc_names& instance() {
        static inproc_names all;
        return all;
    }
    /// Registers `fd` under `name` until the result is dropped; null if the name is taken.
    [[nodiscard]] std::shared_ptr<void> add(const std::string& name, int fd) {
        const std::lock_guard lock(mutex_);
        if (find(name) != entries_.end()) return nullptr;
        entries_.push_back({name, fd, ::getpid()});
        return {this, [name](inproc_names* all) { all->remove(name); }};
    }
    /// A description of its own of the segment under `name`; would_block: there is none.
    [[nodiscard]] result<void> open(const std::string& name, unique_fd& out) {
        const std::lock_guard lock(mutex_);
        const auto e = find(name);
        if (e == entries_.end()) return errc::would_block;
        return reopen(e->fd, out);
    }

private:
    struct entry {
        std::string name;
        int fd;
        pid_t process;
    };

    std::vector<entry>::iterator find(const std::string& name) {
        // A forked child inherits the table, but not what the names mean.
        return std::find_if(entries_.begin(), entries_.end(), [&](const entry& e) {
            return e.name == name && e.process == ::getpid();
        });
    }
    void remove(const std::string& name) {
        const std::lock_guard lock(mutex_);
        const auto e = find(name);
        if (e != entries_.end()) entries_.erase(e);
    }

    std::mutex mutex_;
    std::vector<entry> entries_;
};

}  // namespace detail

inline result<inproc> inproc::from(const uri& text, diagnostics& why) {
    inproc at;
    uri_reader r(text, why);
    at.name = r.body();
    if (at.name.empty()) r.fail_body("wants a name, as in inproc://frames");
    r.number("capacity_bytes", at.with.capacity_bytes, shm_layout::capacity_bytes_min,
             shm_layout::capacity_bytes_max);
    r.number("writers_max", at.with.writers_max, 1, shm_layout::lanes_max);
    r.choice("wait", at.with.wait, detail::waiting_words);
    r.number("spin_us", at.with.spin_us, 0, 1'000'000);
    if (auto ok = r.finish(); !ok) return ok.error();
    return at;
}

inline uri inproc::to_uri() const {
    const options usual;
    uri_writer w(scheme, name);
    if (with.capacity_bytes != usual.capacity_bytes)
        w.option("capacity_bytes", with.capacity_bytes);
    if (with.writers_max != usual.writers_max) w.option("writers_max", with.writers_max);
    if (with.wait != usual.wait) w.option("wait", detail::word_of(with.wait));
    if (with.spin_us != usual.spin_us) w.option("spin_us", with.spin_us);
    return w.done();
}

inline result<inproc::source> inproc::open_source(const open_request& request) const {
    diagnostics& why = *request.why;
    detail::segment_plan planned;
    if (auto r =
            detail::plan_segment(planned, with.writers_max, with.capacity_bytes, request.type, why);
        !r) {
        return r.error();
    }
    detail::segment seg;
    if (auto r = detail::anonymous_segment(seg, planned, detail::fresh_id(), why); !r) {
        return r.error();
    }
    if (auto r = detail::try_lock(seg.file.get(), detail::reader_lock); !r) {
        return why.fail(r.error(), detail::explain("locking a memfd", errno));
    }
    auto registration = detail::inproc_names::instance().add(name, seg.file.get());
    if (!registration) {
        return why.fail(errc::in_use, to_uri().text() + " has a receiver in this process already");
    }
    return source::own(std::move(seg), {{}, std::move(registration)}, to_uri(), plan(), why);
}

inline result<inproc::sink> inproc::open_sink(const open_request& request) const {
    return detail::opened_by_and_by(request, [&]() -> result<sink> {
        detail::segment seg;
        if (auto r = detail::inproc_names::instance().open(name, seg.file); !r) {
            return request.why->fail(r.error(),
                                     "no receiver at " + to_uri().text() + " in this process");
        }
        if (auto r = seg.adopt(request.type, to_uri().text(), *request.why); !r) return r.error();
        return sink::claim(std::move(seg), {}, to_uri(), plan(), false, *request.why);
    });
}

}  // namespace v1
}  // namespace parley
