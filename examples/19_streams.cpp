// SPDX-License-Identifier: MIT
// A market in a process of its own: it streams prices, takes orders as a stream, asks back before
// it sells, and works through a chain of calls in one round trip.
#include <parley/rpc.hpp>
#include <parley/transport/uds.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;
struct market {
    parley::method<"watch(symbol)", parley::stream<double>(std::string)> watch;
    parley::method<"buy(orders)", int(parley::stream<int>)> buy;
    parley::method<"sell(pieces, sure)", int(int, parley::callback<bool(double)>)> sell;
    parley::method<"price(pieces)", double(int)> price;
    parley::method<"fee(price)", double(double)> fee;
};

// Coroutines, since they wait: the market serves others meanwhile, in one thread.
parley::stream<double> watch(std::string symbol) {
    for (double last = 1.0 + symbol[0];; last *= 1.01) co_yield last;
}
parley::eventual<int> buy(parley::stream<int> orders) {
    int pieces = 0;
    while (auto n = co_await orders) pieces += *n;
    co_return pieces;
}
parley::eventual<int> sell(int pieces, parley::callback<bool(double)> sure) {
    for (double price = 10; price > 5; price -= 1) {
        if ((co_await sure.start(price)).value()) co_return pieces;
    }
    co_return parley::errc::denied;
}
parley::stream<int> orders() {
    for (int pieces : {10, 20, 30}) co_yield pieces;
}

int main() {
    const parley::uds at("@19_streams-" + std::to_string(getpid()));
    const pid_t child = fork();
    if (child == 0) {
        market here{watch, buy, sell, [](int n) { return 10.0 * n; }, [](double p) { return p; }};
        return parley::open_server(at, here).value().serve() ? 0 : 1;
    }
    auto m = parley::open_client<market>(at, 5s).value();
    auto prices = m->watch("PARLEY").value();
    for (int i = 0; i < 3; ++i) std::printf("price %.2f\n", prices.next(1s).value());
    std::printf("bought %d\n", m->buy(orders()).value());
    std::printf("sold %d\n", m->sell(7, [](double p) { return p < 8; }).value());
    const auto together = m.batch();
    auto price = m->price.start(4).value();  // has not come when it goes on to the next
    std::printf("fee %.2f, in one round trip\n", m->fee(price).value());
    kill(child, SIGKILL);
    while (prices.next()) continue;  // what came before
    std::printf("killed: %s\n", prices.next().error().message().c_str());
    waitpid(child, nullptr, 0);
}
