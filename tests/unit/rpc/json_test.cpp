// SPDX-License-Identifier: MIT
// JSON-RPC 2.0: every example of the specification, framing, hostile input, real connections.
#include <parley/jsonrpc.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/base/random.hpp>

#include <boost/json/src.hpp>

#include <sys/un.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::method;
namespace json = boost::json;
namespace rpc = parley::rpc;

namespace {

struct service {
    method<"subtract(minuend, subtrahend)", std::int64_t(std::int64_t, std::int64_t)> subtract;
    method<"sum(numbers...)", std::int64_t(std::vector<std::int64_t>)> sum;
    method<"get_data", std::tuple<std::string, int>()> get_data;
    method<"update(values...)", void(std::vector<int>)> update;
    method<"notify_hello(value)", void(int)> notify_hello;
    method<"notify_sum(numbers...)", void(std::vector<int>)> notify_sum;
    method<"fail(how, more)", int(int, std::optional<std::string>)> fail;
    method<"echo(text)", std::string(std::string)> echo;
    method<"small", std::int8_t(std::int8_t)> small;
    method<"stop", void()> stop;
    method<"nobody", void()> nobody;
};

service implementation(std::vector<std::string>& heard) {
    service s;
    s.subtract = [](std::int64_t a, std::int64_t b) { return a - b; };
    s.sum = [](const std::vector<std::int64_t>& all) {
        std::int64_t sum = 0;
        for (const auto n : all) sum += n;
        return sum;
    };
    s.get_data = [] { return std::tuple<std::string, int>("hello", 5); };
    s.update = [&](const std::vector<int>& v) {
        heard.push_back("update " + std::to_string(v.size()));
    };
    s.notify_hello = [&](int n) { heard.push_back("hello " + std::to_string(n)); };
    s.notify_sum = [&](const std::vector<int>& v) {
        heard.push_back("sum " + std::to_string(v.size()));
    };
    s.fail = [](parley::call_context& c, int how,
                const std::optional<std::string>& more) -> parley::result<int> {
        if (how == 0) throw std::runtime_error(more.value_or("thrown"));
        return c.fail(errc::denied, more.value_or("not today"));
    };
    s.echo = [](const std::string& text) { return text; };
    s.small = [](std::int8_t n) { return n; };
    s.stop = [](parley::call_context& c) { c.stop(); };
    return s;
}

std::string ask(std::string_view text, std::vector<std::string>* heard = nullptr) {
    std::vector<std::string> own;
    rpc::json_dispatcher<service> calls(implementation(heard != nullptr ? *heard : own));
    return calls.run(text, [] { return parley::call_context(); });
}
/// Equal as JSON; an error by its code alone, since the specification leaves `data` to us.
void check_answer(std::string_view asked, std::string_view wanted) {
    INFO(asked);
    const auto strip = [](json::value v) {
        const auto one = [](json::value& r) {
            if (!r.is_object() || !r.as_object().contains("error")) return;
            r.as_object()["error"].as_object().erase("data");
        };
        if (v.is_array()) {
            for (auto& r : v.as_array()) one(r);
        } else {
            one(v);
        }
        return v;
    };
    const auto answer = ask(asked);
    INFO(answer);
    if (wanted.empty()) {
        CHECK(answer.empty());
    } else {
        REQUIRE_FALSE(answer.empty());
        CHECK(strip(json::parse(answer)) ==
              json::parse(json::string_view(wanted.data(), wanted.size())));
    }
}
int code_of(const std::string& answer) {
    return json::parse(answer).at("error").at("code").to_number<int>();
}

/// A connection as any program makes it.
class connection {
public:
    explicit connection(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un a{};
        a.sun_family = AF_UNIX;
        std::memcpy(a.sun_path, path.data(), path.size());
        REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0);
    }
    explicit connection(int port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in a{};
        a.sin_family = AF_INET;
        a.sin_port = htons(static_cast<std::uint16_t>(port));
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0);
    }
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;
    ~connection() { ::close(fd_); }

    void send(std::string_view text) const {
        for (std::size_t at = 0; at < text.size();) {
            const auto n = ::send(fd_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
            if (n <= 0) return;  // it was cut off, as some of the tests want
            at += static_cast<std::size_t>(n);
        }
    }
    void end() const { ::shutdown(fd_, SHUT_WR); }
    /// Until the other side closes.
    [[nodiscard]] std::string rest() const {
        std::string all;
        char bytes[65536];
        for (ssize_t n = 0; (n = ::read(fd_, bytes, sizeof bytes)) > 0;) {
            all.append(bytes, static_cast<std::size_t>(n));
        }
        return all;
    }
    [[nodiscard]] std::string line() const {
        std::string one;
        for (char c = 0; ::read(fd_, &c, 1) == 1 && c != '\n';) one += c;
        return one;
    }

private:
    int fd_;
};

