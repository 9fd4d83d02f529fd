// SPDX-License-Identifier: MIT
// The compiled exemplar of a transport: the least that meets the contract of
// transport/transport.hpp, to start a new backend from and to compile generic code against. Four
// slots, one sender, one receiver, threads of one process; no descriptor, no successors. And of a
// codec, the least that meets the contract of codec/codec.hpp.
#pragma once

#include <parley/codec/codec.hpp>
#include <parley/transport/transport.hpp>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace testing {
namespace detail {

/// What both ends of one channel share.
struct archetype_slots {
    static constexpr std::size_t slots_max = 4;
    static constexpr std::size_t message_bytes_max = 256;

    struct slot {
        alignas(64) std::array<std::byte, message_bytes_max> room;
        std::size_t length = 0;
    };

    explicit archetype_slots(message_type t) : type(t) {}

    [[nodiscard]] slot& at(std::uint64_t n) noexcept { return ring[n % slots_max]; }
    /// Waits with the lock held until `done()`. False if the deadline passed first.
    template <class Done>
    bool await(std::unique_lock<std::mutex>& lock, time_point until, Done done) {
        if (until == expired) return done();
        if (until == never) return changed.wait(lock, done), true;
        return changed.wait_until(lock, until, done);
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::array<slot, slots_max> ring{};
    std::uint64_t head = 0, tail = 0;  // received, committed
    bool sink_open = false, sink_came = false, source_open = true;
    message_type type;
};

/// Where the ends find each other.
struct archetype_names {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::weak_ptr<archetype_slots>> all;

    static archetype_names& instance() {
        static archetype_names one;
        return one;
    }
};

}  // namespace detail

class archetype_sink {
public:
    class loan {
    public:
        loan(loan&& other) noexcept
            : open_(std::exchange(other.open_, nullptr)), bytes_(other.bytes_) {}
        loan& operator=(loan&& other) noexcept {
            std::swap(open_, other.open_);
            std::swap(bytes_, other.bytes_);
            return *this;
        }
        ~loan() {
            if (open_ != nullptr) *open_ = false;
        }
        [[nodiscard]] mutable_bytes bytes() const noexcept { return bytes_; }
        void shrink(std::size_t n) noexcept { bytes_ = bytes_.first(n); }

    private:
        friend archetype_sink;
        loan(bool* open, mutable_bytes b) noexcept : open_(open), bytes_(b) { *open_ = true; }

        bool* open_;
        mutable_bytes bytes_;
    };

    archetype_sink(std::shared_ptr<detail::archetype_slots> slots, uri at)
        : own_(std::make_unique<own>(own{std::move(slots), std::move(at), {}})) {}
    archetype_sink(archetype_sink&&) noexcept = default;
    archetype_sink& operator=(archetype_sink&& other) noexcept {
        std::swap(own_, other.own_);
        return *this;
    }
    ~archetype_sink() {
        if (own_) (void)close(expired);
    }

    result<loan> try_loan(std::size_t n) {
        auto& slots = *own_->slots;
        if (own_->closed) return errc::closed;
        if (n > slots.message_bytes_max) {
            return own_->why.fail(errc::message_too_large,
                                  "a message of " + std::to_string(n) + " bytes; a slot takes " +
                                      std::to_string(slots.message_bytes_max));
        }
        if (own_->loaned) return own_->why.fail(errc::out_of_resources, "one loan at a time");
        const std::lock_guard lock(slots.mutex);
        if (!slots.source_open) return own_->why.fail(errc::closed, "the receiver closed");
        if (slots.tail - slots.head == slots.slots_max) return errc::would_block;
        return loan(&own_->loaned, mutable_bytes(slots.at(slots.tail).room).first(n));
    }
    result<void> try_commit(loan l) {
        auto& slots = *own_->slots;
        const std::lock_guard lock(slots.mutex);
        slots.at(slots.tail++).length = l.bytes().size();
        return {};
    }
    result<void> flush(time_point) {
        own_->slots->changed.notify_all();
        return {};
    }
    result<void> wait(time_point until) {
        auto& slots = *own_->slots;
        std::unique_lock lock(slots.mutex);
        const bool done = slots.await(lock, until, [&] {
            return !slots.source_open || slots.tail - slots.head < slots.slots_max;
        });
        return done ? result<void>() : errc::timed_out;
    }
    result<int> pollable() { return errc::unsupported; }
    result<void> close(time_point) {
        const std::lock_guard lock(own_->slots->mutex);
        if (!std::exchange(own_->closed, true)) own_->slots->sink_open = false;
        own_->slots->changed.notify_all();
        return {};
    }
    [[nodiscard]] parley::limits limits() const {
        return {.message_bytes_max = detail::archetype_slots::message_bytes_max,
                .in_place = true,
                .pollable = false,
                .reports_peer_loss = false};
    }
    [[nodiscard]] const diagnostics& why() const { return own_->why; }
    [[nodiscard]] uri address() const { return own_->at; }

private:
    struct own {
        std::shared_ptr<detail::archetype_slots> slots;
        uri at;
        diagnostics why;
        bool loaned = false;
        bool closed = false;
    };
    std::unique_ptr<own> own_;
};

class archetype_source {
public:
    class view {
    public:
        view(view&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
        view& operator=(view&& other) noexcept {
            std::swap(slots_, other.slots_);
            return *this;
        }
        ~view() {
            if (slots_ == nullptr) return;
            const std::lock_guard lock(slots_->mutex);
            ++slots_->head;
            slots_->changed.notify_all();
        }
        [[nodiscard]] parley::bytes bytes() const {
            const auto& slot = slots_->at(slots_->head);
            return parley::bytes(slot.room).first(slot.length);
        }

    private:
        friend archetype_source;
        explicit view(detail::archetype_slots* slots) noexcept : slots_(slots) {}
        detail::archetype_slots* slots_;
    };

