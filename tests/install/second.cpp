// SPDX-License-Identifier: MIT
// A second source of the same program.
#include <parley/channel.hpp>
#include <parley/format.hpp>
#include <parley/transport/shm.hpp>

parley::errc second();
parley::errc second() { return parley::errc::closed; }
