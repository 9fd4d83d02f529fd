// SPDX-License-Identifier: MIT
// A stranger's program that opens by URI and leaves all transports to parley::separate.
#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <cstdio>

// Whoever knows no list has not compiled what is in it.
template <class T>
concept known = requires {
    sizeof(T);
};
static_assert(!known<parley::all_transports>);

int main() {
    for (const char* address : {"shm:", "unix:", "pipe:"}) {
        auto c = parley::make_channel<int>(parley::uri{address});
        if (!c || !c->tx.send(7) || c->rx.receive().value() != 7) return std::puts(address), 1;
    }
    parley::diagnostics why;
    const auto out =
        parley::open_sender<int>(parley::uri{"carrier-pigeon://x"}, parley::never, &why);
    return out || why.text().find("no transport for scheme") == std::string::npos;
}
