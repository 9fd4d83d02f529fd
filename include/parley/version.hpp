// SPDX-License-Identifier: MIT
// The version of the library, in one place; CMake reads it from here.
#pragma once

/// major * 10000 + minor * 100 + patch
#define PARLEY_VERSION 100  // 0.1.0
