// SPDX-License-Identifier: MIT
// Messages between hosts, encrypted, between two who know each other. The openssl command makes an
// authority and a certificate for each side. Then somebody tries who has none.
#include <parley/channel.hpp>
#include <parley/tls.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

struct order {
    std::string symbol;
    int pieces;
};

constexpr const char* make_certificates = R"(exec 2>/dev/null
fresh="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $fresh -keyout ca.key -out ca.pem -subj "/CN=our authority"
echo subjectAltName=DNS:localhost >names
for who in desk trader; do
    openssl req $fresh -keyout $who.key -out csr -subj /CN=$who &&
        openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -extfile names -out $who.pem || exit 1
done)";

/// Sends until the receiver refuses, `count` orders at most.
[[noreturn]] void send(const parley::tls& at, int count) {
    auto out = parley::open_sender<order>(at).value();
    while (count > 0 && out.send({"EURUSD", 100})) --count;
    _exit(count == 0 && out.close() ? 0 : 1);
}

int main() {
    char dir[] = "/tmp/15_tls_XXXXXX";
    if (mkdtemp(dir) == nullptr || chdir(dir) != 0 || std::system(make_certificates) != 0) return 1;
    const parley::tls desk{":0", {.ca = "ca.pem", .cert = "desk.pem", .key = "desk.key"}};
    auto in = parley::open_receiver<order>(desk).value();
    parley::diagnostics why;
    const auto port = parley::tls::from(in.address(), why).value().at;
    const parley::tls::options known{.ca = "ca.pem", .cert = "trader.pem", .key = "trader.key"};
    if (fork() == 0) send({"localhost" + port, known}, 1);
    const order o = in.receive().value();
    std::printf("%d pieces of %s; then: %s\n", o.pieces, o.symbol.c_str(),
                in.receive().error().message().c_str());
    if (fork() == 0) send({"localhost" + port, {.ca = "ca.pem"}}, 1'000'000);
    const bool refused = in.receive().error() == parley::errc::denied;
    std::printf("%s\n", in.why().text().c_str());
    int first = 1, second = 0;
    wait(&first);
    wait(&second);
    std::filesystem::remove_all(dir);
    return refused && first == 0 && second != 0 ? 0 : 1;
}
