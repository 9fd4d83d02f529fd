#!/bin/sh
# SPDX-License-Identifier: MIT
# readme.sh ROOT PROGRAM: the first program of README.md is examples/01_channel.cpp, at most 15
# lines long, and the text below it is what that program prints.
set -eu
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# block N: the lines of the N-th fenced block.
block() {
    awk -v n="$1" '/^```/ { if (open) { open = 0 } else { open = 1; ++at }; next }
                   open && at == n' "$root/README.md"
}
block 1 >"$work/shown"
sed 1d "$root/examples/01_channel.cpp" >"$work/real"
diff -u "$work/real" "$work/shown"
[ "$(wc -l <"$work/shown")" -le 15 ] || { echo "the first program is too long"; exit 1; }
block 2 >"$work/shown"
"$2" >"$work/real"
diff -u "$work/real" "$work/shown"
