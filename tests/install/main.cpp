// SPDX-License-Identifier: MIT
// A stranger's program: everything comes through parley::parley.
#include <parley/channel.hpp>
#include <parley/format.hpp>
#include <parley/transport/uds.hpp>
#include <parley/version.hpp>

#include <fmt/core.h>

parley::errc second();

int main() { fmt::print("parley {}: {}\n", PARLEY_VERSION, second()); }
