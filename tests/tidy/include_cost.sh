#!/bin/sh
# SPDX-License-Identifier: MIT
# include_cost.sh INCLUDE_DIR COMPILER HEADER...   what including these headers brings, and ends with
# 1 if that is too much: Boost.Asio, fmt, a heavy header of the standard library, or many lines.
# The measure is what an error code and a smart pointer bring, since nobody can go below that, so
# the limit does not move with the versions of Boost and of the compiler. Lines stand for time, which
# no test can assert; benchmarks/include_cost.sh measures that: at most twice fmt/format.h.
set -eu
LC_ALL=C
export LC_ALL
include=$1
cxx=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

includes() { for h in "$@"; do echo "#include <$h>"; done; }
# $cxx may hold words of its own, as in "ccache g++".
# shellcheck disable=SC2086
preprocessed() { $cxx -std=c++20 -I"$include" -E -x c++ "$1"; }
lines() { awk '!/^#/ && NF { n++ } END { print n + 0 }' "$1"; }
files() { sed -n 's/^# [0-9][0-9]* "\([^"<]*\)".*/\1/p' "$1" | sort -u; }

includes "$@" >"$work/ours.cpp"
includes boost/system/result.hpp memory >"$work/least.cpp"
for who in ours least; do
    preprocessed "$work/$who.cpp" >"$work/$who.i"
    files "$work/$who.i" >"$work/$who.files"
done

failed=0
heavy='/boost/asio|/fmt/|/(algorithm|chrono|condition_variable|filesystem|format|fstream|functional'
heavy="$heavy|future|iomanip|iostream|locale|map|memory_resource|random|ranges|regex|set|sstream"
heavy="$heavy|thread)\$"
if comm -23 "$work/ours.files" "$work/least.files" | grep -E "$heavy" >"$work/found"; then
    sed 's/^/include_cost: not wanted: /' "$work/found"
    failed=1
fi
ours=$(lines "$work/ours.i")
least=$(lines "$work/least.i")
limit=$((least * 125 / 100))
echo "include_cost: $ours lines, limit $limit (1.25 x $least)"
[ "$ours" -le "$limit" ] || failed=1
exit $failed
