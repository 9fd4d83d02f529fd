// SPDX-License-Identifier: MIT
// Forged frames among real ones, to both sides of delivery stacks, and to both sides of request and
// reply: nothing is read beyond a frame, nothing grows without bound, and no side stops working.
//
//   input   1 byte: which stack; then steps, each 1 byte what, 1 byte n, n bytes
#include <parley/base/assert.hpp>
#include <parley/delivery/machine.hpp>
#include <parley/rpc/correlation.hpp>
#include <parley/rpc/dispenser.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using namespace parley;
using delivery::facts;

constexpr facts wild{.two_way = true};
constexpr facts line{true, true, true, true, true, true};

/// The steps of an input.
class steps {
public:
    steps(const std::uint8_t* data, std::size_t size)
        : rest_(reinterpret_cast<const std::byte*>(data), size) {}

    bool next(unsigned& what, std::vector<std::byte>& body) {
        if (rest_.size() < 2) return false;
        what = std::to_integer<unsigned>(rest_[0]);
        const auto n =
            std::min<std::size_t>(std::to_integer<std::size_t>(rest_[1]), rest_.size() - 2);
        // Of its own length in memory, so that a sanitizer sees whoever reads beyond it.
        body.assign(rest_.begin() + 2, rest_.begin() + 2 + static_cast<std::ptrdiff_t>(n));
        rest_ = rest_.subspan(2 + n);
        return true;
    }

private:
    bytes rest_;
};

template <facts Way, class Policies>
void run(const Policies& policies, steps all) {
    const auto s = delivery::as_stack(policies);
    using stack = std::remove_cvref_t<decltype(s)>;
    delivery::sending<stack, Way> out(s, 77, 200);
    delivery::receiving<stack, Way> in(s);
    time_point now{std::chrono::seconds(1)};
    std::vector<std::byte> body;
    const auto take = [&](const std::vector<std::byte>& f) {
        in.on_frame(f);
        while (const auto m = in.next()) PARLEY_ASSERT(m->size() <= 1000);
    };
    for (unsigned what = 0; all.next(what, body);) {
        if (what % 8 >= 4 && body.size() >= 4) checksum::sealing({}, true).seal(body);
        switch (what % 4) {
            case 0:
                body.resize(std::min(body.size(), out.message_bytes_max()));
                if (out.admits(now) == delivery::admission::taken) out.submit(body, now);
                break;
            case 1: take(body); break;
            case 2: out.on_frame(body, now); break;
            default:
                now += std::chrono::milliseconds(body.size());
                for (int i = 0; i < 8; ++i) {
                    const std::size_t n = out.wants(now);
                    if (n == 0) break;
                    PARLEY_ASSERT(n <= 200);
                    std::vector<std::byte> f(n);
                    f.resize(out.transmit(f, now));
                    if (what < 128) take(f);
                }
                if (const std::size_t n = in.wants(true); n > 0) {
                    std::vector<std::byte> f(n);
                    f.resize(in.transmit(f));
                    if (what < 192) out.on_frame(f, now);
                }
        }
    }
    PARLEY_ASSERT(out.unfinished() <= 64 + 16);
}

void run_calls(steps all) {
    rpc::calls book(4);
    rpc::desk desk;
    std::vector<std::byte> body;
    for (unsigned what = 0; all.next(what, body);) {
        if (what % 3 == 0) (void)book.begin(time_point{std::chrono::seconds(what)});
        if (what % 3 == 1) {
            (void)rpc::each_frame(body, [&](bytes f) {
                PARLEY_ASSERT(f.size() <= body.size());
                return book.on_frame(f);
            });
        }
        if (what % 3 == 2) {
            const auto q = desk.on_frame(body, time_point{});
            if (q) PARLEY_ASSERT(q->body.size() + rpc::header::bytes == body.size());
            if (q && what % 2 == 0) (void)desk.close(q->id);
        }
        PARLEY_ASSERT(book.under_way() <= 4);
    }
    while (book.expire(never)) {
    }
}

void run_tasks(steps all) {
    rpc::dispenser tasks;
    std::vector<std::byte> body;
    for (unsigned what = 0; all.next(what, body);) {
        const std::uint64_t who = what / 8 % 4;
        switch (what % 8) {
            case 0: tasks.join(who); break;
            case 1: tasks.leave(who); break;
            case 2: tasks.submit(body); break;
            case 3:
                if (tasks.wants(who)) tasks.sent(who);
                break;
            default: (void)tasks.on_frame(who, body); break;
        }
        PARLEY_ASSERT(tasks.queued() + tasks.held() == tasks.unfinished());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const steps all(data + 1, size - 1);
    const fragmented parts{.message_bytes_max = 1000};
    switch (data[0] % 7) {
        case 0: run<line>(at_least_once{.window = 16}, all); break;
        case 1: run<wild>(at_least_once{.window = 4} | checksum{} | batched{} | parts, all); break;
        case 2: run<line>(exactly_once{.window = 16} | unordered{} | batched{}, all); break;
        case 3: run<wild>(at_most_once{} | checksum{} | parts, all); break;
        case 4: run<line>(batched{} | parts | when_full::drop_oldest{}, all); break;
        case 5: run_calls(all); break;
        default: run_tasks(all); break;
    }
    return 0;
}
