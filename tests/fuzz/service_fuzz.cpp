// SPDX-License-Identifier: MIT
// The answering side of a service: bytes that may be calls of every kind of method, frames in
// batches, calls that take answers, and what is said in calls with streams and callbacks. The first
// byte says which.
#include <parley/rpc/correlation.hpp>
#include <parley/rpc/dispatch.hpp>
#include <parley/rpc/open_calls.hpp>
#include <parley/rpc/promises.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
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

/// Streams and callbacks of every kind, all in one call.
struct talkative {
    method<"talk",
           stream<std::string>(stream<std::string>, callback<int(std::string)>, stream<int>)>
        talk;
};
stream<std::string> answer_all(stream<std::string> in, callback<int(std::string)> ask,
                               stream<int> numbers) {
    while (const auto text = co_await in) {
        const auto n = co_await ask.start(*text);
        if (!n) co_yield n.error();  // and nothing more
        if (n && *n % 3 == 0) (void)co_await numbers;
        co_yield *text;
    }
}
struct no_line final : rpc::line {
    result<void> send(const rpc::header&, std::size_t n, rpc::filler f) override {
        if (++sent % 5 == 0) return errc::would_block;
        std::vector<std::byte> body(n);
        f(body);
        return {};
    }
    int sent = 0;
};
struct nobody final : rpc::talk::pump {
    result<void> run(const rpc::talk&, deadline&) override { return errc::would_block; }
};
struct keeping final : rpc::answer_sink {
    explicit keeping(rpc::open_calls& o, rpc::talk::pump& p) : open(o), pump(p) {}
    void send(rpc::header, std::size_t, rpc::filler) override {}
    void keep(std::unique_ptr<rpc::running> call) override {
        PARLEY_ASSERT(open.keep(0, std::move(call), pump));
    }
    rpc::open_calls& open;
    rpc::talk::pump& pump;
};
/// A call that is under way, and frames that may belong to it.
void talk(bytes frames) {
    rpc::dispatcher<talkative> desk(talkative{answer_all}, 7);
    rpc::open_calls open;
    nobody pump;
    keeping out(open, pump);
    using method = decltype(talkative::talk);
    std::byte call[rpc::call_header::bytes];
    rpc::call_header{method::number, method::description.prints[3]}.write(call);
    call_context c;
    desk.run(call, c, out, [] { return time_point{}; });
    PARLEY_ASSERT(open.size() == 1);
    no_line line;
    const auto is_open = [](std::uint64_t id) { return id < 3; };
    (void)rpc::each_frame(frames, [&](bytes f) {
        if (rpc::is_talk(f) && !open.on_frame(f, is_open)) return false;
        open.go_on(line, is_open, [&](std::uint64_t) { return keeping(open, pump); });
        return true;
    });
}
/// A question that takes answers.
void fill(bytes question) {
    rpc::promises kept;
    const rpc::header value{0, 0, rpc::kind::value, rpc::family::none};
    kept.keep(1, value, question.first(question.size() / 2));
    kept.keep(2, {0, 9, rpc::kind::refusal, rpc::family::parley}, {});
    kept.keep(4, value, as_bytes("four"));
    const auto whole = kept.fill(question, 4096);
    PARLEY_ASSERT(!whole || whole->size() <= 4096 + question.size());
}

template <class Method>
void name(std::vector<std::byte>& call, unsigned arguments) {
    const std::size_t n = std::min<std::size_t>(arguments, Method::arguments::most);
    rpc::call_header{Method::number, Method::description.prints[n]}.write(call.data());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    if (data[0] >= 0xf0) {
        const auto rest = std::as_bytes(std::span(data + 1, size - 1));
        data[0] % 2 == 0 ? talk(rest) : fill(rest);
        return 0;
    }
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
