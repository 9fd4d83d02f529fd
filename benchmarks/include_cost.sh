#!/bin/sh
# SPDX-License-Identifier: MIT
# What including a public header costs: seconds of the compiler (best of 5) and preprocessed lines,
# beside fmt/format.h and boost/asio.hpp. sh benchmarks/include_cost.sh [COMPILER]
set -eu
cxx=${1:-g++}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cost() { # name, includes...
    name=$1; shift
    : >"$work/x.cpp"
    for h in "$@"; do echo "#include <$h>" >>"$work/x.cpp"; done
    echo 'int main() {}' >>"$work/x.cpp"
    lines=$($cxx -std=c++20 -I"$root/include" -E "$work/x.cpp" | wc -l)
    best=999999
    for _ in 1 2 3 4 5; do
        t0=$(date +%s%N)
        $cxx -std=c++20 -I"$root/include" -c "$work/x.cpp" -o "$work/x.o"
        t=$((($(date +%s%N) - t0) / 1000000))
        [ $t -lt $best ] && best=$t
    done
    [ "$name" = fmt/format.h ] && fmt=$best
    [ "$name" = boost/asio.hpp ] && asio=$best
    awk -v n="$name" -v t=$best -v l="$lines" -v f="${fmt:-0}" -v a="${asio:-0}" 'BEGIN {
        printf "%-34s %6.2f s %8d lines", n, t / 1000, l
        if (f) printf "  %.2fx fmt", t / f
        if (a) printf "  %.2fx asio", t / a
        print "" }'
}

cost fmt/format.h fmt/format.h
cost boost/asio.hpp boost/asio.hpp
cost 'channel.hpp + transport/shm.hpp' parley/channel.hpp parley/transport/shm.hpp
cost parley/parley.hpp parley/parley.hpp
for h in channel.hpp asio.hpp format.hpp codec/codec.hpp transport/pipe.hpp transport/uds.hpp \
    transport/shm.hpp transport/inproc.hpp transport/all.hpp; do
    [ -e "$root/include/parley/$h" ] && cost "parley/$h" "parley/$h"
done
