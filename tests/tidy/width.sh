#!/bin/sh
# SPDX-License-Identifier: MIT
# width.sh ROOT COMPILER   compiles everything for 32 bits and for 64, with all warnings. Ends with
# 77 where the compiler has no library of 32 bits (on Debian: apt-get install g++-multilib).
set -eu
root=$1 cxx=$2
# $cxx may hold words of its own, as in "ccache g++".
# shellcheck disable=SC2086
compiles() {
    $cxx -std=c++20 -fsyntax-only -I"$root/include" -Wall -Wextra -Wpedantic -Wshadow -Wconversion \
        -Werror "$@"
}
narrow='-m32 -D_FILE_OFFSET_BITS=64'
# shellcheck disable=SC2086
if ! echo '#include <string>' | compiles $narrow -x c++ - 2>/dev/null; then
    echo "skipped: this compiler cannot build for 32 bits here"
    exit 77
fi
# shellcheck disable=SC2086
compiles $narrow "$root/tests/tidy/width.cpp"
compiles "$root/tests/tidy/width.cpp"
