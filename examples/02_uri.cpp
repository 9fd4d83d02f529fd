// SPDX-License-Identifier: MIT
// The endpoint is a string: the same program over every transport. Give it an address, or none to
// see several: 02_uri 'unix:///tmp/ticks?type=seqpacket'
#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

struct tick {
    unsigned id;
    double price;
};

int send_ticks(const parley::uri& at) {
    auto out = parley::open_sender<tick>(at).value();
    for (unsigned id = 1; id <= 1000; ++id) out.send({id, id / 4.0}).value();
    out.close().value();
    return 0;
}

int show(const std::string& address) {
    parley::diagnostics why;
    auto in = parley::open_receiver<tick>(parley::uri{address}, parley::never, &why);
    if (!in) {
        std::printf("%s: %s\n", in.error().message().c_str(), why.text().c_str());
        return 2;
    }
    const pid_t child = fork();
    if (child == 0) _exit(send_ticks(parley::uri{address}));
    unsigned count = 0;
    double sum = 0;
    parley::result<tick> t = in->receive();
    for (; t; t = in->receive()) {
        ++count;
        sum += t->price;
    }
    waitpid(child, nullptr, 0);
    std::printf("%-44s %u ticks, sum %.2f, then: %s\n", address.c_str(), count, sum,
                t.error().message().c_str());
    return count == 1000 && t.error() == parley::errc::closed ? 0 : 1;
}

int main(int argc, char** argv) {
    if (argc > 1) return show(argv[1]);
    const std::string own = "02_uri-" + std::to_string(getpid());
    int failed = 0;
    for (const std::string& address :
         {"shm://" + own, "unix://@" + own, "unix:///tmp/" + own + "?type=seqpacket",
          "unix:///tmp/" + own + "?type=datagram"}) {
        failed |= show(address);
    }
    return failed;
}
