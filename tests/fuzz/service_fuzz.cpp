// SPDX-License-Identifier: MIT
// The answering side of a service: bytes that may be calls of every kind of method, and frames in
// batches. The first byte says which.
#include <parley/rpc/correlation.hpp>
#include <parley/rpc/dispatch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <new>
#include <optional>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace parley;

struct party {
    method<"greet", std::string(std::string, std::optional<int>)> greet;
    method<"sum", std::int64_t(std::vector<std::int32_t>), idempotent> sum;
    method<"pay", int(int), once> pay;
    method<"look", void(std::map<std::string, std::vector<std::string>>)> look;
    method<"peek", std::uint64_t(std::string_view)> peek;
};

struct counted final : rpc::answer_sink {
    void send(rpc::header h, std::size_t n, rpc::filler f) override {
        std::vector<std::byte> frame(rpc::header::bytes + n);
        h.write(frame.data());
        f(mutable_bytes(frame).subspan(rpc::header::bytes));
        rpc::header again;
        PARLEY_ASSERT(again.read(frame));
        ++answers;
    }
    int answers = 0;
};

template <class Method>
void name(std::vector<std::byte>& call, unsigned arguments) {
    const std::size_t n = std::min<std::size_t>(arguments, Method::arguments::most);
    rpc::call_header{Method::number, Method::description.prints[n]}.write(call.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    static time_point now{};
    now += std::chrono::seconds(1);
    party p;
    p.greet = [](const std::string& s, std::optional<int> n) { return s + (n ? "!" : "?"); };
    p.sum = [](const std::vector<std::int32_t>& all) {
        std::int64_t sum = 0;
        for (const auto n : all) sum += n;
        return sum;
    };
    p.pay = [n = 0u](int by) mutable { return static_cast<int>(n += static_cast<unsigned>(by)); };
    p.look = [](const auto& map) {
        if (map.size() == 2) throw std::bad_alloc();
    };
    p.peek = [](std::string_view s) { return s.size(); };
    rpc::dispatcher<party> desk(p, 7);
    counted out;
    int asked = 0;
    rpc::desk frames;
    const auto* first = reinterpret_cast<const std::byte*>(data);
    std::vector<std::byte> message(first + 1, first + size);
    const auto run = [&](bytes call) {
        call_context c;
        desk.run(call, c, out, [] { return now; });
        ++asked;
    };
    switch (data[0] % 8) {
        case 0: run(message); break;
        case 1:
            (void)rpc::each_frame(message, [&](bytes f) {
                const auto q = frames.on_frame(f, now);
                if (q) run(q->body);
                return true;
            });
            break;
        default:
            message.insert(message.begin(), rpc::call_header::bytes, std::byte{});
            switch (data[0] % 8) {
                case 2: name<decltype(party::greet)>(message, data[0] / 8); break;
                case 3: name<decltype(party::sum)>(message, 1); break;
                case 4: name<decltype(party::pay)>(message, 1); break;
                case 5: name<decltype(party::look)>(message, 1); break;
                default: name<decltype(party::peek)>(message, 1); break;
            }
            run(message);
            run(message);
    }
    PARLEY_ASSERT(out.answers == asked);
    return 0;
}
