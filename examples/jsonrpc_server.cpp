// SPDX-License-Identifier: MIT
// A JSON-RPC 2.0 server with the methods of the specification's own examples:
//
//   jsonrpc_server --unix PATH | --tcp HOST:PORT
//
//   $ echo '{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":1}' | nc -N -U PATH
//   {"jsonrpc":"2.0","result":19,"id":1}
//
// It prints a line when it listens, with the port that it took if that was 0.
#include <parley/jsonrpc.hpp>

#include <boost/json/src.hpp>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using integer = std::int64_t;

struct examples {
    parley::method<"subtract(minuend, subtrahend)", integer(integer, integer)> subtract;
    parley::method<"sum(numbers...)", integer(std::vector<integer>)> sum;
    parley::method<"get_data()", std::tuple<std::string, int>()> get_data;
    parley::method<"update(values...)", void(std::vector<integer>)> update;
    parley::method<"notify_hello(value)", void(int)> notify_hello;
    parley::method<"notify_sum(numbers...)", void(std::vector<integer>)> notify_sum;
};

examples implementation() {
    const auto sum = [](const std::vector<integer>& all) {
        return std::accumulate(all.begin(), all.end(), integer{0});
    };
    return {.subtract = [](integer a, integer b) { return a - b; },
            .sum = sum,
            .get_data = [] { return std::tuple<std::string, int>("hello", 5); },
            .update = [](const std::vector<integer>&) {},
            .notify_hello = [](int) {},
            .notify_sum = [sum](const std::vector<integer>& all) { (void)sum(all); }};
}

template <class Address>
int serve(const Address& at) {
    parley::diagnostics why;
    auto server = parley::open_json_server(at, implementation(), 1s, &why);
    if (!server) {
        std::fprintf(stderr, "%s: %s\n", server.error().message().c_str(), why.text().c_str());
        return 2;
    }
    std::printf("listening\n");
    std::fflush(stdout);
    return server->serve() ? 0 : 3;
}

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "--unix") == 0) return serve(parley::uds(argv[2]));
    if (argc == 3 && std::strcmp(argv[1], "--tcp") == 0) return serve(parley::tcp(argv[2]));
    std::fprintf(stderr, "usage: jsonrpc_server --unix PATH | --tcp HOST:PORT\n");
    return 1;
}