    archetype_source(std::shared_ptr<detail::archetype_slots> slots, uri at)
        : slots_(std::move(slots)), at_(std::move(at)) {}
    archetype_source(archetype_source&&) noexcept = default;
    archetype_source& operator=(archetype_source&& other) noexcept {
        std::swap(slots_, other.slots_);
        std::swap(at_, other.at_);
        return *this;
    }
    ~archetype_source() {
        if (slots_) (void)close(expired);
    }

    /// A second borrow would be a view of the same message: this one asks for one at a time.
    result<view> try_receive() {
        const std::lock_guard lock(slots_->mutex);
        if (!slots_->source_open) return errc::closed;
        if (slots_->head != slots_->tail) return view(slots_.get());
        if (slots_->sink_came && !slots_->sink_open) {
            return why_.fail(errc::closed, "the sender closed");
        }
        return errc::would_block;
    }
    result<void> wait(time_point until) {
        std::unique_lock lock(slots_->mutex);
        const bool done = slots_->await(lock, until, [&] {
            return slots_->head != slots_->tail || (slots_->sink_came && !slots_->sink_open);
        });
        return done ? result<void>() : errc::timed_out;
    }
    result<int> pollable() { return errc::unsupported; }
    result<void> close(time_point) {
        const std::lock_guard lock(slots_->mutex);
        slots_->source_open = false;
        slots_->changed.notify_all();
        return {};
    }
    [[nodiscard]] std::uint64_t peers_lost() const { return 0; }
    [[nodiscard]] parley::limits limits() const {
        return {.message_bytes_max = detail::archetype_slots::message_bytes_max,
                .in_place = true,
                .pollable = false,
                .reports_peer_loss = false};
    }
    [[nodiscard]] const diagnostics& why() const { return why_; }
    [[nodiscard]] uri address() const { return at_; }

private:
    std::shared_ptr<detail::archetype_slots> slots_;
    uri at_;
    diagnostics why_;
};

/// The address: a name within this process.
struct archetype {
    std::string name;

    using sink = archetype_sink;
    using source = archetype_source;
    static constexpr std::string_view scheme = "archetype";

    [[nodiscard]] static result<archetype> from(const uri& text, diagnostics& why) {
        uri_reader r(text, why);
        if (auto ok = r.finish(); !ok) return ok.error();
        return archetype{r.body()};
    }
    [[nodiscard]] uri to_uri() const { return uri_writer(scheme, name).done(); }

    [[nodiscard]] result<source> open_source(const open_request& request) const {
        auto& names = detail::archetype_names::instance();
        const std::lock_guard lock(names.mutex);
        auto& entry = names.all[name];
        if (!entry.expired()) return request.why->fail(errc::in_use, name + " has a receiver");
        auto slots = std::make_shared<detail::archetype_slots>(request.type);
        entry = slots;
        names.changed.notify_all();
        return source(std::move(slots), to_uri());
    }
    [[nodiscard]] result<sink> open_sink(const open_request& request) const {
        auto& names = detail::archetype_names::instance();
        std::unique_lock lock(names.mutex);
        std::shared_ptr<detail::archetype_slots> slots;
        const auto found = [&] { return (slots = names.all[name].lock()) != nullptr; };
        while (!found()) {
            if (request.until == expired) return errc::would_block;
            if (request.until == never) {
                names.changed.wait(lock);
            } else if (names.changed.wait_until(lock, request.until) == std::cv_status::timeout) {
                return errc::timed_out;
            }
        }
        if (!accepts(slots->type, request.type.fingerprint)) {
            return request.why->fail(errc::incompatible, type_mismatch(slots->type.description,
                                                                       request.type.description));
        }
        const std::lock_guard own(slots->mutex);
        if (std::exchange(slots->sink_came, true)) {
            return request.why->fail(errc::out_of_resources, name + " had its one sender");
        }
        slots->sink_open = true;
        return sink(std::move(slots), to_uri());
    }
    friend bool operator==(const archetype&, const archetype&) = default;
};

static_assert(sink<archetype_sink> && !source<archetype_sink>);
static_assert(source<archetype_source> && !sink<archetype_source>);
static_assert(transport<archetype> && !pairing_transport<archetype>);
static_assert(!in_memory<archetype_source>);

/// A message and the least that a codec written by hand has to have.
struct archetype_message {
    std::byte only{};
};
struct archetype_codec {
    static constexpr message_type type = named_type("one byte, version 1");
    static constexpr bool in_place = false;
    static constexpr bool borrows = false;
    static std::size_t size(const archetype_message&) { return 1; }
    static void encode(const archetype_message& v, mutable_bytes out) { out[0] = v.only; }
    static result<archetype_message> decode(bytes in) {
        if (in.size() != 1) return errc::corrupt;
        return archetype_message{in[0]};
    }
};
static_assert(codec_of<archetype_codec, archetype_message>);

}  // namespace testing
}  // namespace v1
}  // namespace parley
