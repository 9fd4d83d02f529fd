// SPDX-License-Identifier: MIT
// JSON-RPC from strangers: bytes as a stream that comes in pieces, and texts as they are. The first
// byte says which, and how long the pieces are.
#include <parley/base/assert.hpp>
#include <parley/rpc/json_dispatch.hpp>
#include <parley/rpc/json_stream.hpp>

#include <boost/json/src.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using parley::method;

struct service {
    method<"subtract(minuend, subtrahend)", std::int64_t(std::int64_t, std::int64_t)> subtract;
    method<"sum(numbers...)", double(std::vector<double>)> sum;
    method<"get_data", std::tuple<std::string, int>()> get_data;
    method<"count(words, limit)",
           std::map<std::string, int>(std::vector<std::string>, std::optional<std::uint8_t>)>
        count;
};

parley::rpc::json_dispatcher<service>& calls() {
    static parley::rpc::json_dispatcher<service> all(
        service{.subtract =
                    [](std::int64_t a, std::int64_t b) {
                        return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) -
                                                         static_cast<std::uint64_t>(b));
                    },
                .sum =
                    [](const std::vector<double>& v) {
                        double sum = 0;
                        for (const double d : v) sum += d;
                        return sum;
                    },
                .get_data = [] { return std::tuple<std::string, int>("hello", 5); },
                .count =
                    [](const std::vector<std::string>& words, std::optional<std::uint8_t> limit) {
                        std::map<std::string, int> counts;
                        for (const auto& w : words) ++counts[w];
                        if (limit && counts.size() > *limit)
                            throw std::length_error("too many words");
                        return counts;
                    }});
    return all;
}
void answer(std::string_view text) {
    const auto said = calls().run(text, [] { return parley::call_context(); });
    if (said.empty()) return;
    parley::error_code ec;
    (void)boost::json::parse({said.data(), said.size()}, ec);
    PARLEY_ASSERT(!ec);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] == 0) {
        answer(text);
        return 0;
    }
    parley::rpc::json_stream in(256);
    for (std::size_t at = 0; at < text.size(); at += data[0]) {
        in.feed(std::string(text.substr(at, data[0])));
        auto t = in.next();
        for (; t; t = in.next()) {
            PARLEY_ASSERT(t->size() <= 256);
            answer(*t);
        }
        if (t.error() != parley::errc::would_block) return 0;
    }
    if (const auto last = in.last()) answer(*last);
    return 0;
}
