// SPDX-License-Identifier: MIT
// Linked into every test binary: a function of a header that is not inline collides here, and the
// umbrella has to compile without anything before it.
#include <parley/parley.hpp>
