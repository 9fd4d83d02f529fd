// SPDX-License-Identifier: MIT
// A stranger's program that speaks TLS and includes all there is: everything comes through
// parley::tls. 0 if it is linked.
#include <parley/parley.hpp>
#include <parley/tls.hpp>

int main() {
    parley::diagnostics why;
    const auto in = parley::open_receiver<int>(parley::tls{"127.0.0.1:0"}, parley::expired, &why);
    return !in && in.error() == parley::errc::invalid_argument ? 0 : 1;  // it has no certificate
}
