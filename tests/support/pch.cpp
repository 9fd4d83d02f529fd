// SPDX-License-Identifier: MIT
// CMake wants one source that uses the precompiled header in the target that makes it.
