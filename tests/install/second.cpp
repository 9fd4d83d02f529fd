// SPDX-License-Identifier: MIT
// The same headers a second time in one program.
#include <parley/format.hpp>
#include <parley/parley.hpp>

parley::errc second();
parley::errc second() { return parley::errc::closed; }