/// Serves in a thread while it lives.
template <class Address>
class serving {
public:
    explicit serving(const Address& at)
        : server_(parley::open_json_server(at, implementation(heard_), 20s, nullptr,
                                           {.text_bytes_max = 100'000})
                      .value()),
          thread_([this] { fine_ = server_.serve().has_value(); }) {}
    ~serving() {
        thread_.join();
        CHECK(fine_);
    }
    [[nodiscard]] int port() const { return server_.port(); }

private:
    std::vector<std::string> heard_;
    parley::json_server<service, Address> server_;
    std::atomic<bool> fine_{false};
    std::thread thread_;
};

constexpr std::string_view stop = R"({"jsonrpc":"2.0","method":"stop"})"
                                  "\n";

}  // namespace

TEST_CASE("jsonrpc: every example of the specification is answered as it says") {
    check_answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1})",
                 R"({"jsonrpc": "2.0", "result": 19, "id": 1})");
    check_answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2})",
                 R"({"jsonrpc": "2.0", "result": -19, "id": 2})");
    check_answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23,)"
                 R"( "minuend": 42}, "id": 3})",
                 R"({"jsonrpc": "2.0", "result": 19, "id": 3})");
    check_answer(R"({"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42,)"
                 R"( "subtrahend": 23}, "id": 4})",
                 R"({"jsonrpc": "2.0", "result": 19, "id": 4})");
    check_answer(R"({"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]})", "");
    check_answer(R"({"jsonrpc": "2.0", "method": "foobar"})", "");
    check_answer(R"({"jsonrpc": "2.0", "method": "foobar", "id": "1"})",
                 R"({"jsonrpc": "2.0", "error": {"code": -32601,)"
                 R"( "message": "Method not found"}, "id": "1"})");
    check_answer(
        R"({"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz])",
        R"({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null})");
    const std::string invalid =
        R"({"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"},)"
        R"( "id": null})";
    check_answer(R"({"jsonrpc": "2.0", "method": 1, "params": "bar"})", invalid);
    check_answer(
        R"([{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4],)"
        R"( "id": "1"}, {"jsonrpc": "2.0", "method")"
        "]",
        R"({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null})");
    check_answer("[]", invalid);
    check_answer("[1]", "[" + invalid + "]");
    check_answer("[1,2,3]", "[" + invalid + "," + invalid + "," + invalid + "]");
    check_answer(
        R"([{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
                     {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
                     {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
                     {"foo": "boo"},
                     {"jsonrpc": "2.0", "method": "foo.get",)"
        R"( "params": {"name": "myself"}, "id": "5"},
                     {"jsonrpc": "2.0", "method": "get_data", "id": "9"}])",
        R"([{"jsonrpc": "2.0", "result": 7, "id": "1"},
                     {"jsonrpc": "2.0", "result": 19, "id": "2"},)" +
            invalid +
            R"(,{"jsonrpc": "2.0", "error": {"code": -32601,)"
            R"( "message": "Method not found"}, "id": "5"},
                     {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}])");
    check_answer(R"([{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
                     {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}])",
                 "");
    std::vector<std::string> heard;
    CHECK(ask(R"([{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
                  {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}])",
              &heard)
              .empty());
    CHECK(heard == std::vector<std::string>{"sum 3", "hello 7"});
}
TEST_CASE("jsonrpc: parameters that do not fit, and errors of handlers, are told with words") {
    const auto call = [](const std::string& name, const std::string& params) {
        return ask(R"({"jsonrpc":"2.0","id":1,"method":")" + name + R"(","params":)" + params +
                   "}");
    };
    for (const char* params : {"[1]", "[1,2,3]", R"(["a",2])", "[1.5,2]", R"({"minuend":1})",
                               R"({"minuend":1,"subtrahend":2,"more":3})", "[null,1]"}) {
        INFO(params);
        CHECK(code_of(call("subtract", params)) == -32602);
    }
    CHECK(code_of(call("small", "[300]")) == -32602);       // does not fit
    CHECK(code_of(call("small", R"({"n":1})")) == -32602);  // has no names
    CHECK_THAT(call("subtract", R"({"minuend":1})"), contains("subtrahend: missing"));
    CHECK_THAT(call("sum", R"({"numbers":[1,2]})"), contains("\"result\":3"));
    CHECK_THAT(call("sum", "[]"), contains("\"result\":0"));
    CHECK_THAT(call("fail", "[1]"), contains("not today"));
    CHECK_THAT(call("fail", R"([1,"never"])"), contains("never"));
    CHECK(code_of(call("fail", R"({"how":0})")) == -32000);
    CHECK(code_of(call("nobody", "[]")) == -32601);
    CHECK(code_of(ask(R"({"jsonrpc":"1.0","id":1,"method":"sum"})")) == -32600);
    CHECK(code_of(ask(R"({"jsonrpc":"2.0","id":[1],"method":"sum"})")) == -32600);
    CHECK(code_of(ask(R"({"jsonrpc":"2.0","id":1,"method":"sum","params":3})")) == -32600);
    CHECK_THAT(ask(R"({"jsonrpc":"2.0","id":null,"method":"sum"})"), contains("\"id\":null"));
    CHECK_THAT(call("update", "[1]"), contains("\"result\":null"));
}
TEST_CASE("jsonrpc: hostile texts get an answer, whatever they are") {
    CHECK(code_of(ask(std::string(100'000, '['))) == -32700);
    CHECK(code_of(ask("[" + std::string(1000, '{'))) == -32700);
    CHECK(code_of(ask(std::string("\xff\xfe\x00\x01", 4))) == -32700);
    CHECK(code_of(ask("")) == -32700);
    CHECK(code_of(ask("1e999999999999999999999999")) < -32000);
    parley::random dice(11);
    const std::string good = R"([{"jsonrpc":"2.0","method":"echo","params":{"text":"a\u00e4"},)"
                             R"("id":1},{"jsonrpc":"2.0","method":"sum","params":[1,2]}])";
    for (int i = 0; i < 5000; ++i) {
        auto text = good;
        for (auto n = 1 + dice.below(4); n > 0; --n) {
            text[dice.below(text.size())] = static_cast<char>(dice.below(256));
        }
        const auto answer = ask(text);
        if (!answer.empty()) CHECK_FALSE(json::parse(answer).is_null());
    }
}
TEST_CASE("jsonrpc: a stream is cut into texts at every place alike") {
    const std::string lines = "{\"a\":1}\n\r\n  \n[2]\r\n\"x\"\nrest";
    const std::string headers =
        "Content-Length: 7\r\n\r\n{\"a\":1}content-length:3\r\nContent-Type: x\r\n\r\n[2]"
        "Content-Length: 0\r\n\r\n";
    const auto cut = [](const std::string& all, std::size_t step) {
        rpc::json_stream in(100);
        std::vector<std::string> texts;
        for (std::size_t at = 0; at < all.size(); at += step) {
            in.feed(std::string_view(all).substr(at, step));
            for (auto t = in.next(); t; t = in.next()) texts.emplace_back(*t);
        }
        CHECK(in.next().error() == errc::would_block);
        if (const auto last = in.last()) texts.emplace_back(*last);
        return texts;
    };
    for (std::size_t step = 1; step < 60; ++step) {
        CHECK(cut(lines, step) == std::vector<std::string>{"{\"a\":1}", "[2]\r", "\"x\"", "rest"});
        CHECK(cut(headers, step) == std::vector<std::string>{"{\"a\":1}", "[2]", ""});
    }
    const auto broken = [](const std::string& text) {
        rpc::json_stream in(100);
        in.feed(text);
        const auto r = in.next();
        CHECK(in.next().error() == r.error());
        CHECK_FALSE(in.last());
        return r.error();
    };
    CHECK(broken(std::string(101, 'x')) == errc::message_too_large);
    CHECK(broken(std::string(101, 'x') + "\n") == errc::message_too_large);
    CHECK(broken("Content-Length: 101\r\n\r\n") == errc::message_too_large);
    CHECK(broken("Content-Length: 99999999999999999999\r\n\r\n") == errc::corrupt);
    CHECK(broken("Content-Length: -1\r\n\r\n") == errc::corrupt);
    CHECK(broken("Content-Length: 1\r\nContent-Length: 2\r\n\r\n") == errc::corrupt);
    CHECK(broken("Content-Type: x\r\n\r\n") == errc::corrupt);
    CHECK(broken("Content-Length: 1\r\nCookie: x\r\n\r\n") == errc::corrupt);
    CHECK(broken("Content-Length: " + std::string(5000, '1')) == errc::corrupt);
}
TEST_CASE("jsonrpc: anybody who connects is answered, one text on each line or behind headers") {
    watchdog dog("jsonrpc: connections");
    const temporary_directory dir;
    const auto talk = [](const auto& connect) {
        {
            const auto c = connect();
            c->send("{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\":[1,2],\"id\":1}\n{\"json");
            CHECK(c->line() == R"({"jsonrpc":"2.0","result":3,"id":1})");
            c->send("rpc\":\"2.0\",\"method\":\"sum\",\"params\":[],\"id\":2}\nnonsense\n");
            CHECK(c->line() == R"({"jsonrpc":"2.0","result":0,"id":2})");
            CHECK(code_of(c->line()) == -32700);
            c->send(R"({"jsonrpc":"2.0","method":"sum","params":[5],"id":3})");  // no line end
            c->end();
            CHECK(c->rest() == "{\"jsonrpc\":\"2.0\",\"result\":5,\"id\":3}\n");
        }
        {
            const auto c = connect();
            const std::string text = R"({"jsonrpc":"2.0","method":"sum","params":[5],"id":3})";
            c->send("Content-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text);
            c->end();
            CHECK(c->rest() ==
                  "Content-Length: 35\r\n\r\n{\"jsonrpc\":\"2.0\",\"result\":5,\"id\":3}");
        }
        for (const std::string& hostile :
             {std::string(200'000, 'x'), std::string(200'000, '[') + "\n",
              std::string("Content-Length: x\r\n\r\n"), std::string(3000, '\0') + "\n"}) {
            const auto c = connect();
            c->send(hostile);
            c->end();
            const auto answer = c->rest();
            // What was not read when it was cut off may take the word with it.
            if (hostile.size() < 100'000) CHECK_THAT(answer, contains("\"error\""));
        }
        {
            const auto half = connect();
            half->send("{\"jsonrpc\"");
            const auto gone = connect();
            gone->send("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"x\"],\"id\":1}\n");
        }
        const auto reads_late = connect();
        const std::string big = "{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"" +
                                std::string(50'000, 'y') + "\"],\"id\":1}\n";
        std::thread sending([&] {
            for (int i = 0; i < 200; ++i) reads_late->send(big);
            reads_late->end();
        });
        const auto other = connect();
        other->send("{\"jsonrpc\":\"2.0\",\"method\":\"sum\",\"params\":[1],\"id\":1}\n");
        CHECK(other->line() == R"({"jsonrpc":"2.0","result":1,"id":1})");
        const auto all = reads_late->rest();
        sending.join();
        CHECK(std::count(all.begin(), all.end(), '\n') == 200);
        connect()->send(stop);
    };
    {
        const serving s(parley::uds(dir / "x"));
        talk([&] { return std::make_unique<connection>(dir / "x"); });
    }
    const serving s(parley::tcp("127.0.0.1:0"));
    talk([&] { return std::make_unique<connection>(s.port()); });
}
