// SPDX-License-Identifier: MIT
// The newest value of one writer, in shared memory.
#pragma once

#include <parley/detail/later.hpp>
#include <parley/transport/latest_sink.hpp>
#include <parley/transport/latest_source.hpp>
#include <parley/transport/topic.hpp>
#include <parley/transport/transport.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <string>

namespace parley {
inline namespace v1 {
namespace detail {

/// The transport below latest_writer and latest_reader. What it promises stands in latest.hpp.
struct latest_value {
    shm at;
    std::size_t value_bytes_max = 0;

    using sink = latest_sink;
    using source = latest_source;
    static constexpr std::string_view scheme = "latest";

    template <std::same_as<uri> Uri = uri>
    [[nodiscard]] static result<later<latest_value, Uri>> from(const Uri& text, diagnostics& why) {
        return why.fail(errc::unsupported, text.text() +
                                               ": a latest value is opened by "
                                               "open_latest_writer and open_latest_reader");
    }
    [[nodiscard]] uri to_uri() const { return at.to_uri(); }

    template <std::same_as<open_request> Request = open_request>
    [[nodiscard]] result<later<sink, Request>> open_sink(const Request& request) const {
        auto& why = *request.why;
        if (auto r = check_topic_address(at, why); !r) return r.error();
        std::size_t capacity = shm_layout::capacity_bytes_min;
        while (capacity < value_bytes_max + 8 && capacity < shm_layout::capacity_bytes_max) {
            capacity *= 2;
        }
        segment_plan planned;
        if (auto r = plan_segment(planned, shm_layout::buffers_count, capacity, request.type, why);
            !r) {
            return r.error();
        }
        if (auto r = without_chunks(at.with.chunks, why); !r) return r.error();
        planned.shape.kind = shm_layout::segment_kind::latest;
        using end = later<sink, Request>;
        return opened_by_and_by(request, [&]() -> result<end> {
            segment seg;
            if (auto r = join_or_create(seg, at.file(), planned, why); !r) return r.error();
            if (auto r = check_shape(seg, why); !r) return r.error();
            return end::claim(std::move(seg), at.file().path(), to_uri(), why);
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
                join_segment(seg, path, request.type, shm_layout::segment_kind::latest, why);
            if (!r) return r.error() == errc::not_found ? errc::would_block : r.error();
            if (auto ok = check_shape(seg, why); !ok) return ok.error();
            return end::claim(std::move(seg), path, to_uri(), at.plan(), why);
        });
    }

    friend bool operator==(const latest_value&, const latest_value&) = default;

private:
    [[nodiscard]] result<void> check_shape(segment& seg, diagnostics& why) const {
        if (seg.shape.lanes == shm_layout::buffers_count) return {};
        leave_segment(at.file().path(), seg.file);
        return why.fail(errc::corrupt, to_uri().text() + " has another number of buffers");
    }
};

}  // namespace detail
}  // namespace v1
}  // namespace parley
