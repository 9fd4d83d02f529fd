// SPDX-License-Identifier: MIT
// A topic in shared memory: many publishers, many subscribers, each of whom gets every message.
#pragma once

#include <parley/base/when_full.hpp>
#include <parley/detail/later.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/topic_sink.hpp>
#include <parley/transport/topic_source.hpp>
#include <parley/transport/transport.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <utility>

namespace parley {
inline namespace v1 {
namespace detail {

using shm_layout::giving_way;

/// A rule as a topic keeps it. Only those that a ring can follow; how much it holds is the
/// address's to say.
template <class Rule>
inline constexpr bool is_topic_rule = false;
template <>
inline constexpr bool is_topic_rule<when_full::block> = true;
template <>
inline constexpr bool is_topic_rule<when_full::drop_newest> = true;
template <>
inline constexpr bool is_topic_rule<when_full::drop_oldest> = true;
template <>
inline constexpr bool is_topic_rule<when_full::latest_only> = true;

template <class Rule>
[[nodiscard]] constexpr giving_way rule_of(const Rule&) noexcept {
    if (std::same_as<Rule, when_full::drop_newest>) return giving_way::drop_newest;
    if (std::same_as<Rule, when_full::drop_oldest>) return giving_way::drop_oldest;
    if (std::same_as<Rule, when_full::latest_only>) return giving_way::latest_only;
    return giving_way::block;
}
[[nodiscard]] constexpr const char* word_of(giving_way rule) noexcept {
    switch (rule) {
        case giving_way::block: return "block";
        case giving_way::drop_newest: return "drop_newest";
        case giving_way::drop_oldest: return "drop_oldest";
        case giving_way::latest_only: return "latest_only";
    }
    return "a rule that this program does not know";
}

/// What many take part in has a name.
[[nodiscard]] inline result<void> check_topic_address(const shm& at, diagnostics& why) {
    if (at.fd < 0 && !at.name.empty()) return at.file().check(why);
    return why.fail(errc::invalid_argument,
                    "what many take part in wants a name, as in shm{\"feed\"} or shm://feed");
}

/// The transport below publisher and subscriber: its sink is a publisher's end, its source a
/// subscriber's. What it promises stands in pubsub.hpp.
struct topic {
    shm at;
    giving_way rule = giving_way::block;  // a publisher's; subscribers read it from the segment

    using sink = topic_sink;
    using source = topic_source;
    static constexpr std::string_view scheme = "topic";

    template <std::same_as<uri> Uri = uri>
    [[nodiscard]] static result<later<topic, Uri>> from(const Uri& text, diagnostics& why) {
        return why.fail(errc::unsupported,
                        text.text() + ": a topic is opened by open_publisher and open_subscriber");
    }
    [[nodiscard]] uri to_uri() const { return at.to_uri(); }

    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<later<sink, Request>> open_sink(const Request& request) const {
        auto& why = *request.why;
        if (auto r = check_topic_address(at, why); !r) return r.error();
        segment_plan planned;
        if (auto r = plan_segment(planned, at.with.writers_max, at.with.capacity_bytes,
                                  request.type, why);
            !r) {
            return r.error();
        }
        planned.shape.kind = shm_layout::segment_kind::topic;
        planned.shape.chunks = at.with.chunks;
        if (at.with.chunks > shm_layout::chunks_max) {
            return why.fail(errc::invalid_argument, "chunks=" + std::to_string(at.with.chunks) +
                                                        ": a publisher has 1 to " +
                                                        std::to_string(shm_layout::chunks_max));
        }
        planned.rule = static_cast<std::uint32_t>(rule);
        if (!planned.shape.sane() || topic_bytes_max(planned.shape, overwrites(rule)) == 0) {
            return why.fail(errc::invalid_argument,
                            "capacity_bytes=" + std::to_string(at.with.capacity_bytes) +
                                " is too little for messages aligned to " +
                                std::to_string(planned.shape.alignment) + " bytes" +
                                (at.with.chunks == 0 ? "" : ", in so many ?chunks=…"));
        }
        using end = later<sink, Request>;
        return opened_by_and_by(request, [&]() -> result<end> {
            segment seg;
            if (auto r = join_or_create(seg, at.file(), planned, why); !r) return r.error();
            if (seg.rule != planned.rule) return other_rule(seg, why);
            seg.memory = at.with.memory;
            seg.copy = at.with.copy;
            return end::claim(std::move(seg), at.file().path(), to_uri(), at.plan(), why);
        });
    }
    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<later<source, Request>> open_source(const Request& request) const {
        auto& why = *request.why;
        if (auto r = check_topic_address(at, why); !r) return r.error();
        using end = later<source, Request>;
        return opened_by_and_by(request, [&]() -> result<end> {
            segment seg;
            const std::string path = at.file().path();
            const auto r =
                join_segment(seg, path, request.type, shm_layout::segment_kind::topic, why);
            if (!r) return r.error() == errc::not_found ? errc::would_block : r.error();
            if (seg.rule > static_cast<std::uint32_t>(giving_way::latest_only)) {
                return why.fail(errc::corrupt, path + " names no rule that parley knows");
            }
            seg.memory = at.with.memory;
            return end::claim(std::move(seg), path, to_uri(), at.plan(), why);
        });
    }

    friend bool operator==(const topic&, const topic&) = default;

private:
    [[nodiscard]] error_code other_rule(segment& seg, diagnostics& why) const {
        const auto theirs = static_cast<giving_way>(seg.rule);
        leave_segment(at.file().path(), seg.file);
        return why.fail(errc::incompatible,
                        to_uri().text() + " gives way by when_full::" + word_of(theirs) +
                            ", this publisher names when_full::" + word_of(rule) +
                            "; all publishers of a topic name the same");
    }
};

/// The address in a URI, which must be one of shared memory.
template <std::same_as<uri> Uri>
[[nodiscard]] result<later<shm, Uri>> topic_address(const Uri& at, diagnostics& why) {
    if (at.scheme() == shm::scheme) return shm::from(at, why);
    return why.fail(errc::unsupported, at.text() + ": topics live in shared memory, as shm://feed");
}

}  // namespace detail
}  // namespace v1
}  // namespace parley
